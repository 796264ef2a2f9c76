"""Clients that have a server started for them: from an image, or from a Space of the Hugging Face Hub.

In: what to start. Out: a `Launch`, which starts nothing yet: awaited it gives a connected client, and its
``sync()`` a connected synchronous one. Until somebody has that client, whatever goes wrong (errors,
cancellation, Ctrl-C) stops what was started; from then on, the client's ``close`` does, and the exit of the
interpreter at the latest.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from openenv.config import environ
from openenv.containers import ContainerProvider, LocalDockerProvider, RuntimeProvider, UVProvider, running
from openenv.errors import StartError

if TYPE_CHECKING:
    from openenv.client.client import EnvClient
    from openenv.client.sync import SyncEnvClient

__all__ = ["Launch", "Plan", "plan_hub", "plan_image", "registry_image", "space_url"]

ClientT = TypeVar("ClientT")
ActT = TypeVar("ActT")
ObsT = TypeVar("ObsT")
StateT = TypeVar("StateT")
T = TypeVar("T")

_HUB = "https://huggingface.co"
_REGISTRY = "registry.hf.space"

_CLIENT_SETTINGS = frozenset(
    {
        "connect_timeout_s",
        "message_timeout_s",
        "max_message_size_mb",
        "websocket_ping_interval_s",
        "websocket_ping_timeout_s",
        "mode",
        "headers",
        "token",
    }
)
"""Keyword arguments that are the client's own; all others go to the provider."""


@dataclass(slots=True)
class Plan:
    """What to start, and with what.

    Attributes:
        provider: What starts it.
        image: For a container provider.
        arguments: For ``start_container`` or ``start``.
        settings: For the client's constructor.
        wait_timeout_s: Seconds to wait for readiness; None takes the provider's own default.
        given_up: Set once nobody wants it any longer.
    """

    provider: Any
    image: str | None
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    wait_timeout_s: float | None
    given_up: bool = field(default=False, init=False)

    def start(self) -> str:
        """Start it and wait until it is ready; the base URL."""
        if self.given_up:
            raise StartError("given up before it was started")
        return running.start(self.provider, self.image, self.arguments, self.wait_timeout_s)

    def stop(self) -> None:
        """Stop it, also while it is being started."""
        self.given_up = True
        running.stop(self.provider)


def plan_image(
    image: str,
    provider: ContainerProvider | None,
    wait_timeout_s: float | None,
    options: Mapping[str, Any],
) -> Plan:
    """Start a container of an image; options that are None were not given.

    Args:
        image: Name of the image.
        provider: What starts it; None is Docker on this machine.
        wait_timeout_s: As in `Plan`.
        options: For the provider and, by their names, for the client.
    """
    settings, arguments = _divide(options)
    return Plan(provider or LocalDockerProvider(), image, arguments, settings, wait_timeout_s)


def plan_hub(
    repo_id: str,
    use_docker: bool | None,
    tag: str,
    provider: ContainerProvider | RuntimeProvider | None,
    project_path: str | None,
    wait_timeout_s: float | None,
    options: Mapping[str, Any],
) -> Plan:
    """Start a Space of the Hub here: its image in a container, or its repository with uv.

    Args:
        repo_id: ``owner/name`` of the Space.
        use_docker: Which of the two; None goes by the provider, and is Docker without one.
        tag: Of the image; any but ``latest`` is also a branch or tag of the repository.
        provider: What starts it.
        project_path: What to run with uv in place of the Space's repository: a folder or ``git+URL``.
        wait_timeout_s: As in `Plan`.
        options: For the provider and, by their names, for the client.

    Raises:
        ValueError: Two of them contradict each other.
    """
    settings, arguments = _divide(options)
    if provider is not None and use_docker not in (None, running.is_container_provider(provider)):
        kind = "ContainerProvider" if use_docker else "RuntimeProvider"
        raise ValueError(f"use_docker={use_docker} needs a {kind}, got a {type(provider).__name__}")
    if provider is not None:
        use_docker = running.is_container_provider(provider)
    if use_docker or use_docker is None:
        if project_path is not None:
            raise ValueError("project_path is for uv: give use_docker=False with it")
        image = registry_image(repo_id, tag)
        return Plan(provider or LocalDockerProvider(), image, arguments, settings, wait_timeout_s)
    if provider is None:
        own = {name: arguments.pop(name) for name in _UV_OPTIONS if name in arguments}
        source = project_path or space_url(repo_id) + ("" if tag == "latest" else f"@{tag}")
        provider = UVProvider(project_path=source, **own)
    elif project_path is not None:
        raise ValueError("project_path belongs to the provider that was given; make it with one")
    return Plan(provider, None, arguments, settings, wait_timeout_s)


