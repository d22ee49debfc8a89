"""Lines of the status pipe, to which a model may write as well: an Event or a ValueError."""

from __future__ import annotations

import typing
from pathlib import Path

from scoring_server.events import Event, decode
from tests.fuzz.target import Found, Input, Target


def prepare(_folder: Path) -> Input:
    return take


def take(line: bytes) -> None:
    try:
        event = decode(line)
    except ValueError:
        return
    for name, wanted in typing.get_type_hints(type(event)).items():
        if not _is_a(getattr(event, name), wanted):
            raise Found(f"{event!r}: {name} is no {wanted}")
    assert isinstance(event, Event)


def _is_a(value: object, wanted: object) -> bool:
    """Whether the launcher can use a field as its type has it."""
    origin = typing.get_origin(wanted)
    if origin is typing.Union:
        return any(_is_a(value, each) for each in typing.get_args(wanted))
    if origin is list:
        (item,) = typing.get_args(wanted)
        return isinstance(value, list) and all(_is_a(each, item) for each in value)
    if wanted is float:
        return isinstance(value, (int, float))
    return isinstance(value, typing.cast(type, wanted))


TARGET = Target(
    prepare,
    longest=65536,
    seconds=1.0,
    words=(
        '{"event": "', "loading", "loaded", '"seconds":', "not_forkable", '"reasons":', "ready",
        "failed", '"message":', '"hint":', '"traceback":', "progress", "summary", '"requests":',
        '"workers":', '"queue":', "worker_crashed", '"reason":', '"early":', "draining", "null",
        "true", "NaN", "1e999", "[[[[", "\\ud800",
    ),
)  # fmt: skip
