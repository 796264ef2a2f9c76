"""The nouns an environment is written in: actions, observations, states and what a step gives.

In: class bodies with annotations. Out: keyword-only dataclasses, without a decorator::

    class Move(Action):
        row: int = field(ge=0, le=2, description="Row, from the top")
        column: int = 0

A :class:`Model` is an ordinary dataclass, so ``dataclasses.fields``, ``replace`` and ``asdict``
work on it. Nothing is checked when Python code builds or changes one: type checkers see those
mistakes, and JSON from a peer is checked by ``schema`` before an object exists. This module knows
nothing about JSON, bytes or sessions.

Limits: an annotated name with a leading underscore is private: an instance attribute with its
default, never an argument and never on the wire.

Reference: ``design.md`` section 3 "Models"; :pep:`681` for ``dataclass_transform``.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from types import FrameType
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, dataclass_transform

__all__ = [
    "Action",
    "EnvironmentMetadata",
    "Model",
    "Observation",
    "State",
    "StepResult",
    "field",
]

Extra = Literal["forbid", "ignore", "allow"]
ObsT = TypeVar("ObsT")

#: Keys of ``dataclasses.Field.metadata`` that `field` writes and `schema` reads.
INFO_KEY = "openenv"
DEFAULT_KEY = "default"

_CLASS_VARIABLE = re.compile(r"^(?:\w+\.)*ClassVar\b")
_MISSING = dataclasses.MISSING


def field(
    *,
    default: Any = _MISSING,
    default_factory: Callable[[], Any] | Any = _MISSING,
    description: str | None = None,
    title: str | None = None,
    examples: Iterable[Any] | None = None,
    ge: Any = None,
    gt: Any = None,
    le: Any = None,
    lt: Any = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    repr: bool = True,
    init: bool = True,
) -> Any:
    """Say more about a field than its annotation can: its default, its bounds, what it is for.

    It may stand as the class attribute's value, or inside ``Annotated`` (there without a default).
    Bounds are checked on JSON from a peer and shown in the JSON Schema, not on assignment.

    Args:
        default: The value when none is given. A list, dict, set or other mutable default is
            copied for each object.
        default_factory: Called without arguments for each object that is given no value.
        description: Shown to whoever reads the schema.
        title: Name in the schema; the field's name in words otherwise.
        examples: Values for the schema's ``examples``.
        ge: Lowest value allowed.
        gt: Bound that the value must lie above.
        le: Highest value allowed.
        lt: Bound that the value must lie below.
        min_length: Fewest characters or items, >= 0.
        max_length: Most characters or items, >= 0.
        pattern: Regular expression that some part of the text must match.
        repr: Whether ``repr()`` of the object shows the field.
        init: Whether the field is an argument; False needs a default.

    Raises:
        TypeError: Both ``default`` and ``default_factory`` were given.
    """
    if default is not _MISSING and default_factory is not _MISSING:
        raise TypeError("field(): give default or default_factory, not both")
    said = {
        "description": description,
        "title": title,
        "examples": None if examples is None else list(examples),
        "ge": ge,
        "gt": gt,
        "le": le,
        "lt": lt,
        "min_length": min_length,
        "max_length": max_length,
        "pattern": pattern,
    }
    info = {key: value for key, value in said.items() if value is not None}
    metadata: dict[str, Any] = {INFO_KEY: info}
    if _is_mutable(default):
        metadata[DEFAULT_KEY] = default
        default, default_factory = _MISSING, functools.partial(copy.deepcopy, default)
    # The stubs give a field's default's type here; at run time it is the Field.
    made: Any = dataclasses.field(
        default=default, default_factory=default_factory, repr=repr, init=init, metadata=metadata
    )
    return made


@dataclass_transform(kw_only_default=True, field_specifiers=(field, dataclasses.field))
class Model:
    """A keyword-only dataclass by inheritance alone.

    Fields come base class first, then in order of declaration. Objects compare by value and are
    not hashable. There is no validation when Python code calls the constructor or assigns; pass
    JSON values through ``openenv.schema.schema_of(cls).load`` for that.

    Class arguments:
        extra: What `load` does with keys that are no field: ``"ignore"`` (default of `Model`),
            ``"forbid"`` (an error each; `Action` and `Observation`) or ``"allow"`` (kept as
            attributes and dumped after the fields; `State`). Inherited.

    Raises:
        TypeError: A field cannot be a field, for instance a required one with ``init=False``.
    """

    __extra__: ClassVar[Extra] = "ignore"
    __model_fields__: ClassVar[dict[str, dataclasses.Field[Any]]] = {}
    __generated_init__: ClassVar[bool] = False
    __scope__: ClassVar[dict[str, Any]] = {}
    model_fields: ClassVar[dict[str, dataclasses.Field[Any]]] = {}

    def __init_subclass__(cls, *, extra: Extra | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if extra is not None:
            cls.__extra__ = extra
        own_init = "__init__" in cls.__dict__
        documentation = cls.__dict__.get("__doc__")
        factories = _prepare_fields(cls)
        # dataclass() would write the signature into an empty docstring, which costs and misleads.
        cls.__doc__ = documentation or "-"
        dataclasses.dataclass(kw_only=True, eq=False, repr=False)(cls)
        cls.__doc__ = documentation
        # Left on the class so that an author's own @dataclass above us finds them again.
        for name, specifier in factories.items():
            setattr(cls, name, specifier)
        cls.__model_fields__ = dict(cls.__dataclass_fields__)  # type: ignore[attr-defined]
        cls.model_fields = {
            name: entry for name, entry in cls.__model_fields__.items() if not name.startswith("_")
        }
        cls.__generated_init__ = not own_init
        cls.__scope__ = cls.__scope__ | _local_names(sys._getframe(1))
        if cls.__extra__ == "allow" and not own_init:
            _accept_extras(cls)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _compared(self) == _compared(other)

    __hash__ = None  # type: ignore[assignment]

    # The names by which pydantic's users know these; the classes of `openenv.core` have them from pydantic.

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Collection[str] | None = None,
        exclude: Collection[str] = (),
        exclude_none: bool = False,
    ) -> dict[str, Any]:
        """The fields in order of declaration, models within them as dicts.

        Args:
            mode: ``json`` gives values as they travel, ``python`` leaves dates, enumerations and the like.
            include: Names to take, None for all.
            exclude: Names to leave out.
            exclude_none: Leave out what is None.
        """
        from openenv.schema import dump, to_json

        dumped: dict[str, Any] = to_json(self) if mode == "json" else dump(self)
        return {
            name: value
            for name, value in dumped.items()
            if name not in exclude
            and (include is None or name in include)
            and not (exclude_none and value is None)
        }

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Another object of the same values.

        Args:
            update: Values to set in it, unchecked.
            deep: Whether what the values hold is copied too.
        """
        copied = copy.deepcopy(self) if deep else copy.copy(self)
        for name, value in (update or {}).items():
            setattr(copied, name, value)
        return copied

    @classmethod
    def model_validate(cls, value: Any) -> Self:
        """An object of JSON values; one that is of the class already is given back.

        Raises:
            SchemaError: The values do not fit.
        """
        from openenv.schema import schema_of

        made: Self = schema_of(cls).load(value)
        return made

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        """What `model_validate` takes, as JSON Schema draft 2020-12."""
        from openenv.schema import schema_of

        return copy.deepcopy(schema_of(cls).json_schema)

    def __repr__(self) -> str:
        hidden = {name for name, entry in _fields(self).items() if not entry.repr}
        shown = (f"{name}={value!r}" for name, value in _public(self).items() if name not in hidden)
        return f"{type(self).__qualname__}({', '.join(shown)})"


