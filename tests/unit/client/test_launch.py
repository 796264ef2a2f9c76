"""Clients whose server is started for them: what is started with what, and that nothing is left of a failure.

Providers are written here as somebody else would write them; the network is replaced where it is reached.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from openenv import EnvClient, GenericEnvClient, SyncEnvClient
from openenv.client import client as client_module
from openenv.client.launch import registry_image, space_url
from openenv.containers import ContainerProvider, LocalDockerProvider, RuntimeProvider, UVProvider, running
from openenv.errors import ConnectError
from tests.support.eventually import eventually


class Cloud(ContainerProvider):
    """A container provider that writes down what it is asked for; it may be held up or fail."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.waits = threading.Event()
        self.fails = False

    def start_container(
        self, image: str, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any
    ) -> str:
        self.calls.append(("start", image, port, env_vars, kwargs))
        return "http://cloud:1"

    def wait_for_ready(self, base_url: str, timeout_s: float = 30.0) -> None:
        self.calls.append(("ready", base_url, timeout_s))
        self.waits.set()
        self.go_on.wait(10)
        if self.fails:
            raise TimeoutError("not ready")

    def stop_container(self) -> None:
        self.calls.append("stop")
        self.go_on.set()


class Local(RuntimeProvider):
    """A runtime provider that writes down what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start(self, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any) -> str:
        self.calls.append(("start", port, env_vars, kwargs))
        return "http://local:1"

    def wait_for_ready(self, timeout_s: float = 30.0) -> None:
        self.calls.append(("ready", timeout_s))

    def stop(self) -> None:
        self.calls.append("stop")


class Channel:
    """A session that answers nothing and can be closed."""

    takes_timeout = False
    asked = False

    def is_usable(self) -> bool:
        return True

    async def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass


class Network:
    """What clients of this test connect to."""

    def __init__(self) -> None:
        self.refuses = False
        self.hangs = False
        self.addresses: list[str] = []
        self.reached = asyncio.Event()

    async def open_channel(self, network: Any, address: Any, query: str, options: Any) -> Channel:
        self.addresses.append(address.url("/ws"))
        if self.hangs:
            self.reached.set()
            await asyncio.Event().wait()
        if self.refuses:
            raise ConnectError("refused")
        return Channel()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network without sockets."""
    made = Network()
    monkeypatch.setattr(client_module, "open_channel", made.open_channel)
    return made


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run on a loop that does not outlive the test."""
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_an_awaited_launch_is_a_connected_client(network: Network) -> None:
    """And its close stops the container."""
    cloud = Cloud()

    async def main() -> None:
        client = await GenericEnvClient.from_docker_image("echo", provider=cloud)
        assert isinstance(client, GenericEnvClient)
        assert client.base_url == "http://cloud:1"
        assert network.addresses == ["http://cloud:1/ws"]
        async with client:
            assert "stop" not in cloud.calls

    run(main())
    assert cloud.calls == [
        ("start", "echo", None, None, {}),
        ("ready", "http://cloud:1", 30.0),
        "stop",
    ]
    assert id(cloud) not in running._held


def test_a_synced_launch_is_a_connected_synchronous_client(network: Network) -> None:
    """And leaving its block stops the container."""
    cloud = Cloud()
    with GenericEnvClient.from_docker_image("echo", cloud).sync() as client:
        assert isinstance(client, SyncEnvClient)
        assert network.addresses == ["http://cloud:1/ws"]
    assert cloud.calls[-1] == "stop"


def test_a_synchronous_client_starts_its_server_too(network: Network) -> None:
    """By the names that the asynchronous one has; it is connected when it is there."""
    cloud, local = Cloud(), Local()
    with SyncEnvClient.from_docker_image("echo", cloud, port=5) as client:
        assert client.base_url == "http://cloud:1"
    with SyncEnvClient.from_env("o/n", provider=local) as client:
        assert client.base_url == "http://local:1"
    assert (cloud.calls[-1], local.calls[-1]) == ("stop", "stop")


def test_a_provider_of_no_known_class_is_one_by_its_methods(network: Network) -> None:
    """Subclasses of other packages' base classes are as good as ours."""

    class Foreign:
        stopped = False

        def start_container(self, image: str, port: Any = None, env_vars: Any = None, **kwargs: Any) -> str:
            return "http://foreign:1"

        def wait_for_ready(self, base_url: str, timeout_s: float = 30.0) -> None:
            pass

        def stop_container(self) -> None:
            self.stopped = True

    foreign: Any = Foreign()
    GenericEnvClient.from_docker_image("echo", foreign).sync().close()
    assert foreign.stopped


