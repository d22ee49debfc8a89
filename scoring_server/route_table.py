"""The one table of routes: who answers a request, whether it needs a token, 404, 405."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Pattern, Sequence, Tuple
from urllib.parse import unquote_to_bytes

from .config import ConfigError
from .errors import ScoringError, code_of_status
from .routes import REASONS, Answer, Route, RouteGroup

_PARAMETER = re.compile(r"<(\w+)>")
# Paths of no route are counted together: a label for each path that anyone asks for has no bound.
OTHER = "other"


class Match(NamedTuple):
    """What the table says about a method and a path.

    :param place: the route's in the table; -1 without a route (404, 405).
    :param label: the route's in the metrics.
    :param params: those of the route's path.
    :param allowed: without a route, the methods that the path has.
    """

    place: int
    group: RouteGroup
    route: Optional[Route]
    label: str
    params: Dict[str, str]
    allowed: Tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether no token is needed."""
        return self.route is not None and self.route.is_open

    def refusal(self, method: str, path: str) -> Answer:
        """The answer where no route takes the request: 405 with `Allow`, or 404."""
        return refusal(self.group, method, path, self.allowed)


def refusal(group: RouteGroup, method: str, path: str, allowed: Sequence[str] = ()) -> Answer:
    """A group's 405 with `Allow`, or where no method is allowed 404."""
    status = 405 if allowed else 404
    message = "{} {}: {}.".format(method[:20], path[:200], REASONS[status])
    if not allowed and group.remark:
        message += " " + group.remark
    answer = group.error(ScoringError(message, code_of_status(status), status))
    if allowed:
        answer.headers.append(("Allow", ", ".join(allowed)))
    return answer


class RouteTable:
    """Finds the route of a request.

    :param groups: the first reports the errors of paths that no route has.
    :param root_path: paths that begin with it are found as those without it are: one proxy takes
        it off, another leaves it there.
    :raises ValueError: two routes take the same requests.
    :raises ConfigError: the root path is none.
    """

    def __init__(self, groups: Sequence[RouteGroup], root_path: str = "") -> None:
        self.groups = tuple(groups)
        self.root_path = ""
        if root_path:
            from .web.address import root_path_of  # here: most servers have none

            try:
                self.root_path = root_path_of(root_path)
            except ValueError as error:
                raise ConfigError(str(error)) from error
        self.routes = [(group, route) for group in groups for route in group.routes]
        self._nothing = Match(-1, self.groups[0], None, OTHER, {})
        self._fixed: Dict[str, Dict[str, Match]] = {}
        self._patterns: List[Tuple[Pattern[str], Dict[str, Match]]] = []
        for match in self.matches():
            route: Any = match.route
            methods = self._methods_of(route.path)
            for method in methods_of(route):
                if method in methods:
                    raise ValueError("Two routes take {} {}.".format(method, route.path))
                methods[method] = match

    def _methods_of(self, path: str) -> Dict[str, Match]:
        if not _PARAMETER.search(path):
            return self._fixed.setdefault(path, {})
        parts = _PARAMETER.split(path)
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = ["(?P<{}>[^/]+)".format(name) for name in parts[1::2]]
        pattern = re.compile("".join(parts))
        for known, methods in self._patterns:
            if known == pattern:
                return methods
        self._patterns.append((pattern, {}))
        return self._patterns[-1][1]

    def matches(self) -> Iterator[Match]:
        """A match of each route."""
        for place, (group, route) in enumerate(self.routes):
            yield Match(place, group, route, route.path, {})

    def find(self, method: str, path: str) -> Match:
        """What takes the request.

        :param path: as it was sent, percent-encoded.
        """
        methods = self._fixed.get(path)
        if methods is not None:
            return methods.get(method) or self._without(methods)
        path = _decoded(path)
        found = self._look_up(path) or self._look_up(self._below_root(path))
        if found is not None:
            methods, params = found
            match = methods.get(method) or self._without(methods)
            return match._replace(params=params) if params else match
        for group in self.groups:
            below = group.errors_below
            if below is not None and self._below_root(path).startswith(below + "/"):
                return self._nothing._replace(group=group)
        return self._nothing

    def inner_path(self, path: str) -> str:
        """The decoded path as its route has it: without the root path, if it begins with that."""
        return path if self._look_up(path) is not None else self._below_root(path)

    def _look_up(self, path: str) -> Optional[Tuple[Dict[str, Match], Dict[str, str]]]:
        """What the methods of a decoded path lead to, and the path's parameters."""
        methods = self._fixed.get(path)
        if methods is not None:
            return methods, {}
        for pattern, methods in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None:
                return methods, found.groupdict()
        return None

    def _below_root(self, path: str) -> str:
        root = self.root_path
        if root and (path == root or path.startswith(root + "/")):
            return path[len(root) :] or "/"
        return path

    @staticmethod
    def _without(methods: Dict[str, Match]) -> Match:
        any_match = next(iter(methods.values()))
        return any_match._replace(place=-1, route=None, allowed=tuple(sorted(methods)))


def _decoded(path: str) -> str:
    if "%" not in path:
        return path
    return unquote_to_bytes(path.encode("latin-1")).decode("utf-8", "replace")


def methods_of(route: Route) -> Tuple[str, ...]:
    """The methods that the route takes: HEAD comes with GET."""
    return (*route.methods, "HEAD") if "GET" in route.methods else route.methods
