"""Classes to JSON Schema, JSON values to typed objects, objects to JSON values.

In: a class or any type expression, once; then decoded JSON values and objects, as often as needed.
Out: :class:`Schema`, compiled once per class. Models, plain dataclasses, pydantic models (by shape,
pydantic is never imported), TypedDicts, dicts and every type that ``kinds`` knows. This module
knows nothing about bytes, messages or environments' methods beyond their annotations.

Loading checks every field and reports every fault at once. Dumping checks nothing: values that the
encoder writes as they are (numbers, texts, enumerations, dates, arrays) are left to it, and what it
has no form for goes through :func:`jsonable`.

Limits: a class is read when its schema is first used; fields added to it later are not seen.

Reference: ``wire.md`` sections 2 and 3 for shapes, ``validation`` for conversions.
"""

from __future__ import annotations

import base64
import dataclasses
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from datetime import time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

from openenv import codec
from openenv.compound import (
    CheckedKind,
    DictKind,
    FixedTupleKind,
    ListKind,
    OptionalKind,
    TaggedKind,
    UnionKind,
)
from openenv.errors import SchemaError
from openenv.json_schema import describe
from openenv.kinds import (
    ForeignKind,
    RecordKind,
    fault_of,
    hints_of,
    kind_of,
    parameters_by_class,
)
from openenv.validation import (
    AnyKind,
    Fault,
    FloatKind,
    Kind,
    Run,
)

__all__ = [
    "DumpedObservation",
    "PlainObservations",
    "Schema",
    "dump_observation",
    "dump_observations_with",
    "dump_state",
    "infer_types",
    "jsonable",
    "own_dump_of_observation",
    "schema_of",
]

DumpedObservation = tuple[dict[str, Any], Any, Any, dict[str, Any] | None]
Types = tuple[Any | None, Any | None, Any | None]


class Schema:
    """What one class accepts and how its objects are written; get one from :func:`schema_of`.

    May be used by several threads at once.

    Attributes:
        cls: The class or type expression.
        load: JSON value -> object. Raises SchemaError with every fault of the value; an object
            that is of the class already is given back as it is.
        dump: Object -> JSON value, every field in order of declaration, base class first. Nested
            values may be left as they are for ``codec.encode(value, jsonable)``.
    """

    __slots__ = ("_json_schema", "_kind", "cls", "dump", "load")

    load: Callable[[Any], Any]
    dump: Callable[[Any], Any]

    def __init__(self, cls: Any) -> None:
        self.cls = cls
        self._kind = kind_of(cls)
        self._json_schema: dict[str, Any] | None = None
        self.load = self._load_first
        self.dump = dump

    def _load_first(self, value: Any) -> Any:
        """Compile with the first value, as annotations may name classes that come later in a module."""
        self.load = _compile_load(self._kind)
        return self.load(value)

    @property
    def json_schema(self) -> dict[str, Any]:
        """What :attr:`load` accepts, as JSON Schema draft 2020-12. Do not change it in place."""
        if self._json_schema is None:
            self._json_schema = describe(self._kind, to_json)
        return self._json_schema

    def dump_observation(self, obj: Any) -> DumpedObservation:
        """The same as the function :func:`dump_observation`."""
        return dump_observation(obj)


_SCHEMAS: dict[type, Schema] = {}


def schema_of(cls: Any) -> Schema:
    """The schema of a class or type expression, compiled the first time it is asked for.

    Raises:
        TypeError: It is not a type, or an annotation names something that cannot be found.
    """
    if not isinstance(cls, type):
        return Schema(cls)
    schema = _SCHEMAS.get(cls)
    if schema is None:
        schema = _SCHEMAS[cls] = Schema(cls)
    return schema


# ---- loading -----------------------------------------------------------------------------------


def _compile_load(kind: Kind) -> Callable[[Any], Any]:
    def load(value: Any) -> Any:
        try:
            return kind.check(value, Run())
        except Fault as error:
            raise SchemaError(error.lines) from error.__cause__
        except RecursionError:
            # A peer's nesting must not look like a mistake of ours; its input is too deep to show.
            msg = "Recursion error - cyclic reference detected"
            raise SchemaError([{"type": "recursion_loop", "loc": [], "msg": msg, "input": None}]) from None

    if isinstance(kind, RecordKind) and not kind.is_dict:
        return _FastLoad(kind, load).compile()
    if isinstance(kind, ForeignKind):
        return _load_foreign(kind.cls)
    return load


