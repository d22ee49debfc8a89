"""What a server process tells the launcher: the events of the status pipe, for both sides.

On the pipe an event is one line: a JSON object with the event's name and its fields, such as
``{"event": "loaded", "seconds": 0.3}``. The launcher reads this module too, so that no name of an
event or a field is written twice; it imports nothing but the standard library.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Type

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(kind):
        """For type checkers an event is a dataclass; at run time `Event` does with less.

        Dataclasses compile their methods when they are made: for ten of them that took longer than
        any other of our modules that the start of a server waits for.
        """
        return kind


class Event:
    """Something that a server process has to say; its fields are its annotations."""

    def __init__(self, *values: Any, **named: Any) -> None:
        self.__dict__.update(zip(self.fields(), values), **named)

    @classmethod
    def fields(cls) -> Dict[str, str]:
        """Names and types, as they are written."""
        fields: Dict[str, str] = getattr(cls, "__annotations__", {})
        return fields


@dataclass
class Loading(Event):
    """It begins to load the model."""


@dataclass
class Loaded(Event):
    """It has loaded the model, which took so many seconds."""

    seconds: float


@dataclass
class NotForkable(Event):
    """The loaded model does not survive a fork: each worker loads its own."""

    reasons: List[str]


@dataclass
class Ready(Event):
    """It listens, and a worker has the model."""


@dataclass
class Failed(Event):
    """It cannot go on: what is wrong, what to do about it, and the traceback for the log."""

    message: str
    hint: Optional[str] = None
    traceback: str = ""


@dataclass
class Progress(Event):
    """A file is being scored: bytes of it that were read, rows that were scored."""

    bytes_read: int
    rows: int


@dataclass
class Done(Event):
    """The file has been scored."""

    rows: int


@dataclass
class Summary(Event):
    """What `launcher ps` shows: invocations answered, process ids of the workers, queue length."""

    requests: int
    workers: List[int]
    queue: int


@dataclass
class WorkerCrashed(Event):
    """A worker died by itself; `early`: it had answered nothing."""

    reason: str
    early: bool


@dataclass
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
    values = {field: getattr(event, field) for field in event.fields()}
    return json.dumps({"event": _NAMES[type(event)], **values}).encode() + b"\n"


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
    for field, annotation in kind.fields().items():
        if field in document:
            values[field] = document[field]
            if not _fits(values[field], annotation):
                raise ValueError("the event {} has an odd {}".format(name, field))
        elif not hasattr(kind, field):
            raise ValueError("the event {} has no {}".format(name, field))
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
