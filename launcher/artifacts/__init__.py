"""From a model URI to a folder on this machine's disk that holds the model."""

from __future__ import annotations

import re
from pathlib import Path

from launcher.artifacts import local
from launcher.artifacts.source import ModelSource, ModelURIError, Report, silent

__all__ = ["ModelSource", "ModelURIError", "Report", "resolve_model"]

# RFC 3986, but two characters at least: one is a drive letter.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")

SUPPORTED = "a local folder or a file: URI"


def resolve_model(
    uri: str,
    *,
    report: Report = silent,
    offline: bool = False,
    max_model_size: int | None = None,
) -> ModelSource:
    """Return the model that `uri` leads to, fetched if it is not on this machine's disk.

    `report` is given lines for a person. With `offline` nothing is asked over the network:
    only what is on the disk is found. `max_model_size` is in bytes, after unpacking.

    Raises ModelURIError when the URI leads to no model, or to one that is refused.
    """
    del report, offline, max_model_size
    match = _SCHEME.match(uri)
    scheme = match.group(1).lower() if match else ""
    if scheme == "file":
        return local.open_folder(uri, local.path_of_file_uri(uri))
    if not scheme or Path(uri).exists():
        return local.open_folder(uri, local.expand(uri))
    raise ModelURIError(
        f"A model URI that starts with {scheme + ':'!r} is not supported.",
        f"Give {SUPPORTED}.",
    )
