"""Stateless control: `POST /reset`, `POST /step`, `GET /state`.

Each call has an environment of its own, made for it and closed after it, so a step over HTTP never
sees what a reset over HTTP did. Reference: wire.md sections 3 and 4.
"""

from __future__ import annotations

from typing import Any

from openenv.app.context import JSON, Context, Respond, Response, json_response
from openenv.app.routes.answers import failure, respond_later
from openenv.app.routes.bodies import BodyRefused, decode_body, load_body, load_value
from openenv.errors import AuthorError, OpenEnvError
from openenv.models import Model, field
from openenv.protocol.http11 import Request
from openenv.schema import dump_observation, schema_of

__all__ = ["RESET_REQUEST", "STEP_REQUEST", "reset", "state", "step"]

# The commonest confusion of the field, made visible: this answer came from no session.
_STATELESS = (*JSON, ("openenv-session", "none"))


class ResetRequest(Model, extra="allow"):
    """Body of `POST /reset`; further keys reach `reset` if its signature takes them."""

    seed: int | None = field(default=None, ge=0, description="Random seed for reproducible episodes")
    episode_id: str | None = field(default=None, max_length=255, description="Custom episode identifier")


class StepRequest(Model, extra="allow"):
    """Body of `POST /step`; further keys reach `step` if its signature takes them."""

    action: dict[str, Any] = field(
        description="Action to execute, must conform to environment's action schema"
    )
    timeout_s: float | None = field(
        default=None, gt=0, description="Optional timeout in seconds for action execution"
    )
    request_id: str | None = field(
        default=None, max_length=255, description="Optional request identifier for tracking"
    )


RESET_REQUEST = schema_of(ResetRequest)
STEP_REQUEST = schema_of(StepRequest)


def reset(context: Context, request: Request, respond: Respond) -> Any:
    """Reset a fresh environment and give its first observation."""
    try:
        _, kwargs = load_body(request, RESET_REQUEST, required=False)
    except BodyRefused as refusal:
        return refusal.response
    return respond_later(respond, lambda done: context.stateless.reset(kwargs, _finish_observation, done))


def step(context: Context, request: Request, respond: Respond) -> Any:
    """Apply one action to a fresh environment and give its observation."""
    try:
        value = decode_body(request)
        if type(value) is dict and len(value) == 1 and type(value.get("action")) is dict:
            kwargs = value  # what nearly every body is: nothing but an action
        else:
            _, kwargs = load_value(value, STEP_REQUEST)
    except BodyRefused as refusal:
        return refusal.response
    # Validated before anything is made: a bad action costs no environment.
    try:
        action = context.definition.environment.action.load(kwargs.pop("action"))
    except OpenEnvError as error:
        return failure(error)
    except Exception as error:
        return failure(AuthorError(str(error), "step", type(error).__name__))
    return respond_later(respond, lambda done: context.stateless.step(action, kwargs, _finish_step, done))


def state(context: Context, request: Request, respond: Respond) -> Any:
    """The state of a fresh environment."""
    return respond_later(respond, lambda done: context.stateless.state(json_response, done))


def _finish_observation(observation: Any) -> Response:
    return json_response(_payload(observation))


def _finish_step(observation: Any) -> Response:
    return json_response(_payload(observation), 200, _STATELESS)


def _payload(given: Any) -> dict[str, Any]:
    observation, reward, done, metadata = dump_observation(given)
    payload = {
        "observation": observation,
        "reward": None if reward is None else float(reward),
        "done": bool(done),
        "metadata": metadata or None,
    }
    if observation.get("truncated") is True:
        payload["truncated"] = True
    return payload
