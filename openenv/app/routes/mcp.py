"""`/mcp`: tools and sessions by JSON-RPC, in the two dialects that clients speak.

In: JSON-RPC requests, from `POST /mcp`, from a WebSocket at `/mcp` or inside an `mcp` message on `/ws`.
Out: their responses. Two dialects, told apart by the handshake:

- plain: requests as they come, `tools/list`, `tools/call` and the two methods that open and close a session
  by its id; always status 200. What existing OpenEnv clients speak.
- MCP: after `initialize`, by which a session is made, with its id in the header `Mcp-Session-Id`;
  notifications get no answer, a tool that fails has a result. What stock MCP clients speak.

Both reach the same sessions, and a session's calls wait for one another whoever makes them.

Reference: wire.md section 5; https://modelcontextprotocol.io/specification/2025-06-18/basic.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from openenv.app.context import JSON, Context, Respond, Response, detail, json_response
from openenv.errors import (
    AuthorError,
    EnvironmentFactoryError,
    OpenEnvError,
    SessionCapacityError,
    SessionError,
    SessionNotFoundError,
)
from openenv.mcp import tool_types_of
from openenv.protocol.http11 import Request
from openenv.protocol.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    SERVER_ERROR,
    RpcError,
    RpcRequest,
    decode_request,
    failure_response,
    parse_request_value,
    result_response,
)
from openenv.protocol.streamable import (
    SESSION_HEADER,
    VERSION_HEADER,
    VERSIONS,
    is_notification,
    negotiate,
    serialize,
)
from openenv.session import tools
from openenv.session.runner import PENDING
from openenv.session.session import Session, SessionState
from openenv.version import __version__

__all__ = ["Reply", "answer", "answer_mcp", "answer_value", "delete", "initialized", "post", "server_error"]

logger = logging.getLogger("openenv.app")

Reply = Callable[[dict[str, Any]], None]

_ACCEPTED = Response(202, b"", ())


class Call(NamedTuple):
    """One request and where it came from.

    Attributes:
        context: The worker's.
        rpc: The request.
        session: The session it came from, or None: then it names one, or gets an environment of its own.
        reply: Called with the response if that is `PENDING`.
    """

    context: Context
    rpc: RpcRequest
    session: Session | None
    reply: Reply


def post(context: Context, request: Request, respond: Respond) -> Any:
    """One JSON-RPC request."""
    session_id = request.header(SESSION_HEADER)
    try:
        value = decode_request(request.body)
        if session_id is not None:
            return _post_mcp(context, request, value, session_id, respond)
        rpc = parse_request_value(value)
    except RpcError as error:
        return json_response(failure_response(None, error), 200 if session_id is None else 400)
    if rpc.method == "initialize":
        return _post_initialize(context, request, rpc, respond)
    response = answer(context, rpc, None, lambda late: respond(json_response(late)))
    return PENDING if response is PENDING else json_response(response)


def session_id_of(request: Request) -> str | None:
    """Id of the session that a request is about, if it is about one."""
    found = request.header(SESSION_HEADER)
    if found is not None or b"session_id" not in request.body:
        return found
    try:
        found = parse_request_value(decode_request(request.body)).params.get("session_id")
    except RpcError:
        return None
    return found if isinstance(found, str) else None


def opens_session(request: Request) -> bool:
    """Whether a request makes a session: a look at its text is enough, for it may be answered anywhere."""
    return request.method == "POST" and any(word in request.body for word in _OPENING)


_OPENING = (b"openenv/session/create", b'"initialize"')


def _post_mcp(context: Context, request: Request, value: Any, session_id: str, respond: Respond) -> Any:
    version = request.header(VERSION_HEADER)
    if version is not None and version not in VERSIONS:
        raise RpcError(INVALID_REQUEST, f"Unsupported protocol version: {version}")
    try:
        session = context.pool.find(session_id)
    except SessionNotFoundError as error:
        # 404 tells the client to start anew with an `initialize`.
        return json_response(failure_response(None, RpcError(INVALID_REQUEST, str(error))), 404)
    if is_notification(value):
        return _ACCEPTED
    respond_with = partial(_respond_with, request)
    rpc = parse_request_value(value)
    response = answer_mcp(context, rpc, session, lambda late: respond(respond_with(late)))
    return PENDING if response is PENDING else respond_with(response)


def _post_initialize(context: Context, request: Request, rpc: RpcRequest, respond: Respond) -> Any:
    respond_with = partial(_respond_with, request)

    def opened(session: Session) -> Response:
        return respond_with(initialized(context, rpc), ((SESSION_HEADER, session.id),))

    def refused(error: BaseException) -> Response:
        return respond_with(failure_response(rpc.id, server_error(error)))

    return _open_session(context, opened, refused, respond)


def _respond_with(
    request: Request, response: dict[str, Any], headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    serialized = serialize(response, request.header("accept"))
    if serialized is None:
        return detail(406, "Not Acceptable: application/json or text/event-stream is what there is")
    content_type, body = serialized
    return Response(200, body, (("content-type", content_type), *headers))


def delete(context: Context, request: Request, respond: Respond) -> Any:
    """End the session that `initialize` made."""
    session_id = request.header(SESSION_HEADER)
    if session_id is None:
        return detail(400, "Mcp-Session-Id is missing")
    try:
        session = context.pool.find(session_id)
    except SessionNotFoundError as error:
        return detail(404, str(error))
    done = Response(200, b"", JSON)
    return PENDING if context.pool.close_detached(session, lambda: respond(done)) else _ACCEPTED


def initialized(context: Context, rpc: RpcRequest) -> dict[str, Any]:
    """The response to `initialize`."""
    return result_response(
        rpc.id,
        {
            "protocolVersion": negotiate(rpc.params.get("protocolVersion")),
            "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": {"name": context.definition.env_name, "version": __version__},
        },
    )


def answer(context: Context, rpc: RpcRequest, session: Session | None, reply: Reply) -> Any:
    """Answer a request of the plain dialect.

    Args:
        context: The worker's.
        rpc: The request.
        session: The session that it came from, or None.
        reply: Called with the response if the result is `PENDING`.

    Returns:
        The response, or `PENDING`.
    """
    return _answer(Call(context, rpc, session, reply), _PLAIN)


def answer_value(context: Context, value: Any, session: Session, reply: Reply) -> Any:
    """Answer what an `mcp` message of a session holds. Arguments and result as of `answer`."""
    try:
        rpc = parse_request_value(value)
    except RpcError as error:
        return failure_response(None, error)
    return answer(context, rpc, session, reply)


def answer_mcp(context: Context, rpc: RpcRequest, session: Session, reply: Reply) -> Any:
    """Answer a request of the MCP dialect, after its handshake. Arguments and result as of `answer`."""
    return _answer(Call(context, rpc, session, reply), _MCP)


def _answer(call: Call, methods: dict[str, Callable[[Call], Any]]) -> Any:
    method = methods.get(call.rpc.method)
    try:
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {call.rpc.method}")
        return method(call)
    except RpcError as error:
        return failure_response(call.rpc.id, error)


# ---- sessions ----------------------------------------------------------------------------------


def _create_session(call: Call) -> Any:
    context, rpc = call.context, call.rpc
    if call.session is not None:
        context.pool.share(call.session, held=True)
        return result_response(rpc.id, {"session_id": call.session.id})
    return _open_session(
        context,
        lambda session: result_response(rpc.id, {"session_id": session.id}),
        lambda error: failure_response(rpc.id, server_error(error)),
        call.reply,
    )


def _open_session(
    context: Context,
    opened: Callable[[Session], Any],
    refused: Callable[[BaseException], Any],
    reply: Callable[[Any], None],
) -> Any:
    """Make a session that is found by its id; the answer is what `opened` or `refused` gives."""

    def done(result: Any, error: BaseException | None) -> None:
        reply(opened(session) if error is None else refuse(error))

    def refuse(error: BaseException) -> Any:
        if isinstance(error, EnvironmentFactoryError):
            logger.error("%s", error, exc_info=error.__cause__ or error)
        return refused(error)

    try:
        session, result = context.pool.open(done)
    except OpenEnvError as error:
        return refuse(error)
    context.pool.share(session)
    return PENDING if result is PENDING else opened(session)


def server_error(error: BaseException) -> RpcError:
    """Why there is no session."""
    data = None
    if isinstance(error, SessionCapacityError):
        data = error.extras()
    elif isinstance(error, EnvironmentFactoryError):
        data = {"factory_name": error.factory_name}
    return RpcError(SERVER_ERROR, str(error), data)


def _close_session(call: Call) -> Any:
    context, rpc = call.context, call.rpc
    wanted = rpc.params.get("session_id")
    if not wanted:
        raise RpcError(INVALID_PARAMS, "Invalid params - 'session_id' is required")
    if call.session is not None and wanted == call.session.id:
        raise RpcError(INVALID_REQUEST, "Cannot close active WebSocket-managed session via MCP method")
    target = _find(context, wanted)
    closed = result_response(rpc.id, {"session_id": wanted, "closed": True})
    # Answered once the slot is free: who makes the next session at once finds it.
    if context.pool.close_detached(target, lambda: call.reply(closed)):
        return PENDING
    return result_response(rpc.id, {"session_id": wanted, "closed": False, "closing": True})


def _find(context: Context, session_id: Any) -> Session:
    try:
        session = context.pool.find(str(session_id))
    except SessionNotFoundError as error:
        raise RpcError(INVALID_PARAMS, str(error)) from error
    if session.state is SessionState.STARTING:
        raise RpcError(INVALID_REQUEST, f"Session {session_id} is still initializing; retry shortly")
    return session


# ---- tools -------------------------------------------------------------------------------------


def _list_tools(call: Call) -> Any:
    return _ask(call, tools.list_tools, (), _as_tools)


def _call_tool(call: Call) -> Any:
    if call.session is None and call.rpc.params.get("session_id"):
        _find(call.context, call.rpc.params["session_id"])
    return _ask(call, tools.call_tool, _name_and_arguments(call.rpc), _same)


def _list_tools_mcp(call: Call) -> Any:
    return _ask(call, tools.list_tools_mcp, (), _as_tools)


def _call_tool_mcp(call: Call) -> Any:
    return _ask(call, tools.call_tool_mcp, _name_and_arguments(call.rpc), _same)


def _name_and_arguments(rpc: RpcRequest) -> tuple[Any, Any]:
    name = rpc.params.get("name")
    if not name:
        raise RpcError(INVALID_PARAMS, "Missing 'name' in params")
    arguments = rpc.params.get("arguments")
    return name, {} if arguments is None else arguments


def _ask(
    call: Call, function: Callable[..., Any], args: tuple[Any, ...], finish: Callable[[Any], Any]
) -> Any:
    """Ask the environment's tools, in the request's session or in an environment of its own."""
    context, rpc = call.context, call.rpc
    family = tool_types_of(context.definition.environment.action.cls)
    session = call.session
    if session is None and rpc.params.get("session_id"):
        session = _find(context, rpc.params["session_id"])

    # What runs with the environment may do so in another process, so it is no function of this one's.
    ask = partial(_await_tools, function, family, args)

    def done(result: Any, error: BaseException | None) -> None:
        call.reply(
            result_response(rpc.id, result) if error is None else failure_response(rpc.id, _error(error))
        )

    try:
        if session is None:
            return context.stateless.apply(ask, finish, done)
        return session.in_turn(partial(session.apply, ask, finish), done)
    except OpenEnvError as error:
        raise _error(error) from error


async def _await_tools(function: Callable[..., Any], family: Any, args: tuple[Any, ...], env: Any) -> Any:
    return await function(env, family, *args)


def _as_tools(listed: Any) -> dict[str, Any]:
    return {"tools": listed}


def _error(error: BaseException) -> RpcError:
    cause = error.__cause__
    if isinstance(error, EnvironmentFactoryError | SessionCapacityError):
        return server_error(error)
    if isinstance(error, SessionNotFoundError) or (
        isinstance(cause, tools.ToolsError) and cause.is_about_name
    ):
        return RpcError(INVALID_PARAMS, str(error))
    if not isinstance(error, AuthorError | SessionError):
        logger.error("%s: %s", type(error).__name__, error, exc_info=error)
    return RpcError(INTERNAL_ERROR, str(error))


def _same(value: Any) -> Any:
    return value


def _ping(call: Call) -> Any:
    return result_response(call.rpc.id, {})


_PLAIN: dict[str, Callable[[Call], Any]] = {
    "openenv/session/create": _create_session,
    "openenv/session/close": _close_session,
    "tools/list": _list_tools,
    "tools/call": _call_tool,
}
_MCP: dict[str, Callable[[Call], Any]] = {
    "ping": _ping,
    "tools/list": _list_tools_mcp,
    "tools/call": _call_tool_mcp,
}
