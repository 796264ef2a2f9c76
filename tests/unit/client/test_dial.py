"""Connecting on an event loop: names, several addresses, nobody there; over real sockets of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from openenv.client import aio
from openenv.client.address import Address
from openenv.client.aio import AsyncNetwork
from openenv.client.channel import Options, fetch
from openenv.errors import ConnectError
from openenv.protocol.http_client import Response

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine on either kind of loop."""
    runner: Callable[[Coroutine[Any, Any, None]], None] = request.param
    return runner


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that says yes to everything."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


async def ask(host: str, port: int) -> Response:
    """One request of a network of its own."""
    address = Address.parse(f"http://{host}:{port}")
    return await fetch(AsyncNetwork(), address, "GET", "/health", b"", Options(), 20)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "somewhere.test"])
def test_a_server_is_reached_by_number_and_by_name(
    run: Callable[[Coroutine[Any, Any, None]], None], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names but this machine's own are looked up, once by those who ask at the same time."""
    asked: list[str] = []

    def look_up(host: str, port: int, *kind: int) -> list[Any]:
        asked.append(host)
        # The first of a name's addresses may be one where nobody is.
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port)) for number in addresses]
        return list(found)

    addresses = ["127.0.0.2", "127.0.0.1"]
    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def main() -> None:
        server = await asyncio.start_server(answer, sock=socket.create_server(("127.0.0.1", 0)))
        async with server:
            port = server.sockets[0].getsockname()[1]
            responses = await asyncio.gather(*(ask(host, port) for _ in range(3)))
            assert [response.body for response in responses] == [b"{}"] * 3

    run(main())
    assert asked == (["somewhere.test"] if host == "somewhere.test" else [])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "somewhere.test"])
def test_nobody_there_is_said_as_such(
    run: Callable[[Coroutine[Any, Any, None]], None], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is found out when connecting or when writing."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked: found)

    async def main() -> None:
        with pytest.raises(ConnectError, match="connection refused: nothing listens there"):
            await ask(host, port)
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_a_name_that_nobody_knows_is_said_as_such(
    run: Callable[[Coroutine[Any, Any, None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To everybody who asked."""

    def look_up(*asked: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def main() -> None:
        errors = await asyncio.gather(*(ask("nowhere.test", 80) for _ in range(2)), return_exceptions=True)
        assert all("cannot be resolved: Name or service" in str(error) for error in errors), errors

    run(main())


def test_a_loop_that_has_ended_leaves_nothing_here() -> None:
    """Neither its gate, nor what watches its sockets, nor its clock."""
    from openenv.client import gate, pulse, transport

    async def main() -> None:
        server = await asyncio.start_server(answer, sock=socket.create_server(("127.0.0.1", 0)))
        async with server:
            await ask("127.0.0.1", server.sockets[0].getsockname()[1])

    asyncio.run(main())
    assert not list(gate._gates.values())
    assert not [one for one in transport._pollers.values() if one._watch is not None]
    assert not list(pulse._pulses.values())


def test_turns_of_one_client_are_taken_one_at_a_time() -> None:
    """Also after one that waited was cancelled; a turn on a loop that has ended is nobody's."""
    network = AsyncNetwork()
    inside: list[int] = []

    async def take(index: int) -> None:
        async with network.turn():
            inside.append(index)
            assert len(inside) == 1
            await asyncio.sleep(0)
            inside.remove(index)

    async def main() -> None:
        tasks = [asyncio.ensure_future(take(index)) for index in range(5)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [outcome is None for outcome in outcomes] == [True, True, False, True, True]

    async def leave() -> None:
        await network.turn().__aenter__()

    asyncio.run(main())
    asyncio.run(leave())
    asyncio.run(main())


def test_places_of_numbers_need_no_looking_up() -> None:
    """Of either family; a name that looks like one does."""
    assert aio._places_of("::1", 80) == [(socket.AF_INET6, ("::1", 80))]
    assert aio._places_of("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert [place[1][0] for place in aio._places_of("localhost", 80)] == ["127.0.0.1", "::1"]
    assert aio._places_of("300.1.1.1", 80) == []
