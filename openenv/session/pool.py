"""All sessions of one worker, and how many there may be.

In: requests for a session. Out: `Session` objects, or `SessionCapacityError`. It knows nothing about
connections. Capacity may be shared with other workers; the pool only asks `Capacity` for a slot and
gives it back when the environment's `close` has returned.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from openenv.errors import SessionCapacityError, SessionError, SessionNotFoundError
from openenv.session.meter import Meter
from openenv.session.process import AnyRunner, ProcessRunner
from openenv.session.runner import EnvironmentSpec, Mailbox, OnDone, Runner, WorkThread
from openenv.session.session import Deadlines, Session, SessionState

__all__ = ["Capacity", "LocalCapacity", "SessionPool", "Ticket", "slot_of"]

logger = logging.getLogger("openenv.session")


class Capacity(Protocol):
    """Counts the sessions of a whole server."""

    maximum: int
    slot: int
    """Which of the server's workers this is, 0..65535."""

    @property
    def active(self) -> int:
        """Sessions held now."""

    def try_acquire(self) -> bool:
        """Take a slot if there is one."""

    def release(self) -> None:
        """Give one slot back."""


class LocalCapacity:
    """Capacity of a server that is one process.

    Args:
        maximum: Sessions at once, >= 1.
    """

    __slots__ = ("active", "maximum", "slot")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.active = 0
        self.slot = 0

    def try_acquire(self) -> bool:
        """Take a slot if there is one."""
        if self.active >= self.maximum:
            return False
        self.active += 1
        return True

    def release(self) -> None:
        """Give one slot back."""
        self.active -= 1


def slot_of(session_id: str) -> int | None:
    """Which worker of the server made the session of that id; None for what is no id of ours."""
    if len(session_id) != _ID_LENGTH:
        return None
    try:
        return int(session_id[-_SLOT_DIGITS:], 16)
    except ValueError:
        return None


_ID_LENGTH = 36
_SLOT_DIGITS = 4
_LOOK_S = 0.05
"""How often those who wait for a place look whether another worker has given one back."""


@dataclass(slots=True, eq=False)
class Ticket:
    """Somebody who waits for a place, see `SessionPool.wait`."""

    until: float
    on_place: Callable[[bool], None]
    since: float


