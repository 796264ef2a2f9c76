"""Several processes that serve one port: started, watched, replaced and stopped.

In: something to run in each worker, and signals. Out: an exit code, once no worker is left. It knows
nothing about apps, sockets or sessions: `server/run.py` says what a worker does.

The parent holds two pipes to each worker. Through *ready* the worker says once that it serves; alive is
not ready. The *leash* carries nothing: its end at the parent is open as long as the worker shall serve.
Closing it tells the worker to drain, and so does the death of the parent, however it dies. A signal would
not do: a terminal's Ctrl-C and a service manager's SIGTERM reach every process of the group, and a worker
that the parent signalled as well would take that for the second signal, which ends at once.

As the first process of a container the parent is given every orphan there, and reaps them too.

What the parent does with signals: the first SIGTERM or SIGINT drains all workers, the second kills them;
SIGHUP replaces the workers one at a time with ones that import the code anew.

Limits: POSIX. The parent runs no event loop and no thread, so that forking it is safe.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from openenv.errors import OpenEnvError
from openenv.session.nursery import adopts_orphans, reseed

__all__ = ["RestartPolicy", "SignalPipe", "Supervisor", "Worker", "WorkerMain", "fork_worker", "kill_moment"]

_log = logging.getLogger("openenv.server")

HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
KILL_GRACE_S = 2.0
SAME_SIGNAL_S = 0.2
"""Signals to stop that come within this time are one: `timeout` and shells signal a child and its group."""


def kill_moment(drain_s: float) -> float:
    """Monotonic second past which a worker that was told to drain now is killed.

    A worker keeps to its drain time itself, and gives the environments' `close` half a second at least.
    """
    return time.monotonic() + drain_s + KILL_GRACE_S


_EXIT_GIVEN_UP = 1
_EXIT_CRASHED = 70


@dataclass(frozen=True, slots=True)
class WorkerMain:
    """What a worker is given when it starts.

    Attributes:
        slot: Its slot in the shared capacity.
        fresh: Whether it must import the code anew rather than use what it inherited.
        ready_fd: Where to write one byte once it serves.
        leash_fd: Readable (at end of file) once it shall drain.
    """

    slot: int
    fresh: bool
    ready_fd: int
    leash_fd: int


@dataclass(slots=True, eq=False)
class Worker:
    """The parent's side of one worker process.

    Attributes:
        pid: Process id.
        slot: Its slot in the shared capacity.
        ready_fd: Read end; None once it said that it is ready, or is gone.
        leash_fd: Write end; None once it was told to drain.
        ready: Whether it ever served.
        retiring: Whether it was told to drain.
        kill_at: Monotonic second past which it is killed, or None.
        status: What it ended with, as `os.waitpid` says it, once it was reaped.
    """

    pid: int
    slot: int
    ready_fd: int | None
    leash_fd: int | None
    ready: bool = False
    retiring: bool = False
    kill_at: float | None = None
    status: int | None = None

    def read_ready(self) -> bool:
        """Read what it said. True the moment it becomes ready."""
        if self.ready_fd is None:
            return False
        try:
            said = os.read(self.ready_fd, 1)
        except BlockingIOError:
            return False
        os.close(self.ready_fd)
        self.ready_fd = None
        self.ready = bool(said)
        return self.ready

    def retire(self, kill_at: float) -> None:
        """Tell it to drain, and when its time is up."""
        if self.leash_fd is not None:
            os.close(self.leash_fd)
            self.leash_fd = None
        if not self.retiring:
            self.retiring = True
            self.kill_at = kill_at
        if not self.ready and not self.read_ready():
            # It serves nobody, and may be deep in an import that hears nothing. What it says now is too late.
            self._unhear()
            self.kill()

    def _unhear(self) -> None:
        if self.ready_fd is not None:
            os.close(self.ready_fd)
            self.ready_fd = None

    def kill(self) -> None:
        """End it now. It is still to be reaped."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> int | None:
        """Its exit code, negative for a signal, or None while it runs."""
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return _EXIT_CRASHED
            if pid == 0:
                return None
            self.status = status
        return os.waitstatus_to_exitcode(self.status)

    def forget(self) -> None:
        """Close this process's ends of its pipes."""
        for descriptor in (self.ready_fd, self.leash_fd):
            if descriptor is not None:
                os.close(descriptor)
        self.ready_fd = self.leash_fd = None


