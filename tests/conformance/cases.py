"""The exchanges that are recorded from the incumbent and replayed against our server.

Out: ``CASES``, each with a name, the application it is played against and its steps (``player.py``
says what a step is). A WebSocket case opens a connection, asks, and ends with the ``close`` message,
so that each also shows how its session ended. Names are unique and stable: recordings and the table
of differences refer to them.

Not here, because the incumbent's answer is no contract: anything random (session ids), anything
that hangs it (an author's ``StopIteration``), MCP (section 5 of ``wire.md``, an issue of its own).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

CLOSE = {"do": "ask", "text": '{"type":"close"}'}


@dataclass(frozen=True)
class Target:
    """An application of the reference modules, and the environment variables it is served with."""

    attribute: str
    env: tuple[tuple[str, str], ...] = ()


TARGETS: dict[str, Target] = {
    "app": Target("app"),
    "narrow": Target("narrow"),
    "pair": Target("pair"),
    "broken": Target("broken"),
    "loose": Target("loose"),
    "stated": Target("stated"),
    "called": Target("called"),
    "checked": Target("checked"),
    "plain": Target("plain"),
    "methodical": Target("methodical"),
    "production": Target("production"),
    "variable": Target("app", (("OPENENV_MODE", "production"),)),
}


@dataclass(frozen=True)
class Case:
    """One scripted exchange."""

    name: str
    app: str
    steps: tuple[dict[str, Any], ...]


def _frame(frame: Any, on: str | None = None) -> dict[str, Any]:
    where = {} if on is None else {"on": on}
    if isinstance(frame, bytes):
        return {"do": "ask", "hex": frame.hex(), **where}
    text = frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)
    return {"do": "ask", "text": text, **where}


def ws(name: str, *frames: Any, app: str = "app", path: str = "/ws", ends: bool = True) -> Case:
    """A session: connect, ask each frame (str as it is, bytes as a binary frame), say ``close``."""
    steps = [{"do": "connect", "path": path}, *map(_frame, frames)]
    return Case(name, app, (*steps, CLOSE) if ends else tuple(steps))


def step(**action: Any) -> dict[str, Any]:
    """A ``step`` message."""
    return {"type": "step", "data": action}


def reset(**keywords: Any) -> dict[str, Any]:
    """A ``reset`` message."""
    return {"type": "reset", "data": keywords}


def http(
    name: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    raw: str | None = None,
    content_type: str | None = "application/json",
    app: str = "app",
) -> Case:
    """One HTTP request; ``body`` is sent as JSON, ``raw`` as it is."""
    return Case(name, app, (_request(method, path, body, raw, content_type),))


def _request(
    method: str,
    path: str,
    body: Any = None,
    raw: str | None = None,
    content_type: str | None = "application/json",
) -> dict[str, Any]:
    request: dict[str, Any] = {"do": "http", "method": method, "path": path}
    text = raw if body is None else json.dumps(body, ensure_ascii=False)
    if text is not None:
        request["body"] = text
        if content_type is not None:
            request["headers"] = [["Content-Type", content_type]]
    return request


STATE = {"type": "state"}
RESET = {"type": "reset"}
OK = step(op="echo", text="still here")


def _lifecycle() -> list[Case]:
    return [
        ws("session/reset-step-state", RESET, step(op="echo", text="hi", anything=[1, {"a": None}]), STATE),
        ws("session/no-hello-frame", STATE),
        ws("session/state-before-reset", STATE),
        ws("session/step-before-reset", OK, STATE),
        ws("session/reset-twice", RESET, RESET, STATE),
        ws("session/reset-with-data", reset(seed=7, episode_id="mine", difficulty="hard"), STATE),
        ws("session/reset-empty-data", reset()),
        ws("session/reset-drops-unknown-keywords", reset(seed=1, colour="red", other=[1])),
        ws("session/reset-values-not-validated", reset(seed="abc", difficulty={"a": 1}), reset(seed=-1)),
        ws("session/reset-seed-float", reset(seed=1.5), reset(seed=None)),
        ws("session/reset-episode-id-any-type", reset(episode_id="x" * 300)),
        ws("session/reset-raises", reset(difficulty="raise"), STATE, RESET),
        ws("session/reset-returns-nothing", reset(difficulty="nothing"), RESET),
        ws("session/reset-metadata", reset(difficulty="meta", seed=3)),
        ws("session/many-steps", RESET, *([OK] * 20), STATE),
        ws("session/done-then-step", RESET, step(op="finish"), OK),
        ws("session/same-thread", RESET, step(op="thread"), step(op="thread")),
        ws("session/large-reply", step(op="large", anything=70_000)),
        ws("session/large-request", step(op="show", look="pace", text="y" * 70_000)),
        ws("session/close-at-once"),
        ws("session/slow-step-answers-in-order", step(op="sleep", anything=0.2), STATE),
        Case(
            "session/two-requests-at-once",
            "app",
            (
                {"do": "connect"},
                {"do": "send", "text": json.dumps(step(op="sleep", anything=0.2))},
                {"do": "send", "text": json.dumps(STATE)},
                {"do": "send", "text": "not json"},
                {"do": "receive"},
                {"do": "receive"},
                {"do": "receive"},
                CLOSE,
            ),
        ),
        Case(
            "session/sessions-are-private",
            "app",
            (
                {"do": "connect", "on": "a"},
                {"do": "connect", "on": "b"},
                _frame(reset(episode_id="of-a"), "a"),
                _frame(reset(episode_id="of-b"), "b"),
                _frame(OK, "a"),
                _frame(STATE, "a"),
                _frame(STATE, "b"),
                {**CLOSE, "on": "a"},
                _frame(STATE, "b"),
                {**CLOSE, "on": "b"},
            ),
        ),
        ws("session/function-factory", RESET, STATE, app="called"),
        Case(
            "session/unknown-session-id",
            "app",
            ({"do": "connect", "path": "/ws?session_id=nobody"}, {"do": "receive"}, {"do": "receive"}),
        ),
        ws("session/other-query-ignored", STATE, path="/ws?token=1"),
        ws("session/empty-session-id", STATE, path="/ws?session_id="),
        ws("session/unknown-path", path="/nowhere", ends=False),
        ws("session/path-with-slash", path="/ws/", ends=False),
        ws("session/http-path", path="/health", ends=False),
    ]


def _frames() -> list[Case]:
    broken = {
        "empty-text": "",
        "space": "   ",
        "not-json": "hello",
        "half-json": '{"type":',
        "trailing-comma": '{"type":"state",}',
        "two-values": '{"type":"state"} {}',
        "single-quotes": "{'type':'state'}",
        "bad-escape": '{"type":"\\x"}',
        "control-character": '{"type":"a\nb"}',
        "unterminated": '{"type":"state',
        "leading-zero": '{"type":01}',
        "bom": '\ufeff{"type":"state"}',
    }
    cases = [ws(f"frame/json/{name}", text, STATE) for name, text in broken.items()]
    cases += [
        ws("frame/type/missing", {"data": {}}, STATE),
        ws("frame/type/empty-object", {}, STATE),
        ws("frame/type/null", {"type": None}, STATE),
        ws("frame/type/empty-string", {"type": ""}, STATE),
        ws("frame/type/unknown", {"type": "jump", "data": {}}, STATE),
        ws("frame/type/upper-case", {"type": "RESET"}, STATE),
        ws("frame/type/number", {"type": 5}, STATE),
        ws("frame/type/float", {"type": 1.5}, STATE),
        ws("frame/type/true", {"type": True}, STATE),
        ws("frame/type/list", {"type": ["reset"]}, STATE),
        ws("frame/type/object", {"type": {"a": "b"}}, STATE),
        ws("frame/type/unicode", {"type": "r\u00e9set \u2603"}, STATE),
        ws("frame/type/quotes", {"type": 'it\'s "x"'}, STATE),
        ws("frame/duplicate-type", '{"type":"jump","type":"state"}'),
        ws("frame/whitespace-around", '  {"type" : "state"}\n'),
        ws("frame/nan-literal", '{"type":"step","data":{"op":"echo","anything":NaN}}', STATE),
        ws("frame/infinity-literal", '{"type":"step","data":{"op":"echo","anything":-Infinity}}', STATE),
        ws("frame/big-integer", f'{{"type":"step","data":{{"op":"echo","anything":{2**70}}}}}', STATE),
        ws("frame/escaped-unicode", '{"type":"step","data":{"op":"echo","text":"\\u00e9\\ud83d\\ude00"}}'),
        ws("frame/deep", '{"type":"step","data":{"op":"echo","anything":' + "[" * 60 + "]" * 60 + "}}"),
    ]
    for name, text in {
        "list": "[]",
        "list-of-object": '[{"type":"state"}]',
        "string": '"state"',
        "number": "5",
        "null": "null",
        "true": "true",
    }.items():
        cases.append(
            Case(f"frame/not-object/{name}", "app", ({"do": "connect"}, _frame(text), {"do": "receive"}))
        )
    for name, payload in {"json": b'{"type":"state"}', "noise": b"\x00\xff\x01", "empty": b""}.items():
        cases.append(
            Case(f"frame/binary/{name}", "app", ({"do": "connect"}, _frame(payload), {"do": "receive"}))
        )
    for name, data in {
        "null": None,
        "list": [],
        "string": "x",
        "number": 3,
        "true": True,
        "pairs": [["op", "echo"]],
    }.items():
        cases.append(ws(f"frame/reset-data/{name}", {"type": "reset", "data": data}, STATE))
        cases.append(ws(f"frame/step-data/{name}", {"type": "step", "data": data}, STATE))
        cases.append(ws(f"frame/mcp-data/{name}", {"type": "mcp", "data": data}, STATE))
    cases += [
        ws("frame/step-without-data", {"type": "step"}, STATE),
        ws("frame/mcp-without-data", {"type": "mcp"}, STATE),
        ws("frame/step-empty-data", step(), STATE),
        ws("frame/step-action-wrapped", {"type": "step", "data": {"action": {"op": "echo"}}}, STATE),
        ws("frame/state-with-data", {"type": "state", "data": {}}, STATE),
        ws("frame/state-with-null-data", {"type": "state", "data": None}, STATE),
        ws("frame/close-with-data", {"type": "close", "data": {}}),
        ws("frame/extra-on-reset", {"type": "reset", "data": {}, "id": 1}, STATE),
        ws("frame/extra-on-step", {"type": "step", "data": {"op": "echo"}, "id": 1, "z": None}, STATE),
        ws("frame/extra-on-state", {"type": "state", "id": 1}, STATE),
        ws("frame/extra-on-close", {"type": "close", "id": 1}),
        ws("frame/extra-on-mcp", {"type": "mcp", "data": {}, "id": 1}),
        ws("frame/extra-and-missing", {"type": "step", "id": 1}, STATE),
        ws("frame/extra-and-wrong-data", {"type": "reset", "data": 5, "b": 1, "a": 2}, STATE),
        ws("frame/timeout-beside-data", {"type": "step", "data": {"op": "keywords"}, "timeout_s": 5}, STATE),
        ws("frame/timeout-in-action", step(op="keywords", timeout_s=5), STATE),
    ]
    return cases


LAX: dict[str, list[Any]] = {
    "row": [3, "3", " 3 ", "+3", "-0", "03", "3.0", "3.5", 2.0, 2.5, -0.0, True, False, None, "", "x", "1_0",
            "\u0663", [], {}, 99, 100, -1, 1e2, 2**40, 1e300],
    "ratio": [1, 1.5, "1.5", " 1.5 ", "1e0", "nan", "inf", "Infinity", True, False, None, "", "x", [], {}, 0,
              10, 10.0, -1, "1_0.0"],
    "flag": [True, False, 0, 1, 2, 0.0, 1.0, 0.5, "true", "TRUE", "True", "false", "yes", "no", "on", "off",
             "y", "n", "t", "f", "1", "0", "2", "", " true", "maybe", None, [], {}],
    "text": ["a", "", 5, 1.5, True, None, [], {}, "caf\u00e9 \U0001f600"],
    "color": ["red", "blue", "RED", "Color.RED", "green", 1, None, True, []],
    "level": [1, 3, 2, "1", "LOW", 1.0, True, None, 1.5],
    "pace": ["fast", "slow", "FAST", "medium", None, 1, []],
    "maybe": [None, 1, "1", "x", 1.0, 1.5, True, []],
    "tags": [[], ["a"], ["a", 1], ["a", None, 2], "abc", {"a": 1}, None, ["a", "b", "c", "d"], 5],
    "point": [None, {"x": 1}, {"x": "2", "y": 3, "label": "p"}, {}, {"x": "q", "y": "z"},
              {"x": 1, "extra": 2}, [1, 2], "x=1", 5, {"x": 1, "label": 7}],
    "points": [[{"x": 1}, {"x": 2}], [{"x": 1}, {}, {"x": "q"}], {}, [None], [[]]],
    "pair": [[1, 2], [1, 2.5], ["1", "2.5"], [1], [1, 2, 3], [], "ab", {"0": 1}, None, ["x", "y"]],
    "many": [[], [1, 2, 3], ["1", True, 2.0], [1, "x", 2.5], 5, "12", None],
    "scores": [{}, {"a": 1}, {"a": "1", "b": 2.0}, {"a": "x", "b": 1.5}, [], None, "a", [["a", 1]]],
    "unique": [[], [1, 2, 2, "1"], [1, "x"], {}, None, "1"],
    "either": [1, "1", "a", 1.0, 1.5, True, None, [], {}],
    "shape": [None, {"kind": "circle", "radius": 1}, {"kind": "square", "side": 2},
              {"kind": "square", "side": 0}, {"kind": "square"}, {"kind": "triangle"}, {"radius": 1}, {},
              "circle", {"kind": None}, {"kind": "circle", "radius": "x"}, 5],
    "when": ["2026-11-22T13:45:06Z", "2026-11-22T13:45:06", "2026-11-22 13:45:06+02:00", "2026-11-22",
             "2026-11-22T13:45:06.123456Z", 0, 1795354000, "x", "", True, None, [],
             "2026-13-01T00:00:00Z"],
    "uid": ["12345678-1234-5678-1234-567812345678", "12345678123456781234567812345678",
            "{12345678-1234-5678-1234-567812345678}", "urn:uuid:12345678-1234-5678-1234-567812345678",
            "x", "", 5, None, []],
    "anything": [None, 1, 1.0, True, "x", [1, [2]], {"a": {"b": None}}],
    "metadata": [{}, {"a": [1]}, None, [], "x", {"1": 2}],
    "op": ["", "UPPER", "far_too_long_name", "a b", 5, None, [], "12"],
}  # fmt: skip
"""Field -> values sent for it: what pydantic's lax mode takes, and what it refuses."""


