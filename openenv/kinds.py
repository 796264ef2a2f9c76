"""Type expressions to kinds: what an annotation means, and which fields a class has.

In: a class or any type expression. Out: a tree of ``validation`` kinds. Classes are read once, when
their first value comes, so that a class may name itself or one that is declared later. This module
knows nothing about JSON Schema, bytes or messages, and imports neither pydantic nor numpy: models
and arrays are recognised by shape.

Limits: a name in an annotation must be found in the class's module, or in the function that the
class was made in when it was made.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from pathlib import PurePath
from typing import Any, Literal, TypeVar
from uuid import UUID

from openenv.compound import (
    CheckedKind,
    DictKind,
    FixedTupleKind,
    ListKind,
    OptionalKind,
    TaggedKind,
    UnionKind,
)
from openenv.errors import MAX_FAULTS
from openenv.models import DEFAULT_KEY, INFO_KEY, Model
from openenv.temporal import DateKind, DatetimeKind, TimedeltaKind, TimeKind
from openenv.validation import (
    LAX,
    AnyKind,
    BoolKind,
    Bounds,
    BytesKind,
    DecimalKind,
    EnumKind,
    Fault,
    FloatKind,
    InstanceKind,
    IntKind,
    Kind,
    Lengths,
    Line,
    LiteralKind,
    NoneKind,
    PathKind,
    Run,
    StrKind,
    UUIDKind,
    fault,
    place_of,
    too_long,
)

__all__ = [
    "FieldSpec",
    "ForeignKind",
    "NamedTupleKind",
    "RecordKind",
    "fault_of",
    "hints_of",
    "kind_of",
    "parameters_by_class",
]

MISSING: Any = dataclasses.MISSING


def is_typed_dict(cls: Any) -> bool:
    """Whether it is a TypedDict, of ``typing`` or of its backport, which ``typing`` does not know."""
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__required_keys__")


Info = dict[str, Any]
_INFO_KEYS = (
    "title",
    "description",
    "examples",
    "ge",
    "gt",
    "le",
    "lt",
    "min_length",
    "max_length",
    "pattern",
)


class FieldSpec:
    """One field of a record.

    Attributes:
        name: Its key in JSON and its attribute.
        kind: What it accepts.
        info: What its author said about it: title, description, examples.
        default: Its default, or MISSING; `factory` makes one, or is None.
        shown: The default that a schema shows, or MISSING.
    """

    __slots__ = ("default", "factory", "info", "kind", "name", "required", "shown")

    def __init__(
        self,
        name: str,
        kind: Kind,
        info: Info,
        default: Any = MISSING,
        factory: Callable[[], Any] | None = None,
        shown: Any = MISSING,
        required: bool | None = None,
    ) -> None:
        self.name, self.kind, self.info = name, kind, info
        self.default, self.factory = default, factory
        self.shown = default if shown is MISSING else shown
        self.required = default is MISSING and factory is None if required is None else required


class RecordKind(Kind):
    """A class with named fields: a Model, a dataclass or a TypedDict.

    Args:
        cls: The class.
        args: What its type parameters stand for, in order.
    """

    def __init__(self, cls: type, args: tuple[Any, ...] = ()) -> None:
        self.cls, self.args = cls, args
        self.is_model = issubclass(cls, Model) if not is_typed_dict(cls) else False
        self.is_dict = is_typed_dict(cls)
        self.label = _class_name(cls, args)
        self.extra: str = cls.__extra__ if self.is_model else "ignore"  # type: ignore[attr-defined]
        self._fields: tuple[FieldSpec, ...] | None = None
        self._names: frozenset[str] = frozenset()

    @property
    def fields(self) -> tuple[FieldSpec, ...]:
        """The fields that a value may give, base class first, then as declared."""
        if self._fields is None:
            fields = tuple(_fields_of(self.cls, self.args))
            self._names = frozenset(spec.name for spec in fields)
            self._fields = fields
        return self._fields

    def check(self, value: Any, run: Run) -> Any:
        if not self.is_dict:
            if isinstance(value, self.cls):
                return value
            run.floor(LAX)
        if not isinstance(value, Mapping):
            raise self._wrong_type(value)
        lines: list[Line] = []
        values: dict[str, Any] = {}
        for spec in self.fields:
            try:
                self._take(spec, value, values, run)
            except Fault as error:
                lines += error.at(spec.name)
        n_given = sum(1 for spec in self.fields if spec.name in value)
        n_given += self._take_extras(value, values, lines)
        run.count(n_given)
        if lines:
            raise Fault(lines)
        return values if self.is_dict else self.build(values, value)

    def _take(self, spec: FieldSpec, value: Mapping[str, Any], values: dict[str, Any], run: Run) -> None:
        if spec.name in value:
            values[spec.name] = spec.kind.check(value[spec.name], run)
        elif spec.required:
            raise fault("missing", "Field required", value)
        elif self.is_dict:
            pass
        else:
            values[spec.name] = spec.default if spec.factory is None else spec.factory()

    def _take_extras(self, value: Mapping[Any, Any], values: dict[str, Any], lines: list[Line]) -> int:
        """Deal with keys that are no field; give how many were kept."""
        if self.extra == "ignore" and self.is_model:
            return 0
        kept = 0
        for key, item in value.items():
            if key in self._names:
                continue
            if len(lines) > MAX_FAULTS:
                break
            if not isinstance(key, str):
                lines += fault("invalid_key", "Keys should be strings", item).at(place_of(key))
            elif self.extra == "forbid":
                lines += fault("extra_forbidden", "Extra inputs are not permitted", item).at(key)
            elif self.extra == "allow":
                values[key] = item
                kept += 1
        return kept

    def build(self, values: dict[str, Any], given: Any) -> Any:
        """Make the object; what its own code objects to becomes a fault at the object itself."""
        try:
            return self.cls(**values)
        except (ValueError, AssertionError) as error:
            raise fault_of(error, given) from error

    def _wrong_type(self, value: Any) -> Fault:
        name = self.label
        if self.is_dict:
            return fault("dict_type", "Input should be a valid dictionary", value)
        if self.is_model:
            msg = f"Input should be a valid dictionary or instance of {name}"
            return fault("model_type", msg, value, class_name=name)
        msg = f"Input should be a dictionary or an instance of {name}"
        return fault("dataclass_type", msg, value, class_name=name)


def fault_of(error: Exception, given: Any) -> Fault:
    """What an author's own check said about a value."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        return Fault(_foreign_lines(error))
    if isinstance(error, AssertionError):
        return fault("assertion_error", f"Assertion failed, {error}", given, error=str(error))
    return fault("value_error", f"Value error, {error}", given, error=str(error))


