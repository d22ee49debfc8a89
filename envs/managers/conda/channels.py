"""Conda channels: from the names in a conda.yaml to URLs, credentials kept apart.

Names and settings are conda's:
https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/channels.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from envs.disk.yaml_file import read_yaml
from envs.errors import EnvError

CHANNEL_ALIAS = "https://conda.anaconda.org"
DEFAULT_CHANNELS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_SCHEMES = ("https", "http", "file", "s3", "gs", "oci")
_NAME = re.compile(r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")
_SUBDIR = re.compile(r"/(noarch|(linux|osx|win|emscripten|wasi|freebsd|zos)-[a-z0-9]+)/?$")
_TOKEN = re.compile(r"/t/(?P<token>[^/]+)(?=/|$)")
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<plain>\w+))")


@dataclass(frozen=True)
class Channel:
    """A channel, and what it takes to reach it.

    :param url: without credentials and without a slash at the end.
    :param token_url: the URL with a token in its path (``/t/TOKEN/``), None without one.
    :param user: decoded, None without one; ``password`` likewise.
    """

    url: str
    token_url: str | None = None
    user: str | None = None
    password: str | None = None

    def access(self) -> dict[str, Any] | None:
        """Return the credentials as JSON values (see `worker`), None without any."""
        return asdict(self) if self.token_url or self.user else None

    def secrets(self) -> set[str]:
        """Return what must not be seen in logs, as written in URLs and decoded.

        Parts shorter than 4 characters are left out: they would mask half of any text.
        """
        token = _TOKEN.search(self.token_url or "")
        found = {self.user, self.password, token["token"] if token else None} - {None, ""}
        texts = [text for text in found if text and len(text) >= 4]
        return {form for text in texts for form in (text, quote(text, safe=""))}


def read_channels(
    names: Iterable[str], base_dir: Path | None, environ: Mapping[str, str]
) -> tuple[Channel, ...]:
    """Return the channels that the names stand for, in order, each once.

    ``$NAME`` and ``${NAME}`` are replaced from ``environ``; relative folders (``./channel``)
    start from ``base_dir``. ``defaults`` stands for conda's default channels, ``nodefaults`` for
    nothing. Settings of a ``.condarc`` (channel_alias, default_channels, custom_channels) count.

    :raises EnvError: one is ``local``, or no channel.
    """
    settings = read_settings(environ)
    found: dict[str, Channel] = {}
    for name in names:
        for channel in _channels(str(name).strip(), settings, base_dir or Path(), environ):
            found.setdefault(channel.url, channel)
    return tuple(found.values())


def read_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of conda that say where channels are.

    Of ``$CONDARC``, ``~/.condarc`` and ``$XDG_CONFIG_HOME/conda/.condarc`` the first wins, and
    ``CONDA_CHANNEL_ALIAS`` and ``CONDA_DEFAULT_CHANNELS`` win over all.

    :raises EnvError: a file is not YAML.
    """
    config = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = [config / "conda" / ".condarc", Path.home() / ".condarc"]
    files += [Path(environ["CONDARC"])] if environ.get("CONDARC") else []
    settings: dict[str, Any] = {}
    for file in files:
        if file.is_file():
            settings.update(_read_condarc(file))
    if environ.get("CONDA_CHANNEL_ALIAS"):
        settings["channel_alias"] = environ["CONDA_CHANNEL_ALIAS"]
    if environ.get("CONDA_DEFAULT_CHANNELS"):
        settings["default_channels"] = environ["CONDA_DEFAULT_CHANNELS"].split(",")
    return settings


def _read_condarc(file: Path) -> dict[str, Any]:
    content = read_yaml(file)
    return content if isinstance(content, dict) else {}


def _channels(
    name: str, settings: Mapping[str, Any], base_dir: Path, environ: Mapping[str, str]
) -> list[Channel]:
    if name == "nodefaults":
        return []
    if name == "local":
        raise EnvError(
            "The conda channel 'local' is a folder of the machine that logged the model.",
            hint="Name that folder in conda.yaml (file:///...), or publish its packages.",
        )
    if name == "defaults":
        defaults = settings.get("default_channels") or DEFAULT_CHANNELS
        rest = {key: value for key, value in settings.items() if key != "default_channels"}
        return [
            channel
            for default in defaults
            if default != "defaults"
            for channel in _channels(str(default), rest, base_dir, environ)
        ]
    return [split_credentials(_url(_expanded(name, environ), settings, base_dir, environ))]


def _expanded(text: str, environ: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        if name not in environ:
            raise EnvError(
                f"The conda channel {text} needs the environment variable {name}.",
                hint="Set it, then try again.",
            )
        return environ[name]

    return _VARIABLE.sub(value, text)


def _url(name: str, settings: Mapping[str, Any], base_dir: Path, environ: Mapping[str, str]) -> str:
    scheme = name.partition("://")[0] if "://" in name else ""
    if scheme in _SCHEMES:
        return name
    if name.startswith(("/", "./", "../", "~")):
        return Path(os.path.normpath(base_dir.absolute() / Path(name).expanduser())).as_uri()
    if scheme or not _NAME.match(name):
        raise EnvError(
            f"{split_credentials(name).url!r} is no conda channel.",
            hint="Use a name such as conda-forge, a URL or a folder.",
        )
    custom = settings.get("custom_channels") or {}
    alias = custom.get(name.split("/")[0]) or settings.get("channel_alias") or CHANNEL_ALIAS
    return f"{_expanded(str(alias), environ).rstrip('/')}/{name}"


def split_credentials(url: str) -> Channel:
    """Return a channel's URL with ``user:password@`` and ``/t/TOKEN/`` taken out of it."""
    bare = _SUBDIR.sub("", url).rstrip("/")
    parts = urlsplit(bare)
    if parts.scheme == "file" or not parts.netloc:
        return Channel(bare)
    userinfo, _, host = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    clean = parts._replace(netloc=host)
    return Channel(
        urlunsplit(clean._replace(path=_TOKEN.sub("", parts.path, count=1))),
        urlunsplit(clean) if _TOKEN.search(parts.path) else None,
        unquote(user) or None,
        unquote(password) if user else None,
    )
