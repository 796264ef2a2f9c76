"""JSON-RPC 2.0 requests and responses, sans-I/O, as `/mcp` speaks them.

In: bytes or a JSON value. Out: `RpcRequest`, and responses as JSON objects. It knows nothing about
tools or sessions. Notifications do not exist here: a request without an id is answered with
``"id": null``, as existing servers do.

Reference: https://www.jsonrpc.org/specification; wire.md section 5.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

from openenv.codec import decode
from openenv.errors import MAX_FAULTS, InvalidJsonError, ProtocolError

__all__ = [
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "PARSE_ERROR",
    "SERVER_ERROR",
    "RpcError",
    "RpcRequest",
    "decode_request",
    "failure_response",
    "parse_request",
    "parse_request_value",
    "request_object",
    "result_response",
]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000

_KEYS = frozenset({"jsonrpc", "method", "params", "id"})


class RpcError(ProtocolError):
    """A request that is answered with an error object.

    Args:
        number: The error's code, see the constants of this module.
        text: The error's message.
        data: The error's data, None by default.
    """

    def __init__(self, number: int, text: str, data: Any = None) -> None:
        self.number = number
        self.data = data
        super().__init__(text)


class RpcRequest(NamedTuple):
    """One request.

    Attributes:
        method: Name of the method.
        params: Named parameters.
        id: What the response has to repeat.
    """

    method: str
    params: dict[str, Any]
    id: str | int | None


def parse_request(body: bytes) -> RpcRequest:
    """Parse one request.

    Raises:
        RpcError: It is not JSON (-32700) or not a request (-32600).
    """
    return parse_request_value(decode_request(body))


def decode_request(body: bytes) -> Any:
    """The JSON value of a request that is not looked into yet.

    Raises:
        RpcError: It is not JSON (-32700).
    """
    try:
        return decode(body)
    except InvalidJsonError as error:
        raise RpcError(PARSE_ERROR, "Parse error") from error


def parse_request_value(value: Any) -> RpcRequest:
    """Parse one request that is a JSON value already.

    Raises:
        RpcError: It is not a request (-32600).
    """
    if type(value) is not dict:
        raise RpcError(PARSE_ERROR, "Parse error")
    unknown = islice((key for key in value if key not in _KEYS), MAX_FAULTS)
    faults = [f"unexpected key {key!r}" for key in unknown]
    if value.get("jsonrpc") != "2.0":
        faults.append("jsonrpc: expected '2.0'")
    method = value.get("method")
    if type(method) is not str:
        faults.append("method: expected a string")
    params = value.get("params", {})
    if type(params) is not dict:
        faults.append("params: expected an object")
    identity = value.get("id")
    if identity is not None and type(identity) not in (str, int):
        faults.append("id: expected a string or an integer")
    if faults:
        raise RpcError(INVALID_REQUEST, f"Invalid request: {'; '.join(faults)}")
    return RpcRequest(str(method), params, identity)


def request_object(method: str, params: dict[str, Any], identity: str | int) -> dict[str, Any]:
    """A request, as a JSON value."""
    return {"jsonrpc": "2.0", "method": method, "params": params, "id": identity}


def result_response(identity: str | int | None, result: Any) -> dict[str, Any]:
    """The response to a request that succeeded."""
    return {"jsonrpc": "2.0", "id": identity, "result": result}


def failure_response(identity: str | int | None, error: RpcError) -> dict[str, Any]:
    """The response to a request that did not."""
    return {
        "jsonrpc": "2.0",
        "id": identity,
        "error": {"code": error.number, "message": str(error), "data": error.data},
    }
