"""A folder with all that an environment is made of, for a machine without a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from envs.building.context import Context
from envs.disk.files import write_atomically
from envs.errors import EnvError
from envs.pip.resolution import Resolution
from envs.spec import hash_file, key_of

if TYPE_CHECKING:
    from envs.managers.virtualenv.planning import VirtualenvPlan


def stored_list(wheelhouse: Path | None, key: str) -> Resolution | None:
    """Return the exact list that `download` left in a wheelhouse for a key, or None."""
    if wheelhouse is None:
        return None
    if not wheelhouse.is_dir():
        raise EnvError(
            f"there is no wheelhouse {wheelhouse}", hint="fill one: launcher prepare-env --download"
        )
    path = _list_path(wheelhouse, key)
    return Resolution(path.read_text(encoding="utf-8"), "wheelhouse") if path.is_file() else None


def download(plan: VirtualenvPlan, folder: Path, context: Context) -> list[Path]:
    """Fill ``folder`` with a wheel of every package of a plan's environment.

    What has no wheel for the plan's Python is built into one here, so that the other machine
    needs no compiler. Hashes are verified. Returns the wheels; raises EnvError.
    """
    from envs.managers.virtualenv.building import resolution_of
    from envs.pip.lockfiles import read_lock
    from envs.pip.pylock import load_pylock

    context.log.secrets.update(plan.pip.wanted.secrets)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Mapping[str, Any]] = []
    lock = None
    base = Path()
    if plan.lockfile is not None:
        lock = read_lock(plan.lockfile, plan.interpreter, context)
        rows += lock.rows
        base = plan.lockfile.parent
    resolution = resolution_of(plan, lock, context, "pylock.toml")
    pins = lock.pins if lock is not None else {}
    if resolution.text:
        document = load_pylock(resolution.text, "the resolution")
        rows += [row for row in document["packages"] if row["name"] not in pins]
    fetcher = _Fetcher(plan, resolution, folder, base, context)
    wheels = {row["name"]: fetcher.wheel(row) for row in rows}
    lines = [
        f"{row['name']}=={_version(row, wheels[row['name']])} --hash=sha256:"
        + hash_file(wheels[row["name"]])
        for row in rows
    ]
    write_atomically(_list_path(folder, key_of(plan.canonical)), "\n".join(lines) + "\n")
    return sorted(wheels.values())


def _list_path(folder: Path, key: str) -> Path:
    return folder / f"requirements-{key}.txt"


def _version(row: Mapping[str, Any], wheel: Path) -> str:
    return str(row.get("version") or wheel.name.split("-")[1])


class _Fetcher:
    """Gets the packages of a ``pylock.toml`` into a folder, as wheels."""

    def __init__(
        self,
        plan: VirtualenvPlan,
        resolution: Resolution,
        folder: Path,
        base: Path,
        context: Context,
    ):
        from envs.pip.pylock import supported_tags

        self.plan = plan
        self.resolution = resolution
        self.folder = folder
        self.base = base
        self.context = context
        self.rank = {tag: number for number, tag in enumerate(supported_tags(plan.interpreter))}

    def wheel(self, row: Mapping[str, Any]) -> Path:
        """Return the wheel of one package, downloaded or built."""
        best = self._best_wheel(row.get("wheels", ()))
        archive = best or row.get("archive") or row.get("sdist")
        if archive is None:
            raise EnvError(
                f"{row['name']} comes from version control or a folder, which a wheelhouse"
                " cannot hold",
                hint="put a wheel of it into the model and require that",
            )
        path = self._fetch(row["name"], archive)
        return path if path.suffix == ".whl" else self._built(row["name"], path)

    def _best_wheel(self, wheels: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        from envs.pip.pylock import file_name, wheel_tags

        ranked = [
            (min(ranks), number, wheel)
            for number, wheel in enumerate(wheels)
            if (ranks := [self.rank[t] for t in wheel_tags(file_name(wheel)) if t in self.rank])
        ]
        return min(ranked)[2] if ranked else None

    def _fetch(self, name: str, archive: Mapping[str, Any]) -> Path:
        from envs.pip.pylock import file_name

        target = self.folder / file_name(archive)
        wanted = archive.get("hashes", {}).get("sha256")
        if not (target.is_file() and wanted and hash_file(target) == wanted):
            self.context.report(f"downloading {target.name}")
            partial = target.with_name(f".{target.name}.part")
            url = archive.get("url", "")
            if archive.get("path") or url.startswith("file:"):
                local = archive.get("path") or unquote(urlsplit(url).path)
                shutil.copyfile(self.base / local, partial)
            else:
                self._download(url, partial)
            if wanted and hash_file(partial) != wanted:
                partial.unlink()
                raise EnvError(
                    f"the hash of {name} is not the expected one ({target.name})",
                    hint="the index or something on the way to it has changed the file",
                )
            partial.replace(target)
        return target

    def _download(self, url: str, target: Path) -> None:
        import requests

        if self.context.offline:
            raise EnvError(
                f"{target.name} is not here, and nothing may be downloaded",
                hint="leave --offline out",
            )
        certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or True
        try:
            with requests.get(
                url, auth=self._credentials(url), timeout=60, stream=True, verify=certificates
            ) as response:
                response.raise_for_status()
                with target.open("wb") as file:
                    for block in response.iter_content(1 << 20):
                        file.write(block)
        except requests.RequestException as error:
            target.unlink(missing_ok=True)
            raise self.context.log.error(
                f"{url} cannot be downloaded: {error}", "check the network and the index settings"
            ) from error

    def _credentials(self, url: str) -> tuple[str, str] | None:
        """Return user name and password of the index that a file belongs to, by its host."""
        indexes = self.plan.pip.wanted.indexes
        host = urlsplit(url).hostname
        for index in (indexes.index_url or "", *indexes.extra_index_urls, *indexes.find_links):
            parts = urlsplit(index)
            if parts.username and parts.hostname == host:
                return unquote(parts.username), unquote(parts.password or "")
        return None

    def _built(self, name: str, source: Path) -> Path:
        from envs.pip.uv import run_uv, uv_error, work_folder

        self.context.report(f"building a wheel of {name}")
        with work_folder(self.context) as folder:
            output = folder / "dist"
            arguments: list[str | Path] = ["build", source, "--wheel", "--out-dir", output]
            arguments += ["--python", self.plan.interpreter.path, *self.resolution.dates]
            completed = run_uv(arguments, self.plan.pip.wanted.indexes, self.context, folder)
            if completed.returncode != 0:
                raise uv_error(completed.text, self.context, f"{name} could not be built")
            (wheel,) = output.glob("*.whl")
            source.unlink()
            target = self.folder / wheel.name
            shutil.copyfile(wheel, target)
            return target