class NamedTupleKind(Kind):
    """A named tuple, given as a list or as an object."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.label = cls.__name__
        self._fields: tuple[FieldSpec, ...] | None = None

    @property
    def fields(self) -> tuple[FieldSpec, ...]:
        """The positions, in order."""
        if self._fields is None:
            hints = hints_of(self.cls)
            defaults = self.cls._field_defaults  # type: ignore[attr-defined]
            self._fields = tuple(
                _spec(name, hints.get(name, Any), {}, defaults.get(name, MISSING))
                for name in self.cls._fields  # type: ignore[attr-defined]
            )
        return self._fields

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, self.cls):
            return value
        run.floor(LAX)
        if isinstance(value, Mapping):
            given = dict(value)
            places: list[Any] = [spec.name for spec in self.fields]
        elif isinstance(value, list | tuple):
            given = dict(enumerate(value))
            places = list(range(len(self.fields)))
        else:
            msg = f"Input should be a tuple, list, dictionary or an instance of {self.label}"
            raise fault("named_tuple_type", msg, value, class_name=self.label)
        return self._collect(value, given, places, run)

    def _collect(self, value: Any, given: dict[Any, Any], places: list[Any], run: Run) -> Any:
        made: list[Any] = []
        lines: list[Line] = []
        for spec, place in zip(self.fields, places, strict=True):
            try:
                if place in given:
                    made.append(spec.kind.check(given.pop(place), run))
                elif spec.required:
                    raise fault("missing", "Field required", value)
                else:
                    made.append(spec.default)
            except Fault as error:
                given.pop(place, None)
                lines += error.at(place)
        if given and not isinstance(value, Mapping):
            raise too_long("NamedTuple", len(self.fields), len(value), value)
        for key, item in islice(given.items(), MAX_FAULTS + 1):
            if isinstance(key, str):
                lines += fault("extra_forbidden", "Extra inputs are not permitted", item).at(key)
            else:
                lines += fault("invalid_key", "Keys should be strings", item).at(place_of(key))
        if lines:
            raise Fault(lines)
        return self.cls(*made)


class ForeignKind(Kind):
    """A model of another library, recognised by shape, which checks its own values."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.label = cls.__name__

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, self.cls):
            return value
        run.floor(LAX)
        try:
            made = self.cls.model_validate(value)  # type: ignore[attr-defined]
        except (ValueError, AssertionError) as error:
            raise fault_of(error, value) from error
        given = getattr(made, "model_fields_set", None)
        if given is not None:
            run.count(len(given))
        return made


