"""The OpenAPI document: valid for whatever an author declares, and true."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from openenv import errors
from openenv.app.app import ROUTES, create_app
from openenv.app.openapi import document
from openenv.errors import OpenEnvError
from openenv.models import Action, field
from openenv.protocol.messages import parse_message
from openenv.schema import schema_of
from tests.conformance import reference_native
from tests.support import envs
from tests.support.typed_envs import (
    ENVIRONMENTS,
    EverythingAction,
    EverythingEnv,
    ForeignEnv,
    TasksEnv,
    make_clash,
)

EACH = pytest.mark.parametrize("env", ENVIRONMENTS, ids=lambda env: env.__name__)


def described(env: Any, **types: Any) -> dict[str, Any]:
    """The document of an environment, as it is sent."""
    app = create_app(env, **types)
    shown = document(app.definition, [route for route in ROUTES if route.public])
    made: dict[str, Any] = json.loads(json.dumps(shown))
    return made


def operations(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """Every operation of a document."""
    return [operation for methods in shown["paths"].values() for operation in methods.values()]


def fits(shown: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Fail unless a value fits a schema of the document."""
    whole = {**schema, "components": shown["components"]}
    jsonschema.validate(value, whole, cls=jsonschema.Draft202012Validator)


@EACH
def test_the_document_is_valid(env: Any) -> None:
    """Whatever types the environment has."""
    errors = [str(error) for error in OpenAPIV31SpecValidator(described(env)).iter_errors()]
    assert errors == []


@EACH
def test_operation_ids_are_unique_and_everything_is_described(env: Any) -> None:
    """Generators of clients name functions by them, and people read the rest."""
    shown = described(env)
    ids = [operation["operationId"] for operation in operations(shown)]
    assert len(ids) == len(set(ids))
    for operation in operations(shown):
        assert operation["summary"]
        assert all(response["description"] for response in operation["responses"].values())
    assert all(tag["description"] for tag in shown["tags"])


@EACH
def test_every_example_fits_its_schema(env: Any) -> None:
    """Of requests, answers, messages and replies."""
    shown = described(env)
    holders = [operation.get("requestBody", {}).get("content", {}) for operation in operations(shown)]
    holders += [operation["responses"]["200"].get("content", {}) for operation in operations(shown)]
    contents = [content["application/json"] for content in holders if content]
    contents += shown["x-websocket"]["messages"] + shown["x-websocket"]["replies"]
    with_examples = [content for content in contents if "example" in content]
    assert len(with_examples) >= 10
    for content in with_examples:
        fits(shown, content["schema"], content["example"])


