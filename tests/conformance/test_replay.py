"""Every recorded exchange, replayed against our server in four ways.

The recordings (``transcripts/*.jsonl``) are what the incumbent said; ``differences.py`` lists what
we say differently on purpose. Everything else must be equal: parsed, dumped with sorted keys,
compared as text, so that 1 and 1.0 and true differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.cases import CASES, TARGETS
from tests.conformance.differences import DIFFERENCES, expected
from tests.conformance.inprocess import InProcessServer
from tests.conformance.player import Dial, TcpPipe, play
from tests.conformance.schemas import canonical
from tests.support.server import serve, serve_uvicorn

MODULE = "tests.conformance.reference_native"
WAYS = ("in process", "one worker", "one of four workers", "ASGI under uvicorn")
PROCESSES = "a process for each session"


def _load() -> list[dict[str, Any]]:
    folder = Path(__file__).parent / "transcripts"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jsonl"))]
    lines = [json.loads(line) for text in texts for line in text.split("\n") if line]
    return [line for line in lines if "name" in line]


RECORDED = _load()


# The incumbent was recorded without its page, under a name of no host; it has no line to wait in.
_AS_RECORDED = {
    "ENABLE_WEB_INTERFACE": "false",
    "OPENENV_ALLOW_HOST": "neutral.test",
    "OPENENV_CAPACITY_WAIT_S": "0",
}


class Servers:
    """Our applications, served one way; each starts when the first case asks for it."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.differences_seen: set[int] = set()
        self.cases_played = 0
        self._stack = ExitStack()
        self._dials: dict[str, Dial] = {}

    def dial(self, app: str) -> Dial:
        if app not in self._dials:
            self._dials[app] = self._start(app)
        return self._dials[app]

    def close(self) -> None:
        self._stack.close()

    def _start(self, app: str) -> Dial:
        target = TARGETS[app]
        name, env = f"{MODULE}:{target.attribute}", {**_AS_RECORDED, **dict(target.env)}
        if self.way == "in process":
            return self._stack.enter_context(InProcessServer(name, env)).dial
        if self.way == "ASGI under uvicorn":
            server = self._stack.enter_context(serve_uvicorn(name, env=env))
        else:
            workers = 4 if self.way == "one of four workers" else 1
            if self.way == PROCESSES:
                env["OPENENV_ISOLATION"] = "process"
            server = self._stack.enter_context(serve(name, env=env, workers=workers))
        return lambda: TcpPipe(server.host, server.port)


@pytest.fixture(scope="module", params=WAYS)
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    running = Servers(request.param)
    try:
        yield running
    finally:
        running.close()


@pytest.mark.parametrize("line", RECORDED, ids=[line["name"] for line in RECORDED])
def test_reply_equals_the_recorded_one(servers: Servers, line: dict[str, Any]) -> None:
    """What a client of the incumbent would have read, it reads from us."""
    compare(servers, line)


@pytest.fixture(scope="module")
def processes() -> Iterator[Servers]:
    running = Servers(PROCESSES)
    try:
        yield running
    finally:
        running.close()


# The code that answers is the same, in another place: a sample shows that nothing is lost on the way.
_SAMPLE = [
    line for number, line in enumerate(RECORDED) if number % 6 == 0 or line["name"].startswith("http/state")
]


@pytest.mark.parametrize("line", _SAMPLE, ids=[line["name"] for line in _SAMPLE])
def test_the_process_of_a_session_replies_alike(processes: Servers, line: dict[str, Any]) -> None:
    """With `--isolation process` a client reads what it reads without."""
    compare(processes, line)


def compare(servers: Servers, line: dict[str, Any]) -> None:
    """Play one case; what comes is what was recorded, but for the differences that are listed."""
    wanted, applied = expected(line["name"], line["steps"], line["replies"])
    got = play(line["steps"], servers.dial(line["app"]))
    for step, ours, theirs in zip(line["steps"], got, wanted, strict=True):
        assert _field_order(ours) == _field_order(theirs)
        assert _text(ours, step) == _text(theirs, step), (
            f"{line['name']}: {step}\ndifferences applied: {[DIFFERENCES[n].what for n in sorted(applied)]}"
        )
    servers.differences_seen |= applied
    servers.cases_played += 1


def test_every_listed_difference_occurs(servers: Servers) -> None:
    """A difference that is gone is taken off the list."""
    if servers.cases_played < len(RECORDED):
        pytest.skip("only when every case was played and passed")
    missing = set(range(len(DIFFERENCES))) - servers.differences_seen
    assert not [DIFFERENCES[number].what for number in missing]


def test_recordings_are_of_the_cases_there_are() -> None:
    """Whoever changes a case makes the recordings again."""
    recorded = {line["name"]: (line["app"], line["steps"]) for line in RECORDED}
    assert recorded == {case.name: (case.app, list(case.steps)) for case in CASES}


def _text(reply: Any, step: dict[str, Any]) -> str:
    if isinstance(reply, dict) and step.get("path") == "/schema" and "action" in reply.get("json", {}):
        # What a schema means is compared, not how it is written.
        reply = {**reply, "json": {name: canonical(schema) for name, schema in reply["json"].items()}}
    return json.dumps(reply, sort_keys=True, ensure_ascii=False)


def _field_order(reply: Any) -> list[str]:
    """Names of the observation's fields as they came: base class first, then as declared."""
    body = reply.get("json") if isinstance(reply, dict) else None
    if not isinstance(body, dict):
        return []
    payload = body.get("data", body)
    return list(payload["observation"]) if "observation" in payload and "reward" in payload else []
