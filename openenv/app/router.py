"""Which handler answers a path and a method. A path template may have `{name}` segments.

HEAD is answered by what answers GET. Reference: RFC 9110 sections 9.3.2 and 15.5.6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from openenv.app.context import Handler

__all__ = ["Match", "Route", "Router"]


class Route(NamedTuple):
    """One row of the route table.

    Attributes:
        method: GET, POST, ... or WEBSOCKET.
        path: `/step`, or a template such as `/{env_name}/splits`.
        handler: What answers it.
        control: Whether it steers an environment, and so is absent in production mode.
        public: Whether `/openapi.json` shows it.
        web: Whether it is part of `/web`, and so absent where ENABLE_WEB_INTERFACE is off.
    """

    method: str
    path: str
    handler: Handler
    control: bool = False
    public: bool = True
    web: bool = False


class Match(NamedTuple):
    """What was found for a request.

    Attributes:
        handler: None where nothing answers that path and method.
        allowed: Methods that the path knows; empty where the path itself is unknown.
    """

    handler: Handler | None
    allowed: tuple[str, ...]


class Router:
    """Finds handlers.

    Args:
        routes: Earlier ones win over later ones.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        # Matches are made here once, and not for every request.
        self._exact: dict[str, dict[str, Match]] = {}
        self._templates: list[tuple[list[str], dict[str, Match]]] = []
        for route in routes:
            if "{" in route.path:
                self._add_template(route)
            else:
                self._exact.setdefault(route.path, {}).setdefault(route.method, Match(route.handler, ()))

    def _add_template(self, route: Route) -> None:
        segments = route.path.split("/")
        for known, handlers in self._templates:
            if known == segments:
                handlers.setdefault(route.method, Match(route.handler, ()))
                return
        self._templates.append((segments, {route.method: Match(route.handler, ())}))

    def find(self, method: str, path: str) -> Match:
        """Find the handler of a request."""
        handlers = self._exact.get(path)
        if handlers is None:
            handlers = self._find_template(path)
            if handlers is None:
                return Match(None, ())
        match = handlers.get("GET" if method == "HEAD" else method)
        return Match(None, _allowed(handlers)) if match is None else match

    def _find_template(self, path: str) -> dict[str, Match] | None:
        segments = path.split("/")
        for known, handlers in self._templates:
            if len(known) == len(segments) and all(
                part == name or (name.startswith("{") and part)
                for name, part in zip(known, segments, strict=True)
            ):
                return handlers
        return None


def _allowed(handlers: dict[str, Match]) -> tuple[str, ...]:
    return tuple(method for method in handlers if method != "WEBSOCKET")
