"""The client's own decisions: which way it is used, what it sends, when it connects again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from openenv import Action, EnvClient, GenericEnvClient, Observation, State, StepResult, SyncEnvClient
from openenv.client import client as client_module
from openenv.client.blocking import BlockingNetwork
from openenv.errors import ConnectError
from tests.conftest import ROOT


class FakeChannel:
    """Answers every message with an observation that tells what was sent."""

    def __init__(self) -> None:
        self.takes_timeout = False
        self.asked = False
        self.lost = False
        self.sent: list[tuple[dict[str, Any], float | None]] = []
        self.closed = 0

    def is_usable(self) -> bool:
        return not self.lost

    def loss(self) -> ConnectError:
        return ConnectError("lost")

    async def ask(self, message: bytes, timeout_s: float | None) -> bytes:
        if self.lost:
            raise self.loss()
        self.asked = True
        self.sent.append((json.loads(message), timeout_s))
        return json.dumps({"type": "observation", "data": {"observation": {"n": len(self.sent)}}}).encode()

    async def close(self) -> None:
        self.closed += 1

    def abandon(self) -> None:
        self.lost = True


class Channels(list[FakeChannel]):
    """All channels that were opened."""

    refuse = False


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> Channels:
    opened = Channels()

    async def open_channel(network: Any, address: Any, query: str, options: Any) -> FakeChannel:
        if opened.refuse:
            raise ConnectError("refused")
        opened.append(FakeChannel())
        return opened[-1]

    monkeypatch.setattr(client_module, "open_channel", open_channel)
    return opened


class Provider:
    """Something that starts and stops."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> str:
        self.calls.append("start")
        return "http://started:1/"

    def wait_for_ready(self) -> None:
        self.calls.append("ready")

    def stop(self) -> None:
        self.calls.append("stop")


def test_messages_are_those_of_the_wire(channels: Channels) -> None:
    """wire.md section 6."""
    with GenericEnvClient(base_url="http://h").sync() as client:
        client.reset(seed=3)
        client.step({"a": 1}, anything="dropped")
        client.state()
    assert channels[0].sent == [
        ({"type": "reset", "data": {"seed": 3}}, 60.0),
        ({"type": "step", "data": {"a": 1}}, 60.0),
        ({"type": "state"}, 60.0),
    ]


def test_a_timeout_is_sent_only_to_servers_that_take_it(channels: Channels) -> None:
    """Others refuse keys that they do not know; with them the client keeps the time."""
    client = GenericEnvClient(base_url="http://h").sync()
    client.step({}, timeout_s=2)
    channels[0].takes_timeout = True
    client.step({}, timeout_s=2)
    client.reset(timeout_s=3)
    assert channels[0].sent == [
        ({"type": "step", "data": {}}, 2),
        ({"type": "step", "data": {}, "timeout_s": 2}, 7.0),
        ({"type": "reset", "data": {}, "timeout_s": 3}, 8.0),
    ]
    with pytest.raises(ValueError, match="timeout_s > 0"):
        client.step({}, timeout_s=0)


def test_the_first_call_connects_and_close_ends_it_once(channels: Channels) -> None:
    """connect() and close() may be called any number of times."""
    client = SyncEnvClient(base_url="http://h")
    client.close()
    client.step({})
    client.connect()
    assert len(channels) == 1
    client.close()
    client.close()
    assert channels[0].closed == 1
    client.disconnect()


def test_only_reset_replaces_a_lost_session(channels: Channels) -> None:
    """step() and state() belong to an episode that is gone."""
    client = SyncEnvClient("http://h")
    client.reset()
    channels[0].lost = True
    for call in (lambda: client.step({}), client.state):
        with pytest.raises(ConnectError):
            call()
    client.reset()
    client.step({})
    assert [len(channel.sent) for channel in channels] == [1, 2]


def test_a_session_lost_before_anything_was_asked_is_replaced_in_silence(channels: Channels) -> None:
    """There was no episode to lose."""
    client = SyncEnvClient("http://h").connect()
    channels[0].lost = True
    client.step({})
    assert len(channels) == 2


def test_a_reset_that_finds_the_session_gone_is_tried_once_more(channels: Channels) -> None:
    """And not for ever."""
    client = SyncEnvClient("http://h")
    client.reset()
    channel = channels[0]

    async def ask(message: bytes, timeout_s: float | None) -> bytes:
        channel.lost = True
        raise channel.loss()

    channel.ask = ask  # type: ignore[method-assign]
    assert client.reset().observation == {"n": 1}
    channels[1].ask = ask  # type: ignore[method-assign]
    channels[1].is_usable = lambda: False  # type: ignore[method-assign]
    channels.refuse = True
    with pytest.raises(ConnectError, match="refused"):
        client.reset()