def _validation() -> list[Case]:
    cases = []
    for field, values in LAX.items():
        for value in values:
            action = {"op": "show", "look": field, field: value}
            cases.append(ws(f"lax/{field}/{json.dumps(value)}", step(**action)))
    cases += [
        ws("errors/missing-required", step(row=1), STATE),
        ws("errors/unknown-field", step(op="echo", colour="red"), OK),
        ws("errors/unknown-fields-in-order", step(zeta=1, op="echo", alpha=[2]), OK),
        ws("errors/several-at-once", step(row="x", ratio=-1, flag="maybe", text=5), OK),
        ws("errors/declaration-order", step(text=5, row=1000, op="BAD", extra=1, color="x"), OK),
        ws("errors/nested-loc", step(op="echo", points=[{"x": 1}, {"y": "q"}, 5], point={"x": []}), OK),
        ws("errors/nested-in-dict", step(op="echo", scores={"good": 1, "bad": "x", "a b": None}), OK),
        ws("errors/tuple-index", step(op="echo", pair=["x", None], many=[1, "y"]), OK),
        ws("errors/everything", step(row=None, metadata=3, shape={"kind": "x"}, either=[], extra={}), OK),
        ws("errors/type-is-a-field-like-any", step(op="echo", type="list_tools"), OK),
        ws("errors/input-is-whole-object", step(), OK),
        ws("errors/long-input", step(op="echo", row="x" * 5000), OK),
        ws("errors/nan-input", '{"type":"step","data":{"op":"echo","row":NaN}}', OK),
        ws("errors/infinite-input", '{"type":"step","data":{"op":"echo","row":Infinity}}', OK),
        ws("errors/nan-for-ratio", '{"type":"step","data":{"op":"echo","ratio":NaN}}', OK),
        ws("errors/session-lives-after-many", *([step(row="x")] * 5), OK),
        ws("errors/step-count-stands", RESET, step(row="x"), STATE),
    ]
    return cases


