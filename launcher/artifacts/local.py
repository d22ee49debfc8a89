"""Models that are already on this machine's disk: folders and `file:` URIs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from launcher.artifacts.source import ModelSource, ModelURIError, NotAModel, refuse_size
from launcher.artifacts.uris import scheme_of

SEARCH_DEPTH = 4
SEARCH_FOLDERS = 2_000
NAMED_FOLDERS = 8


def path_of_file_uri(uri: str) -> Path:
    """Return the absolute path that a `file:` URI means (RFC 8089, and `file:relative`).

    :raises ModelURIError: the URI names another machine.
    """
    from urllib.parse import unquote

    rest = uri[len("file:") :]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost", "127.0.0.1", "."):
            raise ModelURIError(
                f"The file URI {uri!r} names the machine {host!r}, not this one.",
                "Write file:///absolute/path (three slashes), or give the path itself.",
            )
        rest = slash + path
    return Path.cwd() / unquote(rest)


def expand(path: str) -> Path:
    """Return `path` made absolute, with a leading `~` or `~user` expanded.

    :raises ModelURIError: there is no such user.
    """
    try:
        return Path.cwd() / Path(path).expanduser()
    except RuntimeError:
        raise ModelURIError(
            f"The path {path!r} starts with the home folder of an unknown user.",
            f"To name a folder that starts with a tilde, write ./{path}",
        ) from None


def path_of(location: str) -> Path:
    """Return the absolute path that a `file:` URI or a path means.

    :raises ModelURIError: it names another machine, or an unknown user's home.
    """
    return path_of_file_uri(location) if scheme_of(location) == "file" else expand(location)


def open_folder(uri: str, path: Path, max_model_size: int | None = None) -> ModelSource:
    """Return the model in the folder `path`.

    :raises ModelURIError: there is no such folder, no `MLmodel` in it, or it is larger than
        `max_model_size` bytes.
    """
    path = Path(os.path.normpath(path))
    try:
        return _opened(uri, path, max_model_size)
    except PermissionError as error:
        raise ModelURIError(
            f"No permission to read {str(error.filename or path)!r}.",
            "Run the launcher as a user who may read the model, or change its permissions.",
        ) from error


def _opened(uri: str, path: Path, max_model_size: int | None) -> ModelSource:
    if not path.exists():
        raise NotAModel(
            f"There is no folder {str(path)!r}.",
            "Give the folder that holds the file MLmodel; a relative path counts from "
            f"{str(Path.cwd())!r}.",
        )
    if not path.is_dir():
        raise _not_a_folder(path)
    require_mlmodel(path, f"The folder {str(path)!r}")
    revision, size = _looked_at(path)
    refuse_size(size, max_model_size)
    return ModelSource(uri=uri, path=path, immutable=False, revision=revision)


def require_mlmodel(folder: Path, called: str) -> None:
    """Refuse a folder that is no model, naming the folders in it that are.

    :param called: the beginning of a sentence: what the user knows the folder as.
    :raises ModelURIError: it has no file MLmodel.
    """
    if (folder / "MLmodel").is_file():
        return
    found = list(model_folders(folder))
    if not found:
        hint = "Give the folder that holds the file MLmodel, as MLflow's save_model wrote it."
    elif len(found) == 1:
        hint = f"The folder {found[0]!r} in it is one: add that to the URI."
    else:
        hint = f"These folders in it are models: {name_some(found)}. Add one to the URI."
    raise NotAModel(f"{called} is not an MLflow Model: it has no file MLmodel.", hint)


def name_some(names: list[str]) -> str:
    """Return the first of `names` for a sentence, and how many more there are."""
    text = ", ".join(names[:NAMED_FOLDERS])
    more = len(names) - NAMED_FOLDERS
    return f"{text} and {more} more" if more > 0 else text


def _looked_at(folder: Path) -> tuple[str, int]:
    """Return a string that changes when a file in `folder` is added, removed or written.

    Made of names, sizes and modification times: contents are not read, bytecode is left out. And
    return the bytes of all these files.
    """
    import hashlib

    digest, size = hashlib.sha256(), 0
    for parent, folders, files in os.walk(folder):
        # Bytecode is written there by whoever imports the model's code: the server itself, say.
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            path = os.path.join(parent, name)  # noqa: PTH118 - once a file, and Path is slow
            try:
                status = os.stat(path)  # noqa: PTH116
            except FileNotFoundError:  # A link to nowhere, or a file that has just gone.
                continue
            line = f"{os.path.relpath(path, folder)}\0{status.st_size}\0{status.st_mtime_ns}\n"
            size += status.st_size
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32], size


def _not_a_folder(path: Path) -> ModelURIError:
    if path.name == "MLmodel":
        hint = f"Give the folder that it is in: {str(path.parent)!r}."
    else:
        hint = "Give the folder that holds the file MLmodel."
    return ModelURIError(f"{str(path)!r} is a file, not a folder.", hint)


def model_folders(folder: Path) -> Iterator[str]:
    """Yield the folders below `folder` that are models, nearest first, as relative paths."""
    level, seen = [folder], 0
    for _ in range(SEARCH_DEPTH):
        below: list[Path] = []
        for parent in level:
            for child in _subfolders(parent):
                seen += 1
                if seen > SEARCH_FOLDERS:
                    return
                if (child / "MLmodel").is_file():
                    yield child.relative_to(folder).as_posix()
                else:
                    below.append(child)
        level = below


def _subfolders(parent: Path) -> list[Path]:
    try:
        children = sorted(parent.iterdir())
    # Only a search for a hint: what cannot be read is not offered. A run whose models are all
    # logged models, of MLflow 3, has no folder of its own.
    except (PermissionError, FileNotFoundError):
        return []
    return [
        child
        for child in children
        if child.is_dir() and not child.is_symlink() and not child.name.startswith(".")
    ]
