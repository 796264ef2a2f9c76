"""Control over HTTP: `POST /reset`, `POST /step`, `GET /state`, and `DELETE /session`.

Each call has an environment of its own, made for it and closed after it, so a step over HTTP never
sees what a reset over HTTP did. Reference: wire.md sections 3 and 4.

Who wants a session over HTTP says so with a header: `POST /reset` with `Openenv-Session: new` opens one, and
its response carries the session's id in the same header; calls with that id are calls of that session.
It holds a place in the server's capacity until `DELETE /session`, or until its lease ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from openenv.app.context import JSON, Context, Respond, Response, detail, json_response
from openenv.app.routes.answers import SESSION_HEADER, failure, respond_later
from openenv.app.routes.bodies import BodyRefused, decode_body, load_body, load_value
from openenv.errors import AuthorError, OpenEnvError, SessionCapacityError, SessionNotFoundError
from openenv.models import Model, field
from openenv.protocol.http11 import Request
from openenv.schema import PlainObservations, dump_observation, schema_of
from openenv.session.runner import PENDING, OnDone
from openenv.session.session import Session

__all__ = [
    "NEW_SESSION",
    "RESET_REQUEST",
    "SESSION_HEADER",
    "STEP_REQUEST",
    "close",
    "reset",
    "state",
    "step",
]

NEW_SESSION = "new"

# The commonest confusion of the field, made visible: this answer came from no session.
_STATELESS = (*JSON, (SESSION_HEADER, "none"))


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


# As `plain_observations` of `protocol/messages.py`, of the form that HTTP has.
_plain_payloads = PlainObservations(
    "{{'observation': {fields}, 'reward': None if o.reward is None else float(o.reward), "
    "'done': bool(o.done), 'metadata': None}}"
)

_BASE_STATE = {"episode_id": None, "step_count": 0}

RESET_REQUEST = schema_of(ResetRequest)
STEP_REQUEST = schema_of(StepRequest)


def reset(context: Context, request: Request, respond: Respond) -> Any:
    """Reset a fresh environment and give its first observation."""
    try:
        _, kwargs = load_body(request, RESET_REQUEST, required=False)
    except BodyRefused as refusal:
        return refusal.response
    session_id = _session_of(request)
    if session_id == NEW_SESSION:
        return _reset_new(context, request, kwargs, respond)
    if session_id is not None:
        return _in_session(
            context,
            session_id,
            respond,
            lambda session, done: session.reset(kwargs, _finish_observation, done),
            request,
        )
    return respond_later(
        respond, lambda done: context.stateless.reset(kwargs, _finish_observation, done), request
    )


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
        return failure(AuthorError(str(error), "step", type(error).__name__), request)
    session_id = _session_of(request)
    request_id = kwargs.get("request_id")
    if session_id is not None:
        timeout_s = kwargs.get("timeout_s")
        return _in_session(
            context,
            session_id,
            respond,
            lambda session, done: session.step(action, _finish_observation, done, timeout_s),
            request,
            request_id,
        )
    return respond_later(
        respond, lambda done: context.stateless.step(action, kwargs, _finish_step, done), request, request_id
    )


def state(context: Context, request: Request, respond: Respond) -> Any:
    """The state of a fresh environment."""
    session_id = _session_of(request)
    if session_id is not None:
        return _in_session(
            context,
            session_id,
            respond,
            lambda session, done: session.read_state(json_response, done),
            request,
        )
    # Clients of existing servers find the base fields there, whatever the state is.
    declared = context.definition.state.json_schema.get("properties", {})
    base = {name: value for name, value in _BASE_STATE.items() if name in declared}
    finish = partial(_finish_state, base)
    return respond_later(respond, lambda done: context.stateless.state(finish, done), request)


def close(context: Context, request: Request, respond: Respond) -> Any:
    """Close the session that `Openenv-Session` names; answered once its place is free."""
    session_id = _session_of(request)
    if session_id is None:
        return detail(400, f"The header {SESSION_HEADER} is missing: it names the session to close")
    try:
        session = context.pool.find(session_id)
    except SessionNotFoundError as error:
        return failure(error)
    closed = json_response({"closed": True}, 200, _headers_of(session.id))
    if context.pool.close_detached(session, lambda: respond(closed)):
        return PENDING
    return json_response({"closed": False, "closing": True}, 202, _headers_of(session.id))


def _session_of(request: Request) -> str | None:
    """What the header says; "none" is what stateless answers say of themselves."""
    said = request.header(SESSION_HEADER)
    return None if said == "none" else said


def _headers_of(session_id: str) -> tuple[tuple[str, str], ...]:
    return (*JSON, (SESSION_HEADER, session_id))


def _in_session(
    context: Context,
    session_id: str,
    respond: Respond,
    ask: Callable[[Session, OnDone], Any],
    request: Request,
    request_id: str | None = None,
) -> Any:
    """Make a call of a session, after those that are under way, and answer with its id."""
    try:
        session = context.pool.find(session_id)
    except SessionNotFoundError as error:
        return failure(error)

    def named(response: Response) -> Response:
        return response._replace(headers=_headers_of(session_id))

    result = respond_later(
        lambda late: respond(named(late)),
        lambda done: session.in_turn(lambda own: ask(session, own), done),
        request,
        request_id,
    )
    return result if result is PENDING else named(result)


def _reset_new(context: Context, request: Request, kwargs: dict[str, Any], respond: Respond) -> Any:
    """Open a session and reset it."""

    def answer() -> Any:
        return _in_session(
            context,
            session.id,
            respond,
            lambda own, done: own.reset(kwargs, _finish_observation, done),
            request,
        )

    def opened(result: Any, error: BaseException | None) -> None:
        response = answer() if error is None else _refused(error, request)
        if response is not PENDING:
            respond(response)

    try:
        session, result = context.pool.open(opened)
    except OpenEnvError as error:
        return _refused(error, request)
    context.pool.share(session)
    return PENDING if result is PENDING else answer()


def _refused(error: BaseException, request: Request) -> Response:
    response = failure(error, request)
    if isinstance(error, SessionCapacityError) and error.retry_after_s is not None:
        return response._replace(headers=(*response.headers, ("retry-after", str(error.retry_after_s))))
    return response


def _finish_state(base: dict[str, Any], state: dict[str, Any]) -> Response:
    return json_response({**base, **state})


def _finish_observation(observation: Any) -> Response:
    return json_response(_payload(observation))


def _finish_step(observation: Any) -> Response:
    return json_response(_payload(observation), 200, _STATELESS)


def _payload(given: Any) -> dict[str, Any]:
    make = _plain_payloads[given.__class__]
    if make is not None and not given.metadata:
        payload: dict[str, Any] = make(given)
        return payload
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
