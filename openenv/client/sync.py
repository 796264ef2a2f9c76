"""A client for code without ``await``, over a blocking socket.

The coroutines of `EnvClient` run to their end in the calling thread; there is no event loop behind
it. Threads may share one: a lock lets one call in at a time.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from openenv.client.client import EnvClient
from openenv.client.generic import GenericEnvClient
from openenv.containers import ContainerProvider
from openenv.models import StepResult

__all__ = ["SyncEnvClient"]

ActT = TypeVar("ActT")
ObsT = TypeVar("ObsT")
StateT = TypeVar("StateT")


class SyncEnvClient(Generic[ActT, ObsT, StateT]):
    """One session with an environment's server, synchronously.

    Args:
        client: The client to use, as ``client.sync()`` does, or a base URL. Without one, a
            `GenericEnvClient` is made of the keyword arguments.
        async_client: `client` by the keyword that existing classes pass it with.
        **settings: Those of `EnvClient`.

    Methods and errors are those of `EnvClient`, without ``await``. Methods that a client class adds
    are here too; its coroutine methods give their results.
    """

    def __init__(
        self,
        client: EnvClient[ActT, ObsT, StateT] | str | None = None,
        async_client: EnvClient[ActT, ObsT, StateT] | None = None,
        **settings: Any,
    ) -> None:
        client = client if async_client is None else async_client
        if isinstance(client, EnvClient):
            self._client: EnvClient[Any, Any, Any] = client
        else:
            if client is not None:
                settings["base_url"] = client
            self._client = GenericEnvClient(**settings)
        # A class that overrides a call means it: its own version is run, whatever it is.
        self._own = {
            name
            for name in ("connect", "reset", "step", "state", "close", "disconnect")
            if getattr(type(self._client), name) is not getattr(EnvClient, name)
        }

    @classmethod
    def from_docker_image(
        cls, image: str, provider: ContainerProvider | None = None, **kwargs: Any
    ) -> SyncEnvClient[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Start a container and connect to it, with dicts; see `EnvClient.from_docker_image`."""
        return GenericEnvClient.from_docker_image(image, provider, **kwargs).sync()

    @classmethod
    def from_hub(
        cls, repo_id: str, **kwargs: Any
    ) -> SyncEnvClient[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Start a Space on this machine and connect to it, with dicts; see `EnvClient.from_hub`."""
        return GenericEnvClient.from_hub(repo_id, **kwargs).sync()

    @classmethod
    def from_env(
        cls, repo_id: str, **kwargs: Any
    ) -> SyncEnvClient[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """`from_hub` by its other name."""
        return cls.from_hub(repo_id, **kwargs)

    @property
    def async_client(self) -> EnvClient[ActT, ObsT, StateT]:
        """The client that this one drives."""
        return self._client

    @property
    def base_url(self) -> str | None:
        """The server's URL without a trailing slash; None until a provider has started it."""
        return self._client.base_url

    def connect(self) -> Self:
        """Open the session now rather than with the first call; nothing happens if it is open."""
        if "connect" in self._own:
            self._call("connect")
        else:
            self._client._blocking().drive(self._client._connect_async())
        return self

    def reset(self, **kwargs: Any) -> StepResult[ObsT]:
        """See `EnvClient.reset`."""
        if "reset" in self._own:
            return self._call("reset", **kwargs)  # type: ignore[no-any-return]
        client = self._client
        return client._blocking().drive(client._reset_async(**kwargs))

    def step(self, action: ActT, timeout_s: float | None = None, **kwargs: Any) -> StepResult[ObsT]:
        """See `EnvClient.step`."""
        if self._own and "step" in self._own:
            if timeout_s is not None:
                kwargs["timeout_s"] = timeout_s
            return self._call("step", action, **kwargs)  # type: ignore[no-any-return]
        client = self._client
        return client._blocking().drive(client._step_async(action, timeout_s))

    def state(self) -> StateT:
        """See `EnvClient.state`."""
        if "state" in self._own:
            return self._call("state")  # type: ignore[no-any-return]
        client = self._client
        state: StateT = client._blocking().drive(client._state_async())
        return state

    def schema(self) -> dict[str, Any]:
        """See `EnvClient.schema`."""
        return self._client._blocking().drive(self._client._schema_async())

    def metadata(self) -> dict[str, Any]:
        """See `EnvClient.metadata`."""
        return self._client._blocking().drive(self._client._metadata_async())

    def disconnect(self) -> None:
        """See `EnvClient.disconnect`."""
        if "disconnect" in self._own:
            self._call("disconnect")
        else:
            self._client._blocking().drive(self._client._disconnect_async())

    def close(self) -> None:
        """See `EnvClient.close`."""
        if "close" in self._own:
            self._call("close")
        else:
            self._client._blocking().drive(self._client._close_async())

    def new_session(self) -> SyncEnvClient[ActT, ObsT, StateT]:
        """See `EnvClient.new_session`."""
        return SyncEnvClient(self._client._blocking().drive(self._client._new_session_async()))

    def sync(self) -> Self:
        """This client."""
        return self

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name == "_client":  # not initialized, as while being copied or unpickled
            raise AttributeError(name)
        value = getattr(self._client, name)
        if inspect.iscoroutinefunction(value):
            return partial(self._call, name)
        return value

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Run a method of the client's class, whatever it is and whatever else it waits for."""
        client = self._client
        network = client._blocking()
        method = getattr(client, name)
        if name in client._channel_only:
            return network.drive(method(*args, **kwargs))
        with network.lock:
            before, client._driver = client._driver, threading.get_ident()
            try:
                result = method(*args, **kwargs)
                return _run(client, result) if inspect.iscoroutine(result) else result
            finally:
                client._driver = before


def _run(client: EnvClient[Any, Any, Any], coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run an author's coroutine on a loop of its own, in another thread if one runs in this one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    outcome: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        client._driver = threading.get_ident()
        try:
            outcome.append(asyncio.run(coroutine))
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=work, name="openenv-sync-call")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]
