"""Where packages come from: the index options of pip and uv as one value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from envs.building.log import bare
from envs.spec import hash_file

# Settings of uv that change what a resolution gives; uv reads them itself.
UV_SETTINGS = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX_STRATEGY",
    "UV_NO_INDEX",
    "UV_CONSTRAINT",
    "UV_BUILD_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE",
    "UV_EXCLUDE_NEWER",
    "UV_RESOLUTION",
    "UV_PRERELEASE",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_ONLY_BINARY",
    "UV_NO_BUILD",
    "UV_NO_BUILD_PACKAGE",
    "UV_NO_BUILD_ISOLATION",
    "UV_TORCH_BACKEND",
)


class IndexSettings(NamedTuple):
    """Package indexes and how files are chosen from them, credentials included.

    Fields are pip's options of the same names; ``find_links`` holds absolute paths and URLs.
    """

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    no_index: bool = False
    pre: bool = False

    def under(self, environ: Mapping[str, str]) -> IndexSettings:
        """Return these settings with those of pip's variables (``PIP_INDEX_URL``, ...) added.

        Options in a requirements file win over variables, lists are joined, as in pip.
        """
        links = tuple(_absolute_link(link) for link in environ.get("PIP_FIND_LINKS", "").split())
        return self._replace(
            index_url=self.index_url or environ.get("PIP_INDEX_URL") or None,
            extra_index_urls=_joined(
                self.extra_index_urls, environ.get("PIP_EXTRA_INDEX_URL", "").split()
            ),
            find_links=_joined(self.find_links, links),
            trusted_hosts=_joined(self.trusted_hosts, environ.get("PIP_TRUSTED_HOST", "").split()),
            no_index=self.no_index or environ.get("PIP_NO_INDEX", "0").lower() in ("1", "true"),
        )

    def canonical(self, environ: Mapping[str, str]) -> dict[str, Any]:
        """Return what goes into an environment's key: no credentials, uv's settings with it."""
        settings = {name: environ[name] for name in UV_SETTINGS if environ.get(name)}
        return {
            "index_url": bare(self.index_url) if self.index_url else None,
            "extra_index_urls": list(map(bare, self.extra_index_urls)),
            "find_links": list(map(bare, self.find_links)),
            "no_binary": sorted(self.no_binary),
            "only_binary": sorted(self.only_binary),
            "no_index": self.no_index,
            "pre": self.pre,
            "uv": {name: bare(value) for name, value in settings.items()},
            "uv_files": {str(path): hash_file(path) for path in _uv_files(environ)},
        }

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that tell uv the indexes: unlike options, nobody sees them."""
        variables = {}
        if self.index_url:
            variables["UV_DEFAULT_INDEX"] = self.index_url
        extra = [*self.extra_index_urls, *environ.get("UV_INDEX", "").split()]
        if extra:
            variables["UV_INDEX"] = " ".join(extra)
            # pip takes the best version of all indexes, uv by itself the first that has any.
            variables["UV_INDEX_STRATEGY"] = environ.get("UV_INDEX_STRATEGY", "unsafe-best-match")
        links = [*self.find_links, *filter(None, environ.get("UV_FIND_LINKS", "").split(","))]
        if links:
            variables["UV_FIND_LINKS"] = ",".join(links)
        if environ.get("PIP_CERT") and not environ.get("SSL_CERT_FILE"):
            variables["SSL_CERT_FILE"] = environ["PIP_CERT"]
        return variables

    def options(self) -> list[str]:
        """Return uv's command line options for the rest."""
        options = ["--no-index"] if self.no_index else []
        options += ["--prerelease", "allow"] if self.pre else []
        for name, values in (
            ("--allow-insecure-host", self.trusted_hosts),
            ("--no-binary", self.no_binary),
            ("--only-binary", self.only_binary),
        ):
            for value in values:
                options += [name, value]
        return options

    def secrets(self) -> set[str]:
        """Return the passwords and user names in the URLs, as written and decoded."""
        found = set()
        for url in (self.index_url or "", *self.extra_index_urls, *self.find_links):
            found |= url_secrets(url)
        return found


def url_secrets(url: str) -> set[str]:
    """Return the credentials in a URL (parts shorter than 4 characters left out)."""
    userinfo = urlsplit(url).netloc.rpartition("@")[0] if "://" in url else ""
    parts = set(userinfo.split(":", 1)) if userinfo else set()
    return {form for part in parts for form in (part, unquote(part)) if len(form) >= 4} - {"git"}


def _joined(first: tuple[str, ...], more: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *more)))


def _absolute_link(link: str) -> str:
    return link if "://" in link else str(Path(link).expanduser().absolute())


def _uv_files(environ: Mapping[str, str]) -> list[Path]:
    """Return uv's own settings files that are there: they may name indexes."""
    config = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    system = Path(os.sep, "etc", "uv", "uv.toml")
    named = environ.get("UV_CONFIG_FILE")
    candidates = [Path(named)] if named else [config / "uv" / "uv.toml", system]
    return [path for path in candidates if path.is_file()]
