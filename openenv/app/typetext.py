"""JSON Schemas in words and tables, as HTML.

In: a schema of an OpenAPI document. Out: `Markup`: what a value may be, in a line (`type_text`) or as a
table of fields (`schema_table`). References become links to `#schema-NAME`. It knows nothing about where
that is on a page.

Reference: JSON Schema draft 2020-12.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from openenv.app.markup import Markup, join, prose, tag

__all__ = ["schema_id", "schema_table", "show_json", "type_text"]

Json = Mapping[str, Any]
_MAX_NESTING = 6


def schema_id(reference: str) -> str:
    """The id of the place that describes a schema: of `#/components/schemas/Action`, `schema-Action`."""
    return f"schema-{reference.rpartition('/')[2]}"


def show_json(value: Any, indent: int | None = 2) -> str:
    """A value as JSON for people to read."""
    return json.dumps(value, indent=indent, ensure_ascii=False)


def type_text(schema: Any) -> Markup:
    """What a value may be, in a line: `array of integer 0 … 9, 3 items`."""
    if not isinstance(schema, Mapping):
        return Markup("anything" if schema is not False else "nothing")
    if "$ref" in schema:
        reference = str(schema["$ref"])
        return tag("a", reference.rpartition("/")[2], href=f"#{schema_id(reference)}")
    if "const" in schema:
        return tag("code", show_json(schema["const"], None))
    if "enum" in schema:
        values = [tag("code", show_json(value, None)) for value in schema["enum"]]
        return _listed(values)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema and "properties" not in schema:
            joined = _listed([type_text(choice) for choice in schema[key]], "and" if key == "allOf" else "or")
            return join([joined, _discriminator(schema), *_limits(schema)])
    kinds = schema.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    return join([_listed([_kind_text(name, schema) for name in names]), *_limits(schema)])


def _listed(parts: list[Markup], word: str = "or") -> Markup:
    """a, b or c."""
    if len(parts) < 2:
        return parts[0] if parts else Markup("nothing")
    head: list[str] = []
    for part in parts[:-1]:
        head += [", ", part] if head else [part]
    return join([*head, f" {word} ", parts[-1]])


def _discriminator(schema: Json) -> Markup | None:
    name = schema.get("discriminator", {}).get("propertyName")
    return None if name is None else join([", told apart by ", tag("code", name)])


def _kind_text(kind: Any, schema: Json) -> Markup:
    if kind == "array":
        if "prefixItems" in schema:
            return join(["array [", _comma([type_text(item) for item in schema["prefixItems"]]), "]"])
        if schema.get("items"):
            return join(["array of ", type_text(schema["items"])])
        return Markup("array")
    if kind == "object":
        item = schema.get("additionalProperties")
        if isinstance(item, Mapping) and item and "properties" not in schema:
            return join(["object of ", type_text(item)])
        return Markup("object")
    if kind is None:
        return Markup("object" if "properties" in schema else "anything")
    form = schema.get("format") or schema.get("contentEncoding")
    return join([str(kind), f" ({form})" if form and kind == "string" else None])


def _comma(parts: list[Markup]) -> Markup:
    made: list[str] = []
    for part in parts:
        made += [", ", part] if made else [part]
    return join(made)


def _limits(schema: Json) -> Iterator[str]:
    """What else is asked of the value."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f" {low:g} … {high:g}"
    else:
        yield from (f" {sign} {bound:g}" for sign, bound in (("≥", low), ("≤", high)) if bound is not None)
    for sign, key in ((">", "exclusiveMinimum"), ("<", "exclusiveMaximum")):
        if key in schema:
            yield f" {sign} {schema[key]:g}"
    if "multipleOf" in schema:
        yield f", a multiple of {schema['multipleOf']:g}"
    is_pair = "prefixItems" in schema and schema.get("minItems") == schema.get("maxItems")
    for noun, unit in (("Length", "characters"), ("Items", "items"), ("Properties", "keys")):
        if noun == "Items" and is_pair:
            continue
        yield from _counted(schema.get(f"min{noun}"), schema.get(f"max{noun}"), unit)
    if schema.get("uniqueItems"):
        yield ", all different"
    if "pattern" in schema:
        yield join([" matching ", tag("code", schema["pattern"])])


def _counted(low: int | None, high: int | None, unit: str) -> Iterator[str]:
    if low is not None and low == high:
        yield f", {low} {unit}"
    elif low is not None and high is not None:
        yield f", {low} … {high} {unit}"
    elif low is not None:
        yield f", at least {low} {unit}"
    elif high is not None:
        yield f", at most {high} {unit}"


def schema_table(schema: Any, resolve: Any, received: bool = False) -> Markup:
    """The fields of an object, nested ones too, as a table; of anything else its type in a line.

    Args:
        schema: What to show. A reference is followed, once.
        resolve: Gives the schema of a reference.
        received: Whether it is about what a reader gets. To one who sends, what matters is which fields
            are required; to one who receives, which are not always there.
    """
    target = resolve(schema["$ref"]) if isinstance(schema, Mapping) and "$ref" in schema else schema
    rows = list(_rows(target, "", resolve, received, 0))
    said = target.get("description") if isinstance(target, Mapping) else None
    intro = tag("p", prose(said), class_="said") if said else None
    if not rows:
        return join([intro, tag("p", "Type: ", type_text(target))])
    head = tag("tr", *(tag("th", name, scope="col") for name in ("Field", "Type", "Meaning")))
    extra = _extra_keys(target)
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="fields")
    return join([intro, table, tag("p", extra, class_="note") if extra else None])


def _extra_keys(schema: Json) -> str | None:
    allowed = schema.get("additionalProperties")
    if allowed is False:
        return "Other keys are refused."
    return "Other keys are allowed." if allowed is True else None


def _rows(schema: Any, prefix: str, resolve: Any, received: bool, nesting: int) -> Iterator[Markup]:
    """A row for each property and for those inside it; one reference is followed on the way, no more."""
    if not isinstance(schema, Mapping) or nesting > _MAX_NESTING:
        return
    required = set(schema.get("required", ()))
    for name, inner in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        is_required = name in required
        word = "not always" if received and required and not is_required else None
        yield _row(path, inner, "required" if is_required and not received else word)
        if not isinstance(inner, Mapping):
            continue
        if resolve is not None and "$ref" in inner:
            yield from _rows(resolve(inner["$ref"]), f"{path}.", None, received, nesting + 1)
        yield from _rows(inner, f"{path}.", resolve, received, nesting + 1)
        yield from _rows(inner.get("items"), f"{path}[].", resolve, received, nesting + 1)


def _row(path: str, schema: Any, presence: str | None) -> Markup:
    schema = schema if isinstance(schema, Mapping) else {}
    meaning: list[Markup | None] = []
    if schema.get("description"):
        meaning.append(tag("p", prose(str(schema["description"]))))
    if "default" in schema:
        meaning.append(_aside("default", schema["default"]))
    meaning += [_aside("example", value) for value in schema.get("examples", ())[:3]]
    return tag(
        "tr",
        tag(
            "th",
            tag("code", path),
            tag("span", presence, class_="required") if presence else None,
            scope="row",
        ),
        tag("td", type_text(schema)),
        tag("td", *meaning),
    )


def _aside(word: str, value: Any) -> Markup:
    return tag("p", f"{word} ", tag("code", show_json(value, None)), class_="note")
