"""What `/web` and its parts answer, and the `web` message behind them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from openenv.app.routes import assets, web
from openenv.environment import Environment
from openenv.models import State
from tests.support import envs
from tests.support.worker import Transport, Worker


async def ask(
    worker: Worker, path: str, method: str = "GET", headers: str = ""
) -> tuple[int, dict[str, str], bytes]:
    """One HTTP answer: status, headers, body."""
    transport = worker.connect()
    transport.protocol.data_received(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    head, _, body = (await transport.until(b"\r\n\r\n")).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), body


def play(test: Callable[[Worker], Awaitable[None]], env: Any = envs.LoopEnv, **knobs: Any) -> None:
    async def main() -> None:
        async with Worker(env, **knobs) as worker:
            await test(worker)

    asyncio.run(main())


PARTS = [route.path for route in web.ROUTES if route.path.endswith((".js", ".css"))]
SENT = [path.removeprefix("/web/") for path in PARTS] + ["playground.css"]


def test_the_page_has_a_policy_without_exceptions() -> None:
    """Its own style by its hash, nothing else inline or from elsewhere; Spaces may show it in a frame."""

    async def test(worker: Worker) -> None:
        status, headers, body = await ask(worker, "/web")
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in headers
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self' https://huggingface.co https://*.hf.space" in policy
        styles = re.findall(rb"<style>(.*?)</style>", body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(styles[0]).digest()).decode()
        assert f"style-src 'sha256-{digest}';" in policy
        assert (len(styles), body.count(b'rel="stylesheet"')) == (1, 0)
        assert b"<script>" not in body
        assert b" style=" not in body

    play(test)


@pytest.mark.parametrize("path", ["/web", "/web/frame", *PARTS])
def test_every_part_is_sent_again_only_if_changed(path: str) -> None:
    """An entity tag, asked for each time; HEAD says the length."""

    async def test(worker: Worker) -> None:
        status, headers, body = await ask(worker, path)
        assert status == 200
        assert headers["cache-control"] == "no-cache"
        assert headers["x-content-type-options"] == "nosniff"
        for tag in (headers["etag"], f'"x", W/{headers["etag"]}', "*"):
            status, again, nothing = await ask(worker, path, headers=f"If-None-Match: {tag}\r\n")
            assert (status, nothing) == (304, b"")
            assert again["etag"] == headers["etag"]
        status, _, _ = await ask(worker, path, headers='If-None-Match: "other"\r\n')
        assert status == 200
        _, head, _ = await ask(worker, path, "HEAD")
        assert int(head["content-length"]) == len(body)

    play(test)


def test_every_address_in_the_page_is_relative_and_served() -> None:
    """So that it works behind any prefix."""
    page = web.styled_page()[0].decode()
    addresses = re.findall(r'(?:href|src)="([^"#]+)"', page)
    served = {route.path for route in web.ROUTES} | {"/docs"}
    assert len(addresses) >= 3
    assert {f"/{address}" for address in addresses if not address.startswith("data:")} <= served
    for name in (path.removeprefix("/web/") for path in PARTS if path.endswith(".js")):
        imported = re.findall(r'from "\./([^"]+)"', assets.read(name).decode())
        assert {f"/web/{each}" for each in imported} <= served


@pytest.mark.parametrize(
    ("path", "location"),
    [("/", "web"), ("/?a=b", "web?a=b"), ("/web/", "../web"), ("/web/?a=b", "../web?a=b")],
)
def test_the_root_leads_to_the_page(path: str, location: str) -> None:
    """By a relative location; 307, and the query comes along."""

    async def test(worker: Worker) -> None:
        status, headers, _ = await ask(worker, path)
        assert (status, headers["location"]) == (307, location)

    play(test)


@pytest.mark.parametrize("path", ["/", "/web", "/web/", "/web/about.json", "/web/frame", *PARTS])
def test_switched_off_it_is_not_there(path: str) -> None:
    """ENABLE_WEB_INTERFACE=false: 404, as if it had never been."""

    async def test(worker: Worker) -> None:
        status, _, body = await ask(worker, path)
        assert (status, json.loads(body)) == (404, {"detail": "Not Found"})

    play(test, web_interface=False)


def test_no_part_has_a_text_over_several_lines() -> None:
    """Since indentation is left out on the way; and what is left out is only that and comments."""
    for name in SENT:
        source = (assets.FOLDER / name).read_text()
        if name.endswith(".js"):
            code = re.sub(r"(?m)^\s*//.*$|(?s:/\*\*.*?\*/)", "", source)
            assert all(line.count("`") % 2 == 0 for line in code.splitlines() if "/" not in line), name
        kept = re.sub(r"\s", "", assets.read(name).decode())
        assert re.sub(r"\s", "", re.sub(r"(?m)^\s*//.*\n|(?s:^\s*/\*.*?\*/\n)", "", source)) == kept, name


@pytest.mark.parametrize("name", [name for name in SENT if name.endswith(".js")])
def test_texts_in_scripts_are_sent_as_they_are_written(name: str) -> None:
    """Whatever spaces and signs are in them; lines with anything but plain texts are not touched."""
    text = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
    source = re.sub(r"(?m)^\s*//.*\n|(?s:^\s*/\*\*.*?\*/\n)", "", (assets.FOLDER / name).read_text())
    written = [line.lstrip() for line in source.splitlines() if line.strip()]
    sent = assets.read(name).decode().splitlines()
    for before, after in zip(written, sent, strict=True):
        if re.search("[/`]", before):
            assert after == before
        assert text.findall(after) == text.findall(before)


def test_the_frame_for_authors_html_runs_our_script_alone() -> None:
    """By its hash, in an origin of its own."""

    async def test(worker: Worker) -> None:
        _, headers, body = await ask(worker, "/web/frame")
        policy = headers["content-security-policy"]
        script = re.findall(rb"<script>(.*?)</script>", body, re.DOTALL)
        assert len(script) == 1
        digest = base64.b64encode(hashlib.sha256(script[0]).digest()).decode()
        assert f"script-src 'sha256-{digest}';" in policy
        assert "sandbox allow-scripts;" in policy
        assert "connect-src" not in policy

    play(test)


class Options(Environment[envs.NoteAction, envs.NoteObservation, State]):
    """Its reset has parameters of several kinds."""

    def reset(
        self,
        seed: int | None = None,
        level: Literal["easy", "hard"] = "easy",
        tags: list[str] = ["a"],  # noqa: B006
        *,
        size: int,
        odd: "NoSuchType" = 1,  # type: ignore[name-defined]  # noqa: F821, UP037
        bare=None,  # type: ignore[no-untyped-def]
        **more: Any,
    ) -> envs.NoteObservation:
        return envs.NoteObservation()


def test_what_reset_takes_is_read_from_its_signature() -> None:
    """Names, defaults, and whether there may be more; annotations that cannot be read mean anything."""
    schema = web.reset_schema(Options)
    assert list(schema["properties"]) == ["seed", "level", "tags", "size", "odd", "bare", "episode_id"]
    assert schema["required"] == ["size"]
    assert schema["additionalProperties"] is True
    plain = web.reset_schema(envs.LoopEnv)
    assert plain["properties"] == {"seed": {"title": "Seed", "default": None}}
    assert plain["additionalProperties"] is False


def test_the_types_of_resets_parameters_are_described() -> None:
    """As an action's are."""

    class Typed(Environment[envs.NoteAction, envs.NoteObservation, State]):
        def reset(self, level: Literal["easy", "hard"] = "easy", n: int = 3) -> envs.NoteObservation:
            return envs.NoteObservation()

    properties = web.reset_schema(Typed)["properties"]
    assert properties["level"]["enum"] == ["easy", "hard"]
    assert properties["level"]["default"] == "easy"
    assert properties["n"] == {"type": "integer", "title": "N", "default": 3}


