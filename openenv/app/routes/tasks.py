"""The Task API: which tasks an environment over a data set has.

Reference: wire.md section 4; `openenv.environment.TaskProvider`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from openenv.app.context import Context, Respond, Response, detail, json_response
from openenv.app.routes.answers import failure
from openenv.app.routes.bodies import BodyRefused, load_body
from openenv.errors import AuthorError
from openenv.models import Model, field
from openenv.protocol.http11 import Request
from openenv.schema import Schema, schema_of
from openenv.session.runner import environment_class

__all__ = ["get_task", "get_task_range", "list_environments", "list_splits", "list_tasks", "num_tasks"]


class SplitRequest(Model, extra="forbid"):
    """Body of `tasks` and `num_tasks`."""

    split: str = field(description="Task split name")


class TaskRequest(Model, extra="forbid"):
    """Body of `task`."""

    split: str = field(description="Task split name")
    index: int = field(description="Task index within the split")


class TaskRangeRequest(Model, extra="forbid"):
    """Body of `task_range`."""

    split: str = field(description="Task split name")
    start: int | None = field(default=None, description="Inclusive start index")
    stop: int | None = field(default=None, description="Exclusive stop index")


_SPLIT = schema_of(SplitRequest)
_TASK = schema_of(TaskRequest)
_RANGE = schema_of(TaskRangeRequest)


def list_environments(context: Context, request: Request, respond: Respond) -> Response:
    """Names of the environments here: one."""
    return json_response([context.definition.env_name])


def list_splits(context: Context, request: Request, respond: Respond) -> Any:
    """The splits of the data set, each with a `name` and a `type`."""
    return _ask(context, request, respond, "list_splits", (), _finish_splits)


def list_tasks(context: Context, request: Request, respond: Respond) -> Any:
    """The tasks of one split."""
    return _ask_with_body(context, request, respond, "list_tasks", _SPLIT, "tasks")


def num_tasks(context: Context, request: Request, respond: Respond) -> Any:
    """How many tasks one split has."""
    return _ask_with_body(context, request, respond, "num_tasks", _SPLIT, "num_tasks")


def get_task(context: Context, request: Request, respond: Respond) -> Any:
    """One task."""
    return _ask_with_body(context, request, respond, "get_task", _TASK, "task")


def get_task_range(context: Context, request: Request, respond: Respond) -> Any:
    """The tasks of `[start, stop)`."""
    return _ask_with_body(context, request, respond, "get_task_range", _RANGE, "tasks")


def _ask_with_body(
    context: Context, request: Request, respond: Respond, method: str, schema: Schema, key: str
) -> Any:
    try:
        body, _ = load_body(request, schema, required=True)
    except BodyRefused as refusal:
        return refusal.response
    named = {"env_name": context.definition.env_name} if method == "list_tasks" else {}
    args = tuple(vars(body).values())
    return _ask(context, request, respond, method, args, partial(_finish_named, key, named))


def _ask(
    context: Context,
    request: Request,
    respond: Respond,
    method: str,
    args: tuple[Any, ...],
    finish: Callable[[Any], Response],
) -> Any:
    definition = context.definition
    name = request.path.split("/")[1]
    if name.lower() != definition.env_name.lower():
        return detail(404, f"unknown environment {name!r}")
    cls = environment_class(definition.environment.factory)
    if cls is not None and not callable(getattr(cls, method, None)):
        return _unsupported(method)

    def done(result: Any, error: BaseException | None) -> None:
        respond(result if error is None else _refusal(error, method))

    return context.stateless.call(method, args, finish, done)


def _unsupported(method: str) -> Response:
    return detail(501, f"{method} is not supported for this environment")


def _refusal(error: BaseException, method: str) -> Response:
    """An index that does not exist is the client's mistake, most else the author's."""
    if isinstance(error, AuthorError):
        if isinstance(error.__cause__, NotImplementedError):
            return _unsupported(method)
        if isinstance(error.__cause__, IndexError):
            return detail(400, "Invalid task index")
    return failure(error)


def _finish_named(key: str, named: dict[str, str], value: Any) -> Response:
    return json_response({key: value, **named})


def _finish_splits(splits: Any) -> Response:
    return json_response([_split(item) for item in splits])


def _split(item: Any) -> Any:
    """A split as an object with a name and a type, one of train, validation and test."""
    if isinstance(item, dict) or hasattr(item, "model_dump") or dataclasses.is_dataclass(item):
        return item
    name = str(item)
    return {"name": name, "type": name if name in ("train", "validation", "test") else "validation"}
