"""Whether a JSON value fits a JSON Schema: how replies are held against what a server publishes.

In: a schema (draft 2020-12) and a JSON value. Out: the places where the value does not fit. What our
`schema` and pydantic write is understood; keywords that neither writes are passed over, and `format` is
taken as the remark that the draft says it is. References lead into the same document only.

Reference: JSON Schema draft 2020-12, validation.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from openenv.conformance.finding import shown

__all__ = ["Misfit", "misfits", "resolve"]

Misfit = tuple[str, str, str]
"""(where in the value, what the schema expects there, what there is)."""

_MAX_DEPTH = 64
_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": lambda value: _is_number(value),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_BOUNDS: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("minimum", ">=", operator.ge),
    ("exclusiveMinimum", ">", operator.gt),
    ("maximum", "<=", operator.le),
    ("exclusiveMaximum", "<", operator.lt),
)


def misfits(schema: Any, value: Any) -> list[Misfit]:
    """Where the value does not fit; empty where it does.

    Args:
        schema: The whole document, since references lead into it.
        value: A JSON value.
    """
    return list(_look(schema, value, "", schema, 0))


def resolve(schema: Any, document: Any) -> Any:
    """What a `$ref` at the top of a schema leads to, in the end; the schema itself if it has none."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(schema, Mapping) or not isinstance(schema.get("$ref"), str):
            break
        schema = _follow(schema["$ref"], document)
    return schema


def _follow(reference: str, document: Any) -> Any:
    at = document
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(at, Mapping) or key not in at:
            return True  # leads nowhere: that is the schema's own fault, and told by another check
        at = at[key]
    return at


def _look(schema: Any, value: Any, where: str, document: Any, depth: int) -> Iterator[Misfit]:
    if schema is False:
        yield where, "nothing", shown(value)
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return
    if isinstance(schema.get("$ref"), str):
        yield from _look(_follow(schema["$ref"], document), value, where, document, depth + 1)
    yield from _type_and_values(schema, value, where)
    if _is_number(value):
        yield from _bounds(schema, value, where)
    elif isinstance(value, str):
        yield from _text(schema, value, where)
    elif isinstance(value, list):
        yield from _array(schema, value, where, document, depth)
    elif isinstance(value, dict):
        yield from _object(schema, value, where, document, depth)
    yield from _combinations(schema, value, where, document, depth)


def _type_and_values(schema: Mapping[str, Any], value: Any, where: str) -> Iterator[Misfit]:
    names = schema.get("type")
    if names is not None:
        names = [names] if isinstance(names, str) else list(names)
        if not any(_TYPES[name](value) for name in names if name in _TYPES):
            yield where, " or ".join(names), _with_type(value)
    if "const" in schema and not _same(value, schema["const"]):
        yield where, shown(schema["const"]), shown(value)
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        yield where, f"one of {', '.join(map(shown, schema['enum']))}", shown(value)


def _bounds(schema: Mapping[str, Any], value: float, where: str) -> Iterator[Misfit]:
    for key, sign, fits in _BOUNDS:
        limit = schema.get(key)
        if _is_number(limit) and not fits(value, limit):
            yield where, f"a number {sign} {limit}", shown(value)
    step: Any = schema.get("multipleOf")
    if _is_number(step) and step > 0 and not (value / step).is_integer():
        yield where, f"a multiple of {step}", shown(value)


def _text(schema: Mapping[str, Any], value: str, where: str) -> Iterator[Misfit]:
    yield from _count(schema, "Length", "characters", len(value), where)
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not _matches(pattern, value):
        yield where, f"text that matches {pattern}", shown(value)


def _array(
    schema: Mapping[str, Any], value: list[Any], where: str, document: Any, depth: int
) -> Iterator[Misfit]:
    yield from _count(schema, "Items", "items", len(value), where)
    first = schema.get("prefixItems", [])
    for index, (inner, item) in enumerate(zip(first, value, strict=False)):
        yield from _look(inner, item, f"{where}[{index}]", document, depth + 1)
    if "items" in schema:
        for index in range(len(first), len(value)):
            yield from _look(schema["items"], value[index], f"{where}[{index}]", document, depth + 1)
    if schema.get("uniqueItems") is True:
        seen = {json.dumps(item, sort_keys=True) for item in value}
        if len(seen) != len(value):
            yield where, "items that differ", shown(value)


def _object(
    schema: Mapping[str, Any], value: dict[str, Any], where: str, document: Any, depth: int
) -> Iterator[Misfit]:
    yield from _count(schema, "Properties", "keys", len(value), where)
    for key in schema.get("required", ()):
        if key not in value:
            yield _at(where, key), "a value", "none"
    properties = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    for key, item in value.items():
        place = _at(where, key)
        if "propertyNames" in schema:
            of_key = f"the key {key!r} of {where or 'it'}"
            yield from _look(schema["propertyNames"], key, of_key, document, depth + 1)
        applied = [properties[key]] if key in properties else []
        applied += [inner for pattern, inner in patterns.items() if _matches(pattern, key)]
        if not applied and schema.get("additionalProperties") is False:
            yield place, "no such key", shown(item)
        elif not applied:
            applied = [schema.get("additionalProperties", True)]
        for inner in applied:
            yield from _look(inner, item, place, document, depth + 1)


def _combinations(
    schema: Mapping[str, Any], value: Any, where: str, document: Any, depth: int
) -> Iterator[Misfit]:
    for inner in schema.get("allOf", ()):
        yield from _look(inner, value, where, document, depth + 1)
    for key in ("anyOf", "oneOf"):
        if key not in schema:
            continue
        attempts = [list(_look(inner, value, where, document, depth + 1)) for inner in schema[key]]
        n_fitting = sum(1 for found in attempts if not found)
        if n_fitting == 0:
            yield from _nearest(attempts, where, value)
        elif key == "oneOf" and n_fitting > 1:
            yield where, "exactly one of the alternatives", f"{shown(value)}, which fits {n_fitting}"
    if "not" in schema and not list(_look(schema["not"], value, where, document, depth + 1)):
        yield where, f"anything but {shown(schema['not'])}", shown(value)


def _nearest(attempts: list[list[Misfit]], where: str, value: Any) -> Iterator[Misfit]:
    """Of alternatives that all fail, the one that comes furthest into the value; else all of them."""
    inside = [found for found in attempts if all(place != where for place, _, _ in found)]
    if len(inside) == 1:
        yield from inside[0]
        return
    wanted = dict.fromkeys(expected for found in attempts for place, expected, _ in found if place == where)
    yield where, " or ".join(wanted) or "one of the alternatives", _with_type(value)


def _count(schema: Mapping[str, Any], noun: str, unit: str, n: int, where: str) -> Iterator[Misfit]:
    low: Any = schema.get(f"min{noun}")
    high: Any = schema.get(f"max{noun}")
    if _is_number(low) and n < low:
        yield where, f"at least {low} {unit}", str(n)
    if _is_number(high) and n > high:
        yield where, f"at most {high} {unit}", str(n)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """JSON equality: true is not 1, and 1.0 is 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # not Python's dialect
        return True


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _with_type(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {shown(value)}"