def test_a_factory_says_nothing_about_its_reset() -> None:
    """Then it takes what the contract says, and anything else."""
    schema = web.reset_schema(None)
    assert list(schema["properties"]) == ["seed", "episode_id"]
    assert schema["additionalProperties"] is True


def test_the_readme_beside_the_manifest_is_found(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working folder here; without a manifest nothing is published."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# Private")
    web.readme.cache_clear()
    assert web.readme(None) is None
    (tmp_path / "openenv.yaml").write_text("name: x\n")
    web.readme.cache_clear()
    assert web.readme(None) == "# Private"
    web.readme.cache_clear()


def test_about_says_what_the_api_does_not() -> None:
    """Name, reset and README."""

    async def test(worker: Worker) -> None:
        _, headers, body = await ask(worker, "/web/about.json")
        about = json.loads(body)
        assert headers["content-type"] == "application/json"
        assert set(about) == {"env_name", "control", "reset", "readme"}
        assert about["control"] is True

    play(test)


# -- the `web` message -----------------------------------------------------------------------------


class DrawnEnv(envs.LoopEnv):
    """Draws itself."""

    def render_web(self, observation: dict[str, Any]) -> Any:
        if observation.get("echoed") == "raise":
            raise LookupError("no brush")
        return 7 if observation.get("echoed") == "seven" else f"<p>{observation['echoed']}</p>"

    def web_actions(self, observation: dict[str, Any]) -> list[tuple[str, Any]]:
        return [("Say hi", {"message": "hi"}), ("Typed", envs.NoteAction(message="typed"))]


