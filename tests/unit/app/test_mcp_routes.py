"""`/mcp` in both dialects and on each carrier, and the turns that a session's callers take."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from openenv.environment import Environment
from openenv.mcp import CallToolAction, CallToolObservation, ListToolsObservation, MCPEnvironment, Tool, tool
from openenv.models import Observation, State
from tests.support import envs
from tests.support.worker import Transport, Worker


class Counter(MCPEnvironment):
    """Counts, on the thread of its session, and can be held up."""

    SUPPORTS_CONCURRENT_SESSIONS = True
    closed = 0
    gate: asyncio.Event

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.thread = threading.current_thread().name

    @tool
    def add(self, n: int) -> int:
        """Add to the total."""
        assert threading.current_thread().name == self.thread
        self.total += n
        return self.total

    @tool
    async def hold(self) -> int:
        """Wait for the gate."""
        await type(self).gate.wait()
        return self.total

    @tool
    def fail(self) -> None:
        """Raise."""
        raise ValueError("no")

    def reset(self, seed: int | None = None) -> Observation:
        self.total = seed or 0
        return Observation()

    @property
    def state(self) -> State:
        return State(step_count=self.total)

    def close(self) -> None:
        assert threading.current_thread().name == self.thread
        super().close()
        type(self).closed += 1


class Closing(Counter):
    """For one test that counts what it closed."""

    closed = 0


class Answer:
    """One HTTP answer, taken apart."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def result(self) -> Any:
        return self.json["result"]


