"""`/mcp` as a WebSocket: one session, and JSON-RPC objects without anything around them.

It is the socket of `/ws` in everything but its words. After an `initialize` it speaks MCP's dialect.

Reference: wire.md section 5.
"""

from __future__ import annotations

from typing import Any

from openenv.app.context import Context
from openenv.app.routes import mcp
from openenv.app.routes.ws import Peer, SessionSocket
from openenv.codec import decode, encode
from openenv.errors import InvalidJsonError, OpenEnvError
from openenv.protocol.jsonrpc import (
    PARSE_ERROR,
    RpcError,
    failure_response,
    parse_request_value,
)
from openenv.protocol.streamable import is_notification
from openenv.schema import jsonable
from openenv.session.runner import PENDING
from openenv.session.session import Session

__all__ = ["RpcSocket"]


class RpcSocket(SessionSocket):
    """Answers the JSON-RPC requests of one WebSocket. Arguments as of `SessionSocket`."""

    __slots__ = ("_initialized",)

    def __init__(self, context: Context, peer: Peer) -> None:
        super().__init__(context, peer)
        self._initialized = False

    def open(self, query: str, *, has_place: bool = False) -> None:
        """Take a session of its own, whatever the query says."""
        super().open("", has_place=has_place)

    def _handle(self, payload: bytes) -> bytes | None:
        assert self._session is not None
        try:
            response = self._answer(self._session, payload)
        except RpcError as error:
            response = failure_response(None, error)
        if response is PENDING:
            self._set_busy()
            return None
        return None if response is None else encode(response, jsonable)

    def _answer(self, session: Session, payload: bytes) -> Any:
        try:
            value = decode(payload)
        except InvalidJsonError as error:
            raise RpcError(PARSE_ERROR, f"Parse error: {error}") from error
        if self._initialized and is_notification(value):
            return None
        rpc = parse_request_value(value)
        if rpc.method == "initialize":
            self._initialized = True
            return mcp.initialized(self._context, rpc)
        answer = mcp.answer_mcp if self._initialized else mcp.answer
        return answer(self._context, rpc, session, self._rpc_answered)

    def _rpc_answered(self, response: dict[str, Any]) -> None:
        self._answered(encode(response, jsonable), None)

    def _serialize_error(self, error: OpenEnvError) -> bytes:
        return encode(failure_response(None, mcp.server_error(error)), jsonable)