class DrawnThreadEnv(DrawnEnv):
    """The same on a thread of its session."""

    NEVER_BLOCKS = False


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def talk(transport: Transport, value: Any) -> dict[str, Any]:
    """Send one message and give its reply."""
    payload = json.dumps(value).encode()
    assert len(payload) < 126
    transport.protocol.data_received(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
    reply = await transport.until(b"}")
    start = 2 if reply[1] < 126 else 4
    decoded: dict[str, Any] = json.loads(reply[start:])
    return decoded


async def connect(worker: Worker) -> Transport:
    transport = worker.connect()
    transport.protocol.data_received(HANDSHAKE)
    await transport.until(b"\r\n\r\n")
    return transport


@pytest.mark.parametrize("env", [DrawnEnv, DrawnThreadEnv])
def test_an_environment_that_draws_itself_is_asked(env: Any) -> None:
    """Where its other methods run; the client says for which observation."""

    async def test(worker: Worker) -> None:
        transport = await connect(worker)
        reply = await talk(transport, {"type": "web", "data": {"echoed": "x"}})
        assert reply["type"] == "web"
        assert reply["data"]["html"] == "<p>x</p>"
        assert reply["data"]["actions"][0] == {"label": "Say hi", "action": {"message": "hi"}}
        assert reply["data"]["actions"][1]["action"]["message"] == "typed"
        observation = await talk(transport, {"type": "step", "data": {"message": "still"}})
        assert observation["data"]["observation"]["echoed"] == "still"

    play(test, env)


@pytest.mark.parametrize(("echoed", "exception"), [("raise", "LookupError"), ("seven", "TypeError")])
def test_a_drawing_that_fails_is_the_authors_error(echoed: str, exception: str) -> None:
    """The session goes on."""

    async def test(worker: Worker) -> None:
        transport = await connect(worker)
        reply = await talk(transport, {"type": "web", "data": {"echoed": echoed}})
        assert (reply["data"]["code"], reply["data"]["exception"]) == ("EXECUTION_ERROR", exception)
        assert (await talk(transport, {"type": "state"}))["type"] == "state"

    play(test, DrawnEnv)


@pytest.mark.parametrize("env", [envs.LoopEnv, envs.ThreadEnv])
def test_without_a_drawing_the_message_is_unknown(env: Any) -> None:
    """Existing clients and servers know no such type, and nor does an environment that draws nothing."""

    async def test(worker: Worker) -> None:
        transport = await connect(worker)
        reply = await talk(transport, {"type": "web", "data": {}})
        assert reply == {
            "type": "error",
            "data": {"message": "Unknown message type: web", "code": "UNKNOWN_TYPE"},
        }
        assert (await talk(transport, {"type": "state"}))["type"] == "state"

    play(test, env)
