"""Schemas: loading, dumping, describing, and what an environment's annotations say."""

# ruff: noqa: RUF012, UP045 -- mutable defaults and old spellings are what is tested

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import subprocess
import sys
import uuid
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, NamedTuple, Optional, TypedDict, TypeVar

import pytest

from openenv import codec
from openenv.errors import SchemaError
from openenv.models import Action, EnvironmentMetadata, Model, Observation, State, field
from openenv.schema import dump_observation, dump_state, infer_types, jsonable, schema_of

T = TypeVar("T")


class EchoAction(Action):
    """Action for the Echo environment - just a message to echo."""

    message: str = field(description="Message to echo back")


class EchoObservation(Observation):
    echoed_message: str = ""
    message_length: int = 0


class Colour(enum.Enum):
    RED = "red"


class Point(Model):
    x: float
    y: float = 0.0


class Rich(Action, extra="forbid"):
    when: Optional[dt.datetime] = None
    colour: Colour = Colour.RED
    at: Point = Point(x=1.0)
    path: list[Point] = []
    data: bytes = b""


@dataclasses.dataclass
class Plain:
    text: str
    n: int = 0


class Box(Model, Generic[T]):
    item: T
    items: list[T] = []


class IntBox(Box[int]):
    more: str = ""


class Tree(Model):
    value: int
    children: list[Tree] = []


def faults(annotation: Any, value: Any) -> list[tuple[str, list[Any]]]:
    with pytest.raises(SchemaError) as caught:
        schema_of(annotation).load(value)
    return [(error["type"], error["loc"]) for error in caught.value.errors]


def wire(value: Any) -> Any:
    return codec.decode(codec.encode(value, jsonable))


# ---- loading


def test_json_becomes_the_object() -> None:
    """Defaults filled in, each its own."""
    load = schema_of(EchoAction).load
    action = load({"message": "hi", "metadata": {"k": 1}})
    assert action == EchoAction(message="hi", metadata={"k": 1})
    assert load({"message": "a"}).metadata is not load({"message": "a"}).metadata


def test_every_fault_is_reported_at_once() -> None:
    """In order of declaration, unknown keys last, with text and input."""
    with pytest.raises(SchemaError) as caught:
        schema_of(EchoAction).load({"x": 2, "message": 1, "metadata": []})
    assert caught.value.errors == [
        {"type": "dict_type", "loc": ["metadata"], "msg": "Input should be a valid dictionary", "input": []},
        {"type": "string_type", "loc": ["message"], "msg": "Input should be a valid string", "input": 1},
        {"type": "extra_forbidden", "loc": ["x"], "msg": "Extra inputs are not permitted", "input": 2},
    ]


def test_a_missing_field_shows_the_whole_input() -> None:
    """As upstream."""
    with pytest.raises(SchemaError) as caught:
        schema_of(EchoAction).load({})
    assert caught.value.errors == [
        {"type": "missing", "loc": ["message"], "msg": "Field required", "input": {}}
    ]


@pytest.mark.parametrize("value", [None, 1, "x", [], True])
def test_what_is_no_object_is_refused(value: Any) -> None:
    """With the class's name."""
    assert faults(EchoAction, value) == [("model_type", [])]


def test_an_object_of_the_class_is_taken_as_it_is() -> None:
    """In-process callers may pass one."""
    action = EchoAction(message="x")
    assert schema_of(EchoAction).load(action) is action


def test_fast_and_thorough_loading_agree() -> None:
    """The same object whether values need converting or not."""
    load = schema_of(Rich).load
    exact = load({"at": {"x": 1.0}, "path": [{"x": 1.0, "y": 2.0}]})
    lax = load({"at": {"x": "1"}, "path": [{"x": 1, "y": "2.0"}]})
    assert exact == lax
    assert type(lax.at.x) is float


def test_an_author_s_check_is_a_fault_of_the_object() -> None:
    """Text, not an exception object, stands in its context."""

    class Even(Action):
        n: int

        def __post_init__(self) -> None:
            if self.n % 2:
                raise ValueError("must be even")

    with pytest.raises(SchemaError) as caught:
        schema_of(Even).load({"n": 1})
    assert caught.value.errors == [
        {"type": "value_error", "loc": [], "msg": "Value error, must be even", "input": {"n": 1},
         "ctx": {"error": "must be even"}},
    ]  # fmt: skip
    assert schema_of(Even).load({"n": 2}).n == 2