class SessionPool:
    """The sessions of one worker, by id.

    Args:
        spec: The environment.
        capacity: Where slots come from.
        loop: The running loop.
        mailbox: The loop's.
        wait_s: Seconds that somebody may wait for a place, >= 0.
        max_waiting: How many may wait.
        meter: Counts for this worker.
        deadlines: Of the environments' methods.
        start_process: Makes a runner whose environment has a process of its own, given what to call when
            that is lost; None has them live here.

    Attributes:
        meter: As given.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        capacity: Capacity,
        loop: asyncio.AbstractEventLoop,
        mailbox: Mailbox,
        wait_s: float = 0.0,
        max_waiting: int = 1,
        meter: Meter | None = None,
        deadlines: Deadlines | None = None,
        start_process: Callable[[Callable[[], None]], ProcessRunner] | None = None,
    ) -> None:
        self.meter = meter or Meter()
        self._deadlines = deadlines or Deadlines()
        self._start_process = start_process
        self._spec = spec
        self._capacity = capacity
        self._loop = loop
        self._mailbox = mailbox
        self._wait_s = wait_s
        self._max_waiting = max_waiting
        self._line: deque[Ticket] = deque()
        self._looker: asyncio.TimerHandle | None = None
        share = spec.single_thread and start_process is None
        self._shared = WorkThread(mailbox, "openenv-sessions") if share else None
        self._sessions: dict[str, Session] = {}
        self._when_closed: dict[str, list[Callable[[], None]]] = {}
        self._when_empty: Callable[[], None] | None = None
        self._attached: set[str] = set()
        self._to_close: set[str] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def n_waiting(self) -> int:
        """How many wait for a place."""
        return len(self._line)

    def open(self, on_done: OnDone, *, has_place: bool = False) -> tuple[Session, Any]:
        """Take a place and make a session.

        Args:
            on_done: Called with (None, None) or (None, error) if the environment comes later.
            has_place: Whether a place is held already; it is given back if this raises.

        Returns:
            The session, and `PENDING` or None: whether the environment comes later or is there.

        Raises:
            SessionCapacityError: Every slot is taken.
            EnvironmentFactoryError: The factory raised; the slot is free again.
        """
        # Nobody overtakes those who wait.
        if not has_place and (self._line or not self._capacity.try_acquire()):
            raise self.full()
        try:
            session = Session(
                self._make_runner,
                self._spec.action,
                self._loop,
                self._closed,
                self._make_id(),
                self.meter,
                self._deadlines,
            )
        except RuntimeError as error:  # the machine gives no more threads, or descriptors
            self._capacity.release()
            raise self.full(f"Server cannot start a session: {error}") from error
        self._sessions[session.id] = session
        self.meter.count("sessions_opened")
        return session, session.open(on_done)

    def _make_id(self) -> str:
        """A random UUID that ends in this worker's slot, so that any worker can tell whose it is."""
        return f"{str(uuid.uuid4())[:-_SLOT_DIGITS]}{self._capacity.slot:0{_SLOT_DIGITS}x}"

    def full(self, message: str | None = None) -> SessionCapacityError:
        """The error that says that there is no place."""
        retry_after_s = max(1, math.ceil(self._wait_s)) if self._wait_s else None
        return SessionCapacityError(self._capacity.active, self._capacity.maximum, message, retry_after_s)

    def wait(self, on_place: Callable[[bool], None]) -> Ticket | None:
        """Wait in line for a place.

        Args:
            on_place: Called with True, and a place is held, or with False when the time is up.

        Returns:
            What `leave` takes; None where nobody may wait, or too many do.
        """
        if self._wait_s <= 0 or len(self._line) >= self._max_waiting:
            return None
        now = self._loop.time()
        ticket = Ticket(now + self._wait_s, on_place, now)
        self._line.append(ticket)
        if self._looker is None:
            self._looker = self._loop.call_later(_LOOK_S, self._look)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Wait no longer."""
        with suppress(ValueError):
            self._line.remove(ticket)

    def _look(self) -> None:
        """Another worker may have given places back, which it cannot tell."""
        self._looker = None
        self._give_places()
        now = self._loop.time()
        while self._line and self._line[0].until <= now:
            self._line.popleft().on_place(False)
        if self._line and self._looker is None:
            self._looker = self._loop.call_later(_LOOK_S, self._look)

    def _give_places(self) -> None:
        while self._line and self._capacity.try_acquire():
            ticket = self._line.popleft()
            self.meter.observe("wait", self._loop.time() - ticket.since)
            ticket.on_place(True)

    def get(self, session_id: str) -> Session:
        """The session of that id.

        Raises:
            SessionNotFoundError: There is none.
        """
        try:
            return self._sessions[session_id]
        except KeyError:
            raise SessionNotFoundError(session_id) from None

    def share(self, session: Session, *, held: bool = False) -> None:
        """Let calls come by the session's id.

        Args:
            session: Whose.
            held: Whether a socket holds it, so that no other can attach to it.
        """
        session.shared = True
        if held:
            self._attached.add(session.id)

    def find(self, session_id: str) -> Session:
        """The session of that id, if its id was given to anybody.

        Raises:
            SessionNotFoundError: There is none.
        """
        session = self.get(session_id)
        if not session.shared:
            raise SessionNotFoundError(session_id)
        session.used_at = self._loop.time()
        return session

    def expire(self, lease_s: float) -> None:
        """Close the sessions that nobody holds, and that nobody asked for so many seconds."""
        oldest = self._loop.time() - lease_s
        for session in list(self._sessions.values()):
            idle = session.shared and session.id not in self._attached and session.used_at < oldest
            if idle and session.state is not SessionState.RUNNING:
                self.meter.count("sessions_expired")
                logger.info("session %s: nobody asked for %g s, closed", session.id, lease_s)
                self.close(session)

    def attach(self, session_id: str) -> Session:
        """Hold a session that was made by somebody else, such as a JSON-RPC request.

        Raises:
            SessionNotFoundError: There is none of that id.
            SessionError: It is being made, or somebody holds it already.
        """
        session = self.find(session_id)
        if session.state is SessionState.STARTING:
            raise SessionError(f"Session {session_id} is still initializing")
        if session_id in self._attached:
            raise SessionError(f"Session {session_id} already has an attached WebSocket")
        self._attached.add(session_id)
        return session

    def detach(self, session: Session) -> None:
        """Let go of an attached session. It lives on, unless `close_detached` was called meanwhile."""
        self._attached.discard(session.id)
        session.used_at = self._loop.time()
        if session.id in self._to_close:
            self._to_close.discard(session.id)
            self.close(session)

    def close_detached(self, session: Session, when_closed: Callable[[], None] | None = None) -> bool:
        """Close a session now, or once it is detached.

        Args:
            when_closed: As of `close`; not called where somebody holds it.

        Returns:
            True if it is being closed, False if somebody holds it and it will be closed after that.
        """
        if session.id in self._attached:
            self._to_close.add(session.id)
            return False
        self.close(session, when_closed)
        return True

    def close(self, session: Session, when_closed: Callable[[], None] | None = None) -> None:
        """Close a session.

        Args:
            when_closed: Called once its environment's `close` has returned and its slot is free;
                at once if that has already happened.
        """
        if session.id not in self._sessions:
            if when_closed is not None:
                when_closed()
            return
        if when_closed is not None:
            self._when_closed.setdefault(session.id, []).append(when_closed)
        session.close()

    def close_all(self, when_empty: Callable[[], None]) -> None:
        """Close every session, then call `when_empty`."""
        self._when_empty = when_empty
        for session in list(self._sessions.values()):
            session.close()
        self._check_empty()

    def _make_runner(self, name: str, on_lost: Callable[[], None]) -> AnyRunner:
        if self._start_process is not None:
            return self._start_process(on_lost)
        return Runner(self._spec, self._mailbox, self._loop, name, self._shared, self.meter)

    def show(self) -> None:
        """Have the meter say how many sessions there are in which state, and how many wait for one."""
        n_in: dict[SessionState, int] = dict.fromkeys(SessionState, 0)
        for session in self._sessions.values():
            n_in[session.state] += 1
        for state, n_sessions in n_in.items():
            if state is not SessionState.CLOSED:
                self.meter.show(f"sessions.{state.value}", n_sessions)
        self.meter.show("waiting", len(self._line))
        self.meter.settle()

    def _closed(self, session: Session) -> None:
        if self._sessions.pop(session.id, None) is None:
            return
        self._attached.discard(session.id)
        self.meter.count("sessions_closed")
        self._capacity.release()
        self._give_places()
        for call in self._when_closed.pop(session.id, ()):
            call()
        self._check_empty()

    def _check_empty(self) -> None:
        if self._when_empty is not None and not self._sessions:
            when_empty, self._when_empty = self._when_empty, None
            when_empty()
