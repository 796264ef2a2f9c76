"""Where our replies are meant to differ from the recorded ones, and why: the only such list.

In: a recorded reply. Out: the reply that we must give instead. Each `Difference` rewrites the
recording, so that what is compared is still exact; ``test_replay`` fails for a difference that is
listed and does not occur as much as for one that occurs and is not listed. Reasons point to
sections of ``wire.md``.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

Rewrite = Callable[[Any, dict[str, Any], str], Any]
"""``(recorded reply, step, case name) -> expected reply``; may change the reply that it is given."""


@dataclass(frozen=True)
class Difference:
    """One intended difference.

    Attributes:
        cases: Pattern of case names, as of ``fnmatch``.
        what: What differs, in a sentence.
        reason: Why, with the section of ``wire.md`` that says so.
        rewrite: Makes of a recorded reply the one that is expected of us.
    """

    cases: str
    what: str
    reason: str
    rewrite: Rewrite


def expected(case: str, steps: list[dict[str, Any]], replies: list[Any]) -> tuple[list[Any], set[int]]:
    """The replies expected of us for a recorded case.

    Returns:
        The replies, and the indices in `DIFFERENCES` of those that changed something.
    """
    wanted = copy.deepcopy(replies)
    applied = set()
    for number, difference in enumerate(DIFFERENCES):
        if not fnmatchcase(case, difference.cases):
            continue
        for place, step in enumerate(steps):
            # As text: 1, 1.0 and true are equal to Python.
            before = json.dumps(wanted[place])
            wanted[place] = difference.rewrite(wanted[place], step, case)
            if json.dumps(wanted[place]) != before:
                applied.add(number)
    return wanted, applied


def _errors(reply: Any) -> list[dict[str, Any]]:
    """The validation errors in a reply, over WebSocket or HTTP."""
    body = reply.get("json") if isinstance(reply, dict) else None
    if not isinstance(body, dict):
        return []
    found = body.get("detail")
    if isinstance(body.get("data"), dict):
        found = body["data"].get("errors")
    return found if isinstance(found, list) else []


def _without_url(reply: Any, step: dict[str, Any], case: str) -> Any:
    for error in _errors(reply):
        error.pop("url", None)
    return reply


RAISED = {
    "reply/raises/key": "KeyError",
    "reply/raises/value": "ValueError",
    "reply/raises/empty": "RuntimeError",
    "reply/raises/odd": "OddError",
    "reply/raises/two": "ValueError",
    "reply/raises/unicode": "RuntimeError",
    "reply/raises/lines": "RuntimeError",
    "reply/raises/timeout": "TimeoutError",
    "reply/raises/assert": "AssertionError",
    "reply/raises/permission": "PermissionError",
    "reply/raises/zero-division": "ZeroDivisionError",
    "reply/state-raises": "RuntimeError",
    "reply/returns-none": "TypeError",
    "reply/returns-text": "TypeError",
    "session/reset-raises": "ValueError",
    "session/reset-returns-nothing": "TypeError",
    "loose/raises": "ValueError",
    "factory/ws": "RuntimeError",
    "factory/ws-again": "RuntimeError",
}
"""Case -> class name of what the author's code raised in it."""


def _with_exception(reply: Any, step: dict[str, Any], case: str) -> Any:
    body = reply.get("json") if isinstance(reply, dict) else None
    if isinstance(body, dict) and body.get("type") == "error":
        data = body["data"]
        if data["code"] in ("EXECUTION_ERROR", "FACTORY_ERROR") and case in RAISED:
            data["exception"] = RAISED[case]
    return reply


def _head_like_get(reply: Any, step: dict[str, Any], case: str) -> Any:
    if reply["status"] == 405:
        return {"status": 200, "content_type": "application/json"}
    return reply


def _stateless_header(reply: Any, step: dict[str, Any], case: str) -> Any:
    if step["do"] == "http" and step["path"] == "/step" and reply["status"] == 200:
        reply["openenv-session"] = "none"
    return reply


def _whole_state(reply: Any, step: dict[str, Any], case: str) -> Any:
    if step["do"] == "http" and step["path"] == "/state" and reply["status"] == 200:
        reply["json"].update(episodes=0, last_op=None, path=[], point=None, best=None)
    return reply


