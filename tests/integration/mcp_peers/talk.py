"""The same conversation about tools with any server: by step, by JSON-RPC on every carrier, over sessions.

In: a server's URL. Out: what was asked and answered, with session ids named by their order.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from typing import Any

from websockets.sync.client import connect

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("price", {"item": "egg", "pieces": 2}),
    ("price", {"item": "egg", "pieces": "3"}),
    ("price", {}),
    ("price", {"item": "egg", "colour": "white"}),
    ("buy", {"item": {"name": "egg", "pieces": 2}}),
    ("buy", {"item": {"name": "e"}}),
    ("basket", {}),
    ("totals", {}),
    ("nothing", {}),
    ("untyped", {"x": [1, None, {"a": 2.5}]}),
    ("fail", {}),
    ("fail", {"why": "the name was not found"}),
    ("fail", {"why": "an invalid argument"}),
    ("zz", {}),
    ("remember", {"word": "one"}),
    ("remember", {"word": "two"}),
    ("secret", {"a": 1}),
    ("anywhere", {"n": 1}),
    ("anywhere", {"wrong": 1}),
    ("later", {"n": 1}),
]
TIMEOUT_S = 30
_TOLD = re.compile(r'"result": {"session_id": "([-0-9a-f]{36})"')


class Conversation:
    """What a server answered, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[Any] = []
        self._names: dict[str, str] = {}

    def post(self, value: Any, raw: bytes | None = None) -> Any:
        body = json.dumps(value).encode() if raw is None else raw
        request = urllib.request.Request(
            f"{self.url}/mcp", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer = json.loads(response.read())
        self._hear(["POST", value], answer)
        return answer

    def rpc(self, method: str, **params: Any) -> Any:
        return self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    def http(self, method: str, path: str, value: Any = None) -> bytes:
        body = None if method == "GET" else json.dumps(value).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        answer = json.loads(text) if text.startswith((b"{", b"[")) else text.decode()
        self.heard.append([[method, path, value], {"status": status, "body": answer}])
        return bytes(text)

    def create(self) -> str:
        return str(self.rpc("openenv/session/create")["result"]["session_id"])

    def ask(self, socket: Any, message: Any) -> Any:
        socket.send(json.dumps(message) if not isinstance(message, str) else message)
        answer = json.loads(socket.recv(timeout=TIMEOUT_S))
        self._hear(message, answer)
        return answer

    def _hear(self, asked: Any, answer: Any) -> None:
        text = json.dumps([asked, answer])
        for session_id in _TOLD.findall(text):
            self._names.setdefault(session_id, f"<session {len(self._names)}>")
        for session_id, name in self._names.items():
            text = text.replace(session_id, name)
        self.heard.append(json.loads(text))

    def open(self, path: str) -> Any:
        return connect(f"ws{self.url[4:]}{path}", proxy=None, compression=None, max_size=None)


def by_step(talk: Conversation) -> None:
    """Tool actions on /ws."""
    with talk.open("/ws") as socket:
        talk.ask(socket, {"type": "step", "data": {"type": "list_tools"}})
        talk.ask(socket, {"type": "reset", "data": {"seed": 3, "episode_id": "e"}})
        for name, arguments in CALLS:
            talk.ask(
                socket,
                {"type": "step", "data": {"type": "call_tool", "tool_name": name, "arguments": arguments}},
            )
        for data in (
            {"tool_name": "basket"},
            {"type": "call_tool"},
            {"type": "list_tools", "x": 1},
            {"type": 7},
        ):
            talk.ask(socket, {"type": "step", "data": data})
        for _ in range(2):
            data = {"tool_name": "buy", "arguments": {"item": {"name": "milk"}}}
            talk.ask(socket, {"type": "step", "data": data})
        talk.ask(socket, {"type": "state"})
        rpc = {"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": "basket"}}
        talk.ask(socket, {"type": "mcp", "data": rpc})
        talk.ask(socket, {"type": "mcp", "data": {**rpc, "method": "openenv/session/create"}})
        talk.ask(socket, {"type": "mcp", "data": {**rpc, "method": "initialize"}})


