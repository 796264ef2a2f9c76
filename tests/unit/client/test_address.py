"""Base URLs, and what is shown to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from openenv.client.address import Address, request_headers


@pytest.mark.parametrize(
    ("base_url", "websocket", "authority"),
    [
        ("http://localhost:8000", "ws://localhost:8000/ws", "localhost:8000"),
        ("http://localhost:8000/", "ws://localhost:8000/ws", "localhost:8000"),
        ("https://me-env.hf.space", "wss://me-env.hf.space/ws", "me-env.hf.space"),
        ("ws://host/a/b/", "ws://host/a/b/ws", "host"),
        ("wss://host:443", "wss://host/ws", "host"),
        ("HTTP://[::1]:80/x y", "ws://[::1]/x%20y/ws", "[::1]"),
        ("http://bücher.example", "ws://xn--bcher-kva.example/ws", "xn--bcher-kva.example"),
    ],
)
def test_a_base_url_leads_to_the_websocket(base_url: str, websocket: str, authority: str) -> None:
    """Four schemes, prefixes, trailing slashes."""
    address = Address.parse(base_url)
    assert (address.url("/ws", websocket=True), address.authority) == (websocket, authority)


@pytest.mark.parametrize(
    "base_url", ["", "localhost:8000", "ftp://host", "http://", "http://host:99999", "/x"]
)
def test_what_is_no_base_url_is_refused(base_url: str) -> None:
    """When the client is made, not when it connects."""
    with pytest.raises(ValueError):
        Address.parse(base_url)


def test_queries_travel_with_every_request() -> None:
    """That of the URL first."""
    address = Address.parse("http://h/p?key=1")
    assert address.target("/ws", "session_id=2") == "/p/ws?key=1&session_id=2"
    assert address.target("/schema") == "/p/schema?key=1"


def test_a_redirect_may_lead_anywhere_that_is_a_server() -> None:
    """Relative to where it came from."""
    address = Address.parse("http://h:1/p")
    assert address.follow("/ws", "https://other/x?y") == (Address.parse("https://other"), "/x?y")
    assert address.follow("/ws", "/q/ws")[1] == "/q/ws"
    with pytest.raises(ValueError):
        address.follow("/ws", "mailto:x")


@pytest.fixture
def machine_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_machine")


@pytest.mark.usefixtures("machine_token")
@pytest.mark.parametrize(
    "base_url",
    ["http://localhost:1", "https://hf.space.evil.com", "https://evilhf.space", "http://x.hf.space"],
)
def test_the_hugging_face_token_is_sent_to_nobody_else(base_url: str) -> None:
    """Not to other hosts, and not in plain text."""
    fields = dict(request_headers(Address.parse(base_url), None, None))
    assert "Authorization" not in fields


@pytest.mark.usefixtures("machine_token")
def test_the_hugging_face_token_is_sent_to_spaces() -> None:
    """By itself, unless something else is said."""
    space = Address.parse("https://me-env.HF.space")
    assert dict(request_headers(space, None, None))["Authorization"] == "Bearer hf_machine"
    assert dict(request_headers(space, None, "mine"))["Authorization"] == "Bearer mine"
    assert dict(request_headers(space, {"authorization": "x"}, "mine")) == {
        "authorization": "x",
        "User-Agent": "openenv-runtime",
    }


def test_the_token_file_is_read_where_no_variable_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `hf auth login` leaves it."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    space = Address.parse("https://me-env.hf.space")
    assert "Authorization" not in dict(request_headers(space, None, None))
    (tmp_path / "token").write_text("hf_file\n")
    assert dict(request_headers(space, None, None))["Authorization"] == "Bearer hf_file"


def test_user_info_of_the_url_is_basic_authentication() -> None:
    """And is shown in no message."""
    address = Address.parse("https://me:p%40ss@h")
    assert dict(request_headers(address, None, None))["Authorization"] == "Basic bWU6cEBzcw=="
    assert address.url("/ws") == "https://h/ws"