_UV_OPTIONS = ("app", "host", "reload", "context_timeout_s")


def _divide(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    given = {name: value for name, value in options.items() if value is not None}
    settings = {name: value for name, value in options.items() if name in _CLIENT_SETTINGS}
    return settings, {name: value for name, value in given.items() if name not in _CLIENT_SETTINGS}


def registry_image(repo_id: str, tag: str) -> str:
    """The image that the Hub's registry has of a Space: ``registry.hf.space/owner-name:tag``."""
    return f"{_REGISTRY}/{re.sub('[^a-z0-9]', '-', repo_id.lower())}:{tag}"


def space_url(repo_id: str) -> str:
    """The git repository of a Space, for uv, at ``HF_ENDPOINT`` if that is set."""
    hub = (environ().get("HF_ENDPOINT") or _HUB).rstrip("/")
    return f"git+{hub}/spaces/{repo_id}"


class Launch(Coroutine[Any, Any, ClientT], Generic[ClientT, ActT, ObsT, StateT]):
    """A client that is still to be started; good for one of ``await`` and ``sync()``, once.

    It is a coroutine in every respect: `asyncio.run` and tasks take it too.
    """

    def __init__(self, client_class: Callable[..., Any], plan: Callable[[], Plan]) -> None:
        self._client_class = client_class
        self._make_plan = plan
        self._taken = False
        self._coroutine: Coroutine[Any, Any, ClientT] | None = None

    def sync(self) -> SyncEnvClient[ActT, ObsT, StateT]:
        """Start the server, connect, and give the synchronous client.

        Raises:
            ProviderError: The server could not be started.
            ConnectError: It could not be connected to, and was stopped again.
        """
        plan = self._take()
        base_url = plan.start()
        try:
            client: SyncEnvClient[ActT, ObsT, StateT] = self._client(plan, base_url).sync()
            return client.connect()
        except BaseException:
            with suppress(Exception):
                plan.stop()
            raise

    async def _start(self) -> ClientT:
        plan = self._take()
        base_url = await _in_thread(plan.start, plan.stop)
        try:
            client: Any = self._client(plan, base_url)
            await client.connect()
        except BaseException:
            with suppress(Exception):
                await _in_thread(plan.stop, plan.stop)
            raise
        return client  # type: ignore[no-any-return]

    def _take(self) -> Plan:
        if self._taken:
            raise RuntimeError("this launch was already awaited, or synced; call the class method again")
        self._taken = True
        return self._make_plan()

    def _client(self, plan: Plan, base_url: str) -> EnvClient[ActT, ObsT, StateT]:
        client: EnvClient[ActT, ObsT, StateT] = self._client_class(
            base_url=base_url, provider=plan.provider, **plan.settings
        )
        return client

    def _started(self) -> Coroutine[Any, Any, ClientT]:
        if self._coroutine is None:
            self._coroutine = self._start()
        return self._coroutine

    def __await__(self) -> Generator[Any, Any, ClientT]:
        return self._started().__await__()

    def send(self, value: Any) -> Any:
        """See `collections.abc.Coroutine`."""
        return self._started().send(value)

    def throw(self, *error: Any) -> Any:
        """See `collections.abc.Coroutine`."""
        return self._started().throw(*error)

    def close(self) -> None:
        """See `collections.abc.Coroutine`: forget it, if it was not started."""
        if self._coroutine is not None:
            self._coroutine.close()


async def _in_thread(function: Callable[[], T], undo: Callable[[], object]) -> T:
    """Run a function that takes long in a thread. Cancelled, wait until it has ended and is undone.

    A thread cannot be cancelled: to leave it alone would leave behind what it is about to make.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # While it runs, to make it end soon; and after it, for what it may have made in between.
        await _outlast(asyncio.ensure_future(asyncio.to_thread(undo)))
        if await _outlast(work):
            await _outlast(asyncio.ensure_future(asyncio.to_thread(undo)))
        raise


async def _outlast(work: asyncio.Future[Any]) -> bool:
    """Wait for the end of something, however often this task is cancelled; whether it went well."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([work])
    return not work.cancelled() and work.exception() is None
