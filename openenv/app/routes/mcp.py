"""JSON-RPC on `/mcp`: sessions made over HTTP, and the refusals of an environment without tools.

Reference: wire.md section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openenv.app.context import Context, Respond, json_response
from openenv.errors import EnvironmentFactoryError, OpenEnvError, SessionCapacityError, SessionNotFoundError
from openenv.protocol.http11 import Request
from openenv.protocol.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    SERVER_ERROR,
    RpcError,
    RpcRequest,
    failure_response,
    parse_request,
    parse_request_value,
    result_response,
)
from openenv.session.runner import PENDING
from openenv.session.session import Session, SessionState

__all__ = ["answer", "post"]

Reply = Callable[[dict[str, Any]], None]


def post(context: Context, request: Request, respond: Respond) -> Any:
    """One JSON-RPC request, answered with status 200 whatever comes of it."""

    def reply(response: dict[str, Any]) -> None:
        respond(json_response(response))

    try:
        rpc = parse_request(request.body)
    except RpcError as error:
        return json_response(failure_response(None, error))
    response = _answer(context, rpc, None, reply)
    return PENDING if response is PENDING else json_response(response)


def answer(context: Context, value: Any, session: Session, reply: Reply) -> Any:
    """Answer the JSON-RPC request inside an `mcp` message of a session.

    Args:
        value: The message's data.
        session: The session that it came from.
        reply: Called with the response if the result is `PENDING`.

    Returns:
        The response, or `PENDING`.
    """
    try:
        rpc = parse_request_value(value)
    except RpcError as error:
        return failure_response(None, error)
    return _answer(context, rpc, session, reply)


def _answer(context: Context, rpc: RpcRequest, session: Session | None, reply: Reply) -> Any:
    method = _METHODS.get(rpc.method)
    try:
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {rpc.method}")
        return method(context, rpc, session, reply)
    except RpcError as error:
        return failure_response(rpc.id, error)


def _create_session(context: Context, rpc: RpcRequest, session: Session | None, reply: Reply) -> Any:
    if session is not None:
        return result_response(rpc.id, {"session_id": session.id})

    def opened(result: Any, error: BaseException | None) -> None:
        if error is None:
            reply(result_response(rpc.id, {"session_id": created.id}))
        else:
            reply(failure_response(rpc.id, _server_error(error)))

    try:
        created, result = context.pool.open(opened)
    except OpenEnvError as error:
        raise _server_error(error) from error
    return PENDING if result is PENDING else result_response(rpc.id, {"session_id": created.id})


def _server_error(error: BaseException) -> RpcError:
    data = None
    if isinstance(error, SessionCapacityError):
        data = error.extras()
    elif isinstance(error, EnvironmentFactoryError):
        data = {"factory_name": error.factory_name}
    return RpcError(SERVER_ERROR, str(error), data)


def _close_session(context: Context, rpc: RpcRequest, session: Session | None, reply: Reply) -> Any:
    wanted = rpc.params.get("session_id")
    if not wanted:
        raise RpcError(INVALID_PARAMS, "Invalid params - 'session_id' is required")
    if session is not None and wanted == session.id:
        raise RpcError(INVALID_REQUEST, "Cannot close active WebSocket-managed session via MCP method")
    target = _find(context, wanted)
    if target.state is SessionState.STARTING:
        raise RpcError(INVALID_REQUEST, f"Session {wanted} is still initializing; retry shortly")
    closed = context.pool.close_detached(target)
    result = {"session_id": wanted, "closed": True}
    return result_response(rpc.id, result if closed else {**result, "closed": False, "closing": True})


def _find(context: Context, session_id: Any) -> Session:
    try:
        return context.pool.get(str(session_id))
    except SessionNotFoundError as error:
        raise RpcError(INVALID_PARAMS, str(error)) from error


def _tools(context: Context, rpc: RpcRequest, session: Session | None, reply: Reply) -> Any:
    if session is None and rpc.params.get("session_id"):
        _find(context, rpc.params["session_id"])
    if rpc.method == "tools/call" and "name" not in rpc.params:
        raise RpcError(INVALID_PARAMS, "Missing 'name' in params")
    raise RpcError(INTERNAL_ERROR, "Environment does not support MCP")


_METHODS: dict[str, Callable[[Context, RpcRequest, Session | None, Reply], Any]] = {
    "openenv/session/create": _create_session,
    "openenv/session/close": _close_session,
    "tools/list": _tools,
    "tools/call": _tools,
}
