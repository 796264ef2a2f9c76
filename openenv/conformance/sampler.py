"""Values that fit a JSON Schema: actions to try an environment with.

In: a schema as `openenv.schema` and pydantic write it, and a seed. Out: JSON values that fit, the same for
the same seed, and values that do not fit. They are harmless on purpose: small numbers, short words, an
author's own `examples` and defaults where there are any.

Limits: `not`, `format` beyond dates, times and UUIDs, and checks that only the author's code knows are not
looked at. Reference: JSON Schema draft 2020-12.
"""

from __future__ import annotations

import importlib
import math
import random
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from openenv.conformance.fits import misfits, resolve

__all__ = ["NoSampleError", "Sampler", "misfitting"]

_WORDS = ("hello", "a", "left", "crane", "1", "yes", "north", "wait", "look", "x1")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MAX_DEPTH = 12
# How long to wait or to compute is for the author to try out: here it stays at its least.
_TIME = re.compile(r"(_s|_ms|seconds?|delay|wait|sleep|duration|timeout)$", re.IGNORECASE)
_TRIES = 50
_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05",
    "duration": "PT3S",
    "base64": "aGk=",
    "path": "notes.txt",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "ipv4": "192.0.2.1",
}


class NoSampleError(Exception):
    """No value that fits was found."""


