"""What starts a server for a client, as two abstract classes, and how a started server is waited for.

In: an image or a project. Out: a base URL, once ``/health`` answers 200 there. This module knows sockets and
HTTP; what is started, and how one sees that it ended, is its callers' knowledge.

Limits: probes are plain HTTP; a server that does not answer one within `_PROBE_TIMEOUT_S` is asked again.
"""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from openenv.errors import ProtocolError, ReadyTimeoutError, StartError
from openenv.protocol.http_client import Response, ResponseParser, serialize_request

__all__ = [
    "ContainerProvider",
    "RuntimeProvider",
    "Watched",
    "answers_health",
    "free_port",
    "wait_for_health",
]

_PROBE_TIMEOUT_S = 2.0
# A server starts in tenths of a second; looking more rarely than this would be what one waits for.
_FIRST_POLL_S = 0.01
_LAST_POLL_S = 0.1


class ContainerProvider(ABC):
    """Runs one container at a time. Subclasses bring other engines: a cluster, a cloud."""

    @abstractmethod
    def start_container(
        self, image: str, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any
    ) -> str:
        """Start a container.

        Args:
            image: Name of the image, or whatever this provider makes a container of.
            port: Port on this side, 1 to 65535; None leaves the choice to the provider.
            env_vars: Environment variables of the container.
            **kwargs: The provider's own options.

        Returns:
            The base URL at which its server will answer.
        """

    @abstractmethod
    def stop_container(self) -> None:
        """Stop the container and remove it; nothing happens without one."""

    @abstractmethod
    def wait_for_ready(self, base_url: str, timeout_s: float = 60.0) -> None:
        """Return once the server at ``base_url`` answers.

        Raises:
            TimeoutError: It does not within ``timeout_s`` seconds.
        """

    def close(self) -> None:  # noqa: B027  # there for those who hold more than a container
        """Release whatever the provider holds beside the container."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class RuntimeProvider(ABC):
    """Runs one server at a time without a container. As a context: started on entry, stopped on exit."""

    @abstractmethod
    def start(self, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any) -> str:
        """Start the server.

        Args:
            port: Port to listen on, 1 to 65535; None leaves the choice to the provider.
            env_vars: Environment variables of the server.
            **kwargs: The provider's own options; ``workers`` is one that clients pass on.

        Returns:
            The base URL at which it will answer.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop the server; nothing happens without one."""

    @abstractmethod
    def wait_for_ready(self, timeout_s: float = 60.0) -> None:
        """Return once the server answers.

        Raises:
            TimeoutError: It does not within ``timeout_s`` seconds.
        """

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class Watched(Protocol):
    """Something that runs while it is waited for."""

    def check_alive(self) -> None:
        """Return while it runs; called between looks, so it must be quick.

        Raises:
            StartError: It has ended.
        """

    def last_words(self) -> str:
        """What it wrote last, as a sentence for a message."""
        raise NotImplementedError


def wait_for_health(base_url: str, timeout_s: float, stopped: threading.Event, watched: Watched) -> None:
    """Poll ``/health`` until it answers 200.

    Args:
        base_url: ``http://host:port``.
        timeout_s: Seconds to wait at most, >= 0; there is always one look.
        stopped: Set by whoever stops the server while this waits.
        watched: What serves there.

    Raises:
        ReadyTimeoutError: It runs, and did not answer in time.
        StartError: It was stopped, or it has ended.
    """
    parts = urlsplit(base_url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    deadline = monotonic() + timeout_s
    poll_s = _FIRST_POLL_S
    seen = ""
    while True:
        if not stopped.is_set():
            watched.check_alive()
        left = deadline - monotonic()
        healthy, seen = answers_health(host, port, min(_PROBE_TIMEOUT_S, max(left, 0.05)))
        if healthy:
            return
        left = deadline - monotonic()
        if left <= 0:
            # A server that ended at the last moment has a better story to tell.
            watched.check_alive()
            raise ReadyTimeoutError(
                f"expected {base_url}/health to answer 200 within {timeout_s:g} s, got {seen}; give it "
                f"longer with wait_timeout_s, or see what holds it up. {watched.last_words()}"
            )
        if stopped.wait(min(poll_s, left)):
            raise StartError(f"the server at {base_url} was stopped before it was ready")
        poll_s = min(poll_s * 1.5, _LAST_POLL_S)


def answers_health(host: str, port: int, timeout_s: float) -> tuple[bool, str]:
    """Ask ``GET /health`` once: whether it was answered with 200, and in words what was seen."""
    request = serialize_request(
        "GET", "/health", [("Host", f"{host}:{port}"), ("Accept", "*/*"), ("Connection", "close")]
    )
    deadline = monotonic() + timeout_s
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(request)
            response = _read_response(connection, deadline)
    except TimeoutError:
        return False, "no answer"
    except OSError as error:
        return False, error.strerror or str(error)
    except ProtocolError as error:
        return False, str(error)
    if response is None:
        return False, "a connection that was closed without an answer"
    return response.status == 200, f"{response.status} {response.reason}".rstrip()


def _read_response(connection: socket.socket, deadline: float) -> Response | None:
    parser = ResponseParser(max_body_bytes=1 << 20)
    while True:
        # Each read gets what is left, so that a server that drips cannot hold this up.
        connection.settimeout(max(deadline - monotonic(), 0.001))
        data = connection.recv(65536)
        response = parser.receive_data(data) if data else parser.receive_eof()
        if response is not None or not data:
            return response


def free_port(host: str) -> int:
    """A TCP port that was free on ``host`` a moment ago; somebody else may still be quicker."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