def test_a_launch_is_a_coroutine(network: Network) -> None:
    """`asyncio.run` and tasks take it as one."""
    client = asyncio.run(GenericEnvClient.from_docker_image("echo", Cloud()))
    client.close()

    async def main() -> None:
        task = asyncio.create_task(GenericEnvClient.from_docker_image("echo", Cloud()))
        await (await task).close()

    run(main())


def test_nothing_happens_until_a_launch_is_used(network: Network) -> None:
    """One that is forgotten has started nothing, and warns of nothing."""
    cloud = Cloud()
    launch = GenericEnvClient.from_docker_image("echo", cloud)
    launch.close()
    del launch
    assert cloud.calls == []


def test_a_launch_is_used_once(network: Network) -> None:
    """A second use would be a second container."""
    launch = GenericEnvClient.from_docker_image("echo", Cloud())
    client = launch.sync()
    with pytest.raises(RuntimeError, match="already"):
        launch.sync()
    client.close()


def test_settings_go_to_the_client_and_the_rest_to_the_provider(network: Network) -> None:
    """Told apart by name; what was not given is not passed on."""
    cloud = Cloud()
    client = GenericEnvClient.from_docker_image(
        "echo",
        cloud,
        port=7,
        env_vars={"A": "1"},
        workers=2,
        name="mine",
        cpus=1.5,
        memory="1g",
        wait_timeout_s=3,
        message_timeout_s=9,
        headers={"X": "y"},
        region="here",
    ).sync()
    client.close()
    assert cloud.calls[0] == (
        *("start", "echo", 7, {"A": "1"}),
        {"workers": 2, "name": "mine", "cpus": 1.5, "memory": "1g", "region": "here"},
    )
    assert cloud.calls[1] == ("ready", "http://cloud:1", 3)
    assert client.async_client._message_timeout == 9


def test_a_setting_of_none_is_a_setting(network: Network) -> None:
    """`message_timeout_s=None` waits for ever, and does not mean the default."""
    client = GenericEnvClient.from_docker_image("echo", Cloud(), message_timeout_s=None).sync()
    client.close()
    assert client.async_client._message_timeout is None


def test_a_client_class_with_a_constructor_of_its_own_is_made_by_it(network: Network) -> None:
    """It is given what clients have always been given: a base URL and a provider."""

    class Own(EnvClient[Any, Any, Any]):
        def __init__(self, base_url: str, provider: Any = None) -> None:
            super().__init__(base_url=base_url, provider=provider)
            self.mine = True

    client = Own.from_docker_image("echo", Cloud()).sync()
    assert client.async_client.mine  # type: ignore[attr-defined]
    client.close()


@pytest.mark.parametrize("fails", ["provider", "network"])
def test_a_failed_launch_leaves_nothing(network: Network, fails: str) -> None:
    """Neither way of using it."""
    for synchronous in (True, False):
        cloud = Cloud()
        cloud.fails = fails == "provider"
        network.refuses = fails == "network"
        launch = GenericEnvClient.from_docker_image("echo", cloud)
        with pytest.raises((TimeoutError, ConnectError)):
            launch.sync() if synchronous else run(launch)
        assert cloud.calls[-1] == "stop"
        assert id(cloud) not in running._held


