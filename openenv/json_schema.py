"""Kinds to JSON Schema: how a peer is told what a type accepts.

In: a tree of ``validation`` kinds. Out: one JSON Schema object of plain JSON values, draft 2020-12,
with the classes that it mentions under ``$defs``. Titles, descriptions, defaults and limits stand
where existing clients look for them. This module knows nothing about checking values.

Reference: JSON Schema draft 2020-12, core and validation.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from enum import Enum
from typing import Any

from openenv.compound import (
    CheckedKind,
    DictKind,
    FixedTupleKind,
    ListKind,
    OptionalKind,
    TaggedKind,
    UnionKind,
)
from openenv.kinds import MISSING, FieldSpec, ForeignKind, NamedTupleKind, RecordKind
from openenv.temporal import DateKind, DatetimeKind, TimedeltaKind, TimeKind
from openenv.validation import (
    AnyKind,
    BoolKind,
    Bounds,
    BytesKind,
    DecimalKind,
    EnumKind,
    FloatKind,
    InstanceKind,
    IntKind,
    Kind,
    Lengths,
    LiteralKind,
    NoneKind,
    PathKind,
    StrKind,
    UUIDKind,
)

__all__ = ["describe"]

Json = dict[str, Any]
_DEFS = "#/$defs/"


def describe(kind: Kind, to_json: Callable[[Any], Any]) -> Json:
    """The JSON Schema of what a kind accepts.

    Args:
        kind: Any kind.
        to_json: Gives the JSON value of a default; raises TypeError where there is none.
    """
    writer = _Writer(to_json)
    schema = writer.write(kind)
    reference = schema.get("$ref", "")
    if len(schema) == 1 and reference.startswith(_DEFS):
        name = reference.removeprefix(_DEFS)
        # A class that nothing else refers to stands at the top itself.
        if writer.references[name] == 1:
            schema = writer.definitions.pop(name)
    if writer.definitions:
        schema = {"$defs": dict(sorted(writer.definitions.items())), **schema}
    return schema


class _Writer:
    """Collects the definitions of one schema while it is written."""

    def __init__(self, to_json: Callable[[Any], Any]) -> None:
        self.to_json = to_json
        self.definitions: dict[str, Json] = {}
        self.references: dict[str, int] = {}
        self._names: dict[Any, str] = {}

    def write(self, kind: Kind) -> Json:
        """The schema of one kind, with references for classes."""
        return _WRITERS[type(kind)](self, kind)

    def refer(self, key: Any, name: str, make: Callable[[], Json]) -> Json:
        """A reference to a definition, which is made the first time."""
        if key not in self._names:
            unique = name = _clean(name)
            n = 1
            while unique in self.definitions:
                n += 1
                unique = f"{name}_{n}"
            self._names[key] = unique
            self.definitions[unique] = {}
            self.references[unique] = 0
            self.definitions[unique] = make()
        name = self._names[key]
        self.references[name] += 1
        return {"$ref": _DEFS + name}

    def record(self, kind: RecordKind) -> Json:
        """The definition of a class with named fields."""
        properties = {spec.name: self.field(spec) for spec in kind.fields}
        schema: Json = {"properties": properties, "title": kind.label, "type": "object"}
        required = [spec.name for spec in kind.fields if spec.required]
        if required:
            schema["required"] = required
        if kind.is_model and kind.extra != "ignore":
            schema["additionalProperties"] = kind.extra == "allow"
        description = _documentation(kind.cls)
        if description:
            schema["description"] = description
        return schema

    def field(self, spec: FieldSpec) -> Json:
        """One property: what it accepts and what its author said about it."""
        schema = dict(self.write(spec.kind))
        title = spec.info.get("title")
        if title is None and not _is_reference(schema):
            title = spec.name.replace("_", " ").title()
        if title is not None:
            schema["title"] = title
        for key in ("description", "examples"):
            if key in spec.info:
                schema[key] = spec.info[key]
        if spec.shown is not MISSING:
            with contextlib.suppress(TypeError):
                schema["default"] = self.to_json(spec.shown)
        return schema


def _is_reference(schema: Json) -> bool:
    """Whether it is a class, or a class or null: those have a title of their own."""
    present = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    return "$ref" in schema or (len(present) == 1 and "$ref" in present[0])


def _clean(name: str) -> str:
    """A name that may stand in a reference."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).strip("_") or "Type"


