"""The messages of a session on `/ws`: JSON objects ``{"type": ..., "data": ...}``, sans-I/O.

In: the payload of one text message. Out: ``Message``, or a documented error; and replies as bytes.
It knows nothing about frames, sessions or environments: ``data`` of a step is not looked into.

Reference: ``wire.md`` sections 2 and 8.
"""

from __future__ import annotations

import re
import sys
from itertools import islice
from typing import Any

from openenv.codec import decode_leniently, decode_strictly, encode
from openenv.errors import (
    MAX_FAULTS,
    InvalidJsonError,
    OpenEnvError,
    SchemaError,
    SessionError,
    UnknownTypeError,
)
from openenv.schema import PlainObservations, dump_observation, jsonable

__all__ = [
    "OBSERVATION_BEGINS",
    "Message",
    "parse_message",
    "plain_observations",
    "serialize_error",
    "serialize_observation",
    "serialize_rpc",
    "serialize_state",
    "serialize_web",
    "shown_faults",
]


Message = tuple[str, dict[str, Any] | None, float | None]
"""One request of a client: (type, data, timeout_s).

The type is ``reset``, ``step``, ``state``, ``close``, ``mcp`` or ``web``. The data is the action, the
keyword arguments of ``reset``, the JSON-RPC request or the observation to draw; None for ``state`` and
``close``. The timeout is in seconds, > 0, or None. A plain tuple, because one is made for every message.
"""


# type -> (whether data must be there, may be there; whether timeout_s may be there)
# orjson reads an integer of more than 64 bits as a float. A seed may well have 128, so a reset is read
# again where there may be one; a step is not, since looking would take as long as decoding it.
_BIG = re.compile(rb"[0-9]{19}").search
_REQUIRED, _OPTIONAL, _NONE = range(3)
_SHAPES: dict[str, tuple[int, bool]] = {
    "reset": (_OPTIONAL, True),
    "step": (_REQUIRED, True),
    "state": (_NONE, False),
    "close": (_NONE, False),
    "mcp": (_REQUIRED, False),
    "web": (_OPTIONAL, False),  # ours; refused like any unknown type unless the environment draws itself
}


def parse_message(payload: bytes | str) -> Message:
    """Parse one message.

    Raises:
        InvalidJsonError: It is not JSON; the session goes on.
        UnknownTypeError: ``type`` is missing or not one of the six; the session goes on.
        SchemaError: A key is missing, of the wrong type or unexpected; the session goes on.
        SessionError: JSON, but not an object; stock servers end the session, so it does end.
    """
    try:
        value = decode_strictly(payload)
    except ValueError:
        value = _decode_anyway(payload)
    if type(value) is not dict:
        raise SessionError(f"'{type(value).__name__}' object has no attribute 'get'")
    kind = value.get("type", "")
    if type(kind) is not str or kind not in _SHAPES:
        raise UnknownTypeError(f"Unknown message type: {kind}")
    if kind == "reset" and _long_integer(payload):
        value = _decode_anyway(payload)
    return _check_shape(kind, value)


def _long_integer(payload: bytes | str) -> bool:
    return _BIG(payload.encode() if isinstance(payload, str) else payload) is not None


def _decode_anyway(payload: bytes | str) -> Any:
    try:
        return decode_leniently(payload)
    except InvalidJsonError as error:
        raise InvalidJsonError(f"Invalid JSON: {error}") from error


def _check_shape(kind: str, value: dict[str, Any]) -> Message:
    data_rule, takes_timeout = _SHAPES[kind]
    errors: list[dict[str, Any]] = []
    data: dict[str, Any] | None = {} if data_rule == _OPTIONAL else None
    if data_rule != _NONE:
        if "data" not in value:
            if data_rule == _REQUIRED:
                errors.append(_fault("missing", "data", "Field required", value))
        elif type(value["data"]) is not dict:
            errors.append(_fault("dict_type", "data", "Input should be a valid dictionary", value["data"]))
        else:
            data = value["data"]
    timeout_s = None
    known = {"type"} if data_rule == _NONE else {"type", "data"}
    if takes_timeout and "timeout_s" in value:
        known.add("timeout_s")
        timeout_s = _check_timeout(value["timeout_s"], errors)
    unknown = (item for item in value.items() if item[0] not in known)
    errors += [
        _fault("extra_forbidden", key, "Extra inputs are not permitted", item)
        for key, item in islice(unknown, MAX_FAULTS + 1)
    ]
    if errors:
        raise SchemaError(errors)
    return kind, data, timeout_s


