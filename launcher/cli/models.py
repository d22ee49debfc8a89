"""`launcher models`: what is in the cache of fetched models, and making room in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.option_types import AGE, SIZE
from launcher.cli.options import json_option
from launcher.cli.output import print_json
from launcher.quantities import format_size

if TYPE_CHECKING:
    from launcher.artifacts.transfer.cache import Cache, Entry


@click.group()
def models() -> None:
    """List and prune downloaded models."""


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the downloaded models, the last used first."""
    from launcher.artifacts.resolving import this_cache

    cache = this_cache()
    entries = cache.entries()
    if as_json:
        print_json({"models": [_described(cache, entry) for entry in entries]})
        return
    for entry in entries:
        pids = cache.users(entry.key)
        in_use = f"  in use by {', '.join(map(str, pids))}" if pids else ""
        click.echo(f"{_row(entry)}  {_day(entry.used)}{in_use}\n    {entry.path}")
    total = format_size(sum(entry.size for entry in entries))
    click.echo(f"{len(entries)} models, {total}, in {cache.root}", err=True)


@models.command()
@click.option("--older-than", type=AGE, metavar="AGE", help="Only what was not used for: 30d, 12h.")
@click.option("--max-size", type=SIZE, metavar="SIZE", help="The least used, down to: 5GB, 500MB.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def prune(older_than: float | None, max_size: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove downloaded models that no process uses, and what broken downloads left.

    Without --older-than and --max-size all of them.
    """
    from launcher.artifacts.resolving import this_cache
    from launcher.artifacts.transfer.cache import prune as prune_cache

    cache = this_cache()
    removed, kept = prune_cache(cache, older_than=older_than, max_size=max_size, dry_run=dry_run)
    partial = cache.remove_partials(older_than or 0.0, dry_run=dry_run)
    freed = sum(entry.size for entry in removed)
    if as_json:
        print_json(
            {
                "removed": [_described(cache, entry) for entry in removed],
                "kept": [_described(cache, entry) for entry in kept],
                "partial": [str(folder) for folder in partial],
                "freed_bytes": freed,
                "dry_run": dry_run,
            }
        )
        return
    verb = "would remove" if dry_run else "removed"
    for entry in removed:
        click.echo(f"{verb} {_row(entry)}")
    for folder in partial:
        click.echo(f"{verb} a broken download, {folder.name}")
    click.echo(f"{verb} {len(removed)} models, {format_size(freed)}; {len(kept)} stay", err=True)


def _row(entry: Entry) -> str:
    version = f"  {entry.name} {entry.version}" if entry.name else ""
    return f"{entry.key[:12]}  {format_size(entry.size):>9}  {entry.uri}{version}"


def _day(seconds: float) -> str:
    return time.strftime("used %Y-%m-%d %H:%M", time.localtime(seconds))


def _described(cache: Cache, entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "uri": entry.uri,
        "location": entry.location,
        "name": entry.name,
        "version": entry.version,
        "path": str(entry.path),
        "size_bytes": entry.size,
        "files": len(entry.files),
        "created": entry.created,
        "used": entry.used,
        "in_use_by": cache.users(entry.key),
    }
