"""Start again when a source file changes, for development: `--reload`.

In: folders to watch and a way to import and set up the app. Out: an exit code, when told to stop. The
process that watches never imports the app: each change gives a new process, so no old code is left in it,
and a file that cannot be imported is reported and waited out. The address is claimed once and outlives the
processes, so that a client that connects during a restart waits instead of being refused.

Limits: one worker. Changes are found by looking at the times of `*.py` and `*.yaml` files, four times a
second; hidden folders, virtual environments and caches are left out.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from openenv.app.app import App
from openenv.config import Config
from openenv.server.listener import claim, raise_open_files_limit, tls_context
from openenv.server.run import Banner, banner_for, serve_worker, settle_capacity
from openenv.server.workers import SignalPipe, Worker, WorkerMain, fork_worker, kill_moment
from openenv.session.pool import LocalCapacity

__all__ = ["run_reloading", "snapshot"]

_log = logging.getLogger("openenv.server")

POLL_S = 0.25
_MAX_DRAIN_S = 1.0
_SUFFIXES = (".py", ".yaml", ".yml")
_LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages"})

Snapshot = dict[str, tuple[int, int]]


def snapshot(folders: Sequence[Path]) -> Snapshot:
    """Time and size of every watched file in the folders, by path."""
    found: Snapshot = {}
    for folder in folders:
        for parent, subfolders, files in os.walk(folder):
            subfolders[:] = [name for name in subfolders if _is_watched(parent, name)]
            for name in files:
                if name.endswith(_SUFFIXES):
                    path = os.path.join(parent, name)
                    try:
                        status = os.stat(path)
                    except OSError:
                        continue
                    found[path] = (status.st_mtime_ns, status.st_size)
    return found


def _is_watched(parent: str, name: str) -> bool:
    if name.startswith(".") or name in _LEFT_OUT:
        return False
    return not os.path.exists(os.path.join(parent, name, "pyvenv.cfg"))


def run_reloading(
    load: Callable[[], tuple[App, Config]],
    config: Config,
    folders: Sequence[Path],
    announce: Callable[[Banner], None],
) -> int:
    """Serve, and serve anew after each change, until SIGTERM or SIGINT.

    Args:
        load: Imports the app and settles its configuration; runs in the serving process.
        config: Where to listen; settled without the app.
        folders: What to watch.
        announce: Told by the first serving process once it is ready.

    Returns:
        0; 1 if the serving process had to be killed.

    Raises:
        ConfigurationError: The address or the certificate cannot be used.
    """
    tls_context(config)
    raise_open_files_limit()
    addresses = claim(config, share=False)

    def main(start: WorkerMain) -> int:
        app, own_config = load()
        own_config = settle_capacity(app, own_config)
        capacity = LocalCapacity(own_config.max_concurrent_envs or 1)

        def ready() -> None:
            if start.fresh:
                _log.info("serving the changed code")
            else:
                announce(banner_for(app, own_config, addresses))

        return serve_worker(app, own_config, addresses.open(), capacity, start, ready)

    try:
        return _Reloader(main, config.drain_s, folders).run()
    finally:
        addresses.close()


class _Reloader:
    """One serving process at a time, and what was last seen of the files."""

    def __init__(self, main: Callable[[WorkerMain], int], drain_s: float, folders: Sequence[Path]) -> None:
        self._main = main
        self._drain_s = drain_s
        self._folders = folders
        self._signals = SignalPipe()
        self._worker: Worker | None = None
        self._seen: Snapshot = {}
        self._stopping = False
        self._exit_code = 0
        self._served = False

    def run(self) -> int:
        with self._signals:
            self._start()
            while not (self._stopping and self._worker is None):
                self._wait()
                for number in self._signals.read():
                    self._handle(number)
                self._look_after_worker()
                if not self._stopping:
                    self._look_for_changes()
        return self._exit_code

    def _start(self) -> None:
        self._seen = snapshot(self._folders)
        self._worker = fork_worker(self._main, 0, self._served, self._signals)

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ)
            selector.select(POLL_S)

    def _handle(self, number: int) -> None:
        worker = self._worker
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._stopping and worker is not None:
                self._exit_code = 1
                worker.kill()
            elif worker is not None:
                worker.retire(kill_moment(self._drain_s))
            self._stopping = True
        elif number == signal.SIGHUP and worker is not None:
            worker.retire(kill_moment(min(self._drain_s, _MAX_DRAIN_S)))

    def _look_after_worker(self) -> None:
        worker = self._worker
        if worker is None:
            return
        self._served = worker.read_ready() or self._served
        if worker.kill_at is not None and worker.kill_at <= time.monotonic():
            worker.kill_at = None
            self._exit_code = 1 if self._stopping else 0
            worker.kill()
        code = worker.reap()
        if code is None:
            return
        worker.forget()
        self._worker = None
        if worker.retiring and not self._stopping:
            self._start()
        elif not worker.retiring:
            _log.error("the server ended with %d; waiting for a file to change", code)

    def _look_for_changes(self) -> None:
        now = snapshot(self._folders)
        if now == self._seen:
            return
        changed = sorted(path for path in {*now, *self._seen} if now.get(path) != self._seen.get(path))
        self._seen = now
        _log.info("%s changed, starting again", ", ".join(changed[:3]))
        if self._worker is None:
            self._start()
        else:
            self._worker.retire(kill_moment(min(self._drain_s, _MAX_DRAIN_S)))
