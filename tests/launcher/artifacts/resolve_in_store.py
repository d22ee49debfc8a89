"""Run in the environment with all extras: `fill` a store, or resolve URIs and print JSON.

python resolve_in_store.py fill PROTOCOL FOLDER ROOT
python resolve_in_store.py resolve URI...
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from launcher.artifacts import ModelURIError, resolve_model
from launcher.artifacts.stores.objects import open_object_store


def fill(uri: str, folder: str) -> None:
    """Copy the files of `folder` to the bucket and path of `uri`, making the bucket."""
    store = open_object_store(uri)
    filesystem, root = store._fs, store._root
    bucket = root.partition("/")[0]
    if not filesystem.exists(bucket):
        filesystem.mkdir(bucket)
    for path in Path(folder).rglob("*"):
        if path.is_file():
            filesystem.pipe_file(f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def resolve(uri: str) -> dict[str, Any]:
    """Return what a test wants to know of the model that `uri` leads to."""
    lines: list[str] = []
    try:
        found = resolve_model(uri, report=lines.append)
    except ModelURIError as error:
        return {"message": error.message, "hint": error.hint}
    return {
        "path": str(found.path),
        "revision": found.revision,
        "immutable": found.immutable,
        "fetched": any("Fetched" in line for line in lines),
        "lines": lines,
        "files": {
            path.relative_to(found.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in found.path.rglob("*")
            if path.is_file()
        },
    }


if sys.argv[1] == "fill":
    fill(sys.argv[2], sys.argv[3])
else:
    print(json.dumps([resolve(uri) for uri in sys.argv[2:]]))
