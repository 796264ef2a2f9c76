"""What `bin/dropin` calls a difference: a comparison that finds nothing proves nothing."""

from __future__ import annotations

import pytest

from tests.dropin.play import differences


@pytest.mark.parametrize(
    ("theirs", "ours", "seen"),
    [
        ({"reward": 1}, {"reward": 1.0}, "reward: theirs 1, ours 1.0"),
        ({"done": True}, {"done": 1}, "done: theirs true, ours 1"),
        ({"data": {"a": 1}}, {"data": {}}, "data.a: missing, theirs 1"),
        ({"data": {}}, {"data": {"b": None}}, "data.b: only ours, null"),
        ({"list": [1, 2]}, {"list": [1]}, "list: theirs [1, 2], ours [1]"),
        ({"list": [1, {"a": "x"}]}, {"list": [1, {"a": "y"}]}, 'list[1].a: theirs "x", ours "y"'),
        ({"status": 404}, {"status": 200}, "status: theirs 404, ours 200"),
        ({"status": 200}, {"status": 500}, "status: theirs 200, ours 500"),
    ],
)
def test_a_difference_is_found(theirs: object, ours: object, seen: str) -> None:
    """Values, types, keys and lengths."""
    assert differences("GET /x", theirs, theirs, ours) == [seen]


def test_what_differs_between_two_of_theirs_is_not_compared() -> None:
    """Times, ids and numbers without a seed; but another type is a difference all the same."""
    assert differences("ws", {"at": 1.5}, {"at": 2.5}, {"at": 3.5}) == []
    assert differences("ws", {"at": 1.5}, {"at": 2.5}, {"at": None}) == ["at: theirs 1.5, ours null"]
    first, second = "0" * 32, "1" * 32
    assert differences("ws", {"text": f"id {first}"}, {"text": f"id {first}"}, {"text": f"id {second}"}) == []


def test_what_is_known_to_differ_is_left_out_where_it_belongs() -> None:
    """And nowhere else."""
    ours = {"data": {"exception": "KeyError"}}
    assert differences('ws {"type": "step"}', {"data": {}}, {"data": {}}, ours) == []
    assert differences("GET /x", {"data": {}}, {"data": {}}, ours) != []