def _replies() -> list[Case]:
    rewards = [None, 0, 1, -3, 1.0, 0.0, -0.5, True, False, "nan", "inf", "minus_inf", "big", "tiny", "exact",
               1e16, 1e-7, 1e22, 2**62]  # fmt: skip
    cases = [
        ws(f"reply/reward/{json.dumps(reward)}", step(op="reward", anything=reward)) for reward in rewards
    ]
    numbers = ["nan", "inf", "minus_inf", 1.5, 1e300]
    cases += [ws(f"reply/numbers/{number}", step(op="numbers", anything=number)) for number in numbers]
    kinds = ["key", "value", "empty", "odd", "two", "unicode", "lines", "timeout", "assert", "permission"]
    cases += [ws(f"reply/raises/{kind}", step(op="raise", text=kind), OK) for kind in kinds]
    cases += [
        ws("reply/rich", step(op="rich")),
        ws("reply/done-and-metadata", step(op="finish")),
        ws("reply/metadata-empty", step(op="echo")),
        ws("reply/metadata-from-action", step(op="meta", metadata={"a": 1, "b": {"c": [None]}})),
        ws("reply/metadata-with-nan", step(op="meta", anything="nan")),
        ws("reply/raises/zero-division", step(op="divide"), OK),
        ws("reply/returns-none", step(op="nothing"), OK),
        ws("reply/returns-text", step(op="wrong"), OK),
        ws("reply/no-keywords-on-ws", step(op="keywords")),
        ws("reply/unknown-operation", step(op="nope")),
        ws("reply/state-raises", step(op="poison"), STATE, STATE, RESET, STATE),
        ws("reply/state-with-extras", RESET, step(op="note", anything="nan"), STATE),
        ws("reply/state-dict", step(op="dictstate"), STATE),
        ws("reply/state-none", step(op="nostate"), STATE),
    ]
    return cases


