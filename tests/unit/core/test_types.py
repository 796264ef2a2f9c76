"""The pydantic twins of our models, and our models where pydantic is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("pydantic")

from pydantic import BaseModel, Field, ValidationError

from openenv.app.app import create_app
from openenv.core.env_server import types
from openenv.core.env_server.serialization import deserialize_action, serialize_observation
from openenv.environment import Environment
from openenv.models import Action, EnvironmentMetadata, State
from openenv.schema import schema_of
from tests.support.peers import ROOT


class Push(types.Action):
    """As an existing environment declares it."""

    far: int = Field(..., ge=1)


def test_actions_are_pydantic_models_that_refuse_unknown_fields() -> None:
    """They validate when they are made and when they are changed."""
    action = Push(far="3")
    assert (action.far, action.metadata, action.model_dump()) == (3, {}, {"metadata": {}, "far": 3})
    with pytest.raises(ValidationError):
        Push(far=1, more=2)
    with pytest.raises(ValidationError):
        action.far = 0


def test_states_keep_unknown_fields() -> None:
    """As ours do."""
    assert types.State(board=[1]).model_dump() == {"episode_id": None, "step_count": 0, "board": [1]}


@pytest.mark.parametrize(
    "name", ["State", "EnvironmentMetadata", "CallToolAction", "ListToolsObservation", "Tool"]
)
def test_twins_describe_themselves_as_our_models_do(name: str) -> None:
    """The same fields with the same bounds: clients see one schema."""
    from openenv import mcp, models

    ours = schema_of(getattr(mcp, name, None) or getattr(models, name)).json_schema
    twin = schema_of(getattr(types, name)).json_schema
    for schema in (ours, twin):
        schema.get("$defs", {}).clear()
    assert {**ours, "description": ""} == {**twin, "description": ""}


def test_capacities_are_checked() -> None:
    """A status that cannot be is refused."""
    status = types.ServerCapacityStatus.from_counts(1, 3)
    assert (status.available_slots, status.is_at_capacity) == (2, False)
    with pytest.raises(ValidationError, match="cannot exceed"):
        types.ServerCapacityStatus.from_counts(4, 3)


def test_a_json_rpc_response_has_a_result_or_an_error() -> None:
    """Never both, as the standard wants it."""
    assert types.JsonRpcResponse.success(None, 1).model_dump() == {"jsonrpc": "2.0", "id": 1, "result": None}
    failed = types.JsonRpcResponse.error_response(types.JsonRpcErrorCode.METHOD_NOT_FOUND, request_id="a")
    error = {"code": -32601, "message": "Method not found", "data": None}
    assert failed.model_dump() == {"jsonrpc": "2.0", "id": "a", "error": error}


def test_the_types_key_chooses_a_tools_action_of_the_base_class_alone() -> None:
    """Another action class has its own fields, whatever they are called."""
    assert type(deserialize_action({"type": "list_tools"}, types.Action)) is types.ListToolsAction
    with pytest.raises(ValidationError):
        deserialize_action({"type": "list_tools"}, Push)
    assert deserialize_action({"metadata": {"a": 1}}, Action) == Action(metadata={"a": 1})


def test_observations_are_serialized_as_replies_hold_them() -> None:
    """Metadata beside the observation only where there is some."""
    plain = serialize_observation(types.Observation(reward=1))
    assert plain == {"observation": {"metadata": {}}, "reward": 1, "done": False}
    assert serialize_observation(types.Observation(metadata={"a": 1}))["metadata"] == {"a": 1}


def test_an_observation_needs_no_metadata() -> None:
    """A plain BaseModel is one."""

    class Bare(BaseModel):
        text: str = "x"
        data: bytes = b"hi"

    assert serialize_observation(Bare()) == {
        "observation": {"text": "x", "data": "hi"},
        "reward": None,
        "done": False,
    }


def test_our_own_models_have_the_names_that_pydantics_users_know() -> None:
    """`model_dump`, `model_copy`, `model_fields`, `model_validate`, `model_json_schema`."""
    data = EnvironmentMetadata(name="a", description="b")
    copied = data.model_copy(update={"version": "2"})
    assert (copied.version, data.version) == ("2", None)
    assert list(EnvironmentMetadata.model_fields)[:2] == ["name", "description"]
    assert State.model_validate({"step_count": "2", "more": 1}).model_dump(exclude={"episode_id"}) == {
        "step_count": 2,
        "more": 1,
    }
    assert data.model_dump(exclude_none=True) == {"name": "a", "description": "b"}
    assert State.model_json_schema()["properties"]["step_count"]["minimum"] == 0


def test_create_app_takes_everything_that_existing_code_gives(caplog: pytest.LogCaptureFixture) -> None:
    """What has no use here is said in the log."""
    caplog.set_level("INFO", "openenv.app")
    app = create_app(
        Environment,
        Push,
        types.Observation,
        "name",
        None,
        types.ConcurrencyConfig(max_concurrent_envs=1),
        lambda *args: None,
        "Tab",
        True,
        False,
        "Title",
        types.State,
        mode=types.ServerMode.PRODUCTION,
        reset_observation_cls=types.Observation,
    )
    assert app.settings() == {"max_concurrent_envs": 1, "mode": "production"}
    assert "not used" in caplog.text


WITHOUT = """
import sys
sys.modules["pydantic"] = None
import openenv, openenv.mcp
from openenv.core.env_server import types
from openenv.core import Action, Environment, create_app
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.mcp_client import MCPToolClient
assert not types.HAS_PYDANTIC
assert Action is openenv.Action and types.CallToolAction is openenv.CallToolAction
class Push(Action):
    far: int
assert types.ServerCapacityStatus.from_counts(1, 2).available_slots == 1
assert types.JsonRpcResponse.success(1).model_dump() == {"jsonrpc": "2.0", "id": None, "result": 1}
create_app(Environment, Push, types.Observation)
"""


def test_without_pydantic_the_same_paths_give_our_own_models() -> None:
    """Environments that need no more than fields run without it."""
    subprocess.run([sys.executable, "-c", WITHOUT], check=True, cwd=ROOT, timeout=60)


def test_without_pydantic_everything_native_still_passes() -> None:
    """The native half of the unit tests, in an interpreter that has no pydantic."""
    paths = [
        "test_models.py",
        "test_schema.py",
        "test_mcp.py",
        "app/test_create_app.py",
        "session/test_runner.py",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.support.without_pydantic"]
    done = subprocess.run(
        [*command, *(f"tests/unit/{path}" for path in paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_messages_of_a_conversation_are_fields_of_models() -> None:
    """pydantic takes no TypedDict of Python's own before 3.12."""
    from openenv.core.env_server.interfaces import Message

    class ChatState(types.State):
        history: list[Message] = Field(default_factory=list)

    said: Message = {"role": "user", "content": "hi"}
    assert ChatState(history=[said]).model_dump()["history"] == [said]
    with pytest.raises(ValidationError):
        ChatState(history=[{"role": "user"}])  # type: ignore[typeddict-item]