def _load_foreign(cls: Any) -> Callable[[Any], Any]:
    """A model of another library loads itself; of pydantic's, by the function that `model_validate` calls."""
    validate = _unless_overridden(cls, "model_validate", "__pydantic_validator__", "validate_python")

    def load(value: Any) -> Any:
        try:
            return validate(value)
        except (ValueError, AssertionError) as error:
            raise SchemaError(fault_of(error, value).lines) from error

    return load


def _unless_overridden(cls: Any, name: str, core: str, short: str) -> Any:
    """A class's method, or where it is pydantic's own the shorter way to the same."""
    home = next(base for base in cls.__mro__ if name in vars(base))
    inner = getattr(cls, core, None)
    if home.__module__.partition(".")[0] == "pydantic" and hasattr(inner, short):
        return getattr(inner, short)
    return getattr(cls, name)


class _FastLoad:
    """Writes the function that takes a value without a fault straight to its object.

    It is Python source, as ``dataclasses`` writes an ``__init__``: one ``in`` and one type test per
    field, a tenth of the time of walking the tree of kinds. Whatever it is not made for (another
    type than dict, a missing or unknown key, a value that needs converting and does not convert)
    goes to `thorough`, which finds and words the faults. Names of fields enter the source only as
    ``repr`` of identifiers.
    """

    def __init__(self, kind: RecordKind, thorough: Callable[[Any], Any]) -> None:
        self._kind = kind
        self._thorough = thorough

    def compile(self) -> Callable[[Any], Any]:
        """The function; raises TypeError if an annotation cannot be understood."""
        names: dict[str, Any] = {
            "Fault": Fault,
            "Run": Run,
            "cls": self._kind.cls,
            "fail": _fail,
            "new": object.__new__,
            "thorough": self._thorough,
        }
        required = [i for i, spec in enumerate(self._kind.fields) if spec.required]
        optional = [i for i, spec in enumerate(self._kind.fields) if not spec.required]
        lines = ["def load(value):", " if value.__class__ is not dict:", "  return thorough(value)"]
        lines += [f" left = len(value) - {len(required)}", " try:"]
        for index in required:
            lines += [f"  f{index} = value[{self._kind.fields[index].name!r}]"]
            lines += self._check(index, names, "  ")
        # Nearly all messages hold the required fields and no other.
        lines += ["  if left:", "   pass"]
        for index in optional:
            lines += self._optional_field(index, names)
        if self._kind.extra != "ignore":
            lines += ["   if left:", "    return thorough(value)"]
        lines += ["  else:", "   pass"]
        lines += [f"   f{index} = {self._default(index, names)}" for index in optional]
        lines += [" except (KeyError, Fault, RecursionError):", "  return thorough(value)"]
        exec("\n".join([*lines, *self._object(names)]), names)
        made: Callable[[Any], Any] = names["load"]
        return made

    def _check(self, index: int, names: dict[str, Any], indent: str) -> list[str]:
        """Convert `f{index}` unless it is what it should be already."""
        kind = self._kind.fields[index].kind
        name = f"f{index}"
        names[f"check{index}"] = kind.check
        convert = f"{name} = check{index}({name}, Run())"
        guard = kind.guard(name, names)
        if guard is None:
            return [indent + convert]
        return [] if guard == "True" else [f"{indent}if not ({guard}):", f"{indent} {convert}"]

    def _optional_field(self, index: int, names: dict[str, Any]) -> list[str]:
        name = self._kind.fields[index].name
        return [
            f"   if {name!r} in value:",
            f"    f{index} = value[{name!r}]",
            *self._check(index, names, "    "),
            "    left -= 1",
            "   else:",
            f"    f{index} = {self._default(index, names)}",
        ]

    def _default(self, index: int, names: dict[str, Any]) -> str:
        spec = self._kind.fields[index]
        names[f"default{index}"] = spec.default if spec.factory is None else spec.factory
        if spec.factory is None:
            return f"default{index}"
        # A display is made in half the time of a call.
        return _DISPLAYS.get(spec.factory, f"default{index}()")

    def _object(self, names: dict[str, Any]) -> list[str]:
        """Make the object: field by field where dataclasses wrote the ``__init__``, else by calling it."""
        cls, fields = self._kind.cls, self._kind.fields
        n_fields = sum(1 for f in dataclasses.fields(cls))
        plain = getattr(cls, "__generated_init__", False) and n_fields == len(fields)
        if not plain:
            arguments = ", ".join(f"{spec.name}=f{index}" for index, spec in enumerate(fields))
            return [*_attempt(f"made = cls({arguments})"), " return made"]
        lines = [" made = new(cls)"]
        lines += [f" made.{spec.name} = f{index}" for index, spec in enumerate(fields)]
        if hasattr(cls, "__post_init__"):
            lines += _attempt("made.__post_init__()")
        return [*lines, " return made"]


