"""The schemas of an OpenAPI document: JSON Schemas that refer into the document, each with a name.

In: schemas with `$defs` of their own. Out: `#/components/schemas`, where two classes of one name have two
names. It knows nothing about routes.

Reference: https://spec.openapis.org/oas/v3.1.0#components-object.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["PREFIX", "Components", "Json", "reference_to", "shown_part", "unique"]

Json = dict[str, Any]

PREFIX = "#/components/schemas/"


def reference_to(name: str) -> Json:
    """A reference to the schema of that name."""
    return {"$ref": PREFIX + name}


_SCHEMA_KEYS = frozenset(
    ("items", "additionalProperties", "propertyNames", "not", "if", "then", "else", "contains")
)
_LIST_KEYS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_MAP_KEYS = frozenset(("properties", "patternProperties", "$defs", "dependentSchemas"))


class Components:
    """Gathers schemas under `#/components/schemas`, where references can find them."""

    def __init__(self) -> None:
        self.schemas: dict[str, Json] = {}
        self._sources: dict[str, Any] = {}

    def reserve(self, names: Iterable[str]) -> None:
        """Keep names for what is added under them; an author's class of that name gets another."""
        self._sources.update(dict.fromkeys(names))

    def add(self, name: str, schema: Json) -> Json:
        """Add a schema with its definitions, and give a reference to it."""
        definitions: dict[str, Any] = schema.get("$defs", {})
        names = self._names(definitions)
        for key, value in definitions.items():
            self._sources[names[key]] = value
            self.schemas[names[key]] = _relocate(value, names)
        self._sources[name] = schema
        self.schemas[name] = _relocate({k: v for k, v in schema.items() if k != "$defs"}, names)
        return reference_to(name)

    def _names(self, definitions: dict[str, Any]) -> dict[str, str]:
        """A name for each definition. Another class of a name that is taken gets one of its own, and so
        does whatever refers to it."""
        changed: set[str] = set()
        for key, value in definitions.items():
            clean = _clean(key)
            if clean != key or (clean in self._sources and self._sources[clean] != value):
                changed.add(key)
        grown = True
        while grown:
            more = {
                key for key in definitions if key not in changed and changed & _references(definitions[key])
            }
            changed |= more
            grown = bool(more)
        taken = {*self._sources, *(key for key in definitions if key not in changed)}
        names = {}
        for key in definitions:
            names[key] = unique(_clean(key), taken) if key in changed else key
            taken.add(names[key])
        return names


def _clean(name: str) -> str:
    """A name as OpenAPI allows it: letters, digits, `.`, `_` and `-` of ASCII."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, with a number behind it if it is taken."""
    unique, n = name, 1
    while unique in taken:
        n += 1
        unique = f"{name}_{n}"
    return unique


def _references(schema: Any) -> set[str]:
    """Names of the definitions that a schema refers to."""
    found: set[str] = set()
    for inner in _inside(schema):
        if isinstance(inner.get("$ref"), str):
            found.add(inner["$ref"].removeprefix("#/$defs/"))
    return found


def _inside(schema: Any) -> Iterator[Json]:
    """A schema and every schema in it. Values (defaults, examples) are not looked into."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        if key in _SCHEMA_KEYS:
            yield from _inside(value)
        elif key in _LIST_KEYS:
            for item in value:
                yield from _inside(item)
        elif key in _MAP_KEYS:
            for item in value.values():
                yield from _inside(item)


def _relocate(schema: Any, names: dict[str, str]) -> Any:
    """A schema whose references point into the document instead of into itself."""
    if not isinstance(schema, dict):
        return schema
    made: Json = {}
    for key, value in schema.items():
        if key == "$ref":
            made[key] = _moved(value, names)
        elif key == "discriminator":
            mapping = {tag: _moved(target, names) for tag, target in value.get("mapping", {}).items()}
            made[key] = {**value, "mapping": mapping}
        elif key in _SCHEMA_KEYS:
            made[key] = _relocate(value, names)
        elif key in _LIST_KEYS:
            made[key] = [_relocate(item, names) for item in value]
        elif key in _MAP_KEYS:
            made[key] = {name: _relocate(item, names) for name, item in value.items()}
        else:
            made[key] = value
    # `seed: int = None` is common, and such a default does not fit the type that it stands beside.
    if made.get("default", 0) is None and made.get("type", "null") != "null":
        del made["default"]
    return made


def _moved(reference: str, names: dict[str, str]) -> str:
    name = reference.removeprefix("#/$defs/")
    return PREFIX + names.get(name, name) if name != reference else reference


def shown_part(schema: Json, cls: Any) -> Json:
    """What of an observation travels as `observation`: all but its reward and done.

    Every field of a dataclass is sent, so all are required. More may come with it: an environment may
    give an object of a subclass.
    """
    definitions = schema.get("$defs", {})
    inner = schema
    if "$ref" in schema:
        inner = definitions[schema["$ref"].removeprefix("#/$defs/")]
    left_out = ("reward", "done")
    made = {key: value for key, value in inner.items() if key not in ("additionalProperties", "$defs")}
    properties = {key: value for key, value in inner.get("properties", {}).items() if key not in left_out}
    required = [key for key in inner.get("required", ()) if key not in left_out]
    if dataclasses.is_dataclass(cls):
        required = list(properties)
    made.pop("required", None)
    if "properties" in made:
        made["properties"] = properties
    if required:
        made["required"] = required
    return {"$defs": definitions, **made} if definitions else made