def _foreign_lines(error: Any) -> list[Line]:
    try:
        found = error.errors(include_url=False)
    except TypeError:
        found = error.errors()
    lines = []
    for line in found:
        made = {**line, "loc": list(line.get("loc", ()))}
        if "ctx" in made:
            made["ctx"] = {key: _plain(item) for key, item in made["ctx"].items()}
        lines.append(made)
    return lines


def _plain(item: Any) -> Any:
    """A context value as JSON has it: an exception object cannot travel, its text can."""
    return item if item is None or isinstance(item, str | int | float | list | dict) else str(item)


# ---- which fields a class has ----------------------------------------------------------------


def _fields_of(cls: type, args: tuple[Any, ...]) -> list[FieldSpec]:
    hints = hints_of(cls, args)
    if is_typed_dict(cls):
        return [_spec(name, hint, {}, required=_is_required(cls, name, hint)) for name, hint in hints.items()]
    declared = getattr(cls, "__model_fields__", None) or cls.__dataclass_fields__  # type: ignore[attr-defined]
    specs = []
    for name, declaration in declared.items():
        hint = hints.get(name, Any)
        if not declaration.init or _is_class_variable(hint):
            continue
        info = declaration.metadata.get(INFO_KEY, {})
        factory = None if declaration.default_factory is MISSING else declaration.default_factory
        shown = declaration.metadata.get(DEFAULT_KEY, MISSING)
        specs.append(_spec(name, hint, info, declaration.default, factory, shown))
    return specs


def _is_required(cls: Any, name: str, hint: Any) -> bool:
    """Whether a TypedDict's key is; the class itself cannot tell where its annotations are texts."""
    origin = typing.get_origin(hint)
    if origin is typing.Required or origin is typing.NotRequired:
        return origin is typing.Required
    return name in cls.__required_keys__


def _is_class_variable(hint: Any) -> bool:
    return hint is typing.ClassVar or typing.get_origin(hint) is typing.ClassVar


def _spec(
    name: str,
    hint: Any,
    info: Info,
    default: Any = MISSING,
    factory: Callable[[], Any] | None = None,
    shown: Any = MISSING,
    required: bool | None = None,
) -> FieldSpec:
    if isinstance(hint, dataclasses.InitVar):
        hint = hint.type
    bare, said = _unwrap(hint)
    said |= info
    if hasattr(default, "default") and type(default).__name__ == "FieldInfo":
        raise TypeError(
            f"{name}: use openenv.field(...) here; pydantic's Field works in pydantic models only"
        )
    return FieldSpec(name, _limited(bare, said), said, default, factory, shown, required)


