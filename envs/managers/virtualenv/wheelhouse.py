"""A folder with all that an environment is made of, for a machine without a network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
)

from envs.building.context import Context
from envs.disk.files import write_atomically
from envs.errors import EnvError
from envs.managers.virtualenv.planning import VirtualenvPlan
from envs.pip.lockfiles import read_lockfile, resolve_missing
from envs.pip.pylock import Archive, choose, load_pylock
from envs.pip.resolution import Resolution
from envs.pip.uv import run_uv, uv_error, work_folder
from envs.spec import hash_file, key_of


def stored_list(wheelhouse: Path | None, key: str) -> Resolution | None:
    """Return the exact list that `fill` left in a wheelhouse for a key, or None."""
    if wheelhouse is None:
        return None
    if not wheelhouse.is_dir():
        raise EnvError(
            f"There is no wheelhouse {wheelhouse}.",
            hint="Fill one: launcher prepare-env --download.",
        )
    path = _list_path(wheelhouse, key)
    return Resolution(path.read_text(encoding="utf-8"), "wheelhouse") if path.is_file() else None


def fill(plan: VirtualenvPlan, folder: Path, context: Context) -> list[Path]:
    """Put a wheel of every package of a plan's environment into ``folder``; return the wheels.

    What has no wheel for the plan's Python is built into one here, so that the other machine
    needs no compiler. Hashes are verified.

    :raises EnvError: one cannot be had.
    """
    context.log.secrets.update(plan.pip.wanted.secrets)
    folder.mkdir(parents=True, exist_ok=True)
    lockfile = None
    chosen: list[tuple[Package, Archive]] = []
    if plan.lockfile is not None:
        lockfile = read_lockfile(plan.lockfile, plan.interpreter, context)
        chosen += lockfile.chosen
    resolution = resolve_missing(plan.request, lockfile, context, "pylock.toml")
    if resolution.text:
        origin = "The resolution"
        pins = lockfile.pins if lockfile is not None else {}
        resolved = choose(load_pylock(resolution.text, origin), origin, plan.interpreter)
        chosen += [pair for pair in resolved if pair[0].name not in pins]
    fetcher = _Fetcher(plan, resolution, folder, context)
    wheels = [(package, fetcher.wheel(package.name, archive)) for package, archive in chosen]
    lines = [
        f"{package.name}=={package.version or wheel.name.split('-')[1]}"
        f" --hash=sha256:{hash_file(wheel)}"
        for package, wheel in wheels
    ]
    write_atomically(_list_path(folder, key_of(plan.canonical)), "\n".join(lines) + "\n")
    return sorted(wheel for _, wheel in wheels)


def _list_path(folder: Path, key: str) -> Path:
    return folder / f"requirements-{key}.txt"


class _Fetcher:
    """Gets the packages of a ``pylock.toml`` into a folder, as wheels."""

    def __init__(
        self, plan: VirtualenvPlan, resolution: Resolution, folder: Path, context: Context
    ) -> None:
        self.plan = plan
        self.resolution = resolution
        self.folder = folder
        self.base = plan.lockfile.parent if plan.lockfile is not None else Path()
        self.context = context

    def wheel(self, name: str, archive: Archive) -> Path:
        """Return the wheel of one package, downloaded or built."""
        if isinstance(archive, PackageVcs | PackageDirectory):
            raise EnvError(
                f"{name} comes from version control or a folder, which a wheelhouse cannot hold.",
                hint="Put a wheel of it into the model and require that.",
            )
        path = self._fetch(name, archive)
        return path if path.suffix == ".whl" else self._built(name, path)

    def _fetch(self, name: str, archive: PackageWheel | PackageSdist | PackageArchive) -> Path:
        location = archive.path or unquote(urlsplit(archive.url or "").path)
        target = self.folder / (getattr(archive, "filename", None) or location.rsplit("/", 1)[-1])
        wanted = archive.hashes.get("sha256")
        if not (target.is_file() and wanted and hash_file(target) == wanted):
            self.context.report(f"downloading {target.name}")
            partial = target.with_name(f".{target.name}.part")
            if archive.path or (archive.url or "").startswith("file:"):
                shutil.copyfile(self.base / location, partial)
            else:
                self._download(archive.url or "", partial)
            if wanted and hash_file(partial) != wanted:
                partial.unlink()
                raise EnvError(
                    f"The hash of {name} is not the expected one ({target.name}).",
                    hint="The index or something on the way to it has changed the file.",
                )
            partial.replace(target)
        return target

    def _download(self, url: str, target: Path) -> None:
        import requests

        if self.context.offline:
            raise EnvError(
                f"{target.name} is not here, and nothing may be downloaded.",
                hint="Leave --offline out.",
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
                f"{url} cannot be downloaded: {error}.",
                "Check the network and the index settings.",
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
