"""The HTTP surface: `/invocations`, `/ping`, `/health`, `/version`, `/info`.

`create_application` makes the Flask application; `create_wsgi` puts a plain WSGI callable in
front of it that answers `POST /invocations` with the same code but without Flask's overhead.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from http.client import responses
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from ..config import ServerConfig
from ..errors import ENDPOINT_NOT_FOUND, INTERNAL_ERROR, ScoringError
from ..model.loading import FLAVOR, LoadedModel
from ..version import __version__
from .batching import Batcher
from .predictor import Predictor
from .scorer import Scorer

if TYPE_CHECKING:
    import flask

logger = logging.getLogger(__name__)

JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream"
TOO_LARGE = 413
READ_SIZE = 1 << 16

_STATUS_LINES = {code: "{} {}".format(code, phrase) for code, phrase in responses.items()}

Environ = Dict[str, Any]


class Answer(NamedTuple):
    """An HTTP answer: `body` is all of it or, for a stream, its pieces."""

    status: int
    headers: List[Tuple[str, str]]
    body: Iterable[bytes]


class Invocations:
    """Answers `POST /invocations`."""

    def __init__(
        self,
        config: ServerConfig,
        model: LoadedModel,
        on_stuck: Optional[Callable[[], None]] = None,
    ) -> None:
        self.scorer = Scorer(config, model)
        settings = config.server
        self.predictor = Predictor(settings.threads, settings.timeout, on_stuck)
        self.max_body = settings.max_body
        self.debug = settings.debug
        can_batch = settings.max_batch_rows > 0 and model.predict_stream is None
        self.batcher = Batcher(self.scorer, settings.max_batch_rows) if can_batch else None

    def answer(self, environ: Environ) -> Answer:
        """The answer to one request, whatever is wrong with it."""
        try:
            body = read_body(environ, self.max_body)
        except ScoringError as error:
            answer = self.error(error)
            # The request was not read to its end: its connection is of no more use.
            return answer._replace(headers=[*answer.headers, ("Connection", "close")])
        return self._answer_body(body, environ.get("CONTENT_TYPE"), environ.get("HTTP_ACCEPT", ""))

    def _answer_body(self, body: bytes, content_type: Optional[str], accept: str) -> Answer:
        try:
            if self.scorer.model.predict_stream is not None:
                return self._answer_or_stream(body, content_type, accept)
            return _json(200, self.predictor.run(lambda: self.scorer.score(body, content_type)))
        except ScoringError as error:
            return self.error(error)
        except Exception as error:
            logger.exception("a request could not be answered")
            return self.error(
                ScoringError("internal error: {}".format(type(error).__name__), INTERNAL_ERROR)
            )

    def answer_together(self, requests: Sequence[Tuple[bytes, Optional[str]]]) -> List[Answer]:
        """The answers to several (body, content type), in as few predictions as they allow.

        Only with batching switched on.
        """
        assert self.batcher is not None
        try:
            outcomes = self.batcher.score(requests)
        except Exception:
            logger.exception("requests could not be answered together")
            return [self._answer_body(body, content_type, "") for body, content_type in requests]
        return [
            self.error(outcome) if isinstance(outcome, ScoringError) else _json(200, outcome)
            for outcome in outcomes
        ]

    def error(self, error: ScoringError) -> Answer:
        """The answer that reports an error."""
        return _json(error.status, error.to_json(self.debug))

    def _answer_or_stream(self, body: bytes, content_type: Optional[str], accept: str) -> Answer:
        scorer = self.scorer
        model_input = scorer.prepare(body, content_type)
        if not (STREAM_TYPE in accept or model_input.stream):
            return _json(
                200,
                self.predictor.run(lambda: scorer.encode(scorer.predict(model_input), model_input)),
            )
        events = self.predictor.iterate(lambda: scorer.stream(model_input))
        # An error before the first event still has a status of its own.
        first = next(events)
        headers = [("Content-Type", STREAM_TYPE), ("Cache-Control", "no-cache")]
        return Answer(200, headers, self._events(first, events))

    def _events(self, first: bytes, events: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield first
            for event in events:
                yield event
        except ScoringError as error:
            # The status is long sent: the error is the stream's last event.
            yield b"event: error\ndata: " + error.to_json(self.debug) + b"\n\n"


def _json(status: int, body: bytes) -> Answer:
    headers = [("Content-Type", JSON_TYPE), ("Content-Length", str(len(body)))]
    return Answer(status, headers, [body])


def read_body(environ: Environ, limit: int) -> bytes:
    """The request's body; raises `ScoringError`: 413 beyond `limit` bytes, reading no further."""
    source = environ["wsgi.input"]
    declared = environ.get("CONTENT_LENGTH") or ""
    if not declared:
        if "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            return b""
        return _read_until_end(source, limit)
    if not (declared.isascii() and declared.isdigit()):
        raise ScoringError("Content-Length is not a number")
    length = int(declared)
    if length > limit:
        raise too_large(limit)
    body = _read(source, length)
    if len(body) < length:
        raise ScoringError("the body ended after {} of {} bytes".format(len(body), length))
    return body


