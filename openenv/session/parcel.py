"""What goes between a worker and the process of one environment: framed messages over a socket pair.

In: a call and its arguments, or a call's outcome. Out: bytes, and the same again at the other end. It knows
nothing about sockets and processes.

A message is its length (4 bytes, big endian), its kind (1 byte) and that many bytes. Calls are pickled:
whoever reads them is a fork of whoever wrote them. Outcomes are not, because an environment may run code
that nobody vouches for, and unpickling is running code: they are finished bytes, or JSON.

Limits: an outcome has at most `MAX_OUTCOME_BYTES`.
"""

from __future__ import annotations

import pickle
import struct
import traceback
from collections.abc import Callable
from typing import Any, Final

from openenv.codec import decode, encode
from openenv.errors import AuthorError, EnvironmentFactoryError, OpenEnvError, SchemaError
from openenv.schema import jsonable
from openenv.session.misfits import faults_in
from openenv.session.tools import ToolsError

__all__ = [
    "HEAD_BYTES",
    "MAX_OUTCOME_BYTES",
    "EnvironmentRaisedError",
    "Packed",
    "pack",
    "pack_call",
    "pack_error",
    "unpack",
    "unpack_call",
    "unpack_head",
]

MAX_OUTCOME_BYTES: Final = 1 << 30

_HEAD = struct.Struct("!IB")
HEAD_BYTES: Final = _HEAD.size
_CALL, _BYTES, _VALUE, _RECORD, _ERROR = range(5)
_LENGTH = struct.Struct("!I")


class Packed(bytes):
    """A whole message: what `pack` made, so that it is not packed again."""


class EnvironmentRaisedError(Exception):
    """Stands for what the author raised in another process; its note is the traceback there."""


_KNOWN: dict[str, type[Exception]] = {
    "ToolsError": ToolsError,
    "NotImplementedError": NotImplementedError,
    "IndexError": IndexError,
}
"""Causes that answers depend on."""


def pack_call(call: tuple[Any, ...]) -> bytes:
    """A call as a message; its arguments can be pickled."""
    return _frame(_CALL, pickle.dumps(call, pickle.HIGHEST_PROTOCOL))


def unpack_call(payload: bytes) -> tuple[Any, ...]:
    """The call that `pack_call` was given."""
    call: tuple[Any, ...] = pickle.loads(payload)
    return call


def unpack_head(head: bytes | bytearray) -> tuple[int, int]:
    """Length of the payload and kind of the message, from its first `HEAD_BYTES`."""
    length, kind = _HEAD.unpack_from(head)
    return length, kind


def pack(result: Any, record: type[tuple[Any, ...]]) -> Packed:
    """A call's result as a message.

    Args:
        result: Bytes, a `record`, or anything that has a JSON form.
        record: A named tuple that begins with a number, bytes and pairs of text: an HTTP response.

    Raises:
        TypeError: It is none of these.
    """
    if type(result) is bytes:
        return _frame(_BYTES, result)
    if isinstance(result, record):
        number, body, pairs = tuple(result)[:3]
        head = encode([number, pairs])
        return _frame(_RECORD, _LENGTH.pack(len(head)) + head + body)
    return _frame(_VALUE, encode(result, jsonable))


def pack_error(error: BaseException) -> Packed:
    """What a call raised, as a message."""
    said: dict[str, Any] = {"type": "other", "message": f"{type(error).__name__}: {error}"}
    if isinstance(error, SchemaError):
        said = {"type": "schema", "message": error.message, "errors": error.errors}
    elif isinstance(error, AuthorError):
        said = {"type": "author", "message": str(error), "method": error.method}
        said |= {"exception": error.exception, "traceback": error.traceback}
        if isinstance(error, EnvironmentFactoryError):
            said |= {"type": "factory", "factory_name": error.factory_name}
    cause = error.__cause__
    if cause is not None:
        known = next((name for name, cls in _KNOWN.items() if isinstance(cause, cls)), None)
        said["cause"] = {
            "known": known,
            "message": str(cause) if known else f"{type(cause).__name__}: {cause}",
            "is_about_name": getattr(cause, "is_about_name", False) is True,
            "faults": faults_in(cause),
            "traceback": "".join(traceback.format_exception(cause)),
        }
    return _frame(_ERROR, encode(said, str))


def unpack(kind: int, payload: bytes, record: Callable[..., Any]) -> tuple[Any, BaseException | None]:
    """The result and None, or None and the error, of a message's kind and payload.

    Raises:
        ValueError: It is no such message.
    """
    try:
        if kind == _BYTES:
            return payload, None
        if kind == _VALUE:
            return decode(payload), None
        if kind == _RECORD:
            (length,) = _LENGTH.unpack_from(payload)
            begin = _LENGTH.size + length
            number, pairs = decode(payload[_LENGTH.size : begin])
            return record(number, payload[begin:], tuple((name, value) for name, value in pairs)), None
        if kind == _ERROR:
            return None, _error_of(decode(payload))
    except (OpenEnvError, struct.error, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"not an outcome: {error}") from error
    raise ValueError(f"not an outcome: a message of kind {kind}")


def _error_of(said: dict[str, Any]) -> OpenEnvError:
    error: OpenEnvError
    if said["type"] == "schema":
        error = SchemaError(said["errors"], said["message"])
    elif said["type"] == "factory":
        error = EnvironmentFactoryError(
            said["factory_name"], said["message"], said["exception"], said["traceback"]
        )
    elif said["type"] == "author":
        error = AuthorError(said["message"], said["method"], said["exception"], said["traceback"])
    else:
        error = AuthorError(str(said["message"]))
    if "cause" in said:
        error.__cause__ = _cause_of(said["cause"])
    return error


def _cause_of(said: dict[str, Any]) -> Exception:
    cls = _KNOWN.get(said["known"], EnvironmentRaisedError)
    cause = cls(said["message"]) if said["faults"] is None else SchemaError(said["faults"], said["message"])
    if isinstance(cause, ToolsError):
        cause.is_about_name = said["is_about_name"] is True
    cause.add_note(f"In the environment's process:\n{said['traceback']}")
    return cause


def _frame(kind: int, payload: bytes) -> Packed:
    return Packed(_HEAD.pack(len(payload), kind) + payload)
