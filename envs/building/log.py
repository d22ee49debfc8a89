"""What the commands of a build print, kept without credentials."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from envs.disk.files import DISK_FULL, READ_ONLY
from envs.disk.home import make_private_folder, open_private
from envs.errors import EnvError

TAIL_LINES = 200
_USERINFO = re.compile(r"(?<=://)[^/\s@\"'`]+@")


def without_credentials(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text with ``user:password@`` of URLs and the given secrets masked."""
    for secret in secrets:
        text = text.replace(secret, "****")
    return _USERINFO.sub("****@", text)


def bare(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text with ``user:password@`` of URLs taken out, other secrets masked."""
    return without_credentials(text, secrets).replace("****@", "")


class BuildLog:
    """What the commands of one build printed: in a file, and its last lines in memory.

    :param path: the file, or None for no file. It is made with the first line.
    :param secrets: texts that are masked before a line goes anywhere.
    """

    def __init__(self, path: Path | None, secrets: set[str] | None = None) -> None:
        self.path = path
        self.secrets = set() if secrets is None else secrets
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def write(self, text: str) -> str:
        """Append one line; return it as it was written, credentials masked."""
        line = without_credentials(text.rstrip(), sorted(self.secrets, key=len, reverse=True))
        self.tail.append(line)
        if self.path is not None:
            try:
                make_private_folder(self.path.parent)
                with open(self.path, "a", encoding="utf-8", opener=open_private) as file:
                    file.write(line + "\n")
            except OSError as error:
                # A full disk or a read-only cache: the lines in memory have to do.
                if error.errno not in (*DISK_FULL, *READ_ONLY):
                    raise
                self.path = None
        return line

    def error(self, message: str, hint: str | None = None) -> EnvError:
        """Return the error for a failed build, pointing at this log."""
        return EnvError(self.mask(message), hint=hint and self.mask(hint), log_path=self.path)

    def mask(self, text: str) -> str:
        """Return the text with credentials masked."""
        return without_credentials(text, self.secrets)

    def bare(self, text: str) -> str:
        """Return the text with the credentials of URLs taken out, others masked."""
        return bare(text, self.secrets)
