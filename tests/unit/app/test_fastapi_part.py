"""An app that its author uses as a FastAPI application, asked by Starlette's own `TestClient`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("fastapi")

from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.testclient import TestClient

from openenv.app import delegate
from openenv.app.app import App, create_app
from openenv.app.foreign import ForeignApp, is_asgi, to_app
from openenv.app.registration import HTTPEnvServer, create_fastapi_app
from openenv.errors import ConfigurationError
from openenv.protocol.http11 import Request as Asked
from tests.support.envs import LoopEnv, NoteAction, NoteObservation


def make() -> App:
    """An app without a part of its author's."""
    return create_app(LoopEnv, NoteAction, NoteObservation, env_name="notes")


def asked(method: str, path: str) -> Asked:
    """A request as our own server parses it."""
    return Asked(method, path, path, "", (), "1.1", True, False, b"")


def test_whoever_asks_for_nothing_pays_nothing() -> None:
    """No FastAPI application is made for an app that nobody treats as one."""
    app = make()
    with TestClient(app) as client:
        assert client.get("/health").json() == {"status": "healthy"}
    assert app.delegate is None


def test_an_authors_routes_answer_beside_ours() -> None:
    """Decorators, routers, path parameters; ours are asked first."""
    app = make()
    router = APIRouter(prefix="/api")

    @router.get("/answer")
    def answer() -> dict[str, int]:
        return {"answer": 42}

    @app.get("/health")
    def never_reached() -> None: ...

    @app.get("/things/{name}")
    async def thing(name: str) -> dict[str, str]:
        return {"name": name}

    app.include_router(router)
    client = TestClient(app)
    assert client.get("/api/answer").json() == {"answer": 42}
    assert client.get("/things/a").json() == {"name": "a"}
    assert client.get("/health").json() == {"status": "healthy"}
    assert client.post("/reset", json={}).status_code == 200
    assert client.get("/nowhere").json() == {"detail": "Not Found"}
    assert client.get("/reset").headers["allow"] == "POST"
    assert {"/things/{name}", "/api/answer", "/step"} <= set(client.get("/openapi.json").json()["paths"])


def test_an_authors_pages_come_before_our_page() -> None:
    """Many environments have a page at `/` or `/web`; ours is there where they have none."""
    app = make()

    @app.get("/web")
    def page() -> PlainTextResponse:
        return PlainTextResponse("mine")

    client = TestClient(app)
    assert client.get("/web").text == "mine"
    assert client.get("/", follow_redirects=False).status_code == 307


@pytest.mark.parametrize("removal", ["assigned", "removed"])
def test_removed_routes_are_the_authors_to_replace(removal: str) -> None:
    """By filtering `app.router.routes`, or by removing from `app.routes`."""
    app = make()
    if removal == "assigned":
        app.router.routes = [route for route in app.router.routes if route.path not in ("/reset", "/schema")]
    else:
        for route in [route for route in app.routes if route.path in ("/reset", "/schema")]:
            app.routes.remove(route)

    @app.post("/reset")
    def reset() -> dict[str, bool]:
        return {"mine": True}

    client = TestClient(app)
    assert client.post("/reset", json={}).json() == {"mine": True}
    assert client.get("/schema").status_code == 404
    assert client.get("/metadata").status_code == 200


def test_middleware_and_exception_handlers_see_our_routes() -> None:
    """As they would if our routes were FastAPI's own."""
    app = make()

    @app.middleware("http")
    async def stamp(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-stamp"] = request.url.path
        return response

    @app.exception_handler(KeyError)
    async def handled(request: Request, error: KeyError) -> JSONResponse:
        return JSONResponse({"handled": str(error)}, 409)

    client = TestClient(app)
    assert client.get("/health").headers["x-stamp"] == "/health"
    failed = client.post("/step", json={"action": {"message": "a", "fail": True}})
    assert (failed.status_code, failed.json()) == (409, {"handled": "'lost'"})


def test_sessions_are_held_through_the_authors_part() -> None:
    """`/ws` under `TestClient`, and a WebSocket of the author's beside it."""
    app = make()

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    with TestClient(app) as client:
        with client.websocket_connect("/ws") as socket:
            socket.send_json({"type": "reset"})
            socket.send_json({"type": "step", "data": {"message": "hi"}})
            socket.receive_json()
            assert socket.receive_json()["data"]["observation"]["echoed"] == "hi"
        with client.websocket_connect("/echo") as socket:
            socket.send_text("hi")
            assert socket.receive_text() == "hi"


def test_a_lifespan_of_the_authors_runs_around_everything() -> None:
    """And what it leaves is in the requests' state."""
    events = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, int]]:
        events.append("up")
        yield {"answer": 42}
        events.append("down")

    app = make()
    app.router.lifespan_context = lifespan

    @app.get("/answer")
    def answer(request: Request) -> int:
        return int(request.state.answer)

    with TestClient(app) as client:
        assert client.get("/answer").json() == 42
    assert events == ["up", "down"]


