"""The whole HTTP surface as one Flask application, made of the handlers that the front uses.

It is what people serve with a WSGI server of their own, and behind the front it answers the pages.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Optional, Sequence, Union

from .access_token import AccessToken
from .config import ServerConfig
from .errors import ScoringError, code_of_status, no_token, too_large
from .front.metrics import Figures, Metrics
from .model.loading import load_model
from .protocols.registry import route_groups
from .route_table import Match, RouteTable
from .routes import (
    WANTS_TIMING,
    WORKER,
    Answer,
    Request,
    RouteGroup,
    Vitals,
    server_timing,
    status_line,
)
from .scoring.application import Application
from .service import Handler

if TYPE_CHECKING:
    import flask

    from .web.cross_origin import CrossOrigin


def create_app(
    config: Union[ServerConfig, str], groups: Optional[Sequence[RouteGroup]] = None
) -> flask.Flask:
    """See `scoring_server.create_app`.

    :param groups: the routes; None for those of the registry.
    """
    if isinstance(config, str):
        config = ServerConfig.read(config)
    root_path = config.server.root_path
    table = RouteTable(route_groups(config) if groups is None else groups, root_path)
    started = time.monotonic()
    application = Application(config, load_model(config), has_process=False)
    vitals = _ProcessVitals(config, table, time.monotonic() - started)
    token = AccessToken.read(config.server.token_file)
    app = _build(config, table, vitals, _taking_turns(application, config.server.threads))
    allowed = None
    if config.server.cors_origin:
        from .web.cross_origin import CrossOrigin

        allowed = CrossOrigin(config.server.cors_origin)
    _guard_and_count(app, table, token, vitals, allowed)
    return app


def pages_handler(config: ServerConfig, table: RouteTable) -> Handler:
    """What answers the pages' routes behind the front, which has looked at the token."""

    def refuse(request: Request) -> Answer:
        raise AssertionError("Predictions go to the workers: " + request.path)

    return _Pages(_build(config, table, _ProcessVitals(config, table, 0.0), refuse))


class _ProcessVitals(Vitals):
    """A server that is this process; it answers once the model is loaded."""

    def __init__(self, config: ServerConfig, table: RouteTable, load_seconds: float) -> None:
        self._table = table
        self.counts = Metrics(config.server)
        self.lock = threading.Lock()
        self._load_seconds = load_seconds

    @property
    def is_ready(self) -> bool:
        return True

    @property
    def groups(self) -> Sequence[RouteGroup]:
        return self._table.groups

    def metrics(self) -> bytes:
        processes = [("server", os.getpid())]
        with self.lock:
            return self.counts.render(Figures(0, 0, 1, self._load_seconds, processes, {}))


class _Pages(Handler):
    def __init__(self, app: flask.Flask) -> None:
        self._app = app

    def answer(self, request: Request) -> Answer:
        """Have the Flask application answer."""
        from werkzeug.test import EnvironBuilder
        from werkzeug.wrappers import Response

        builder = EnvironBuilder(
            path=request.path,
            query_string=request.query,
            # The front leaves out the body for HEAD.
            method="GET" if request.method == "HEAD" else request.method,
            headers=list(request.headers.items()),
            data=request.body,
        )
        response = Response.from_app(self._app, builder.get_environ(), buffered=True)
        headers = [item for item in response.headers if item[0] != "Content-Length"]
        return Answer(response.status_code, headers, response.get_data())


class _HeldStream:
    """A stream's pieces, and the lock that is released when they end or are closed."""

    def __init__(self, pieces: Any, lock: threading.Lock) -> None:
        self._pieces = pieces
        self._lock: Optional[threading.Lock] = lock

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece: bytes = next(self._pieces)
        except BaseException:
            self._release()
            raise
        return piece

    def close(self) -> None:
        """End the stream; WSGI servers call it in any case."""
        self._pieces.close()
        self._release()

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def _taking_turns(application: Application, threads: int) -> Callable[[Request], Answer]:
    """Answer one prediction at a time, unless the model takes several."""
    if threads > 1:
        return application.answer
    lock = threading.Lock()

    def answer(request: Request) -> Answer:
        lock.acquire()
        try:
            answer = application.answer(request)
        except BaseException:
            lock.release()
            raise
        if isinstance(answer.body, bytes):
            lock.release()
            return answer
        return answer._replace(body=_HeldStream(answer.body, lock))

    return answer


