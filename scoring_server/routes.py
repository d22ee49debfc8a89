"""What the server answers: routes, and a request and its answer as values.

A `Route` says which requests it takes and who answers them. To add one, put it into a `RouteGroup`
and that into `protocols/registry.py`; nothing else knows paths.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from .errors import ScoringError

# Who answers a route: the front at once, the pages' process (what needs neither the model nor the
# front), or a worker, which has the model.
FRONT, PAGES, WORKER = "front", "pages", "worker"

Headers = List[Tuple[str, str]]
# Names of stages, with the seconds of each, and when it began (`time.monotonic()`).
StageTimes = Sequence[Tuple[str, float, float]]
JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream"
# RFC 9110, 15; what Python and Werkzeug say changes with their releases.
REASONS = {
    **{each.value: each.phrase for each in HTTPStatus},
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
# Who sends this header gets `Server-Timing`; nobody else pays for it.
WANTS_TIMING = "want-server-timing"


class Vitals:
    """What a route may ask of the server that answers it."""

    @property
    def is_ready(self) -> bool:
        """Whether predictions would be answered now."""
        raise NotImplementedError

    def metrics(self) -> bytes:
        """All figures in Prometheus' text format."""
        raise NotImplementedError

    @property
    def groups(self) -> Sequence[RouteGroup]:
        """The routes that it serves."""
        raise NotImplementedError


class Answer(NamedTuple):
    """An HTTP answer.

    :param body: all of it or, for a stream, its pieces.
    :param stages: what answering took.
    """

    status: int
    headers: Headers
    body: Union[bytes, Iterator[bytes]]
    stages: StageTimes = ()


@dataclass(frozen=True)
class Route:
    """Requests that are answered alike.

    :param path: may have parameters, as in `/v2/models/<name>/infer`: each stands for one segment.
        It is the route's label in the metrics, too.
    :param methods: with GET they have HEAD as well.
    :param answered_by: FRONT, PAGES or WORKER.
    :param handle: answers where no model is needed (`answered_by` is not WORKER).
    :param is_open: whether it needs no token.
    """

    path: str
    methods: Tuple[str, ...]
    answered_by: str
    handle: Optional[Callable[[Request, Vitals], Answer]] = None
    is_open: bool = False


class Description(NamedTuple):
    """What a group says of its routes, in the words of OpenAPI 3.1.

    What all of them have in common (errors, the token, headers, the parameters of their paths) is
    added by `protocols/openapi.py`.

    :param operations: an Operation Object for each route, by method and path as in
        `POST /invocations`. A route that the model has no use for is left out.
    :param schemas: what the operations refer to as `#/components/schemas/NAME`.
    :param error: the schema of what `RouteGroup.error` makes.
    """

    operations: Dict[str, Dict[str, Any]]
    schemas: Dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    error: Dict[str, Any] = {"$ref": "#/components/schemas/Error"}  # noqa: RUF012


class RouteGroup:
    """Routes that belong together and report errors in one form: a wire protocol's, say.

    That form is also that of the errors of paths below `errors_below` that have no route; what
    there is instead, `remark` says.
    """

    name = ""
    routes: Sequence[Route] = ()
    errors_below: Optional[str] = None
    remark = ""

    def describe(self) -> Description:
        """What `/openapi.json` says of the routes; asked for in the pages' process only."""
        return Description({})

    def problem(self, _params: Dict[str, str]) -> Optional[ScoringError]:
        """What is wrong with a path's parameters, as far as that can be said without the model."""
        return None

    def error(self, error: ScoringError) -> Answer:
        """The answer that reports an error."""
        return error_answer(error)


class Request(NamedTuple):
    """A complete request and the route that takes it.

    :param path: as it was sent, percent-encoded.
    :param params: those of the route's path.
    :param query: what comes after the path's question mark.
    :param headers: by lower-case name.
    """

    group: Any  # RouteGroup; a WireProtocol where a worker answers
    route: Route
    method: str
    path: str
    params: Dict[str, str]
    query: str
    headers: Dict[str, str]
    body: bytes


def described_response(
    description: str, media_type: str, schema: Optional[Dict[str, Any]] = None
) -> Dict[str, Any]:
    """A Response Object of a `Description`."""
    media: Dict[str, Any] = {} if schema is None else {"schema": schema}
    return {"description": description, "content": {media_type: media}}


def status_line(status: int) -> str:
    """The status with its reason phrase; a model may answer with one that nobody knows."""
    return "{} {}".format(status, REASONS.get(status, "Unknown"))


def server_timing(stages: StageTimes, waited: Optional[float]) -> Tuple[str, str]:
    """The header that tells a client what its answer took (W3C Server Timing, milliseconds).

    :param waited: seconds in the queue; None where there is none.
    """
    queue = [] if waited is None else [("queue", waited, 0.0)]
    parts = ["{};dur={:.3f}".format(name, took * 1000) for name, took, _ in [*queue, *stages]]
    return "Server-Timing", ", ".join(parts)


def json_answer(status: int, value: Any) -> Answer:
    """An answer with JSON for its body."""
    return Answer(status, [("Content-Type", JSON_TYPE)], json.dumps(value).encode("ascii"))


def error_answer(error: ScoringError, debug: bool = False) -> Answer:
    """An error in MLflow's JSON shape, which is the server's own.

    :param debug: whether the stack trace is in it.
    """
    body = {"error_code": error.error_code, "message": error.message}
    if debug and error.stack_trace:
        body["stack_trace"] = error.stack_trace
    return json_answer(error.status, body)
