"""What one server serves: the value that its processes have in common."""

from __future__ import annotations

from typing import Any, Callable, List, NamedTuple, Optional, Sequence

from .config import ServerConfig
from .route_table import RouteTable
from .routes import Answer, Request

# Exit codes of a process whose handler is of no more use.
EXIT_OUT_OF_MEMORY = 4
EXIT_MODEL_ENDED = 5


class Handler:
    """Answers the requests that a process of the server is given.

    `can_batch` says that `answer_together` gains something. Once `exit_code` is not None, this
    process is of no more use: it is to end with that code, and to be replaced.
    """

    can_batch = False
    exit_code: Optional[int] = None

    def answer(self, request: Request) -> Answer:
        """The answer to one request, whatever is wrong with it."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what outlives this process; it answers no more."""

    def answer_together(self, requests: Sequence[Request]) -> List[Answer]:
        """The answers to several, in as little time as they allow."""
        return [self.answer(request) for request in requests]


class Service(NamedTuple):
    """The configuration, the routes, and what makes the handlers.

    :param load: gives a worker its handler, or raises `ModelLoadError`.
    :param load_pages: gives the pages' process its handler.
    :param load_seconds: how long loading the model took; None where each worker loads it.
    :param lane: how the direct lane stands.
    """

    config: ServerConfig
    table: RouteTable
    load: Callable[[], Handler]
    load_pages: Callable[[], Handler]
    load_seconds: Optional[float] = None
    lane: Callable[[], Optional[str]] = lambda: None

    def request(self, meta: Any, body: bytes) -> Request:
        """The request of a message, whose meta is (place, method, path, params, query, headers)."""
        place, method, path, params, query, headers = meta
        group, route = self.table.routes[place]
        return Request(group, route, method, path, params, query, headers, body)
