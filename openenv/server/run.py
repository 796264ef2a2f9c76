"""Serve an app from a settled configuration: the one way in, for the command line and for `App.run`.

In: an app, a `Config`, and for reloads a way to import the app anew. Out: an exit code, when serving is
over. Here the pieces meet: addresses, certificates, capacity, and either this process or several workers.

With one worker there is no supervisor: this process serves. Prints, debuggers and globals behave as in any
program, there is nothing to forward a signal through, and whoever started us sees the end with its own
exit code and can start us again; the price is that SIGHUP reloads nothing.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from openenv.app.app import App
from openenv.app.gate import is_loopback
from openenv.config import Config, effective_capacity
from openenv.errors import ConfigurationError
from openenv.server.capacity import SharedCapacity
from openenv.server.handover import Handover, Neighbours, empty, rescue
from openenv.server.listener import Claim, Doors, Sockets, claim, raise_open_files_limit, tls_context
from openenv.server.logs import configure_logging
from openenv.server.scoreboard import Scoreboard
from openenv.server.serve import serve_sockets
from openenv.server.workers import Supervisor, WorkerMain
from openenv.session.pool import Capacity, LocalCapacity

__all__ = ["Banner", "banner_for", "run", "serve_worker", "settle_capacity"]

_log = logging.getLogger("openenv.server")


@dataclass(frozen=True, slots=True)
class Banner:
    """What is served where, once it is.

    Attributes:
        environment_name: Class name of the environment.
        url: `http://127.0.0.1:8000`, or `unix:/run/env.sock`.
        ws_url: `ws://127.0.0.1:8000/ws`; None for a unix socket, which has no such URL.
        workers: Processes that serve.
        capacity: Sessions at once.
        web: Whether there is a page at `/web`.
        is_open: Whether whoever reaches the port, from the network, may use it.
    """

    environment_name: str
    url: str
    ws_url: str | None
    workers: int
    capacity: int
    web: bool = False
    is_open: bool = False

    def __str__(self) -> str:
        processes = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        sessions = "1 session at a time" if self.capacity == 1 else f"{self.capacity} sessions at once"
        first = f"{self.environment_name} is served on {self.url} ({processes}, {sessions})"
        if self.ws_url is None:
            path = self.url.removeprefix("unix:")
            return f"{first}\n  health    curl --unix-socket {path} http://localhost/health"
        lines = [
            first,
            f"  sessions  {self.ws_url}",
            f"  health    {self.url}/health",
            f"  schema    {self.url}/schema",
            f"  API       {self.url}/docs",
        ]
        if self.web:
            lines.insert(1, f"  play      {self.url}/web")
        if self.is_open:
            lines.append(
                "  open to   everybody who reaches this port; --token SECRET or --host 127.0.0.1 closes it"
            )
        return "\n".join(lines)


def settle_capacity(app: App, config: Config) -> Config:
    """The configuration with its `max_concurrent_envs` a number, and the log told if that is only one.

    Raises:
        ConcurrencyConfigurationError: More than one was asked for an environment that is not concurrent.
    """
    capacity = effective_capacity(config.max_concurrent_envs, app.concurrent, app.environment_name)
    if config.max_concurrent_envs is None and not app.concurrent:
        _log.info(
            "%s is not marked SUPPORTS_CONCURRENT_SESSIONS = True, so it serves one session at a time",
            app.environment_name,
        )
    return replace(config, max_concurrent_envs=capacity)


def run(
    app: App,
    config: Config,
    *,
    reimport: Callable[[], App] | None = None,
    announce: Callable[[Banner], None] | None = None,
) -> int:
    """Serve until told to stop.

    Args:
        app: What to serve.
        config: How.
        reimport: Imports the app's code anew, for SIGHUP. None: a reload restarts workers with the code
            there is.
        announce: Told, once, when every worker is ready. None writes the banner to the log.

    Returns:
        The exit code: 0 after a drain.

    Raises:
        ConfigurationError: It cannot be served so: address, certificate or capacity.
    """
    configure_logging(config.log_level, config.log_format)
    config = settle_capacity(app, config)
    context = tls_context(config)
    raise_open_files_limit()
    addresses = claim(config, share=config.workers > 1)

    def ready() -> None:
        banner = banner_for(app, config, addresses)
        if announce is not None:
            announce(banner)
        else:
            _log.info("%s", banner)

    try:
        # What was imported lives as long as the process: no collection needs to look at it again, and
        # workers share its pages with this process for as long as nobody writes to them.
        gc.collect()
        gc.freeze()
        if config.workers == 1:
            capacity = LocalCapacity(config.max_concurrent_envs or 1)
            return serve_sockets(
                app, addresses.open(), config, on_ready=ready, capacity=capacity, ssl_context=context
            )
        return _run_workers(app, config, addresses, reimport, ready)
    finally:
        addresses.close()


def _run_workers(
    app: App,
    config: Config,
    addresses: Claim,
    reimport: Callable[[], App] | None,
    on_ready: Callable[[], None],
) -> int:
    n_slots = Supervisor.n_slots(config.workers)
    capacity = SharedCapacity(config.max_concurrent_envs or 1, n_slots)
    handover = Handover(n_slots) if Handover.is_possible() else None
    scoreboard = Scoreboard(n_slots)
    doors = Doors(addresses)
    addresses.listen()

    def main(start: WorkerMain) -> int:
        capacity.enter(start.slot)
        sockets = doors.enter(start.slot)
        neighbours = None if handover is None else Neighbours(capacity, handover)
        served = app
        if start.fresh and reimport is not None:
            served = _checked(reimport(), app)
        return serve_worker(
            served, config, sockets, capacity, start, neighbours=neighbours, scoreboard=scoreboard
        )

    def gone(slot: int) -> None:
        capacity.clear(slot)
        scoreboard.keep(slot)
        if handover is not None:
            rescue(capacity, handover, slot)
            left = doors.leave(slot)
            if left and not empty(capacity, handover, left):
                doors.keep(left)

    try:
        return Supervisor(
            main, config.workers, config.drain_s, doors.prepare, gone, on_ready, doors.close
        ).run()
    finally:
        doors.close()
        capacity.close()
        if handover is not None:
            handover.close()


def _nothing() -> None:
    """What is to be done where nobody waits."""


def serve_worker(
    app: App,
    config: Config,
    sockets: Sockets,
    capacity: Capacity,
    start: WorkerMain,
    on_ready: Callable[[], None] = _nothing,
    neighbours: Neighbours | None = None,
    scoreboard: Scoreboard | None = None,
) -> int:
    """Serve in a forked worker: say when it is ready, stop when its leash is gone."""

    def ready() -> None:
        on_ready()
        os.write(start.ready_fd, b"1")
        os.close(start.ready_fd)

    return serve_sockets(
        app,
        sockets,
        config,
        on_ready=ready,
        capacity=capacity,
        # Made in the worker, so that a reload also picks up a renewed certificate.
        ssl_context=tls_context(config),
        stop_fd=start.leash_fd,
        neighbours=neighbours,
        scoreboard=scoreboard,
    )


def _checked(fresh: App, before: App) -> App:
    if fresh.concurrent != before.concurrent:
        raise ConfigurationError(
            f"{fresh.environment_name} changed its SUPPORTS_CONCURRENT_SESSIONS, on which the capacity "
            "rests; restart the server to use the new code"
        )
    return fresh


def banner_for(app: App, config: Config, addresses: Claim) -> Banner:
    """What to tell once it is served."""
    secure = config.ssl_certfile is not None
    return Banner(
        environment_name=app.environment_name,
        url=addresses.url("https" if secure else "http"),
        ws_url=None if config.uds else addresses.url("wss" if secure else "ws") + "/ws",
        workers=config.workers,
        capacity=config.max_concurrent_envs or 1,
        web=config.web_interface,
        is_open=config.uds is None and config.token is None and not is_loopback(config.host),
    )