def _build(
    config: ServerConfig,
    table: RouteTable,
    vitals: Vitals,
    predict: Callable[[Request], Answer],
) -> flask.Flask:
    """The application, with a blueprint for each group of routes.

    :param predict: answers the routes of workers.
    """
    # A tenth of a second at every start, for what few clients ever ask for.
    import flask
    from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

    app = flask.Flask("scoring_server", static_folder=None)
    if table.root_path:
        app.wsgi_app = _below_root_path(app.wsgi_app, table)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = config.server.max_body

    def too_long(length: Optional[int]) -> bool:
        return length is not None and length > config.server.max_body

    def respond(answer: Answer) -> flask.Response:
        flask.g.stages = answer.stages
        if answer.stages and WANTS_TIMING in flask.request.headers:
            answer.headers.append(server_timing(answer.stages, None))
        return flask.Response(answer.body, status_line(answer.status), answer.headers)

    def view(match: Match) -> Callable[..., flask.Response]:
        route: Any = match.route

        def answer(**params: str) -> flask.Response:
            request = flask.request
            problem = match.group.problem(params) if params else None
            if problem is not None:
                return respond(match.group.error(problem))
            # Werkzeug before 2.3 applies its limit to forms alone.
            if too_long(request.content_length):
                raise RequestEntityTooLarge
            body = request.get_data(cache=False)
            if too_long(len(body)):
                raise RequestEntityTooLarge
            value = Request(
                match.group,
                route,
                request.method,
                request.path,
                params,
                request.query_string.decode("latin-1"),
                _by_lower_name(request),
                body,
            )
            if route.answered_by == WORKER:
                return respond(predict(value))
            return respond(route.handle(value, vitals))

        return answer

    def refused(error: HTTPException) -> flask.Response:
        if isinstance(error.code, int) and error.code in (404, 405):
            match = table.find(flask.request.method, flask.request.path)
            return respond(match.refusal(flask.request.method, flask.request.path))
        code = error.code or 500
        problem = ScoringError(error.description or error.name, code_of_status(code), code)
        if isinstance(error, RequestEntityTooLarge):
            problem = too_large(config.server.max_body)
        group = table.find(flask.request.method, flask.request.path).group
        return respond(group.error(problem))

    app.register_error_handler(HTTPException, refused)
    blueprints = {
        group.name: flask.Blueprint(group.name, "scoring_server") for group in table.groups
    }
    for match in table.matches():
        assert match.route is not None
        blueprints[match.group.name].add_url_rule(
            match.route.path,
            "{}".format(match.place),
            view(match),
            methods=match.route.methods,
            provide_automatic_options=False,
        )
    for blueprint in blueprints.values():
        app.register_blueprint(blueprint)
    return app


def _by_lower_name(request: flask.Request) -> Dict[str, str]:
    return {name.lower(): text for name, text in request.headers.items()}


def _below_root_path(inner: Callable[..., Any], table: RouteTable) -> Callable[..., Any]:
    """The WSGI application below its root path, whether a proxy took that off or not."""

    def application(environ: Dict[str, Any], start_response: Any) -> Any:
        environ["PATH_INFO"] = table.inner_path(environ.get("PATH_INFO", ""))
        # A WSGI server that has been told of it sets it, too.
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME") or table.root_path
        return inner(environ, start_response)

    return application


def _guard_and_count(
    app: flask.Flask,
    table: RouteTable,
    token: AccessToken,
    vitals: _ProcessVitals,
    allowed: Optional[CrossOrigin],
) -> None:
    """What the front does around the handlers: the token, other origins, the figures."""
    import flask

    @app.before_request
    def guard() -> Optional[flask.Response]:
        request = flask.request
        flask.g.began = time.monotonic()
        flask.g.match = match = table.find(request.method, request.path)
        answer = None
        if allowed is not None:
            answer = allowed.preflight(match, request.method, _by_lower_name(request))
        if answer is None:
            if match.is_open or token.fits(request.headers.get("Authorization", "")):
                return None
            answer = match.group.error(no_token())
            answer.headers.append(("WWW-Authenticate", "Bearer"))
        return flask.Response(answer.body, status_line(answer.status), answer.headers)

    @app.after_request
    def add_and_count(response: flask.Response) -> flask.Response:
        seconds = time.monotonic() - flask.g.began
        with vitals.lock:
            vitals.counts.observe(
                flask.g.match, response.status_code, seconds, flask.g.get("stages", ())
            )
        if allowed is not None:
            response.headers.extend(allowed.headers(flask.request.headers.get("Origin")))
        return response