_DISPLAYS: dict[Any, str] = {dict: "{}", list: "[]"}


def _attempt(statement: str) -> list[str]:
    return [
        " try:",
        f"  {statement}",
        " except (ValueError, AssertionError) as error:",
        "  fail(error, value)",
    ]


def _fail(error: Exception, value: Any) -> None:
    raise SchemaError(fault_of(error, value).lines) from error


# ---- dumping -----------------------------------------------------------------------------------

_PLAIN_TYPES = frozenset((str, int, float, bool, type(None)))
_DUMPERS: dict[type, Callable[[Any], Any]] = {}
_OBSERVATION_DUMPERS: dict[type, Callable[[Any], DumpedObservation]] = {}
_OWN_DUMPERS: dict[type, Callable[[Any], DumpedObservation]] = {}
_authors_dump: list[Callable[[Any], DumpedObservation]] = []
_PLAIN_TABLES: list[dict[type, Callable[[Any], Any] | None]] = []
_STATE_DUMPERS: dict[type, Callable[[Any], dict[str, Any]]] = {}


def dump(value: Any) -> Any:
    """Any object as JSON values: its fields in order; containers are rebuilt.

    Only what holds dataclasses is taken apart here. The encoder could write those too, but it
    writes whatever the object's ``__dict__`` holds, declared or not.
    """
    cls = value.__class__
    if cls in _PLAIN_TYPES:
        return value
    if cls is list or cls is tuple:
        return [dump(item) for item in value]
    if cls is dict:
        return {key: dump(item) for key, item in value.items()}
    dumper = _DUMPERS.get(cls)
    if dumper is None:
        dumper = _DUMPERS[cls] = _dumper_of(cls)
    return dumper(value)


def _as_it_is(value: Any) -> Any:
    return value


def _dumper_of(cls: type) -> Callable[[Any], Any]:
    if dataclasses.is_dataclass(cls) and not issubclass(cls, Enum):
        return _compile_dump(cls, frozenset(), "{fields}")
    if _has_model_dump(cls):
        return _foreign_dump_of(cls)
    if issubclass(cls, dict):
        return lambda value: {key: dump(item) for key, item in value.items()}
    if issubclass(cls, list | tuple):
        return lambda value: [dump(item) for item in value]
    return _as_it_is


def _has_model_dump(cls: type) -> bool:
    return callable(getattr(cls, "model_dump", None))


def _compile_dump(cls: type, left_out: frozenset[str], template: str) -> Callable[[Any], Any]:
    """Write a function of one object `o`: `template` with ``{fields}`` replaced by a dict display.

    It is Python source for the same reason as in `_FastLoad`.
    """
    names: dict[str, Any] = {"dump": dump, "extras": _with_extras}
    parts = []
    kinds = _kinds_by_name(cls)
    names_of_fields = [f.name for f in dataclasses.fields(cls) if not f.name.startswith("_")]
    for name in names_of_fields:
        if name not in left_out:
            parts.append(f"{name!r}: {_expression(f'o.{name}', kinds.get(name, AnyKind()))}")
    fields = f"{{{', '.join(parts)}}}"
    if getattr(cls, "__extra__", None) == "allow":
        declared = names["declared"] = frozenset(f.name for f in dataclasses.fields(cls))
        fields = f"({fields} if len(o.__dict__) == {len(declared)} else extras({fields}, o, declared))"
    return typing.cast("Callable[[Any], Any]", eval(f"lambda o: {template.format(fields=fields)}", names))


def _kinds_by_name(cls: type) -> dict[str, Kind]:
    """Kind of every field, those that are no argument included; Any where it cannot be known."""
    kinds: dict[str, Kind] = {}
    try:
        hints = hints_of(cls)
    except TypeError:
        return kinds
    for name, hint in hints.items():
        try:
            kinds[name] = kind_of(hint)
        except TypeError:
            continue
    return kinds


