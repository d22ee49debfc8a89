"""The one way to read YAML: models and their lockfiles come from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from envs.disk.files import read_regular
from envs.errors import EnvError

LARGEST = 8 << 20  # bytes of a file
MOST_NODES = 250_000  # of a document, aliases written out: what is read may be walked
DEEPEST = 100


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file: JSON values, dates, and whatever its aliases share.

    :raises EnvError: it cannot be read, is no regular file, is not YAML, or is larger, deeper or
        by its aliases longer than any model's.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = read_regular(path, LARGEST)
        _check_size(yaml, content, loader, path)
        return yaml.load(content, Loader=loader)
    except OSError as error:
        raise EnvError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise EnvError(f"{path} is not YAML{where}: {reason.rstrip('.')}.") from error


def _check_size(yaml: Any, content: bytes, loader: Any, path: Path) -> None:
    """Count a document's nodes before any of them is made, those behind aliases each time."""
    sizes: dict[str, int] = {}  # of finished nodes, by anchor
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(content, Loader=loader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            if anchor not in sizes:
                raise EnvError(f"{path}: the YAML alias *{anchor} is inside of what it stands for.")
            total += sizes[anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if anchor is not None:
                sizes[anchor] = 1
        if total > MOST_NODES or len(open_nodes) > DEEPEST:
            raise EnvError(
                f"{path} has more than {MOST_NODES} YAML nodes (aliases written out), or more than"
                f" {DEEPEST} levels.",
                hint="No model needs that: do not trust where it came from.",
            )