def test_routes_are_added_to_an_application_that_exists() -> None:
    """`HTTPEnvServer.register_routes`; `openenv serve` then serves the app that they are of."""
    outer = FastAPI()
    server = HTTPEnvServer(LoopEnv, NoteAction, NoteObservation, max_concurrent_envs=1)
    server.register_routes(outer, mode="production")
    client = TestClient(outer)
    assert client.get("/health").json() == {"status": "healthy"}
    assert client.post("/reset", json={}).status_code == 404
    assert to_app(outer) is server.app
    assert (server.max_concurrent_envs, server.active_sessions) == (1, 0)
    with pytest.raises(ValueError, match="already"):
        server.register_routes(FastAPI())
    with pytest.raises(ConfigurationError, match="expected mode"):
        HTTPEnvServer(LoopEnv, NoteAction, NoteObservation).register_routes(FastAPI(), mode="training")


def test_an_app_is_mounted_in_another() -> None:
    """Its paths are then below the prefix."""
    outer = FastAPI()
    outer.mount("/counter", create_fastapi_app(LoopEnv, NoteAction, NoteObservation, 1, None, "counter"))
    assert TestClient(outer).get("/counter/health").json() == {"status": "healthy"}


def test_our_server_answers_itself_what_passes_no_code_of_the_authors() -> None:
    """Requests and WebSockets go through FastAPI only where the author's code is in their way."""
    app = make()
    app.get("/mine")(lambda: None)
    part = app.delegate
    assert part is not None
    part.settle()
    assert not part.takes_request(asked("GET", "/health"))
    assert not part.takes_request(asked("HEAD", "/health"))
    assert part.takes_request(asked("GET", "/mine"))
    assert not part.takes_socket("/ws")
    app.middleware("http")(lambda request, call_next: call_next(request))
    part.settle()
    assert part.takes_request(asked("GET", "/health"))
    assert not part.takes_socket("/ws")
    assert app.is_session_path("/ws")

    class Everything:
        def __init__(self, app: Any) -> None: ...

    app.add_middleware(Everything)
    part.settle()
    assert part.takes_socket("/ws")
    assert not app.is_session_path("/ws")


def test_attributes_of_fastapi_are_set_on_fastapi() -> None:
    """And any other on the app."""
    app = make()
    app.title = "Mine"
    app.anything = 5
    assert app.delegate is not None
    assert app.delegate.inner.title == "Mine"
    assert (app.anything, app.delegate.inner.title) == (5, "Mine")
    with pytest.raises(AttributeError, match="App has no attribute 'nonsense'"):
        _ = app.nonsense


def test_without_fastapi_the_attribute_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI is the environment's own dependency."""
    monkeypatch.setitem(__import__("sys").modules, "fastapi", None)
    delegate.fastapi_names.cache_clear()
    try:
        with pytest.raises(AttributeError, match="fastapi, which may have it, is not installed"):
            _ = make().get
    finally:
        delegate.fastapi_names.cache_clear()


def test_any_asgi_application_is_an_app() -> None:
    """Every request is then its own affair."""

    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    async def other(scope: Any) -> None: ...

    assert is_asgi(application)
    assert is_asgi(FastAPI())
    assert not is_asgi(FastAPI)
    assert not is_asgi(other)
    app = to_app(application)
    assert isinstance(app, ForeignApp)
    assert app.part is application
    assert app.delegate is not None
    assert app.delegate.takes_request(asked("GET", "/health"))
    assert not app.is_session_path("/ws")
