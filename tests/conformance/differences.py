"""Where our replies are meant to differ from the recorded ones, and why: the only such list.

In: a recorded reply. Out: the reply that we must give instead. Each `Difference` rewrites the
recording, so that what is compared is still exact; ``test_replay`` fails for a difference that is
listed and does not occur as much as for one that occurs and is not listed. Reasons point to
sections of ``wire.md``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
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
        if not fnmatchcase(case, difference.cases.replace("[", "[[]")):
            continue
        for place, step in enumerate(steps):
            before = copy.deepcopy(wanted[place])
            wanted[place] = difference.rewrite(wanted[place], step, case)
            if wanted[place] != before:
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
    "methodical/state": "TypeError",
}
"""Case -> class name of what the author's code raised in it."""


def _with_exception(reply: Any, step: dict[str, Any], case: str) -> Any:
    body = reply.get("json") if isinstance(reply, dict) else None
    if isinstance(body, dict) and body.get("type") == "error":
        data = body["data"]
        if data["code"] in ("EXECUTION_ERROR", "FACTORY_ERROR"):
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
        "http/state*",
        "GET /state shows the subclass's fields",
        "8: the state class is found in the annotation of state",
        _whole_state,
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
