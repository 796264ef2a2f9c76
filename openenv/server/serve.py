"""Serve an application on sockets, in this process, until told to stop.

The first SIGTERM or SIGINT drains: no new connections, running calls finish, sessions are closed with
1001, and the process ends within `drain_s`. A second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable

import uvloop

from openenv.app.app import App
from openenv.config import Config
from openenv.protocol.http11 import format_date
from openenv.server.connection import Connections
from openenv.server.handover import Given, Neighbours
from openenv.server.memory import give_back_soon
from openenv.server.scoreboard import Scoreboard
from openenv.session.meter import Meter
from openenv.session.pool import Capacity

__all__ = ["serve_sockets"]

logger = logging.getLogger("openenv.server")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

# A terminal's Ctrl-C reaches parent and workers alike, and the parent's leash then says the same
# again: within this time it is one wish and not two.
_SAME_WISH_S = 0.2

# How long a drain waits for clients that are in the middle of a TLS handshake.
_HANDSHAKE_S = 1.0

# How many connections are accepted in one turn of the loop, and how long none is where this process, or the
# machine, has as many descriptors open as it may.
_N_AT_ONCE = 16
_FULL_PAUSE_S = 0.2
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def serve_sockets(
    app: App,
    sockets: list[socket.socket],
    config: Config,
    *,
    on_ready: Callable[[], None],
    capacity: Capacity,
    ssl_context: ssl.SSLContext | None = None,
    stop_fd: int | None = None,
    neighbours: Neighbours | None = None,
    scoreboard: Scoreboard | None = None,
) -> int:
    """Serve until told to stop.

    Args:
        app: What answers.
        sockets: Bound sockets; they are listened on and closed.
        config: Limits and times.
        on_ready: Called once connections are accepted.
        capacity: Where sessions get their slots.
        ssl_context: Serves TLS.
        stop_fd: Draining also starts when this becomes readable, or its other end is closed.
        neighbours: The server's other workers, if there are any.
        scoreboard: Where all workers count; None counts in this process.

    Returns:
        0 after a drain, whether or not something had to be cut off; 1 after a second signal.
    """
    give_back_soon()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(
            _serve(app, sockets, config, on_ready, capacity, ssl_context, stop_fd, neighbours, scoreboard)
        )


async def _serve(
    app: App,
    sockets: list[socket.socket],
    config: Config,
    on_ready: Callable[[], None],
    capacity: Capacity,
    ssl_context: ssl.SSLContext | None,
    stop_fd: int | None,
    neighbours: Neighbours | None,
    scoreboard: Scoreboard | None,
) -> int:
    loop = asyncio.get_running_loop()
    meter = None if scoreboard is None else Meter(scoreboard.row(capacity.slot))
    context = app.start(config, capacity, loop, meter)
    if scoreboard is not None:
        context.rows = scoreboard.rows
        context.n_gone = lambda: scoreboard.n_gone
    await app.begin(context)
    connections = Connections(app, context, config, loop, _date, neighbours)
    adopter = None if neighbours is None else _Adopter(connections, neighbours, ssl_context)
    stop = asyncio.Event()
    hurry = asyncio.Event()

    deaf_until = 0.0

    def on_signal() -> None:
        nonlocal deaf_until
        now = loop.time()
        if not stop.is_set():
            stop.set()
        elif now >= deaf_until:
            hurry.set()
        deaf_until = now + _SAME_WISH_S

    def on_leash() -> None:
        nonlocal deaf_until
        deaf_until = loop.time() + _SAME_WISH_S
        assert stop_fd is not None
        loop.remove_reader(stop_fd)
        os.close(stop_fd)
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    if stop_fd is not None:
        loop.add_reader(stop_fd, on_leash)
    servers: list[asyncio.Server | _Entrance] = []
    for sock in sockets:
        if adopter is not None and ssl_context is not None:
            servers.append(_Entrance(adopter, sock, config.backlog))
            continue
        servers.append(
            await loop.create_server(
                connections.make, sock=sock, ssl=ssl_context, backlog=config.backlog, start_serving=True
            )
        )
    if adopter is not None:
        adopter.start()
    on_ready()
    try:
        await stop.wait()
        for server in servers:
            server.close()
        if adopter is not None:
            adopter.drain()
            await adopter.settle(min(_HANDSHAKE_S, config.drain_s))
        return await _drain(connections, config.drain_s, hurry)
    finally:
        await app.end(context)
        if adopter is not None:
            adopter.stop()
        connections.close()
        context.cut_off()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


class _Entrance:
    """Accepts connections that are to be encrypted, and gives them to an emptier worker before they are.

    What TLS knows of a connection cannot be handed over, so whose it is is decided before its first byte is
    read: each worker gets about as many connections as the others.

    Args:
        adopter: Takes those that stay.
        listening: Where they come in; closed by `close`.
        backlog: How many may wait in the kernel.
    """

    def __init__(self, adopter: _Adopter, listening: socket.socket, backlog: int) -> None:
        self._adopter = adopter
        self._listening = listening
        self._loop = adopter.loop
        self._timer: asyncio.TimerHandle | None = None
        listening.listen(backlog)
        self._open()

    def _open(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_N_AT_ONCE):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _FULL:
                    self._loop.remove_reader(self._listening.fileno())
                    self._timer = self._loop.call_later(_FULL_PAUSE_S, self._open)
                return
            self._adopter.place(connection)

    def close(self) -> None:
        """Accept no more."""
        if self._timer is not None:
            self._timer.cancel()
        else:
            self._loop.remove_reader(self._listening.fileno())
        self._listening.close()


class _Adopter:
    """Takes the connections that neighbours give.

    Args:
        connections: The worker's.
        neighbours: Who gives.
        ssl_context: Serves TLS. What is given then was never read from: TLS cannot be handed over once begun.
    """

    def __init__(
        self, connections: Connections, neighbours: Neighbours, ssl_context: ssl.SSLContext | None
    ) -> None:
        self._connections = connections
        self._neighbours = neighbours
        self._ssl_context = ssl_context
        self.loop = connections.loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    def start(self) -> None:
        """Take what is given from now on."""
        self.loop.add_reader(self._neighbours.fileno(), self._take)
        self._neighbours.serve(True)

    def drain(self) -> None:
        """Pass on what still comes to others, but for what is about a session of this worker's."""
        self._draining = True
        self._neighbours.serve(False)
        self._take()

    async def settle(self, timeout_s: float) -> None:
        """Wait for those that are in the middle of a TLS handshake: nobody else can go on with it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def place(self, connection: socket.socket) -> None:
        """Give a connection that nobody has read from to the worker that should have it; maybe this one."""
        if self._neighbours.give_unread(connection.fileno(), self._n_connections()):
            connection.close()
        else:
            connection.setblocking(False)
            self._begin(Given(connection, b"", None), False)

    def _n_connections(self) -> int:
        connections = self._connections
        return len(connections.http) + len(connections.websockets) + len(self._tasks)

    def stop(self) -> None:
        """Take no more; the parent finds a place for what comes now."""
        self._take()
        self.loop.remove_reader(self._neighbours.fileno())

    def _take(self) -> None:
        for given, has_place in self._neighbours.take():
            # What is about a session of this worker's came for no place and was read from.
            if self._draining and (has_place or not given.data):
                if has_place:
                    has_place = False
                    self._connections.context.capacity.release()
                if self._neighbours.pass_on(given.connection.fileno(), given.data):
                    given.connection.close()
                    continue
            self._begin(given, has_place)
        if self._ssl_context is not None:
            self._neighbours.count(self._n_connections())

    def _begin(self, given: Given, has_place: bool) -> None:
        task = self.loop.create_task(self._adopt(given, has_place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _adopt(self, given: Given, has_place: bool) -> None:
        connection = self._connections.take(given.data, has_place)
        try:
            await self.loop.connect_accepted_socket(
                lambda: connection, given.connection, ssl=self._ssl_context
            )
        except OSError as error:  # its peer is gone
            logger.debug("a connection that was handed over is lost: %s", error)
            given.connection.close()
            connection.give_place_back()


def _date() -> str:
    return format_date(time.time())


async def _drain(connections: Connections, drain_s: float, hurry: asyncio.Event) -> int:
    started_at = connections.loop.time()
    n_sessions = len(connections.context.pool)
    if n_sessions:
        logger.info("draining: %d sessions, at most %g s", n_sessions, drain_s)
    disconnected = asyncio.Event()
    connections.when_empty = disconnected.set
    connections.drain()
    if not connections.http and not connections.websockets:
        disconnected.set()
    clean = await _first(disconnected, hurry, drain_s)
    if not clean:
        connections.abort()
    closed = asyncio.Event()
    connections.context.close(closed.set)
    # The environments' close() gets what is left, but never nothing: it frees what they hold.
    left_s = max(0.5, drain_s - (connections.loop.time() - started_at))
    clean = await _first(closed, hurry, left_s) and clean
    if not clean:
        logger.warning("cut off what was still running")
    return 1 if hurry.is_set() else 0


async def _first(done: asyncio.Event, hurry: asyncio.Event, timeout_s: float) -> bool:
    """Wait for `done`; False if it was hurried or took too long."""
    waiters = [asyncio.ensure_future(done.wait()), asyncio.ensure_future(hurry.wait())]
    await asyncio.wait(waiters, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for waiter in waiters:
        waiter.cancel()
    return done.is_set()
