"""What is said on `/ws` and on `/mcp`, as data: what OpenAPI has no words for.

In: nothing. Out: schemas of messages and replies, and tables of error codes, close codes and JSON-RPC
methods. `openapi.py` puts them into its document, and the API page shows them from there. It knows
nothing about how any of it is done: that is `protocol/messages.py` and `routes/`.

Reference: wire.md sections 2, 5 and 8.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CLOSE_CODES",
    "ERRORS",
    "MESSAGES",
    "REPLIES",
    "RPC_DESCRIPTION",
    "RPC_ERRORS",
    "RPC_METHODS",
    "WEB_MESSAGE",
    "WEB_REPLY",
    "message_schemas",
]

Json = dict[str, Any]

MESSAGES: tuple[Json, ...] = (
    {
        "type": "reset",
        "schema": "ResetMessage",
        "summary": "Start an episode. `data` holds keyword arguments of `reset` and may be left out.",
        "answer": "`observation`, or `error`",
    },
    {
        "type": "step",
        "schema": "StepMessage",
        "summary": "Apply one action. `data` is the action itself, without an `action` key around it.",
        "answer": "`observation`, or `error`",
    },
    {
        "type": "state",
        "schema": "StateMessage",
        "summary": "Ask for the state of the episode. A `data` key is refused.",
        "answer": "`state`, or `error`",
    },
    {
        "type": "close",
        "schema": "CloseMessage",
        "summary": "End the session. The environment is closed, then the connection.",
        "answer": "no reply; the server closes with 1000",
    },
    {
        "type": "mcp",
        "schema": "McpMessage",
        "summary": "One JSON-RPC request, the same as `POST /mcp` takes, run in this session.",
        "answer": "`mcp`, or `error` where the message itself is malformed",
    },
)
"""What a client may send; `schema` names a schema of the document."""

WEB_MESSAGE: Json = {
    "type": "web",
    "schema": "WebMessage",
    "summary": "Ask for the environment's own drawing of an observation, and for buttons to show with it. "
    "`data` is the observation with its `reward` and `done`.",
    "answer": "`web`, or `error`",
}
"""The message of an environment that defines `render_web` or `web_actions`, and of no other."""

REPLIES: tuple[Json, ...] = (
    {
        "type": "observation",
        "schema": "ObservationReply",
        "summary": "Answers `reset` and `step`. NaN and infinities become null.",
    },
    {"type": "state", "schema": "StateReply", "summary": "Answers `state`, with every field of the state."},
    {"type": "mcp", "schema": "McpReply", "summary": "Answers `mcp` with one JSON-RPC response."},
    {
        "type": "error",
        "schema": "ErrorReply",
        "summary": "Answers anything that could not be done. `code` says why: see the table of error codes.",
    },
)
"""What a server sends."""

WEB_REPLY: Json = {"type": "web", "schema": "WebReply", "summary": "Answers `web`."}
"""The reply to `WEB_MESSAGE`."""

ERRORS: tuple[Json, ...] = (
    {
        "code": "INVALID_JSON",
        "when": "The message is not JSON.",
        "session": "goes on",
        "do": "Send one JSON object in a text frame.",
    },
    {
        "code": "UNKNOWN_TYPE",
        "when": "`type` is missing or not one of the five.",
        "session": "goes on",
        "do": "Send `reset`, `step`, `state`, `close` or `mcp`.",
    },
    {
        "code": "VALIDATION_ERROR",
        "when": "The message or the action does not fit its schema: nothing ran. Or a model that the "
        "environment's own code made does not fit.",
        "session": "goes on",
        "do": "Read `errors`: `loc` is the path to the field, `msg` what is wrong with it.",
        "extra": "errors",
    },
    {
        "code": "EXECUTION_ERROR",
        "when": "The environment raised, gave something that is no observation, or overran `timeout_s`.",
        "session": "goes on",
        "do": "Read `message` and `exception`. After `StepTimeoutError` send `reset` before anything else.",
        "extra": "exception, traceback",
    },
    {
        "code": "CAPACITY_REACHED",
        "when": "Every session of the server is taken, and no place became free while you were let wait. "
        "Sent unasked.",
        "session": "closed with 1000",
        "do": "Connect again after `retry_after_s`, or have the server started with more "
        "`MAX_CONCURRENT_ENVS`.",
        "extra": "active_sessions, max_sessions, retry_after_s",
    },
    {
        "code": "FACTORY_ERROR",
        "when": "The environment could not be made. Sent unasked, right after connecting.",
        "session": "closed with 1000",
        "do": "Look into the server's log: the cause is there.",
        "extra": "factory_name, exception, traceback",
    },
    {
        "code": "SESSION_ERROR",
        "when": "JSON that is not an object, a binary frame, an unknown or busy `session_id`, a session "
        "in which nothing was asked for too long; or a step after one that overran its time.",
        "session": "closed with 1000; after an overrun it stays open",
        "do": "Connect again; after an overrun send `reset`.",
    },
)
"""Every `code` of an `error` reply, and what to do about it."""

CLOSE_CODES: tuple[Json, ...] = (
    {"code": 1000, "when": "After `close`, and after an error that ends the session."},
    {"code": 1001, "when": "The server shuts down. Running steps are answered first."},
    {"code": 1002, "when": "A frame broke the WebSocket protocol."},
    {"code": 1007, "when": "A text frame is not UTF-8."},
    {
        "code": 1009,
        "when": "A message is larger than the server takes: 100 MiB unless it was told otherwise.",
    },
    {"code": 1011, "when": "The server failed, or demands pongs and got none."},
)
"""Every code with which a server closes."""

RPC_DESCRIPTION = (
    "JSON-RPC 2.0, in two dialects. Plain: requests as they come, by `POST /mcp`, as bare objects on a "
    "WebSocket at `/mcp`, and in `mcp` messages on `/ws`; each is answered, with status 200, and without a "
    "`session_id` a `POST` makes an environment for the one call. MCP, for stock MCP clients: `initialize` "
    "opens a session, whose id comes in the header `Mcp-Session-Id` and goes with each request after that; "
    "notifications are not answered (202), and `DELETE /mcp` ends the session."
)
"""What there is to know before the tables."""

RPC_METHODS: tuple[Json, ...] = (
    {
        "method": "initialize",
        "params": "`protocolVersion`, optional",
        "summary": "Begin to speak MCP: opens a session, and says which version and what there is.",
    },
    {"method": "ping", "params": "none", "summary": "Answered by an empty result. After `initialize` only."},
    {
        "method": "openenv/session/create",
        "params": "none",
        "summary": "Open a session that no WebSocket holds. Attach to it with `/ws?session_id=ID`.",
    },
    {
        "method": "openenv/session/close",
        "params": "`session_id`",
        "summary": "Close such a session: `closed`, or `closing` while a WebSocket is attached.",
    },
    {
        "method": "tools/list",
        "params": "`session_id`, optional",
        "summary": "The environment's tools. Code -32603 if it has none.",
    },
    {
        "method": "tools/call",
        "params": "`name`, `arguments`, `session_id`, optional",
        "summary": "Call one tool. Code -32603 if the environment has none, or the tool raised.",
    },
)
"""The methods of JSON-RPC that are served."""

RPC_ERRORS: tuple[Json, ...] = (
    {"code": -32700, "when": "Not JSON, or not an object."},
    {"code": -32600, "when": "Not a request of JSON-RPC 2.0."},
    {"code": -32601, "when": "Method not found."},
    {"code": -32602, "when": "A parameter is missing, or the `session_id` is not known."},
    {"code": -32603, "when": "The environment has no tools, or a tool failed."},
    {
        "code": -32000,
        "when": "No session could be had: the server is full, or the environment cannot be made.",
    },
)
"""The codes of an `error` in a response of JSON-RPC."""

_TIMEOUT = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}],
    "description": "Seconds to wait. Past them the answer is `EXECUTION_ERROR` with `StepTimeoutError`.",
}


def message_schemas(action: Json, observation: Json, state: Json) -> dict[str, Json]:
    """The schemas that `MESSAGES` and `REPLIES` name, with those of JSON-RPC.

    Args:
        action: Schema of the action, or a reference to it.
        observation: The same of what an observation shows.
        state: The same of the state.
    """
    request, response = ({"$ref": f"#/components/schemas/{name}"} for name in ("RpcRequest", "RpcResponse"))
    keywords = {
        "type": "object",
        "description": "Keyword arguments of `reset`; those that its signature lacks are dropped.",
        "properties": {
            "seed": {"description": "Same seed, same episode"},
            "episode_id": {"description": "The client's name for the episode"},
        },
        "examples": [{"seed": 7}],
    }
    return {
        "ResetMessage": _message("reset", {"data": keywords, "timeout_s": _TIMEOUT}),
        "StepMessage": _message("step", {"data": action, "timeout_s": _TIMEOUT}, "data"),
        "StateMessage": _message("state", {}),
        "CloseMessage": _message("close", {}),
        "McpMessage": _message("mcp", {"data": request}, "data"),
        "ObservationReply": _message("observation", {"data": _observation_data(observation)}, "data"),
        "StateReply": _message("state", {"data": state}, "data"),
        "McpReply": _message("mcp", {"data": response}, "data"),
        "ErrorReply": _message("error", {"data": _error_data()}, "data"),
        "WebMessage": _message("web", {"data": {"type": "object"}}),
        "WebReply": _message("web", {"data": _drawing(action)}, "data"),
        "RpcRequest": _rpc_request(),
        "RpcResponse": _rpc_response(),
    }


def _message(kind: str, properties: Json, *required: str) -> Json:
    return {
        "type": "object",
        "properties": {"type": {"type": "string", "const": kind}, **properties},
        "required": ["type", *required],
        "additionalProperties": False,
    }


def _observation_data(observation: Json) -> Json:
    return {
        "type": "object",
        "properties": {
            "observation": observation,
            "reward": {
                "type": ["number", "boolean", "null"],
                "description": "In the environment's own unit, and in the type that it gave",
                "examples": [1.0],
            },
            "done": {"type": "boolean", "description": "True once the episode is over"},
            "metadata": {
                "type": "object",
                "description": "The observation's metadata; absent where it is empty",
            },
            "truncated": {
                "const": True,
                "description": "There only if a limit ended the episode, not the task",
            },
        },
        "required": ["observation", "reward", "done"],
    }


def _error_data() -> Json:
    fault = {"type": "array", "items": {"$ref": "#/components/schemas/Fault"}}
    return {
        "type": "object",
        "properties": {
            "message": {"type": "string", "examples": ["Invalid message"]},
            "code": {"type": "string", "enum": [error["code"] for error in ERRORS]},
            "errors": {**fault, "description": "With `VALIDATION_ERROR`"},
            "exception": {"type": "string", "description": "Class name of what the environment raised"},
            "traceback": {"type": "string", "description": "Only from a server that runs with `--debug`"},
            "factory_name": {"type": "string", "description": "With `FACTORY_ERROR`"},
            "active_sessions": {"type": "integer", "description": "With `CAPACITY_REACHED`"},
            "max_sessions": {"type": "integer", "description": "With `CAPACITY_REACHED`"},
            "retry_after_s": {
                "type": "integer",
                "description": "With `CAPACITY_REACHED`: seconds after which it is worth trying again",
            },
        },
        "required": ["message", "code"],
    }


def _drawing(action: Json) -> Json:
    button = {
        "type": "object",
        "properties": {"label": {"type": "string"}, "action": action},
        "required": ["label", "action"],
    }
    return {
        "type": "object",
        "properties": {
            "html": {
                "type": ["string", "null"],
                "description": "To be shown where it can do nothing; null where there is none",
                "examples": ["<p>A drawing</p>"],
            },
            "actions": {"type": "array", "items": button},
        },
        "required": ["html", "actions"],
    }


def _identity(answered: bool) -> Json:
    text = "The same as the request's; null where it had none" if answered else "Repeated in the response"
    return {"type": ["string", "integer", "null"], "description": text, "examples": [1]}


def _rpc_request() -> Json:
    return {
        "type": "object",
        "description": "One request of JSON-RPC 2.0. Before `initialize` there are no notifications: a "
        "request without an `id` is answered with null for one.",
        "properties": {
            "jsonrpc": {"type": "string", "const": "2.0"},
            "method": {
                "type": "string",
                "description": "One of the methods of the table",
                "examples": ["tools/list", "tools/call", "openenv/session/create", "openenv/session/close"],
            },
            "params": {"type": "object", "description": "Named parameters", "default": {}},
            "id": _identity(False),
        },
        "required": ["jsonrpc", "method"],
        "additionalProperties": False,
    }


def _rpc_response() -> Json:
    error = {
        "type": "object",
        "properties": {
            "code": {"type": "integer", "enum": [row["code"] for row in RPC_ERRORS]},
            "message": {"type": "string"},
            "data": {"description": "What more there is to say, or null"},
        },
        "required": ["code", "message", "data"],
    }
    return {
        "type": "object",
        "description": "One response of JSON-RPC 2.0: it has either `result` or `error`.",
        "properties": {
            "jsonrpc": {"type": "string", "const": "2.0"},
            "id": _identity(True),
            "result": {"description": "What the method gave", "examples": [{"tools": []}]},
            "error": error,
        },
        "required": ["jsonrpc", "id"],
        "oneOf": [{"required": ["result"]}, {"required": ["error"]}],
    }
