"""The compiled way of a common reply and the general way give the same, or the same error."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openenv import Action, EnvClient, Observation, State, field
from openenv.client.payloads import dump_action
from openenv.client.plain import plain_dump_of, plain_result_of
from openenv.errors import SchemaError
from openenv.schema import schema_of


class Inner(Observation):
    n: int = 0


class Seen(Observation):
    text: str = ""
    count: int = field(default=0, ge=0)
    share: float = 0.0
    board: list[int] = []  # noqa: RUF012 - ours copies it
    inner: Inner | None = None
    truncated: bool = False


class Strict(Observation):
    reward: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict, min_length=1)


class Own(Observation):
    text: str = ""

    def __post_init__(self) -> None:
        self.text = self.text.upper()


class SeenEnv(EnvClient[Action, Seen, State]):
    pass


SHOWN = {
    "metadata": {},
    "text": "a",
    "count": 1,
    "share": 0.5,
    "board": [1, 2],
    "inner": {"n": 1},
    "truncated": False,
}
COMMON = {"observation": SHOWN, "reward": 1, "done": False}


def outcome(client: EnvClient[Any, Any, Any], payload: Any) -> Any:
    """The result, with the types of what is in it; or the fault."""
    try:
        result = client._parse_result(copy.deepcopy(payload))
    except SchemaError as error:
        return str(error)
    seen = result.observation
    return result, repr(result), vars(seen), [type(value) for value in vars(seen).values()]


def both(payload: Any) -> tuple[Any, Any]:
    """The outcome with the compiled way, and without."""
    with_it, without = SeenEnv(base_url="http://h"), SeenEnv(base_url="http://h")
    assert with_it._plain_result is not None
    without._plain_result = None
    return outcome(with_it, payload), outcome(without, payload)


def test_a_common_reply_is_taken() -> None:
    """Otherwise nothing here would be tested."""
    take = plain_result_of(Seen)
    assert take is not None
    result = take(copy.deepcopy(COMMON))
    assert result is not None
    assert result.observation.board == [1, 2]
    assert result.observation.inner == Inner(n=1)
    assert (result.reward, result.done, result.metadata, result.truncated) == (1, False, None, False)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-2, max_value=2),
    st.floats(allow_nan=False),
    st.sampled_from(["", "x", "1", [], [1], [1.5], ["1"], {}, {"n": 1}, {"n": "1"}, {"n": []}, {"k": 1}]),
)


@given(
    st.dictionaries(st.sampled_from([*SHOWN, "reward", "done", "new"]), VALUES, max_size=3),
    st.dictionaries(
        st.sampled_from(["reward", "done", "metadata", "truncated", "x", "observation"]), VALUES, max_size=2
    ),
    st.sets(st.sampled_from([*SHOWN]), max_size=1),
    st.sets(st.sampled_from([*COMMON]), max_size=1),
)
@settings(max_examples=600, derandomize=True, deadline=None)
def test_both_ways_give_the_same(
    shown: dict[str, Any], data: dict[str, Any], hidden: set[str], left_out: set[str]
) -> None:
    """Whatever is changed in, added to or missing from a common reply."""
    payload: dict[str, Any] = {**COMMON, "observation": {**SHOWN, **shown}, **data}
    if isinstance(payload["observation"], dict):
        payload["observation"] = {k: v for k, v in payload["observation"].items() if k not in hidden}
    payload = {k: v for k, v in payload.items() if k not in left_out}
    with_it, without = both(payload)
    assert with_it == without


@pytest.mark.parametrize("cls", [Own, Strict, dict, Any, int, dict[str, int]])
def test_a_class_that_needs_more_is_left_to_the_general_way(cls: Any) -> None:
    """Code of its own, limits on its metadata, no class of ours."""
    assert plain_result_of(cls) is None


def test_a_class_whose_annotations_cannot_be_read_yet_is_looked_at_again() -> None:
    """It may be complete when the next client is made."""

    class Early(Observation):
        later: Later  # type: ignore[name-defined] # noqa: F821

    assert plain_result_of(Early) is None
    globals()["Later"] = int
    try:
        assert plain_result_of(Early) is not None
    finally:
        del globals()["Later"]


class Move(Action):
    text: str
    count: int = 1
    share: float = 0.0
    on: bool = True


class Nested(Action):
    inner: Move
    _hidden: int = 0


@given(VALUES, VALUES, VALUES, st.sampled_from([{}, {"k": 1}]))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_an_action_is_dumped_as_its_schema_dumps_it(
    text: Any, count: Any, share: Any, metadata: dict[str, Any]
) -> None:
    """Nothing is checked: whatever was assigned goes to the server, which says what is wrong."""
    action = Move(text=text, count=count, share=share, metadata=metadata)
    expected = schema_of(Move).dump(action)
    if not metadata:
        del expected["metadata"]
    dumped = dump_action(action)
    assert dumped == expected
    assert [type(value) for value in dumped.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize("cls", [Nested, State, dict, int, Any])
def test_an_action_that_needs_more_is_dumped_the_general_way(cls: Any) -> None:
    """Objects in it, private fields, no class of ours."""

    def otherwise(action: Any) -> Any:
        return action

    assert plain_dump_of(cls, otherwise) is otherwise
    assert plain_dump_of(Move, otherwise) is not otherwise
