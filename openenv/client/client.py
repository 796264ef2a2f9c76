"""The client of one session: reset, step, state, close.

In: a base URL, and actions as objects or dicts. Out: `StepResult` and states as objects or dicts.
The coroutines named ``_..._async`` are written once and run on an event loop or on a blocking socket,
whichever `EnvClient` was first used with; ``reset``, ``step`` and the others pick the way. It knows
nothing about sockets, frames and loops.

Reference: ``wire.md`` sections 1, 2, 6 and 8.
"""

from __future__ import annotations

import copy
import threading
from asyncio import CancelledError, _get_running_loop
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from openenv.client.address import Address
from openenv.client.aio import AsyncNetwork
from openenv.client.blocking import BlockingNetwork
from openenv.client.channel import Channel, Network, Options, fetch, open_channel
from openenv.client.launch import Launch, plan_hub, plan_image
from openenv.client.payloads import dump_action, loader_of, type_arguments
from openenv.client.plain import plain_result_of
from openenv.client.replies import load_reply
from openenv.codec import OPTIONS, decode, encode, encode_strictly
from openenv.config import environ
from openenv.containers import ContainerProvider, RuntimeProvider, running
from openenv.errors import ConnectError, RemoteError
from openenv.models import StepResult
from openenv.schema import jsonable

if TYPE_CHECKING:
    from typing import Self

    from openenv.client.sync import SyncEnvClient

__all__ = ["EnvClient"]

ActT = TypeVar("ActT")
ObsT = TypeVar("ObsT")
StateT = TypeVar("StateT")
T = TypeVar("T")

_MODES = ("simulation", "production")
_ASYNC, _SYNC = "async", "sync"
# What our servers are given beyond a step's own timeout to say that it was exceeded.
_GRACE_S = 5.0


