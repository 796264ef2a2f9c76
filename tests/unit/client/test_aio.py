"""The channel on an event loop, with a transport that is none."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from openenv.client.aio import AsyncChannel, _PlainChannel
from openenv.client.channel import Options
from openenv.errors import ConnectError, ReplyTimeoutError
from openenv.protocol.client_websocket import WebSocketClient
from openenv.protocol.websocket import CloseReceived, WebSocketServer, text_frame

CLOSE = b"\x88\x02\x03\xe8"


class FakeTransport:
    """Collects what is written; answers when told."""

    def __init__(self) -> None:
        self.server = WebSocketServer(1 << 20)
        self.messages: list[Any] = []
        self.pings = 0
        self.aborted = False
        self.channel: AsyncChannel | None = None
        self.on_message: Callable[[Any], None] = lambda message: None

    def write(self, data: bytes) -> None:
        """What the client sends."""
        self.pings += data[0] == 0x89
        for message in self.server.receive_data(data):
            self.messages.append(message)
            self.on_message(message)

    def reply(self, *payloads: bytes) -> None:
        """What the server sends, in one read."""
        assert self.channel is not None
        self.channel.data_received(b"".join(map(text_frame, payloads)))

    def is_closing(self) -> bool:
        """As of a transport."""
        return self.aborted

    def abort(self) -> None:
        """As of a transport: the loss is told later."""
        if not self.aborted:
            self.aborted = True
            assert self.channel is not None
            asyncio.get_running_loop().call_soon(self.channel.connection_lost, None)


def run(
    work: Callable[[AsyncChannel, FakeTransport], Coroutine[Any, Any, None]], options: Options | None = None
) -> None:
    """Run a test on a loop, and see that it leaves no timer and no task."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport = FakeTransport()
        options_ = options or Options(ping_interval_s=None, close_timeout_s=0.05)
        wire = WebSocketClient(1 << 20)
        channel = _PlainChannel(loop, transport, wire, "ws://h/ws", options_, False)  # type: ignore[arg-type]
        transport.channel = channel
        await work(channel, transport)
        await channel.close()
        assert channel._ended
        assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def reply_if_short(transport: FakeTransport, message: Any) -> None:
    """Answer questions of three letters: no close message, no close frame."""
    if isinstance(message, bytes) and len(message) == 3:
        transport.reply(b"re:" + message)


async def turn() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_an_ask_is_answered_by_the_next_message() -> None:
    """One message out, one in."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        transport.on_message = lambda message: reply_if_short(transport, message)
        assert await channel.ask(b"one", 1) == b"re:one"
        assert await channel.ask(b"two", None) == b"re:two"

    run(work)


def test_asks_of_several_tasks_are_sent_one_at_a_time_in_order() -> None:
    """The next is sent when the one before has its reply."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        asks = [asyncio.ensure_future(channel.ask(b"%d" % index, 5)) for index in range(3)]
        for index in range(3):
            await turn()
            assert transport.messages == [b"%d" % sent for sent in range(index + 1)]
            transport.reply(b"re%d" % index)
        assert await asyncio.gather(*asks) == [b"re0", b"re1", b"re2"]

    run(work)


def test_a_task_cancelled_while_it_waits_for_its_turn_sends_nothing() -> None:
    """And the one behind it moves up."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        first, second, third = (asyncio.ensure_future(channel.ask(word, 5)) for word in (b"1", b"2", b"3"))
        await turn()
        second.cancel()
        await turn()
        transport.reply(b"re1")
        await turn()
        transport.reply(b"re3")
        assert (await first, await third) == (b"re1", b"re3")
        assert transport.messages == [b"1", b"3"]
        assert second.cancelled()

    run(work)


def test_a_turn_given_to_a_task_that_is_cancelled_at_that_moment_is_passed_on() -> None:
    """Nobody waits for ever."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        first, second, third = (asyncio.ensure_future(channel.ask(word, 5)) for word in (b"1", b"2", b"3"))
        await turn()
        transport.reply(b"re1")
        # Runs after the first has given its turn away, and before the second knows.
        asyncio.get_running_loop().call_soon(second.cancel)
        await turn()
        transport.reply(b"re3")
        assert (await first, await third) == (b"re1", b"re3")
        assert transport.messages == [b"1", b"3"]

    run(work)


def test_many_tasks_that_ask_and_give_up_at_random_never_wait_for_ever() -> None:
    """Every ask ends: with its own reply, or as it was given up."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        randomly = random.Random(3)
        loop = asyncio.get_running_loop()
        unanswered: deque[bytes] = deque()

        def answer_the_oldest() -> None:
            transport.reply(b"re" + unanswered.popleft())

        def later(message: Any) -> None:
            if isinstance(message, bytes) and message.isdigit():
                unanswered.append(message)
                loop.call_later(randomly.choice([0, 0.0005, 0.001]), answer_the_oldest)

        async def ask(number: int) -> bytes:
            word = b"%d" % number
            reply = await channel.ask(word, 5)
            assert reply == b"re" + word
            return reply

        transport.on_message = later
        for start in range(0, 300, 10):
            tasks = [asyncio.ensure_future(ask(start + index)) for index in range(10)]
            for _ in range(randomly.randrange(4)):
                await asyncio.sleep(randomly.choice([0, 0.0005]))
            for task in tasks:
                if randomly.random() < 0.4:
                    task.cancel()
            async with asyncio.timeout(5):
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, bytes | asyncio.CancelledError) for one in outcomes), outcomes
        assert not channel._turns

    run(work)


def test_the_reply_to_a_cancelled_ask_is_dropped() -> None:
    """However many, and in one read with the next one's."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        for word in (b"1", b"2"):
            ask = asyncio.ensure_future(channel.ask(word, 5))
            await turn()
            ask.cancel()
            await turn()
        third = asyncio.ensure_future(channel.ask(b"3", 5))
        await turn()
        transport.reply(b"re1", b"re2", b"re3")
        assert await third == b"re3"

    run(work)


