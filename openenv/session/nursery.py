"""Processes for environments: a fork of the worker that forks one child for each session, and ends them.

In: one end of a socket pair for each child, and what is to run there. Out: how each child ended. It knows
nothing about environments or calls.

A worker has a loop, and later threads: forking it for each session would copy locks that somebody holds. So
it forks once, before it serves anybody, a *nursery*: one thread, no loop, the application imported. The
nursery forks the children, in milliseconds, and they share its memory until they write to it. It is told to
end when its socket to the worker is closed, whatever the worker died of; a child is killed by the kernel if
the nursery dies. A nursery that dies is replaced when the next child is asked for.

A child is the leader of a session of its own (setsid). When it ends, or is to end, its process group and,
where the kernel lists them, all its descendants are killed with it. Children hold none of the worker's
sockets and pipes: a listening socket in a child would keep a port open that nobody answers.

Limits: POSIX; parent death signals and descendants outside the group are Linux's. A descendant that made
itself a session of its own outlives a child that *crashed*, since nobody knows any more whose it was; it ends
with the worker.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import logging
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple, NoReturn

__all__ = ["Limits", "Nursery", "adopts_orphans", "describe_end", "reseed"]

logger = logging.getLogger("openenv.session")

_RECORD: Final = struct.Struct("=cxxxIi")  # what, which child, a number
_START, _KILL = b"S", b"K"  # to the nursery
_BORN, _ENDED, _UNBORN = b"B", b"E", b"U"  # from it: pid, exit code (negative for a signal), errno

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_END_S = 2.0
_EXIT_CRASHED = 70
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 1, 36, 37


class Limits(NamedTuple):
    """What one child may take; 0 sets no limit.

    Attributes:
        memory_bytes: Private memory beyond what the application takes when it is imported.
        cpu_s: Seconds of processor time over its whole life.
    """

    memory_bytes: int = 0
    cpu_s: int = 0


def describe_end(code: int) -> str:
    """How a process ended, from its exit code, negative for a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class Nursery:
    """The worker's side: asks for children and hears of their ends.

    Args:
        main: Runs in each child with its end of the socket pair; the child ends when it returns.
        loop: The running loop.
        limits: Of each child.
    """

    def __init__(
        self,
        main: Callable[[socket.socket], object],
        loop: asyncio.AbstractEventLoop,
        limits: Limits | None = None,
    ) -> None:
        self._main = main
        self._loop = loop
        self._limits = limits or Limits()
        self._pid = 0
        self._control: socket.socket | None = None
        self._unsent: deque[tuple[bytes, socket.socket | None]] = deque()
        self._unread = b""
        self._last_key = 0
        self._pids: dict[int, int] = {}
        self._on_end: dict[int, Callable[[int | None, int], None]] = {}
        self._fork()

    def __len__(self) -> int:
        return len(self._on_end)

    def start(self, connection: socket.socket, on_end: Callable[[int | None, int], None]) -> int:
        """Ask for a child.

        Args:
            connection: The child's end; it is the nursery's from now on.
            on_end: Called on the loop, once, with the child's exit code (negative for a signal) and 0,
                or, where there was no child, with None and the errno that says why.

        Returns:
            What `kill` takes.
        """
        if self._control is None:
            logger.warning("the process that starts environments is gone; starting another")
            self._fork()
        self._last_key = key = self._last_key % 0xFFFFFFFF + 1
        self._on_end[key] = on_end
        self._tell(_RECORD.pack(_START, key, 0), connection)
        return key

    def kill(self, key: int) -> None:
        """End a child and all that it started. It may be gone already."""
        if key in self._on_end:
            self._tell(_RECORD.pack(_KILL, key, 0), None)

    def close(self) -> None:
        """End all children and the nursery; nobody is told of ends any more."""
        self._on_end.clear()
        if self._control is not None:
            self._lose_control()
            _wait_for(self._pid)

    # -- the worker's end of the socket -------------------------------------------------------

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        _flush()
        # A signal before the child has handlers of its own would wake this process's loop by its descriptor.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                _nurse(theirs, self._main, self._limits, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        ours.setblocking(False)
        self._pid, self._control = pid, ours
        self._unread = b""
        self._loop.add_reader(ours.fileno(), self._hear)

    def _tell(self, record: bytes, connection: socket.socket | None) -> None:
        self._unsent.append((record, connection))
        if len(self._unsent) == 1:
            self._send()

    def _send(self) -> None:
        control = self._control
        if control is None:
            return
        while self._unsent:
            record, connection = self._unsent[0]
            try:
                if connection is None:
                    control.send(record)
                else:
                    socket.send_fds(control, [record], [connection.fileno()])
            except BlockingIOError:
                self._loop.add_writer(control.fileno(), self._send)
                return
            except OSError:
                self._die()
                return
            if connection is not None:
                connection.close()
            self._unsent.popleft()
        self._loop.remove_writer(control.fileno())

    def _hear(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._die()
            return
        data = self._unread + data
        whole = len(data) - len(data) % _RECORD.size
        self._unread = data[whole:]
        for what, key, number in _RECORD.iter_unpack(data[:whole]):
            if what == _BORN:
                self._pids[key] = number
            elif what == _ENDED:
                self._tell_end(key, number, 0)
            else:
                self._tell_end(key, None, number)

    def _tell_end(self, key: int, code: int | None, error: int) -> None:
        self._pids.pop(key, None)
        on_end = self._on_end.pop(key, None)
        if on_end is not None:
            on_end(code, error)

    def _die(self) -> None:
        """The nursery is gone, and its children with it; what they started is not."""
        self._lose_control()
        _wait_for(self._pid)
        for pid in self._pids.values():
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        for pid in self._pids.values():
            _wait_for(pid)  # where this is the first process of a container they are its own now
        self._pids.clear()
        for key in list(self._on_end):
            self._tell_end(key, -signal.SIGKILL, 0)

    def _lose_control(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            self._loop.remove_reader(control.fileno())
            self._loop.remove_writer(control.fileno())
            control.close()
        for _, connection in self._unsent:
            if connection is not None:
                connection.close()
        self._unsent.clear()


def _wait_for(pid: int) -> None:
    """Reap a process that is about to end."""
    until = time.monotonic() + _END_S
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(0.001)


# -- the nursery's own process ----------------------------------------------------------------


def _nurse(
    control: socket.socket, main: Callable[[socket.socket], object], limits: Limits, mask: Iterable[int]
) -> NoReturn:
    """The first frame of the forked process: nothing may run on into the worker's code."""
    try:
        _Nurse(control, main, limits, mask).run()
    except BaseException:
        logger.critical("the process that starts environments crashed", exc_info=True)
    finally:
        os._exit(_EXIT_CRASHED)


class _Nurse:
    """Forks, kills and reaps, on one thread, until its socket is closed."""

    def __init__(
        self,
        control: socket.socket,
        main: Callable[[socket.socket], object],
        limits: Limits,
        mask: Iterable[int],
    ) -> None:
        self._control = control
        self._main = main
        self._limits = limits
        self._pid = os.getpid()
        self._pids: dict[int, int] = {}
        self._keys: dict[int, int] = {}
        signal.set_wakeup_fd(-1)
        self._cover(control.fileno())
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        # It ends when the worker does: a terminal's Ctrl-C, which reaches all, must leave the drain its time.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _heard_through_the_pipe)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        gc.freeze()

    def _cover(self, *kept: int) -> None:
        """Put /dev/null over every inherited socket, pipe and the like.

        Closed they would free numbers that Python objects still hold, and may close a second time.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for name in os.listdir("/dev/fd"):
            number = int(name)
            with suppress(OSError):
                if number > 2 and number not in kept and _is_channel(number):
                    os.dup2(null, number, inheritable=False)
        if null > 0:
            os.dup2(null, 0)
            os.close(null)

    def run(self) -> NoReturn:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            ready = {number for number, _ in poll.poll()}
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
                self._reap()
            if self._control.fileno() in ready:
                self._obey()

    def _obey(self) -> None:
        record, descriptors, _, _ = socket.recv_fds(self._control, _RECORD.size, 1)
        while record and len(record) < _RECORD.size:
            more = self._control.recv(_RECORD.size - len(record))
            record = record + more if more else b""
        if not record:
            self._end()
        what, key, _ = _RECORD.unpack(record)
        if what == _START:
            self._start(key, descriptors)
        elif key in self._pids:
            self._reap()
            if key in self._pids:
                _kill_tree(self._pids[key])

    def _start(self, key: int, descriptors: list[int]) -> None:
        try:
            if not descriptors:
                raise OSError(errno.EMFILE, "no descriptor came")
            pid = os.fork()
        except OSError as error:
            self._say(_UNBORN, key, error.errno or 0)
        else:
            if pid == 0:
                self._be_child(descriptors[0])
            self._pids[key] = pid
            self._keys[pid] = key
            self._say(_BORN, key, pid)
        for number in descriptors:
            os.close(number)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                key = self._keys.pop(pid, None)
                if key is None:
                    continue  # an orphan of some session's
                del self._pids[key]
                with suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)
                self._say(_ENDED, key, os.waitstatus_to_exitcode(status))

    def _say(self, what: bytes, key: int, number: int) -> None:
        try:
            self._control.sendall(_RECORD.pack(what, key, number))
        except OSError:
            self._end()

    def _end(self) -> NoReturn:
        """The worker is gone. What environments that crashed have left behind goes as well."""
        for pid in self._keys:
            _kill_tree(pid)
        for pid in _descendants(self._pid):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._keys:
            with suppress(OSError):
                os.waitpid(pid, 0)
        os._exit(0)

    def _be_child(self, descriptor: int) -> NoReturn:
        """The first frame of a child."""
        code = _EXIT_CRASHED
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == self._pid:
                connection = socket.socket(fileno=descriptor)
                self._control.close()
                os.close(self._woken)
                os.close(self._waker)
                _set_limits(self._limits)
                reseed()
                self._main(connection)
            code = 0
        except BaseException:
            logger.critical("the process of an environment crashed", exc_info=True)
        finally:
            _flush()
            os._exit(code)


def _heard_through_the_pipe(_number: int, _frame: object) -> None:
    """The wake-up descriptor carries the signal; a handler must exist for that."""


def _is_channel(number: int) -> bool:
    """Whether a descriptor is a socket, a pipe, or one without a file such as epoll's."""
    mode = os.fstat(number).st_mode
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or stat.S_IFMT(mode) == 0


def _kill_tree(leader: int) -> None:
    """Kill a child, its process group, and whoever descends from it."""
    with suppress(OSError):
        os.killpg(leader, signal.SIGSTOP)  # so that nobody of them forks while we look
    found: set[int] = set()
    for _ in range(8):
        new = _descendants(leader) - found
        if not new:
            break
        found |= new
        for pid in new:
            with suppress(OSError):
                os.kill(pid, signal.SIGSTOP)
    with suppress(OSError):
        os.killpg(leader, signal.SIGKILL)
    for pid in (leader, *found):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> set[int]:
    """Processes below one, as far as the kernel lists them."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        folder = f"/proc/{waiting.pop()}/task"
        try:
            texts = [_read(f"{folder}/{thread}/children") for thread in os.listdir(folder)]
        except OSError:
            continue
        new = {int(word) for text in texts for word in text.split()} - found
        found |= new
        waiting += new
    return found


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def _set_limits(limits: Limits) -> None:
    if limits.memory_bytes:
        n_bytes = _data_bytes() + limits.memory_bytes
        _lower(resource.RLIMIT_DATA, n_bytes, n_bytes)
    if limits.cpu_s:
        # SIGXCPU says why; SIGKILL a second later is for whoever does not hear it.
        _lower(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1)


def _lower(what: int, soft: int, hard: int) -> None:
    most = resource.getrlimit(what)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(what, (soft, hard))


def _data_bytes() -> int:
    """Private memory that this process has already, as RLIMIT_DATA counts it."""
    try:
        lines = _read("/proc/self/status").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


def reseed() -> None:
    """Give a process that was just forked random numbers of its own.

    `random` sees to that itself. numpy's global generator would give the same numbers to every process that
    was forked after numpy was imported; where it was not, there is nothing to do.
    """
    seed: Any = getattr(sys.modules.get("numpy.random"), "seed", None)
    if callable(seed):
        seed(int.from_bytes(os.urandom(4), "big"))


def adopts_orphans() -> bool:
    """Whether the kernel gives this process the orphans among its descendants, for it to reap.

    It does so to the first process of a container, and to whoever asked for it (PR_SET_CHILD_SUBREAPER).
    """
    asked = ctypes.c_int()
    if _libc is not None:
        _libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(asked), 0, 0, 0)
    return os.getpid() == 1 or bool(asked.value)


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