def test_limits_may_stand_in_annotated_or_in_field() -> None:
    """Ours, or anything that has attributes of those names."""

    class Limit:
        ge = 3

    class Limited(Model):
        a: Annotated[int, field(ge=1)] = 1
        b: Annotated[int, Limit()] = 3
        c: int = field(default=5, le=5)

    assert faults(Limited, {"a": 0, "b": 2, "c": 6}) == [
        ("greater_than_equal", ["a"]), ("greater_than_equal", ["b"]), ("less_than_equal", ["c"]),
    ]  # fmt: skip


def test_a_state_keeps_unknown_keys_and_a_dataclass_ignores_them() -> None:
    """Each as its base says."""
    assert dump_state(schema_of(State).load({"mood": "calm", "step_count": "2"})) == {
        "episode_id": None, "step_count": 2, "mood": "calm",
    }  # fmt: skip
    assert schema_of(Plain).load({"text": "a", "zz": 1}) == Plain("a")


def test_generic_and_recursive_models_load() -> None:
    """Type parameters are filled in, by alias and by inheritance."""
    assert schema_of(Box[int]).load({"item": "3"}).item == 3
    assert schema_of(Box).load({"item": "3"}).item == "3"
    assert faults(IntBox, {"item": "x", "items": [1, "y"]}) == [
        ("int_parsing", ["item"]),
        ("int_parsing", ["items", 1]),
    ]
    assert schema_of(Tree).load({"value": 1, "children": [{"value": 2}]}).children[0].value == 2
    assert faults(Tree, {"value": 1, "children": [{"value": 2, "children": [{}]}]}) == [
        ("missing", ["children", 0, "children", 0, "value"])
    ]


def test_nesting_that_is_too_deep_is_a_fault() -> None:
    """Not a RecursionError: a peer can send any depth."""
    deep: dict[str, Any] = {"value": 1}
    for _ in range(900):
        deep = {"value": 1, "children": [deep]}
    assert faults(Tree, deep) == [("recursion_loop", [])]


def test_lists_of_plain_items_are_copied_and_limited() -> None:
    """The short cut for them changes nothing."""

    class Tokens(Action):
        tokens: list[int] = field(min_length=1, max_length=3)

    given = {"tokens": [1, 2]}
    assert schema_of(Tokens).load(given).tokens is not given["tokens"]
    assert schema_of(Tokens).load({"tokens": [1, True, "3"]}).tokens == [1, 1, 3]
    assert faults(Tokens, {"tokens": [1, 2, 3, 4]}) == [("too_long", ["tokens"])]
    assert faults(Tokens, {"tokens": []}) == [("too_short", ["tokens"])]


def test_classes_made_inside_a_function_may_name_each_other() -> None:
    """Their annotations are looked up where the class was made."""

    class Inner(Model):
        a: int

    class Outer(Model):
        inner: Inner

    assert schema_of(Outer).load({"inner": {"a": 1}}).inner == Inner(a=1)


def test_an_annotation_that_cannot_be_found_is_named() -> None:
    """With what to do about it."""
    namespace: dict[str, Any] = {}
    exec(
        "from openenv.models import Model\nclass Lost(Model):\n    a: 'Nowhere'\n",
        {"__name__": __name__},
        namespace,
    )
    with pytest.raises(TypeError, match=r"Nowhere.*TYPE_CHECKING"):
        schema_of(namespace["Lost"]).load({})


def test_bytes_are_base64() -> None:
    """There and back."""
    load = schema_of(bytes).load
    assert load("/+8=") == load("_-8") == b"\xff\xef"
    assert faults(bytes, "%%") == [("bytes_invalid_encoding", [])]


def test_a_dict_and_typed_dicts_and_named_tuples_load() -> None:
    """Whatever an author declares."""

    class Cell(NamedTuple):
        x: int
        y: int = 0

    class Row(TypedDict, total=False):
        a: int

    assert schema_of(dict).load({"a": 1}) == {"a": 1}
    assert schema_of(Row).load({"a": "1", "zz": 2}) == {"a": 1}
    assert schema_of(Cell).load([1]) == Cell(1)