def test_a_launch_that_is_cancelled_while_it_starts_leaves_nothing(network: Network) -> None:
    """What the starting thread made is stopped before the cancellation is heard of."""
    cloud = Cloud()
    cloud.go_on.clear()

    async def main() -> None:
        task = asyncio.create_task(GenericEnvClient.from_docker_image("echo", cloud))
        await asyncio.to_thread(cloud.waits.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cloud.calls[-1] == "stop"
        assert id(cloud) not in running._held

    run(main())


def test_a_launch_that_is_cancelled_often_leaves_nothing(network: Network) -> None:
    """Impatience does not cut the cleaning up short."""
    cloud = Cloud()
    cloud.go_on.clear()

    async def main() -> None:
        task = asyncio.create_task(GenericEnvClient.from_docker_image("echo", cloud))
        await asyncio.to_thread(cloud.waits.wait, 10)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        assert "stop" in cloud.calls
        assert id(cloud) not in running._held

    run(main())


def test_a_launch_that_is_cancelled_while_it_connects_leaves_nothing(network: Network) -> None:
    """The server ran, and nobody will ever hold its client."""
    cloud = Cloud()
    network.hangs = True

    async def main() -> None:
        task = asyncio.create_task(GenericEnvClient.from_docker_image("echo", cloud))
        await network.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert cloud.calls[-1] == "stop"


def test_a_launch_does_not_hold_up_the_loop(network: Network) -> None:
    """Others run while a provider blocks."""
    cloud = Cloud()
    cloud.go_on.clear()

    async def main() -> None:
        task = asyncio.create_task(GenericEnvClient.from_docker_image("echo", cloud))
        await asyncio.to_thread(cloud.waits.wait, 10)
        cloud.go_on.set()
        await (await task).close()

    run(main())


def test_a_provider_given_to_the_constructor_is_stopped_when_cancelled(network: Network) -> None:
    """The other way of handing over a provider, which is started by the first connect."""

    class Owning(Cloud):
        def start_container(self, image: str = "its own", **kwargs: Any) -> str:  # type: ignore[override]
            return super().start_container(image, **kwargs)

    cloud = Owning()
    cloud.go_on.clear()

    async def main() -> None:
        client = GenericEnvClient(provider=cloud)
        task = asyncio.ensure_future(client._connect_async())
        await asyncio.to_thread(cloud.waits.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    eventually(lambda: cloud.calls[-1] == "stop", "a stop")


@pytest.mark.parametrize(
    ("repo_id", "image"),
    [
        ("openenv/echo-env", "registry.hf.space/openenv-echo-env:latest"),
        ("OpenEnv/echo_env.v2", "registry.hf.space/openenv-echo-env-v2:latest"),
    ],
)
def test_a_space_has_an_image_in_the_registry(network: Network, repo_id: str, image: str) -> None:
    """Named as its subdomain is."""
    cloud = Cloud()
    GenericEnvClient.from_hub(repo_id, provider=cloud).sync().close()
    assert cloud.calls[0][1] == image
    assert registry_image(repo_id, "latest") == image


def test_the_other_name_of_from_hub_is_from_env(network: Network) -> None:
    """As the guide calls it, with a tag and options."""
    cloud = Cloud()
    GenericEnvClient.from_env("o/n", provider=cloud, tag="v2", port=3, cpus=2).sync().close()
    assert cloud.calls[0] == ("start", "registry.hf.space/o-n:v2", 3, None, {"cpus": 2})


def test_a_runtime_provider_needs_no_image(network: Network) -> None:
    """It is told apart by its methods, with or without `use_docker`."""
    for chosen in (None, False):
        local = Local()
        GenericEnvClient.from_hub(
            "o/n", provider=local, use_docker=chosen, port=3, workers=2, wait_timeout_s=4
        ).sync().close()
        assert local.calls == [("start", 3, None, {"workers": 2}), ("ready", 4), "stop"]


def test_what_contradicts_itself_is_refused(network: Network) -> None:
    """Before anything is started."""
    for arguments, complaint in (
        ({"use_docker": True, "provider": Local()}, "ContainerProvider"),
        ({"use_docker": False, "provider": Cloud()}, "RuntimeProvider"),
        ({"project_path": "."}, "use_docker=False"),
        ({"project_path": ".", "provider": Local()}, "belongs to the provider"),
    ):
        with pytest.raises(ValueError, match=complaint):
            GenericEnvClient.from_hub("o/n", **arguments).sync()  # type: ignore[arg-type]


def test_without_a_provider_ours_are_taken(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker for images, uv for repositories at the Hub that `HF_ENDPOINT` names."""
    taken: list[Any] = []

    def start(provider: Any, image: str | None, arguments: Any, wait_timeout_s: float | None) -> str:
        taken.append((provider, image, dict(arguments)))
        return "http://x:1"

    monkeypatch.setattr(running, "start", start)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    GenericEnvClient.from_docker_image("echo").sync().disconnect()
    GenericEnvClient.from_hub("o/n").sync().disconnect()
    GenericEnvClient.from_hub("o/n", use_docker=False, tag="v1", app="a:b", workers=2).sync().disconnect()
    GenericEnvClient.from_hub("o/n", use_docker=False, project_path="/x").sync().disconnect()
    monkeypatch.setenv("HF_ENDPOINT", "file:///hub/")
    GenericEnvClient.from_hub("o/n", use_docker=False).sync().disconnect()
    assert [type(provider) for provider, *_ in taken] == [LocalDockerProvider] * 2 + [UVProvider] * 3
    assert [image for _, image, _ in taken[:2]] == ["echo", "registry.hf.space/o-n:latest"]
    assert [provider.project_path for provider, *_ in taken[2:]] == [
        "git+https://huggingface.co/spaces/o/n@v1",
        "/x",
        "git+file:///hub/spaces/o/n",
    ]
    assert (taken[2][0].app, taken[2][2]) == ("a:b", {"workers": 2})
    assert space_url("o/n") == "git+file:///hub/spaces/o/n"
