"""An `App` that its author goes on to use as a FastAPI application.

In: the calls that an author of FastAPI makes on his application (`@app.get`, `include_router`, `mount`,
`add_middleware`, `exception_handler`, `on_event`, `app.router.routes = [...]`). Out: which requests are for
his part, and that part as an ASGI application. It knows nothing about sockets; who serves decides how.

The FastAPI application is made when it is first asked for, so whoever asks for nothing pays nothing. Our own
routes stand in it, in front, as ordinary routes of FastAPI, so that everything FastAPI says of order holds:
what the author adds behind one of ours never hides it, what he removes is gone, what he puts in its place
answers, and his middleware sees the requests to our routes as well. Each of them hands its request back to
us. A request that would reach one of ours without passing code of the author's does not go that way at all,
see `settle`.

Limits: FastAPI is the environment's dependency, found when needed. Routes that are added while serving are
found, but one that should then stand before one of ours is not.

Reference: https://fastapi.tiangolo.com, https://asgi.readthedocs.io/en/latest/specs/main.html.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from openenv.app import asgi
from openenv.app.context import Response
from openenv.app.openapi import document
from openenv.app.router import Route, Router
from openenv.codec import decode, encode
from openenv.errors import AuthorError
from openenv.protocol.http11 import Request
from openenv.schema import jsonable

if TYPE_CHECKING:
    from openenv.app.app import App

__all__ = ["Delegate", "Part", "app_behind", "fastapi_names"]

_SOCKETS = ("/ws", "/mcp")
_OPENAPI = "/openapi.json"
_INFO = {"title": "OpenEnv Environment HTTP API", "version": "1.0.0"}


class Part(Protocol):
    """What an app asks of its author's part."""

    inner: Any

    def openapi(self) -> Any:
        """The OpenAPI document."""

    def settle(self) -> None:
        """Look at the routes as the author left them."""

    def takes_request(self, request: Request) -> bool:
        """Whether a request is for the author's part."""

    def takes_socket(self, path: str) -> bool:
        """Whether a WebSocket is for the author's part."""


