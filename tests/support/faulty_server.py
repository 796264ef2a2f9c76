"""A sound server, and the same server with one answer spoilt, for the tests of `openenv validate --url`.

In: the name of a fault, as the first segment of the path: ``http://host:port/sick`` is the base URL of a
server that is not healthy, ``http://host:port/sound`` of one without a fault. Out: `app`, for an ASGI server.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from openenv import Action, Environment, Observation, State, create_app, field

__all__ = ["SERVER_FAULTS", "app"]


class Say(Action):
    """What to say."""

    text: str = field(max_length=20)


class Said(Observation):
    """What was said."""

    text: str = ""


class Parrot(Environment[Say, Said, State]):
    """Repeats."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State(episode_id="none")

    def reset(self, seed: int | None = None, episode_id: str | None = None) -> Said:
        self._state = State(episode_id=episode_id or "one")
        return Said(text="hello")

    def step(self, action: Say) -> Said:
        self._state.step_count += 1
        return Said(text=action.text, reward=1.0)

    @property
    def state(self) -> State:
        return self._state


sound = create_app(Parrot, env_name="parrot")

Value = dict[str, Any]
numbers = itertools.count()


def without(*keys: str) -> Callable[[Value], Value]:
    """A spoiler that leaves keys out."""
    return lambda value: {key: item for key, item in value.items() if key not in keys}


def with_data(**fields: Any) -> Callable[[Value], Value]:
    """A spoiler that changes fields of `data`."""
    return lambda value: {**value, "data": {**value["data"], **fields}}


OVER_HTTP: dict[str, tuple[str, str, Callable[[Value], Value] | int]] = {
    "sick": ("health", "/health", lambda value: {"status": "sick"}),
    "no-action-schema": ("schema", "/schema", lambda value: {**value, "action": None}),
    "no-name": ("metadata", "/metadata", lambda value: {**value, "name": None}),
    "metadata-cut-short": ("metadata", "/metadata", without("author")),
    "no-openapi": ("openapi", "/openapi.json", 404),
    "reset-without-done": ("http-reset", "/reset", without("done")),
    "step-without-observation": ("http-step", "/step", without("observation")),
    "refusals-are-crashes": ("http-refusals", "/step", 500),
    "state-without-count": ("http-state", "/state", without("step_count")),
}
"""Fault -> (check that finds it, path, what is done to the answer: a spoiler, or the status that it gets)."""

OVER_WS: dict[str, tuple[str, str, Callable[[Value], Value]]] = {
    "no-reward": (
        "ws-reset",
        "observation",
        lambda value: {**value, "data": without("reward")(value["data"])},
    ),
    "another-reply": ("ws-reset", "observation", lambda value: {**value, "type": "result"}),
    "a-number-as-text": ("ws-fits", "observation", with_data(observation={"text": 7})),
    "a-text-as-reward": ("ws-reward-done", "observation", with_data(reward="high")),
    "null-as-done": ("ws-reward-done", "observation", with_data(done=None)),
    "counts-nothing": ("ws-state", "state", with_data(step_count=0)),
    "state-without-id": ("ws-state", "state", lambda value: {**value, "data": {"step_count": 0}}),
    "one-code-for-all": ("ws-refusals", "error", with_data(code="ERROR")),
    "errors-without-list": ("ws-actions-refused", "error", with_data(errors=[])),
    "shared-state": ("sessions-apart", "state", lambda value: with_data(n=next(numbers))(value)),
    "random": ("ws-seeds-reproduce", "observation", lambda value: with_data(reward=next(numbers))(value)),
}
"""Fault -> (check that finds it, type of the replies that are spoilt, the spoiler)."""

SERVER_FAULTS: dict[str, str] = {
    **{name: row[0] for name, row in OVER_HTTP.items()},
    **{name: row[0] for name, row in OVER_WS.items()},
    "hangs-up-after-an-error": "ws-refusals",
    "steps-fail": "ws-step",
    "full-in-other-words": "capacity",
    "slot-is-kept": "close-frees",
}
"""Every fault, and the check that finds it."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve, with the fault that the path names."""
    if scope["type"] == "lifespan" or scope["path"] == "/health":  # the latter says that we are ready
        await sound(scope, receive, send)
        return
    fault, _, path = scope["path"].removeprefix("/").partition("/")
    inner = {**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}
    if scope["type"] == "http":
        row = OVER_HTTP.get(fault)
        spoiler = row[2] if row is not None and row[1] == inner["path"] else None
        await sound(inner, receive, _Response(send, spoiler))
        return
    if fault in ("full-in-other-words", "slot-is-kept") and not _Session.admits(fault):
        await receive()
        await send({"type": "websocket.accept"})
        code = "BUSY" if fault.startswith("full") else "CAPACITY_REACHED"
        data = {"message": "full", "code": code, "active_sessions": 1, "max_sessions": 1}
        await send({"type": "websocket.send", "text": json.dumps({"type": "error", "data": data})})
        await send({"type": "websocket.close", "code": 1000})
        return
    session = _Session(fault, receive, send)
    try:
        await sound(inner, session.receive, session.send)
    finally:
        session.end()


class _Response:
    """Sends a response on, spoilt."""

    def __init__(self, send: Any, spoiler: Callable[[Value], Value] | int | None) -> None:
        self._send, self._spoiler = send, spoiler
        self._start: Any = None

    async def __call__(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self._start = event
            return
        status, body = self._start["status"], event.get("body", b"")
        if isinstance(self._spoiler, int):
            status = self._spoiler if status != 200 or self._spoiler == 404 else status
        elif self._spoiler is not None and status == 200:
            body = json.dumps(self._spoiler(json.loads(body))).encode()
        kept = [(name, value) for name, value in self._start["headers"] if name != b"content-length"]
        kept.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._start, "status": status, "headers": kept})
        await self._send({**event, "body": body})


class _Session:
    """A WebSocket whose replies are spoilt."""

    n_open = 0
    n_begun = 0

    @classmethod
    def admits(cls, fault: str) -> bool:
        """Whether one more session is let in."""
        if fault == "slot-is-kept":
            cls.n_begun += 1
            return cls.n_begun % 2 == 1
        return cls.n_open < 1

    def __init__(self, fault: str, receive: Any, send: Any) -> None:
        self._fault, self._receive, self._send = fault, receive, send
        self._hung_up = False
        self._counts = fault == "full-in-other-words"
        _Session.n_open += self._counts

    def end(self) -> None:
        """Give back the place."""
        _Session.n_open -= self._counts

    async def receive(self) -> Any:
        """The next event from the client."""
        event = await self._receive()
        if self._fault == "steps-fail" and '"step"' in (event.get("text") or ""):
            event = {**event, "text": '{"type":"step","data":{}}'}
        return event

    async def send(self, event: Any) -> None:
        """Send an event on, spoilt."""
        if self._hung_up:
            return
        if event["type"] == "websocket.send":
            value = json.loads(event.get("text") or event.get("bytes"))
            row = OVER_WS.get(self._fault)
            if row is not None and row[1] == value["type"]:
                value = row[2](value)
            await self._send({"type": "websocket.send", "text": json.dumps(value)})
            if self._fault == "hangs-up-after-an-error" and value["type"] == "error":
                self._hung_up = True
                await self._send({"type": "websocket.close", "code": 1000})
            return
        await self._send(event)
