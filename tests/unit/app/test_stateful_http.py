"""Sessions over plain HTTP, for who asks for one with a header."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from openenv.server.logs import JsonFormatter
from tests.support import envs
from tests.support.worker import Worker


class Answer:
    """One response."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = dict(line.lower().split(": ", 1) for line in lines[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    worker: Worker, method: str, path: str, session: str | None = None, value: Any = None
) -> Answer:
    body = b"" if value is None else json.dumps(value).encode()
    fields = "" if session is None else f"Openenv-Session: {session}\r\n"
    transport = worker.connect()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{fields}"
    transport.protocol.data_received(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return Answer(await transport.until(b"\r\n\r\n"))


def play(test: Callable[[Worker], Awaitable[None]], env: Any, **options: Any) -> None:
    async def main() -> None:
        async with Worker(env, **options) as worker:
            await test(worker)

    asyncio.run(main())


EVERYWHERE = pytest.mark.parametrize("env", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])


@EVERYWHERE
def test_calls_with_its_id_are_calls_of_one_session(env: Any) -> None:
    """From `new` to DELETE, over as many connections as there are calls."""

    async def test(worker: Worker) -> None:
        opened = await ask(worker, "POST", "/reset", "new", {"seed": 1})
        session = opened.fields["openenv-session"]
        assert opened.status == 200
        assert worker.capacity.active == 1
        for _ in range(2):
            stepped = await ask(worker, "POST", "/step", session, {"action": {"message": "hi"}})
            assert stepped.json["observation"]["echoed"] == "hi"
            assert stepped.fields["openenv-session"] == session
        state = (await ask(worker, "GET", "/state", session)).json
        assert state["step_count"] == (0 if env is envs.AsyncEnv else 2)  # which does not count
        assert (await ask(worker, "POST", "/reset", session, {"seed": 7})).json["observation"]["seed"] == 7
        assert (await ask(worker, "GET", "/state", session)).json["step_count"] == 0
        assert (await ask(worker, "DELETE", "/session", session)).json == {"closed": True}
        assert worker.capacity.active == 0
        gone = await ask(worker, "POST", "/step", session, {"action": {"message": "hi"}})
        assert gone.status == 404
        assert session in gone.json["detail"]

    play(test, env)


@EVERYWHERE
def test_without_the_header_nothing_is_kept(env: Any) -> None:
    """And what a stateless answer says in it means the same."""

    async def test(worker: Worker) -> None:
        for said in (None, "none"):
            answer = await ask(worker, "POST", "/step", said, {"action": {"message": "hi"}})
            assert answer.fields["openenv-session"] == "none"
        assert worker.capacity.active == 0

    play(test, env)


@EVERYWHERE
def test_mistakes_leave_the_session_as_it_was(env: Any) -> None:
    """A bad action, an unknown id, no id, a full server."""

    async def test(worker: Worker) -> None:
        session = (await ask(worker, "POST", "/reset", "new")).fields["openenv-session"]
        assert (await ask(worker, "POST", "/step", session, {"action": {"wrong": 1}})).status == 422
        assert (await ask(worker, "GET", "/state", session)).json["step_count"] == 0
        assert (await ask(worker, "POST", "/step", "nobody", {"action": {"message": "x"}})).status == 404
        assert (await ask(worker, "DELETE", "/session")).status == 400
        full = await ask(worker, "POST", "/reset", "new")
        assert (full.status, full.fields.get("retry-after")) == (503, "2")
        assert worker.capacity.active == 1

    play(test, env, capacity=1, capacity_wait_s=1.5)


def test_calls_at_the_same_time_are_answered_one_after_another() -> None:
    """As over a socket; none is lost and none refused."""

    async def test(worker: Worker) -> None:
        session = (await ask(worker, "POST", "/reset", "new")).fields["openenv-session"]
        steps = [ask(worker, "POST", "/step", session, {"action": {"message": str(n)}}) for n in range(8)]
        answers = await asyncio.gather(*steps)
        assert sorted(answer.json["observation"]["echoed"] for answer in answers) == list("01234567")
        assert (await ask(worker, "GET", "/state", session)).json["step_count"] == 8

    play(test, envs.ThreadEnv)


def test_a_session_that_nobody_asks_for_ends() -> None:
    """Its lease is that of any session."""

    async def test(worker: Worker) -> None:
        session = (await ask(worker, "POST", "/reset", "new")).fields["openenv-session"]
        await worker.until_empty()
        assert (await ask(worker, "GET", "/state", session)).status == 404

    play(test, envs.LoopEnv, lease_s=0.2)


@EVERYWHERE
def test_the_log_says_which_request_of_which_session_failed(
    env: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """By the names that its client gave them: in the body, or else in a header."""

    async def test(worker: Worker) -> None:
        session = (await ask(worker, "POST", "/reset", "new", {})).fields["openenv-session"]
        action = {"action": {"message": "x", "fail": True}}
        assert (await ask(worker, "POST", "/step", session, {**action, "request_id": "mine"})).status == 500
        assert (
            await ask(worker, "POST", "/step", f"{session}\r\nX-Request-Id: theirs", action)
        ).status == 500
        said = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
        told = [(entry["session_id"], entry["request_id"]) for entry in said if "request_id" in entry]
        assert told == [(session, "mine"), (session, "theirs")]
        assert all("POST /step: AuthorError: " in entry["message"] for entry in said if "request_id" in entry)

    with caplog.at_level(logging.ERROR):
        play(test, env)
