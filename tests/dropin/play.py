"""What is asked of an environment's server, and how its answers are compared.

In: the address of a server. Out: a list of (question, answer), the same questions in the same order for
every server of an environment. Actions are drawn from the incumbent's ``/schema``; what an environment can do
beyond that stands in its ``dropin.json``: ``{"actions": [...], "reset": {...}, "ws": [...],
"http": [[method, path, body], ...], "sockets": [[path, text], ...]}``. The client knows neither stack: it is
the websockets library and Python's own ``http.client``.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from openenv.conformance.sampler import NoSampleError, Sampler

Answers = list[tuple[str, Any]]

_TIMEOUT_S = 20.0
_HEADERS = ("content-type", "location", "allow")


def play(port: int, schema: dict[str, Any], script: dict[str, Any], n_steps: int, seed: int) -> Answers:
    """Ask everything, and note what was answered."""
    actions = list(script.get("actions", ()))
    if not actions:
        sampler = Sampler(schema["action"], seed)
        with suppress(NoSampleError):
            actions = [sampler.sample() for _ in range(n_steps)]
    noted: Answers = []
    noted += _over_http(port, actions, script, seed)
    noted += _over_websocket(port, actions, script, seed)
    noted += _over_mcp(port)
    return noted


def fetch(port: int, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
    """One request; the body of its answer as JSON where it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        headers = {} if body is None else {"content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        raw = response.read()
    finally:
        connection.close()
    shown = {name: response.getheader(name, "") for name in _HEADERS}
    shown |= {
        k.lower(): v for k, v in response.getheaders() if k.lower().startswith(("x-", "access-control-"))
    }
    try:
        return response.status, shown, json.loads(raw)
    except ValueError:
        return response.status, shown, raw.decode("utf-8", "replace")


def _over_http(port: int, actions: list[Any], script: dict[str, Any], seed: int) -> Iterator[tuple[str, Any]]:
    asked: list[tuple[str, str, Any]] = [
        ("GET", "/health", None),
        ("GET", "/metadata", None),
        ("GET", "/schema", None),
        ("GET", "/state", None),
        ("GET", "/list_environments", None),
        ("GET", "/nowhere", None),
        ("GET", "/reset", None),
        ("POST", "/reset", {}),
        ("POST", "/reset", {"seed": seed, **script.get("reset", {})}),
        ("POST", "/reset", {"seed": -1}),
        ("POST", "/step", {}),
        ("POST", "/step", {"action": {"no_such_field": 1}}),
        *(("POST", "/step", {"action": action}) for action in actions[:2]),
        *((method, path, body) for method, path, body in script.get("http", ())),
    ]
    for method, path, body in asked:
        said = f"{method} {path}" + ("" if body is None else f" {json.dumps(body)}")
        yield said, _http_answer(port, method, path, body)


def _http_answer(port: int, method: str, path: str, body: Any) -> Any:
    try:
        status, headers, value = fetch(port, method, path, body)
    except (OSError, http.client.HTTPException) as error:
        return {"failed": type(error).__name__}
    return {"status": status, "headers": headers, "body": value}


def _over_websocket(
    port: int, actions: list[Any], script: dict[str, Any], seed: int
) -> Iterator[tuple[str, Any]]:
    reset = {"type": "reset", "data": {"seed": seed, **script.get("reset", {})}}
    asked: list[Any] = [
        {"type": "state"},
        {"type": "reset"},
        reset,
        *({"type": "step", "data": action} for action in actions),
        {"type": "state"},
        {"type": "step", "data": {"no_such_field": 1}},
        {"type": "step"},
        {"type": "nothing"},
        {"type": "reset", "data": {"seed": seed, "not_a_keyword": 1, "episode_id": "mine"}},
        *({"type": "step", "data": action} for action in actions[:1]),
        {"type": "mcp", "data": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}},
        {"type": "state"},
        *script.get("ws", ()),
    ]
    with ExitStack() as stack:
        try:
            opening = connect(f"ws://127.0.0.1:{port}/ws", open_timeout=_TIMEOUT_S, max_size=None)
            socket = stack.enter_context(opening)
        except InvalidStatus as error:
            yield "ws", {"refused": error.response.status_code}
            return
        lost = ""
        for message in asked:
            if lost:
                # Asked all the same, so that the answers of two servers stay side by side.
                yield f"ws {json.dumps(message)}", {"failed": lost}
                continue
            try:
                socket.send(json.dumps(message))
                answer = json.loads(socket.recv(timeout=_TIMEOUT_S))
            except (ConnectionClosed, TimeoutError) as error:
                lost = type(error).__name__
                yield f"ws {json.dumps(message)}", {"failed": lost}
                continue
            yield f"ws {json.dumps(message)}", answer
        with suppress(ConnectionClosed, TimeoutError):
            socket.send('{"type":"close"}')
            socket.recv(timeout=_TIMEOUT_S)
    for path, message in script.get("sockets", ()):
        with connect(f"ws://127.0.0.1:{port}{path}", open_timeout=_TIMEOUT_S) as socket:
            socket.send(message)
            yield f"ws {path} {message}", socket.recv(timeout=_TIMEOUT_S)