def start(worker: Worker, method: str, value: Any = None, **headers: str) -> Transport:
    body = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
    lines = [f"{method} /mcp HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    transport = worker.connect()
    transport.protocol.data_received("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return transport


async def ask(worker: Worker, method: str, value: Any = None, **headers: str) -> Answer:
    return Answer(await start(worker, method, value, **headers).until(b"\r\n\r\n"))


def rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def post(worker: Worker, method: str, **params: Any) -> Answer:
    return await ask(worker, "POST", rpc(method, **params))


async def initialized(worker: Worker) -> str:
    answer = await post(worker, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={})
    assert answer.result["protocolVersion"] == "2025-06-18"
    return answer.headers["mcp-session-id"]


def connected(worker: Worker, path: str) -> Transport:
    transport = worker.connect()
    head = (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    transport.protocol.data_received(head.encode())
    assert b"\r\n\r\n" in transport.written
    del transport.written[: transport.written.index(b"\r\n\r\n") + 4]
    return transport


def send(socket: Transport, value: Any) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    socket.protocol.data_received(Frame(Opcode.TEXT, data).serialize(mask=True))


async def hear(socket: Transport, value: Any = None) -> Any:
    """The next message, one unmasked frame (RFC 6455, section 5.2); a `value` is sent first."""
    if value is not None:
        send(socket, value)
    written = socket.written
    if not written:
        written[:] = await socket.until(b"}")
    assert written[0] == 0x80 | Opcode.TEXT
    length, start = written[1], 2
    assert length < 127
    if length == 126:
        length, start = int.from_bytes(written[2:4]), 4
    message = bytes(written[start : start + length])
    del written[: start + length]
    return json.loads(message)


def play(test: Callable[[Worker], Awaitable[None]], env: Any = Counter, **options: Any) -> None:
    async def main() -> None:
        Counter.gate = asyncio.Event()
        async with Worker(env, **options) as worker:
            await test(worker)

    asyncio.run(main())


def test_a_handshake_makes_a_session_that_keeps_its_environment() -> None:
    """It counts against the capacity until it is deleted."""

    async def test(worker: Worker) -> None:
        session = await initialized(worker)
        assert worker.capacity.active == 1
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        accepted = await ask(worker, "POST", note, Mcp_Session_Id=session, Mcp_Protocol_Version="2025-06-18")
        assert (accepted.status, accepted.body) == (202, b"")
        for total in (2, 4):
            call = rpc("tools/call", name="add", arguments={"n": 2})
            answer = await ask(worker, "POST", call, Mcp_Session_Id=session)
            assert answer.result == {
                "content": [{"type": "text", "text": str(total)}],
                "structuredContent": {"result": total},
                "isError": False,
                "_meta": {"fastmcp": {"wrap_result": True}},
            }
        listed = (await ask(worker, "POST", rpc("tools/list"), Mcp_Session_Id=session)).result["tools"]
        assert [entry["name"] for entry in listed] == ["add", "hold", "fail"]
        assert None not in listed[0].values()
        assert (await ask(worker, "POST", rpc("ping"), Mcp_Session_Id=session)).result == {}
        before = Counter.closed
        assert (await ask(worker, "DELETE", Mcp_Session_Id=session)).status == 200
        assert worker.capacity.active == 0
        assert Counter.closed > before
        assert (await ask(worker, "POST", rpc("ping"), Mcp_Session_Id=session)).status == 404
        assert (await ask(worker, "DELETE", Mcp_Session_Id=session)).status == 404
        assert (await ask(worker, "DELETE")).status == 400

    play(test)


def test_a_version_is_agreed_on() -> None:
    """The client's where it is known, else the latest; a later request cannot name another."""

    async def test(worker: Worker) -> None:
        answer = await post(worker, "initialize", protocolVersion="1999-01-01")
        assert answer.result["protocolVersion"] == "2025-11-25"
        assert answer.result["serverInfo"]["name"] == "Counter"
        session = answer.headers["mcp-session-id"]
        refused = await ask(
            worker, "POST", rpc("ping"), Mcp_Session_Id=session, Mcp_Protocol_Version="1999-01-01"
        )
        assert refused.status == 400
        assert "Unsupported protocol version" in refused.json["error"]["message"]

    play(test)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/json, text/event-stream", "application/json"),
        ("*/*", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("image/png", None),
    ],
)
def test_the_answer_has_the_form_that_is_accepted(accept: str, content_type: str | None) -> None:
    """JSON where there is a choice, one server-sent event where there is none."""

    async def test(worker: Worker) -> None:
        session = await initialized(worker)
        answer = await ask(worker, "POST", rpc("ping"), Mcp_Session_Id=session, Accept=accept)
        if content_type is None:
            assert answer.status == 406
            return
        assert answer.headers["content-type"] == content_type
        body = answer.body
        if content_type == "text/event-stream":
            assert body.startswith(b"event: message\r\ndata: {")
            assert body.endswith(b"}\r\n\r\n")
            body = body.partition(b"data: ")[2]
        assert json.loads(body) == {"jsonrpc": "2.0", "id": 1, "result": {}}

    play(test)


def test_there_is_no_stream_from_the_server() -> None:
    """Which clients are told by a 405."""

    async def test(worker: Worker) -> None:
        answer = await ask(worker, "GET", Accept="text/event-stream")
        assert (answer.status, answer.headers["allow"]) == (405, "POST, DELETE")

    play(test)


def test_a_tool_that_fails_has_a_result_for_mcp_and_an_error_for_others() -> None:
    """Unknown tools and wrong arguments as well."""

    async def test(worker: Worker) -> None:
        session = await initialized(worker)
        for name, text in (("fail", "Error calling tool 'fail': no"), ("zz", "Unknown tool: 'zz'")):
            answer = await ask(worker, "POST", rpc("tools/call", name=name), Mcp_Session_Id=session)
            assert answer.result == {"content": [{"type": "text", "text": text}], "isError": True}
            error = (await post(worker, "tools/call", name=name)).json["error"]
            assert error == {"code": -32603, "message": text, "data": None}

    play(test)


def test_a_call_without_a_session_has_an_environment_of_its_own() -> None:
    """It takes no slot and is closed."""

    async def test(worker: Worker) -> None:
        for _ in range(2):
            answer = await post(worker, "tools/call", name="add", arguments={"n": 2})
            assert answer.result["data"] == 2
        assert worker.capacity.active == 0
        for _ in range(1000):
            if Closing.closed == 2:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{Closing.closed} of 2 environments were closed")

    play(test, Closing)


def test_the_callers_of_a_session_take_turns() -> None:
    """Requests and the attached WebSocket are answered in the order in which they came."""

    async def test(worker: Worker) -> None:
        session = (await post(worker, "openenv/session/create")).result["session_id"]
        socket = connected(worker, f"/ws?session_id={session}")
        held = start(worker, "POST", rpc("tools/call", name="hold", session_id=session))
        await asyncio.sleep(0)
        add = rpc("tools/call", name="add", arguments={"n": 1}, session_id=session)
        added = start(worker, "POST", add)
        send(socket, {"type": "step", "data": {"tool_name": "add", "arguments": {"n": 1}}})
        send(socket, {"type": "state"})
        last = start(worker, "POST", add)
        await asyncio.sleep(0.02)
        assert b"" == held.written == added.written == socket.written == last.written
        Counter.gate.set()
        assert Answer(await held.until(b"\r\n\r\n")).result["data"] == 0
        assert Answer(await added.until(b"\r\n\r\n")).result["data"] == 1
        stepped = await hear(socket)
        assert stepped["data"]["observation"]["result"]["data"] == 2
        assert Answer(await last.until(b"\r\n\r\n")).result["data"] == 3
        # The state came with the step's answer, or comes now.
        assert (await hear(socket, {"type": "reset", "data": {"seed": 7}}))["type"] in (
            "state",
            "observation",
        )

    play(test)


def test_closing_a_session_answers_those_who_wait() -> None:
    """Nobody waits for ever for a call that will not be made."""

    async def test(worker: Worker) -> None:
        session = (await post(worker, "openenv/session/create")).result["session_id"]
        calls = [
            start(worker, "POST", rpc("tools/call", name="hold", session_id=session)),
            start(worker, "POST", rpc("tools/list", session_id=session)),
        ]
        await asyncio.sleep(0)
        closed = await post(worker, "openenv/session/close", session_id=session)
        assert closed.result == {"session_id": session, "closed": True}
        assert worker.capacity.active == 0
        for call in calls:
            error = Answer(await call.until(b"\r\n\r\n")).json["error"]
            assert error == {"code": -32602, "message": f"Unknown session_id: {session}", "data": None}

    play(test)


def test_an_attached_session_is_closed_when_its_socket_is() -> None:
    """And the request that asked for it is told that it will be."""

    async def test(worker: Worker) -> None:
        session = (await post(worker, "openenv/session/create")).result["session_id"]
        socket = connected(worker, f"/ws?session_id={session}")
        closing = await post(worker, "openenv/session/close", session_id=session)
        assert closing.result == {"session_id": session, "closed": False, "closing": True}
        assert worker.capacity.active == 1
        send(socket, {"type": "close"})
        await worker.until_empty()

    play(test)


def test_a_full_server_refuses_a_handshake() -> None:
    """With the numbers, on either carrier."""

    async def test(worker: Worker) -> None:
        session = await initialized(worker)
        error = (await post(worker, "initialize")).json["error"]
        assert error["code"] == -32000
        assert (error["data"]["active_sessions"], error["data"]["max_sessions"]) == (1, 1)
        socket = connected(worker, "/mcp")
        refused = await hear(socket)
        assert refused["error"]["code"] == -32000
        assert (await socket.until(b"\x88")).startswith(b"\x88")  # the close frame
        assert (await ask(worker, "DELETE", Mcp_Session_Id=session)).status == 200
        assert (await post(worker, "initialize")).status == 200

    play(test, capacity=1, capacity_wait_s=0)


def test_a_socket_of_its_own_speaks_either_dialect() -> None:
    """Plain until an `initialize`, which makes no other session; then notifications get no answer."""

    async def test(worker: Worker) -> None:
        socket = connected(worker, "/mcp")
        plain = await hear(socket, rpc("tools/call", name="add", arguments={"n": 2}))
        assert plain["result"]["is_error"] is False
        assert (await hear(socket, rpc("resources/list")))["error"]["code"] == -32601
        assert (await hear(socket, b"{"))["error"]["message"].startswith("Parse error: ")
        assert (await hear(socket, {"jsonrpc": "2.0", "method": "tools/list"}))["id"] is None
        await hear(socket, rpc("initialize"))
        send(socket, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        answer = await hear(socket, rpc("tools/call", name="add", arguments={"n": 2}))
        assert answer["result"]["structuredContent"] == {"result": 4}
        assert worker.capacity.active == 1

    play(test)


def test_a_session_whose_id_was_told_is_stepped_as_before() -> None:
    """Others may call it now, so that its socket takes turns too."""

    async def test(worker: Worker) -> None:
        socket = connected(worker, "/ws")
        other = connected(worker, "/ws?session_id=unknown")
        assert (await hear(other))["data"]["message"] == "Unknown session_id: unknown"
        told = await hear(socket, {"type": "mcp", "data": rpc("openenv/session/create")})
        session = told["data"]["result"]["session_id"]
        answer = await post(worker, "tools/call", name="add", arguments={"n": 2}, session_id=session)
        assert answer.result["data"] == 2
        stepped = await hear(socket, {"type": "step", "data": {"tool_name": "add", "arguments": {"n": 3}}})
        assert stepped["data"]["observation"]["result"]["data"] == 5
        refused = await hear(connected(worker, f"/ws?session_id={session}"))
        assert "already has an attached WebSocket" in refused["data"]["message"]
        own = await hear(socket, {"type": "mcp", "data": rpc("openenv/session/close", session_id=session)})
        assert own["data"]["error"]["code"] == -32600

    play(test)


@pytest.mark.parametrize("env", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])
def test_an_environment_without_tools_says_so(env: Any) -> None:
    """In either dialect, for each method."""

    async def test(worker: Worker) -> None:
        session = await initialized(worker)
        for method in ("tools/list", "tools/call"):
            for headers in ({}, {"Mcp_Session_Id": session}):
                answer = await ask(worker, "POST", rpc(method, name="a"), **headers)
                assert answer.json["error"]["message"] == "Environment does not support MCP"

    play(test, env)


class Styled(Environment[CallToolAction, CallToolObservation, State]):
    """Knows no protocol: its `step` takes the tool actions."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def step(self, action: Any) -> Any:
        if not isinstance(action, CallToolAction):
            return ListToolsObservation(tools=[Tool(name="say", description="", input_schema={})])
        return CallToolObservation(tool_name=action.tool_name, result=action.arguments)


class StyledAsync(Styled):
    """The same, awaited."""

    async def step(self, action: Any) -> Any:
        return super().step(action)


class StyledOnLoop(Styled):
    """The same, on the loop."""

    NEVER_BLOCKS = True


@pytest.mark.parametrize("env", [Styled, StyledAsync, StyledOnLoop])
def test_tool_actions_are_enough(env: Any) -> None:
    """An environment that takes them is asked by them."""

    async def test(worker: Worker) -> None:
        session = await initialized(worker)
        call = rpc("tools/call", name="say", arguments={"a": 1})
        plain = (await ask(worker, "POST", call)).result
        assert (plain["tool_name"], plain["result"], plain["error"]) == ("say", {"a": 1}, None)
        listed = (await post(worker, "tools/list")).result["tools"]
        assert listed == [{"name": "say", "description": "", "input_schema": {}}]
        answer = await ask(worker, "POST", call, Mcp_Session_Id=session)
        assert answer.result["structuredContent"] == {"a": 1}
        listed = (await ask(worker, "POST", rpc("tools/list"), Mcp_Session_Id=session)).result["tools"]
        assert listed == [{"name": "say", "description": "", "inputSchema": {}}]

    play(test, env)


def test_a_session_that_cannot_be_made_is_an_error() -> None:
    """With the factory's name; the cause is in the log."""

    async def test(worker: Worker) -> None:
        for method in ("initialize", "openenv/session/create", "tools/list"):
            error = (await post(worker, method)).json["error"]
            assert (error["code"], error["data"]) == (-32000, {"factory_name": "NoFactoryEnv"})
        assert worker.capacity.active == 0

    play(test, envs.NoFactoryEnv)
