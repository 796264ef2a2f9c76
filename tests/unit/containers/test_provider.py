"""Waiting for `/health`: what counts as ready, and what is said of the rest. Both ends of it are ours."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from openenv.containers import provider
from openenv.containers.provider import RuntimeProvider, answers_health, wait_for_health
from openenv.errors import ReadyTimeoutError, StartError


class Peer:
    """The server's end of the one connection that is made."""

    def __init__(self) -> None:
        self.client, self.server = socket.socketpair()
        self.dialled: list[tuple[str, int]] = []

    def connect(self, address: tuple[str, int], timeout_s: float) -> socket.socket:
        """In place of `socket.create_connection`."""
        self.dialled.append(address)
        return self.client

    def says(self, *parts: bytes) -> None:
        """Answer, and close."""
        for part in parts:
            self.server.sendall(part)
        self.server.shutdown(socket.SHUT_WR)


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """A connection without a network."""
    made = Peer()
    monkeypatch.setattr(socket, "create_connection", made.connect)
    yield made
    made.client.close()
    made.server.close()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"status":"healthy"}', (True, "200 OK")),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", (True, "200 OK")),
        (b"HTTP/1.0 503 Not Yet\r\nContent-Length: 0\r\n\r\n", (False, "503 Not Yet")),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", (False, "302 Found")),
        (b"", (False, "a connection that was closed without an answer")),
    ],
)
def test_health_is_an_answer_of_200(peer: Peer, said: bytes, expected: tuple[bool, str]) -> None:
    """And nothing else is: redirects lead away, an early close is a proxy's."""
    peer.says(said)
    assert answers_health("127.0.0.1", 8000, 1.0) == expected
    assert peer.dialled == [("127.0.0.1", 8000)]
    assert peer.server.recv(1000).startswith(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")


def test_another_protocol_is_not_health(peer: Peer) -> None:
    """Somebody else's server at that port."""
    peer.says(b"SSH-2.0-OpenSSH_9.2\r\n")
    healthy, seen = answers_health("127.0.0.1", 8000, 1.0)
    assert not healthy
    assert "SSH" in seen


def test_a_server_that_is_silent_is_not_waited_for_long(peer: Peer) -> None:
    """The next look may find it awake."""
    assert answers_health("127.0.0.1", 8000, 0.02) == (False, "no answer")


def test_a_refused_connection_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the system's words."""

    def refuse(address: tuple[str, int], timeout_s: float) -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert answers_health("127.0.0.1", 8000, 1.0) == (False, "Connection refused")


class Alive:
    """Something that runs, or has ended after some looks."""

    def __init__(self, looks: int | None = None) -> None:
        self.looks = looks

    def check_alive(self) -> None:
        """Raise once the looks are used up."""
        if self.looks is not None:
            self.looks -= 1
            if self.looks < 0:
                raise StartError("it ended")

    def last_words(self) -> str:
        """Always these."""
        return "Last words."


def test_waiting_ends_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the time that it was given."""
    monkeypatch.setattr(provider, "answers_health", lambda *_: (False, "no answer"))
    with pytest.raises(StartError, match="it ended"):
        wait_for_health("http://127.0.0.1:1", 50, threading.Event(), Alive(3))


def test_waiting_for_no_time_looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And finds a server that is ready."""
    monkeypatch.setattr(provider, "answers_health", lambda *_: (True, "200 OK"))
    wait_for_health("http://127.0.0.1:1", 0, threading.Event(), Alive())
    monkeypatch.setattr(provider, "answers_health", lambda *_: (False, "no answer"))
    with pytest.raises(ReadyTimeoutError, match=r"got no answer.*Last words\."):
        wait_for_health("http://127.0.0.1:1", 0, threading.Event(), Alive())


def test_a_runtime_provider_is_a_context() -> None:
    """Started on entry, stopped on exit, as existing code uses it."""
    calls = []

    class Local(RuntimeProvider):
        def start(self, port: int | None = None, env_vars: object = None, **kwargs: object) -> str:
            calls.append("start")
            return "http://x"

        def stop(self) -> None:
            calls.append("stop")

        def wait_for_ready(self, timeout_s: float = 30.0) -> None:
            calls.append("ready")

    with Local() as local:
        local.wait_for_ready()
    assert calls == ["start", "ready", "stop"]