def _documentation(cls: type) -> str | None:
    """The docstring, where the author wrote one; dataclasses write a signature there."""
    said = cls.__dict__.get("__description__")
    if said is not None:
        return str(said)
    text = cls.__dict__.get("__doc__")
    if not isinstance(text, str) or not text:
        return None
    if dataclasses.is_dataclass(cls) and text.startswith(f"{cls.__name__}("):
        return None
    return _dedent(text)


def _dedent(text: str) -> str:
    """The text without the indentation of the code around it."""
    lines = text.expandtabs().splitlines()
    margins = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    margin = min(margins, default=0)
    return "\n".join([lines[0].lstrip()] + [line[margin:].rstrip() for line in lines[1:]]).strip()


def _bounds(bounds: Bounds) -> Json:
    pairs = (
        ("minimum", bounds.ge),
        ("exclusiveMinimum", bounds.gt),
        ("maximum", bounds.le),
        ("exclusiveMaximum", bounds.lt),
    )
    return {key: limit for key, limit in pairs if isinstance(limit, int | float)}


def _lengths(lengths: Lengths, noun: str) -> Json:
    pairs = ((f"min{noun}", lengths.shortest), (f"max{noun}", lengths.longest))
    return {key: limit for key, limit in pairs if limit is not None}


def _write_int(writer: _Writer, kind: IntKind) -> Json:
    return {"type": "integer", **_bounds(kind.bounds)}


def _write_float(writer: _Writer, kind: FloatKind) -> Json:
    return {"type": "number", **_bounds(kind.bounds)}


def _write_str(writer: _Writer, kind: StrKind) -> Json:
    pattern = {} if kind.pattern is None else {"pattern": kind.pattern}
    return {"type": "string", **_lengths(kind.lengths, "Length"), **pattern}


def _write_decimal(writer: _Writer, kind: DecimalKind) -> Json:
    return {"anyOf": [{"type": "number", **_bounds(kind.bounds)}, {"type": "string"}]}


def _write_bytes(writer: _Writer, kind: BytesKind) -> Json:
    return {"type": "string", "contentEncoding": "base64", "format": "base64"}


def _write_literal(writer: _Writer, kind: LiteralKind) -> Json:
    return _values([value.value if isinstance(value, Enum) else value for value in kind.values])


_TYPE_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def _values(values: list[Any]) -> Json:
    schema: Json = {"const": values[0]} if len(values) == 1 else {"enum": values}
    names = {_TYPE_NAMES.get(type(value)) for value in values}
    name = names.pop() if len(names) == 1 else None
    if name is not None:
        schema["type"] = name
    return schema


def _write_enum(writer: _Writer, kind: EnumKind) -> Json:
    def make() -> Json:
        schema = _values([writer.to_json(member.value) for member in kind.cls])
        if "const" in schema:
            schema["enum"] = [schema.pop("const")]
        schema["title"] = kind.cls.__name__
        description = _documentation(kind.cls)
        if description and description != "An enumeration.":
            schema["description"] = description
        return schema

    return writer.refer(kind.cls, kind.cls.__name__, make)


def _write_optional(writer: _Writer, kind: OptionalKind) -> Json:
    inner = writer.write(kind.inner)
    choices = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {"anyOf": [*choices, {"type": "null"}]}


def _write_union(writer: _Writer, kind: UnionKind) -> Json:
    choices: list[Json] = []
    for member in kind.members:
        made = writer.write(member)
        for choice in made["anyOf"] if set(made) == {"anyOf"} else [made]:
            if choice not in choices:
                choices.append(choice)
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _write_tagged(writer: _Writer, kind: TaggedKind) -> Json:
    written = {value: writer.write(member) for value, member in kind.members.items()}
    choices: list[Json] = []
    for made in written.values():
        if made not in choices:
            choices.append(made)
    schema: Json = {"oneOf": choices}
    if all(set(made) == {"$ref"} for made in written.values()):
        mapping = {str(value): made["$ref"] for value, made in written.items()}
        schema["discriminator"] = {"mapping": mapping, "propertyName": kind.tag}
    return schema


