"""What a server process tells the launcher: the events of the status pipe, for both sides.

On the pipe an event is one line: a JSON object with the event's name and its fields, such as
``{"event": "loaded", "seconds": 0.3}``. The launcher reads this module too, so that no name of an
event or a field is written twice; it imports nothing but the standard library.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Type


@dataclass(frozen=True)
class Event:
    """Something that a server process has to say."""


@dataclass(frozen=True)
class Loading(Event):
    """It begins to load the model."""


@dataclass(frozen=True)
class Loaded(Event):
    """It has loaded the model, which took so many seconds."""

    seconds: float


@dataclass(frozen=True)
class NotForkable(Event):
    """The loaded model does not survive a fork: each worker loads its own."""

    reasons: List[str]


@dataclass(frozen=True)
class Ready(Event):
    """It listens, and a worker has the model."""


@dataclass(frozen=True)
class Failed(Event):
    """It cannot go on: what is wrong, what to do about it, and the traceback for the log."""

    message: str
    hint: Optional[str] = None
    traceback: str = ""


@dataclass(frozen=True)
class Progress(Event):
    """A file is being scored: bytes of it that were read, rows that were scored."""

    bytes_read: int
    rows: int


@dataclass(frozen=True)
class Done(Event):
    """The file has been scored."""

    rows: int


@dataclass(frozen=True)
class Summary(Event):
    """What `launcher ps` shows: invocations answered, process ids of the workers, queue length."""

    requests: int
    workers: List[int]
    queue: int


@dataclass(frozen=True)
class WorkerCrashed(Event):
    """A worker died by itself; `early`: it had answered nothing."""

    reason: str
    early: bool


@dataclass(frozen=True)
class Draining(Event):
    """It takes no more connections: they are the next server's."""


_KINDS: Dict[str, Type[Event]] = {
    "loading": Loading,
    "loaded": Loaded,
    "not_forkable": NotForkable,
    "ready": Ready,
    "failed": Failed,
    "progress": Progress,
    "done": Done,
    "summary": Summary,
    "worker_crashed": WorkerCrashed,
    "draining": Draining,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def encode(event: Event) -> bytes:
    """The event as a line of the status pipe."""
    return json.dumps({"event": _NAMES[type(event)], **dataclasses.asdict(event)}).encode() + b"\n"


def decode(line: bytes) -> Event:
    """The event of a line of the status pipe.

    Fields that this version does not know are left out, so that a launcher and a server of
    neighbouring versions understand each other.

    :raises ValueError: the line is no event (the model may have written to the pipe).
    """
    try:
        document: Any = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    name = document.get("event") if isinstance(document, dict) else None
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError("not an event: {!r}".format(line[:200]))
    values = {}
    for field in dataclasses.fields(kind):
        if field.name in document:
            values[field.name] = document[field.name]
        elif field.default is dataclasses.MISSING:
            raise ValueError("the event {} has no {}".format(name, field.name))
    wrong = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name in values and not _fits(values[field.name], str(field.type))
    ]
    if wrong:
        raise ValueError("the event {} has an odd {}".format(name, wrong[0]))
    return kind(**values)


_TYPES: Dict[str, Any] = {"float": (int, float), "int": int, "str": str, "bool": bool}


def _fits(value: Any, annotation: str) -> bool:
    """Whether a JSON value is of the type that a field is annotated with."""
    outer, _, inner = annotation.rstrip("]").partition("[")
    if outer == "Optional":
        return value is None or _fits(value, inner)
    if outer == "List":
        return isinstance(value, list) and all(_fits(item, inner) for item in value)
    return isinstance(value, _TYPES[outer]) and (outer == "bool" or not isinstance(value, bool))