def test_a_reply_that_comes_between_cancelling_and_its_effect_is_not_owed() -> None:
    """It was that one's, and it has come."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        first = asyncio.ensure_future(channel.ask(b"1", 5))
        await turn()
        first.cancel()
        transport.reply(b"re1")
        await turn()
        assert first.cancelled()
        second = asyncio.ensure_future(channel.ask(b"2", 5))
        await turn()
        transport.reply(b"re2")
        assert await second == b"re2"

    run(work)


def test_an_ask_without_a_reply_in_time_is_given_up_and_its_reply_dropped() -> None:
    """A later, shorter deadline counts too, although the timer stood at a longer one."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        transport.on_message = lambda message: transport.reply(message) if message == b"fast" else None
        assert await channel.ask(b"fast", 60) == b"fast"
        with pytest.raises(ReplyTimeoutError):
            await channel.ask(b"slow", 0.02)
        ask = asyncio.ensure_future(channel.ask(b"next", 0.05))
        await turn()
        transport.reply(b"re:slow", b"re:next")
        assert await ask == b"re:next"

    run(work)


def test_a_message_that_nobody_asked_for_is_the_next_ones_reply() -> None:
    """So that a refusal is read by whoever asks first, even after the connection was closed."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        transport.reply(b"full")
        channel.data_received(CLOSE)
        assert channel.is_usable()
        assert await channel.ask(b"reset", 1) == b"full"
        assert not channel.is_usable()
        with pytest.raises(ConnectError, match="1000"):
            await channel.ask(b"reset", 1)

    run(work)


def test_losing_the_connection_ends_the_ask_that_waits() -> None:
    """With the reason, and the same for those that wait for their turn."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        asks = [asyncio.ensure_future(channel.ask(b"x", 5)) for _ in range(2)]
        await turn()
        transport.aborted = True
        channel.connection_lost(OSError("cable cut"))
        for outcome in await asyncio.gather(*asks, return_exceptions=True):
            assert isinstance(outcome, ConnectError)
            assert "cable cut" in str(outcome)
            assert "episode is gone" in str(outcome)

    run(work)


def test_a_silent_server_is_pinged_and_given_up() -> None:
    """One ping per silence; without a pong the session is lost."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        with pytest.raises(ConnectError, match=r"no pong within 0.02 s"):
            await channel.ask(b"x", 5)
        assert transport.pings == 1
        assert transport.aborted

    run(work, Options(ping_interval_s=0.02, ping_timeout_s=0.02, close_timeout_s=0.05))


def test_closing_says_so_and_waits_for_the_server() -> None:
    """The session is over when the server has closed, not before."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        closing = asyncio.ensure_future(channel.close())
        await turn()
        assert transport.messages == [b'{"type":"close"}']
        channel.data_received(CLOSE)
        assert transport.messages[-1] == CloseReceived(1000, "")
        assert not closing.done()
        transport.aborted = True
        channel.connection_lost(None)
        await closing

    run(work)


def test_a_server_that_does_not_close_is_left_after_a_while() -> None:
    """And one that answers to `close` gets a close frame."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        transport.on_message = lambda message: (
            transport.reply(b"{}") if message == b'{"type":"close"}' else None
        )
        await channel.close()
        assert transport.messages[-1] == CloseReceived(1000, "")
        assert transport.aborted

    run(work)


def test_sessions_of_a_loop_have_one_clock_and_their_replies_are_timed_exactly() -> None:
    """A reply that is late shortly after a beat was due does not wait for that beat."""

    async def work(channel: AsyncChannel, transport: FakeTransport) -> None:
        loop: Any = asyncio.get_running_loop()
        options = Options(ping_interval_s=8.0, close_timeout_s=0.05)
        other = FakeTransport()
        other.channel = _PlainChannel(loop, other, WebSocketClient(1 << 20), "ws://h/ws", options, False)  # type: ignore[arg-type]
        assert len([handle for handle in loop._scheduled if not handle.cancelled()]) == 1
        asks = []
        for timeout_s in (60.0, 8.5, 0.02):
            asks.append(asyncio.ensure_future(channel.ask(b"x", timeout_s)))
            await turn()
            due = [handle.when() - loop.time() for handle in loop._scheduled if not handle.cancelled()]
            assert len(due) == (1 if timeout_s == 60.0 else 2)
            assert min(due) <= timeout_s
            if timeout_s > 1:
                asks[-1].cancel()
                await turn()
        with pytest.raises(ReplyTimeoutError):
            await asks[-1]
        await other.channel.close()

    run(work, Options(ping_interval_s=8.0, close_timeout_s=0.05))