def _expression(value: str, kind: Kind) -> str:
    inner = kind.inner if isinstance(kind, OptionalKind) else kind
    if isinstance(inner, FloatKind):
        # A float field shows a float whatever was assigned: 1 is written 1.0.
        return f"float({value}) if {value}.__class__ is int else {value}"
    return f"dump({value})" if _holds_records(inner) else value


def _holds_records(kind: Kind) -> bool:
    """Whether values of the kind may hold dataclasses or models."""
    if isinstance(kind, RecordKind | ForeignKind):
        return True
    if isinstance(kind, OptionalKind | CheckedKind):
        return _holds_records(kind.inner)
    if isinstance(kind, UnionKind):
        return any(map(_holds_records, kind.members))
    if isinstance(kind, TaggedKind):
        return any(map(_holds_records, kind.members.values()))
    if isinstance(kind, ListKind | DictKind):
        return _holds_records(kind.item)
    if isinstance(kind, FixedTupleKind):
        return any(map(_holds_records, kind.items))
    return False


def _with_extras(fields: dict[str, Any], obj: Any, declared: frozenset[str]) -> dict[str, Any]:
    for name, value in obj.__dict__.items():
        if name not in declared and not name.startswith("_"):
            fields[name] = dump(value)
    return fields


def dump_observation(obj: Any) -> DumpedObservation:
    """Take apart what an environment's reset or step gave.

    Args:
        obj: An Observation, a dataclass, a pydantic model or a dict; of any class, whatever the
            environment declared.

    Returns:
        observation: Its fields but ``reward`` and ``done``, in order of declaration.
        reward: As it is, None where there is none.
        done: As it is, False where there is none.
        metadata: The observation's ``metadata`` where it is not empty, else None.

    Raises:
        TypeError: It is none of these.
    """
    dumper = _OBSERVATION_DUMPERS.get(obj.__class__)
    if dumper is None:
        dumper = _authors_dump[0] if _authors_dump else _observation_dumper_of(obj.__class__)
        _OBSERVATION_DUMPERS[obj.__class__] = dumper
    return dumper(obj)


def own_dump_of_observation(obj: Any) -> DumpedObservation:
    """:func:`dump_observation` as it is where no author has a say in it."""
    dumper = _OWN_DUMPERS.get(obj.__class__)
    if dumper is None:
        dumper = _OWN_DUMPERS[obj.__class__] = _observation_dumper_of(obj.__class__)
    return dumper(obj)


def dump_observations_with(dump: Callable[[Any], DumpedObservation] | None) -> None:
    """Have the observations of this process taken apart by an author's function, before the first is.

    Args:
        dump: In place of :func:`dump_observation`; None undoes it.
    """
    _authors_dump[:] = [] if dump is None else [dump]
    _OBSERVATION_DUMPERS.clear()
    for table in _PLAIN_TABLES:
        table.clear()


_APART = frozenset(("reward", "done"))
_PLAIN = frozenset(("reward", "done", "metadata"))


class PlainObservations(dict[type, "Callable[[Any], Any] | None"]):
    """By class of observations, a function that makes one value of an observation in one step.

    It is written when it is first asked for; ``get`` gives None until then. None for classes that need more
    than that: no dataclass, one that lacks ``reward``, ``done`` or ``metadata``, or one with a
    ``truncated`` to be looked at; and where an author takes observations apart.

    Args:
        template: A Python expression of the object ``o``, with ``{fields}`` where the dict of its
            fields but ``reward`` and ``done`` goes; other braces are doubled.
    """

    __slots__ = ("_template",)

    def __init__(self, template: str) -> None:
        super().__init__()
        self._template = template
        _PLAIN_TABLES.append(self)

    def __missing__(self, cls: type) -> Callable[[Any], Any] | None:
        made = self[cls] = _compile_plain_observation(cls, self._template)
        return made


def _compile_plain_observation(cls: Any, template: str) -> Callable[[Any], Any] | None:
    if _authors_dump or not dataclasses.is_dataclass(cls) or not isinstance(cls, type):
        return None
    names = {f.name for f in dataclasses.fields(cls)}
    if not names >= _PLAIN or "truncated" in names or getattr(cls, "__extra__", None) == "allow":
        return None
    return _compile_dump(cls, _APART, template)


