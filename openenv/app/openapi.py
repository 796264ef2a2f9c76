"""`/openapi.json`: the HTTP interface as an OpenAPI 3.1 document, made from the route table.

Reference: https://spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from openenv.app.context import JSON, Context, Definition, Respond, Response
from openenv.app.router import Route
from openenv.app.routes.control import RESET_REQUEST, STEP_REQUEST
from openenv.codec import encode
from openenv.protocol.http11 import Request
from openenv.schema import jsonable
from openenv.version import __version__

__all__ = ["document", "make_handler"]

_STATELESS = (
    "Each HTTP call has a fresh environment of its own: a step does not see what an earlier reset did. "
    "For an episode, use the WebSocket at `/ws`, where one connection is one session."
)
_ERROR = {
    "description": "Refused",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
}
_TAGS = {
    "/reset": "Environment Control",
    "/step": "Environment Control",
    "/state": "State Management",
    "/health": "Health",
    "/schema": "Schema",
    "/metadata": "Environment Info",
    "/mcp": "MCP",
}


def make_handler(routes: Iterable[Route]) -> Any:
    """A handler that answers with the document of those routes, made once per worker."""
    shown = [route for route in routes if route.public]

    def openapi(context: Context, request: Request, respond: Respond) -> Response:
        if context.openapi is None:
            context.openapi = encode(document(context.definition, shown), jsonable)
        return Response(200, context.openapi, JSON)

    return openapi


def document(definition: Definition, routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI document of an application."""
    components = _Components()
    bodies, answers = _shapes(definition, components)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, bodies, answers)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OpenEnv Environment HTTP API",
            "version": "1.0.0",
            "description": f"{definition.env_name}, served by openenv-runtime {__version__}. {_STATELESS}",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "paths": paths,
        "components": {"schemas": components.schemas},
        "tags": [{"name": name} for name in (*dict.fromkeys(_TAGS.values()), "Task API")],
    }


class _Components:
    """Gathers schemas under `#/components/schemas`, where references can find them."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {
            "Refusal": {
                "type": "object",
                "title": "Refusal",
                "properties": {"detail": {"title": "Detail"}},
                "required": ["detail"],
            }
        }

    def add(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        definitions = schema.get("$defs", {})
        for key, value in definitions.items():
            self.schemas.setdefault(key, _rebase(value))
        top = {key: value for key, value in schema.items() if key != "$defs"}
        self.schemas[name] = _rebase(top)
        return {"$ref": f"#/components/schemas/{name}"}


def _rebase(value: Any) -> Any:
    """A schema whose references point into the document instead of into itself."""
    if isinstance(value, dict):
        return {
            key: item.replace("#/$defs/", "#/components/schemas/")
            if key == "$ref" and isinstance(item, str)
            else _rebase(item)
            for key, item in value.items()
        }
    return [_rebase(item) for item in value] if isinstance(value, list) else value


def _shapes(
    definition: Definition, components: _Components
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Request bodies and successful answers by path."""
    action = components.add("Action", definition.environment.action.json_schema)
    observation = components.add("Observation", definition.observation.json_schema)
    first = components.add("ResetObservation", definition.reset_observation.json_schema)
    state = components.add("State", definition.state.json_schema)
    reset = components.add("ResetRequest", RESET_REQUEST.json_schema)
    components.add("StepRequest", STEP_REQUEST.json_schema)
    components.schemas["StepRequest"]["properties"]["action"] = action
    split = _object({"split": {"type": "string"}})
    index = {"type": "integer"}
    bodies = {
        "/reset": reset,
        "/step": {"$ref": "#/components/schemas/StepRequest"},
        "/mcp": _object(
            {"jsonrpc": {"const": "2.0"}, "method": {"type": "string"}, "params": {"type": "object"}},
            optional={"params"},
        ),
        "/{env_name}/tasks": split,
        "/{env_name}/num_tasks": split,
        "/{env_name}/task": _object({"split": {"type": "string"}, "index": index}),
        "/{env_name}/task_range": _object(
            {"split": {"type": "string"}, "start": _nullable(index), "stop": _nullable(index)},
            optional={"start", "stop"},
        ),
    }
    text = _nullable({"type": "string"})
    listing = {"type": "array"}
    answers = {
        "/health": _object({"status": {"type": "string", "enum": ["healthy"]}}),
        "/reset": _answer(first),
        "/step": _answer(observation),
        "/state": state,
        "/schema": _object(
            {key: {"type": "object"} for key in ("action", "observation", "state", "reset_observation")}
        ),
        "/metadata": _object(
            {
                "name": {"type": "string"},
                "description": {"type": "string"},
                **dict.fromkeys(("readme_content", "version", "author", "documentation_url"), text),
            }
        ),
        "/mcp": {"type": "object"},
        "/list_environments": {"type": "array", "items": {"type": "string"}},
        "/{env_name}/splits": listing,
        "/{env_name}/tasks": _object({"tasks": listing, "env_name": {"type": "string"}}),
        "/{env_name}/num_tasks": _object({"num_tasks": index}),
        "/{env_name}/task": _object({"task": {}}),
        "/{env_name}/task_range": _object({"tasks": listing}),
    }
    return bodies, answers


def _answer(observation: dict[str, Any]) -> dict[str, Any]:
    """What `/reset` and `/step` give. The observation travels without its reward and done."""
    return _object(
        {
            "observation": {
                "type": "object",
                "description": f"Fields of {observation['$ref']} without reward and done",
            },
            "reward": _nullable({"type": "number"}),
            "done": {"type": "boolean"},
            "metadata": _nullable({"type": "object"}),
            "truncated": {"type": "boolean"},
        },
        optional={"truncated"},
    )


def _object(properties: dict[str, Any], optional: Iterable[str] = ()) -> dict[str, Any]:
    left_out = set(optional)
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in left_out],
    }


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _operation(
    route: Route, bodies: dict[str, dict[str, Any]], answers: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    summary, _, description = (route.handler.__doc__ or "").strip().partition("\n\n")
    answer: dict[str, Any] = {
        "description": "Success",
        "content": {"application/json": {"schema": answers.get(route.path, {})}},
    }
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": " ".join(summary.split()),
        "tags": [_TAGS.get(route.path, "Task API")],
        "responses": {"200": answer},
    }
    if description or route.control:
        operation["description"] = " ".join(f"{description} {_STATELESS if route.control else ''}".split())
    if route.path == "/step":
        answer["headers"] = {
            "OpenEnv-Session": {
                "description": "`none`: this answer came from no session",
                "schema": {"type": "string", "const": "none"},
            }
        }
    if "{env_name}" in route.path:
        operation["parameters"] = [
            {"name": "env_name", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
        operation["responses"].update({"404": _ERROR, "501": _ERROR, "400": _ERROR})
    body = bodies.get(route.path) if route.method == "POST" else None
    if body is not None:
        operation["requestBody"] = {
            "required": route.path != "/reset",
            "content": {"application/json": {"schema": body}},
        }
        if route.path != "/mcp":
            operation["responses"]["422"] = _ERROR
    if route.control or route.path == "/metadata":
        operation["responses"]["500"] = {
            "description": "The environment raised",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    return operation
