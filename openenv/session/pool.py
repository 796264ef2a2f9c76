"""All sessions of one worker, and how many there may be.

In: requests for a session. Out: `Session` objects, or `SessionCapacityError`. It knows nothing about
connections. Capacity may be shared with other workers; the pool only asks `Capacity` for a slot and
gives it back when the environment's `close` has returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from openenv.errors import SessionCapacityError, SessionError, SessionNotFoundError
from openenv.session.runner import EnvironmentSpec, Mailbox, OnDone, Runner, WorkThread
from openenv.session.session import Session, SessionState

__all__ = ["Capacity", "LocalCapacity", "SessionPool"]


class Capacity(Protocol):
    """Counts the sessions of a whole server."""

    maximum: int

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

    __slots__ = ("active", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.active = 0

    def try_acquire(self) -> bool:
        """Take a slot if there is one."""
        if self.active >= self.maximum:
            return False
        self.active += 1
        return True

    def release(self) -> None:
        """Give one slot back."""
        self.active -= 1


class SessionPool:
    """The sessions of one worker, by id.

    Args:
        spec: The environment.
        capacity: Where slots come from.
        loop: The running loop.
        mailbox: The loop's.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        capacity: Capacity,
        loop: asyncio.AbstractEventLoop,
        mailbox: Mailbox,
    ) -> None:
        self._spec = spec
        self._capacity = capacity
        self._loop = loop
        self._mailbox = mailbox
        self._shared = WorkThread(mailbox, "openenv-sessions") if spec.single_thread else None
        self._sessions: dict[str, Session] = {}
        self._when_closed: dict[str, list[Callable[[], None]]] = {}
        self._when_empty: Callable[[], None] | None = None
        self._attached: set[str] = set()
        self._to_close: set[str] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, on_done: OnDone) -> tuple[Session, Any]:
        """Take a slot and make a session.

        Args:
            on_done: Called with (None, None) or (None, error) if the environment comes later.

        Returns:
            The session, and `PENDING` or None: whether the environment comes later or is there.

        Raises:
            SessionCapacityError: Every slot is taken.
            EnvironmentFactoryError: The factory raised; the slot is free again.
        """
        if not self._capacity.try_acquire():
            raise SessionCapacityError(self._capacity.active, self._capacity.maximum)
        try:
            session = Session(self._make_runner, self._spec.action, self._loop, self._closed)
        except RuntimeError as error:  # the machine gives no more threads
            self._capacity.release()
            raise SessionCapacityError(
                self._capacity.active, self._capacity.maximum, f"Server cannot start a session: {error}"
            ) from error
        self._sessions[session.id] = session
        return session, session.open(on_done)

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
        return session

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

    def _make_runner(self, name: str) -> Runner:
        return Runner(self._spec, self._mailbox, self._loop, name, self._shared)

    def _closed(self, session: Session) -> None:
        if self._sessions.pop(session.id, None) is None:
            return
        self._attached.discard(session.id)
        self._capacity.release()
        for call in self._when_closed.pop(session.id, ()):
            call()
        self._check_empty()

    def _check_empty(self) -> None:
        if self._when_empty is not None and not self._sessions:
            when_empty, self._when_empty = self._when_empty, None
            when_empty()
