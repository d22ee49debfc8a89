"""The parts of a model URI, and a URI as it may be shown: without passwords."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from launcher.artifacts.source import ModelURIError

# RFC 3986, but two characters at least: one is a drive letter.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")

HOST_SCHEMES = ("ftp", "sftp", "hdfs", "viewfs")
"""Those of folders on hosts, in whose names '#' and '?' are ordinary."""
DEEPEST = 32
"""Folders in folders that a model may have."""
LONGEST_NAME = 255
"""Bytes of a file's or folder's name: what file systems can have."""

_MODELS_FORMS = "models:/NAME/VERSION, models:/NAME@alias, models:/NAME/latest or models:/m-ID"


class RunURI(NamedTuple):
    """`runs:/RUN_ID/path`; the path is relative and may be empty."""

    run_id: str
    path: str


class RegistryURI(NamedTuple):
    """`models:/…`: either the ID of a logged model, or a name and one way to choose a version.

    With none of `version`, `alias` and `stage` the highest version is meant.
    """

    model_id: str | None = None
    name: str = ""
    version: str | None = None
    alias: str | None = None
    stage: str | None = None


def scheme_of(uri: str) -> str:
    """Return the scheme of `uri` in lower case, "" for a path."""
    match = _SCHEME.match(uri)
    return match.group(1).lower() if match else ""


def parse_runs_uri(uri: str) -> RunURI:
    """Take `runs:/RUN_ID/path` apart.

    :raises ModelURIError: it is of another form.
    """
    run_id, _, path = _after_slash(uri, "runs:/RUN_ID/path/in/the/run").partition("/")
    return RunURI(run_id, require_inside(path.strip("/"), uri))


def parse_models_uri(uri: str) -> RegistryURI:
    """Take `models:/…` apart.

    The forms are those of MLflow's client: digits are a version, `latest` (in any case) the
    highest one, another word a stage, and one word alone the ID of a logged model.

    :raises ModelURIError: it is of none of its forms.
    """
    rest = _after_slash(uri, _MODELS_FORMS).rstrip("/")
    name, slash, suffix = rest.partition("/")
    if "/" in suffix or not name.strip() or (slash and not suffix.strip()):
        raise _malformed(uri, _MODELS_FORMS)
    if slash:
        if suffix.isdigit():
            return RegistryURI(name=name, version=suffix)
        return RegistryURI(name=name, stage=None if suffix.lower() == "latest" else suffix)
    if "@" in name:
        name, _, alias = name.rpartition("@")
        if not name.strip() or not alias.strip():
            raise _malformed(uri, _MODELS_FORMS)
        return RegistryURI(name=name, alias=alias)
    if not name.startswith("m-"):
        raise ModelURIError(
            f"{uri!r} names a registered model, but no version of it.",
            f"Write models:/{name}/VERSION, models:/{name}@ALIAS or models:/{name}/latest.",
        )
    return RegistryURI(model_id=name)


def require_inside(path: str, uri: str) -> str:
    """Return the relative `path` of `uri`.

    :raises ModelURIError: it leads out of its folder.
    """
    parts = path.split("/") if path else []
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise ModelURIError(
            f"The path in {redact(uri)!r} leads out of the folder that it starts in.",
            "Give a path without '..', empty parts or backslashes.",
        )
    return path


def require_storable(path: str, location: str) -> str:
    """Return the relative `path` of a file that `location` has.

    :raises ModelURIError: no disk should have it: outside of its folder, too deep, too long.
    """
    try:
        require_inside(path, location)
        encoded = path.encode("utf-8", "surrogateescape")
    except (ModelURIError, UnicodeEncodeError):
        why = "which is outside of it"
    else:
        parts = encoded.split(b"/")
        if path and max(map(len, parts)) <= LONGEST_NAME and len(parts) <= DEEPEST:
            return path
        why = "which has too long a name, or too many folders" if path else "which has no name"
    shown = path if len(path) < 100 else f"{path[:100]}…"
    raise ModelURIError(
        f"Refused: the list of {redact(location)!r} has {shown!r}, {why}.",
        "The store is damaged or hostile; nothing was fetched.",
    )


def redact(uri: str) -> str:
    """Return `uri` without what may be a secret: user name, password, query, fragment.

    A query is where signed links carry their signature.
    """
    scheme = scheme_of(uri)
    if scheme in ("", "file", "runs", "models"):
        return uri
    parts = urlsplit(uri)
    user, _, host = parts.netloc.rpartition("@")
    # CONTAINER@ACCOUNT and BUCKET@ENDPOINT, no password.
    if scheme in ("abfs", "abfss", "wasb", "wasbs", "r2", "b2") and ":" not in user:
        host = parts.netloc
    named, _, path = uri.partition("://")[2].partition("/")
    try:
        parts.port  # noqa: B018 - looks whether it is one
    except ValueError:  # the beginning of a password with one of '#?/' in it
        return f"{scheme}://{host.partition(':')[0]}/…"
    if scheme in HOST_SCHEMES:
        return f"{scheme}://{host}/{path}" if named == parts.netloc else f"{scheme}://…"
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def origin_of(url: str) -> str:
    """Return scheme, host and port of `url`, without user name and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def join(base: str, *parts: str) -> str:
    """Return the URL `base` with the path `parts` below it, percent-encoded."""
    below = "/".join(quote(part.strip("/"), safe="/@") for part in parts if part.strip("/"))
    return f"{base.rstrip('/')}/{below}" if below else base.rstrip("/")


def _after_slash(uri: str, forms: str) -> str:
    rest = uri.partition(":")[2]
    if rest.startswith("//") or not rest.startswith("/") or rest == "/":
        raise _malformed(uri, forms)
    return rest[1:]


def _malformed(uri: str, forms: str) -> ModelURIError:
    return ModelURIError(f"{uri!r} is not a {scheme_of(uri)}: URI.", f"Write {forms}.")
