"""Reads a request's body as a declared type, with the refusals that existing servers give.

Reference: wire.md section 4, "422".
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from openenv.app.context import Response, detail
from openenv.codec import decode
from openenv.errors import InvalidJsonError, SchemaError
from openenv.protocol.http11 import Request
from openenv.protocol.messages import shown_faults
from openenv.schema import Schema

__all__ = ["BodyRefused", "decode_body", "load_body", "load_value"]


# Requests have a handful, and what an environment's `reset` takes besides; each one costs microseconds.
_MOST_KEYS = 1000


class BodyRefused(Exception):
    """The body does not fit; `response` says so."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__(response.status)


def load_body(request: Request, schema: Schema, required: bool) -> tuple[Any, dict[str, Any]]:
    """Read the body and load it.

    Args:
        request: Whose body it is.
        schema: What it must fit.
        required: Whether an empty body is refused; else it counts as `{}`.

    Returns:
        The loaded object, and the values of the keys that were really there.

    Raises:
        BodyRefused: It is not JSON (422, or 400 where it is not even UTF-8) or does not fit (422).
    """
    value = {} if not request.body and not required else decode_body(request)
    return load_value(value, schema)


def load_value(value: Any, schema: Schema) -> tuple[Any, dict[str, Any]]:
    """Load what `decode_body` gave. Result and errors as of `load_body`."""
    if type(value) is not dict:
        raise _refused(
            [
                _fault(
                    "model_attributes_type",
                    ["body"],
                    "Input should be a valid dictionary or object to extract fields from",
                    value,
                )
            ]
        )
    if len(value) > _MOST_KEYS:
        raise _refused([_fault("too_long", ["body"], f"Expected at most {_MOST_KEYS} keys", None)])
    try:
        loaded = schema.load(value)
    except SchemaError as error:
        raise _refused([{**fault, "loc": ["body", *fault["loc"]]} for fault in error.errors]) from error
    return loaded, {key: getattr(loaded, key, item) for key, item in value.items()}


def decode_body(request: Request) -> Any:
    """The JSON value of a body, or its text where it claims to be something else than JSON.

    Raises:
        BodyRefused: There is none or it is not JSON (422), or it is not even UTF-8 (400).
    """
    body = request.body
    if not body:
        raise _refused([_fault("missing", ["body"], "Field required", None)])
    if not _is_json(request.header("content-type")):
        return body.decode("utf-8", "replace")
    try:
        return decode(body)
    except InvalidJsonError as error:
        cause = error.__cause__
        if not isinstance(cause, json.JSONDecodeError):
            raise BodyRefused(detail(400, "There was an error parsing the body")) from error
        fault = _fault("json_invalid", ["body", cause.pos], "JSON decode error", {})
        raise _refused([{**fault, "ctx": {"error": cause.msg}}]) from error


@lru_cache(maxsize=64)
def _is_json(content_type: str | None) -> bool:
    if content_type is None:
        return False
    main, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return main == "application" and (subtype == "json" or subtype.endswith("+json"))


def _fault(kind: str, loc: list[Any], text: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "loc": loc, "msg": text, "input": value}


def _refused(errors: list[dict[str, Any]]) -> BodyRefused:
    return BodyRefused(detail(422, shown_faults(errors)))
