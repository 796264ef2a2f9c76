"""Values are held against JSON Schema as the library jsonschema holds them; misfits are told in words."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from openenv.conformance.fits import misfits
from openenv.conformance.sampler import Sampler, misfitting
from openenv.schema import schema_of
from tests.conformance.reference_native import ReferenceAction

SCHEMAS: list[Any] = [
    True,
    False,
    {"type": "integer"},
    {"type": "number", "minimum": 0, "exclusiveMaximum": 3, "multipleOf": 0.5},
    {"type": ["string", "null"], "minLength": 1, "maxLength": 3, "pattern": "^a"},
    {"enum": [1, "a", None, True]},
    {"const": {"a": [1]}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    },
    {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1, "maxProperties": 2},
    {"type": "object", "patternProperties": {"^a": {"type": "integer"}}, "propertyNames": {"maxLength": 1}},
    {"anyOf": [{"type": "integer"}, {"type": "object", "required": ["a"]}]},
    {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    {"allOf": [{"type": "number"}, {"minimum": 1}], "not": {"const": 2}},
    {
        "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["v"]}},
        "$ref": "#/$defs/node",
    },
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    2,
    2.5,
    -1,
    3,
    "",
    "a",
    "abcd",
    "b",
    [],
    [1],
    [1, 1],
    [1, 2, 3],
    ["x"],
    ["x", 1],
    ["x", 1, 2],
    {},
    {"a": 1},
    {"a": "x"},
    {"a": 1, "b": 2},
    {"a": [1]},
    {"ab": 1},
    {"v": 1, "next": {"v": 2, "next": {}}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_the_verdict_is_that_of_jsonschema(schema: Any) -> None:
    """For every keyword that our schemas and pydantic's use, on values on both sides of it."""
    judge = jsonschema.Draft202012Validator(schema)
    for value in VALUES:
        assert (not misfits(schema, value)) == judge.is_valid(value), value


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (
            {"properties": {"grid": {"type": "array", "items": {"type": "integer"}}}},
            {"grid": [1, "x"]},
            ("grid[1]", "integer", "str 'x'"),
        ),
        ({"type": "number"}, None, ("", "number", "null")),
        ({"required": ["a"]}, {}, ("a", "a value", "none")),
        ({"additionalProperties": False}, {"b": 1}, ("b", "no such key", "1")),
        (
            {"anyOf": [{"type": "null"}, {"properties": {"x": {"type": "integer"}}, "type": "object"}]},
            {"x": "y"},
            ("x", "integer", "str 'y'"),
        ),
    ],
)
def test_a_misfit_says_where_and_what(schema: Any, value: Any, expected: tuple[str, str, str]) -> None:
    """The place in the value, what the schema wants there, and what there is."""
    assert misfits(schema, value) == [expected]


def test_a_reference_to_itself_ends() -> None:
    """Whatever a server publishes, this comes back."""
    assert misfits({"$ref": "#"}, 1) == []
    assert misfits({"$ref": "#/nowhere"}, 1) == []


def test_drawn_actions_fit_and_spoilt_ones_do_not() -> None:
    """By the judgement of jsonschema; the class itself takes what was drawn; a seed draws the same again."""
    schema = schema_of(ReferenceAction)
    judge = jsonschema.Draft202012Validator(schema.json_schema)
    drawn = [Sampler(schema.json_schema, seed).sample() for seed in range(60)]
    for action in drawn:
        judge.validate(action)
        schema.load(action)
    assert drawn == [Sampler(schema.json_schema, seed).sample() for seed in range(60)]
    assert len({str(action) for action in drawn}) > 40
    spoilt = list(misfitting(schema.json_schema, drawn[0]))
    assert len(spoilt) > 10
    for what, action in spoilt:
        assert not judge.is_valid(action), what