class Delegate:
    """The FastAPI application behind an app.

    Args:
        app: Whose it is.
        rows: Our routes, without those of ``/web``: to an author's own pages those give way.
        inner: A FastAPI application that exists already, to which our routes are added; None makes one.

    Attributes:
        inner: The FastAPI application.

    Raises:
        ImportError: FastAPI is not installed.
    """

    def __init__(self, app: App, rows: Sequence[Route], inner: Any = None) -> None:
        self._app = app
        self._rows = tuple(rows)
        self._router = Router(rows)
        self._native: frozenset[tuple[str, str]] = frozenset()
        self._native_sockets: frozenset[str] = frozenset()
        self._fastapi = import_module("fastapi")
        self._responses = import_module("starlette.responses")
        if inner is None:
            # Pages of its own would hide ours, which are about the environment.
            inner = self._fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None, **_INFO)
            self._not_found = inner.router.default
            inner.router.default = self._otherwise
        self.inner = inner
        self._add_routes()
        inner.openapi = self.openapi
        self._handlers = dict(inner.exception_handlers)

    def _add_routes(self) -> None:
        for row in self._rows:
            self.inner.add_api_route(
                row.path,
                self._endpoint(row),
                methods=[row.method],
                include_in_schema=False,
                response_model=None,
                name=row.handler.__name__,
            )
        for path in _SOCKETS:
            self.inner.router.add_websocket_route(path, self._socket_endpoint(), name=path.strip("/"))

    def _endpoint(self, row: Route) -> Callable[..., Any]:
        async def endpoint(request: Any) -> Any:
            response = await self._answer(request.scope, await request.body())
            if row.path == _OPENAPI and response.status == 200:
                response = response._replace(body=self._with_authors_paths(response.body))
            return self._to_starlette(response)

        endpoint.__annotations__ = {"request": self._fastapi.Request}
        endpoint.__name__ = row.handler.__name__
        endpoint.openenv_app = self._app  # type: ignore[attr-defined]
        return endpoint

    def _socket_endpoint(self) -> Callable[..., Any]:
        async def endpoint(websocket: Any) -> None:
            scope = websocket.scope
            context = self._app.context_of(scope)
            await websocket.receive()  # websocket.connect
            await asgi.answer_socket(self._app, context, scope, websocket.receive, websocket.send)

        endpoint.openenv_app = self._app  # type: ignore[attr-defined]
        return endpoint

    async def _answer(self, scope: Any, body: bytes) -> Response:
        context = self._app.context_of(scope)
        response = await asgi.answer(self._app, context, asgi.request_of(scope, body))
        error = response.error
        if isinstance(error, AuthorError) and self.inner.exception_handlers != self._handlers:
            # He said what is to become of what his environment raises.
            raise error.__cause__ or error
        return response

    def _to_starlette(self, response: Response) -> Any:
        made = self._responses.Response(response.body, response.status)
        made.raw_headers = [
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers),
            *(field for field in made.raw_headers if field[0] == b"content-length"),
        ]
        return made

    async def _otherwise(self, scope: Any, receive: Any, send: Any) -> None:
        """What none of the routes answers: perhaps a page of ours."""
        if scope["type"] == "http":
            request = asgi.request_of(scope, b"")
            # One of ours that the author removed stays removed.
            if self._router.find(request.method, request.path) == (None, ()):
                body = await asgi.read_body(receive, self._app.context_of(scope).config.max_body_bytes)
                response = await self._answer(scope, body or b"")
                if response.status != 404:
                    await self._to_starlette(response)(scope, receive, send)
                    return
        await self._not_found(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """FastAPI's document of the author's routes, and among its paths those of ours that he left."""
        inner = self.inner
        if inner.openapi_schema is None:
            authors = type(inner).openapi(inner)
            rows = [row for row in self._rows if row.public and self._is_ours(row.method, row.path)]
            mine = decode(encode(document(self._app.definition, rows), jsonable))
            _add(authors, mine, "paths")
            _add(authors, mine, "components")
        schema: dict[str, Any] = inner.openapi_schema or {}
        return schema

    def _with_authors_paths(self, body: bytes) -> bytes:
        whole = decode(body)
        authors = self.inner.openapi()
        whole["paths"] = authors.get("paths", {})
        _add(whole, authors, "components")
        whole["info"] |= {
            key: value for key, value in authors.get("info", {}).items() if value != _INFO.get(key)
        }
        return encode(whole)

    # Who answers what

    def settle(self) -> None:
        """Look at the routes as the author left them, and find those requests that are ours alone."""
        base = import_module("starlette.middleware.base").BaseHTTPMiddleware
        classes = [entry.cls for entry in self.inner.user_middleware]
        quiet = not classes and self.inner.exception_handlers == self._handlers
        self._native = frozenset(
            (row.method, row.path)
            for row in self._rows
            if quiet and row.path != _OPENAPI and "{" not in row.path and self._is_ours(row.method, row.path)
        )
        heard = all(
            cls.__module__ in _HTTP_ONLY or (isinstance(cls, type) and issubclass(cls, base))
            for cls in classes
        )
        self._native_sockets = frozenset(path for path in _SOCKETS if heard and self._is_ours(None, path))

    def _is_ours(self, method: str | None, path: str) -> bool:
        """Whether the first route that matches is the one that we put there."""
        full = import_module("starlette.routing").Match.FULL
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": path,
            "root_path": "",
            "headers": [],
            "query_string": b"",
        }
        if method is not None:
            scope |= {"type": "http", "method": method}
        for route in self.inner.router.routes:
            if route.matches(dict(scope))[0] is full:
                return getattr(getattr(route, "endpoint", None), "openenv_app", None) is self._app
        return False

    def takes_request(self, request: Request) -> bool:
        """Whether a request is for the author's part."""
        method = "GET" if request.method == "HEAD" else request.method
        return (method, request.path) not in self._native

    def takes_socket(self, path: str) -> bool:
        """Whether a WebSocket is for the author's part."""
        return path not in self._native_sockets


def _add(whole: dict[str, Any], part: dict[str, Any], key: str) -> None:
    """Add what a document says under a key to another's, whose own words count."""
    there = whole.get(key, {})
    names = [*part.get(key, {}), *(name for name in there if name not in part.get(key, {}))]
    whole[key] = {name: {**part.get(key, {}).get(name, {}), **there.get(name, {})} for name in names}


@cache
def fastapi_names() -> frozenset[str]:
    """What a FastAPI application has; nothing where FastAPI is not installed."""
    try:
        fastapi = import_module("fastapi")
    except ImportError:
        return frozenset()
    return frozenset(dir(fastapi.FastAPI()))


_HTTP_ONLY = frozenset({"starlette.middleware.cors", "starlette.middleware.gzip"})
"""Middleware that lets every WebSocket pass as it is; so does all that derives from BaseHTTPMiddleware."""


def app_behind(application: Any) -> App | None:
    """The app whose routes were added to a FastAPI application, if any were."""
    for route in getattr(application, "routes", ()):
        app: App | None = getattr(getattr(route, "endpoint", None), "openenv_app", None)
        if app is not None:
            return app
    return None