def _observation_dumper_of(cls: type) -> Callable[[Any], DumpedObservation]:
    if dataclasses.is_dataclass(cls):
        names = {f.name for f in dataclasses.fields(cls)}
        kind = _kinds_by_name(cls).get("reward", AnyKind())
        reward = f"({_expression('o.reward', kind)})" if "reward" in names else "getattr(o, 'reward', None)"
        done = "o.done" if "done" in names else "getattr(o, 'done', False)"
        metadata = "o.metadata" if "metadata" in names else "getattr(o, 'metadata', None)"
        return _compile_dump(cls, _APART, f"({{fields}}, {reward}, {done}, {metadata} or None)")
    if _has_model_dump(cls):
        return _foreign_observation_dumper(_foreign_dump_of(cls))
    if issubclass(cls, Mapping):
        return _dump_mapping_observation
    raise TypeError(
        f"expected an observation from reset or step, got {cls.__name__}; return an Observation, "
        "a dataclass, a pydantic model or a dict"
    )


def _foreign_observation_dumper(dump_fields: Callable[..., Any]) -> Callable[[Any], DumpedObservation]:
    apart = set(_APART)

    def dump_foreign(obj: Any) -> DumpedObservation:
        reward, done = getattr(obj, "reward", None), getattr(obj, "done", False)
        return dump_fields(obj, exclude=apart), reward, done, getattr(obj, "metadata", None) or None

    return dump_foreign


def _foreign_dump_of(cls: Any) -> Callable[..., Any]:
    """How a model of another library is dumped: by itself, with bytes as texts, which is what they are there.

    Only models that declare bytes are looked through.
    """
    fields = getattr(cls, "model_fields", {}).values()
    to_fields = _unless_overridden(cls, "model_dump", "__pydantic_serializer__", "to_python")
    if not any("bytes" in repr(getattr(entry, "annotation", None)) for entry in fields):
        return typing.cast("Callable[..., Any]", to_fields)
    return lambda obj, **options: _with_texts(to_fields(obj, **options))


