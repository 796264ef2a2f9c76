"""Bytes to JSON values and back: the only module that imports orjson.

In: bytes or str holding one JSON text (RFC 8259). Out: None, bool, int, float, str, list, dict; and
the other way round. It knows nothing about messages, models or sockets.

orjson does the common case. What it refuses and the standard library's ``json`` accepts (``NaN``
literals, encoding integers of more than 64 bits, lone surrogates) goes to the latter, because existing
clients and servers use that; the text of a decoding error is the standard library's for the same
reason. Limits: nesting of 1,024 levels in orjson, the interpreter's recursion limit beyond; decoding
gives a float for an integer of more than 64 bits, unless `decode_leniently` is asked.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import orjson

from openenv.errors import InvalidJsonError

__all__ = ["OPTIONS", "decode", "decode_leniently", "decode_strictly", "encode", "encode_strictly"]

# Keys that are not strings are rare, and allowing for them costs a small reply two thirds more: they
# are a TypeError at first, and then asked for.
OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z
_ANY_KEYS = OPTIONS | orjson.OPT_NON_STR_KEYS

decode_strictly = orjson.loads
"""Decode what orjson decodes; whatever else raises ValueError and may be given to `decode_leniently`.
`decode` does both; this is for who decodes a hundred thousand times a second."""

encode_strictly = orjson.dumps
"""Encode (value, default, `OPTIONS`) as `encode` does, except that what orjson cannot encode raises
TypeError and may be given to `encode`; for the same who."""


def decode(data: bytes | bytearray | memoryview | str) -> Any:
    """Decode one JSON text.

    Raises:
        InvalidJsonError: It is not JSON, is not UTF-8, or nests too deeply. The message is the
            decoder's own text, ``Expecting value: line 1 column 1 (char 0)``.
    """
    try:
        return decode_strictly(data)
    except ValueError:
        return decode_leniently(data)


def decode_leniently(data: bytes | bytearray | memoryview | str) -> Any:
    """Decode one JSON text as the standard library does. Errors as of `decode`."""
    try:
        text = data if isinstance(data, str) else bytes(data).decode()
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise InvalidJsonError(f"not UTF-8: {error}") from error
    except ValueError as error:
        raise InvalidJsonError(str(error)) from error
    except RecursionError as error:
        raise InvalidJsonError("nested too deeply") from error


def encode(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """Encode a value as one compact JSON text, UTF-8.

    NaN and infinities become ``null``; enum members their values; tuples arrays; dataclasses
    objects; datetime, date, time and UUID their ISO 8601 and RFC 4122 texts; numpy arrays nested
    arrays, row-major. Keys that are not strings become strings.

    Args:
        value: What to encode.
        default: Called with each object that has no JSON form of its own; gives one that has.

    Raises:
        TypeError: Something in it has no JSON form.
    """
    try:
        return encode_strictly(value, default, OPTIONS)
    except TypeError:
        return _encode_any_keys(value, default)


def _encode_any_keys(value: Any, default: Callable[[Any], Any] | None) -> bytes:
    try:
        return encode_strictly(value, default, _ANY_KEYS)
    except TypeError:
        return _encode_leniently(value, default)


def _encode_leniently(value: Any, default: Callable[[Any], Any] | None) -> bytes:
    try:
        plain = _plain(value, default, 0)
        text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except RecursionError as error:
        raise TypeError("value nests too deeply to be JSON") from error
    return text.encode("utf-8", "replace")


def _plain(value: Any, default: Callable[[Any], Any] | None, depth: int) -> Any:
    """Rebuild a value from what the standard library can encode."""
    if value is None or type(value) in (str, bool, int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if type(value) is dict:
        return {_key(key): _plain(item, default, depth + 1) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_plain(item, default, depth + 1) for item in value]
    try:
        return decode_strictly(encode_strictly(value, None, _ANY_KEYS))
    except TypeError:
        if default is None:
            raise
        return _plain(default(value), default, depth + 1)


def _key(key: Any) -> str:
    if type(key) is str:
        return key
    if isinstance(key, bytes):
        return base64.b64encode(key).decode()
    try:
        return str(next(iter(decode_strictly(encode_strictly({key: 0}, None, _ANY_KEYS)))))
    except TypeError:
        return ",".join(map(str, key)) if isinstance(key, tuple) else str(key)
