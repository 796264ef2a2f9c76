"""A connection from its bytes to its bytes, with the test as its transport."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.frames import Close, Frame, Opcode

from openenv.protocol.websocket import text_frame
from tests.support import envs
from tests.support.worker import Transport, Worker

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def post(path: str, value: Any) -> bytes:
    body = json.dumps(value).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def frame(value: Any) -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Frame(Opcode.TEXT, data).serialize(mask=True)


def close_frame(code: int = 1000) -> bytes:
    return Frame(Opcode.CLOSE, Close(code, "").serialize()).serialize(mask=True)


def step(message: str = "hi", **action: Any) -> bytes:
    return frame({"type": "step", "data": {"message": message, **action}})


def play(test: Callable[[Worker], Awaitable[None]], env: Any = envs.LoopEnv, **options: Any) -> None:
    async def main() -> None:
        async with Worker(env, **options) as worker:
            await test(worker)

    asyncio.run(main())


async def upgraded(worker: Worker, rest: bytes = b"") -> Transport:
    transport = worker.connect()
    transport.protocol.data_received(HANDSHAKE + rest)
    assert transport.written.startswith(b"HTTP/1.1 101 ")
    end = transport.written.index(b"\r\n\r\n") + 4
    del transport.written[:end]
    return transport


def replies(data: bytes) -> list[Any]:
    """The JSON of unmasked text frames."""
    found = []
    while data:
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        assert data[0] == 0x81, data
        found.append(json.loads(data[start : start + length]))
        data = data[start + length :]
    return found


def test_pipelined_requests_are_answered_in_order_with_one_write() -> None:
    """Twenty requests in one read, twenty answers in one write."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(HEALTH * 19 + HEALTH.replace(b"/health", b"/nope"))
        assert transport.n_writes == 1
        answers = transport.take()
        assert answers.count(b'{"status":"healthy"}') == 19
        assert answers.endswith(b'{"detail":"Not Found"}')

    play(test)


def test_pipelined_requests_wait_for_one_that_takes_time() -> None:
    """A step on a thread is answered before the health check behind it."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(post("/step", {"action": {"message": "hi"}}) + HEALTH)
        assert transport.take() == b""
        transport.protocol.data_received(HEALTH)
        assert not transport.reading
        written = b""
        while written.count(b'"healthy"') < 2:
            written += await transport.until(b"}")
        assert written.index(b'"echoed":"hi"') < written.index(b'"healthy"')
        assert transport.reading

    play(test, envs.ThreadEnv)


def test_a_request_that_breaks_the_grammar_is_answered_and_closed() -> None:
    """Nothing behind it is read."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(HEALTH + b"NONSENSE\r\n\r\n" + HEALTH)
        written = transport.take()
        assert written.count(b"date: ") == 2
        assert b"HTTP/1.1 400 Bad Request" in written
        assert transport.half_closed
        transport.protocol.data_received(HEALTH)
        assert await transport.until_closed() == b""

    play(test)


def test_connection_close_is_honoured() -> None:
    """And HTTP/1.0 without keep-alive means the same."""

    async def test(worker: Worker) -> None:
        for request in (
            HEALTH.replace(b"Host: x", b"Host: x\r\nConnection: close"),
            HEALTH.replace(b"/1.1", b"/1.0"),
        ):
            transport = worker.connect()
            transport.protocol.data_received(request)
            assert b"connection: close" in transport.take()
            assert transport.closed

    play(test)


def test_head_is_answered_without_a_body() -> None:
    """With the length that GET would have had."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(HEALTH.replace(b"GET", b"HEAD"))
        head, _, body = transport.take().partition(b"\r\n\r\n")
        assert b"content-length: 20" in head
        assert body == b""

    play(test)


def test_expect_continue_is_answered_before_the_body_comes() -> None:
    """curl waits a second for it otherwise."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        request = post("/step", {"action": {"message": "hi"}}).replace(
            b"Host: x", b"Host: x\r\nExpect: 100-continue"
        )
        head, _, body = request.partition(b"\r\n\r\n")
        transport.protocol.data_received(head + b"\r\n\r\n")
        assert transport.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
        transport.protocol.data_received(body)
        assert transport.take().startswith(b"HTTP/1.1 200 OK")

    play(test)


