"""Actions from JSON and observations to it, as functions that existing code calls."""

import json
from contextlib import suppress
from typing import Any

from openenv.core.env_server.types import Action, CallToolAction, ListToolsAction, Observation
from openenv.mcp import action_schema_of
from openenv.schema import own_dump_of_observation

__all__ = [
    "Action",
    "CallToolAction",
    "ListToolsAction",
    "Observation",
    "deserialize_action",
    "deserialize_action_with_preprocessing",
    "serialize_observation",
]


def deserialize_action(action_data: dict[str, Any], action_cls: type) -> Any:
    """An action of JSON values.

    Args:
        action_data: Its fields. Of the base `Action` and the tools' actions, ``type`` chooses the class.
        action_cls: Its class.

    Raises:
        SchemaError: They do not fit. A pydantic class raises pydantic's ValidationError.
    """
    if hasattr(action_cls, "model_validate"):
        chosen = _tool_action_of(action_data, action_cls) or action_cls
        return chosen.model_validate(action_data)
    return action_schema_of(action_cls).load(action_data)


def _tool_action_of(action_data: dict[str, Any], action_cls: type) -> Any:
    known = {"list_tools": ListToolsAction, "call_tool": CallToolAction}
    if action_cls is Action or action_cls in known.values():
        return known.get(action_data.get("type", ""))
    return None


def deserialize_action_with_preprocessing(action_data: dict[str, Any], action_cls: type) -> Any:
    """An action of what a form's text fields hold: arguments, tokens and ids may be texts of JSON.

    Arguments, result and errors as of `deserialize_action`. Tokens stay a list: there is no torch here.
    """
    data = dict(action_data)
    if data.get("type") == "call_tool" and isinstance(data.get("arguments"), str):
        with suppress(ValueError):
            data["arguments"] = json.loads(data["arguments"])
    if isinstance(data.get("tokens"), str):
        try:
            data["tokens"] = json.loads(data["tokens"])
        except ValueError:
            data["tokens"] = []
    if isinstance(data.get("action_id"), str):
        with suppress(ValueError):
            data["action_id"] = int(data["action_id"])
    return deserialize_action(data, action_cls)


def serialize_observation(observation: Any) -> dict[str, Any]:
    """What a reply's ``data`` holds: observation, reward and done, and metadata where it is not empty."""
    fields, reward, done, metadata = own_dump_of_observation(observation)
    payload = {"observation": fields, "reward": reward, "done": done}
    if metadata:
        payload["metadata"] = metadata
    return payload
