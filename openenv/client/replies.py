"""A reply as bytes becomes its data, or the error that the server meant.

In: one text message of the server. Out: ``data`` of the reply, or an exception of the class that the
server raised, found by its code. The exception's text is what the incumbent's client says, ``Server
error: <message> (code: <code>)``; its ``code`` and ``data`` are those of the reply.

Reference: ``wire.md`` section 2, "Replies"; ``errors.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openenv.codec import decode, decode_strictly
from openenv.errors import (
    AuthorError,
    EnvironmentFactoryError,
    InvalidJsonError,
    OpenEnvError,
    RemoteError,
    SchemaError,
    SessionCapacityError,
    SessionError,
    SessionNotFoundError,
    StepTimeoutError,
)

__all__ = ["error_of", "load_reply"]

_OBSERVATION = b'{"type":"observation","data":'
_N_OBSERVATION = len(_OBSERVATION)
_UNKNOWN_SESSION = "Unknown session_id: "


def load_reply(message: bytes) -> Any:
    """The ``data`` of a reply; ``{}`` where it has none.

    Raises:
        OpenEnvError: The reply is an error; all its classes are also `RuntimeError`.
        RemoteError: It is not a reply at all.
    """
    try:
        if message.startswith(_OBSERVATION) and message.endswith(b"}"):
            # What nearly every reply is: its data alone is a JSON text if and only if nothing follows it.
            return decode_strictly(message[_N_OBSERVATION:-1])
    except ValueError:
        pass
    try:
        reply = decode_strictly(message)
        if reply["type"] != "error":
            return reply["data"]
    except (ValueError, TypeError, KeyError):
        reply = _unusual(message)
        if reply["type"] != "error":
            return reply["data"]
    data = reply.get("data")
    raise error_of(data if isinstance(data, dict) else {"message": str(data)})


def _unusual(message: bytes) -> dict[str, Any]:
    """A reply that is strange, or JSON for the standard library only: ``type`` and ``data`` are there."""
    try:
        reply = decode(message)
    except InvalidJsonError as error:
        raise RemoteError(f"the server's reply is not JSON: {error}") from error
    if not isinstance(reply, dict):
        raise RemoteError(f"expected an object as the server's reply, got {type(reply).__name__}")
    return {"data": {}, **reply} if "type" in reply else {"type": "", "data": {}}


def error_of(data: dict[str, Any]) -> OpenEnvError:
    """The error that ``data`` of an error reply describes."""
    said = str(data.get("message", "Unknown error"))
    code = str(data.get("code", "UNKNOWN"))
    build = _BUILDERS.get(code)
    text = f"Server error: {said} (code: {code})"
    error = build(data, said, text) if build is not None else RemoteError(text, code, data)
    # Every error of a reply carries what the server said, whatever its class declares.
    vars(error).update(code=code, data=data)
    return error


def _text_of(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) else None


def _number_of(data: dict[str, Any], key: str) -> int:
    value = data.get(key)
    return value if isinstance(value, int) else 0


def _schema(data: dict[str, Any], said: str, text: str) -> OpenEnvError:
    errors = data.get("errors")
    faults = [fault for fault in errors if isinstance(fault, dict)] if isinstance(errors, list) else []
    return SchemaError(faults, text)


def _capacity(data: dict[str, Any], said: str, text: str) -> OpenEnvError:
    return SessionCapacityError(_number_of(data, "active_sessions"), _number_of(data, "max_sessions"), text)


def _session(data: dict[str, Any], said: str, text: str) -> OpenEnvError:
    if said.startswith(_UNKNOWN_SESSION):
        return SessionNotFoundError(said.removeprefix(_UNKNOWN_SESSION), text)
    return SessionError(text)


def _author(data: dict[str, Any], said: str, text: str) -> OpenEnvError:
    exception = _text_of(data, "exception")
    method = _text_of(data, "method") or "step"
    if exception == "StepTimeoutError":
        timeout_s = data.get("timeout_s")
        return StepTimeoutError(float(timeout_s) if isinstance(timeout_s, int | float) else 0.0, method, text)
    return AuthorError(text, method, exception, _text_of(data, "traceback"))


def _factory(data: dict[str, Any], said: str, text: str) -> OpenEnvError:
    name = _text_of(data, "factory_name") or "?"
    return EnvironmentFactoryError(name, text, _text_of(data, "exception"), _text_of(data, "traceback"))


_BUILDERS: dict[str, Callable[[dict[str, Any], str, str], OpenEnvError]] = {
    "VALIDATION_ERROR": _schema,
    "CAPACITY_REACHED": _capacity,
    "SESSION_ERROR": _session,
    "EXECUTION_ERROR": _author,
    "FACTORY_ERROR": _factory,
}
