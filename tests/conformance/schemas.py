"""JSON Schemas brought into one form, so that two that mean the same compare equal.

In: a JSON Schema (draft 2020-12). Out: the same with references put in place, without titles and
without what only OpenAPI reads. It knows nothing about models.

Limits: recursive definitions are cut at their second appearance.
"""

from __future__ import annotations

import json
from typing import Any

ANNOTATIONS = frozenset({"title", "$schema", "$id", "discriminator"})
UNORDERED = frozenset({"required", "enum"})


def canonical(schema: Any) -> Any:
    """The schema in the form described above."""
    definitions = schema.get("$defs", {}) if isinstance(schema, dict) else {}
    return _canonical(schema, definitions, ())


def _canonical(schema: Any, definitions: dict[str, Any], inside: tuple[str, ...]) -> Any:
    if not isinstance(schema, dict):
        return schema
    merged: dict[str, Any] = {}
    reference = schema.get("$ref")
    if reference is not None:
        name = reference.rpartition("/")[2]
        if name in inside:
            return {"recursive": name}
        merged.update(_canonical(definitions[name], definitions, (*inside, name)))
    for key, value in schema.items():
        if key in ANNOTATIONS or key in ("$ref", "$defs"):
            continue
        if key in ("properties", "patternProperties"):
            merged[key] = {name: _canonical(item, definitions, inside) for name, item in value.items()}
        elif key in ("anyOf", "oneOf"):
            # Tagged unions are disjoint: whether exactly one or any of them must fit is the same.
            merged["anyOf"] = _sorted([_canonical(item, definitions, inside) for item in value])
        elif key in ("allOf", "prefixItems"):
            merged[key] = [_canonical(item, definitions, inside) for item in value]
        elif key in UNORDERED:
            merged[key] = _sorted(value)
        elif key == "const":
            merged["enum"] = [value]
        elif isinstance(value, dict) and key != "default":
            merged[key] = _canonical(value, definitions, inside)
        else:
            merged[key] = value
    if merged.get("additionalProperties") is True:
        del merged["additionalProperties"]
    if merged.get("items") == {}:
        del merged["items"]
    if "enum" in merged:
        # The values say their own type.
        merged.pop("type", None)
    return merged


def _sorted(values: list[Any]) -> list[Any]:
    return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))
