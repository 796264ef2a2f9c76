"""Our loading against pydantic's, type by type and value by value.

What a stock server accepts, converts and refuses is pydantic's lax mode. Each type of a matrix is
given each JSON value of a list, and values that hypothesis makes up, by both; they must agree on
acceptance, on the resulting value, and on every fault: its type, place, text, input and context.
Differences that are meant are in KEPT_DIFFERENCES with their reason, and nowhere else.
"""

# ruff: noqa: UP007, UP042, UP045, RUF012 -- old spellings and list defaults are what is tested

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openenv.errors import SchemaError
from openenv.models import Model, field
from openenv.schema import schema_of

pydantic = pytest.importorskip("pydantic", reason="pydantic is the reference; install the test extra")
typing_extensions = pytest.importorskip("typing_extensions", reason="pydantic needs its TypedDict")

INF, NAN = float("inf"), float("nan")


class Kept(NamedTuple):
    """A difference that is meant: for which values of a type, and why."""

    type_name: str
    concerns: Callable[[Any], bool]
    reason: str


KEPT_DIFFERENCES = (
    Kept(
        "bytes",
        lambda value: isinstance(value, str),
        "bytes travel as base64 text, which has a form for every byte; pydantic's default is UTF-8",
    ),
    Kept(
        "path | int",
        lambda value: True,
        "the place of the fault names the member `path`; pydantic shows its internal schema there",
    ),
    Kept(
        "uuid",
        lambda value: isinstance(value, str) and not value.isascii(),
        "the text for a character outside ASCII: pydantic looks at the lowest byte of its code point",
    ),
    Kept(
        "timedelta bounds",
        lambda value: True,
        "the limit is shown as `1:00:00` and the input as it came; pydantic says `1 hour` and shows "
        "its own timedelta, which is no JSON value",
    ),
    Kept(
        "tag with a default",
        lambda value: isinstance(value, dict) and "kind" not in value,
        "where the tag has a default, a payload without it is tried against every member, as pydantic "
        "does for a union without an explicit discriminator; with one it refuses the payload",
    ),
    Kept(
        "int | str with a bound",
        lambda value: isinstance(value, str),
        "a bound that cannot be compared is a fault; in pydantic a TypeError escapes",
    ),
)


#: type -> why its JSON Schema is not pydantic's
KEPT_SCHEMA_DIFFERENCES = {
    "bytes": "base64 is what travels, and the schema says so",
    "limits on a union": "`minimum` is a word of JSON Schema, pydantic's `ge` is not",
    "int | str with a bound": "the same",
    "foreign model": "names only: this row uses the reference's class on both sides",
}


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class TextColour(str, enum.Enum):
    RED = "red"
    ONE = "1"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Ratio(float, enum.Enum):
    HALF = 0.5
    ONE = 1.0


class Mixed(enum.Enum):
    ONE = 1
    TEXT = "z"
    NOTHING = None


@dataclasses.dataclass
class Pair:
    a: int
    b: list[int] = dataclasses.field(default_factory=list)
    c: Optional[str] = None


@dataclasses.dataclass
class Even:
    n: int

    def __post_init__(self) -> None:
        assert self.n != 7, "seven is out"
        if self.n % 2:
            raise ValueError("must be even")


class Box(typing_extensions.TypedDict):
    a: int
    b: typing_extensions.NotRequired[str]


class Loose(typing_extensions.TypedDict, total=False):
    a: int
    x: float


class Point(NamedTuple):
    x: int
    y: float = 0.5


class Inner(Model):
    a: int
    b: str = "q"


class PInner(pydantic.BaseModel):
    a: int
    b: str = "q"


class Outer(Model, extra="forbid"):
    inner: Inner
    others: list[Inner] = []
    o: Optional[Annotated[int, field(ge=0)]] = None
    u: Union[int, float] = 0
    tags: dict[str, Any] = {}


class POuter(pydantic.BaseModel, extra="forbid"):
    inner: PInner
    others: list[PInner] = []
    o: Optional[Annotated[int, pydantic.Field(ge=0)]] = None
    u: Union[int, float] = 0
    tags: dict[str, Any] = {}


class Open(Model, extra="allow"):
    a: int = 0


class POpen(pydantic.BaseModel, extra="allow"):
    a: int = 0


class Circle(Model):
    kind: Literal["circle"]
    r: float


class Square(Model):
    kind: Literal["square", "box"]
    side: int


class PCircle(pydantic.BaseModel):
    kind: Literal["circle"]
    r: float


class PSquare(pydantic.BaseModel):
    kind: Literal["square", "box"]
    side: int


class Dot(Model):
    kind: Literal["dot"] = "dot"
    x: int = 0


class Line(Model):
    kind: Literal["line"] = "line"
    n: int


