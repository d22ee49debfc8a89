"""Files of a folder over HTTP: their types, ETags, and what browsers may do with them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Collection, Dict, Optional, Tuple

from ..routes import Answer, Headers, Request

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing inline, nothing of another host, in nobody's frame. Viewers draw their icons as data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'none'; base-uri 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    # Kept, and asked after each time: a page belongs to the server's version.
    ("Cache-Control", "no-cache"),
)


class StaticFiles:
    """The files of a folder that may be had, read once.

    :param names: those of them; None for all.
    """

    def __init__(self, folder: Path, names: Optional[Collection[str]] = None) -> None:
        self._folder = folder
        self._names = {path.name for path in folder.iterdir()} if names is None else names
        self._read: Dict[Tuple[str, str], Tuple[bytes, str]] = {}

    def find(self, request: Request) -> Optional[Answer]:
        """The answer with the file that the path's `name` says; None where there is none."""
        name = request.params["name"]
        if name not in self._names or not (self._folder / name).is_file():
            return None
        return self.answer(name, request)

    def answer(
        self, name: str, request: Request, vary: Optional[str] = None, base: str = ""
    ) -> Answer:
        """The file, or 304 where the client has it.

        :param vary: the header that the choice of the file depends on.
        :param base: the path that a page's addresses are relative to; "" for its own.
        """
        body, tag = self._contents(name, base)
        headers: Headers = [("ETag", tag), *_HEADERS]
        if vary is not None:
            headers.append(("Vary", vary))
        known = request.headers.get("if-none-match", "")
        if tag in [each.strip().replace("W/", "", 1) for each in known.split(",")]:
            return Answer(304, headers, b"")
        kind = _TYPES.get(Path(name).suffix, "application/octet-stream")
        return Answer(200, [("Content-Type", kind), *headers], body)

    def _contents(self, name: str, base: str) -> Tuple[bytes, str]:
        found = self._read.get((name, base))
        if found is None:
            body = (self._folder / name).read_bytes()
            if base:
                head = '<head>\n<base href="{}">'.format(base).encode("ascii")
                body = body.replace(b"<head>", head, 1)
            tag = '"{}"'.format(hashlib.sha256(body).hexdigest()[:20])
            found = self._read[name, base] = (body, tag)
        return found


OWN_FILES = StaticFiles(Path(__file__).parent / "static")
_viewers: Dict[str, StaticFiles] = {}


def viewer_files(folder: str) -> StaticFiles:
    """Those files of Swagger UI that `/docs` has use for."""
    if folder not in _viewers:
        _viewers[folder] = StaticFiles(Path(folder), {"swagger-ui.css", "swagger-ui-bundle.js"})
    return _viewers[folder]