def by_post(talk: Conversation) -> None:
    """JSON-RPC without a session, each call for itself."""
    talk.rpc("tools/list")
    for name, arguments in CALLS:
        talk.rpc("tools/call", name=name, arguments=arguments)
    talk.rpc("tools/call")
    talk.rpc("tools/call", name="basket")
    talk.rpc("tools/call", name="basket", session_id="nobody")
    talk.rpc("tools/list", session_id="nobody")
    talk.rpc("openenv/session/close")
    talk.rpc("openenv/session/close", session_id="nobody")
    talk.rpc("resources/list")
    talk.post({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "nothing"}})
    talk.post(None, raw=b"{")
    talk.post([])


def by_session(talk: Conversation) -> None:
    """A session made over HTTP, alone and with a WebSocket attached."""
    session_id = talk.create()
    for word in ("one", "two"):
        talk.rpc("tools/call", name="remember", arguments={"word": word}, session_id=session_id)
    talk.rpc("tools/list", session_id=session_id)
    with talk.open(f"/ws?session_id={session_id}") as socket:
        talk.ask(socket, {"type": "reset", "data": {}})
        talk.rpc("tools/call", name="buy", arguments={"item": {"name": "egg"}}, session_id=session_id)
        talk.ask(socket, {"type": "step", "data": {"tool_name": "basket"}})
        talk.ask(socket, {"type": "state"})
        with talk.open(f"/ws?session_id={session_id}") as second:
            talk._hear("second", json.loads(second.recv(timeout=TIMEOUT_S)))
    with talk.open("/ws?session_id=nobody") as socket:
        talk._hear("nobody", json.loads(socket.recv(timeout=TIMEOUT_S)))


def by_socket(talk: Conversation) -> None:
    """JSON-RPC on a WebSocket of its own."""
    with talk.open("/mcp") as socket:
        rpc: dict[str, Any] = {"jsonrpc": "2.0", "id": 7, "method": "tools/list"}
        talk.ask(socket, rpc)
        for name, arguments in CALLS:
            call = {**rpc, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
            talk.ask(socket, call)
        created = talk.ask(socket, {**rpc, "method": "openenv/session/create"})
        session_id = created["result"]["session_id"]
        talk.ask(socket, {**rpc, "method": "openenv/session/close", "params": {"session_id": session_id}})
        talk.ask(socket, {**rpc, "method": "nothing"})
        talk.ask(socket, "{")


def by_few(talk: Conversation) -> None:
    """A server that takes one session."""
    first = talk.create()
    talk.rpc("openenv/session/create")
    with talk.open("/mcp") as socket:
        talk._hear("full", json.loads(socket.recv(timeout=TIMEOUT_S)))
    for _ in range(5):
        talk.rpc("openenv/session/close", session_id=first)
        first = talk.create()
    talk.rpc("openenv/session/close", session_id=first)


TASK_BODIES: list[tuple[str, Any]] = [
    *(
        ("tasks", body)
        for body in ({"split": "test"}, {"split": "missing"}, {"split": "broken"}, {}, [], None)
    ),
    ("tasks", {"split": 3}),
    ("tasks", {"split": "test", "more": 1}),
    ("num_tasks", {"split": "test"}),
    ("num_tasks", {"split": None}),
    *(("task", {"split": "test", "index": index}) for index in (0, 2, 3, -1, "1", 1.0, 1.5, None, True)),
    ("task", {"split": "test"}),
    *(("task_range", {"split": "test", **bounds}) for bounds in ({}, {"start": 2}, {"stop": 2})),
    ("task_range", {"split": "test", "start": "1", "stop": -1}),
    ("task_range", {"split": "test", "start": "x"}),
]


def by_tasks(talk: Conversation) -> None:
    """The Task API."""
    (name,) = json.loads(talk.http("GET", "/list_environments"))
    for path in (f"/{name}/splits", f"/{name.upper()}/splits", "/nobody/splits"):
        talk.http("GET", path)
    for method, body in TASK_BODIES:
        talk.http("POST", f"/{name}/{method}", body)
    talk.http("POST", "/nobody/task", {"split": "a", "index": 0})
    talk.http("GET", f"/{name}/tasks")


PARTS = {
    "step": by_step,
    "post": by_post,
    "session": by_session,
    "socket": by_socket,
    "few": by_few,
    "tasks": by_tasks,
}


def heard(url: str, *parts: str) -> dict[str, list[Any]]:
    """Have the named parts of the conversation; gives ``[asked, answered]`` pairs by part."""
    found = {}
    for part in parts:
        talk = Conversation(url)
        PARTS[part](talk)
        found[part] = talk.heard
    return found
