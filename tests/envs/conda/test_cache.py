"""Cleaning up the cache of conda packages and channel indexes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from envs import EnvStore
from envs.inventory import prune
from envs.managers.conda.cache import cache_in_use
from tests.envs.conda.channel import Channel
from tests.envs.conda.test_build import imported

Build = Callable[..., Any]


def cached(store: EnvStore) -> set[str]:
    """The packages (without their versions) in the cache."""
    paths = (store.home / "conda" / "pkgs").glob("[!.]*")
    return {path.name.removesuffix(".lock").split("-")[0] for path in paths}


def removed(store: EnvStore, **options: Any) -> list[tuple[str, str]]:
    return [(removal.name, removal.reason) for removal in prune(store, **options)]


def test_packages_that_no_environment_has_are_pruned(
    build: Build, channel: Channel, fresh_store: EnvStore
) -> None:
    kept = build(channel.url, store=fresh_store).environment
    doomed = build(channel.url, "tiny=1", store=fresh_store).environment
    assert removed(fresh_store) == []
    folder = fresh_store.folder(doomed.key)
    doomed.mark.release()
    os.utime(folder, (0, 0))
    would = prune(fresh_store, older_than=365 * 86400, dry_run=True)
    assert [removal.name for removal in would] == [doomed.key, "1 conda package"]
    assert 1000 < would[1].size < 100_000
    assert cached(fresh_store) == {"python", "pip", "tiny"}
    assert prune(fresh_store, older_than=365 * 86400) == would
    assert cached(fresh_store) == {"python", "pip"}
    # It is fetched again where it is wanted again.
    assert build(channel.url, "tiny=1", store=fresh_store).versions["tiny"] == "1.0"
    assert cached(fresh_store) == {"python", "pip", "tiny"}
    assert imported(kept.python, "sys.prefix") == str(kept.path)


def test_an_environment_outlives_the_cache(
    build: Build, channel: Channel, fresh_store: EnvStore
) -> None:
    environment = build(channel.url, "tiny=2", store=fresh_store).environment
    environment.path.joinpath("conda-meta").rename(environment.path / "forgotten")
    assert removed(fresh_store) == [("3 conda packages", "in no environment")]
    assert cached(fresh_store) == set()
    assert imported(environment.python, "tiny.__version__") == "2.0"


def test_nothing_goes_while_a_build_uses_the_cache(
    build: Build, channel: Channel, fresh_store: EnvStore
) -> None:
    environment = build(channel.url, "tiny=2", store=fresh_store).environment
    environment.path.joinpath("conda-meta").rename(environment.path / "forgotten")
    with cache_in_use(fresh_store.home):
        assert removed(fresh_store) == []
    assert removed(fresh_store, dry_run=True) == [("3 conda packages", "in no environment")]


def test_old_indexes_go_when_they_are_asked_for(tmp_path: Path) -> None:
    """Named as py-rattler names them; those of file:// channels are not cached."""
    store = EnvStore(tmp_path)
    folder = tmp_path / "conda" / "repodata"
    folder.mkdir(parents=True)
    for name in ("0a.json", "0a.info.json", "0a.lock", "0b.json", "0b.info.json"):
        (folder / name).write_text("{}")
    long_ago = time.time() - 40 * 86400
    for name in ("0a.json", "0a.info.json", "0a.lock", "0b.json"):
        os.utime(folder / name, (long_ago, long_ago))
    assert removed(store) == []
    command = [sys.executable, "-m", "launcher", "envs", "prune", "--older-than", "30d", "--json"]
    environ = {**os.environ, "LAUNCHER_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    [row] = json.loads(done.stdout)
    assert (row["name"], row["reason"]) == ("1 conda index", "not fetched for 30 days")
    assert row["size"] > 0
    assert sorted(path.name for path in folder.iterdir()) == ["0b.info.json", "0b.json"]
