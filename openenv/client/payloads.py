"""Typed objects to payloads and back, for clients that declare their types and nothing else.

In: the three type parameters of a client class. Out: functions that dump an action and load an
observation or a state. A peer may know more, or fewer, fields than the client's classes do: what the
class lacks is left away, what the reply lacks keeps its default.

Knows nothing about messages. Reference: ``wire.md`` sections 2 and 7.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ForwardRef, TypeVar, get_args, get_origin

from openenv.client.plain import plain_dump_of
from openenv.errors import SchemaError
from openenv.schema import schema_of

__all__ = ["dump_action", "loader_of", "type_arguments"]

Dumper = Callable[[Any], Any]
Loader = Callable[[dict[str, Any]], Any]

_dumpers: dict[type, Dumper] = {}
_loaders: dict[Any, Loader] = {}


def type_arguments(cls: type, base: type) -> tuple[Any, ...]:
    """The arguments that ``cls`` and its bases gave to the generic class ``base``.

    Type variables that nobody gave an argument, and names that cannot be found, are `Any`.
    """
    given = _arguments_of(cls, base)
    return tuple(_resolve(argument, owner) for argument, owner in given)


def _arguments_of(cls: type, base: type) -> list[tuple[Any, type]]:
    for parent in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(parent)
        if origin is None or not (isinstance(origin, type) and issubclass(origin, base)):
            continue
        arguments = [(argument, cls) for argument in get_args(parent)]
        if origin is base:
            return arguments
        # A generic class between: its parameters stand for what was just given.
        given = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
        return [given.get(argument, (argument, owner)) for argument, owner in _arguments_of(origin, base)]
    for parent in cls.__bases__:
        if issubclass(parent, base) and parent is not base:
            return _arguments_of(parent, base)
    return []


def _resolve(argument: Any, owner: type) -> Any:
    if isinstance(argument, TypeVar):
        return Any
    if isinstance(argument, ForwardRef | str):
        name = argument.__forward_arg__ if isinstance(argument, ForwardRef) else argument
        found: Any = sys.modules.get(owner.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        return Any if found is None else found
    return argument


def dump_action(action: Any) -> Any:
    """The JSON-able fields of an action: a dict as it is, an object field by field."""
    kind = type(action)
    dump = _dumpers.get(kind)
    if dump is None:
        dump = _dumpers[kind] = _make_dumper(kind)
    return dump(action)


def _make_dumper(kind: type) -> Dumper:
    if issubclass(kind, dict):
        return _same
    if issubclass(kind, Mapping):
        return dict
    if not (is_dataclass(kind) or hasattr(kind, "model_dump") or hasattr(kind, "__annotations__")):
        return vars if hasattr(kind, "__dict__") else dict
    dump: Dumper = schema_of(kind).dump
    if not _has_optional_metadata(kind):
        return dump

    def dump_without_empty_metadata(action: Any) -> Any:
        # Servers whose action class is not derived from Action do not know the field.
        payload = dump(action)
        if not payload.get("metadata", True):
            del payload["metadata"]
        return payload

    return plain_dump_of(kind, dump_without_empty_metadata)


def _same(value: Any) -> Any:
    return value


def _has_optional_metadata(kind: type) -> bool:
    if is_dataclass(kind):
        return any(f.name == "metadata" and (f.default_factory is dict or f.init) for f in fields(kind))
    field = getattr(kind, "model_fields", {}).get("metadata")
    return field is not None and not field.is_required()


def loader_of(cls: Any) -> Loader | None:
    """What makes an object of ``cls`` of a reply's fields; None where dicts are wanted."""
    if cls is Any or cls is dict or get_origin(cls) is dict or cls is object:
        return None
    if isinstance(cls, type) and issubclass(cls, Mapping):
        return None
    loader = _loaders.get(cls)
    if loader is None:
        loader = _loaders[cls] = _make_loader(cls)
    return loader


def _make_loader(cls: Any) -> Loader:
    schema = schema_of(cls)
    names = _field_names(cls)
    name = getattr(cls, "__name__", str(cls))

    def load_known(values: dict[str, Any]) -> Any:
        try:
            # Looked up each time: the first call replaces it by what it compiles.
            return schema.load(values)
        except SchemaError as error:
            known = {key: value for key, value in values.items() if names is None or key in names}
            if len(known) == len(values):
                raise SchemaError(error.errors, f"the server's reply does not fit {name}") from error
        try:
            return schema.load(known)
        except SchemaError as error:
            raise SchemaError(error.errors, f"the server's reply does not fit {name}") from error

    return load_known


def _field_names(cls: Any) -> frozenset[str] | None:
    """The fields that a class declares, by the names that they have on the wire."""
    if is_dataclass(cls):
        return frozenset(f.name for f in fields(cls))
    declared = getattr(cls, "model_fields", None)
    if isinstance(declared, Mapping):
        aliases = {getattr(field, "alias", None) for field in declared.values()}
        return frozenset(declared) | frozenset(alias for alias in aliases if isinstance(alias, str))
    return None
