"""`launcher models`: what is in the cache of fetched models, and making room in it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.output import print_json
from launcher.cli.parsing.command import Group
from launcher.cli.parsing.options import json_option, prune_options
from launcher.errors import LauncherError, UsageError
from launcher.quantities import format_size

if TYPE_CHECKING:
    from launcher.artifacts.transfer.cache import Cache, Entry


@click.group(cls=Group)
def models() -> None:
    """List, show, remove and prune downloaded models."""


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
        click.echo(f"{_row(entry)}  used {_day(entry.used)}{in_use}\n    {entry.path}")
    total = format_size(sum(entry.size for entry in entries))
    click.echo(f"{len(entries)} models, {total}, in {cache.root}", err=True)


@models.command()
@click.argument("model", metavar="KEY|URI")
@json_option
def show(model: str, as_json: bool) -> None:
    """Show a downloaded model: where it came from, what it is, and its files."""
    from launcher.artifacts.resolving import this_cache

    cache = this_cache()
    [entry] = _chosen(cache, [model])
    if as_json:
        print_json({**_described(cache, entry), "sizes": entry.files})
        return
    pids = ", ".join(map(str, cache.users(entry.key)))
    for name, value in (
        ("key", entry.key),
        ("uri", entry.uri),
        ("location", entry.location),
        ("model", f"{entry.name} {entry.version}" if entry.name else None),
        ("path", entry.path),
        ("size", format_size(entry.size)),
        ("fetched", _day(entry.created)),
        ("used", _day(entry.used)),
        ("in use by", pids),
    ):
        if value:
            click.echo(f"{name + ':':<11}{value}")
    click.echo()
    for path, size in sorted(entry.files.items()):
        click.echo(f"{format_size(size):>9}  {path}")


@models.command()
@click.argument("chosen", metavar="KEY|URI...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def remove(chosen: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Remove downloaded models that no process uses."""
    from launcher.artifacts.resolving import this_cache

    cache = this_cache()
    entries = _chosen(cache, chosen)
    used = [entry for entry in entries if cache.users(entry.key)]
    if used:
        by = ", ".join(map(str, cache.users(used[0].key)))
        raise LauncherError(
            f"{used[0].uri} is used by process {by}; nothing was removed.", "Stop it first."
        )
    removed = [entry for entry in entries if cache.remove(entry.key, dry_run=dry_run)]
    if as_json:
        described = [_described(cache, entry) for entry in removed]
        print_json({"removed": described, "dry_run": dry_run})
    for entry in removed if not as_json else ():
        click.echo(f"{'would remove' if dry_run else 'removed'} {_row(entry)}")
    kept = [entry.uri for entry in entries if entry not in removed]
    if kept:
        raise LauncherError(f"{kept[0]} is being fetched or used.", "Try again later.")


@models.command()
@prune_options
@json_option
def prune(older_than: float | None, max_size: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove what broken downloads left, damaged models, and on request unused ones.

    What a live process uses stays.
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


def _chosen(cache: Cache, wanted: Iterable[str]) -> list[Entry]:
    """The entries with these keys, beginnings of keys, or URIs; each once.

    :raises UsageError: one leads to no entry, or to several.
    """
    entries = cache.entries()
    found = {}
    for text in wanted:
        fitting = [e for e in entries if e.key.startswith(text) or text in (e.uri, e.location)]
        if not text or not fitting:
            raise UsageError(
                f"There is no downloaded model {text}.", "`launcher models list` shows them."
            )
        if len(fitting) > 1:
            keys = ", ".join(entry.key[:12] for entry in fitting)
            raise UsageError(f"{text} is {len(fitting)} models: {keys}.", "Give one of the keys.")
        found[fitting[0].key] = fitting[0]
    return list(found.values())


def _row(entry: Entry) -> str:
    version = f"  {entry.name} {entry.version}" if entry.name else ""
    return f"{entry.key[:12]}  {format_size(entry.size):>9}  {entry.uri}{version}"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


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
