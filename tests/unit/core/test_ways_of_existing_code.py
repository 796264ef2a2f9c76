"""What existing applications do with the modules of `openenv.core` beyond importing the obvious names."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any
from unittest.mock import MagicMock

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.testclient import TestClient

from openenv.core.env_server import http_server, types
from openenv.core.env_server.gradio_ui import build_gradio_app, get_gradio_display_title
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.web_interface import (
    WebInterfaceManager,
    _extract_action_fields,
    _is_chat_env,
    get_quick_start_markdown,
    load_environment_metadata,
)
from openenv.core.generic_client import GenericEnvClient
from openenv.core.sync_client import SyncEnvClient

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "env_client": ("StepResult",),
    "generic_client": ("EnvClient", "StepResult"),
    "mcp_client": ("EnvClient", "Observation", "State", "StepResult"),
    "sync_client": ("StepResult",),
    "env_server.interfaces": ("Action", "EnvironmentMetadata", "Observation", "State"),
    "env_server.base_transforms": ("Observation", "Transform"),
    "env_server.mcp_types": ("Action", "BaseMessage", "Observation"),
    "env_server.mcp_environment": ("Action", "CallToolAction", "Environment", "Observation", "Tool"),
    "env_server.serialization": ("Action", "CallToolAction", "ListToolsAction", "Observation"),
    "env_server.http_server": (
        *("Action", "ConcurrencyConfig", "Environment", "HealthResponse", "JsonRpcResponse", "Observation"),
        *("ResetRequest", "ResetResponse", "SchemaResponse", "ServerMode", "State", "StepRequest"),
        *("StepResponse", "WSErrorResponse", "WSObservationResponse", "deserialize_action"),
        *("SessionCapacityError", "get_server_tools", "register_get_endpoints", "serialize_observation"),
    ),
}


class Move(types.Action):
    """As an existing environment declares it."""

    direction: str
    far: int = types.Field(default=1, ge=1, le=9, description="How far")


class Seen(types.Observation):
    """What it gives."""

    place: int = 0


class Walk(Environment[Move, Seen, types.State]):
    """Counts what was walked."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = types.State(episode_id="first", step_count=0)
        self._place = 0

    def reset(self, seed: int | None = None, start: int = 0) -> Seen:
        """Begin somewhere."""
        self._place = start
        self._state = types.State(episode_id="second", step_count=0)
        return Seen(place=start, metadata={"hint": "go"})

    def step(self, action: Move) -> Seen:
        """Walk."""
        self._place += action.far
        self._state.step_count += 1
        return Seen(place=self._place, reward=0.5, done=self._place > 9, metadata={"hint": "on"})

    @property
    def state(self) -> types.State:
        """Where it is."""
        return self._state


class WalkAwaited(Walk):
    """The same, awaited."""

    async def step_async(self, action: Move) -> Seen:
        """Walk."""
        return self.step(action)


def make() -> Any:
    """Its application."""
    return http_server.create_app(Walk, Move, Seen, env_name="walk")


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_module_has_what_the_incumbents_imports_into_it(path: str) -> None:
    """Existing code takes names from wherever it finds them, not only from their homes."""
    module = importlib.import_module(f"openenv.core.{path}")
    assert [name for name in ELSEWHERE[path] if not hasattr(module, name)] == []
    assert not hasattr(module, "nonsense")


def test_a_replaced_serialize_observation_says_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several environments put their metadata elsewhere in this way; the original is still theirs to call."""
    original = http_server.serialize_observation

    def mine(observation: Any) -> dict[str, Any]:
        payload = original(observation)
        payload["observation"] = {**payload["observation"], "also": observation.metadata["hint"]}
        payload.pop("metadata")
        return payload

    monkeypatch.setattr(http_server, "serialize_observation", mine)
    client = TestClient(make())
    assert client.post("/reset", json={"start": 2}).json() == {
        "observation": {"place": 2, "metadata": {"hint": "go"}, "also": "go"},
        "reward": None,
        "done": False,
        "metadata": None,
    }
    with client.websocket_connect("/ws") as socket:
        socket.send_json({"type": "step", "data": {"direction": "north", "far": 3}})
        assert socket.receive_json()["data"] == {
            "observation": {"place": 3, "metadata": {"hint": "on"}, "also": "on"},
            "reward": 0.5,
            "done": False,
        }
    monkeypatch.undo()
    assert "also" not in client.post("/reset", json={}).json()["observation"]


def test_an_application_gives_its_openapi_document_and_takes_another() -> None:
    """As FastAPI's do: from the object, from its class, with the author's routes and ours, cached."""
    app: FastAPI = make()

    @app.get("/mine")
    def mine() -> dict[str, int]:
        return {}

    app.router.routes = [route for route in app.router.routes if getattr(route, "path", "") != "/state"]
    app.title = "Walks"
    documented = type(app).openapi.__get__(app, type(app))
    assert documented() is app.openapi() is app.openapi_schema
    paths = app.openapi()["paths"]
    assert {"/mine", "/reset", "/step", "/health"} <= set(paths)
    assert "/state" not in paths

    def changed() -> Any:
        document = documented()
        document["paths"]["/reset"]["post"]["summary"] = "Mine"
        return document

    app.openapi = changed  # type: ignore[method-assign]
    shown = TestClient(app).get("/openapi.json").json()
    assert shown["paths"]["/reset"]["post"]["summary"] == "Mine"
    assert shown["info"]["title"] == app.openapi()["info"]["title"] == "Walks"
    assert "/state" not in shown["paths"]
    assert "x-websocket" in shown


def test_our_routes_stand_in_the_document_of_an_authors_own_fastapi_application() -> None:
    """`HTTPEnvServer.register_routes` adds them as the incumbent's does."""
    app = FastAPI(title="Mine")
    http_server.HTTPEnvServer(Walk, Move, Seen).register_routes(app)
    shown = TestClient(app).get("/openapi.json").json()
    assert {"/reset", "/step", "/schema"} <= set(shown["paths"])
    assert shown["info"]["title"] == "Mine"


