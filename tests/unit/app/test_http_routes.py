"""What the HTTP routes answer, beyond what the recorded transcripts of the incumbent say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import jsonschema
import pytest

from openenv.app.app import ROUTES
from openenv.app.openapi import document
from tests.support import envs
from tests.support.worker import Worker


class Answer:
    """One HTTP answer, taken apart."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(worker: Worker, method: str, path: str, value: Any = None, raw: bytes | None = None) -> Answer:
    body = raw if raw is not None else b"" if value is None else json.dumps(value).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    transport = worker.connect()
    transport.protocol.data_received(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return Answer(await transport.until(b"\r\n\r\n"))


def play(test: Callable[[Worker], Awaitable[None]], env: Any = envs.LoopEnv, **options: Any) -> None:
    async def main() -> None:
        async with Worker(env, **options) as worker:
            await test(worker)

    asyncio.run(main())


EVERYWHERE = pytest.mark.parametrize("env", [envs.LoopEnv, envs.ThreadEnv, envs.AsyncEnv])


@EVERYWHERE
def test_each_call_has_an_environment_of_its_own(env: Any) -> None:
    """And the answer to a step says so in a header."""

    async def test(worker: Worker) -> None:
        answer = await ask(worker, "POST", "/step", {"action": {"message": "hi"}})
        assert answer.json["observation"]["echoed"] == "hi"
        assert answer.headers["openenv-session"] == "none"
        assert (await ask(worker, "GET", "/state")).json["step_count"] == 0
        assert worker.capacity.active == 0

    play(test, env)


@EVERYWHERE
def test_reset_over_http_passes_what_the_signature_takes(env: Any) -> None:
    """And drops the rest."""

    async def test(worker: Worker) -> None:
        answer = await ask(worker, "POST", "/reset", {"seed": "7", "episode_id": "e", "more": 1})
        assert answer.status == 200
        assert answer.json["observation"]["seed"] == 7
        assert answer.json["metadata"] is None

    play(test, env)


@EVERYWHERE
def test_an_environment_that_raises_is_a_500_in_plain_text(env: Any, caplog: Any) -> None:
    """What it raised is for the log, with its traceback."""

    async def test(worker: Worker) -> None:
        answer = await ask(worker, "POST", "/step", {"action": {"message": "hi", "fail": True}})
        assert (answer.status, answer.body) == (500, b"Internal Server Error")
        assert "KeyError" in caplog.text

    play(test, env)


def test_a_bad_action_costs_no_environment() -> None:
    """Validated before the factory runs: 422 although it would fail."""

    async def test(worker: Worker) -> None:
        answer = await ask(worker, "POST", "/step", {"action": {"message": 3}})
        assert answer.status == 422
        assert answer.json["detail"][0]["loc"] == ["message"]
        answer = await ask(worker, "POST", "/step", {"action": {"message": "hi"}})
        assert answer.status == 500

    play(test, envs.NoFactoryEnv)


def test_a_body_of_thousands_of_keys_is_refused() -> None:
    """Each would become a keyword of `reset`, and cost microseconds of everybody's time."""

    async def test(worker: Worker) -> None:
        answer = await ask(worker, "POST", "/reset", dict.fromkeys(map(str, range(1001)), 0))
        assert answer.status == 422
        assert answer.json["detail"][0]["type"] == "too_long"
        assert (await ask(worker, "POST", "/reset", dict.fromkeys(map(str, range(1000)), 0))).status == 200

    play(test)


def test_state_shows_the_fields_of_the_subclass() -> None:
    """wire.md section 8."""

    async def test(worker: Worker) -> None:
        assert "threads" in (await ask(worker, "GET", "/state")).json
        schema = (await ask(worker, "GET", "/schema")).json
        assert "threads" in schema["state"]["properties"]

    play(test)


def test_production_leaves_the_control_routes_out() -> None:
    """404 for /reset, /step and /state; the rest stays."""

    async def test(worker: Worker) -> None:
        for method, path in (("POST", "/reset"), ("POST", "/step"), ("GET", "/state")):
            assert (await ask(worker, method, path, {})).status == 404
        assert (await ask(worker, "GET", "/health")).status == 200
        shown = (await ask(worker, "GET", "/openapi.json")).json["paths"]
        assert "/step" not in shown
        assert "/schema" in shown

    play(test, mode="production")


def test_a_method_that_a_path_does_not_know_is_405_with_allow() -> None:
    """RFC 9110 section 15.5.6."""

    async def test(worker: Worker) -> None:
        answer = await ask(worker, "GET", "/reset")
        assert answer.status == 405
        assert answer.headers["allow"] == "POST"
        assert answer.json == {"detail": "Method Not Allowed"}

    play(test)


def test_the_task_api_asks_the_environment() -> None:
    """Splits, tasks, and an index that does not exist."""

    class Tasks(envs.ThreadEnv):
        def list_splits(self) -> list[Any]:
            return ["train", {"name": "odd", "type": "test"}]

        def list_tasks(self, split: str) -> list[Any]:
            return [{"id": f"{split}-0"}]

        async def num_tasks(self, split: str) -> int:
            return 1

        def get_task(self, split: str, index: int) -> Any:
            return self.list_tasks(split)[index]

    async def test(worker: Worker) -> None:
        name = "/tasks"
        splits = (await ask(worker, "GET", f"{name}/splits")).json
        assert splits == [{"name": "train", "type": "train"}, {"name": "odd", "type": "test"}]
        listed = (await ask(worker, "POST", f"{name}/tasks", {"split": "train"})).json
        assert listed == {"tasks": [{"id": "train-0"}], "env_name": "Tasks"}
        assert (await ask(worker, "POST", f"{name}/num_tasks", {"split": "x"})).json == {"num_tasks": 1}
        task = {"split": "train", "index": 0}
        assert (await ask(worker, "POST", f"{name}/task", task)).json == {"task": {"id": "train-0"}}
        missing = await ask(worker, "POST", f"{name}/task", {**task, "index": 9})
        assert (missing.status, missing.json) == (400, {"detail": "Invalid task index"})
        lacking = await ask(worker, "POST", f"{name}/task_range", {"split": "train"})
        assert lacking.status == 501
        assert (await ask(worker, "GET", "/other/splits")).status == 404

    play(test, Tasks)


def test_a_session_made_over_json_rpc_holds_a_slot_until_it_is_closed() -> None:
    """`openenv/session/create` and `/close`, and the refusal in between."""

    async def test(worker: Worker) -> None:
        create = {"jsonrpc": "2.0", "id": 1, "method": "openenv/session/create"}
        made = (await ask(worker, "POST", "/mcp", create)).json
        session_id = made["result"]["session_id"]
        assert worker.capacity.active == 1
        refused = (await ask(worker, "POST", "/mcp", create)).json
        assert refused["error"]["code"] == -32000
        assert refused["error"]["data"] == {"active_sessions": 1, "max_sessions": 1}
        close = {**create, "method": "openenv/session/close", "params": {"session_id": session_id}}
        assert (await ask(worker, "POST", "/mcp", close)).json["result"]["closed"] is True
        assert worker.capacity.active == 0
        assert (await ask(worker, "POST", "/mcp", close)).json["error"]["code"] == -32602

    play(test, capacity=1)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"nonsense", -32700),
        (b'{"jsonrpc":"1.0","method":"x","id":1}', -32600),
        (b'{"jsonrpc":"2.0","method":"nope","id":1}', -32601),
        (b'{"jsonrpc":"2.0","method":"tools/call","id":1,"params":{}}', -32602),
        (b'{"jsonrpc":"2.0","method":"tools/list","id":1}', -32603),
    ],
)
def test_json_rpc_refuses_with_the_right_number(raw: bytes, code: int) -> None:
    """Always with status 200."""

    async def test(worker: Worker) -> None:
        answer = await ask(worker, "POST", "/mcp", raw=raw)
        assert answer.status == 200
        assert answer.json["error"]["code"] == code

    play(test)


def test_the_openapi_document_names_every_public_route_and_resolves() -> None:
    """Each reference points at something, and each schema is one."""

    async def test(worker: Worker) -> None:
        shown = (await ask(worker, "GET", "/openapi.json")).json
        assert shown == json.loads(
            json.dumps(document(worker.app.definition, [r for r in ROUTES if r.public]))
        )
        # The task routes of an environment without tasks can only say 501, so they are left out.
        public = {route.path for route in ROUTES if route.public and "{" not in route.path}
        assert public == set(shown["paths"])
        for reference in references(shown):
            home = shown
            for part in reference.removeprefix("#/").split("/"):
                home = home[part]
        for schema in shown["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)

    play(test)


def references(value: Any) -> list[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []
