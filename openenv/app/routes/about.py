"""What a server is: `/health`, `/metadata`, `/schema`. Reference: wire.md section 4."""

from __future__ import annotations

from typing import Any

from openenv.app.context import Context, Respond, Response, json_response
from openenv.app.routes.answers import respond_later
from openenv.protocol.http11 import Request
from openenv.schema import dump_state

__all__ = ["health", "metadata", "schema"]

_HEALTHY = json_response({"status": "healthy"})
_METADATA_KEYS = ("name", "description", "readme_content", "version", "author", "documentation_url")


def health(context: Context, request: Request, respond: Respond) -> Response:
    """Whether the server answers, and whether it does so in time."""
    if context.trouble is None:
        return _HEALTHY
    return json_response({"status": "degraded", "reason": context.trouble})


def metadata(context: Context, request: Request, respond: Respond) -> Any:
    """Name, description, README, version, author and documentation of the environment.

    Makes an environment to ask it, and closes it again.
    """
    return respond_later(
        respond,
        lambda done: context.stateless.call("get_metadata", (), _finish_metadata, done),
    )


def _finish_metadata(value: Any) -> Response:
    known = dump_state(value)
    return json_response({key: known.get(key) for key in _METADATA_KEYS})


def schema(context: Context, request: Request, respond: Respond) -> Response:
    """JSON Schemas (draft 2020-12) of action, observation and state."""
    definition = context.definition
    return json_response(
        {
            "action": definition.environment.action.json_schema,
            "observation": definition.observation.json_schema,
            "state": definition.state.json_schema,
            "reset_observation": definition.reset_observation.json_schema,
        }
    )
