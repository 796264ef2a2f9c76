"""MCP's streamable HTTP transport, sans-I/O: versions, formats and what stands for "no answer".

In: header fields of a request. Out: which protocol version is spoken, and a response's body and content
type. It knows nothing about sessions, tools or sockets. There is no stream from the server: a `GET` is
refused, which the specification allows, and each response is one JSON body or one server-sent event.

Reference: https://modelcontextprotocol.io/specification/2025-06-18/basic/transports.
"""

from __future__ import annotations

from typing import Any

from openenv.codec import encode
from openenv.schema import jsonable

__all__ = ["SESSION_HEADER", "VERSIONS", "VERSION_HEADER", "is_notification", "negotiate", "serialize"]

SESSION_HEADER = "mcp-session-id"
VERSION_HEADER = "mcp-protocol-version"

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""The protocol versions spoken, latest first."""

_JSON = "application/json"
_EVENTS = "text/event-stream"


def negotiate(wanted: Any) -> str:
    """The version that an `initialize` is answered with: the client's, or the latest if that is unknown."""
    return wanted if wanted in VERSIONS else VERSIONS[0]


def is_notification(message: Any) -> bool:
    """Whether a message is one that gets no answer: a notification, or an answer itself."""
    if type(message) is not dict:
        return False
    return "id" not in message or ("method" not in message and ("result" in message or "error" in message))


def serialize(response: dict[str, Any], accept: str | None) -> tuple[str, bytes] | None:
    """A JSON-RPC response in the form that the client takes.

    Args:
        response: The response.
        accept: The request's ``Accept``; JSON is preferred where it leaves a choice.

    Returns:
        Content type and body; None where the client takes neither form.
    """
    taken = _media_types(accept)
    body = encode(response, jsonable)
    if not taken or taken & {_JSON, "application/*", "*/*"}:
        return _JSON, body
    if taken & {_EVENTS, "text/*"}:
        return _EVENTS, b"event: message\r\ndata: " + body + b"\r\n\r\n"
    return None


def _media_types(accept: str | None) -> set[str]:
    entries = (entry.partition(";")[0].strip().lower() for entry in (accept or "").split(","))
    return {entry for entry in entries if entry}