def _over_mcp(port: int) -> Iterator[tuple[str, Any]]:
    for method in ("tools/list", "nothing"):
        body = {"jsonrpc": "2.0", "id": 1, "method": method}
        yield f"POST /mcp {method}", _http_answer(port, "POST", "/mcp", body)


# -- comparing ----------------------------------------------------------------------------------

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


def differences(question: str, theirs: Any, again: Any, ours: Any, faulty: bool = False) -> list[str]:
    """Where our answer differs from theirs, leaving out what differs between two of theirs.

    Args:
        question: What was asked.
        theirs: The incumbent's answer.
        again: Its answer to the same question in a second play.
        ours: Ours.
        faulty: The incumbent's own faults were seen in this environment, see `is_faulty`.
    """
    found: list[str] = []
    _compare(theirs, again, ours, "", found)
    return [text for text in found if not _is_known(question, text, theirs, ours, faulty)]


def _compare(theirs: Any, again: Any, ours: Any, where: str, found: list[str]) -> None:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            place = f"{where}.{key}" if where else str(key)
            if key not in ours:
                found.append(f"{place}: missing, theirs {_short(theirs[key])}")
            elif key not in theirs:
                found.append(f"{place}: only ours, {_short(ours[key])}")
            else:
                _compare(theirs[key], _at(again, key), ours[key], place, found)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, item in enumerate(theirs):
            _compare(item, _at(again, index), ours[index], f"{where}[{index}]", found)
    elif theirs != ours or type(theirs) is not type(ours):
        if theirs != again and type(theirs) is type(ours):
            return  # an id, a time, a random number without a seed
        if isinstance(theirs, str) and isinstance(ours, str):
            masked = [_PORT.sub("", _UUID.sub("", text)) for text in (theirs, ours)]
            if masked[0] == masked[1]:
                return
        found.append(f"{where}: theirs {_short(theirs)}, ours {_short(ours)}")


def _at(value: Any, key: Any) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        return None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 90 else f"{text[:87]}..."


_PORT = re.compile(r"127\.0\.0\.1:\d+")
KNOWN: tuple[tuple[str, str, str], ...] = (
    (r"", r"\.url: missing", "it names a pydantic version that is not installed here"),
    (r"^ws", r"^data\.exception: only ours", "the class of what the author raised, wire.md section 8"),
    (
        r"schema",
        r"^body\.\w+\.(\$defs\.\w+\.)?description: theirs",
        "our classes' own words about themselves",
    ),
    (r"^ws", r"^data\.message: theirs .Unable to serialize unknown type", "our words for the same"),
    (r"GET /state", r"^body\.\w+: only ours", "the state's own fields are shown, wire.md section 8"),
)
"""(question, difference, why it is meant): what wire.md section 8 announces."""


_FAULTS = re.compile(
    r"'method' object is not iterable|has no attribute 'metadata'"
    r"|Unable to serialize unknown type: <class '[\w.]+Error'>"
)
"""Words of the incumbent's own faults, wire.md section 2: what an environment meant is not seen there."""


def is_faulty(theirs: Answers) -> bool:
    """Whether one of the incumbent's own faults shows in its answers over the WebSocket, which have words."""
    return any(_FAULTS.search(json.dumps(answer)) for question, answer in theirs if question.startswith("ws"))


def _is_base(state_schema: Any) -> bool:
    return isinstance(state_schema, dict) and state_schema.get("title") == "State"


def _is_known(question: str, text: str, theirs: Any, ours: Any, faulty: bool) -> bool:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if _FAULTS.search(json.dumps(theirs)):
            return True
        if faulty and "failed" in theirs and "failed" not in ours:
            return True  # after one of those the incumbent's session is lost
        if faulty and theirs.get("status") == 500 and ours.get("status") in (200, 422):
            return True  # over HTTP the same faults say nothing but this
    if question == "GET /schema" and text.startswith("body.state.") and _is_base(theirs["body"]["state"]):
        return True  # the state's own class is shown, wire.md section 8; where it was given, they show it too
    return any(re.search(asked, question) and re.search(seen, text) for asked, seen, _ in KNOWN)
