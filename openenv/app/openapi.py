"""`/openapi.json`: the HTTP interface as an OpenAPI 3.1 document, made from the route table.

In: what an application is about, and its routes. Out: one JSON document. What OpenAPI has no words for,
the WebSocket and JSON-RPC, stands in the same document under `x-websocket` and `x-json-rpc`; its schemas
are among the others. Task routes that the environment does not have are left out: they can only say 501.

Actions are described by their canonical types. The server is more lenient, as existing ones are: a number
may come as a text, and so on (wire.md section 2). Of our own fields the document says that exactly.

Reference: https://spec.openapis.org/oas/v3.1.0; wire.md sections 4 and 5.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

from openenv.app.components import Components, Json, reference_to, shown_part, unique
from openenv.app.context import JSON, Context, Definition, Respond, Response
from openenv.app.dialogue import (
    CLOSE_CODES,
    ERRORS,
    MESSAGES,
    REPLIES,
    RPC_DESCRIPTION,
    RPC_ERRORS,
    RPC_METHODS,
    WEB_MESSAGE,
    WEB_REPLY,
    message_schemas,
)
from openenv.app.router import Route
from openenv.app.routes.control import RESET_REQUEST, STEP_REQUEST
from openenv.app.sample import NoSampleError, Sampler
from openenv.codec import encode
from openenv.protocol.http11 import Request
from openenv.schema import Schema, jsonable
from openenv.session.runner import draws_itself, environment_class
from openenv.version import __version__

__all__ = ["document", "make_handler"]

_STATELESS = (
    "Each HTTP call has a fresh environment of its own: a step does not see what an earlier reset did. "
    "For an episode, use the WebSocket at `/ws`, where one connection is one session."
)
_TAGS = {
    "/reset": "Environment Control",
    "/step": "Environment Control",
    "/state": "State Management",
    "/health": "Health",
    "/schema": "Schema",
    "/metadata": "Environment Info",
    "/mcp": "MCP",
}
_TAG_TEXTS = {
    "Environment Control": "Reset and step a fresh environment. " + _STATELESS,
    "State Management": "The state of a fresh environment.",
    "Health": "Whether the server answers.",
    "Schema": "The types of this environment.",
    "Environment Info": "What the environment says about itself.",
    "MCP": RPC_DESCRIPTION,
    "Task API": "The tasks that the environment offers, by split.",
}


def make_handler(routes: Iterable[Route]) -> Any:
    """A handler that answers with the document of those routes, made once per worker."""
    shown = [route for route in routes if route.public]

    def openapi(context: Context, request: Request, respond: Respond) -> Response:
        if context.openapi is None:
            context.openapi = encode(document(context.definition, shown), jsonable)
        return Response(200, context.openapi, JSON)

    return openapi


def document(definition: Definition, routes: Iterable[Route]) -> Json:
    """The OpenAPI document of an application.

    Args:
        definition: What it is about.
        routes: Those to describe, in the order of the document.
    """
    shown = [route for route in routes if _is_offered(definition, route)]
    components = Components()
    bodies, answers = _shapes(definition, components)
    paths: dict[str, Json] = {}
    used: set[str] = set()
    for route in shown:
        operation = _operation(route, definition, bodies, answers)
        operation["operationId"] = unique(operation["operationId"], used)
        used.add(operation["operationId"])
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    _add_examples(paths, components.schemas)
    tags = dict.fromkeys(_tag(route) for route in shown)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OpenEnv Environment HTTP API",
            "version": "1.0.0",
            "description": f"{definition.env_name}, served by openenv-runtime {__version__}. {_STATELESS}",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        # Relative to this document, so that it is right behind any proxy.
        "servers": [{"url": "./", "description": "This server"}],
        "paths": paths,
        "components": {"schemas": components.schemas},
        "tags": [{"name": name, "description": _TAG_TEXTS[name]} for name in tags],
        "x-websocket": _websocket(components.schemas, _draws(definition)),
        "x-json-rpc": {
            "description": RPC_DESCRIPTION,
            "methods": list(RPC_METHODS),
            "errors": list(RPC_ERRORS),
        },
    }


def _is_offered(definition: Definition, route: Route) -> bool:
    if "{env_name}" not in route.path:
        return True
    cls = environment_class(definition.environment.factory)
    return cls is None or callable(getattr(cls, route.handler.__name__, None))


def _draws(definition: Definition) -> bool:
    cls = environment_class(definition.environment.factory)
    return cls is not None and draws_itself(cls)


def _tag(route: Route) -> str:
    return _TAGS.get(route.path, "Task API")


# ---- schemas -----------------------------------------------------------------------------------


def _shapes(definition: Definition, components: Components) -> tuple[dict[str, Json], dict[str, Json]]:
    """Request bodies and successful answers by path."""
    said = message_schemas(reference_to("Action"), reference_to("Observation"), reference_to("State"))
    own = ("Action", "Observation", "ResetObservation", "State", "ResetRequest", "StepRequest")
    results = ("Result", "ResetResult", "Fault", "Invalid", "Refusal", "Metadata", "Schemas")
    dialogue = {
        name: schema for name, schema in said.items() if not name.startswith("Web") or _draws(definition)
    }
    components.reserve((*own, *results, *dialogue))
    action = components.add("Action", definition.environment.action.json_schema)
    observation = components.add("Observation", _shown_of(definition.observation))
    first = observation
    if definition.reset_observation is not definition.observation:
        first = components.add("ResetObservation", _shown_of(definition.reset_observation))
    state = components.add("State", definition.state.json_schema)
    reset = components.add("ResetRequest", RESET_REQUEST.json_schema)
    step = components.add("StepRequest", STEP_REQUEST.json_schema)
    fields = components.schemas["StepRequest"]["properties"]
    fields["action"] = {**action, "description": fields["action"].get("description")}
    _add_choices(fields["timeout_s"], {"const": True}, {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"})
    seed = components.schemas["ResetRequest"]["properties"]["seed"]
    _add_choices(seed, {"type": "boolean"}, {"type": "string", "pattern": "^[0-9]{1,15}$"})
    for name, schema in {**_refusals(), **dialogue, **_about()}.items():
        components.add(name, schema)
    result = components.add("Result", _result(observation))
    first_result = result if first == observation else components.add("ResetResult", _result(first))
    anything = {"description": "Anything else is answered as well, by an error with status 200."}
    rpc = {"anyOf": [reference_to("RpcRequest"), anything]}
    bodies = {"/reset": reset, "/step": step, "/mcp": rpc, **_task_bodies()}
    answers = {
        "/health": _object({"status": {"type": "string", "const": "healthy"}}),
        "/reset": first_result,
        "/step": result,
        "/state": state,
        "/schema": reference_to("Schemas"),
        "/metadata": reference_to("Metadata"),
        **_task_answers(definition.env_name),
    }
    return bodies, answers


def _add_choices(schema: Json, *choices: Json) -> None:
    """Say what else is taken, before null."""
    schema["anyOf"] = [*schema["anyOf"][:-1], *choices, schema["anyOf"][-1]]


def _shown_of(schema: Schema) -> Json:
    return shown_part(schema.json_schema, schema.cls)


def _result(observation: Json) -> Json:
    """What `/reset` and `/step` give. The observation travels without its reward and done."""
    return {
        "description": "An observation with its reward. NaN and infinities, wherever they are, become null.",
        **_object(
            {
                "observation": observation,
                "reward": {
                    **_nullable({"type": "number"}),
                    "description": "In the environment's own unit; true and false become 1.0 and 0.0",
                    "examples": [1.0],
                },
                "done": {"type": "boolean", "description": "True once the episode is over"},
                "metadata": {
                    **_nullable({"type": "object"}),
                    "description": "The observation's metadata, null where it is empty",
                    "examples": [None],
                },
                "truncated": {
                    "const": True,
                    "description": "There only if a limit ended the episode, not the task",
                },
            },
            optional=("truncated",),
        ),
    }


def _refusals() -> dict[str, Json]:
    place = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    fault = _object(
        {
            "type": {"type": "string", "description": "Kind of fault", "examples": ["missing"]},
            "loc": {
                "type": "array",
                "items": place,
                "description": "Path to the field. It starts with `body` unless the fault is in an action",
                "examples": [["body", "action"]],
            },
            "msg": {"type": "string", "description": "What is wrong", "examples": ["Field required"]},
            "input": {"description": "What was given", "examples": [{}]},
            "ctx": {"type": "object", "description": "The limit that was passed, and the like"},
        },
        optional=("ctx",),
    )
    faults = {"type": "array", "items": reference_to("Fault")}
    return {
        "Fault": {"description": "One thing that does not fit.", **fault},
        "Invalid": {"description": "The body or the action does not fit.", **_object({"detail": faults})},
        "Refusal": {
            "description": "A refusal in words.",
            **_object({"detail": {"type": "string"}}),
        },
    }


def _about() -> dict[str, Json]:
    text = _nullable({"type": "string"})
    optional = ("readme_content", "version", "author", "documentation_url")
    schema = {"type": "object", "description": "A JSON Schema, draft 2020-12"}
    kinds = ("action", "observation", "state", "reset_observation")
    return {
        "Metadata": _object(
            {
                "name": {"type": "string"},
                "description": {"type": "string"},
                **dict.fromkeys(optional, text),
            }
        ),
        "Schemas": _object(dict.fromkeys(kinds, schema)),
    }


def _task_bodies() -> dict[str, Json]:
    split = {"type": "string", "description": "Task split name", "examples": ["train"]}
    index = {"type": "integer", "description": "Task index within the split", "examples": [0]}
    start = {**_nullable({"type": "integer"}), "description": "Inclusive start index"}
    stop = {**_nullable({"type": "integer"}), "description": "Exclusive stop index"}
    of_split = _object({"split": split}, closed=True)
    return {
        "/{env_name}/tasks": of_split,
        "/{env_name}/num_tasks": of_split,
        "/{env_name}/task": _object({"split": split, "index": index}, closed=True),
        "/{env_name}/task_range": _object(
            {"split": split, "start": start, "stop": stop}, optional=("start", "stop"), closed=True
        ),
    }


def _task_answers(env_name: str) -> dict[str, Json]:
    tasks = {"type": "array", "items": {}, "description": "Tasks, of the environment's own shape"}
    return {
        "/list_environments": {"type": "array", "items": {"type": "string"}, "examples": [[env_name]]},
        "/{env_name}/splits": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "examples": ["train"]},
                    "type": {"type": "string", "examples": ["train"]},
                },
            },
        },
        "/{env_name}/tasks": _object(
            {"tasks": tasks, "env_name": {"type": "string", "examples": [env_name]}},
        ),
        "/{env_name}/num_tasks": _object({"num_tasks": {"type": "integer"}}),
        "/{env_name}/task": _object({"task": {"description": "A task, of the environment's own shape"}}),
        "/{env_name}/task_range": _object({"tasks": tasks}),
    }


def _object(properties: Json, optional: Iterable[str] = (), closed: bool = False) -> Json:
    left_out = set(optional)
    made: Json = {"type": "object", "properties": properties}
    made["required"] = [name for name in properties if name not in left_out]
    if closed:
        made["additionalProperties"] = False
    return made


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


# ---- operations --------------------------------------------------------------------------------


def _operation(
    route: Route, definition: Definition, bodies: dict[str, Json], answers: dict[str, Json]
) -> Json:
    summary, _, description = (route.handler.__doc__ or "").strip().partition("\n\n")
    operation: Json = {
        "operationId": f"{route.method.lower()}_mcp" if route.path == "/mcp" else route.handler.__name__,
        "summary": " ".join(summary.split()),
        "tags": [_tag(route)],
    }
    if description or route.control:
        operation["description"] = " ".join(f"{description} {_STATELESS if route.control else ''}".split())
    if "{env_name}" in route.path:
        operation["parameters"] = [_name_parameter(definition.env_name)]
    elif route.method == "DELETE":
        operation["parameters"] = [_session_parameter()]
    body = bodies.get(route.path) if route.method == "POST" else None
    if body is not None:
        operation["requestBody"] = {
            "required": route.path not in ("/reset", "/mcp"),
            "content": {"application/json": {"schema": body}},
        }
    if route.path == "/mcp":
        operation["description"] = RPC_DESCRIPTION
        is_post = route.method == "POST"
        operation["responses"] = _post_rpc_responses() if is_post else _delete_rpc_responses()
    else:
        operation["responses"] = _responses(route, body is not None, answers.get(route.path, {}))
    return operation


def _name_parameter(env_name: str) -> Json:
    return {
        "name": "env_name",
        "in": "path",
        "required": True,
        "description": "Name of the environment, in upper or lower case",
        "schema": {"type": "string", "enum": [env_name]},
    }


def _session_parameter() -> Json:
    return {
        "name": "Mcp-Session-Id",
        "in": "header",
        "required": True,
        "description": "The session that `initialize` opened",
        "schema": {"type": "string"},
    }


def _responses(route: Route, has_body: bool, answer: Json) -> dict[str, Json]:
    success = _response("Success", answer)
    if route.path == "/step":
        success["headers"] = {
            "OpenEnv-Session": {
                "description": "`none`: this answer came from no session",
                "schema": {"type": "string", "const": "none"},
            }
        }
    responses = {"200": success}
    is_task = "{env_name}" in route.path
    if has_body:
        text = "The body is not UTF-8"
        responses["400"] = _refusal(f"{text}, or there is no task of that index" if is_task else text)
        responses["413"] = _too_large()
        responses["422"] = _response(
            "The body is not JSON, or it does not fit. Nothing ran.", reference_to("Invalid")
        )
    elif is_task:
        responses["400"] = _refusal("The environment refused")
    if is_task:
        responses["404"] = _refusal("No environment of that name is served here")
        responses["501"] = _refusal("The environment does not offer this")
    if route.control or is_task or route.path == "/metadata":
        responses["500"] = {
            "description": "The environment raised, or could not be made; why is in the server's log",
            "content": {"text/plain": {"schema": {"type": "string", "const": "Internal Server Error"}}},
        }
    return dict(sorted(responses.items()))


def _too_large() -> Json:
    refusal = _refusal("The body is larger than 100 MiB, or than the server was told to take")
    refusal["content"]["text/plain"] = {"schema": {"type": "string"}}
    return refusal


def _response(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refusal(description: str) -> Json:
    return _response(description, reference_to("Refusal"))


def _post_rpc_responses() -> dict[str, Json]:
    rpc = reference_to("RpcResponse")
    success = _response("A response, of success or of failure", rpc)
    success["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    success["headers"] = {
        "Mcp-Session-Id": {
            "description": "The id of the session that `initialize` opened",
            "schema": {"type": "string"},
        }
    }
    return {
        "200": success,
        "202": {"description": "A notification was taken; there is no answer to it"},
        "400": _response("Within a session: no request, or an unknown protocol version", rpc),
        "404": _response("There is no such session: `initialize` again", rpc),
        "406": _refusal("`Accept` names neither JSON nor server-sent events"),
        "413": _too_large(),
    }


def _delete_rpc_responses() -> dict[str, Json]:
    return {
        "200": {"description": "The session is closed"},
        "202": {"description": "The session closes once nothing runs in it"},
        "400": _refusal("The header is missing"),
        "404": _refusal("There is no such session"),
    }


# ---- examples ----------------------------------------------------------------------------------


def _add_examples(paths: dict[str, Json], schemas: dict[str, Json]) -> None:
    """Give each request body and each success an example, where one can be made that is sure to fit."""
    sampler = Sampler(schemas)
    for operation in (operation for methods in paths.values() for operation in methods.values()):
        _add_example(operation.get("requestBody"), sampler.request)
        _add_example(operation["responses"]["200"], sampler.reply)


def _add_example(holder: Json | None, make: Callable[[Any], Any]) -> None:
    content = (holder or {}).get("content", {}).get("application/json")
    if content is not None:
        with contextlib.suppress(NoSampleError):
            content["example"] = make(content["schema"])


def _websocket(schemas: dict[str, Json], draws_itself: bool) -> Json:
    sampler = Sampler(schemas)

    def shown(rows: Iterable[Json], make: Callable[[Any], Any]) -> list[Json]:
        made = []
        for row in rows:
            schema = reference_to(row["schema"])
            full = {**row, "schema": schema}
            with contextlib.suppress(NoSampleError):
                full["example"] = make(schema)
            made.append(full)
        return made

    messages, replies = (
        shown((*MESSAGES, WEB_MESSAGE) if draws_itself else MESSAGES, sampler.request),
        shown((*REPLIES, WEB_REPLY) if draws_itself else REPLIES, _reply_maker(sampler)),
    )
    return {
        "path": "/ws",
        "description": "One connection is one session with one environment, over many episodes. "
        "Send one JSON object per text frame; each is answered by one, in order. There is no hello: the "
        "first word is yours. `/ws?session_id=ID` attaches to a session that `openenv/session/create` made.",
        "messages": messages,
        "replies": replies,
        "errors": list(ERRORS),
        "closeCodes": list(CLOSE_CODES),
        "transcript": _transcript(messages, replies),
    }


def _reply_maker(sampler: Sampler) -> Callable[[Any], Any]:
    """Makes replies. An error's message has to agree with its code, so that one is written out."""

    def make(schema: Json) -> Any:
        reply = sampler.reply(schema)
        if reply["type"] == "error":
            reply["data"] = {"message": "Unknown message type: dance", "code": "UNKNOWN_TYPE"}
        return reply

    return make


def _transcript(messages: list[Json], replies: list[Json]) -> list[Json]:
    """A session as it might go, in messages of this environment's own types."""
    said = {row["type"]: row.get("example") for row in messages}
    heard = {row["type"]: row.get("example") for row in replies}
    turns = (
        ("client", said["reset"]),
        ("server", heard["observation"]),
        ("client", said["step"]),
        ("server", heard["observation"]),
        ("client", said["state"]),
        ("server", heard["state"]),
        ("client", {"type": "dance"}),
        ("server", heard["error"]),
        ("client", said["close"]),
    )
    return [{"from": who, "message": message} for who, message in turns if message is not None]