def _fields(model: object) -> dict[str, dataclasses.Field[Any]]:
    fields: dict[str, dataclasses.Field[Any]] = type(model).__dataclass_fields__  # type: ignore[attr-defined]
    return fields


def _public(model: object) -> dict[str, Any]:
    """The fields in order of declaration, then what else was assigned; nothing private."""
    values = {name: getattr(model, name) for name in _fields(model) if hasattr(model, name)}
    return {name: value for name, value in (values | vars(model)).items() if not name.startswith("_")}


def _compared(model: object) -> dict[str, Any]:
    left_out = {name for name, entry in _fields(model).items() if not entry.compare}
    return {name: value for name, value in _public(model).items() if name not in left_out}


def _prepare_fields(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """Turn mutable defaults and private names into fields; give those that have a factory."""
    factories = {}
    for name, annotation in _own_annotations(cls).items():
        if _is_class_variable(annotation):
            continue
        default = cls.__dict__.get(name, _MISSING)
        if name.startswith("_"):
            default = _private(default)
            setattr(cls, name, default)
        elif _is_mutable(default) and not isinstance(default, dataclasses.Field):
            default = field(default=default)
            setattr(cls, name, default)
        if isinstance(default, dataclasses.Field) and default.default is _MISSING:
            factories[name] = default
    return factories


def _private(default: Any) -> Any:
    if isinstance(default, dataclasses.Field):
        default.init = default.repr = default.compare = False
        return default
    made = field(default=default, init=False, repr=False)
    made.compare = False
    return made


def _is_mutable(default: Any) -> bool:
    """Whether objects must not share it: the test that dataclasses apply, plus functions' own."""
    return default is not _MISSING and type(default).__hash__ is None


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return _CLASS_VARIABLE.match(annotation) is not None
    return annotation is ClassVar or getattr(annotation, "__origin__", None) is ClassVar


def _own_annotations(cls: type) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(cls)


def _local_names(frame: FrameType | None) -> dict[str, Any]:
    """Names a class inside a function may use in its annotations, as they are now."""
    while frame is not None and frame.f_globals.get("__name__") in ("abc", "typing", __name__):
        frame = frame.f_back
    if frame is None or frame.f_locals is frame.f_globals:
        return {}
    return {name: value for name, value in frame.f_locals.items() if not name.startswith("__")}


def _accept_extras(cls: type) -> None:
    """Let the constructor take undeclared keyword arguments and keep them as attributes."""
    declared = cls.__dict__["__init__"]
    names = frozenset(f.name for f in dataclasses.fields(cls) if f.init)

    @functools.wraps(declared)
    def __init__(self: Any, /, **values: Any) -> None:  # noqa: N807
        if names.issuperset(values):  # as nearly always
            declared(self, **values)
            return
        extras = {name: values.pop(name) for name in list(values) if name not in names}
        declared(self, **values)
        # Not by setattr: an extra may be called like a method or a property, and must not replace it.
        for name, value in extras.items():
            self.__dict__.setdefault(name, value)

    cls.__init__ = __init__  # type: ignore[misc]


class Action(Model, extra="forbid"):
    """What a client asks an environment to do: subclass it and declare the fields.

    Attributes:
        metadata: Anything the client wants to send along.
    """

    __description__: ClassVar[str] = "What a client asks the environment to do."

    metadata: dict[str, Any] = field(default_factory=dict, description="Additional metadata for the action")


class Observation(Model, extra="forbid"):
    """What an environment shows after a reset or a step: subclass it and declare the fields.

    A subclass may declare ``truncated: bool = False``; True then travels beside ``done``.

    Attributes:
        done: True once the episode is over.
        reward: In the environment's own unit, or None. Its type is kept: 1 is not 1.0.
        metadata: Anything more, for logs and debugging; not what a policy should look at.
    """

    __description__: ClassVar[str] = "What the environment shows after a reset or a step."

    done: bool = field(default=False, description="Whether the episode has terminated")
    reward: bool | int | float | None = field(default=None, description="Reward signal from the last action")
    metadata: dict[str, Any] = field(
        default_factory=dict, description="Additional metadata for the observation"
    )


class State(Model, extra="allow"):
    """Where an episode stands; undeclared keyword arguments and attributes are kept and dumped.

    Attributes:
        episode_id: Name of the episode, or None before the first reset.
        step_count: Steps taken in the episode, >= 0.
    """

    # Seen by every client in /schema, so it is the text that they have always been given.
    __description__: ClassVar[str] = (
        "Base class for environment state.\n\n"
        "Represents internal environment state, separate from observations."
    )

    episode_id: str | None = field(default=None, description="Unique identifier for the current episode")
    step_count: int = field(default=0, ge=0, description="Number of steps taken in the current episode")


class EnvironmentMetadata(Model, extra="forbid"):
    """What an environment says about itself: the answer of ``/metadata``.

    Attributes:
        name: Name of the environment.
        description: What it does, in a sentence.
        readme_content: Its README as Markdown text, or None.
        version: Its version, or None.
        author: Who made it, or None.
        documentation_url: Where to read more, or None.
    """

    __description__: ClassVar[str] = "Metadata about an environment for documentation and UI purposes."

    name: str = field(description="Name of the environment")
    description: str = field(description="Description of what the environment does")
    readme_content: str | None = field(
        default=None, description="Content of the README file for the environment"
    )
    version: str | None = field(default=None, description="Version of the environment")
    author: str | None = field(default=None, description="Author of the environment")
    documentation_url: str | None = field(default=None, description="URL to the environment's documentation")


@dataclasses.dataclass
class StepResult(Generic[ObsT]):
    """What a client gets from ``reset`` and ``step``.

    Attributes:
        observation: What the environment shows: an object of the client's observation class, or a
            dict without reward and done.
        reward: In the environment's own unit, or None.
        done: True once the episode is over.
        metadata: The observation's metadata where it is not empty, else None.
        truncated: True once the episode is over by a limit, not by the task.
    """

    observation: ObsT
    reward: float | None = None
    done: bool = False
    metadata: dict[str, Any] | None = None
    truncated: bool = False

    @property
    def terminated(self) -> bool:
        """Whether the task itself ended the episode, not a limit."""
        return self.done and not self.truncated

    def as_gymnasium(self) -> tuple[ObsT, float, bool, bool, dict[str, Any]]:
        """The 5-tuple of Gymnasium: observation, reward (0.0 where there is none), terminated,
        truncated, info (the metadata)."""
        reward = 0.0 if self.reward is None else float(self.reward)
        return self.observation, reward, self.terminated, self.truncated, self.metadata or {}