def _validator_error(loc: list[str], text: str, given: Any) -> Any:
    return {
        "type": "value_error",
        "loc": loc,
        "msg": f"Value error, {text}",
        "input": given,
        "ctx": {"error": text},
    }


def _validator_keeps_session(reply: Any, step: dict[str, Any], case: str) -> Any:
    if step["do"] == "connect":
        return reply
    if step["text"] == '{"type": "state"}':
        return {"json": {"type": "state", "data": {"episode_id": "checked", "step_count": 0}}}
    return {
        "json": {
            "type": "error",
            "data": {
                "message": "Invalid message",
                "code": "VALIDATION_ERROR",
                "errors": [_VALIDATOR_ERRORS[case]],
            },
        }
    }


_VALIDATOR_ERRORS = {
    "checked/field-validator-raises": _validator_error(["even"], "must be even", 3),
    "checked/model-validator-raises": _validator_error([], "odd must be odd", {"even": 2, "odd": 2}),
    "checked/http-validator-raises": _validator_error(["even"], "must be even", 3),
}


def _validator_is_422(reply: Any, step: dict[str, Any], case: str) -> Any:
    return {
        "status": 422,
        "content_type": "application/json",
        "json": {"detail": [_VALIDATOR_ERRORS[case]]},
    }


def _plain_observation(reply: Any, step: dict[str, Any], case: str) -> Any:
    if step["do"] == "connect" or "closed" in reply or reply["json"]["type"] != "error":
        return reply
    n, reward = {"plain/reset": (0, None), "plain/step": (1, 0.5), "plain/extra-ignored": (3, 0.5)}[case]
    data = {"observation": {"n": n}, "reward": reward, "done": False}
    return {"json": {"type": "observation", "data": data}}


def _plain_observation_over_http(reply: Any, step: dict[str, Any], case: str) -> Any:
    body = {"observation": {"n": 0}, "reward": None, "done": False, "metadata": None}
    return {"status": 200, "content_type": "application/json", "json": body}


def _relative_location(reply: Any, step: dict[str, Any], case: str) -> Any:
    if "location" in reply:
        reply["location"] = reply["location"].removeprefix("http://neutral.test")
    return reply


def _whole_state_schema(reply: Any, step: dict[str, Any], case: str) -> Any:
    body = reply.get("json") if isinstance(reply, dict) else None
    if isinstance(body, dict) and body.get("state", {}).get("title") == "State":
        body["state"] = _state_schema()
    return reply


@functools.cache
def _state_schema() -> dict[str, Any]:
    """The schema of the reference state, as recorded where the incumbent was told the class."""
    with (Path(__file__).parent / "transcripts" / "http.jsonl").open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if line.get("name") == "http/schema-stated":
                schema: dict[str, Any] = line["replies"][0]["json"]["state"]
                return schema
    raise LookupError("no recording of http/schema-stated")


def _no_observation(reply: Any, step: dict[str, Any], case: str) -> Any:
    body = reply.get("json") if isinstance(reply, dict) else None
    if isinstance(body, dict) and body.get("type") == "error":
        given = "str" if case == "reply/returns-text" else "NoneType"
        body["data"]["message"] = (
            f"expected an observation from reset or step, got {given}; "
            "return an Observation, a dataclass, a pydantic model or a dict"
        )
    return reply


def _float_for_long_integer(reply: Any, step: dict[str, Any], case: str) -> Any:
    if reply.get("json", {}).get("type") == "observation":
        observation = reply["json"]["data"]["observation"]
        observation["value"] = float(observation["value"])
    return reply


def _nan_is_422(reply: Any, step: dict[str, Any], case: str) -> Any:
    loc = ["body", "seed"] if case == "http/reset-raw/nan" else ["row"]
    error = {"type": "finite_number", "loc": loc, "msg": "Input should be a finite number", "input": None}
    return {"status": 422, "content_type": "application/json", "json": {"detail": [error]}}


def _state_is_called(reply: Any, step: dict[str, Any], case: str) -> Any:
    state = {"episode_id": "methodical", "step_count": 0}
    if step["do"] == "http":
        return {"status": 200, "content_type": "application/json", "json": state}
    if reply.get("json", {}).get("type") == "error":
        return {"json": {"type": "state", "data": state}}
    return reply