@pytest.mark.parametrize(
    ("begin", "status"),
    [
        (b"GET /health HT", b"408"),
        (HEALTH.replace(b"GET", b"POST")[:-2] + b"Content-Length: 9\r\n\r\n{", b"408"),
    ],
)
def test_a_slow_request_times_out(begin: bytes, status: bytes) -> None:
    """Head and body have a deadline each."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(begin)
        written = await transport.until_closed()
        assert written.startswith(b"HTTP/1.1 408 ")

    play(test, head_timeout_s=0.05, body_timeout_s=0.05)


def test_a_head_that_drips_has_one_deadline() -> None:
    """A byte now and then does not extend it."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        for byte in HEALTH * 50:
            if transport.closed:
                break
            transport.protocol.data_received(bytes((byte,))) if byte != 13 else None
            await asyncio.sleep(0.005)
        assert transport.take().startswith(b"HTTP/1.1 4")
        assert transport.closed

    play(test, head_timeout_s=0.05)


def test_an_idle_connection_is_reaped_in_silence() -> None:
    """Keep-alive has an end; there is no request to answer."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(HEALTH)
        transport.take()
        assert await transport.until_closed() == b""

    play(test, keep_alive_s=0.05)


def test_a_connection_that_takes_long_to_answer_is_not_reaped() -> None:
    """Time limits are for the peer, not for the environment."""
    release = threading.Event()

    class Slow(envs.ThreadEnv):
        def step(self, action: Any) -> Any:
            release.wait(10)
            return super().step(action)

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(post("/step", {"action": {"message": "hi"}}))
        await asyncio.sleep(0.2)
        assert not transport.closed
        release.set()
        assert b'"echoed":"hi"' in await transport.until(b'"echoed"')

    play(test, Slow, head_timeout_s=0.05, body_timeout_s=0.05, keep_alive_s=0.05)


def test_a_client_that_does_not_read_is_not_read() -> None:
    """Requests wait in the parser and the kernel instead of replies in memory."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.pause_writing()
        transport.protocol.data_received(HEALTH * 5)
        assert not transport.reading
        assert transport.take() == b""
        transport.protocol.resume_writing()
        assert transport.take().count(b"healthy") == 5
        assert transport.reading

    play(test)


def test_a_half_closed_client_gets_its_answer() -> None:
    """`printf request | nc -N` is a client too."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(post("/step", {"action": {"message": "hi"}}))
        assert transport.protocol.eof_received()
        assert b'"echoed":"hi"' in await transport.until_closed()

    play(test, envs.ThreadEnv)


def test_a_websocket_to_an_unknown_path_is_refused_with_403() -> None:
    """And `GET /ws` without an upgrade is simply not found."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(HANDSHAKE.replace(b"/ws", b"/nope"))
        assert transport.take().startswith(b"HTTP/1.1 403 ")
        assert transport.closed
        transport = worker.connect()
        transport.protocol.data_received(HEALTH.replace(b"/health", b"/ws"))
        assert transport.take().startswith(b"HTTP/1.1 404 ")

    play(test)


def test_frames_behind_the_handshake_are_answered() -> None:
    """A client need not wait for the 101."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker, step("one") + step("two"))
        assert [item["data"]["observation"]["echoed"] for item in replies(transport.take())] == ["one", "two"]

    play(test)


def test_messages_of_one_read_are_answered_with_one_write() -> None:
    """One wake-up, one system call."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        before = transport.n_writes
        transport.protocol.data_received(b"".join(step(str(number)) for number in range(50)))
        assert transport.n_writes == before + 1
        assert [item["data"]["observation"]["echoed"] for item in replies(transport.take())] == [
            str(number) for number in range(50)
        ]

    play(test)