def _check_timeout(value: Any, errors: list[dict[str, Any]]) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        errors.append(_fault("float_type", "timeout_s", "Input should be a valid number", value))
    elif value > sys.float_info.max:
        errors.append(_fault("finite_number", "timeout_s", "Input should be a finite number", value))
    elif not value > 0:
        fault = _fault("greater_than", "timeout_s", "Input should be greater than 0", value)
        errors.append({**fault, "ctx": {"gt": 0.0}})
    else:
        return float(value)
    return None


def _fault(kind: str, key: str, text: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "loc": [key], "msg": text, "input": value}


def serialize_observation(observation: Any) -> bytes:
    """The reply to ``reset`` and ``step``.

    Args:
        observation: What the environment gave: an Observation, a dataclass, a pydantic model or a
            dict. Its reward travels in the type that the environment gave it; its metadata, where
            there is any, beside it as well; a true ``truncated`` beside ``done`` as well: a limit
            ended the episode.

    Raises:
        TypeError: It is no observation, or something in it has no JSON form.
    """
    make = plain_observations[observation.__class__]
    if make is None or observation.metadata:
        return _serialize_any(observation)
    return OBSERVATION_BEGINS + encode(make(observation), jsonable) + b"}"


plain_observations = PlainObservations("{{'observation': {fields}, 'reward': o.reward, 'done': o.done}}")
"""For each class whose observations need no looking at, the one compiled expression that makes a reply's
``data``. It holds for observations without metadata."""
OBSERVATION_BEGINS = b'{"type":"observation","data":'
"""What stands before the ``data`` of an observation's reply; a brace stands after it."""


def _serialize_any(observation: Any) -> bytes:
    fields, reward, done, metadata = dump_observation(observation)
    data = {"observation": fields, "reward": reward, "done": done}
    if metadata:
        data["metadata"] = metadata
    if fields.get("truncated") is True:
        data["truncated"] = True
    return encode({"type": "observation", "data": data}, jsonable)


def serialize_state(state: Any) -> bytes:
    """The reply to ``state``."""
    return encode({"type": "state", "data": state}, jsonable)


def serialize_rpc(response: dict[str, Any]) -> bytes:
    """The reply to ``mcp``, holding one JSON-RPC response."""
    return encode({"type": "mcp", "data": response}, jsonable)


def serialize_web(html: Any, actions: Any) -> bytes:
    """The reply to ``web``.

    Args:
        html: What `render_web` gave.
        actions: What `web_actions` gave: pairs of a label and an action.

    Raises:
        TypeError: They are something else.
    """
    if html is not None and not isinstance(html, str):
        raise TypeError(f"expected str or None from render_web, got {type(html).__name__}")
    buttons = [{"label": str(label), "action": action} for label, action in actions or ()]
    return encode({"type": "web", "data": {"html": html, "actions": buttons}}, jsonable)


def serialize_error(error: OpenEnvError) -> bytes:
    """The reply that says what went wrong, ``{"message", "code", ...}``."""
    data = {"message": error.message, "code": error.code, **error.extras()}
    if "errors" in data:
        data["errors"] = shown_faults(data["errors"])
    return encode({"type": "error", "data": data}, str)


_SHOWN_BYTES = 64 * 1024


def shown_faults(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The faults of a `SchemaError` as a reply tells them: without inputs beyond 64 KiB of JSON in all.

    Each fault may repeat all that was sent, so a reply could be a hundred times as large as its message.
    """
    left = _SHOWN_BYTES
    shown = []
    for error in errors:
        if left > 0:
            try:
                left -= len(encode(error.get("input"), str))
            except TypeError:  # nests too deeply
                left = 0
        shown.append(error if left > 0 else {**error, "input": None})
    return shown
