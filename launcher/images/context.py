"""A build context as a value: a Dockerfile, and what it copies."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envs.disk.files import DISK_FULL
from launcher.errors import LauncherError, UsageError
from launcher.images.dockerfile import ENVIRONMENT_FILES, MODEL_TREE, SERVER_FILES

_OURS = (ENVIRONMENT_FILES, SERVER_FILES, MODEL_TREE)
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", "node_modules", ".venv")


@dataclass(frozen=True)
class BuildContext:
    """All that an image is built from.

    :param dockerfile: its text.
    :param texts: files by path in the context.
    :param copies: files and folders of this machine by path in the context.
    :param base_image: what the image is made from.
    :param netrc: the credentials of indexes in the format of ``.netrc``; never in the context.
    :param notes: what a person should know, a line each.
    """

    dockerfile: str
    texts: Mapping[str, str]
    copies: Mapping[str, Path]
    base_image: str
    netrc: str = ""
    notes: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write it into a folder, in place of a context that is there.

        :raises UsageError: there is something else.
        :raises LauncherError: it cannot be written.
        """
        try:
            _empty(folder)
            self._write(folder)
        except (OSError, shutil.Error) as error:
            raise _cannot_write(folder, error) from error

    def _write(self, folder: Path) -> None:
        for name, source in self.copies.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=_LEFT_OUT, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, target)
        for name, text in self.texts.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        # Any user may run the image; permissions of this machine mean nothing there.
        for root, folders, files in os.walk(folder):
            for name in folders:
                Path(root, name).chmod(0o755)
            for name in files:
                path = Path(root, name)
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
        # Last: only a whole context has it.
        (folder / "Dockerfile").write_text(self.dockerfile, encoding="utf-8")


def _empty(folder: Path) -> None:
    """See that ``folder`` is there, with nothing that is not a context's own."""
    folder.mkdir(parents=True, exist_ok=True)
    there = {each.name for each in folder.iterdir()}
    if there and not there <= {"Dockerfile", *_OURS}:
        strange = sorted(there - {"Dockerfile", *_OURS})[0]
        raise UsageError(
            f"{folder} is not empty, and no build context: it has {strange}.",
            "Give an empty or a new folder with --output-directory.",
        )
    (folder / "Dockerfile").unlink(missing_ok=True)
    for name in _OURS:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def _cannot_write(folder: Path, error: OSError) -> LauncherError:
    if isinstance(error, shutil.Error):
        # Of a tree: each its source, its target, and why.
        text = "; ".join(sorted({each[2] for each in error.args[0]}))
        full = any(os.strerror(number) in text for number in DISK_FULL)
    else:
        text, full = error.strerror or str(error), error.errno in DISK_FULL
    if full:
        return LauncherError(
            f"There is no room on the disk of {folder} for the build context.",
            "Free some space, or choose a folder on another disk (TMPDIR for build-docker).",
        )
    return LauncherError(f"The build context {folder} cannot be written: {text}.")