@pytest.mark.parametrize("env", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])
def test_replies_come_in_the_order_of_requests(env: Any) -> None:
    """Good and bad messages mixed, wherever the environment runs."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        messages = []
        for number in range(40):
            messages += [step(str(number)), frame(b"nonsense"), step("x", fail=True), frame({"type": "nope"})]
        transport.protocol.data_received(b"".join(messages))
        got: list[Any] = []
        while len(got) < 160:
            got += replies(await transport.until(b"}"))
        for number in range(40):
            good, bad, raised, unknown = got[4 * number : 4 * number + 4]
            assert good["data"]["observation"]["echoed"] == str(number)
            assert bad["data"]["code"] == "INVALID_JSON"
            assert raised["data"] == {"message": "'lost'", "code": "EXECUTION_ERROR", "exception": "KeyError"}
            assert unknown["data"] == {"message": "Unknown message type: nope", "code": "UNKNOWN_TYPE"}
        assert transport.reading

    play(test, env)


def test_a_flood_behind_a_running_step_stops_the_reading() -> None:
    """What waits is bounded; it is all answered in the end."""
    release = threading.Event()

    class Slow(envs.ThreadEnv):
        def step(self, action: Any) -> Any:
            release.wait(10)
            return super().step(action)

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        transport.protocol.data_received(b"".join(step(str(number)) for number in range(100)))
        assert not transport.reading
        release.set()
        got: list[Any] = []
        while len(got) < 100:
            got += replies(await transport.until(b"}"))
        assert transport.reading

    play(test, Slow)


def test_a_large_message_behind_a_running_step_stops_the_reading() -> None:
    """Waiting is bounded in bytes as well."""
    release = threading.Event()

    class Slow(envs.ThreadEnv):
        def step(self, action: Any) -> Any:
            release.wait(10)
            return super().step(action)

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker, step())
        transport.protocol.data_received(step("x" * 70_000))
        assert not transport.reading
        release.set()
        await transport.until(b"x" * 70_000)
        assert transport.reading

    play(test, Slow)


def test_a_fault_of_ours_ends_one_session_and_no_more(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """It is logged, the client is told, and the slot comes back."""

    async def test(worker: Worker) -> None:
        transport, other = await upgraded(worker), await upgraded(worker)
        with monkeypatch.context() as patch:
            patch.setattr("openenv.app.routes.ws.parse_message", lambda payload: 1 / 0)
            transport.protocol.data_received(frame({"type": "state"}))
        written = await transport.until(b"\x88\x02")
        assert replies(written[: written.index(b"\x88\x02")])[0]["data"]["code"] == "SESSION_ERROR"
        assert "ZeroDivisionError" in caplog.text
        assert worker.capacity.active == 1
        other.protocol.data_received(step())
        assert replies(other.take())[0]["type"] == "observation"

    play(test)


def test_a_session_whose_client_does_not_read_makes_no_replies() -> None:
    """Memory is bounded by what the client reads, not by what it asks."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        transport.protocol.pause_writing()
        transport.protocol.data_received(b"".join(step(str(number)) for number in range(100)))
        assert transport.take() == b""
        assert not transport.reading
        transport.protocol.resume_writing()
        got: list[Any] = []
        while len(got) < 100:
            got += replies(await transport.until(b"}"))
        assert transport.reading

    play(test)


def test_close_message_has_no_reply_and_ends_with_1000() -> None:
    """The slot is free before the close frame goes out."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        transport.protocol.data_received(frame({"type": "close"}))
        written = await transport.until(b"\x88")
        assert written == b"\x88\x02\x03\xe8"
        assert worker.capacity.active == 0
        transport.protocol.data_received(close_frame())
        assert transport.closed

    play(test, envs.ThreadEnv)


def test_close_frame_right_behind_a_close_message_waits_for_the_slot() -> None:
    """The incumbent's client sends both and reconnects as soon as it is answered."""
    release = threading.Event()

    class SlowClose(envs.ThreadEnv):
        def close(self) -> None:
            release.wait(10)

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker, frame({"type": "reset"}))
        await transport.until(b"}")
        transport.protocol.data_received(frame({"type": "close"}) + close_frame())
        await asyncio.sleep(0.05)
        assert transport.take() == b""
        assert worker.capacity.active == 1
        release.set()
        assert await transport.until_closed() == b"\x88\x02\x03\xe8"
        assert worker.capacity.active == 0

    play(test, SlowClose, capacity=1)


