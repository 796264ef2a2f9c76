"""`/ws`: one client's WebSocket, holding one session.

In: text messages, in order. Out: replies, in the same order, through a `Peer`. It knows nothing
about frames or transports, so the same code answers on our own server and under any ASGI server.

Reference: wire.md section 2.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol
from urllib.parse import parse_qs

from openenv.app.context import Context
from openenv.app.routes import mcp
from openenv.errors import (
    AuthorError,
    EnvironmentFactoryError,
    OpenEnvError,
    SchemaError,
    SessionBrokenError,
    SessionCapacityError,
    SessionError,
    UnknownTypeError,
)
from openenv.protocol.messages import (
    parse_message,
    serialize_error,
    serialize_observation,
    serialize_rpc,
    serialize_state,
    serialize_web,
)
from openenv.session.misfits import faults_in
from openenv.session.pool import Ticket
from openenv.session.runner import PENDING, OnDone, StepNow
from openenv.session.session import Session

__all__ = ["Peer", "SessionSocket"]

logger = logging.getLogger("openenv.session")

NORMAL, GOING_AWAY = 1000, 1001  # RFC 6455 section 7.4.1

# Messages that may wait behind a running call before the peer is no longer read.
_MAX_WAITING = 64
_LARGE_BYTES = 64 * 1024  # one such message is enough


class Peer(Protocol):
    """The client's end, as a session socket sees it.

    Attributes:
        step_now: Set by the session socket: a step that runs on the loop, while one can be taken, else
            None; see `Session.step_now` and `protocol/shortcut.py`. A peer that uses it gives what it
            raises to `SessionSocket.reply_to`.
    """

    step_now: StepNow | None

    def send(self, reply: bytes) -> None:
        """Send one text message."""

    def close(self, code: int) -> None:
        """Start the closing handshake, after what was sent."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""

    @property
    def is_writable(self) -> bool:
        """False while the client does not read its replies."""