def _loose() -> list[Case]:
    return [
        ws("loose/reset-any-keyword", reset(seed=1, a=1, b={"c": 2}), app="loose"),
        ws("loose/reset-plain", RESET, app="loose"),
        ws("loose/extra-fields-accepted", step(n=2, other="x", deep={"a": [1]}), app="loose"),
        ws("loose/extra-timeout-is-a-field", step(timeout_s=3), app="loose"),
        ws("loose/empty-action", step(), app="loose"),
        ws("loose/declared-field-still-checked", step(n="x", other=1), app="loose"),
        ws("loose/raises", step(n=13), STATE, app="loose"),
        ws("loose/state", step(), STATE, app="loose"),
        http("loose/http-reset", "POST", "/reset", {"seed": 1, "a": [1]}, app="loose"),
        http("loose/http-step", "POST", "/step", {"action": {"n": 2, "x": 1}, "b": 2}, app="loose"),
        http("loose/http-step-timeout", "POST", "/step", {"action": {}, "timeout_s": 2}, app="loose"),
        http("loose/http-state", "GET", "/state", app="loose"),
        http("loose/http-metadata", "GET", "/metadata", app="loose"),
    ]


def _checked() -> list[Case]:
    """Models of pydantic's own: validators that raise, observations without a base class."""
    return [
        ws("checked/valid", step(even=4), app="checked"),
        ws("checked/converted", step(even="4"), app="checked"),
        ws("checked/ordinary-error", step(even="x", z=1), STATE, app="checked"),
        Case(
            "checked/field-validator-raises",
            "checked",
            ({"do": "connect"}, _frame(step(even=3)), _frame(STATE)),
        ),
        Case(
            "checked/model-validator-raises",
            "checked",
            ({"do": "connect"}, _frame(step(even=2, odd=2)), _frame(STATE)),
        ),
        http("checked/http-valid", "POST", "/step", {"action": {"even": 4}}, app="checked"),
        http("checked/http-validator-raises", "POST", "/step", {"action": {"even": 3}}, app="checked"),
        http("checked/http-ordinary-error", "POST", "/step", {"action": {"even": "x"}}, app="checked"),
        http("checked/http-schema", "GET", "/schema", app="checked"),
        ws("plain/reset", RESET, STATE, app="plain"),
        ws("plain/step", step(), STATE, app="plain"),
        ws("plain/extra-ignored", step(n=3, z=1), STATE, app="plain"),
        http("plain/http-reset", "POST", "/reset", {}, app="plain"),
        ws("methodical/state", STATE, RESET, STATE, app="methodical"),
        http("methodical/http-state", "GET", "/state", app="methodical"),
    ]


