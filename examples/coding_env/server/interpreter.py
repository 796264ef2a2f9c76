"""The server's end of one interpreter: start it, have it run code, end it.

In: code. Out: an `Outcome`; nothing that the code does is an exception here. Time, memory, the amount of
output and deaths are seen from outside. What the interpreter says of itself (exit code, result) is checked
in form only: code that runs in a process can say anything in its name.

Between two runs every process of the session is stopped, so a session that nobody steps costs no time.

Not safe for several threads at once. The thread that starts the interpreter has to outlive it: the kernel
ends the one with the other.
"""

import codecs
import os
import select
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_bytes
from struct import Struct
from time import monotonic

from .processes import descendants, freeze, memory_bytes, thaw
from .sandbox import Launched, Sandbox, remove
from .settings import Settings

__all__ = ["MAX_CODE", "Interpreter", "LostError", "Outcome"]

MAX_CODE = 1_000_000
"""Characters of code in one step."""

_REQUEST = Struct(">16sI")
_ANSWER = Struct(">16siqI")
_START_S = 30.0
_END_S = 10.0
_WATCH_S = 0.1
_CHUNK = 1 << 16
_MAX_OUTPUT_BYTES = 1 << 24
_LEFT_OVER_BYTES = 1 << 20  # the most that a pipe holds
_MAX_FILES = 10_000
_MAX_DEPTH = 1024  # characters of a path within the private folder
_TIMED_OUT = 124  # as timeout(1) says it
_KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run gave.

    Attributes:
        stdout: Text, cut at the limit with a mark that says how much was cut.
        stderr: The same; it keeps its beginning and its end, and ends with what the session has to say.
        exit_code: 0 if the code ran to its end, 1 after an exception, what it gave to `sys.exit`, 124
            past the time limit, else 128 plus the signal that ended the interpreter.
        result: `repr` of the last expression, or None.
        output_cut: Whether something of the three was cut.
        timed_out: Whether the time limit ended the run.
        restarted: Whether the interpreter is gone, and the variables with it.
    """

    stdout: str
    stderr: str
    exit_code: int
    result: str | None = None
    output_cut: bool = False
    timed_out: bool = False
    restarted: bool = False


class LostError(Exception):
    """The interpreter is gone or may not go on; the text says why, in words for whoever wrote the code."""

    def __init__(self, reason: str, exit_code: int | None = None) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class _Stream:
    """One output: the first and the last characters of it, and how many there were."""

    def __init__(self, fd: int, first: int, last: int) -> None:
        self.fd = fd
        self.is_open = True
        self.n_bytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._first, self._last = first, last
        self._head = self._tail = ""
        self._count = 0

    def read(self) -> bool:
        """Take what is there, at most a chunk; False if there was nothing."""
        try:
            data = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.is_open = False
            return False
        self.n_bytes += len(data)
        self._take(self._decoder.decode(data))
        return True

    def text(self) -> tuple[str, bool]:
        """All that was kept, with a mark where something is missing, and whether there is one."""
        self._take(self._decoder.decode(b"", True))
        cut = self._count - len(self._head) - len(self._tail)
        return f"{self._head}{_mark(cut)}{self._tail}", cut > 0

    def _take(self, text: str) -> None:
        self._count += len(text)
        room = self._first - len(self._head)
        self._head += text[:room]
        if self._last:
            self._tail = (self._tail + text[room:])[-self._last :]


def _mark(count: int) -> str:
    return f"... [{count} characters cut]" if count else ""


class Interpreter:
    """One interpreter behind a sandbox. Made, it runs and waits.

    Raises:
        LostError: It did not start.
    """

    def __init__(self, sandbox: Sandbox, settings: Settings) -> None:
        self.settings = settings
        self._is_wrapped = sandbox.name == "bwrap"
        self._control, theirs = socket.socketpair()
        try:
            with theirs:
                self._launched: Launched = sandbox.launch(settings, theirs)
        except OSError as error:
            self._control.close()
            raise LostError(f"the interpreter could not be started: {error}") from error
        process = self._launched.process
        assert process.stdout is not None
        assert process.stderr is not None
        self._process: subprocess.Popen[bytes] = process
        self._outputs = (process.stdout.fileno(), process.stderr.fileno())
        for fd in (self._control.fileno(), *self._outputs):
            os.set_blocking(fd, False)
        self.facts = ""
        self._count_at = 0.0
        streams = self._streams()
        try:
            self.facts = (self._converse(b"", bytes(16), streams, _START_S)[2] or b"").decode(
                "utf-8", "replace"
            )
            freeze(self._pids(), process.pid)
        except LostError as error:
            self.close()
            _drain(streams)
            why = streams[1].text()[0].strip() or error
            raise LostError(f"the interpreter could not be started: {why}") from error

    @property
    def pid(self) -> int:
        """The process that was started, as the server's machine counts."""
        return self._process.pid

    def run(self, code: str, timeout_s: float | None = None) -> Outcome:
        """Run code in the session's variables. After an outcome with `restarted` make another interpreter.

        Args:
            code: Python, at most `MAX_CODE` characters.
            timeout_s: Seconds, > 0, if it is to be less than the settings say.
        """
        limit_s = min(self.settings.timeout_s, timeout_s or self.settings.timeout_s)
        streams = self._streams()
        nonce = token_bytes(16)
        text = code.encode("utf-8", "surrogatepass")
        try:
            if self._is_disturbed():
                raise LostError("the interpreter ended, or broke its channel, since the last step")
            thaw(self._pids())
            exit_code, size, shown = self._converse(
                _REQUEST.pack(nonce, len(text)) + text, nonce, streams, limit_s
            )
            freeze(self._pids(), self._process.pid)
        except LostError as lost:
            self.close()
            return self._loss(lost, streams)
        _drain(streams)
        (stdout, cut_out), (stderr, cut_err) = (stream.text() for stream in streams)
        result = None
        if shown is not None:
            kept = shown.decode("utf-8", "replace")[: self.settings.max_output]
            result = kept + _mark(max(0, size - len(kept)))
        cut_result = result is not None and size > self.settings.max_output
        return Outcome(
            stdout=stdout,
            stderr=stderr,
            exit_code=exit_code,
            result=result,
            output_cut=cut_out or cut_err or cut_result,
        )

    def close(self) -> None:
        """End every process of the session, wait until they are gone and remove its folder. Idempotent."""
        process = self._process
        if process.returncode is None:
            self._kill()
        self._control.close()
        if self._launched.folder is not None:
            remove(self._launched.folder)

    def release(self) -> None:
        """Close the pipes that `close` leaves open so that last words can be read."""
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _loss(self, lost: LostError, streams: tuple[_Stream, _Stream]) -> Outcome:
        _drain(streams)
        (stdout, cut_out), (stderr, cut_err) = (stream.text() for stream in streams)
        line = f"[session] {lost}; all variables are gone, the next step has a fresh interpreter\n"
        gap = "\n" if stderr and not stderr.endswith("\n") else ""
        code = self._process.returncode or 0
        return Outcome(
            stdout=stdout,
            stderr=f"{stderr}{gap}{line}",
            exit_code=lost.exit_code if lost.exit_code is not None else (128 - code if code < 0 else code),
            output_cut=cut_out or cut_err,
            timed_out=lost.exit_code == _TIMED_OUT,
            restarted=True,
        )

    def _streams(self) -> tuple[_Stream, _Stream]:
        limit = self.settings.max_output
        out, err = self._outputs
        # The last lines of a traceback are the ones that say what is wrong.
        return _Stream(out, limit, 0), _Stream(err, limit - limit // 2, limit // 2)

    def _converse(
        self, request: bytes, nonce: bytes, streams: tuple[_Stream, _Stream], limit_s: float
    ) -> tuple[int, int, bytes | None]:
        """Send a request and collect output until it is answered: exit code, size and bytes of the result."""
        deadline = monotonic() + limit_s
        look_at = monotonic() + _WATCH_S
        unsent = memoryview(request)
        answer = bytearray()
        control = self._control.fileno()
        poll = select.poll()
        poll.register(control, select.POLLIN | (select.POLLOUT if request else 0))
        for stream in streams:
            if stream.is_open:
                poll.register(stream.fd, select.POLLIN)
        while True:
            now = monotonic()
            if now >= deadline:
                raise LostError(
                    f"stopped after {limit_s:g} s, the time limit of a step, with all it started", _TIMED_OUT
                )
            # While it starts, "its" folder may still be the machine's own.
            if now >= look_at:
                if self.facts:
                    self._watch(streams)
                look_at = now + _WATCH_S
            for fd, event in poll.poll(max(0.0, min(deadline, look_at) - now) * 1000):
                if fd != control:
                    stream = streams[0] if fd == streams[0].fd else streams[1]
                    if not stream.read() and not stream.is_open:
                        poll.unregister(fd)
                    self._check_amount(streams)
                    continue
                if event & select.POLLOUT and unsent:
                    unsent = self._send(unsent)
                    if not unsent:
                        poll.modify(control, select.POLLIN)
                if event & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    answer += self._receive()
                    found = self._parsed(answer, nonce)
                    if found is not None:
                        return found

    def _send(self, data: memoryview) -> memoryview:
        try:
            return data[self._control.send(data) :]
        except BlockingIOError:
            return data
        except OSError as error:
            raise self._death() from error

    def _receive(self) -> bytes:
        try:
            data = self._control.recv(_CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._death() from error
        if not data:
            raise self._death()
        return data

    def _parsed(self, answer: bytearray, nonce: bytes) -> tuple[int, int, bytes | None] | None:
        """The answer, or None while it is incomplete."""
        if not nonce.startswith(answer[:16]):
            raise LostError("something else than the interpreter wrote on its channel", _KILLED)
        if len(answer) < _ANSWER.size:
            return None
        _, exit_code, size, length = _ANSWER.unpack_from(answer)
        # One character is at most four bytes, or ten where it is written as an escape.
        is_possible = -1 <= size < 1 << 48 and length <= 10 * self.settings.max_output + 1024
        if not is_possible or not -256 < exit_code < 256 or len(answer) > _ANSWER.size + length:
            raise LostError("something else than the interpreter wrote on its channel", _KILLED)
        if len(answer) < _ANSWER.size + length:
            return None
        return exit_code, size, bytes(answer[_ANSWER.size :]) if size >= 0 else None

    def _death(self) -> LostError:
        """The interpreter closed its channel: wait for its end, so that the exit code is its own."""
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            return LostError("the code closed the interpreter's channel", _KILLED)
        said = 128 - code if code < 0 else code
        if said > 128:
            return LostError(f"the interpreter was ended by signal {said - 128}{_name(said - 128)}")
        return LostError(f"the interpreter ended with exit code {said}")

    def _is_disturbed(self) -> bool:
        """Whether the interpreter is gone or has said something that nobody asked for."""
        if self._process.poll() is not None:
            return True
        try:
            self._control.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _watch(self, streams: tuple[_Stream, _Stream]) -> None:
        """Look at what the kernel does not limit: memory of all processes together, size of a folder."""
        self._check_amount(streams)
        limit = self.settings.memory_bytes
        pids = self._pids()
        if memory_bytes(pids, limit) > limit:
            raise LostError(f"stopped: its processes use more than {limit >> 20} MiB of memory", _KILLED)
        begun = monotonic()
        if begun < self._count_at:
            return
        if self._is_wrapped:
            is_full = _has_too_many_files(pids)
        else:
            is_full = _holds_too_much(self._launched.folder or "", self.settings.disk_bytes)
        if is_full:
            megabytes = self.settings.disk_bytes >> 20
            raise LostError(
                f"stopped: its folder holds more than {megabytes} MiB or {_MAX_FILES} files, or is too deep",
                _KILLED,
            )
        # Counting many files takes time that other sessions need: a tenth of one processor at most.
        self._count_at = begun + 10 * (monotonic() - begun)

    def _check_amount(self, streams: tuple[_Stream, _Stream]) -> None:
        if sum(stream.n_bytes for stream in streams) > _MAX_OUTPUT_BYTES:
            raise LostError(f"stopped: it wrote more than {_MAX_OUTPUT_BYTES >> 20} MiB", _KILLED)

    def _pids(self) -> list[int]:
        """Every process of the session; bubblewrap's outer one is ours and not the session's."""
        below = descendants(self._process.pid)
        return below if self._is_wrapped else [self._process.pid, *below]

    def _kill(self) -> None:
        """SIGKILL for everything, and wait."""
        pids = self._pids()
        # The first process of a pid namespace: the kernel ends all others before it lets this one go, and
        # bubblewrap's outer process ends when it has. Ended in another order, orphans would be
        # somebody else's.
        for pid in pids[:1] if self._is_wrapped else pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not self._is_wrapped:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if pids:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _drain(streams: tuple[_Stream, _Stream]) -> None:
    """Read what is left in the pipes. Nobody writes any more, but a bound is a bound."""
    for stream in streams:
        before = stream.n_bytes
        while stream.is_open and stream.n_bytes - before < _LEFT_OVER_BYTES and stream.read():
            pass


def _has_too_many_files(pids: list[int]) -> bool:
    """Whether a private /tmp does, which only its processes see. The kernel limits its bytes by itself."""
    for pid in pids:
        with suppress(OSError):
            found = os.statvfs(f"/proc/{pid}/root/tmp")
            return found.f_files - found.f_ffree > _MAX_FILES
    return False


def _holds_too_much(folder: str, max_bytes: int) -> bool:
    total = count = 0
    waiting = [folder]
    while waiting:
        inner = waiting.pop()
        if len(inner) - len(folder) > _MAX_DEPTH:
            return True
        with suppress(OSError), os.scandir(inner) as entries:
            for entry in entries:
                count += 1
                if count > _MAX_FILES:
                    return True
                with suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total > max_bytes


def _name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""