class SessionSocket:
    """Answers the messages of one WebSocket.

    Args:
        context: The worker's.
        peer: Where replies go.
    """

    __slots__ = (
        "_attached",
        "_busy",
        "_context",
        "_draining",
        "_ended",
        "_paused",
        "_peer",
        "_session",
        "_ticket",
        "_waiting",
    )

    def __init__(self, context: Context, peer: Peer) -> None:
        self._context = context
        self._peer = peer
        self._session: Session | None = None
        self._waiting: deque[bytes] | None = None
        self._busy = True
        self._paused = False
        self._draining = False
        self._ended = False
        self._attached = False
        self._ticket: Ticket | None = None

    def open(self, query: str, *, has_place: bool = False) -> None:
        """Take a session, once the opening handshake has succeeded.

        Args:
            query: The handshake's raw query; `session_id=ID` attaches to a session that exists.
            has_place: Whether a place in the server's capacity is held for it already.
        """
        try:
            if "session_id" in query and (wanted := parse_qs(query).get("session_id")):
                self._session = self._context.pool.attach(wanted[0])
                self._attached = True
                self._set_free()
            else:
                self._begin(has_place)
        except OpenEnvError as error:
            self._peer.send(self._error_reply(error))

    def _begin(self, has_place: bool) -> None:
        pool = self._context.pool
        try:
            self._session, result = pool.open(self._opened, has_place=has_place)
        except SessionCapacityError:
            self._ticket = pool.wait(self._waited)
            if self._ticket is None:
                raise
            return
        if result is not PENDING:
            self._set_free()

    def _waited(self, has_place: bool) -> None:
        """The wait for a place is over."""
        self._ticket = None
        try:
            if not has_place:
                raise self._context.pool.full()
            self._begin(True)
        except OpenEnvError as error:
            self._peer.send(self._error_reply(error))
            return
        self.pump()

    def _set_free(self) -> None:
        self._busy = False
        assert self._session is not None
        # A shared session may be busy with somebody else's call when a step comes.
        self._peer.step_now = None if self._session.shared else self._session.step_now

    def _set_busy(self) -> None:
        self._busy = True
        self._peer.step_now = None

    def _opened(self, result: Any, error: BaseException | None) -> None:
        self._answered(None, error)

    def receive(self, payload: bytes) -> bytes | None:
        """Take one text message.

        Returns:
            Its reply, or None: there is none, or it comes through the peer later.
        """
        # Messages wait only while one of these holds, so nobody is overtaken: see `pump`.
        if self._busy or not self._peer.is_writable:
            self._wait(payload)
            return None
        return self._handle(payload)

    def receive_binary(self, data: bytes) -> None:
        """Take a binary message: whatever it holds, existing servers end the session in these words."""
        if not self._ended:
            self._peer.send(self._error_reply(SessionError("'text'")))

    def _wait(self, payload: bytes) -> None:
        if self._ended or self._draining:
            return  # it will hear of the end in place of a reply
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(payload)
        enough = len(self._waiting) >= _MAX_WAITING or len(payload) >= _LARGE_BYTES
        if enough and not self._paused:
            self._paused = True
            self._peer.pause()

    def _handle(self, payload: bytes) -> bytes | None:
        session = self._session
        assert session is not None
        try:
            kind, data, timeout_s = parse_message(payload)
            if session.shared:
                result = self._ask_in_turn(session, kind, data, timeout_s)
            elif kind == "step":
                result = session.step(data, serialize_observation, self._answered, timeout_s)
            elif kind == "reset":
                result = session.reset(data or {}, serialize_observation, self._answered, timeout_s)
            elif kind == "state":
                result = session.read_state(serialize_state, self._answered)
            elif kind == "mcp":
                result = self._ask_rpc(session, data)
            elif kind == "web":
                result = self._draw(session, data)
            else:
                self._close_session()
                return None
        except Exception as error:
            return self.reply_to(error)
        if result is PENDING:
            self._set_busy()
            return None
        return result  # type: ignore[no-any-return]

    def _draw(self, session: Session, observation: dict[str, Any] | None) -> Any:
        """What `/web` asks for after an observation; without an author's drawing it is no message at all."""
        if not session.draws:
            raise UnknownTypeError("Unknown message type: web")
        return session.draw(observation or {}, serialize_web, self._answered)

    def _ask_in_turn(
        self, session: Session, kind: str, data: dict[str, Any] | None, timeout_s: float | None
    ) -> Any:
        """The same of a session that others may call as well."""
        ask: Callable[[OnDone], Any]
        if kind == "step":
            ask = lambda done: session.step(data, serialize_observation, done, timeout_s)  # noqa: E731
        elif kind == "reset":
            ask = lambda done: session.reset(data or {}, serialize_observation, done, timeout_s)  # noqa: E731
        elif kind == "state":
            ask = partial(session.read_state, serialize_state)
        elif kind == "mcp":
            return self._ask_rpc(session, data)
        elif kind == "web" and session.draws:
            ask = partial(session.draw, data or {}, serialize_web)
        elif kind == "web":
            return self._draw(session, data)
        else:
            self._close_session()
            return None
        return session.in_turn(ask, self._answered)

    def _ask_rpc(self, session: Session, request: Any) -> Any:
        response = mcp.answer_value(self._context, request, session, self._rpc_answered)
        if session.shared:
            self._peer.step_now = None
        return response if response is PENDING else serialize_rpc(response)

    def _rpc_answered(self, response: dict[str, Any]) -> None:
        self._answered(serialize_rpc(response), None)

    def _answered(self, result: bytes | None, error: BaseException | None) -> None:
        """A call that ran elsewhere than on the loop is back."""
        if self._ended:
            return
        self._set_free()
        reply = result if error is None else self.reply_to(error)
        if reply is not None:
            self._peer.send(reply)
        self.pump()

    def pump(self) -> None:
        """Answer what has waited, as far as the client reads its replies."""
        waiting = self._waiting
        while waiting and not self._busy and self._peer.is_writable:
            reply = self._handle(waiting.popleft())
            if reply is not None:
                self._peer.send(reply)
        if self._paused and not waiting:
            self._paused = False
            self._peer.resume()
        if self._draining and not self._busy and not waiting:
            self._go_away()

    def reply_to(self, error: BaseException) -> bytes:
        """The reply that says what went wrong; ends the session where that ends it."""
        if isinstance(error, OpenEnvError):
            return self._error_reply(error)
        logger.error("internal error", exc_info=error)
        return self._error_reply(SessionError(f"{type(error).__name__}: {error}"))

    def _error_reply(self, error: OpenEnvError) -> bytes:
        if isinstance(error, AuthorError):
            session_id = self._session.id if self._session is not None else "-"
            logger.error(
                "session %s: %s raised",
                session_id,
                error.method,
                exc_info=error.__cause__ or error,
                extra={"session_id": session_id},
            )
            faults = None if error.exception is None else faults_in(error.__cause__)
            if faults is not None and not isinstance(error, EnvironmentFactoryError):
                # A model of the author's, made in his code: existing clients know it by this code.
                error = SchemaError(faults)
        ends = isinstance(error, EnvironmentFactoryError | SessionError)
        if ends and not isinstance(error, SessionBrokenError):
            # After the reply that this returns has been written, not before.
            self._ended = True
            self._set_busy()
            self._context.loop.call_soon(self._close_session)
        self._context.meter.count_error(error.code or "OTHER")
        return self._serialize_error(error)

    def _serialize_error(self, error: OpenEnvError) -> bytes:
        return serialize_error(error)

    def closing(self) -> None:
        """The client started the closing handshake; `Peer.close` answers it when it is time."""
        if self._ended:
            return  # the answer is on its way already
        if self._busy:
            # A running call may take minutes; the client need not wait for it.
            self._let_go(None)
            self._peer.close(NORMAL)
        else:
            self._let_go(NORMAL)

    def _close_session(self) -> None:
        """End it: the closing handshake starts once the slot is free, so who reconnects finds it."""
        self._let_go(NORMAL)

    def _let_go(self, code: int | None) -> None:
        """Give up the session, and have the peer closed with `code`, if any, once that is done."""
        self._ended = True
        self._set_busy()
        self._waiting = None
        if self._ticket is not None:
            self._context.pool.leave(self._ticket)
            self._ticket = None
        session, self._session = self._session, None
        pool = self._context.pool
        if session is not None and self._attached:
            pool.detach(session)
            session = None
        if code is None:
            if session is not None:
                pool.close(session)
            return
        close = partial(self._peer.close, code)
        if session is None:
            close()
            return
        # The close() of an environment may hang; the handshake must not. Peer.close is idempotent.
        timer = self._context.loop.call_later(self._context.config.close_timeout_s / 2, close)
        pool.close(session, partial(_close_in_time, timer, close))

    def lost(self) -> None:
        """The connection is gone."""
        self._let_go(None)

    def drain(self) -> None:
        """Answer what has arrived so far, then tell the client that the server goes away (1001)."""
        if not self._ended:
            self._draining = True
            if self._ticket is not None:
                self._go_away()
            else:
                self.pump()

    def expire(self, lease_s: float) -> None:
        """End a session whose client has said nothing for so long; it hears why when it asks again.

        One that it attached to is let go, unless others ask for it by its id.
        """
        session = self._session
        if self._ended or self._busy or session is None:
            return
        if not self._attached:
            self._context.meter.count("sessions_expired")
        elif session.used_at > self._context.loop.time() - lease_s:
            return
        text = f"The session was closed: nothing was asked of it for {lease_s:g} s"
        self._peer.send(self._error_reply(SessionError(text)))

    def _go_away(self) -> None:
        self._draining = False
        self._let_go(GOING_AWAY)


def _close_in_time(timer: asyncio.TimerHandle, close: Callable[[], None]) -> None:
    timer.cancel()
    close()