class PDot(pydantic.BaseModel):
    kind: Literal["dot"] = "dot"
    x: int = 0


class PLine(pydantic.BaseModel):
    kind: Literal["line"] = "line"
    n: int


class Node(Model):
    v: int
    left: Node | None = None
    kids: list[Node] = []


class PNode(pydantic.BaseModel):
    v: int
    left: PNode | None = None
    kids: list[PNode] = []


def _limits(base: Any, **limits: Any) -> tuple[Any, Any]:
    return Annotated[base, field(**limits)], Annotated[base, pydantic.Field(**limits)]


def _both(annotation: Any) -> tuple[Any, Any]:
    return annotation, annotation


#: name -> (our type, pydantic's)
TYPES: dict[str, tuple[Any, Any]] = {
    "str": _both(str),
    "int": _both(int),
    "float": _both(float),
    "bool": _both(bool),
    "none": _both(None),
    "any": _both(Any),
    "decimal": _both(Decimal),
    "uuid": _both(uuid.UUID),
    "path": _both(Path),
    "datetime": _both(dt.datetime),
    "date": _both(dt.date),
    "time": _both(dt.time),
    "timedelta": _both(dt.timedelta),
    "int >= 0 < 10": _limits(int, ge=0, lt=10),
    "int > 0 <= 10": _limits(int, gt=0, le=10),
    "int contradictory": _limits(int, gt=5, ge=4, le=1, lt=0),
    "float 0..1": _limits(float, ge=0, le=1),
    "float > 0.5": _limits(float, gt=0.5),
    "decimal >= 1": _limits(Decimal, ge=1),
    "datetime bounds": _limits(dt.datetime, ge=dt.datetime(2020, 1, 1)),
    "date bounds": _limits(dt.date, gt=dt.date(2020, 1, 1)),
    "timedelta bounds": _limits(dt.timedelta, le=dt.timedelta(hours=1)),
    "str 2..3": _limits(str, min_length=2, max_length=3),
    "str 1..1": _limits(str, min_length=1, max_length=1),
    "str pattern": _limits(str, pattern="^[a-c]+$"),
    "str all": _limits(str, min_length=2, max_length=3, pattern="^z"),
    "literal text": _both(Literal["a", "b", "3"]),
    "literal mixed": _both(Literal["a", 1, None]),
    "literal bool": _both(Literal[True, "x"]),
    "literal int": _both(Literal[1, 2, 3]),
    "literal one": _both(Literal["a"]),
    "literal enum": _both(Literal[Level.LOW, "x"]),
    "str enum": _both(Colour),
    "text enum": _both(TextColour),
    "int enum": _both(Level),
    "float enum": _both(Ratio),
    "mixed enum": _both(Mixed),
    "optional int": _both(Optional[int]),
    "optional limits": _limits(Optional[int], ge=1),
    "int | str": _both(Union[int, str]),
    "str | int": _both(Union[str, int]),
    "bool | int | float | None": _both(Union[bool, int, float, None]),
    "int | float": _both(Union[int, float]),
    "float | int": _both(float | int),
    "bool | str": _both(Union[bool, str]),
    "int | list": _both(Union[int, list[int], dict[str, int]]),
    "many": _both(Union[list[str], dict[str, Any], tuple[int, ...], tuple[int, str], set[int]]),
    "enums": _both(Union[Colour, Level, Mixed]),
    "literal | bool": _both(Union[Literal["a", 1], bool]),
    "times": _both(Union[dt.datetime, dt.date, dt.time, dt.timedelta]),
    "texts": _both(Union[uuid.UUID, Decimal, int]),
    "any | int": _both(Union[Any, int]),
    "limited | limited": _both(
        Union[Annotated[int, pydantic.Field(ge=3)], Annotated[str, pydantic.Field(min_length=3)]]
    ),
    "limits on a union": _limits(Union[int, float], ge=3),
    "list": _both(list),
    "list[int]": _both(list[int]),
    "list[int] 2..3": _limits(list[int], min_length=2, max_length=3),
    "list[list[str]]": _both(list[list[str]]),
    "list[optional union]": _both(list[int | str | None]),
    "sequence": _both(Sequence[int]),
    "tuple": _both(tuple),
    "tuple[int, ...]": _both(tuple[int, ...]),
    "tuple[int, str]": _both(tuple[int, str]),
    "tuple[()]": _both(tuple[()]),
    "tuple 2..3": _limits(tuple[int, ...], min_length=2, max_length=3),
    "set": _both(set),
    "set[int]": _both(set[int]),
    "set 2..3": _limits(set[int], min_length=2, max_length=2),
    "frozenset[str]": _both(frozenset[str]),
    "dict": _both(dict),
    "dict[str, any]": _both(dict[str, Any]),
    "dict[int, str]": _both(dict[int, str]),
    "dict[str, list[int]]": _both(dict[str, list[int]]),
    "dict 1..1": _limits(dict[str, Any], min_length=1, max_length=1),
    "dict[enum, bool]": _both(dict[Colour, bool]),
    "mapping": _both(Mapping[str, int]),
    "dataclass": _both(Pair),
    "dataclass with checks": _both(Even),
    "list[dataclass with checks]": _both(list[Even]),
    "typed dict": _both(Box),
    "typed dict not total": _both(Loose),
    "named tuple": _both(Point),
    "model": (Inner, PInner),
    "nested model": (Outer, POuter),
    "open model": (Open, POpen),
    "recursive model": (Node, PNode),
    "foreign model": (POuter, POuter),
    "records in a union": _both(Union[Pair, Box, Point, int]),
    "tagged": (Circle | Square, Annotated[PCircle | PSquare, pydantic.Field(discriminator="kind")]),
    "tag with a default": (Dot | Line, Annotated[PDot | PLine, pydantic.Field(discriminator="kind")]),
    "bytes": _both(bytes),
    "path | int": _both(Path | int),
    "int | str with a bound": _limits(Union[int, str], ge=3),
    "optional tagged": (
        Circle | Square | None,
        Annotated[PCircle | PSquare | None, pydantic.Field(discriminator="kind")],
    ),
}

VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, -1, 7, 10, 2**63, -(2**64), 10**30, 1700000000, 1700000000000, 86400,
    0.0, 0.5, 1.0, 2.0, 2.5, -0.0, -1.3, 1e20, 1e300, INF, -INF, NAN,
    "", " ", "a", "b", "ab", "abc", "abcd", "zz", "abc\n", "3", " 3 ", "3.0", "3.5", "1_000", "1e3", "0x1",
    "٣", "é",
    "yes", "No", "TRUE", "on", "off", "1", "0", "nan", "inf", "null", "red", "x", "z", "1.5",
    "2032-04-23T09:15:30Z", "2032-04-23 09:15", "2032-04-23", "2019-01-01", "2032-02-30", "09:15",
    "09:15:30.5+02:00",
    "P1DT2H", "PT30M", "1 day, 01:00:00", "12345678-1234-5678-1234-567812345678",
    "12345678123456781234567812345678",
    [], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4], ["1", "x"], [1, "x"], [None], [[1]], [["a", 1]], [{}],
    [1, 1, 1], ["red"],
    [1.5, "2"], [True, 2.0], [7], [{"n": 3}, {"n": 4}, {"n": 7}],
    {}, {"a": 1}, {"a": "1"}, {"a": "q", "zz": 1}, {"a": None}, {"a": 1, "b": "x"},
    {"a": 1, "b": [1, "y", 3]},
    {"a": 1, "b": 2, "c": 3}, {"1": "x"}, {"1": 1, "x": []}, {"a": [1, "2"]}, {"red": "yes"}, {"x": 1},
    {"x": 1, "y": "2"},
    {"x": 1.5, "z": 0}, {"n": 2}, {"n": 3}, {"n": 7}, {"n": "x"}, {"kind": "circle", "r": 1},
    {"kind": "circle", "r": "x"},
    {"kind": "box", "side": 2}, {"kind": "square", "side": 2.5}, {"kind": "star"}, {"kind": 3},
    {"kind": None},
    {"kind": ["x"]}, {"kind": "circle"},
    {"inner": {"a": 1}},
    {"inner": {"a": "x"}, "others": [{"a": 1}, {"b": 2}, 3], "o": -1, "u": "x", "tags": [], "e": 1, "f": 2},
    {"inner": None}, {"inner": {"a": 1, "zz": 2}, "u": "2.5", "tags": {"k": [1]}},
    {"v": 1, "left": {"v": "2", "left": {"v": "x"}}, "kids": [{"v": 1}, {}]},
    {"v": 1, "left": {"v": 2}, "kids": [{"v": 3}]},
]  # fmt: skip


def load_ours(load: Callable[[Any], Any], value: Any) -> tuple[str, Any]:
    try:
        return "accepted", load(value)
    except SchemaError as error:
        return "refused", [_line(line) for line in error.errors]


def load_theirs(adapter: Any, value: Any) -> tuple[str, Any]:
    try:
        return "accepted", adapter.validate_python(value)
    except pydantic.ValidationError as error:
        return "refused", [_line(line) for line in error.errors(include_url=False)]
    except TypeError as error:
        return "raised", str(error)


def _line(line: dict[str, Any]) -> tuple[Any, ...]:
    ctx = {key: _text(item) for key, item in line.get("ctx", {}).items()}
    return line["type"], tuple(line["loc"]), line["msg"], repr(line["input"]), repr(ctx)


