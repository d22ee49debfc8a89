"""What the launcher is told of a traced request: one line of JSON, which it makes spans of.

The launcher has the library that exports them, so that the model's environment needs none.
"""

from __future__ import annotations

import json
from typing import Any, List, NamedTuple, Tuple

# Bytes of a line and of one write. A write to a pipe of no more than this is not torn on Linux,
# whoever else writes there (POSIX: PIPE_BUF).
LONGEST = 4096


class RequestRecord(NamedTuple):
    """A request that has been answered, and the span that stands for it.

    Times are nanoseconds since the epoch; identifiers are in hexadecimal digits, as W3C Trace
    Context has them.

    :param parent_id: "" where the trace begins here.
    :param state: the `tracestate` that came with it.
    :param route: the route's path, "" where there is none.
    :param status: 499 where its client has gone.
    :param stages: name, start and end of each.
    :param uri: the model's, without credentials.
    :param host: whom the client asked, and at which port: its `Host`.
    """

    trace_id: str
    span_id: str
    parent_id: str
    state: str
    method: str
    path: str
    route: str
    status: int
    start: int
    end: int
    stages: List[Tuple[str, int, int]]
    request_id: str
    client: str
    http: str
    sent: int
    model: str
    version: str
    uri: str
    host: str


_TYPES = [*[str] * 7, int, int, int, list, *[str] * 3, int, *[str] * 4]


def encode(record: RequestRecord) -> bytes:
    """The record as a line, of `LONGEST` bytes at most."""
    line = json.dumps(record).encode("ascii") + b"\n"
    if len(line) > LONGEST:
        # What a client can make long is its path, by characters that are escaped.
        record = record._replace(path=record.path[:100], state="", uri=record.uri[:100])
        line = json.dumps(record).encode("ascii") + b"\n"
    return line


def decode(line: bytes) -> RequestRecord:
    """The record of a line.

    :raises ValueError: it is none (the model may have written to the pipe).
    """
    try:
        values: Any = json.loads(line)
        if not isinstance(values, list) or [type(each) for each in values] != _TYPES:
            raise ValueError("not a record: {!r}".format(line[:200]))
        record = RequestRecord(*values)
        stages = [(str(name), int(start), int(end)) for name, start, end in record.stages]
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return record._replace(stages=stages)