def _read_until_end(source: Any, limit: int) -> bytes:
    pieces: List[bytes] = []
    size = 0
    while True:
        piece = _read(source, READ_SIZE)
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        pieces.append(piece)


def _read(source: Any, size: int) -> bytes:
    try:
        data: bytes = source.read(size)
    except Exception as error:
        # Each WSGI server has exceptions of its own for chunks that are none and the like.
        reason = type(error).__name__
        raise ScoringError("the body could not be read: {}".format(reason)) from error
    return data


def too_large(limit: int) -> ScoringError:
    """The error for a body over the limit."""
    return ScoringError(
        "the body is larger than {} bytes (--max-body)".format(limit), status=TOO_LARGE
    )


def create_application(
    config: ServerConfig, model: LoadedModel, on_stuck: Optional[Callable[[], None]] = None
) -> flask.Flask:
    """The Flask application for a loaded model.

    `on_stuck` is called when a prediction exceeds the time limit, to have the worker replaced.
    """
    return _application(config, Invocations(config, model, on_stuck))


class ScoringWsgi:
    """A WSGI callable: `POST /invocations` answered directly, all else by the Flask application."""

    def __init__(self, config: ServerConfig, invocations: Invocations) -> None:
        self._config = config
        self._invocations = invocations
        self._application: Optional[flask.Flask] = None
        self.can_batch = invocations.batcher is not None

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        if is_invocation(environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")):
            answer = self._invocations.answer(environ)
            start_response(_status_line(answer.status), answer.headers)
            return answer.body
        if self._application is None:
            self._application = _application(self._config, self._invocations)
        return self._application(environ, start_response)

    def answer_together(
        self, requests: Sequence[Tuple[bytes, Optional[str]]]
    ) -> Iterator[Tuple[str, List[Tuple[str, str]], bytes]]:
        """Status line, headers and body for each (body, content type) of several invocations."""
        for answer in self._invocations.answer_together(requests):
            yield _status_line(answer.status), answer.headers, b"".join(answer.body)


def create_wsgi(
    config: ServerConfig, model: LoadedModel, on_stuck: Optional[Callable[[], None]] = None
) -> ScoringWsgi:
    """The WSGI callable for a loaded model; `on_stuck` as for `create_application`."""
    return ScoringWsgi(config, Invocations(config, model, on_stuck))


def is_invocation(method: str, path: str) -> bool:
    """Whether a request asks for predictions."""
    return path == "/invocations" and method == "POST"


def _status_line(status: int) -> str:
    return _STATUS_LINES.get(status) or "{} Error".format(status)


def _application(config: ServerConfig, invocations: Invocations) -> flask.Flask:
    # A tenth of a second at every start, for what few clients ever ask for.
    import flask

    application = flask.Flask(__name__, static_folder=None)

    @application.route("/invocations", methods=["POST"])
    def invoke() -> flask.Response:
        answer = invocations.answer(flask.request.environ)
        return flask.Response(answer.body, answer.status, answer.headers)

    @application.route("/ping", methods=["GET"])
    @application.route("/health", methods=["GET"])
    def ping() -> flask.Response:
        # The server listens only once the model is loaded: to answer is to be healthy.
        return flask.Response("\n", 200, mimetype=JSON_TYPE)

    @application.route("/version", methods=["GET"])
    def version() -> flask.Response:
        return flask.Response(config.model.mlflow_version or "unknown", 200, mimetype=JSON_TYPE)

    @application.route("/info", methods=["GET"])
    def info() -> flask.Response:
        return flask.jsonify(describe(config))

    @application.errorhandler(404)
    @application.errorhandler(405)
    def unknown(error: Any) -> flask.Response:
        problem = ScoringError(
            "{} {}: {}".format(flask.request.method, flask.request.path, error.name),
            ENDPOINT_NOT_FOUND,
            status=error.code,
        )
        return flask.Response(problem.to_json(), error.code, mimetype=JSON_TYPE)

    return application


def _is_remote(uri: Optional[str]) -> bool:
    """Whether a model URI names no path on this machine."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", uri or "")
    return scheme is not None and scheme.group().lower() != "file:"


def describe(config: ServerConfig) -> Dict[str, Any]:
    """What `/info` answers: the model, and the Python and environment that really run."""
    model, environment = config.model, config.environment
    return {
        "model": {
            "name": model.name,
            "uuid": model.uuid,
            "model_id": model.model_id,
            "run_id": model.run_id,
            "uri": model.uri if config.server.debug or _is_remote(model.uri) else None,
            "flavors": sorted(name for name in model.flavors if name != FLAVOR),
            "loader_module": (model.flavors.get(FLAVOR) or {}).get("loader_module"),
            "mlflow_version": model.mlflow_version,
        },
        "environment": {
            "env_manager": environment.env_manager,
            "as_of": environment.as_of,
            "key": environment.key,
        },
        "python": ".".join(map(str, sys.version_info[:3])),
        "scoring_server": __version__,
        "pid": os.getpid(),
    }