def _timeout_taken(reply: Any, step: dict[str, Any], case: str) -> Any:
    body = reply.get("json", {})
    if body.get("type") == "state":
        body["data"].update(step_count=1, last_op="keywords", path=["keywords"])
    elif body.get("type") == "error":
        observation = {
            "metadata": {}, "text": "", "value": {"timeout_s": 5.0}, "kind": "", "color": "red",
            "level": None, "point": None, "points": [], "pair": [0, 0.0], "grid": [], "table": {},
            "names": {}, "when": None, "uid": None, "score": None,
        }  # fmt: skip
        reply["json"] = {
            "type": "observation",
            "data": {"observation": observation, "reward": None, "done": False},
        }
    return reply


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "*",
        "errors have no url",
        "2: it carries the installed pydantic's minor version, nobody can depend on it",
        _without_url,
    ),
    Difference(
        "*",
        "EXECUTION_ERROR and FACTORY_ERROR carry the exception's class name",
        "8: author errors carry more",
        _with_exception,
    ),
    Difference(
        "http/*head*", "HEAD is answered like GET", "8: HEAD is answered wherever GET is", _head_like_get
    ),
    Difference("http/method/HEAD/s*", "HEAD is answered like GET", "8: as above", _head_like_get),
    Difference("http/method/HEAD/metadata", "HEAD is answered like GET", "8: as above", _head_like_get),
    Difference(
        "*",
        "a stateless step says so in a header",
        "8: OpenEnv-Session: none",
        _stateless_header,
    ),
    Difference(
        "http/method/GET/mcp",
        "/mcp takes DELETE as well",
        "not in wire.md: it ends the session of a stock MCP client",
        lambda reply, step, case: {**reply, "allow": "POST, DELETE"},
    ),
    Difference(
        "http/state*",
        "GET /state shows the subclass's fields",
        "8: the state class is found in the annotation of state",
        _whole_state,
    ),
    Difference(
        "frame/timeout-beside-data",
        "timeout_s is taken beside data",
        "8: timeout_s is accepted beside data in a step or reset frame",
        _timeout_taken,
    ),
    Difference(
        "http/schema",
        "/schema shows the subclass of State",
        "8: the state class is found in the annotation of state; /schema likewise",
        _whole_state_schema,
    ),
    Difference(
        "factory/http-schema",
        "/schema shows the subclass of State",
        "8: the state class is found in the annotation of state; /schema likewise",
        _whole_state_schema,
    ),
    Difference(
        "[pv]*/GET/schema",
        "/schema shows the subclass of State",
        "8: the state class is found in the annotation of state; /schema likewise",
        _whole_state_schema,
    ),
    Difference(
        "reply/returns-*",
        "what returned no observation is told so",
        "2 leaves the text open; upstream's names its own attribute access",
        _no_observation,
    ),
    Difference(
        "session/reset-returns-nothing",
        "what returned no observation is told so",
        "2 leaves the text open; upstream's names its own attribute access",
        _no_observation,
    ),
    Difference(
        "frame/big-integer",
        "an integer of more than 64 bits is read as a float",
        "not in wire.md: the decoder's limit; looking for such integers would double its time",
        _float_for_long_integer,
    ),
    Difference(
        "http/trailing-slash*",
        "the redirect is relative",
        "4 does not mention it: the absolute one names http behind a TLS proxy",
        _relative_location,
    ),
    Difference(
        "http/*-raw/nan",
        "NaN where it does not fit is a validation error",
        "2: NaN becomes null in replies; upstream cannot say it in its own error and answers 500",
        _nan_is_422,
    ),
    Difference(
        "methodical/*",
        "a state that is a method is called",
        "2: what upstream answers names its own mistake, not the author's",
        _state_is_called,
    ),
    Difference(
        "checked/*validator-raises",
        "a validator that raises is an ordinary validation error",
        "2: upstream bug worth not copying",
        lambda reply, step, case: (
            _validator_is_422(reply, step, case)
            if step["do"] == "http"
            else _validator_keeps_session(reply, step, case)
        ),
    ),
    Difference("plain/[!h]*", "an observation needs no metadata", "2: 0.10 regression", _plain_observation),
    Difference(
        "plain/http*", "an observation needs no metadata", "2: 0.10 regression", _plain_observation_over_http
    ),
)