def hints_of(cls: type, args: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The class's annotations as objects, inherited ones first, type parameters filled in.

    Raises:
        TypeError: An annotation names something that cannot be found.
    """
    scope = {cls.__name__: cls, **getattr(cls, "__scope__", {})}
    try:
        hints = typing.get_type_hints(cls, localns=scope, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"annotation of {cls.__module__}.{cls.__qualname__}: {error}; define or import it at the top "
            "of the module, not under TYPE_CHECKING"
        ) from error
    owners = parameters_by_class(cls, args)
    for base in cls.__mro__:
        bound = owners.get(base, {})
        for name in getattr(base, "__annotations__", ()) if "__annotations__" in vars(base) else ():
            if name in hints:
                hints[name] = _substitute(hints[name], bound)
    return hints


def parameters_by_class(cls: Any, args: tuple[Any, ...]) -> dict[type, dict[Any, Any]]:
    """For the class and each of its generic bases: type parameter to what it stands for."""
    bound = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    owners: dict[type, dict[Any, Any]] = {cls: bound}
    for base in getattr(cls, "__orig_bases__", ()):
        origin = typing.get_origin(base)
        if isinstance(origin, type) and origin is not typing.Generic:
            inner = tuple(_substitute(arg, bound) for arg in typing.get_args(base))
            owners.update(parameters_by_class(origin, inner))
    return owners


def _substitute(hint: Any, bound: Mapping[Any, Any]) -> Any:
    if not bound:
        return hint
    if isinstance(hint, TypeVar):
        return bound.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(bound.get(parameter, parameter) for parameter in parameters)]


def _class_name(cls: type, args: tuple[Any, ...]) -> str:
    if not args:
        return cls.__name__
    return f"{cls.__name__}[{', '.join(getattr(arg, '__name__', None) or str(arg) for arg in args)}]"


# ---- what an annotation means ------------------------------------------------------------------


def kind_of(annotation: Any) -> Kind:
    """The kind of a type expression.

    Raises:
        TypeError: It is not a type, or names something that cannot be found.
    """
    bare, said = _unwrap(annotation)
    return _limited(bare, said)


def _unwrap(annotation: Any) -> tuple[Any, Info]:
    """Take off Annotated, Required, Final and aliases; collect what they say."""
    said: Info = {}
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            for entry in annotation.__metadata__:
                said |= _said_by(entry)
            annotation = annotation.__origin__
        elif origin in (typing.Required, typing.NotRequired, typing.Final):
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation, said


def _said_by(entry: Any) -> Info:
    """What one object inside Annotated says, by shape."""
    if isinstance(entry, dataclasses.Field):
        if entry.default is not MISSING or entry.default_factory is not MISSING:
            raise TypeError("field() inside Annotated takes no default; write it after '='")
        return dict(entry.metadata.get(INFO_KEY, {}))
    said: Info = {}
    for inner in getattr(entry, "metadata", None) or ():
        said |= _said_by(inner)
    for key in _INFO_KEYS:
        value = getattr(entry, key, None)
        if value is not None and not callable(value):
            said[key] = value
    return said


def _limited(annotation: Any, said: Info) -> Kind:
    """The kind of a bare annotation, with the limits that were said about it."""
    bounds = Bounds(said.get("ge"), said.get("gt"), said.get("le"), said.get("lt"))
    lengths = Lengths(said.get("min_length"), said.get("max_length"))
    if annotation is int:
        return IntKind(bounds)
    if annotation is float:
        return FloatKind(bounds)
    if annotation is str:
        return StrKind(lengths, said.get("pattern"))
    if annotation is Decimal:
        return DecimalKind(bounds)
    if annotation is bytes or annotation is bytearray:
        return BytesKind(lengths)
    if annotation in _TEMPORAL:
        return _TEMPORAL[annotation](bounds)
    members = _union_members(annotation)
    if members is not None:
        return _union(members, said)
    kind, takes_lengths = _container(annotation, lengths)
    if kind is None:
        kind = _simple(annotation)
    left = Lengths() if takes_lengths else lengths
    return CheckedKind(kind, bounds, left) if bounds or left else kind


_TEMPORAL: dict[Any, Callable[[Bounds], Kind]] = {
    datetime: DatetimeKind,
    date: DateKind,
    time: TimeKind,
    timedelta: TimedeltaKind,
}


def _union_members(annotation: Any) -> tuple[Any, ...] | None:
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return typing.get_args(annotation)
    return None


def _union(members: tuple[Any, ...], said: Info) -> Kind:
    present = tuple(member for member in members if member is not types.NoneType)
    limits = {key: said[key] for key in _INFO_KEYS[3:] if key in said}
    if len(present) == 1:
        bare, inner = _unwrap(present[0])
        kind = _limited(bare, inner | limits)
    else:
        kind = _tagged(present) or UnionKind([kind_of(member) for member in present])
        bounds = Bounds(said.get("ge"), said.get("gt"), said.get("le"), said.get("lt"))
        lengths = Lengths(said.get("min_length"), said.get("max_length"))
        if bounds or lengths:
            kind = CheckedKind(kind, bounds, lengths)
    return OptionalKind(kind) if len(present) < len(members) else kind


def _tagged(members: tuple[Any, ...]) -> Kind | None:
    """Records told apart by a required literal field, or None where there is no such field."""
    literals = [_literal_fields(member) for member in members]
    for name in literals[0] if literals else ():
        values = [found.get(name, ()) for found in literals]
        flat = [value for found in values for value in found]
        if all(values) and len(set(flat)) == len(flat):
            kinds = [kind_of(member) for member in members]
            by_value = {value: kind for kind, found in zip(kinds, values, strict=True) for value in found}
            fallback = UnionKind(kinds) if any(_has_default(member, name) for member in members) else None
            return TaggedKind(name, by_value, fallback)
    return None


def _has_default(member: Any, name: str) -> bool:
    declared = getattr(typing.get_origin(member) or member, "__dataclass_fields__", {}).get(name)
    return declared is not None and (
        declared.default is not MISSING or declared.default_factory is not MISSING
    )


def _literal_fields(member: Any) -> dict[str, tuple[Any, ...]]:
    cls = typing.get_origin(member) or member
    if not isinstance(cls, type) or not (dataclasses.is_dataclass(cls) or is_typed_dict(cls)):
        return {}
    found = {}
    for name, hint in hints_of(cls).items():
        bare, _ = _unwrap(hint)
        if typing.get_origin(bare) is Literal:
            found[name] = typing.get_args(bare)
    return found


def _container(annotation: Any, lengths: Lengths) -> tuple[Kind | None, bool]:
    """A container's kind, and whether it enforces the lengths itself."""
    origin = typing.get_origin(annotation) or annotation
    args = typing.get_args(annotation)
    if origin is tuple:
        if not args and annotation not in (tuple, typing.Tuple):  # noqa: UP006
            return FixedTupleKind(()), False
        if args and not (len(args) == 2 and args[1] is Ellipsis):
            return FixedTupleKind([kind_of(arg) for arg in args]), False
    cls = _COLLECTIONS.get(origin) if _is_hashable(origin) else None
    if cls is dict:
        key, item = args or (Any, Any)
        return DictKind(kind_of(key), kind_of(item), lengths), True
    if cls is not None:
        abstract = origin.__name__ if origin in (abc.Sequence, abc.MutableSequence) else None
        return ListKind(kind_of(args[0]) if args else AnyKind(), lengths, cls, abstract), True
    return None, False


_COLLECTIONS: dict[Any, type] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    dict: dict,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Set: set,
    abc.MutableSet: set,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
}