def test_a_close_that_hangs_does_not_hold_up_the_handshake() -> None:
    """The client is answered after half of close_timeout_s."""
    release = threading.Event()

    class SlowClose(envs.ThreadEnv):
        def close(self) -> None:
            release.wait(10)

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker, frame({"type": "reset"}))
        await transport.until(b"}")
        transport.protocol.data_received(close_frame())
        assert await transport.until_closed() == b"\x88\x02\x03\xe8"
        release.set()

    play(test, SlowClose, close_timeout_s=0.1)


def test_a_lost_connection_closes_the_environment_after_the_running_step() -> None:
    """Nothing is sent to nobody, and the slot comes back."""
    release = threading.Event()

    class Slow(envs.ThreadEnv):
        closed = 0

        def step(self, action: Any) -> Any:
            release.wait(10)
            return super().step(action)

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker, step())
        transport.closed = True
        transport.protocol.connection_lost(None)
        assert worker.capacity.active == 1
        release.set()
        await worker.until_empty()
        assert Slow.closed == 1

    play(test, Slow)


def test_capacity_reached_is_said_and_closed() -> None:
    """After the handshake, unasked, with the numbers."""

    async def test(worker: Worker) -> None:
        await upgraded(worker)
        transport = await upgraded(worker)
        written = await transport.until(b"\x88\x02")
        data = replies(written[: written.index(b"\x88\x02")])[0]["data"]
        assert data == {
            "message": "Server at capacity: 1/1 sessions active. Cannot accept new connections.",
            "code": "CAPACITY_REACHED",
            "active_sessions": 1,
            "max_sessions": 1,
        }

    play(test, capacity=1)


@pytest.mark.parametrize("env", [envs.NoFactoryEnv, envs.ThreadNoFactoryEnv])
def test_a_factory_error_is_said_and_closed(env: Any) -> None:
    """The cause stays in the log."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        written = await transport.until(b"\x88\x02")
        data = replies(written[: written.index(b"\x88\x02")])[0]["data"]
        assert data["code"] == "FACTORY_ERROR"
        assert data["factory_name"] == env.__name__
        assert "licence" not in str(data)
        assert worker.capacity.active == 0

    play(test, env)


@pytest.mark.parametrize("payload", [b"[]", b"3", b'"x"', b"null"])
def test_json_that_is_no_object_ends_the_session(payload: bytes) -> None:
    """As existing servers do it, in their words."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker, frame(payload))
        written = await transport.until(b"\x88\x02")
        data = replies(written[: written.index(b"\x88\x02")])[0]["data"]
        assert data["code"] == "SESSION_ERROR"
        assert data["message"].endswith("object has no attribute 'get'")

    play(test)