class EnvClient(Generic[ActT, ObsT, StateT]):
    """One session with an environment's server.

    Three type parameters make a whole client::

        class EchoEnv(EnvClient[EchoAction, EchoObservation, State]):
            pass

        async with EchoEnv(base_url="http://localhost:8000") as client:
            result = await client.reset()

        with EchoEnv(base_url="http://localhost:8000").sync() as client:
            result = client.reset()

    ``with EchoEnv(...) as client`` is the latter, shorter. A client is used one way, decided by its
    first use: on an event loop, calls give awaitables; anywhere else, results. Classes may be ours,
    pydantic's, plain dataclasses, or ``dict`` for payloads as they are. Clients that need more than
    their types override ``_step_payload``, ``_parse_result`` or ``_parse_state``.

    Calls on one client run one at a time, in order; several clients never wait for one another. A
    session that is lost (the server ended it or went away) stays lost until ``reset``: ``step`` and
    ``state`` raise `ConnectError`, because the episode that they belong to is gone.

    Args:
        base_url: ``http``, ``https``, ``ws`` or ``wss`` URL of the server, a path before its routes
            included. None only with a ``provider``, which is then started on the first connect.
        connect_timeout_s: Seconds for connecting, handshake included, > 0.
        message_timeout_s: Seconds that a reply may take, > 0; None waits for ever.
        max_message_size_mb: Largest reply accepted, in MiB.
        websocket_ping_interval_s: Seconds of silence after which the server is pinged; None: never.
        websocket_ping_timeout_s: Seconds that it may take to answer that; None: for ever.
        provider: What starts the server and stops it on ``close``.
        mode: ``simulation`` (default) or ``production``; None reads ``OPENENV_CLIENT_MODE``.
        headers: Header fields to send with every request.
        token: Bearer token. To ``https://*.hf.space``, and to nobody else, the Hugging Face token of
            this machine is sent where neither this nor an ``Authorization`` header is given.

    Raises:
        ValueError: Neither ``base_url`` nor ``provider``, or one that cannot be used.
    """

    # Coroutine methods that wait for nothing but the channel, so that a blocking one can run them.
    _channel_only: ClassVar[frozenset[str]] = frozenset(
        {
            "_close_async",
            "_connect_async",
            "_disconnect_async",
            "_metadata_async",
            "_request_async",
            "_reset_async",
            "_schema_async",
            "_send_and_receive",
            "_state_async",
            "_step_async",
        }
    )

    def __init__(
        self,
        base_url: str | None = None,
        connect_timeout_s: float = 10.0,
        message_timeout_s: float | None = 60.0,
        max_message_size_mb: float = 100.0,
        websocket_ping_interval_s: float | None = 20.0,
        websocket_ping_timeout_s: float | None = 20.0,
        provider: Any = None,
        mode: str | None = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
    ) -> None:
        if base_url is None and provider is None:
            raise ValueError(f"{type(self).__name__} needs a base_url or a provider")
        self._mode = _check_mode(mode)
        self._options = Options(
            connect_timeout_s=connect_timeout_s,
            max_message_bytes=int(max_message_size_mb * 1024 * 1024),
            ping_interval_s=websocket_ping_interval_s,
            ping_timeout_s=websocket_ping_timeout_s,
            headers=tuple((headers or {}).items()),
            token=token,
        )
        self._message_timeout = message_timeout_s
        self._provider = provider
        self._provider_runs = base_url is not None and provider is not None
        self._starts_provider = base_url is None
        self._base_url: str | None = None
        self._address: Address | None = None
        self._query = ""
        if base_url is not None:
            self._set_base_url(base_url)
        self._begin()

    def _begin(self) -> None:
        """Everything of a client that is not settings."""
        self._channel: Channel | None = None
        self._execution: str | None = None
        self._network: Network | None = None
        self._driver: int | None = None
        self._children: list[EnvClient[ActT, ObsT, StateT]] = []
        arguments = (*type_arguments(type(self), EnvClient), Any, Any, Any)
        self._load_observation = loader_of(arguments[1])
        self._plain_result = plain_result_of(arguments[1])
        self._load_state = loader_of(arguments[2])

    @classmethod
    def from_docker_image(
        cls,
        image: str,
        provider: ContainerProvider | None = None,
        *,
        port: int | None = None,
        env_vars: dict[str, str] | None = None,
        workers: int | None = None,
        name: str | None = None,
        cpus: float | None = None,
        memory: str | int | None = None,
        wait_timeout_s: float | None = None,
        **kwargs: Any,
    ) -> Launch[Self, ActT, ObsT, StateT]:
        """Start a container of an image and connect to it; ``close`` stops the container.

        Nothing happens until it is used, in one of two ways::

            client = await EchoEnv.from_docker_image("echo-env:latest")
            client = EchoEnv.from_docker_image("echo-env:latest").sync()

        Args:
            image: Name of the image; it is pulled if it is not on this machine.
            provider: What starts it; None is Docker on this machine.
            port: Port on this side; None takes a free one.
            env_vars: Environment variables of the container.
            workers: Processes that serve, >= 1.
            name: Name of the container.
            cpus: Processors that it may use, > 0, may be fractional.
            memory: Memory that it may use: bytes, or text like ``512m``.
            wait_timeout_s: Seconds that it may take to become ready, > 0; None is 60 with Docker.
            **kwargs: Settings of `EnvClient` for the client; all others for the provider.

        Raises:
            ProviderMissingError: There is no ``docker``, or no daemon behind it.
            StartError: No such image, a port that is taken, or the container ended.
            ReadyTimeoutError: It runs, and did not answer in time.
            ConnectError: It could not be connected to.
        """
        options = {
            "port": port,
            "env_vars": env_vars,
            "workers": workers,
            "name": name,
            "cpus": cpus,
            "memory": memory,
            **kwargs,
        }
        return Launch(cls, lambda: plan_image(image, provider, wait_timeout_s, options))

    @classmethod
    def from_hub(
        cls,
        repo_id: str,
        *,
        use_docker: bool | None = None,
        tag: str = "latest",
        provider: ContainerProvider | RuntimeProvider | None = None,
        project_path: str | None = None,
        port: int | None = None,
        env_vars: dict[str, str] | None = None,
        workers: int | None = None,
        wait_timeout_s: float | None = None,
        **kwargs: Any,
    ) -> Launch[Self, ActT, ObsT, StateT]:
        """Start a Space of the Hugging Face Hub on this machine and connect; ``close`` stops it.

        Awaited or ``.sync()``, and with the errors of `from_docker_image`.

        Args:
            repo_id: ``owner/name`` of the Space.
            use_docker: True (or None without a provider that says otherwise) runs its image; False runs
                its repository with ``uv``.
            tag: Of the image; any but ``latest`` is also a branch or tag of the repository.
            provider: What starts it; None is Docker, or ``uv``, on this machine.
            project_path: What ``uv`` runs instead of the Space's repository: a folder or ``git+URL``.
            port: Port on this side; None takes a free one.
            env_vars: Environment variables of the server.
            workers: Processes that serve, >= 1.
            wait_timeout_s: Seconds that it may take to become ready, > 0; None is 60 with Docker, 300
                with ``uv``, which may have to install what it needs.
            **kwargs: Settings of `EnvClient` for the client; all others for the provider.
        """
        options = {"port": port, "env_vars": env_vars, "workers": workers, **kwargs}
        return Launch(
            cls, lambda: plan_hub(repo_id, use_docker, tag, provider, project_path, wait_timeout_s, options)
        )

    @classmethod
    def from_env(cls, repo_id: str, **kwargs: Any) -> Launch[Self, ActT, ObsT, StateT]:
        """`from_hub` by its other name."""
        return cls.from_hub(repo_id, **kwargs)

    @property
    def base_url(self) -> str | None:
        """The server's URL without a trailing slash; None until a provider has started it."""
        return self._base_url

    @property
    def mode(self) -> str:
        """``simulation`` or ``production``."""
        return self._mode

    def _set_base_url(self, base_url: str) -> None:
        self._address = Address.parse(base_url)
        self._base_url = base_url.rstrip("/")

    # What subclasses may override

    def _step_payload(self, action: ActT) -> dict[str, Any]:
        """The action's fields, as JSON values or what `openenv.schema.jsonable` makes of them."""
        payload: dict[str, Any] = dump_action(action)
        return payload

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[ObsT]:
        """The result in ``data`` of an observation reply. Keys that it does not know mean nothing."""
        if self._plain_result is not None:
            result = self._plain_result(payload)
            if result is not None:
                return result
        observation = payload.get("observation")
        if not isinstance(observation, dict):
            observation = {}
        reward = payload.get("reward")
        done = payload.get("done", False)
        metadata = payload.get("metadata") or observation.get("metadata") or None
        truncated = payload.get("truncated", False)
        load = self._load_observation
        if load is not None:
            observation["done"] = done
            observation["reward"] = reward
            if metadata is not None:
                observation["metadata"] = metadata
            if truncated:
                observation["truncated"] = True
            observation = load(observation)
        return StepResult(cast(ObsT, observation), reward, done, metadata, truncated)

    def _parse_state(self, payload: dict[str, Any]) -> StateT:
        """The state in ``data`` of a state reply."""
        load = self._load_state
        return cast(StateT, payload if load is None else load(payload))

    # The coroutines, for either kind of channel

    async def _ask(self, message: bytes, timeout_s: float | None) -> Any:
        channel = self._channel
        if channel is None or not channel.is_usable():
            channel = await self._usable_channel()
        reply = channel.ask(message, timeout_s)
        return load_reply(reply if isinstance(reply, bytes) else await reply)

    async def _usable_channel(self) -> Channel:
        if self._channel is not None and self._channel.asked:
            raise self._channel.loss()
        await self._connect_async()
        assert self._channel is not None
        return self._channel

    async def _send_and_receive(self, message: dict[str, Any]) -> dict[str, Any]:
        """Ask anything; ``{"data": ...}`` of the reply."""
        return {"data": await self._ask(encode(message, jsonable), self._message_timeout)}

    async def _connect_async(self) -> Self:
        network = self._the_network()
        async with network.turn():
            channel = self._channel
            if channel is not None:
                if channel.is_usable():
                    return self
                self._channel = None
                channel.abandon()
            try:
                if self._address is None:
                    await network.call(self._start_provider)
                assert self._address is not None
                self._channel = await open_channel(network, self._address, self._query, self._options)
            except (Exception, CancelledError):
                # Nobody may ever hold a client whose server has just been started for it.
                if self._starts_provider:
                    with suppress(Exception):
                        await network.call(self._stop_provider)
                raise
        return self

    async def _reset_async(self, *, timeout_s: float | None = None, **kwargs: Any) -> StepResult[ObsT]:
        head = b'{"type":"reset","data":' + encode(kwargs, jsonable)
        channel = self._channel
        if channel is not None and channel.is_usable():
            try:
                return self._parse_result(await self._ask(*self._finish(head, timeout_s)))
            except ConnectError:
                # A new episode needs nothing of the old session, so that losing it is no news.
                if self._channel is channel and channel.is_usable():
                    raise
        await self._connect_async()
        return self._parse_result(await self._ask(*self._finish(head, timeout_s)))

    async def _step_async(self, action: ActT, timeout_s: float | None = None) -> StepResult[ObsT]:
        payload = self._step_payload(action)
        channel = self._channel
        if timeout_s is not None or channel is None or not channel.is_usable():
            return await self._step_slowly(payload, timeout_s)
        # What is done most, and so without another coroutine or a needless call: `_ask` in place.
        try:
            data = encode_strictly(payload, jsonable, OPTIONS)
        except TypeError:
            data = encode(payload, jsonable)
        reply = channel.ask(b'{"type":"step","data":' + data + b"}", self._message_timeout)
        return self._parse_result(load_reply(reply if isinstance(reply, bytes) else await reply))

    async def _step_slowly(self, payload: dict[str, Any], timeout_s: float | None) -> StepResult[ObsT]:
        head = b'{"type":"step","data":' + encode(payload, jsonable)
        if self._channel is None:
            await self._connect_async()
        return self._parse_result(await self._ask(*self._finish(head, timeout_s)))

    def _finish(self, head: bytes, timeout_s: float | None) -> tuple[bytes, float | None]:
        """The message and how long to wait: a server that keeps time itself is asked to."""
        if timeout_s is None:
            return head + b"}", self._message_timeout
        if timeout_s <= 0:
            raise ValueError(f"expected timeout_s > 0, got {timeout_s}")
        if self._channel is not None and self._channel.takes_timeout:
            return head + b',"timeout_s":' + encode(timeout_s) + b"}", timeout_s + _GRACE_S
        return head + b"}", timeout_s

    async def _state_async(self) -> StateT:
        return self._parse_state(await self._ask(b'{"type":"state"}', self._message_timeout))

    async def _schema_async(self) -> dict[str, Any]:
        schema: dict[str, Any] = await self._request_async("GET", "/schema")
        return schema

    async def _metadata_async(self) -> dict[str, Any]:
        metadata: dict[str, Any] = await self._request_async("GET", "/metadata")
        return metadata

    async def _request_async(self, method: str, path: str, body: Any = None) -> Any:
        """Ask a route of the server over HTTP; the JSON value that it answers with.

        Raises:
            RemoteError: The status is not 200; ``code`` is the status, ``data`` the body.
            ConnectError: There was no answer.
        """
        if self._address is None:
            await self._connect_async()
        assert self._address is not None
        content = b"" if body is None else encode(body, jsonable)
        timeout_s = self._message_timeout or self._options.connect_timeout_s
        response = await fetch(
            self._the_network(), self._address, method, path, content, self._options, timeout_s
        )
        if response.status != 200:
            text = response.body.decode("utf-8", "replace")
            raise RemoteError(
                f"{method} {self._address.url(path)}: {response.status} {response.reason}: {text[:300]}",
                str(response.status),
                {"body": text},
            )
        return decode(response.body)

    async def _disconnect_async(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _close_async(self) -> None:
        children, self._children = self._children, []
        try:
            for child in children:
                await child._close_async()
            await self._disconnect_async()
        finally:
            if self._provider is not None:
                await self._the_network().call(self._stop_provider)

    # Providers

    def _start_provider(self) -> None:
        # Before it runs: a cancelled caller stops it while it still starts in its thread.
        self._provider_runs = True
        self._set_base_url(running.start(self._provider))

    def _stop_provider(self) -> None:
        if not self._provider_runs:
            return
        running.stop(self._provider)
        self._provider_runs = False
        if self._starts_provider:
            self._address = self._base_url = None

    # One way or the other

    def _the_network(self) -> Network:
        if self._network is None:
            self._network = BlockingNetwork() if self._execution == _SYNC else AsyncNetwork()
        return self._network

    def _claim(self, execution: str) -> None:
        """Settle on one way of use.

        Raises:
            RuntimeError: The other way was taken before.
        """
        if self._execution == execution:
            return
        if self._execution is not None and (execution == _ASYNC or _loop_runs()):
            raise RuntimeError(
                f"this client is used in the {self._execution} way; make another one for {execution} code"
            )
        # A client that was only connected on a loop that has ended may go on without one.
        if self._channel is not None:
            self._channel.abandon()
            if not self._channel.asked:
                self._channel = None
        self._execution = execution
        self._network = None

    def _blocking(self) -> BlockingNetwork:
        if self._execution == _SYNC and type(self._network) is BlockingNetwork:
            return self._network
        self._claim(_SYNC)
        network = self._the_network()
        assert isinstance(network, BlockingNetwork)
        return network

    def _dispatch(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """An awaitable on a running loop, the result itself anywhere else."""
        if (self._execution == _ASYNC and _loop_runs()) or self._driver == threading.get_ident():
            return getattr(self, name)(*args, **kwargs)
        if self._execution != _SYNC and _loop_runs():
            return _Pending(self, lambda: getattr(self, name)(*args, **kwargs))
        return self._blocking().drive(getattr(self, name)(*args, **kwargs))

    def connect(self) -> Coroutine[Any, Any, Self]:
        """Open the session now rather than with the first call; nothing happens if it is open.

        Raises:
            ConnectError: It cannot be opened; the message names the URL and the reason.
        """
        return cast(Coroutine[Any, Any, "Self"], self._dispatch("_connect_async"))

    def reset(self, **kwargs: Any) -> Coroutine[Any, Any, StepResult[ObsT]]:
        """Start an episode, in a new session if the old one is gone.

        Args:
            **kwargs: Go to the environment's ``reset``: ``seed``, ``episode_id`` and its own;
                ``timeout_s`` is as in ``step``.

        Returns:
            The first observation.

        Raises:
            ConnectError: There is no session to be had.
            SessionCapacityError: The server holds as many sessions as it may.
            EnvironmentFactoryError: The server could not make an environment.
            AuthorError: The environment's ``reset`` raised.
            ReplyTimeoutError: No reply in time.
        """
        return cast(Coroutine[Any, Any, StepResult[ObsT]], self._dispatch("_reset_async", **kwargs))

    def step(
        self, action: ActT, timeout_s: float | None = None, **kwargs: Any
    ) -> Coroutine[Any, Any, StepResult[ObsT]]:
        """Apply one action and give back what the environment shows next.

        Args:
            action: An object of the client's action class, or a dict with its fields.
            timeout_s: Seconds that it may take, > 0; None is ``message_timeout_s``.
            **kwargs: Nothing; there for callers of other clients.

        Returns:
            observation: An object of the client's observation class, or a dict.
            reward: In the environment's own unit, or None.
            done: True once the episode is over.

        Raises:
            SchemaError: The action does not fit (nothing ran), or the reply does not.
            AuthorError: The environment's ``step`` raised. The session stands.
            StepTimeoutError: The server gave the step up after ``timeout_s``.
            ReplyTimeoutError: No reply in time. The session stands; a late reply is dropped.
            ConnectError: The session, and the episode with it, is gone.
        """
        if self._execution == _ASYNC:
            return self._step_async(action, timeout_s)
        if self._execution == _SYNC and self._driver is None:
            result: Any = self._blocking().drive(self._step_async(action, timeout_s))
            return cast(Coroutine[Any, Any, StepResult[ObsT]], result)
        return cast(Coroutine[Any, Any, StepResult[ObsT]], self._dispatch("_step_async", action, timeout_s))

    def state(self) -> Coroutine[Any, Any, StateT]:
        """Where the episode stands. Raises what ``step`` raises."""
        return cast(Coroutine[Any, Any, StateT], self._dispatch("_state_async"))

    def schema(self) -> Coroutine[Any, Any, dict[str, Any]]:
        """The server's JSON Schemas, by ``action``, ``observation``, ``state``."""
        return cast(Coroutine[Any, Any, dict[str, Any]], self._dispatch("_schema_async"))

    def metadata(self) -> Coroutine[Any, Any, dict[str, Any]]:
        """What the environment says about itself: name, description, version and so on."""
        return cast(Coroutine[Any, Any, dict[str, Any]], self._dispatch("_metadata_async"))

    def disconnect(self) -> Coroutine[Any, Any, None]:
        """End the session and leave a provider running; nothing happens without a session."""
        return cast(Coroutine[Any, Any, None], self._dispatch("_disconnect_async"))

    def close(self) -> Coroutine[Any, Any, None]:
        """End the session, those made by ``new_session``, and stop the provider. Idempotent."""
        return cast(Coroutine[Any, Any, None], self._dispatch("_close_async"))

    def new_session(self) -> Coroutine[Any, Any, Self]:
        """Another session with the same server, as a client like this one, closed together with it."""
        return cast(Coroutine[Any, Any, "Self"], self._dispatch("_new_session_async"))

    async def _new_session_async(self) -> Self:
        if self._address is None:
            await self._connect_async()
        child = copy.copy(self)
        child._provider = None
        child._provider_runs = child._starts_provider = False
        child._begin()
        child._execution = self._execution
        if isinstance(self._network, BlockingNetwork):
            child._blocking().drive(child._connect_async())
        else:
            await child._connect_async()
        self._children.append(child)
        return child

    def sync(self) -> SyncEnvClient[ActT, ObsT, StateT]:
        """The same client for code without ``await``: in any thread, inside a running loop or not."""
        from openenv.client.sync import SyncEnvClient

        return SyncEnvClient(self)

    async def __aenter__(self) -> Self:
        self._claim(_ASYNC)
        return await self._connect_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close_async()

    def __enter__(self) -> SyncEnvClient[ActT, ObsT, StateT]:
        # It is this client, on which calls now give results: for type checkers, a synchronous one.
        self._blocking().drive(self._connect_async())
        return cast("SyncEnvClient[ActT, ObsT, StateT]", self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._blocking().drive(self._close_async())


class _Pending(Generic[T]):
    """A call on a running loop by a client of which nobody knows yet how it is used.

    Awaited, it runs on the loop, and the client is asynchronous from then on. Looked into without
    ``await``, as notebooks do, it runs at once, and the client is synchronous from then on.
    """

    def __init__(self, client: EnvClient[Any, Any, Any], make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._client = client
        self._make = make
        self._results: list[T] = []

    def __await__(self) -> Generator[Any, None, T]:
        self._client._claim(_ASYNC)
        return self._make().__await__()

    def _result(self) -> T:
        if not self._results:
            self._results.append(self._client._blocking().drive(self._make()))
        return self._results[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._result(), name)

    def __getitem__(self, key: Any) -> Any:
        return cast(Any, self._result())[key]

    def __bool__(self) -> bool:
        return bool(self._result())

    def __repr__(self) -> str:
        return repr(self._results[0]) if self._results else "<call that was neither awaited nor looked into>"


def _loop_runs() -> bool:
    return _get_running_loop() is not None


def _check_mode(mode: str | None) -> str:
    said = (mode or environ().get("OPENENV_CLIENT_MODE") or "simulation").lower()
    if said not in _MODES:
        raise ValueError(f"expected mode simulation or production, got {said!r}")
    return said
