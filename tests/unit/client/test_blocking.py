"""The channel on a blocking socket, with a socket that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from openenv.client import blocking
from openenv.client.blocking import BlockingChannel, BlockingNetwork
from openenv.client.channel import Options
from openenv.errors import ConnectError, ReplyTimeoutError
from openenv.protocol.client_websocket import WebSocketClient
from openenv.protocol.websocket import CloseReceived, WebSocketServer, text_frame

PING, CLOSE = b"\x89\x02hi", b"\x88\x02\x03\xe8"
PONG = 0x8A


class FakeSocket:
    """Gives what a script says: bytes, errors, or what a function does."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.server = WebSocketServer(1 << 20)
        self.sent: list[bytes] = []
        self.messages: list[Any] = []
        self.closed = False
        self.waits: list[Any] = []

    def recv(self, size: int) -> bytes:
        """The next entry of the script; nothing more to read after the last."""
        entry = self.script.pop(0) if self.script else BlockingIOError()
        if callable(entry):
            entry = entry()
        if isinstance(entry, BaseException):
            raise entry
        return bytes(entry)

    def send(self, data: bytes) -> int:
        """All of it."""
        self.sent.append(bytes(data))
        self.messages += self.server.receive_data(bytes(data))
        return len(data)

    sendall = send

    def settimeout(self, timeout_s: float | None) -> None:
        """As of a socket."""

    def setsockopt(self, level: int, name: int, value: bytes) -> None:
        """Remembered."""
        self.waits.append(value)

    def fileno(self) -> int:
        """As of a socket."""
        return -1 if self.closed else 3

    def close(self) -> None:
        """Remembered."""
        self.closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves when told."""
    now = [1000.0]
    monkeypatch.setattr(blocking, "monotonic", lambda: now[0])
    return now


def channel_over(connection: FakeSocket, **options: Any) -> BlockingChannel:
    """A channel that thinks that it has a socket."""
    wire = WebSocketClient(1 << 20)
    return BlockingChannel(connection, BlockingNetwork(), wire, "ws://h/ws", Options(**options), False)  # type: ignore[arg-type]


def ask(channel: BlockingChannel, message: bytes = b"q", timeout_s: float | None = 60.0) -> bytes:
    """Ask as a client does, holding the lock."""
    with channel._network.lock:
        return channel.ask(message, timeout_s)


def test_an_ask_is_one_send_and_one_receive() -> None:
    """And the wait of the socket is set once."""
    connection = FakeSocket(text_frame(b"one"), text_frame(b"two"))
    channel = channel_over(connection)
    assert (ask(channel), ask(channel)) == (b"one", b"two")
    assert (len(connection.sent), len(connection.waits)) == (2, 2)


def test_a_reply_in_pieces_is_one_reply() -> None:
    """Cut anywhere."""
    reply = text_frame(b"r" * 300)
    channel = channel_over(FakeSocket(reply[:1], reply[1:3], reply[3:]))
    assert ask(channel) == b"r" * 300


def test_a_ping_during_a_long_step_is_answered() -> None:
    """A server that pings does not give up a client that waits."""
    connection = FakeSocket(PING, text_frame(b"done"))
    assert ask(channel_over(connection)) == b"done"
    assert connection.sent[-1][0] == PONG


def test_a_reply_that_came_too_late_is_dropped(clock: list[float]) -> None:
    """Alone, or in one read with the next one."""

    def late() -> BaseException:
        clock[0] += 5
        return BlockingIOError()

    connection = FakeSocket(late)
    channel = channel_over(connection, ping_interval_s=None)
    with pytest.raises(ReplyTimeoutError, match="no reply within 5 s"):
        ask(channel, timeout_s=5)
    connection.script = [text_frame(b"late"), text_frame(b"mine")]
    assert ask(channel) == b"mine"
    connection.script = [late]
    with pytest.raises(TimeoutError):
        ask(channel, timeout_s=5)
    connection.script = [text_frame(b"late") + text_frame(b"mine")]
    assert ask(channel) == b"mine"


def test_an_interrupt_while_waiting_leaves_the_session(clock: list[float]) -> None:
    """Control-C in a notebook: the reply is dropped when it comes."""
    connection = FakeSocket(KeyboardInterrupt())
    channel = channel_over(connection)
    with pytest.raises(KeyboardInterrupt):
        ask(channel)
    connection.script = [text_frame(b"late"), text_frame(b"mine")]
    assert ask(channel) == b"mine"


def test_an_interrupt_between_two_pieces_of_a_reply_leaves_the_session() -> None:
    """The rest of the piece is waited for, and dropped."""
    reply = text_frame(b"late")
    connection = FakeSocket(reply[:2], KeyboardInterrupt())
    channel = channel_over(connection)
    with pytest.raises(KeyboardInterrupt):
        ask(channel)
    connection.script = [reply[2:], text_frame(b"mine")]
    assert ask(channel) == b"mine"


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), BrokenPipeError("pipe")])
def test_a_refusal_is_read_although_sending_failed(error: OSError) -> None:
    """The server said why before it closed."""
    connection = FakeSocket(text_frame(b"full") + CLOSE)

    def send(data: bytes) -> int:
        raise error

    connection.send = send  # type: ignore[method-assign]
    channel = channel_over(connection)
    assert ask(channel) == b"full"
    assert not channel.is_usable()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [(b"", "without a closing handshake"), (ConnectionResetError("reset"), "reset"), (CLOSE, "1000")],
)
def test_a_lost_connection_is_an_error_with_its_reason(entry: Any, reason: str) -> None:
    """And stays one."""
    channel = channel_over(FakeSocket(entry))
    with pytest.raises(ConnectError, match=reason):
        ask(channel)
    assert not channel.is_usable()


def test_a_silent_server_is_pinged_during_a_step_and_given_up(clock: list[float]) -> None:
    """One ping per interval of silence."""

    def tick() -> BaseException:
        clock[0] += 20
        return BlockingIOError()

    connection = FakeSocket(tick, tick, tick)
    channel = channel_over(connection, ping_interval_s=20, ping_timeout_s=20)
    with pytest.raises(ConnectError, match="no pong within 20 s"):
        ask(channel, timeout_s=600)
    assert [frame[0] for frame in connection.sent] == [0x81, 0x89]


def test_the_keeper_answers_pings_of_an_idle_session() -> None:
    """And keeps what nobody asked for until somebody asks."""
    connection = FakeSocket(PING, text_frame(b"unasked"))
    channel = channel_over(connection)
    channel.keep(monotonic())
    assert connection.sent[0][0] == PONG
    assert ask(channel) == b"unasked"


def test_the_keeper_drops_late_replies(clock: list[float]) -> None:
    """They are owed to nobody."""
    connection = FakeSocket(KeyboardInterrupt())
    channel = channel_over(connection)
    with pytest.raises(KeyboardInterrupt):
        ask(channel)
    connection.script = [text_frame(b"late")]
    channel.keep(clock[0])
    connection.script = [text_frame(b"mine")]
    assert ask(channel) == b"mine"


def test_the_keeper_leaves_a_session_in_use_alone() -> None:
    """Whoever holds the lock reads."""
    import threading

    connection = FakeSocket(PING)
    channel = channel_over(connection)
    with channel._network.lock:
        thread = threading.Thread(target=channel.keep, args=(monotonic(),))
        thread.start()
        thread.join()
    assert connection.sent == []


def test_a_fault_while_keeping_one_session_ends_that_session_only(caplog: pytest.LogCaptureFixture) -> None:
    """Its caller hears of it; the keeper goes on."""
    broken = channel_over(FakeSocket(RuntimeError("a mistake of ours")))
    broken.keep(monotonic())
    with pytest.raises(ConnectError, match="a mistake of ours"):
        ask(broken)
    assert "keeping the session alive failed" in caplog.text
    assert not broken.is_usable()


def test_closing_says_so_and_waits_for_the_server() -> None:
    """A second time nothing is said."""
    connection = FakeSocket(CLOSE, b"")
    channel = channel_over(connection)
    for _ in range(2):
        channel._network.drive(channel.close())
    assert connection.messages == [b'{"type":"close"}', CloseReceived(1000, "")]
    assert connection.closed


@pytest.mark.parametrize("entry", [BlockingIOError(), ConnectionResetError(), text_frame(b"what?")])
def test_closing_never_fails(entry: Any) -> None:
    """Whatever the server does."""
    connection = FakeSocket(entry)
    channel = channel_over(connection)
    channel._network.drive(channel.close())
    assert connection.closed


def test_a_coroutine_that_waits_for_something_else_is_refused() -> None:
    """There is nobody who could wake it."""

    class Never:
        def __await__(self) -> Iterator[None]:
            yield

    async def work() -> None:
        await Never()

    with pytest.raises(RuntimeError, match="something else"):
        BlockingNetwork().drive(work())


def test_a_fork_makes_sessions_unusable_and_locks_new() -> None:
    """What the child inherits belongs to its parent."""
    channel = channel_over(FakeSocket())
    before: Callable[[], None] = channel._network.lock  # type: ignore[assignment]
    generation = blocking._family.generation
    try:
        blocking._family.forked()
        assert not channel.is_usable()
        assert "forked" in str(channel.loss())
        assert channel._network.lock is not before
    finally:
        blocking._family.generation = generation
