"""What is drawn fits, whatever the schema says that it can say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from openenv.conformance.sampler import NoSampleError, Sampler


def draw(schema: dict[str, Any], n: int = 30) -> list[Any]:
    """Some values."""
    sampler = Sampler(schema, 1)
    return [sampler.sample() for _ in range(n)]


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[a-z_]+$",
        r"^(left|right|up|down)$",
        r"^\d{3}-\w{2,4}$",
        r"^[^0-9]x?\.(a|b)*$",
        r"^(.)\1$",
        r"^go\s\w+?$",
        r"[[:]]",
    ],
)
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_texts_match_their_pattern(pattern: str) -> None:
    """As `re.search` sees it."""
    for text in draw({"type": "string", "pattern": pattern}):
        assert re.search(pattern, text)


@pytest.mark.parametrize(
    ("schema", "allowed"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 7}, {5, 6, 7}),
        ({"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 7}, {6}),
        ({"type": "integer", "maximum": -3}, set(range(-12, -2))),
        ({"type": "integer", "minimum": 3, "maximum": 13, "multipleOf": 5}, {5, 10}),
        ({"type": "string", "maxLength": 1}, {"a", "1"}),
        ({"type": "string", "enum": ["x", "y"]}, {"x", "y"}),
        ({"anyOf": [{"const": 1}, {"type": "null"}]}, {1, None}),
        ({"type": "string", "examples": ["castle"], "minLength": 6, "maxLength": 6}, None),
    ],
)
def test_bounds_are_kept(schema: dict[str, Any], allowed: set[Any] | None) -> None:
    """Nothing but what they allow, and more than one thing where they allow several."""
    drawn = set(draw(schema))
    if allowed is None:
        assert "castle" in drawn
    else:
        assert drawn <= allowed
        assert len(drawn) > 1 or len(allowed) == 1


def test_times_stay_at_their_least() -> None:
    """Nobody wants to wait for an action that was drawn for trying out."""
    schema = {
        "type": "object",
        "properties": {
            "delay": {"type": "number"},
            "wait_s": {"type": "number", "minimum": 0, "maximum": 60},
        },
        "required": ["wait_s"],
    }
    assert draw(schema) == [{"wait_s": 0}] * 30


def test_what_contains_itself_ends() -> None:
    """A tree is drawn to its leaves."""
    tree = {
        "$defs": {
            "Tree": {
                "type": "object",
                "properties": {"left": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]}},
                "required": ["left"],
            }
        },
        "$ref": "#/$defs/Tree",
    }
    assert all(isinstance(value, dict) for value in draw(tree))


@pytest.mark.parametrize(
    "schema", [{"type": "integer", "minimum": 3, "maximum": 2}, {"type": "string", "pattern": "^(?=b)a"}]
)
def test_what_nothing_fits_is_told(schema: dict[str, Any]) -> None:
    """Rather than tried for ever."""
    with pytest.raises(NoSampleError):
        draw(schema, 1)