def _with_texts(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if type(value) is dict:
        return {key: _with_texts(item) for key, item in value.items()}
    if type(value) is list or type(value) is tuple:
        return [_with_texts(item) for item in value]
    return value


def _dump_mapping_observation(obj: Mapping[str, Any]) -> DumpedObservation:
    fields = {key: value for key, value in obj.items() if key not in _APART}
    return fields, obj.get("reward"), obj.get("done", False), obj.get("metadata") or None


def dump_state(obj: Any) -> dict[str, Any]:
    """The fields of a state object, the subclass's included and undeclared ones last.

    Raises:
        TypeError: It is no State, dataclass, model or dict. A method is not called.
    """
    dumper = _STATE_DUMPERS.get(obj.__class__)
    if dumper is None:
        dumper = _STATE_DUMPERS[obj.__class__] = _state_dumper_of(obj.__class__)
    return dumper(obj)


def _state_dumper_of(cls: type) -> Callable[[Any], dict[str, Any]]:
    if dataclasses.is_dataclass(cls):
        return _compile_dump(cls, frozenset(), "{fields}")
    if _has_model_dump(cls):
        return _foreign_dump_of(cls)
    if issubclass(cls, dict):
        return _as_it_is
    return dict if issubclass(cls, Mapping) else _dump_no_state


def _dump_no_state(obj: Any) -> dict[str, Any]:
    """What is empty shows an empty state; a method is one that the author forgot to make a property."""
    if not callable(obj) and not obj:
        return {}
    hint = "; declare it with @property" if callable(obj) else ""
    raise TypeError(
        f"expected a State, a dataclass, a model or a dict from state, got {type(obj).__name__}{hint}"
    )


# ---- what JSON has no form for -----------------------------------------------------------------


def jsonable(obj: Any) -> Any:
    """The JSON form of an object that the encoder has none for; ``default`` of ``codec.encode``.

    Bytes become base64, sets and other iterables arrays, Decimal and paths texts, durations ISO
    8601, models objects, arrays that the encoder cannot take as they are nested arrays.

    Raises:
        TypeError: It has no JSON form.
    """
    for cls in type(obj).__mro__:
        convert = _CONVERTERS.get(cls)
        if convert is not None:
            return convert(obj)
    if _has_model_dump(type(obj)):
        return obj.model_dump()
    if hasattr(obj, "tolist"):
        return obj.tolist()
    if isinstance(obj, Mapping):
        return dict(obj)
    if isinstance(obj, abc.Iterable):
        return list(obj)
    raise TypeError(f"{type(obj).__module__}.{type(obj).__qualname__} has no JSON form")


def _base64(data: Any) -> str:
    return base64.b64encode(data).decode("ascii")


def _duration(value: timedelta) -> str:
    """ISO 8601 with a year for 365 days, which is how a duration text is read as well."""
    size = abs(value)
    years, days = divmod(size.days, 365)
    minutes, seconds = divmod(size.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{size.microseconds:06d}".rstrip("0") if size.microseconds else ""
    parts = ((f"{years}Y", years), (f"{days}D", days))
    clock = ((f"{hours}H", hours), (f"{minutes}M", minutes), (f"{seconds}{fraction}S", seconds or fraction))
    text = "".join(part for part, shown in parts if shown)
    time_text = "".join(part for part, shown in clock if shown)
    if not text and not time_text:
        return "PT0S"
    sign = "-" if value < timedelta(0) else ""
    return f"{sign}P{text}{'T' if time_text else ''}{time_text}"


def _clock_text(value: time) -> str:
    text = value.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    bytes: _base64,
    bytearray: _base64,
    memoryview: _base64,
    Decimal: str,
    PurePath: str,
    timedelta: _duration,
    time: _clock_text,
    float: float,
    int: int,
    str: str,
    complex: lambda value: str(value).strip("()"),
    tuple: list,
    BaseException: str,
}


def to_json(value: Any) -> Any:
    """Any object as the JSON values that it travels as."""
    return codec.decode(codec.encode(dump(value), jsonable))


# ---- what an environment's annotations say -----------------------------------------------------


def infer_types(env_cls: type) -> Types:
    """Action, observation and state class of an environment class, each None where nothing says it.

    Type arguments of a generic base (``Environment[Move, Board, Score]``) come first, then the
    annotations: of ``step``'s first argument, of what ``step`` or ``reset`` give, of ``state``.
    Never raises: an annotation that cannot be understood says nothing.
    """
    action, observation, state = _generic_arguments(env_cls)
    step, reset = _method(env_cls, "step"), _method(env_cls, "reset")
    step_async, reset_async = _method(env_cls, "step_async"), _method(env_cls, "reset_async")
    action = action or _argument_of(step) or _argument_of(step_async)
    if observation is None:
        candidates = map(_return_of, (step, reset, step_async, reset_async))
        observation = next((found for found in candidates if found is not None), None)
    return action, observation, state or _return_of(_method(env_cls, "state"))


def _generic_arguments(env_cls: type) -> Types:
    bound = parameters_by_class(env_cls, ())
    for base in reversed(env_cls.__mro__):
        parameters = getattr(base, "__parameters__", ())
        if len(parameters) >= 2 and base in bound and base is not env_cls:
            scope = vars(sys.modules.get(env_cls.__module__, types))
            found = [_usable(bound[base].get(parameter), scope) for parameter in parameters[:3]]
            found += [None] * (3 - len(found))
            return found[0], found[1], found[2]
    return None, None, None


def _method(cls: type, name: str) -> Any:
    """The plain function behind a method or property, found without calling anything."""
    for base in cls.__mro__:
        if name in vars(base):
            found = vars(base)[name]
            found = getattr(found, "fget", None) or getattr(found, "func", None) or found
            while hasattr(found, "__wrapped__"):
                found = found.__wrapped__
            return found
    return None


def _argument_of(function: Any) -> Any:
    code = getattr(function, "__code__", None)
    if code is None or code.co_argcount < 2:
        return None
    return _annotation(function, code.co_varnames[1])


def _return_of(function: Any) -> Any:
    return _annotation(function, "return")


def _annotation(function: Any, name: str) -> Any:
    annotations = getattr(function, "__annotations__", None) or {}
    if name not in annotations:
        return None
    return _usable(annotations[name], getattr(function, "__globals__", {}))


def _usable(annotation: Any, scope: Mapping[str, Any]) -> Any:
    """The annotation as a type to load and dump by; None where it is not one."""
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, dict(scope))
        except (NameError, AttributeError, TypeError, SyntaxError, ImportError, KeyError, ValueError):
            return None
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (abc.Awaitable, abc.Coroutine):
        annotation = typing.get_args(annotation)[-1]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        present = [arg for arg in typing.get_args(annotation) if arg is not types.NoneType]
        if len(present) == 1:
            annotation = present[0]
    cls = typing.get_origin(annotation) or annotation
    if not isinstance(cls, type) or cls in (object, types.NoneType):
        return None
    is_record = dataclasses.is_dataclass(cls) or _has_model_dump(cls) or issubclass(cls, Mapping)
    return annotation if is_record else None