class SignalPipe:
    """Signals as bytes that a selector can wait for, while the context is open."""

    def __init__(self) -> None:
        self._read_fd = self._write_fd = -1
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}
        self._wakeup_before = -1

    def __enter__(self) -> SignalPipe:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in HANDLED_SIGNALS:
            self._before[number] = signal.signal(number, _heard_through_the_pipe)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read_fd)
        os.close(self._write_fd)

    def fileno(self) -> int:
        """What to wait on."""
        return self._read_fd

    def read(self) -> list[int]:
        """The signals that arrived since, in order."""
        try:
            return list(os.read(self._read_fd, 4096))
        except BlockingIOError:
            return []

    def forget(self) -> None:
        """In a forked child: undo it all, so that signals mean what they mean in a new process."""
        signal.set_wakeup_fd(-1)
        for number in HANDLED_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # A SIGHUP to the whole group is for the parent. A handler, because what is ignored stays so in exec.
        signal.signal(signal.SIGHUP, _heard_through_the_pipe)
        os.close(self._read_fd)
        os.close(self._write_fd)


def _heard_through_the_pipe(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor carries the signal; a handler must exist for that."""


def fork_worker(
    main: Callable[[WorkerMain], int],
    slot: int,
    fresh: bool,
    signals: SignalPipe,
    siblings: Iterable[Worker] = (),
) -> Worker:
    """Fork a process that runs `main` and ends with the code it returns.

    The child never returns from here. It holds no descriptor of its siblings' pipes: an inherited end
    of a leash would keep a sibling alive after the parent's death.
    """
    ready_read, ready_write = os.pipe()
    leash_read, leash_write = os.pipe()
    os.set_blocking(ready_read, False)
    _flush()
    # A signal between the fork and the child's own handlers would be lost in the parent's.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
    pid = os.fork()
    if pid == 0:
        _run_child(
            main, WorkerMain(slot, fresh, ready_write, leash_read), signals, siblings,
            (ready_read, leash_write), before,
        )  # fmt: skip
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(ready_write)
    os.close(leash_read)
    return Worker(pid, slot, ready_read, leash_write)


def _run_child(
    main: Callable[[WorkerMain], int],
    start: WorkerMain,
    signals: SignalPipe,
    siblings: Iterable[Worker],
    parents_ends: tuple[int, int],
    mask: Iterable[int],
) -> NoReturn:
    code = _EXIT_CRASHED
    try:
        signals.forget()
        for sibling in siblings:
            sibling.forget()
        for descriptor in parents_ends:
            os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        reseed()
        code = main(start)
    except OpenEnvError as error:
        code = error.exit_code
        _log.error(
            "worker %d cannot start: %s", os.getpid(), error, exc_info=_log.isEnabledFor(logging.DEBUG)
        )
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        _log.critical("worker %d crashed", os.getpid(), exc_info=True)
    finally:
        # Nothing of the child may run on into the parent's code, and no thread of the author's may hold it.
        _flush()
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


@dataclass(slots=True)
class RestartPolicy:
    """When to start a worker again after one died, and when to stop trying.

    Attributes:
        n_workers: How many there should be.
        first_delay_s: Before the first restart; doubles with each `n_workers` deaths of the last minute.
        max_delay_s: Longest delay.
        max_early: Deaths in a row, none of them of a worker that ever served, that are a crash loop.
        max_per_worker: Deaths per worker within `window_s` that are one too.
        window_s: For how long a death counts.
    """

    n_workers: int
    first_delay_s: float = 0.05
    max_delay_s: float = 5.0
    max_early: int = 5
    max_per_worker: int = 10
    window_s: float = 60.0
    _deaths: deque[float] = field(default_factory=deque)
    _n_early: int = 0

    def became_ready(self) -> None:
        """A worker serves."""
        self._n_early = 0

    def died(self, now: float, was_ready: bool, others_serve: bool) -> float | None:
        """A worker that should serve is gone.

        Args:
            now: Monotonic seconds.
            was_ready: Whether it ever served.
            others_serve: Whether another one serves. While one does there is something to lose, so
                workers that cannot even start are tried again for ever, at the longest delay.

        Returns:
            Seconds to wait before starting another, or None: a crash loop, give up.
        """
        self._deaths.append(now)
        while self._deaths[0] < now - self.window_s:
            self._deaths.popleft()
        self._n_early = 0 if was_ready else self._n_early + 1
        if self._n_early >= self.max_early and not others_serve:
            return None
        if len(self._deaths) >= self.max_per_worker * self.n_workers:
            return None
        n_doublings = (len(self._deaths) - 1) // self.n_workers
        return float(min(self.first_delay_s * 2**n_doublings, self.max_delay_s))


class Supervisor:
    """Keeps `n_workers` workers serving until it is told to stop or they cannot.

    Args:
        main: Runs in each worker; its return value is the worker's exit code.
        n_workers: How many.
        drain_s: Seconds a worker gets to end after it was told to.
        on_start: Called with the slot of each worker before it is forked, and with that of the worker whose
            place it takes, if that is still there.
        on_gone: Called with the slot of each worker that is gone.
        on_ready: Called once, in the parent, when every worker serves for the first time.
        on_stop: Called once all workers were told to drain, and no more are started.
    """

    def __init__(
        self,
        main: Callable[[WorkerMain], int],
        n_workers: int,
        drain_s: float,
        on_start: Callable[[int, int | None], None],
        on_gone: Callable[[int], None],
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._main = main
        self._n_workers = n_workers
        self._drain_s = drain_s
        self._on_start = on_start
        self._on_gone = on_gone
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._adopts_orphans = adopts_orphans()
        self._policy = RestartPolicy(n_workers)
        self._signals = SignalPipe()
        self._workers: list[Worker] = []
        self._free_slots = list(range(self.n_slots(n_workers) - 1, -1, -1))
        self._due: list[float] = []
        self._announced = False
        self._exit_code: int | None = None
        self._deaf_until = 0.0
        # A reload: the workers still to be replaced, the old one whose turn it is and the new one for it.
        self._fresh = False
        self._to_replace: deque[Worker] = deque()
        self._old: Worker | None = None
        self._new: Worker | None = None
        self._reload_again = False

    @staticmethod
    def n_slots(n_workers: int) -> int:
        """Most workers alive at once: during a reload old ones drain beside the new."""
        return 2 * n_workers + 1

    def run(self) -> int:
        """Start the workers and stay until none is left.

        Returns:
            0 after a drain; 1 if workers had to be killed or died too often; 2 if the first ones could
            not start as configured.
        """
        with self._signals:
            for _ in range(self._n_workers):
                self._start(self._fresh)
            while self._workers or (self._due and self._exit_code is None):
                self._wait()
                for number in self._signals.read():
                    self._handle(number)
                self._hear_workers()
                self._reap()
                self._do_what_is_due()
        return self._exit_code or 0

    # -- waiting ----------------------------------------------------------------------------

    def _wait(self) -> None:
        moments = [*self._due, *(worker.kill_at for worker in self._workers if worker.kill_at is not None)]
        timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ)
            for worker in self._workers:
                if worker.ready_fd is not None:
                    selector.register(worker.ready_fd, selectors.EVENT_READ)
            selector.select(timeout)

    def _hear_workers(self) -> None:
        for worker in list(self._workers):
            if worker.read_ready():
                self._policy.became_ready()
                _log.debug("worker %d is ready", worker.pid)
                if worker is self._new:
                    self._take_over()
        if not self._announced and sum(worker.ready for worker in self._workers) >= self._n_workers:
            self._announced = True
            self._on_ready()

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if worker.kill_at is not None and worker.kill_at <= now:
                _log.warning("worker %d did not end in time; killing it", worker.pid)
                worker.kill_at = None
                worker.kill()
        if self._exit_code is None:
            n_due = sum(moment <= now for moment in self._due)
            self._due = [moment for moment in self._due if moment > now]
            for _ in range(n_due):
                started = self._start(self._fresh)
                if self._reloading and not self._fresh:
                    self._to_replace.append(started)

    # -- starting and losing workers --------------------------------------------------------

    def _start(self, fresh: bool, replaced: int | None = None) -> Worker:
        slot = self._free_slots.pop()
        self._on_start(slot, replaced)
        worker = fork_worker(self._main, slot, fresh, self._signals, self._workers)
        self._workers.append(worker)
        return worker

    def _reap(self) -> None:
        if self._adopts_orphans:
            self._reap_all()
        for worker in list(self._workers):
            code = worker.reap()
            if code is None:
                continue
            # It may have become ready and died since we last looked.
            worker.read_ready()
            self._workers.remove(worker)
            worker.forget()
            self._on_gone(worker.slot)
            self._free_slots.append(worker.slot)
            self._lost(worker, code)

    def _reap_all(self) -> None:
        """Reap whoever ended: a worker, or a stranger that nobody else waits for."""
        workers = {worker.pid: worker for worker in self._workers}
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in workers:
                    workers[pid].status = status

    def _lost(self, worker: Worker, code: int) -> None:
        if worker is self._new:
            self._abandon_reload(worker, code)
        elif worker is self._old:
            self._old = None
            if self._new is None:
                self._replace_next()
            # Else it died before its turn to drain came, and the new one takes its place as it would have.
        elif worker.retiring:
            if code != 0 and worker.ready and self._exit_code == 0:
                self._exit_code = 1
        elif self._exit_code is None:
            self._restart(worker, code)

    def _restart(self, worker: Worker, code: int) -> None:
        if code == 2 and not self._announced:
            # The first ones could not start as configured: trying again would only repeat the message.
            self._stop(code)
            return
        others_serve = any(other.ready and not other.retiring for other in self._workers)
        delay_s = self._policy.died(time.monotonic(), worker.ready, others_serve)
        how = _describe(code)
        if delay_s is None:
            _log.critical(
                "worker %d %s; workers die too often to go on, giving up: see their errors above",
                worker.pid,
                how,
            )
            self._stop(_EXIT_GIVEN_UP)
            return
        _log.error("worker %d %s; starting another in %.2f s", worker.pid, how, delay_s)
        self._due.append(time.monotonic() + delay_s)

    # -- signals ----------------------------------------------------------------------------

    def _handle(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if time.monotonic() < self._deaf_until:
                return
            self._deaf_until = time.monotonic() + SAME_SIGNAL_S
            if self._exit_code is None:
                _log.info("stopping: %d workers drain for at most %g s", len(self._workers), self._drain_s)
                self._stop(0)
            else:
                _log.warning("stopping at once")
                self._exit_code = self._exit_code or 1
                for worker in self._workers:
                    worker.kill()
        elif number == signal.SIGHUP and self._exit_code is None:
            self._reload()

    def _stop(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._to_replace.clear()
        self._old = self._new = None
        self._due.clear()
        for worker in self._workers:
            worker.retire(kill_moment(self._drain_s))
        self._on_stop()

    # -- reload -----------------------------------------------------------------------------

    @property
    def _reloading(self) -> bool:
        return self._old is not None or self._new is not None

    def _reload(self) -> None:
        if self._reloading:
            self._reload_again = True
            return
        _log.info("reloading %d workers, one at a time", self._n_workers)
        self._to_replace.extend(worker for worker in self._workers if not worker.retiring)
        self._replace_next()

    def _replace_next(self) -> None:
        while self._to_replace:
            old = self._to_replace.popleft()
            if old in self._workers:
                self._old = old
                self._new = self._start(True, old.slot)
                return
        _log.info("reloaded: every worker runs the new code")
        self._reload_once_more()

    def _take_over(self) -> None:
        """The new worker serves: from now on restarts run its code, and the old one drains."""
        self._fresh = True
        self._new = None
        if self._old is not None:
            self._old.retire(kill_moment(self._drain_s))
        else:
            self._replace_next()

    def _abandon_reload(self, worker: Worker, code: int) -> None:
        _log.error(
            "reload failed: the new worker %d %s; the old workers keep serving", worker.pid, _describe(code)
        )
        if self._old is None:
            # The one it was to replace died meanwhile.
            self._due.append(time.monotonic())
        self._old = self._new = None
        self._to_replace.clear()
        self._reload_once_more()

    def _reload_once_more(self) -> None:
        if self._reload_again:
            self._reload_again = False
            self._reload()


def _describe(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