class Sampler:
    """Draws values that fit one schema.

    Args:
        schema: The document.
        seed: Same seed, same values in the same order.
    """

    def __init__(self, schema: Mapping[str, Any], seed: int = 0) -> None:
        self._schema = schema
        self._random = random.Random(seed)

    def sample(self) -> Any:
        """One more value that fits.

        Raises:
            NoSampleError: None was found in a few dozen tries.
        """
        for _ in range(_TRIES):
            value = self._draw(self._schema, 0)
            if not misfits(self._schema, value):
                return value
        raise NoSampleError("no value was found that fits the action's schema")

    def _draw(self, schema: Any, depth: int) -> Any:
        schema = resolve(schema, self._schema)
        if not isinstance(schema, Mapping):
            return self._random.choice(_WORDS)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._random.choice(list(schema["enum"]))
        known = [*schema.get("examples", ()), *([schema["default"]] if "default" in schema else ())]
        if known and self._random.random() < 0.5:
            return self._random.choice(known)
        if "allOf" in schema:
            merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
            for part in schema["allOf"]:
                merged.update(resolve(part, self._schema))
            return self._draw(merged, depth)
        choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        if choices:
            # At the bottom of a type that contains itself, whatever ends it.
            plain = [one for one in choices if isinstance(one, Mapping) and "type" in one]
            return self._draw(self._random.choice(plain if plain and depth > 3 else choices), depth + 1)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = self._random.choice(kind)
        return self._of_type(kind, schema, depth)

    def _of_type(self, kind: Any, schema: Mapping[str, Any], depth: int) -> Any:
        if kind == "integer":
            return self._integer(schema)
        if kind == "number":
            return self._number(schema)
        if kind == "string":
            return self._text(schema)
        if kind == "boolean":
            return self._random.random() < 0.5
        if kind == "array":
            return self._array(schema, depth)
        if kind == "object" or "properties" in schema:
            return self._object(schema, depth)
        return None if kind == "null" else self._random.choice(_WORDS)

    def _integer(self, schema: Mapping[str, Any]) -> int:
        low, high = _whole_bounds(schema)
        if low is None:
            low = 0 if high is None else min(0, high - 9)
        high = low + 9 if high is None else high
        step = schema.get("multipleOf")
        if isinstance(step, int) and step > 0:
            return self._random.randint(-(-low // step), max(high // step, -(-low // step))) * step
        return self._random.randint(low, max(low, high))

    def _number(self, schema: Mapping[str, Any]) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = 0.0 if high is None else min(0.0, high - 1.0)
        high = low + 1.0 if high is None else high
        return float(low + (high - low) * self._random.choice((0.5, 0.25, self._random.random(), 0.75)))

    def _text(self, schema: Mapping[str, Any]) -> str:
        if schema.get("format") == "uuid":
            return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if "pattern" in schema:
            return _matching(schema["pattern"], self._random)
        low, high = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        fitting = [word for word in _WORDS if low <= len(word) <= high]
        if fitting:
            return self._random.choice(fitting)
        n = int(min(max(low, 1), high))
        return "".join(self._random.choice(_LETTERS) for _ in range(n))

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = [self._draw(inner, depth + 1) for inner in schema.get("prefixItems", ())]
        low = schema.get("minItems", 0)
        high = schema.get("maxItems", max(low, 2))
        if "items" not in schema or depth > _MAX_DEPTH:
            return first[: max(int(high), 0)]
        n = self._random.randint(int(low), int(max(low, min(high, low + 2))))
        items = first + [self._draw(schema["items"], depth + 1) for _ in range(n - len(first))]
        if schema.get("uniqueItems"):
            items = [item for index, item in enumerate(items) if item not in items[:index]]
        return items

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = set(schema.get("required", ()))
        drawn = {}
        for name, inner in properties.items():
            is_time = _TIME.search(name) is not None
            # Action.metadata is for whoever sends along what no environment looks at.
            wanted = name != "metadata" and depth <= _MAX_DEPTH and self._random.random() < 0.7
            if name in required or (wanted and not is_time):
                drawn[name] = self._least(inner) if is_time else self._draw(inner, depth + 1)
        extra = schema.get("additionalProperties")
        for index in range(int(schema.get("minProperties", 0)) - len(drawn)):
            name = self._draw(schema.get("propertyNames", True), depth + 1)
            drawn[name if isinstance(name, str) else f"key{index}"] = self._draw(extra, depth + 1)
        return drawn

    def _least(self, schema: Any) -> Any:
        inner = resolve(schema, self._schema)
        if isinstance(inner, Mapping) and isinstance(inner.get("minimum"), int | float):
            return inner["minimum"]
        return self._draw(schema, 1)


def misfitting(schema: Mapping[str, Any], valid: Any) -> Iterator[tuple[str, Any]]:
    """Values that do not fit, each with what is wrong with it, made of one that does."""
    top = resolve(schema, schema)
    candidates: list[tuple[str, Any]] = []
    if isinstance(valid, dict):
        for name in top.get("required", ()) if isinstance(top, Mapping) else ():
            candidates.append((f"without {name!r}", {k: v for k, v in valid.items() if k != name}))
        properties = top.get("properties", {}) if isinstance(top, Mapping) else {}
        for name in properties:
            for wrong in ({"no": ["such", "value"]}, [[["no such value"]]]):
                candidates.append((f"with {wrong!r} as {name!r}", {**valid, name: wrong}))
        candidates.append(("with a key that is no field", {**valid, "no_such_field": 1}))
    candidates.append(("that is a list", ["no such action"]))
    for what, value in candidates:
        if misfits(schema, value):
            yield what, value


def _whole_bounds(schema: Mapping[str, Any]) -> tuple[int | None, int | None]:
    lows = [math.ceil(schema["minimum"])] if "minimum" in schema else []
    lows += [math.floor(schema["exclusiveMinimum"]) + 1] if "exclusiveMinimum" in schema else []
    highs = [math.floor(schema["maximum"])] if "maximum" in schema else []
    highs += [math.ceil(schema["exclusiveMaximum"]) - 1] if "exclusiveMaximum" in schema else []
    return max(lows, default=None), min(highs, default=None)


# -- text that matches a pattern ------------------------------------------------------------

_MAX_REPEATS = 8


def _matching(pattern: str, chance: random.Random) -> str:
    """A text that should match; whoever draws it looks whether it does."""
    # Python's own parser of patterns: undocumented, and the only thing that reads what `re` reads.
    parser = importlib.import_module("re._parser")
    try:
        tree = parser.parse(pattern)
    except re.error as error:
        raise NoSampleError(f"the pattern {pattern!r} cannot be read: {error}") from error
    return _write(tree, chance, {})


def _write(tree: Any, chance: random.Random, groups: dict[int, str]) -> str:
    return "".join(_WRITE.get(str(op), _write_nothing)(value, chance, groups) for op, value in tree)


def _write_nothing(value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    return ""


def _write_literal(value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    return chr(value)


def _write_any(value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    return chance.choice(_LETTERS)


def _write_class(value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    members = list(value)
    if str(members[0][0]) == "NEGATE":
        refused = {char for member in members[1:] for char in _members(member)}
        allowed = [char for char in _LETTERS + "0123456789 _-" if char not in refused]
        return chance.choice(allowed) if allowed else "~"
    return chance.choice(_members(chance.choice(members)))


def _members(member: Any) -> list[str]:
    op, value = str(member[0]), member[1]
    if op == "RANGE":
        return [chr(code) for code in range(value[0], min(value[1], value[0] + 255) + 1)]
    if op == "CATEGORY":
        return list(_CATEGORIES.get(str(value), _LETTERS))
    return [chr(value)]


_CATEGORIES = {
    "CATEGORY_DIGIT": "0123456789",
    "CATEGORY_SPACE": " ",
    "CATEGORY_WORD": _LETTERS + "0123456789_",
    "CATEGORY_NOT_DIGIT": _LETTERS,
    "CATEGORY_NOT_SPACE": _LETTERS,
    "CATEGORY_NOT_WORD": " -",
}


def _write_not_literal(value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    return chance.choice([char for char in _LETTERS if ord(char) != value])


def _write_branch(value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    return _write(chance.choice(value[1]), chance, groups)


def _write_group(value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    text = _write(value[-1], chance, groups)
    if value[0] is not None:
        groups[value[0]] = text
    return text


def _write_again(value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    return groups.get(value, "")


def _write_repeat(value: Any, chance: random.Random, groups: dict[int, str]) -> str:
    low, high, inner = value
    n = chance.randint(int(low), min(int(high), int(low) + _MAX_REPEATS))
    return "".join(_write(inner, chance, groups) for _ in range(n))


_WRITE = {
    "LITERAL": _write_literal,
    "NOT_LITERAL": _write_not_literal,
    "ANY": _write_any,
    "IN": _write_class,
    "BRANCH": _write_branch,
    "SUBPATTERN": _write_group,
    "GROUPREF": _write_again,
    "MAX_REPEAT": _write_repeat,
    "MIN_REPEAT": _write_repeat,
    "POSSESSIVE_REPEAT": _write_repeat,
}