@pytest.mark.parametrize("env", [envs.LoopEnv, reference_native.ReferenceEnvironment, ForeignEnv])
def test_the_example_of_a_step_is_an_action_that_loads(env: Any) -> None:
    """Who copies it from the page sees the environment do something."""
    app = create_app(env)
    shown = described(env)
    example = shown["paths"]["/step"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert schema_of(app.definition.environment.action.cls).load(example["action"]) is not None


def test_what_cannot_be_made_up_has_no_example() -> None:
    """A pattern that no common text fits is not guessed at."""

    class LicenceAction(Action):
        plate: str = field(pattern="^[A-Z]{3}-[0-9]{4}$")

    shown = described(envs.LoopEnv, action_cls=LicenceAction)
    assert "example" not in shown["paths"]["/step"]["post"]["requestBody"]["content"]["application/json"]
    assert "example" not in shown["x-websocket"]["messages"][1]
    assert "example" in shown["paths"]["/reset"]["post"]["requestBody"]["content"]["application/json"]


def test_two_classes_of_one_name_have_two_names() -> None:
    """And whatever refers to the renamed one refers to the right one."""
    env = make_clash()
    shown = described(env, action_cls=env.action, observation_cls=env.observation)  # type: ignore[attr-defined]
    schemas = shown["components"]["schemas"]
    assert "children" in schemas["Node"]["properties"]
    assert "weight" in schemas["Node_2"]["properties"]
    assert schemas["Observation"]["properties"]["node"]["$ref"].endswith("/Node_2")
    assert schemas["Holder"]["properties"]["inner"]["$ref"].endswith("/Node_2")
    assert "msg" in schemas["Fault"]["properties"]
    assert "depth" in schemas["Fault_2"]["properties"]
    assert list(OpenAPIV31SpecValidator(shown).iter_errors()) == []


def test_an_observation_is_shown_without_reward_and_done() -> None:
    """They travel beside it; everything else that is declared is surely there."""
    shown = described(EverythingEnv)["components"]["schemas"]["Observation"]
    assert set(shown["properties"]) == {"metadata", "image", "tree", "seen", "truncated"}
    assert set(shown["required"]) == set(shown["properties"])


def test_task_routes_are_described_only_where_there_are_tasks() -> None:
    """An environment without them can only answer 501."""
    assert not [path for path in described(envs.LoopEnv)["paths"] if "{" in path]
    shown = described(TasksEnv)["paths"]
    assert {path for path in shown if "{" in path} == {"/{env_name}/splits", "/{env_name}/num_tasks"}
    assert {"400", "404", "422", "500", "501"} < set(shown["/{env_name}/num_tasks"]["post"]["responses"])


def test_production_mode_describes_what_is_served() -> None:
    """Control routes are absent there, and so are they from the document."""
    app = create_app(envs.LoopEnv)
    shown = document(app.definition, [route for route in ROUTES if route.public and not route.control])
    assert "/step" not in shown["paths"]
    assert list(OpenAPIV31SpecValidator(json.loads(json.dumps(shown))).iter_errors()) == []


def test_a_default_that_does_not_fit_its_type_is_left_out() -> None:
    """`x: int = None` is common; saying null there would make the document invalid."""
    assert "default" not in described(EverythingEnv)["components"]["schemas"]["Action"]["properties"]["badly"]


def test_servers_are_relative() -> None:
    """The document is right behind any proxy."""
    assert [server["url"] for server in described(envs.LoopEnv)["servers"]] == ["./"]


def test_every_error_code_is_explained() -> None:
    """Each with what to do about it."""
    named = [getattr(errors, name) for name in errors.__all__]
    known = {one.code for one in named if isinstance(one, type)} - {None}
    rows = described(envs.LoopEnv)["x-websocket"]["errors"]
    assert {row["code"] for row in rows} == known
    assert all(row["do"] and row["when"] and row["session"] for row in rows)


def test_messages_that_are_described_are_those_that_are_parsed() -> None:
    """No more, no less."""
    rows = described(envs.LoopEnv)["x-websocket"]["messages"]
    assert [row["type"] for row in rows] == ["reset", "step", "state", "close", "mcp"]
    for row in rows:
        assert parse_message(json.dumps(row["example"]))[0] == row["type"]
    with pytest.raises(OpenEnvError):
        parse_message('{"type": "other"}')


def test_drawings_are_described_only_where_the_environment_draws() -> None:
    """To any other the message is an unknown type."""

    class DrawingEnv(envs.LoopEnv):
        def render_web(self, observation: dict[str, Any]) -> str:
            return "<p>here</p>"

    plain, drawn = described(envs.LoopEnv), described(DrawingEnv)
    assert "WebMessage" not in plain["components"]["schemas"]
    row = drawn["x-websocket"]["messages"][-1]
    assert parse_message(json.dumps(row["example"]))[0] == row["type"] == "web"
    assert drawn["x-websocket"]["replies"][-1]["type"] == "web"
    assert list(OpenAPIV31SpecValidator(drawn).iter_errors()) == []


def test_describing_changes_no_schema() -> None:
    """The schema that `/schema` gives is not changed by describing it."""
    before = json.dumps(schema_of(EverythingAction).json_schema)
    described(EverythingEnv)
    assert json.dumps(schema_of(EverythingAction).json_schema) == before