def test_arrays_load_without_our_importing_numpy() -> None:
    """The library is the one that the annotation names."""
    numpy = pytest.importorskip("numpy", reason="arrays are numpy's; install the test extra")
    scope = {"numpy": numpy}

    class Grid(Model):
        cells: numpy.ndarray

    Grid.__scope__ = scope
    assert schema_of(Grid).load({"cells": [[1, 2]]}).cells.shape == (1, 2)
    assert faults(Grid, {"cells": 3}) == [("value_error", ["cells"])]


# ---- pydantic by shape


def test_a_pydantic_model_loads_and_its_faults_are_json() -> None:
    """An exception object in `ctx` becomes text, and no documentation URL is added."""
    pydantic = pytest.importorskip("pydantic", reason="shape of its models; install the test extra")

    class Foreign(pydantic.BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def even(cls, value: int) -> int:
            if value % 2:
                raise ValueError("must be even")
            return value

    assert schema_of(Foreign).load({"n": "2"}).n == 2
    with pytest.raises(SchemaError) as caught:
        schema_of(Foreign).load({"n": 1})
    assert caught.value.errors == [
        {"type": "value_error", "loc": ["n"], "msg": "Value error, must be even", "input": 1,
         "ctx": {"error": "must be even"}},
    ]  # fmt: skip
    assert schema_of(Foreign).json_schema["required"] == ["n"]


def test_a_pydantic_observation_without_metadata_is_dumped() -> None:
    """A plain BaseModel has none, and no reward either."""
    pydantic = pytest.importorskip("pydantic", reason="shape of its models; install the test extra")

    class Bare(pydantic.BaseModel):
        text: str

    class Full(Bare):
        done: bool = True
        reward: int = 1
        metadata: dict[str, Any] = {"k": 1}

    assert dump_observation(Bare(text="a")) == ({"text": "a"}, None, False, None)
    assert dump_observation(Full(text="a")) == ({"text": "a", "metadata": {"k": 1}}, 1, True, {"k": 1})


# ---- dumping


def test_an_observation_is_taken_apart() -> None:
    """Metadata first and always, reward and done beside it, types kept."""
    observation = EchoObservation(echoed_message="a", reward=1, done=True)
    assert dump_observation(observation) == (
        {"metadata": {}, "echoed_message": "a", "message_length": 0}, 1, True, None,
    )  # fmt: skip
    assert list(dump_observation(observation)[0]) == ["metadata", "echoed_message", "message_length"]
    observation.metadata["k"] = 2
    assert dump_observation(observation)[3] == {"k": 2}


def test_dicts_and_dataclasses_are_observations_too() -> None:
    """Their reward, done and metadata are found by name."""
    given = {"a": 1, "reward": 2, "done": True, "metadata": {"k": 1}}
    assert dump_observation(given) == ({"a": 1, "metadata": {"k": 1}}, 2, True, {"k": 1})
    assert dump_observation(Plain("x")) == ({"text": "x", "n": 0}, None, False, None)


@pytest.mark.parametrize("value", [None, 1, "x", [1]])
def test_what_is_no_observation_is_refused_by_name(value: Any) -> None:
    """The author sees what came and what was expected."""
    with pytest.raises(TypeError, match=rf"expected an observation.*got {type(value).__name__}"):
        dump_observation(value)


def test_nested_values_are_dumped_by_their_fields_only() -> None:
    """What was assigned without being declared stays at home."""

    class Holder(Observation):
        point: Point
        points: dict[str, list[Point]] = {}
        either: Point | int = 3

    point = Point(x=1)
    point.secret = 1  # type: ignore[attr-defined]
    dumped = dump_observation(Holder(point=point, points={"a": [point]}, either=point))[0]
    shown = {"x": 1.0, "y": 0.0}
    assert wire(dumped) == {"metadata": {}, "point": shown, "points": {"a": [shown]}, "either": shown}


def test_a_float_field_shows_a_float() -> None:
    """Whatever was assigned: upstream converts on construction."""
    assert codec.encode(schema_of(Point).dump(Point(x=1))) == b'{"x":1.0,"y":0.0}'


def test_states_show_every_field_and_then_the_rest() -> None:
    """Whatever kind of object `state` gives."""

    class Score(State):
        points: int = 1

    score = Score(board=[1], episode_id="e")
    score.mood = "calm"  # type: ignore[attr-defined]
    score._private = 1  # type: ignore[attr-defined]
    assert list(dump_state(score).items()) == [
        ("episode_id", "e"), ("step_count", 0), ("points", 1), ("board", [1]), ("mood", "calm"),
    ]  # fmt: skip
    assert dump_state(Plain("a")) == {"text": "a", "n": 0}
    assert dump_state({"a": 1}) == {"a": 1}
    assert dump_state(None) == dump_state({}) == {}


def test_a_state_method_is_not_called() -> None:
    """The author is told to make it a property."""
    with pytest.raises(TypeError, match="@property"):
        dump_state(EchoAction(message="a").__repr__)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"\xff", "/w=="),
        ({1}, [1]),
        (frozenset("a"), ["a"]),
        (Decimal("1.50"), "1.50"),
        (PurePosixPath("a/b"), "a/b"),
        (dt.timedelta(days=400, hours=1, seconds=2.5), "P1Y35DT1H2.5S"),
        (-dt.timedelta(minutes=5), "-PT5M"),
        (dt.timedelta(0), "PT0S"),
        (dt.time(9, 15, tzinfo=dt.UTC), "09:15:00Z"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        (iter([1, 2]), [1, 2]),
        (Point(x=1.5), {"x": 1.5, "y": 0.0}),
    ],
)  # fmt: skip
def test_values_have_their_json_form(value: Any, shown: Any) -> None:
    """Those that the encoder knows and those that it does not."""
    assert wire({"a": value}) == {"a": shown}