def _capacity() -> list[Case]:
    refused = (
        {"do": "connect", "on": "a"},
        _frame(RESET, "a"),
        {"do": "connect", "on": "b"},
        {"do": "receive", "on": "b"},
        {"do": "receive", "on": "b"},
        _frame(STATE, "a"),
        {**CLOSE, "on": "a"},
    )
    again: list[dict[str, Any]] = []
    for name in "abcdefgh":
        again += [{"do": "connect", "on": name}, _frame(RESET, name), {**CLOSE, "on": name}]
    two = (
        {"do": "connect", "on": "a"},
        _frame(RESET, "a"),
        {"do": "connect", "on": "b"},
        _frame(RESET, "b"),
        {"do": "connect", "on": "c"},
        {"do": "receive", "on": "c"},
        {"do": "receive", "on": "c"},
        {**CLOSE, "on": "a"},
        {"do": "connect", "on": "d"},
        _frame(STATE, "d"),
        {**CLOSE, "on": "b"},
        {**CLOSE, "on": "d"},
    )
    spoken_to = (
        {"do": "connect", "on": "a"},
        _frame(RESET, "a"),
        {"do": "connect", "on": "b"},
        _frame(RESET, "b"),
        {"do": "receive", "on": "b"},
        {**CLOSE, "on": "a"},
    )
    factory = ({"do": "connect"}, {"do": "receive"}, {"do": "receive"})
    return [
        Case("capacity/refused", "narrow", refused),
        Case("capacity/refused-while-speaking", "narrow", spoken_to),
        Case("capacity/reconnect-at-once", "narrow", tuple(again)),
        Case("capacity/two-of-two", "pair", two),
        Case(
            "capacity/http-is-not-counted",
            "narrow",
            ({"do": "connect"}, _frame(RESET), _request("POST", "/reset", {}), _frame(STATE), CLOSE),
        ),
        Case("factory/ws", "broken", factory),
        Case("factory/ws-again", "broken", factory * 2),
        http("factory/http-reset", "POST", "/reset", {}, app="broken"),
        http("factory/http-step", "POST", "/step", {"action": {"op": "echo"}}, app="broken"),
        http("factory/http-state", "GET", "/state", app="broken"),
        http("factory/http-metadata", "GET", "/metadata", app="broken"),
        http("factory/http-health", "GET", "/health", app="broken"),
        http("factory/http-schema", "GET", "/schema", app="broken"),
        http("factory/http-invalid-action-first", "POST", "/step", {"action": {}}, app="broken"),
        http("factory/http-invalid-body-first", "POST", "/step", {}, app="broken"),
    ]