def test_a_ping_between_fragments_is_answered_before_the_message() -> None:
    """However much of it comes at once; the Autobahn suite asks for it in case 5.6."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        first = Frame(Opcode.TEXT, b'{"type":', fin=False).serialize(mask=True)
        ping = Frame(Opcode.PING, b"abc").serialize(mask=True)
        last = Frame(Opcode.CONT, b'"state"}').serialize(mask=True)
        transport.protocol.data_received(first + ping + last)
        assert transport.take().startswith(b"\x8a\x03abc\x81")

    play(test)


def test_a_flood_of_tiny_frames_leaves_the_loop_to_others() -> None:
    """One read may hold tens of thousands of frames; what they ask is answered over many turns, in order."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        ping = Frame(Opcode.PING, b"").serialize(mask=True)
        transport.protocol.data_received(ping * 4000 + frame({"type": "state"}))
        assert not transport.reading
        assert len(transport.written) < 1000
        other = worker.connect()
        other.protocol.data_received(HEALTH)
        assert b'"healthy"' in other.take()
        pongs = await transport.until(b"}")
        assert pongs.startswith(b"\x8a\x00" * 4000 + b"\x81")
        assert transport.reading

    play(test)


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.CONT])
def test_more_tiny_frames_than_any_client_sends_end_the_connection(opcode: Opcode) -> None:
    """1008, and what is left of them is not looked at."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        first = Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True)
        tiny = Frame(opcode, b"", fin=opcode is Opcode.PING).serialize(mask=True)
        transport.protocol.data_received(first + tiny * 20_000)
        written = await transport.until_closed()
        pongs, _, close = written.partition(b"\x88")
        assert close[1:3] == (1008).to_bytes(2, "big")
        assert len(pongs) <= 2 * 4096
        await worker.until_empty()

    play(test)


def test_those_who_sent_much_take_turns() -> None:
    """Of two floods none waits until the other one has been looked at."""

    async def test(worker: Worker) -> None:
        ping = Frame(Opcode.PING, b"").serialize(mask=True)
        floods = [await upgraded(worker) for _ in range(2)]
        for flood in floods:
            flood.protocol.data_received(ping * 4000)
        for _ in range(10_000):
            if any(len(flood.written) == 8000 for flood in floods):
                break
            await asyncio.sleep(0)
        assert min(len(flood.written) for flood in floods) > 6000

    play(test)


def test_a_flood_of_requests_leaves_the_loop_to_others() -> None:
    """One read may hold thousands of requests; they are answered over many turns, in order."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        transport.protocol.data_received(HEALTH * 3000 + HEALTH.replace(b"/health", b"/nope"))
        assert not transport.reading
        assert transport.written.count(b'"healthy"') < 300
        other = worker.connect()
        other.protocol.data_received(HEALTH)
        assert b'"healthy"' in other.take()
        answers = await transport.until(b"Not Found")
        assert answers.count(b'"healthy"') == 3000
        assert transport.reading

    play(test)


def test_a_flood_of_chunks_leaves_the_loop_to_others() -> None:
    """A body of many small chunks is taken, over many turns; and what is behind it is answered."""

    async def test(worker: Worker) -> None:
        transport = worker.connect()
        head = b"POST /nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        transport.protocol.data_received(head + b"1\r\nx\r\n" * 30_000 + b"0\r\n\r\n" + HEALTH)
        assert not transport.reading
        assert transport.take() == b""
        other = worker.connect()
        other.protocol.data_received(HEALTH)
        assert b'"healthy"' in other.take()
        answers = await transport.until(b'"healthy"')
        assert answers.startswith(b"HTTP/1.1 404 ")
        assert transport.reading

    play(test)


@pytest.mark.parametrize("speaks", ["HTTP", "WebSocket"])
def test_what_somebody_sent_who_is_gone_is_not_looked_at(
    speaks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of a reset while a connection is not read, so who waits for a turn is asked."""

    async def test(worker: Worker) -> None:
        near, far = socket.socketpair()
        with near:
            transport = worker.connect() if speaks == "HTTP" else await upgraded(worker)
            monkeypatch.setattr(transport, "get_extra_info", {"socket": near}.get)
            transport.protocol.data_received(HEALTH * 3000 if speaks == "HTTP" else step() * 1000)
            n_before = len(transport.take())
            far.close()
            assert len(await transport.until_closed()) < 2 * n_before
        await worker.until_empty()

    play(test)


def test_who_does_not_read_pongs_is_not_read() -> None:
    """Else pings without end would fill the server's memory with pongs."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        transport.protocol.pause_writing()
        assert not transport.reading
        transport.protocol.resume_writing()
        assert transport.reading

    play(test)


def test_a_ping_is_answered_while_a_step_runs() -> None:
    """Existing clients drop a server that does not pong for 20 s."""
    release = threading.Event()

    class Slow(envs.ThreadEnv):
        def step(self, action: Any) -> Any:
            release.wait(10)
            return super().step(action)

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker, step())
        transport.protocol.data_received(Frame(Opcode.PING, b"abc").serialize(mask=True))
        assert transport.take() == b"\x8a\x03abc"
        release.set()
        await transport.until(b"}")

    play(test, Slow)