def test_what_has_no_json_form_is_named() -> None:
    """An object of the author's own is not guessed at."""
    with pytest.raises(TypeError, match="object has no JSON form"):
        jsonable(object())


def test_arrays_of_every_layout_are_written() -> None:
    """Contiguous ones by the encoder, the others by `tolist`."""
    numpy = pytest.importorskip("numpy", reason="arrays are numpy's; install the test extra")
    grid = numpy.arange(6).reshape(2, 3)
    assert wire([grid, grid[:, ::2], numpy.float32(1.5), numpy.array(["a"]), numpy.array([None])]) == [
        [[0, 1, 2], [3, 4, 5]], [[0, 2], [3, 5]], 1.5, ["a"], [None],
    ]  # fmt: skip


# ---- describing


def test_the_template_s_schemas_are_upstream_s() -> None:
    """Recorded from the incumbent, 0.10."""
    metadata = {"additionalProperties": True, "title": "Metadata", "type": "object"}
    assert schema_of(EchoAction).json_schema == {
        "additionalProperties": False,
        "description": "Action for the Echo environment - just a message to echo.",
        "properties": {
            "metadata": {**metadata, "description": "Additional metadata for the action"},
            "message": {"description": "Message to echo back", "title": "Message", "type": "string"},
        },
        "required": ["message"],
        "title": "EchoAction",
        "type": "object",
    }
    numbers = [{"type": "boolean"}, {"type": "integer"}, {"type": "number"}, {"type": "null"}]
    reward = {"anyOf": numbers, "default": None, "title": "Reward"}
    assert schema_of(EchoObservation).json_schema == {
        "additionalProperties": False,
        "properties": {
            "done": {
                "default": False,
                "description": "Whether the episode has terminated",
                "title": "Done",
                "type": "boolean",
            },
            "reward": {**reward, "description": "Reward signal from the last action"},
            "metadata": {**metadata, "description": "Additional metadata for the observation"},
            "echoed_message": {"default": "", "title": "Echoed Message", "type": "string"},
            "message_length": {"default": 0, "title": "Message Length", "type": "integer"},
        },
        "title": "EchoObservation",
        "type": "object",
    }


