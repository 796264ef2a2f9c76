"""A value that fits a JSON Schema, for examples in documentation.

In: a schema and the definitions that it refers to. Out: one small JSON value: what the author gave as an
example, else a default, else the simplest value of the type. It knows nothing about what the value is for.

Limits: a pattern is met only where one of a few common texts happens to meet it, and what authors check
in code is not seen; formats that are not known count as plain text.

Reference: JSON Schema draft 2020-12, validation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["NoSampleError", "Sampler"]

Json = Mapping[str, Any]

_MAX_DEPTH = 12
_TEXTS = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "PT1M30S",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "path": "notes.txt",
    "base64": "aGVsbG8=",
    "binary": "hello",
    "email": "ada@example.org",
    "uri": "https://example.org/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}
_CANDIDATES = ("hello", "a", "A", "1", "a1", "A1", "e2e4", "abc", "ABC", "0-0", "#000000", "")


class NoSampleError(ValueError):
    """No value that fits could be made up."""


class Sampler:
    """Makes values.

    Args:
        definitions: Schemas by name.
        prefix: What stands before a name in a reference.
    """

    def __init__(self, definitions: Mapping[str, Any], prefix: str = "#/components/schemas/") -> None:
        self._definitions = definitions
        self._prefix = prefix

    def request(self, schema: Any) -> Any:
        """A value for somebody to send: what is required of an object, and what has an example.

        Raises:
            NoSampleError: There is none that is sure to fit.
        """
        return self._value(schema, False, 0)

    def reply(self, schema: Any) -> Any:
        """A value as somebody would receive it: every property of an object that is surely there.

        Raises:
            NoSampleError: There is none that is sure to fit.
        """
        return self._value(schema, True, 0)

    def _value(self, schema: Any, whole: bool, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise NoSampleError("the type contains itself")
        if not isinstance(schema, Mapping) or not schema:
            return "anything"
        for key in ("examples", "enum"):
            if schema.get(key):
                return schema[key][0]
        if "const" in schema:
            return schema["const"]
        if schema.get("default") is not None:
            return schema["default"]
        if "$ref" in schema:
            return self._value(self._target(schema["$ref"]), whole, depth + 1)
        for key in ("oneOf", "anyOf", "allOf"):
            # Beside properties they say which of these there may be, and not what they are.
            if schema.get(key) and "properties" not in schema:
                return self._first(schema[key], whole, depth)
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            return self._object(schema, whole, depth)
        if kind == "array":
            return self._array(schema, whole, depth)
        make = _SCALARS.get(str(kind))
        return "anything" if make is None else make(schema)

    def _target(self, reference: str) -> Any:
        return self._definitions.get(reference.removeprefix(self._prefix), {})

    def _first(self, choices: list[Any], whole: bool, depth: int) -> Any:
        """The first choice that there is a value of; null last, since it says least."""
        reason: NoSampleError | None = None
        for choice in sorted(choices, key=lambda choice: choice == {"type": "null"}):
            try:
                return self._value(choice, whole, depth + 1)
            except NoSampleError as error:
                reason = error
        assert reason is not None  # there is at least one choice
        raise reason

    def _object(self, schema: Json, whole: bool, depth: int) -> dict[str, Any]:
        properties: dict[str, Any] = dict(schema.get("properties", {}))
        required = set(schema.get("required", ()))
        # What a reply need not hold and has no default is there only sometimes.
        sure = {*required, *(name for name, inner in properties.items() if _has(inner, whole))}
        wanted = [name for name in properties if name in sure]
        if not wanted and depth == 0:
            wanted = [name for name in properties if name != "metadata"][:1]
        made: dict[str, Any] = {}
        for name in wanted:
            try:
                made[name] = self._value(properties[name], whole, depth + 1)
            except NoSampleError:
                if name in required:
                    raise
        missing = schema.get("minProperties", 0) - len(made)
        if missing > 0 and "propertyNames" in schema:
            raise NoSampleError("its keys have a type of their own")
        item = schema.get("additionalProperties")
        made.update({f"key{n}": self._value(item, whole, depth + 1) for n in range(1, missing + 1)})
        return made

    def _array(self, schema: Json, whole: bool, depth: int) -> list[Any]:
        made = [self._value(item, whole, depth + 1) for item in schema.get("prefixItems", ())]
        shortest = schema.get("minItems", 0)
        if "items" in schema and not made:
            # One shows what an item looks like, where there may be one and it can be made.
            try:
                made = [self._value(schema["items"], whole, depth + 1)]
            except NoSampleError:
                if shortest:
                    raise
            made = made[: schema.get("maxItems", 1)]
        if len(made) < shortest:
            if schema.get("uniqueItems"):
                raise NoSampleError("its items have to differ")
            item = made[-1] if made else "anything"
            made += [item] * (shortest - len(made))
        return made


def _has(schema: Any, whole: bool) -> bool:
    """Whether a property that is not required is worth a value."""
    return isinstance(schema, Mapping) and bool(schema.get("examples") or (whole and "default" in schema))


def _integer(schema: Json) -> int:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    low = max(low, schema.get("exclusiveMinimum", -math.inf) + 1)
    high = min(high, schema.get("exclusiveMaximum", math.inf) - 1)
    step = schema.get("multipleOf", 1)
    value = 0 if low <= 0 <= high else low if low > 0 else high
    value = math.ceil(value / step) * step if value > 0 else math.floor(value / step) * step
    if not low <= value <= high:
        raise NoSampleError("no whole number is within its limits")
    return int(value)


def _number(schema: Json) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
    open_low, open_high = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
    if "multipleOf" in schema:
        return float(_integer(schema))
    if low < 0.5 < high:
        return 0.5
    if low < high < math.inf and low > -math.inf:
        return float((low + high) / 2)
    value = low + open_low if low > -math.inf else high - open_high
    if math.isinf(value) or low > high:
        raise NoSampleError("no number is within its limits")
    return float(value)


def _string(schema: Json) -> str:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    known = _TEXTS.get(schema.get("format", ""))
    texts = _CANDIDATES if known is None else (known, *_CANDIDATES)
    padded = [text.ljust(shortest, "x") for text in texts]
    short = [text[: int(longest)] for text in texts] if longest < math.inf else []
    pattern = schema.get("pattern")
    for text in (*padded, *short):
        if shortest <= len(text) <= longest and (pattern is None or _matches(pattern, text)):
            return text
    raise NoSampleError("no common text fits its pattern")


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


_SCALARS: dict[str, Callable[[Json], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda schema: False,
    "null": lambda schema: None,
}