def _http() -> list[Case]:
    cases = [
        http("http/health", "GET", "/health"),
        http("http/health-head", "HEAD", "/health"),
        http("http/health-query", "GET", "/health?x=1"),
        http("http/health-percent-encoded", "GET", "/%68ealth"),
        http("http/metadata", "GET", "/metadata"),
        http("http/state", "GET", "/state"),
        http("http/state-declared", "GET", "/state", app="stated"),
        http("http/schema", "GET", "/schema"),
        http("http/schema-stated", "GET", "/schema", app="stated"),
        http("http/schema-loose", "GET", "/schema", app="loose"),
        http("http/ws-without-upgrade", "GET", "/ws"),
        http("http/list-environments", "GET", "/list_environments"),
        http("http/unknown-path", "GET", "/nowhere"),
        http("http/unknown-path-post", "POST", "/nowhere", {"a": 1}),
        http("http/unknown-path-head", "HEAD", "/nowhere"),
        http("http/web", "GET", "/web"),
        http("http/root", "GET", "/"),
        http("http/double-slash", "GET", "//health"),
        http("http/trailing-slash", "GET", "/health/"),
        http("http/trailing-slash-query", "GET", "/state/?a=b%20c"),
        http("http/trailing-slash-post", "POST", "/reset/", {}),
        http("http/trailing-slash-wrong-method", "GET", "/reset/"),
        http("http/trailing-slash-unknown", "GET", "/nowhere/"),
        http("http/trailing-slashes", "GET", "/health//"),
        http("http/trailing-slash-template", "GET", "/reference/splits/"),
    ]
    wrong = [("GET", "/reset"), ("GET", "/step"), ("POST", "/health"), ("PUT", "/reset"), ("DELETE", "/step"),
             ("POST", "/state"), ("POST", "/schema"), ("POST", "/metadata"), ("PATCH", "/health"),
             ("OPTIONS", "/step"), ("OPTIONS", "/health"), ("HEAD", "/reset"), ("HEAD", "/state"),
             ("HEAD", "/schema"), ("HEAD", "/metadata"), ("GET", "/mcp")]  # fmt: skip
    cases += [http(f"http/method/{method}{path}", method, path) for method, path in wrong]

    resets: dict[str, Any] = {
        "empty-object": {},
        "seed": {"seed": 3},
        "seed-zero": {"seed": 0},
        "seed-text": {"seed": "7"},
        "seed-float-whole": {"seed": 7.0},
        "seed-null": {"seed": None},
        "seed-bool": {"seed": True},
        "seed-word": {"seed": "abc"},
        "seed-negative": {"seed": -1},
        "seed-half": {"seed": 1.5},
        "seed-list": {"seed": []},
        "seed-big": {"seed": 2**63},
        "episode-id": {"episode_id": "mine"},
        "episode-id-null": {"episode_id": None},
        "episode-id-255": {"episode_id": "x" * 255},
        "episode-id-256": {"episode_id": "x" * 256},
        "episode-id-number": {"episode_id": 5},
        "extra-in-signature": {"difficulty": "hard"},
        "extra-not-in-signature": {"colour": "red", "seed": 2},
        "metadata": {"difficulty": "meta", "seed": 1},
        "raises": {"difficulty": "raise"},
        "returns-nothing": {"difficulty": "nothing"},
        "two-errors": {"seed": "x", "episode_id": 5},
        "list": [],
        "list-filled": [1, 2],
        "string": "x",
        "number": 5,
    }
    cases += [http(f"http/reset/{name}", "POST", "/reset", body) for name, body in resets.items()]
    raws = {
        "empty": "",
        "null": "null",
        "bad-json": '{"seed": }',
        "bad-json-word": "hello",
        "bad-json-end": '{"seed": 1',
        "bad-json-extra": "{} {}",
        "space": "  ",
        "nan": '{"seed": NaN}',
    }
    cases += [http(f"http/reset-raw/{name}", "POST", "/reset", raw=raw) for name, raw in raws.items()]
    types = {
        "none": None,
        "text": "text/plain",
        "form": "application/x-www-form-urlencoded",
        "charset": "application/json; charset=utf-8",
        "upper": "APPLICATION/JSON",
        "suffix": "application/vnd.api+json",
        "octets": "application/octet-stream",
        "nonsense": "json",
    }
    for name, content_type in types.items():
        cases.append(
            http(f"http/reset-type/{name}", "POST", "/reset", {"seed": 4}, content_type=content_type)
        )
        body = {"action": {"op": "echo"}}
        cases.append(http(f"http/step-type/{name}", "POST", "/step", body, content_type=content_type))
    cases.append(http("http/reset-no-body", "POST", "/reset"))
    cases.append(http("http/step-no-body", "POST", "/step"))

    echo = {"op": "echo", "text": "hi"}
    keywords = {"op": "keywords"}
    steps: dict[str, Any] = {
        "plain": {"action": echo},
        "missing-action": {},
        "unwrapped-action": echo,
        "action-null": {"action": None},
        "action-list": {"action": []},
        "action-string": {"action": "x"},
        "action-empty": {"action": {}},
        "action-invalid": {"action": {"op": "echo", "row": "x", "ratio": 99}},
        "action-extra": {"action": {"op": "echo", "colour": 1}},
        "action-nested": {"action": {"op": "echo", "points": [{"x": "q"}]}},
        "action-tagged": {"action": {"op": "echo", "shape": {"kind": "z"}}},
        "timeout": {"action": keywords, "timeout_s": 2.5},
        "timeout-int": {"action": keywords, "timeout_s": 2},
        "timeout-text": {"action": keywords, "timeout_s": "2"},
        "timeout-null": {"action": keywords, "timeout_s": None},
        "timeout-zero": {"action": keywords, "timeout_s": 0},
        "timeout-negative": {"action": keywords, "timeout_s": -1},
        "timeout-word": {"action": keywords, "timeout_s": "soon"},
        "request-id": {"action": keywords, "request_id": "r-1"},
        "request-id-null": {"action": keywords, "request_id": None},
        "request-id-255": {"action": keywords, "request_id": "r" * 255},
        "request-id-256": {"action": keywords, "request_id": "r" * 256},
        "request-id-number": {"action": keywords, "request_id": 5},
        "extras": {"action": keywords, "speed": 3, "deep": {"a": [1]}},
        "body-and-action-wrong": {"action": {"row": "x"}, "timeout_s": -1},
        "two-errors": {"timeout_s": -1, "request_id": 5},
        "list": [],
        "string": "x",
        "raises": {"action": {"op": "raise", "text": "key"}},
        "returns-none": {"action": {"op": "nothing"}},
        "returns-text": {"action": {"op": "wrong"}},
        "metadata": {"action": {"op": "meta", "metadata": {"a": 1}}},
        "done": {"action": {"op": "finish"}},
        "rich": {"action": {"op": "rich"}},
        "nan": {"action": {"op": "numbers", "anything": "nan"}},
        "metadata-nan": {"action": {"op": "meta", "anything": "nan"}},
    }
    cases += [http(f"http/step/{name}", "POST", "/step", body) for name, body in steps.items()]
    for reward in (None, 0, 1, 1.0, -0.5, True, False, "nan", "inf", "minus_inf", "big"):
        paid = {"action": {"op": "reward", "anything": reward}}
        cases.append(http(f"http/reward/{json.dumps(reward)}", "POST", "/step", paid))
    raws = {
        "bad-json": '{"action": {',
        "empty": "",
        "null": "null",
        "nan": '{"action": {"op": "echo", "row": NaN}}',
    }
    cases += [http(f"http/step-raw/{name}", "POST", "/step", raw=raw) for name, raw in raws.items()]

    reset_request = _request("POST", "/reset", {"episode_id": "first"})
    step_request = _request("POST", "/step", {"action": echo})
    cases.append(
        Case(
            "http/stateless",
            "app",
            (reset_request, step_request, step_request, _request("GET", "/state"), step_request),
        )
    )
    for app in ("production", "variable"):
        cases.append(http(f"{app}/POST/reset", "POST", "/reset", {}, app=app))
        cases.append(http(f"{app}/POST/step", "POST", "/step", {"action": echo}, app=app))
        for path in ("/state", "/reset", "/health", "/metadata", "/schema"):
            cases.append(http(f"{app}/GET{path}", "GET", path, app=app))
        cases.append(ws(f"{app}/ws", RESET, OK, STATE, app=app))
    return cases


def _unique(cases: list[Case]) -> list[Case]:
    names: set[str] = set()
    for case in cases:
        if case.name in names:
            raise ValueError(f"two cases are named {case.name}")
        names.add(case.name)
    return cases


CASES = _unique(
    [*_lifecycle(), *_frames(), *_validation(), *_replies(), *_loose(), *_checked(), *_capacity(), *_http()]
)
