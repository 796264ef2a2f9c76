"""Typed objects to payloads and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel
from pydantic import Field as PydanticField

from openenv import Action, EnvClient, Observation, State, StepResult
from openenv.client import GenericAction, GenericEnvClient
from openenv.client.payloads import dump_action
from openenv.errors import SchemaError

A = TypeVar("A")


class Move(Action):
    row: int
    column: int = 0


class Seen(Observation):
    board: list[int] = []  # noqa: RUF012 - ours copies it
    truncated: bool = False


class Where(State):
    last: str = ""


@dataclass
class PlainMove:
    row: int
    tags: list[str] = field(default_factory=list)


class ForeignMove(BaseModel):
    row: int
    metadata: dict[str, Any] = PydanticField(default_factory=dict)


class ForeignSeen(BaseModel):
    board: list[int]


class Whole(EnvClient[Move, Seen, Where]):
    pass


class Between(EnvClient[A, Seen, State], Generic[A]):
    pass


class Given(Between[Move]):
    pass


class Later(EnvClient["Move", "Seen", "Unknown"]):  # type: ignore[type-arg, name-defined]
    pass


PAYLOAD = {"observation": {"metadata": {"k": 1}, "board": [1]}, "reward": 2, "done": True}


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        (Move(row=1), {"row": 1, "column": 0}),
        (Move(row=1, metadata={"a": 1}), {"metadata": {"a": 1}, "row": 1, "column": 0}),
        (PlainMove(1), {"row": 1, "tags": []}),
        (ForeignMove(row=1), {"row": 1}),
        (ForeignMove(row=1, metadata={"a": 1}), {"row": 1, "metadata": {"a": 1}}),
        ({"row": 1}, {"row": 1}),
        (GenericAction(row=1), {"row": 1}),
        (MappingProxyType({"row": 1}), {"row": 1}),
    ],
)
def test_an_action_of_any_kind_is_dumped_by_its_fields(action: Any, payload: dict[str, Any]) -> None:
    """Empty metadata is left away: not every server's action has the field."""
    assert dump_action(action) == payload


@pytest.mark.parametrize("client_class", [Whole, Between, Given, Later])
def test_the_type_parameters_are_the_whole_client(client_class: Any) -> None:
    """Given directly, through a generic class between, or by name."""
    result = client_class(base_url="http://h")._parse_result(
        {**PAYLOAD, "observation": dict(PAYLOAD["observation"])}
    )  # type: ignore[call-overload]
    assert result == StepResult(Seen(board=[1], metadata={"k": 1}, done=True, reward=2), 2, True, {"k": 1})


def test_a_name_that_cannot_be_found_means_dicts() -> None:
    """As no parameter does."""
    assert Later(base_url="http://h")._parse_state({"x": 1}) == {"x": 1}


@pytest.mark.parametrize("data_key", [True, False])
@pytest.mark.parametrize("observation_key", [True, False])
def test_metadata_may_be_anywhere_or_nowhere(data_key: bool, observation_key: bool) -> None:
    """0.10 sends it twice, 0.2 and 0.3 never (wire.md section 7)."""
    payload: dict[str, Any] = {"observation": {"board": []}, "reward": None, "done": False}
    if data_key:
        payload["metadata"] = {"k": 1}
    if observation_key:
        payload["observation"]["metadata"] = {"k": 1}
    result = Whole(base_url="http://h")._parse_result(payload)
    expected = {"k": 1} if data_key or observation_key else None
    assert (result.metadata, result.observation.metadata) == (expected, expected or {})


def test_what_the_class_does_not_know_is_left_away() -> None:
    """A newer server may show more; a class without done and reward is one too."""
    payload: dict[str, Any] = {"observation": {"board": [1], "new": 1}, "reward": 1, "done": False, "x": 2}

    class Foreign(EnvClient[Any, ForeignSeen, Any]):
        pass

    assert Whole(base_url="http://h")._parse_result({**payload}).observation.board == [1]
    payload["observation"] = {"board": [1], "new": 1}
    assert Foreign(base_url="http://h")._parse_result(payload).observation == ForeignSeen(board=[1])


def test_an_observation_that_does_not_fit_says_so() -> None:
    """With the faults, in words of the client's side."""
    with pytest.raises(SchemaError, match=r"reply does not fit Seen.*board"):
        Whole(base_url="http://h")._parse_result({"observation": {"board": "x", "new": 1}})


def test_truncated_is_told_apart_from_terminated() -> None:
    """The 5-tuple of Gymnasium."""
    payload: dict[str, Any] = {"observation": {"board": []}, "reward": None, "done": True, "truncated": True}
    result = Whole(base_url="http://h")._parse_result(payload)
    assert (result.terminated, result.truncated, result.observation.truncated) == (False, True, True)
    assert result.as_gymnasium() == (result.observation, 0.0, False, True, {})


def test_a_state_keeps_what_its_class_does_not_declare() -> None:
    """States allow extra fields."""
    state = Whole(base_url="http://h")._parse_state(
        {"episode_id": "e", "step_count": 2, "last": "x", "more": 1}
    )
    assert (state.step_count, state.last, state.more) == (2, "x", 1)  # type: ignore[attr-defined]


def test_without_types_payloads_are_dicts() -> None:
    """Left as they came."""
    client = GenericEnvClient(base_url="http://h")
    result = client._parse_result({"observation": {"a": 1}, "reward": True, "done": False})
    assert result == StepResult({"a": 1}, True, False)
    assert client._parse_state({"a": 1}) == {"a": 1}
