"""Models: dataclasses by inheritance, without a decorator and without surprises."""

# ruff: noqa: RUF009, RUF012 -- mutable defaults are what is tested

from __future__ import annotations

import abc
import copy
import dataclasses
import pickle
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from openenv.models import Action, EnvironmentMetadata, Model, Observation, State, StepResult, field

T = TypeVar("T")


class Move(Action):
    """A move."""

    row: int = field(ge=0, le=2)
    tags: list[str] = []
    note: str = ""
    _cache: dict[str, int] = {}
    LIMIT: ClassVar[list[int]] = [1]

    def describe(self) -> str:
        return f"{self.row}{self.note}"

    @property
    def doubled(self) -> int:
        return 2 * self.row


class Deep(Move):
    extra_row: int


class Boxed(Observation, Generic[T]):
    item: T


class Score(State):
    points: int = 0


def test_a_subclass_is_a_dataclass_without_a_decorator() -> None:
    """Fields come base class first and are arguments by name."""
    assert [f.name for f in dataclasses.fields(Deep) if f.init] == [
        "metadata", "row", "tags", "note", "extra_row",
    ]  # fmt: skip
    assert Deep(row=1, extra_row=2) == Deep(extra_row=2, row=1)
    assert dataclasses.replace(Move(row=1), row=2).row == 2
    assert dataclasses.asdict(Move(row=1))["row"] == 1


def test_a_required_field_cannot_be_left_out() -> None:
    """As for any function with that argument."""
    with pytest.raises(TypeError, match="row"):
        Move()  # type: ignore[call-arg]


def test_arguments_cannot_be_given_by_position() -> None:
    """A new field of a base class would shift them."""
    with pytest.raises(TypeError):
        Move(1)  # type: ignore[call-arg, arg-type, misc]


def test_mutable_defaults_are_not_shared() -> None:
    """Each object has a copy of its own."""
    one, other = Move(row=1), Move(row=1)
    one.tags.append("x")
    one.metadata["k"] = 1
    one._cache["k"] = 1
    assert (other.tags, other.metadata, other._cache) == ([], {}, {})
    assert Move.LIMIT == [1]


def test_values_are_not_checked_by_python_code() -> None:
    """Only JSON from a peer is."""
    move = Move(row="x")  # type: ignore[arg-type]
    move.row = 99
    assert move.row == 99


def test_private_names_are_no_fields() -> None:
    """They are attributes with their default, left out of comparison and repr."""
    move = Move(row=1)
    move._cache["k"] = 1
    assert move == Move(row=1)
    assert "_cache" not in repr(move)
    with pytest.raises(TypeError):
        Move(row=1, _cache={})  # type: ignore[call-arg]


def test_methods_properties_and_docstrings_stay_the_author_s() -> None:
    """The class is what was written."""
    assert Move(row=1, note="a").describe() == "1a"
    assert Move(row=2).doubled == 4
    assert Move.__doc__ == "A move."
    assert Deep.__doc__ is None


def test_post_init_and_a_written_init_are_called() -> None:
    """As in any dataclass."""

    class Sorted(Model):
        items: list[int]

        def __post_init__(self) -> None:
            self.items.sort()

    class Own(Model):
        n: int

        def __init__(self, text: str) -> None:
            self.n = len(text)

    assert Sorted(items=[2, 1]).items == [1, 2]
    assert Own("abc").n == 3


def test_a_state_keeps_what_it_does_not_declare() -> None:
    """In order, after the fields, in comparison and in repr."""
    score = Score(points=1, board=[1], mood="calm")
    assert (score.points, score.board, score.mood) == (1, [1], "calm")
    assert score != Score(points=1)
    assert repr(score) == "Score(episode_id=None, step_count=0, points=1, board=[1], mood='calm')"
    assert copy.deepcopy(score) == score
    assert pickle.loads(pickle.dumps(State(a=1))) == State(a=1)


def test_an_undeclared_argument_cannot_replace_a_method() -> None:
    """It is kept beside it."""

    class Odd(State):
        @property
        def size(self) -> int:
            return 3

    odd = Odd(size=9, self=1)
    assert odd.size == 3
    assert vars(odd)["size"] == 9


def test_only_an_open_model_takes_undeclared_arguments() -> None:
    """A misspelt name is a mistake elsewhere."""

    class Open(Action, extra="allow"):
        a: int = 0

    assert vars(Open(b=1))["b"] == 1
    with pytest.raises(TypeError):
        Move(row=1, colour="red")  # type: ignore[call-arg]


def test_generic_and_abstract_models_work() -> None:
    """Type parameters and other metaclasses change nothing."""

    class Abstract(Action, abc.ABC):
        n: int = 1

    assert Boxed[int](item=3).item == 3
    assert Abstract().n == 1


def test_an_author_s_own_dataclass_decorator_changes_nothing() -> None:
    """Existing environments have it."""

    @dataclasses.dataclass
    class Old(Action):
        message: str
        tags: list[str] = field(default_factory=list)
        n: int = field(default=3, ge=2)

    old = Old(message="x")
    assert (old.tags, old.n) == ([], 3)
    assert Old.__model_fields__["n"].metadata["openenv"] == {"ge": 2}


def test_field_cannot_take_two_defaults() -> None:
    """Which would be meant?"""
    with pytest.raises(TypeError, match="not both"):
        field(default=1, default_factory=int)


def test_models_are_compared_by_class_and_value_and_not_hashed() -> None:
    """They can be changed."""
    assert Observation(reward=1) == Observation(reward=1.0)
    assert Observation() != Action()
    with pytest.raises(TypeError):
        hash(Observation())


def test_the_nouns_have_their_defaults() -> None:
    """As existing environments expect them."""
    observation, state = Observation(), State()
    assert (observation.done, observation.reward, observation.metadata) == (False, None, {})
    assert (state.episode_id, state.step_count) == (None, 0)
    assert EnvironmentMetadata(name="n", description="d").version is None
    result: StepResult[Any] = StepResult({"a": 1})
    assert (result.reward, result.done, result.metadata) == (None, False, None)
