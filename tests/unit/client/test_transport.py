"""A socket on an event loop, and the gate through which handshakes pass; over pairs of real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from openenv.client.aio import AsyncNetwork
from openenv.client.gate import MAX_OPENING
from openenv.client.transport import SocketTransport


class Recorder:
    """Remembers what its transport tells it."""

    def __init__(self) -> None:
        self.received = b""
        self.heard = asyncio.Event()
        self.lost: list[Exception | None] = []
        self.raises = False

    def connection_made(self, transport: Any) -> None:
        """As of a receiver."""

    def data_received(self, data: bytes) -> None:
        """As of a receiver."""
        if self.raises:
            raise RuntimeError("a fault in the protocol")
        self.received += data
        self.heard.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """As of a receiver."""
        self.lost.append(exc)
        self.heard.set()


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], None]:
    """Run a test with a transport, its protocol and the other end, on either kind of loop."""

    def run_it(work: Callable[[SocketTransport, Recorder, socket.socket], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ours.setblocking(False)
                theirs.setblocking(False)
                protocol = Recorder()
                transport = SocketTransport(asyncio.get_running_loop(), ours, protocol)
                await asyncio.wait_for(work(transport, protocol, theirs), 20)
                transport.abort()
                await asyncio.sleep(0)
                assert len(protocol.lost) == 1, "the loss is told once"
                assert ours.fileno() == -1, "its socket is closed with it"

        request.param(main())

    return run_it


Run = Callable[[Callable[[SocketTransport, Recorder, socket.socket], Coroutine[Any, Any, None]]], None]


def test_bytes_go_both_ways(run: Run) -> None:
    """What is written arrives, and what arrives is told."""

    async def work(transport: SocketTransport, protocol: Recorder, theirs: socket.socket) -> None:
        transport.write(b"hello")
        assert theirs.recv(100) == b"hello"
        theirs.send(b"answer")
        await protocol.heard.wait()
        assert protocol.received == b"answer"

    run(work)


def test_what_does_not_fit_is_sent_when_it_does_in_order(run: Run) -> None:
    """Megabytes and what is written after them arrive whole, whoever reads slowly."""

    async def work(transport: SocketTransport, protocol: Recorder, theirs: socket.socket) -> None:
        large = bytes(range(256)) * 16384
        transport.write(large)
        transport.write(b"the end")
        loop = asyncio.get_running_loop()
        taken = bytearray()
        while len(taken) < len(large) + 7:
            taken += await loop.sock_recv(theirs, 1 << 20)
        assert bytes(taken) == large + b"the end"
        transport.write(b"more")
        assert await loop.sock_recv(theirs, 100) == b"more"

    run(work)


def test_the_other_end_closing_is_told_and_writing_then_is_nothing(run: Run) -> None:
    """An end of the connection is a loss without a reason."""

    async def work(transport: SocketTransport, protocol: Recorder, theirs: socket.socket) -> None:
        theirs.close()
        await protocol.heard.wait()
        assert protocol.lost == [None]
        transport.write(b"too late")

    run(work)


def test_a_write_that_fails_is_a_loss_with_its_reason(run: Run) -> None:
    """Nobody waits for the answer to what could not be sent."""

    async def work(transport: SocketTransport, protocol: Recorder, theirs: socket.socket) -> None:
        theirs.close()
        transport.write(b"nobody is there")
        transport.write(b"nor now")
        await protocol.heard.wait()
        (error,) = protocol.lost
        assert isinstance(error, BrokenPipeError)

    run(work)


def test_aborting_with_something_unsent_lets_go_of_it(run: Run) -> None:
    """The other end sees the end; the loop watches nothing any longer."""

    async def work(transport: SocketTransport, protocol: Recorder, theirs: socket.socket) -> None:
        transport.write(bytes(1 << 23))
        transport.abort()
        transport.abort()
        await protocol.heard.wait()
        assert protocol.lost == [None]
        loop = asyncio.get_running_loop()
        while await loop.sock_recv(theirs, 1 << 20):
            pass

    run(work)


def test_a_fault_in_the_protocol_ends_the_connection_and_is_reported(run: Run) -> None:
    """As with a loop's own transports: nobody waits for a reply that was swallowed."""

    async def work(transport: SocketTransport, protocol: Recorder, theirs: socket.socket) -> None:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        protocol.raises = True
        theirs.send(b"x")
        await protocol.heard.wait()
        assert protocol.lost == [None]
        assert str(reported[0]["exception"]) == "a fault in the protocol"

    run(work)


def test_so_many_open_sessions_at_a_time_and_the_others_wait_in_order() -> None:
    """One that is through lets the next one in; one that gave up waiting takes no place."""

    async def main() -> None:
        network = AsyncNetwork()
        inside: list[int] = []
        go = [asyncio.Event() for _ in range(MAX_OPENING + 4)]

        async def open_one(index: int) -> None:
            async with network.limit(20):
                inside.append(index)
                await go[index].wait()
            if index == 5:
                # The place was given to one that is cancelled before it knows, and goes on to the next.
                tasks[MAX_OPENING + 1].cancel()

        tasks = [asyncio.create_task(open_one(index)) for index in range(len(go))]
        await asyncio.sleep(0)
        assert inside == list(range(MAX_OPENING))
        tasks[MAX_OPENING].cancel()
        go[5].set()
        await asyncio.wait([tasks[MAX_OPENING + 1]])
        await asyncio.sleep(0)
        assert inside[MAX_OPENING:] == [MAX_OPENING + 2]
        for event in go:
            event.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(inside) == MAX_OPENING + 2
        loop: Any = asyncio.get_running_loop()
        assert not [timer for timer in loop._scheduled if not timer.cancelled()]

    asyncio.run(main())


def test_the_time_of_each_is_its_own() -> None:
    """A short one ends while a long one that began before it goes on, and a later one is not touched."""

    async def main() -> None:
        network = AsyncNetwork()

        async def wait(timeout_s: float) -> str:
            try:
                async with network.limit(timeout_s):
                    await asyncio.sleep(0.3)
            except TimeoutError:
                return "over"
            return "done"

        assert await asyncio.gather(*map(wait, (20, 0.01, 0.05, 20))) == ["done", "over", "over", "done"]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())


def test_being_cancelled_is_not_taken_for_a_timeout() -> None:
    """Not even when both happen at once."""

    async def main() -> None:
        network = AsyncNetwork()

        async def wait() -> None:
            async with network.limit(0.01):
                await asyncio.sleep(20)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        with pytest.raises((asyncio.CancelledError, TimeoutError)):
            await task
        other = asyncio.create_task(wait())
        await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other

    asyncio.run(main())
