"""The cache of environments on disk: complete ones only, one build at a time each."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from envs.building.context import Context
from envs.building.log import BuildLog
from envs.disk.files import DISK_FULL, READ_ONLY, disk_full, remove_tree
from envs.disk.home import launcher_home, make_private_folder
from envs.disk.keyed_cache import KeyedCache
from envs.disk.locks import sign
from envs.errors import EnvError
from envs.plan import Contents, Plan
from envs.spec import key_of
from envs.store.manifest import Environment, damage, read_manifest, to_environment, write_manifest

# Fills the prefix (absent; its parent is there, and private to this build).
Build = Callable[[Path, Context], Contents]
DISCOVERY_LOG = "discovery"  # the name, beside keys, of the log of looking for Pythons


class EnvStore(KeyedCache):
    """Environments below ``<home>/envs``, found by key: ``KEY/env``, beside its manifest."""

    def __init__(self, home: Path | None = None):
        self.home = home or launcher_home()
        super().__init__(self.home / "envs")

    def build_log(self, key: str) -> Path:
        """Return the log of the last build of a key, there or not."""
        return self.home / "logs" / "envs" / f"{key}.log"

    def find(self, key: str) -> Environment | None:
        """Return a complete environment, marked as in use, or None. Runs nothing."""
        if not self.folder(key).is_dir():
            return None
        with self._locked(key, None) as writable:
            return self._complete(key, mark=writable)

    def get_or_build(self, plan: Plan, build: Build, context: Context) -> Environment:
        """Return the environment of a plan, marked as in use; build it where it is not there.

        A build that fails, or is interrupted, leaves nothing behind.

        :raises EnvError: it cannot be built.
        """
        key = key_of(plan.canonical)

        def waiting(by: str) -> None:
            context.report(f"waiting for the build of environment {key}{by}")

        with self._locked(key, waiting) as writable:
            found = self._complete(key, mark=writable, context=context)
            if found is not None:
                return found
            if not writable:
                raise EnvError(
                    f"Environment {key} is not in {self.root}, which cannot be written to.",
                    hint="Set LAUNCHER_HOME to a folder that can be written.",
                )
            return self._build(key, plan, build, context)

    def _complete(
        self, key: str, *, mark: bool, context: Context | None = None
    ) -> Environment | None:
        """Return the environment where it is complete and undamaged. Needs the key's lock."""
        folder = self.folder(key)
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        damaged = damage(manifest, folder)
        if damaged is not None:
            if context is not None:
                context.report(f"environment {key} is built again: {damaged}")
            return None
        return self._marked(key, manifest, reused=True, mark=mark)

    def _marked(
        self, key: str, manifest: dict[str, Any], *, reused: bool, mark: bool
    ) -> Environment:
        held = None
        if mark:
            try:
                held = self.mark(key)
            except OSError as error:
                if error.errno not in (*DISK_FULL, *READ_ONLY):
                    raise
        return to_environment(manifest, self.folder(key), reused=reused, mark=held)

    def _build(self, key: str, plan: Plan, build: Build, context: Context) -> Environment:
        folder = self.folder(key)
        log_path = self.build_log(key)
        log = BuildLog(log_path, context.log.secrets)
        context = replace(context, log=log, work=folder / "work")
        sign(self.lock_path(key))
        try:
            log_path.unlink(missing_ok=True)
            self.discard(key)
            make_private_folder(folder / "work")
            contents = build(folder / "env", context)
            remove_tree(folder / "work")
            write_manifest(folder, key, plan.canonical, contents)
        except BaseException as error:
            remove_tree(folder)
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise disk_full(self.home) from error
            raise
        manifest = read_manifest(folder)
        assert manifest is not None
        return self._marked(key, manifest, reused=False, mark=True)

    def forget(self, key: str) -> None:
        """Remove what is kept beside the environment of a key. Needs the key's lock."""
        self.build_log(key).unlink(missing_ok=True)
        super().forget(key)

    def _known(self) -> set[str]:
        logs = self.build_log("").parent
        return super()._known() | {path.stem for path in logs.glob("*.log")} - {DISCOVERY_LOG}

    @contextmanager
    def _locked(self, key: str, waiting: Any) -> Iterator[bool]:
        """Hold the key's lock; yield False, without it, where the cache is read-only."""
        lock = self.locked(key, waiting)
        try:
            lock.__enter__()
        except OSError as error:
            if error.errno in DISK_FULL:
                raise disk_full(self.home) from error
            if error.errno not in (*READ_ONLY, errno.ENOLCK):
                raise
            yield False
            return
        try:
            yield True
        finally:
            lock.__exit__(None, None, None)