@pytest.mark.parametrize(
    "cls", [Action, Observation, State, EnvironmentMetadata, Rich, Tree, Box[int], Plain]
)
def test_every_schema_is_valid_and_accepts_what_loads(cls: Any) -> None:
    """By the draft's own meta-schema."""
    jsonschema = pytest.importorskip("jsonschema", reason="checks schemas; install the test extra")
    jsonschema.Draft202012Validator.check_schema(schema_of(cls).json_schema)


def test_defaults_in_a_schema_are_json() -> None:
    """Enumerations by value, models by their fields, bytes in base64."""
    properties = schema_of(Rich).json_schema["properties"]
    defaults = {name: said.get("default") for name, said in properties.items()}
    assert defaults == {
        "metadata": None, "when": None, "colour": "red", "at": {"x": 1.0, "y": 0.0}, "path": [], "data": "",
    }  # fmt: skip


# ---- what annotations say

ActT, ObsT, StateT = TypeVar("ActT"), TypeVar("ObsT"), TypeVar("StateT")


class Environment(Generic[ActT, ObsT, StateT]):
    def reset(self) -> ObsT: ...
    def step(self, action: ActT) -> ObsT: ...

    @property
    def state(self) -> StateT: ...


class ByParameter(Environment[EchoAction, EchoObservation, State]):
    pass


class ByParameterDeeper(ByParameter):
    pass


class ByAnnotation(Environment):  # type: ignore[type-arg]
    def step(self, action: EchoAction, timeout_s: float | None = None) -> Optional[EchoObservation]: ...  # type: ignore[override]

    @property
    def state(self) -> State: ...


class ByNothing:
    def step(self, action): ...  # type: ignore[no-untyped-def]
    def reset(self) -> None: ...


class Unresolvable:
    def step(self, action: "Nowhere.Action") -> "Nowhere[": ...  # type: ignore[name-defined, valid-type, syntax, unused-ignore]  # noqa: F722, F821, UP037


class Async:
    async def step(self, action: dict[str, Any]) -> dict[str, Any]: ...

    state: State


@pytest.mark.parametrize(
    ("cls", "types"),
    [
        (ByParameter, (EchoAction, EchoObservation, State)),
        (ByParameterDeeper, (EchoAction, EchoObservation, State)),
        (ByAnnotation, (EchoAction, EchoObservation, State)),
        (ByNothing, (None, None, None)),
        (Unresolvable, (None, None, None)),
        (Async, (dict[str, Any], dict[str, Any], None)),
        (Environment, (None, None, None)),
    ],
)  # fmt: skip
def test_an_environment_s_types_are_read_where_it_says_them(cls: type, types: Any) -> None:
    """Type parameters, then annotations; nothing is an answer too."""
    assert infer_types(cls) == types


# ---- costs


def test_neither_pydantic_nor_numpy_is_imported() -> None:
    """Both are recognised by shape."""
    code = (
        "import sys, openenv.schema, openenv.models\n"
        "print([name for name in ('pydantic', 'numpy', 'jsonschema', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("cls", "value"),
    [
        (list[int], [{}] * 1000),
        (set[int], [[]] * 1000),
        (dict[str, int], {str(number): {} for number in range(1000)}),
        (list[list[int]], [[{}] * 30] * 30),
    ],
)
def test_looking_for_faults_ends_after_a_hundred(cls: Any, value: Any) -> None:
    """And the last line says that there are more."""
    with pytest.raises(SchemaError) as caught:
        schema_of(cls).load(value)
    assert len(caught.value.errors) == 101
    assert caught.value.errors[-1]["type"] == "too_many_errors"


def test_unknown_fields_beyond_a_hundred_are_not_listed() -> None:
    """Of an action as of a named tuple."""

    class Move(Action):
        to: int

    class Point(NamedTuple):
        x: int

    unknown = dict.fromkeys(map(str, range(1000)), 0)
    for cls, value in ((Move, {"to": 1, **unknown}), (Point, {"x": 1, **unknown})):
        with pytest.raises(SchemaError) as caught:
            schema_of(cls).load(value)
        assert [error["loc"] for error in caught.value.errors[:2]] == [["0"], ["1"]]
        assert len(caught.value.errors) == 101