def test_silence_is_pinged_and_no_pong_is_demanded() -> None:
    """A trainer that blocks its loop for minutes keeps its session."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        for _ in range(3):
            await transport.until(b"\x89\x00")
        assert not transport.closed

    play(test, ping_interval_s=0.02)


def test_a_pong_that_is_demanded_and_missing_ends_the_connection() -> None:
    """Where the operator asked for it."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker)
        await transport.until_closed()
        await worker.until_empty()

    play(test, ping_interval_s=0.02, ping_timeout_s=0.02)


def test_drain_answers_the_running_step_and_says_1001() -> None:
    """Idle sessions hear it at once."""
    release = threading.Event()

    class Slow(envs.ThreadEnv):
        def step(self, action: Any) -> Any:
            release.wait(10)
            return super().step(action)

    async def test(worker: Worker) -> None:
        idle, busy = await upgraded(worker, frame({"type": "reset"})), await upgraded(worker, step())
        await idle.until(b"}")
        kept = worker.connect()
        kept.protocol.data_received(HEALTH)
        worker.connections.drain()
        assert kept.closed
        assert await idle.until(b"\x88") == b"\x88\x02\x03\xe9"
        assert busy.take() == b""
        release.set()
        written = await busy.until(b"\x88\x02")
        assert replies(written[:-4])[0]["data"]["observation"]["echoed"] == "hi"
        assert written.endswith(b"\x88\x02\x03\xe9")

    play(test, Slow)


def test_a_drain_does_not_wait_long_for_a_client_that_does_not_look() -> None:
    """A blocking client between two calls answers the 1001 when it next looks, which may take minutes."""

    async def test(worker: Worker) -> None:
        idle = await upgraded(worker, frame({"type": "reset"}))
        worker.connections.drain()
        written = await idle.until_closed()
        assert written.endswith(b"\x88\x02\x03\xe9")
        await worker.until_empty()

    play(test, close_timeout_s=60.0)


def test_text_that_is_not_utf8_fails_the_connection() -> None:
    """RFC 6455 section 8.1."""

    async def test(worker: Worker) -> None:
        transport = await upgraded(worker, frame(b'{"type":"\xff"}'))
        assert (await transport.until_closed())[2:4] == (1007).to_bytes(2, "big")

    play(test)


def test_a_message_with_a_timeout_is_answered_in_time() -> None:
    """`timeout_s` beside `data`: EXECUTION_ERROR, then a reset makes the session usable."""
    release = threading.Event()

    class Slow(envs.ThreadEnv):
        def step(self, action: Any) -> Any:
            release.wait(10 if action.message == "slow" else 0)
            return super().step(action)

    async def test(worker: Worker) -> None:
        transport = await upgraded(
            worker,
            frame({"type": "step", "data": {"message": "slow"}, "timeout_s": 0.02})
            + step()
            + frame({"type": "reset"})
            + step(),
        )
        got: list[Any] = []
        while len(got) < 4:
            got += replies(await transport.until(b"}"))
        assert got[0]["data"]["code"] == "EXECUTION_ERROR"
        assert got[0]["data"]["exception"] == "StepTimeoutError"
        assert got[1]["data"]["code"] == "SESSION_ERROR"
        assert got[2]["type"] == "observation"
        assert got[3]["data"]["observation"]["echoed"] == "hi"
        release.set()

    play(test, Slow)


def test_text_frame_lengths() -> None:
    """Seven, sixteen and sixty-four bits (RFC 6455 section 5.2)."""
    for size in (0, 125, 126, 65535, 65536):
        assert text_frame(b"x" * size) == Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)


def test_a_client_that_is_gone_is_sent_nothing_when_its_session_is_closed() -> None:
    """The environment's `close` may return after the connection is lost."""

    async def test(worker: Worker) -> None:
        envs.ThreadEnv.release = threading.Event()
        transport = await upgraded(worker)
        message = {"type": "step", "data": {"message": "x", "wait_s": 5.0}}
        transport.protocol.data_received(frame(message))
        transport.protocol.data_received(frame({"type": "close"}))
        transport.close()
        await asyncio.sleep(0)
        envs.ThreadEnv.release.set()
        await worker.until_empty()
        transport.protocol.close(1000)
        assert transport.take() == b""

    try:
        play(test, envs.ThreadEnv)
    finally:
        envs.ThreadEnv.release = None