@pytest.mark.usefixtures("channels")
def test_a_client_is_used_one_way() -> None:
    """Decided by its first use."""

    async def main() -> None:
        client: Any = GenericEnvClient(base_url="http://h")
        async with client:
            assert (await client.reset()).observation == {"n": 1}
            with pytest.raises(RuntimeError, match="async way"):
                client.sync().step({})
        other: Any = GenericEnvClient(base_url="http://h")
        with other:
            assert other.step({}).observation == {"n": 1}
            with pytest.raises(RuntimeError, match="sync way"):
                await other.__aenter__()

    asyncio.run(main())


@pytest.mark.usefixtures("channels")
def test_a_call_that_is_not_awaited_is_made_when_looked_into() -> None:
    """As notebooks do; awaited, it is as any other."""

    async def main() -> None:
        client: Any = GenericEnvClient(base_url="http://h")
        pending = client.reset()
        assert "neither awaited" in repr(pending)
        assert pending.observation == {"n": 1}
        assert client.step({}).done is False
        other: Any = GenericEnvClient(base_url="http://h")
        assert (await other.reset()).observation == {"n": 1}

    asyncio.run(main())


def test_hooks_of_existing_clients_are_used(channels: Channels) -> None:
    """_step_payload, _parse_result and _parse_state, as the incumbent's template writes them."""

    class Old(EnvClient[Action, Observation, State]):
        def _step_payload(self, action: Any) -> dict[str, Any]:
            return {"wrapped": action}

        def _parse_result(self, payload: dict[str, Any]) -> StepResult[Any]:
            return StepResult(observation=payload["observation"]["n"], reward=0.5, done=True)

        def _parse_state(self, payload: dict[str, Any]) -> Any:
            return ("state", payload["observation"]["n"])

    with Old(base_url="http://h").sync() as client:
        assert client.step("x") == StepResult(1, 0.5, True)  # type: ignore[arg-type]
        assert client.state() == ("state", 2)
    assert channels[0].sent[0][0]["data"] == {"wrapped": "x"}


@pytest.mark.usefixtures("channels")
@pytest.mark.parametrize("inside_a_loop", [False, True])
def test_methods_of_a_client_class_work_without_await(inside_a_loop: bool) -> None:
    """Plain ones, coroutines that wait for the client and for a loop, and overridden calls."""

    class Extended(GenericEnvClient):
        def plain(self) -> str:
            return "plain"

        async def twice(self) -> list[Any]:
            await asyncio.sleep(0)
            return [(await self.step({})).observation, (await self.state())["observation"]]

        async def reset(self, **kwargs: Any) -> Any:  # type: ignore[override]
            result = await super().reset(**kwargs)
            result.metadata = {"own": True}
            return result

    def use() -> None:
        with Extended(base_url="http://h").sync() as client:
            assert client.plain() == "plain"
            assert client.reset().metadata == {"own": True}
            assert client.twice() == [{"n": 2}, {"n": 3}]

    async def main() -> None:
        use()

    asyncio.run(main()) if inside_a_loop else use()


def test_a_provider_is_started_on_connect_and_stopped_on_close(channels: Channels) -> None:
    """Once each; a client given a URL does not start what it stops."""
    provider = Provider()
    with GenericEnvClient(provider=provider).sync() as client:
        client.reset()
        assert client.base_url == "http://started:1"
    assert provider.calls == ["start", "ready", "stop"]
    client.close()
    assert provider.calls == ["start", "ready", "stop"]

    given = Provider()

    async def main() -> None:
        async with GenericEnvClient(base_url="http://h", provider=given) as client:
            await client.reset()

    asyncio.run(main())
    assert given.calls == ["stop"]


def test_a_provider_is_stopped_when_its_server_cannot_be_connected_to(channels: Channels) -> None:
    """Nobody would ever close that client."""
    channels.refuse = True
    provider = Provider()
    with pytest.raises(ConnectError):
        GenericEnvClient(provider=provider).sync().reset()
    assert provider.calls == ["start", "ready", "stop"]


def test_settings_that_cannot_be_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is connected."""
    with pytest.raises(ValueError, match="base_url or a provider"):
        GenericEnvClient()
    with pytest.raises(ValueError, match="simulation or production"):
        GenericEnvClient(base_url="http://h", mode="training")
    monkeypatch.setenv("OPENENV_CLIENT_MODE", "PRODUCTION")
    assert GenericEnvClient(base_url="http://h").mode == "production"


def test_a_network_is_freed_with_its_client() -> None:
    """The registry for forks holds nobody."""
    import gc
    import weakref

    network = BlockingNetwork()
    watch = weakref.ref(network)
    del network
    gc.collect()
    assert watch() is None


def test_importing_the_client_loads_nothing_of_the_server() -> None:
    """Nor what a trainer may not have installed."""
    code = "import sys, json, openenv.client; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    own = {name.split(".")[1] for name in loaded if name.startswith("openenv.")}
    assert not own & {"app", "server", "session", "core", "cli", "rubrics"}
    assert not {"pydantic", "uvloop", "huggingface_hub", "yaml", "numpy"} & set(loaded)