def _is_hashable(value: Any) -> bool:
    return getattr(type(value), "__hash__", None) is not None


def _simple(annotation: Any) -> Kind:
    """The kind of what is neither a union nor a container nor a number."""
    if annotation is Any or annotation is object:
        return AnyKind()
    if annotation is None or annotation is types.NoneType:
        return NoneKind()
    if annotation is bool:
        return BoolKind()
    if annotation is UUID:
        return UUIDKind()
    if isinstance(annotation, TypeVar):
        return _type_variable(annotation)
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return LiteralKind(typing.get_args(annotation))
    cls = origin or annotation
    if isinstance(cls, type):
        return _class(cls, typing.get_args(annotation))
    if isinstance(annotation, str | typing.ForwardRef):
        raise TypeError(f"annotation {annotation!r} is a text; give the class itself")
    raise TypeError(f"{annotation!r} is not a type that JSON values can be checked against")


def _type_variable(variable: TypeVar) -> Kind:
    if variable.__bound__ is not None:
        return kind_of(variable.__bound__)
    if variable.__constraints__:
        return _union(variable.__constraints__, {})
    return AnyKind()


_CLASSES: dict[type, Kind] = {}


def _class(cls: type, args: tuple[Any, ...]) -> Kind:
    """The kind of a class; one for each, so that a class may contain itself."""
    if args and (dataclasses.is_dataclass(cls) or is_typed_dict(cls)):
        return RecordKind(cls, args)
    kind = _CLASSES.get(cls)
    if kind is None:
        kind = _CLASSES[cls] = _new_class(cls, args)
    return kind


def _new_class(cls: type, args: tuple[Any, ...]) -> Kind:
    if issubclass(cls, Enum):
        return EnumKind(cls)
    if issubclass(cls, PurePath):
        return PathKind(cls)
    if dataclasses.is_dataclass(cls) or is_typed_dict(cls):
        return RecordKind(cls)
    if all(hasattr(cls, name) for name in ("model_validate", "model_json_schema", "model_dump")):
        return ForeignKind(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return NamedTupleKind(cls)
    if cls.__module__ == "numpy" and cls.__name__ == "ndarray":
        return InstanceKind(cls, _to_array)
    return InstanceKind(cls)


def _to_array(value: Any) -> Any:
    """Make an array of nested lists with the library that the author's annotation brought in."""
    if not isinstance(value, list):
        raise TypeError("expected an array, as nested lists")
    return sys.modules["numpy"].asarray(value)