def _write_list(writer: _Writer, kind: ListKind) -> Json:
    schema = {"type": "array", "items": writer.write(kind.item), **_lengths(kind.lengths, "Items")}
    if kind.cls is set or kind.cls is frozenset:
        schema["uniqueItems"] = True
    return schema


def _write_tuple(writer: _Writer, kind: FixedTupleKind) -> Json:
    n = len(kind.items)
    schema: Json = {"type": "array", "minItems": n, "maxItems": n}
    if n:
        schema["prefixItems"] = [writer.write(item) for item in kind.items]
    return schema


def _write_dict(writer: _Writer, kind: DictKind) -> Json:
    values = writer.write(kind.item)
    keys = writer.write(kind.key)
    schema: Json = {"type": "object", **_lengths(kind.lengths, "Properties")}
    schema["additionalProperties"] = values or True
    if isinstance(kind.key, StrKind) and kind.key.pattern is not None:
        del schema["additionalProperties"]
        schema["patternProperties"] = {kind.key.pattern: values}
    elif (keys.get("type") == "string" and len(keys) > 1) or "$ref" in keys:
        schema["propertyNames"] = keys
    return schema


def _write_record(writer: _Writer, kind: RecordKind) -> Json:
    return writer.refer((kind.cls, kind.args), kind.label, lambda: writer.record(kind))


def _write_named_tuple(writer: _Writer, kind: NamedTupleKind) -> Json:
    def make() -> Json:
        items = [writer.field(spec) for spec in kind.fields]
        required = sum(1 for spec in kind.fields if spec.required)
        return {"type": "array", "prefixItems": items, "minItems": required, "maxItems": len(items)}

    return writer.refer(kind.cls, kind.label, make)


def _write_foreign(writer: _Writer, kind: ForeignKind) -> Json:
    made = kind.cls.model_json_schema(ref_template=_DEFS + "{model}")  # type: ignore[attr-defined]
    inner = dict(made)
    writer.definitions.update(inner.pop("$defs", {}))
    if set(inner) == {"$ref"}:
        writer.references[inner["$ref"].removeprefix(_DEFS)] = 2
        return inner
    return writer.refer(kind.cls, kind.label, lambda: inner)


def _write_checked(writer: _Writer, kind: CheckedKind) -> Json:
    return {**writer.write(kind.inner), **_bounds(kind.bounds)}


def _write_instance(writer: _Writer, kind: InstanceKind) -> Json:
    return {} if kind.convert is None else {"type": "array"}


def _fixed(schema: Json) -> Callable[[_Writer, Any], Json]:
    return lambda writer, kind: dict(schema)


_WRITERS: dict[type[Kind], Callable[[_Writer, Any], Json]] = {
    AnyKind: _fixed({}),
    NoneKind: _fixed({"type": "null"}),
    BoolKind: _fixed({"type": "boolean"}),
    IntKind: _write_int,
    FloatKind: _write_float,
    StrKind: _write_str,
    DecimalKind: _write_decimal,
    BytesKind: _write_bytes,
    UUIDKind: _fixed({"type": "string", "format": "uuid"}),
    PathKind: _fixed({"type": "string", "format": "path"}),
    DatetimeKind: _fixed({"type": "string", "format": "date-time"}),
    DateKind: _fixed({"type": "string", "format": "date"}),
    TimeKind: _fixed({"type": "string", "format": "time"}),
    TimedeltaKind: _fixed({"type": "string", "format": "duration"}),
    LiteralKind: _write_literal,
    EnumKind: _write_enum,
    OptionalKind: _write_optional,
    UnionKind: _write_union,
    TaggedKind: _write_tagged,
    ListKind: _write_list,
    FixedTupleKind: _write_tuple,
    DictKind: _write_dict,
    RecordKind: _write_record,
    NamedTupleKind: _write_named_tuple,
    ForeignKind: _write_foreign,
    CheckedKind: _write_checked,
    InstanceKind: _write_instance,
}