@pytest.mark.parametrize("under", ["", "/openenv"])
@pytest.mark.parametrize("how", ["create_app", "with a route", "own FastAPI"])
def test_an_application_can_be_mounted_in_another(under: str, how: str) -> None:
    """At the root behind an author's own routes, or below a prefix: HTTP and WebSockets."""
    inner: Any = make()
    if how == "own FastAPI":
        inner = FastAPI()
        http_server.HTTPEnvServer(Walk, Move, Seen).register_routes(inner)
    elif how == "with a route":
        inner.add_api_route("/mine", lambda: {"mine": True})
    outer = FastAPI()
    outer.add_api_route("/health", lambda: {"outer": True})
    outer.mount(under, inner)
    client = TestClient(outer)
    assert client.get("/health").json() == {"outer": True}
    assert client.post(f"{under}/reset", json={"start": 4}).json()["observation"]["place"] == 4
    assert client.get(f"{under}/schema").status_code == 200
    if how == "with a route":
        assert client.get(f"{under}/mine").json() == {"mine": True}
    with client.websocket_connect(f"{under}/ws") as socket:
        socket.send_json({"type": "reset", "data": {"start": 5}})
        assert socket.receive_json()["data"]["observation"]["place"] == 5


@pytest.mark.parametrize("env", [Walk, WalkAwaited, lambda: Walk(), Walk()])
def test_a_manager_plays_for_a_page_of_an_authors_own(env: Any) -> None:
    """Reset, step and state from the author's routes; a WebSocket hears of each."""
    app: FastAPI = make()
    manager = WebInterfaceManager(env, Move, Seen, None)

    @app.post("/page/reset")
    async def reset(request: dict[str, Any]) -> Any:
        return await manager.reset_environment(request)

    @app.post("/page/step")
    async def step(request: dict[str, Any]) -> Any:
        return await manager.step_environment(request)

    @app.get("/page/state")
    async def state() -> Any:
        return manager.get_state()

    @app.websocket("/ws/ui")
    async def watched(websocket: WebSocket) -> None:
        await manager.connect_websocket(websocket)
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            await manager.disconnect_websocket(websocket)

    with TestClient(app) as client:
        with client.websocket_connect("/ws/ui") as socket:
            first = socket.receive_json()
            assert (first["type"], first["episode_state"]["step_count"]) == ("state_update", 0)
            shown = client.post("/page/reset", json={"start": 3, "unknown": 1}).json()
            assert shown["observation"]["place"] == 3
            assert socket.receive_json()["episode_state"]["episode_id"] == "second"
            shown = client.post("/page/step", json={"direction": "north", "far": 7}).json()
            assert (shown["observation"]["place"], shown["reward"], shown["done"]) == (10, 0.5, True)
            episode = socket.receive_json()["episode_state"]
        assert client.get("/page/state").json() == {"episode_id": "second", "step_count": 1}
    assert (episode["step_count"], episode["is_reset"]) == (1, False)
    (log,) = episode["action_logs"]
    assert log["action"] == {"direction": "north", "far": 7}
    assert (log["reward"], log["done"], log["step_count"]) == (0.5, True, 1)
    assert manager.metadata.name == type(manager.env).__name__
    assert manager.connected_clients == []


def test_a_form_is_told_of_an_actions_fields() -> None:
    """Names, kinds of input and bounds, in the words that existing pages read."""
    direction, far = _extract_action_fields(Move)
    assert (direction["name"], direction["type"], direction["required"]) == ("direction", "text", True)
    assert (far["type"], far["min_value"], far["max_value"], far["default_value"]) == ("number", 1, 9, 1)
    assert far["help_text"] == "How far"
    assert '{"direction": ...}' in get_quick_start_markdown(load_environment_metadata(Walk), Move, Seen)
    assert not _is_chat_env(Move)


def test_a_gradio_page_is_made_where_gradio_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio is the author's dependency; his page plays with the manager that he gives."""
    played = WebInterfaceManager(Walk, Move, Seen)
    about = load_environment_metadata(Walk, "walk")
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match="gradio"):
        build_gradio_app(played, _extract_action_fields(Move), about)
    gradio = MagicMock()
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    build_gradio_app(played, _extract_action_fields(Move), about, quick_start_md="# Quick")
    gradio.Blocks.assert_called_once_with(title=get_gradio_display_title(about))
    assert gradio.Textbox.call_args.kwargs["label"] == "direction"
    assert gradio.Number.call_args.kwargs["value"] == 1
    reset, step, state = (call.args[0] for call in gradio.Button.return_value.click.call_args_list)

    async def play() -> list[str]:
        return [await reset(), await step("north", 4), state()]

    first, second, third = asyncio.run(play())
    assert '"place": 0' in first
    assert '"place": 4' in second
    assert '"step_count": 1' in third


def test_a_synchronous_client_takes_the_other_by_its_keyword() -> None:
    """As classes that derive from it hand it on."""

    class WalkClient(SyncEnvClient[Any, Any, Any]):
        def __init__(self, base_url: str = "http://localhost:8000") -> None:
            super().__init__(async_client=GenericEnvClient(base_url=base_url))

    assert isinstance(WalkClient().async_client, GenericEnvClient)
