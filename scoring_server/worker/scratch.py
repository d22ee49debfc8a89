"""Folders for the temporary files of workers: each has its own, which goes with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Container, Optional


class Scratch:
    """The folders of one server's workers.

    What a worker starts (another language's interpreter, say) has its temporary files below its own
    folder, so that they can be removed whatever became of it.

    :param base: the folder that they are in; None for the system's folder of temporary files.
    :param front: the process id of the front.
    """

    def __init__(self, base: Optional[str], front: int) -> None:
        # R does not start where the folder's path has a blank in it.
        if base is None or " " in base:
            base = tempfile.gettempdir()
        self._folder = Path(base, "scoring-server-{}".format(front))

    def claim(self) -> None:
        """Make the folder of this process, a worker, and have what it starts use it.

        :raises OSError: it cannot be made, or somebody else has put something in its place.
        """
        self._make_own()
        folder = self._folder / str(os.getpid())
        shutil.rmtree(str(folder), ignore_errors=True)
        folder.mkdir(mode=0o700)
        os.environ["TMPDIR"] = str(folder)

    def _make_own(self) -> None:
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        # Its name can be guessed, and the system's folder of temporary files is everybody's.
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise OSError("{} is not this user's own folder.".format(self._folder))

    def sweep(self, workers: Container[int]) -> None:
        """Remove the folders of workers that have ended.

        :param workers: the process ids of those that run.
        """
        if self._folder.is_dir():
            for folder in self._folder.iterdir():
                if int(folder.name) not in workers:
                    shutil.rmtree(str(folder), ignore_errors=True)

    def remove(self) -> None:
        """Remove all of them."""
        shutil.rmtree(str(self._folder), ignore_errors=True)