def _text(item: Any) -> Any:
    return str(item) if isinstance(item, Exception) else item


def comparable(value: Any) -> Any:
    """The same for the same value of the same types, whichever library made the classes."""
    if isinstance(value, pydantic.BaseModel | Model):
        return type(value).__name__.removeprefix("P"), comparable(_attributes(value))
    if isinstance(value, dt.datetime | dt.time) and value.tzinfo is not None:
        return type(value).__name__, value.isoformat()
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [comparable(item) for item in value]
    return type(value).__name__, repr(value)


def _attributes(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, pydantic.BaseModel) else dict(vars(value))


#: The reference's models are ours with a P before their names.
_PREFIXED = re.compile(r"\bP(?=(?:Inner|Outer|Open|Node|Circle|Square|Dot|Line)\b)")


def disagreement(name: str, value: Any) -> str | None:
    ours, theirs = _LOADERS[name]
    mine, reference = load_ours(ours, value), load_theirs(theirs, value)
    if mine[0] == "accepted" == reference[0]:
        mine, reference = comparable(mine[1]), comparable(reference[1])
    if any(kept.type_name == name and kept.concerns(value) for kept in KEPT_DIFFERENCES):
        return None
    expected = _PREFIXED.sub("", repr(reference))
    if repr(mine) == expected or repr(mine) == repr(reference):
        return None
    return f"{name} <- {value!r}\n  ours      {mine!r}\n  reference {expected}"


_LOADERS = {
    name: (schema_of(ours).load, pydantic.TypeAdapter(theirs)) for name, (ours, theirs) in TYPES.items()
}


@pytest.mark.parametrize("name", TYPES)
def test_every_json_value_loads_as_pydantic_loads_it(name: str) -> None:
    """Same acceptance, same value, same faults."""
    found = [text for value in VALUES if (text := disagreement(name, value)) is not None]
    assert not found, "\n".join(found[:6])


# Texts near the grammars of numbers, dates and durations are what finds differences.
_NUMERIC_TEXT = st.text("0123456789+-._e ", max_size=8)
_CLOCK_TEXT = st.text("0123456789:-+TZPDHMS.,day ", min_size=1, max_size=16)
_MOMENT_TEXT = st.builds(str, st.datetimes() | st.dates() | st.times() | st.timedeltas())
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-5, 12)
    | st.floats()
    | st.floats(-1e12, 1e12)
    | st.text(max_size=5)
    | st.sampled_from(["red", "1", "z", "circle", "a", "true"])
    | _NUMERIC_TEXT
    | _CLOCK_TEXT
    | _MOMENT_TEXT
)
_KEYS = st.sampled_from(
    ["a", "b", "c", "x", "y", "n", "kind", "r", "side", "v", "left", "kids", "inner", "o", "u", "1"]
)
JSON_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("name", TYPES)
def test_made_up_json_values_load_as_pydantic_loads_them(name: str) -> None:
    """The same for values that nobody thought of."""

    @settings(
        max_examples=25,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(JSON_VALUES)
    def agree(value: Any) -> None:
        assert disagreement(name, value) is None

    agree()


def test_every_kept_difference_exists() -> None:
    """A difference that has gone is taken off the list."""
    for kept in KEPT_DIFFERENCES:
        ours, theirs = _LOADERS[kept.type_name]
        values = [value for value in VALUES if kept.concerns(value)]
        assert any(repr(load_ours(ours, v)) != repr(load_theirs(theirs, v)) for v in values), kept.type_name


def schema_disagreement(name: str) -> str | None:
    ours, theirs = TYPES[name]
    mine, reference = schema_of(ours).json_schema, pydantic.TypeAdapter(theirs).json_schema()
    renamed = json.loads(_PREFIXED.sub("", json.dumps(reference)))
    if mine == renamed:
        return None
    shown = [json.dumps(schema, sort_keys=True) for schema in (mine, renamed)]
    return f"{name}\n  ours      {shown[0]}\n  reference {shown[1]}"


@pytest.mark.parametrize("name", TYPES)
def test_json_schemas_are_what_pydantic_gives(name: str) -> None:
    """Same meaning, in the same words, so that clients made for one read the other."""
    found = schema_disagreement(name)
    assert found is None or name in KEPT_SCHEMA_DIFFERENCES, found


@pytest.mark.parametrize("name", TYPES)
def test_every_json_schema_is_one(name: str) -> None:
    """The draft's own schema accepts it."""
    jsonschema = pytest.importorskip("jsonschema", reason="checks schemas; install the test extra")
    jsonschema.Draft202012Validator.check_schema(schema_of(TYPES[name][0]).json_schema)
