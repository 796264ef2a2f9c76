"""Responses, whole and in pieces."""

from __future__ import annotations

import pytest

from openenv.errors import ProtocolError
from openenv.protocol.http_client import ResponseParser, serialize_request

WHOLE = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    "trailers": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    "after 100": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\ncontent-length:5\r\n\r\nhello",
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_response_is_the_same_however_it_is_cut(name: str) -> None:
    """At every index, and byte by byte."""
    data = WHOLE[name]
    for cut in range(len(data)):
        parser = ResponseParser()
        response = parser.receive_data(data[:cut]) or parser.receive_data(data[cut:])
        assert response is not None
        assert (response.status, response.body) == (200, b"hello")
    parser = ResponseParser()
    assert [parser.receive_data(bytes([byte])) for byte in data[:-1]] == [None] * (len(data) - 1)
    assert parser.receive_data(data[-1:]) is not None


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    """RFC 9112 section 6.3."""
    parser = ResponseParser()
    assert parser.receive_data(b"HTTP/1.0 403 Forbidden\r\n\r\nno ") is None
    assert parser.receive_data(b"entry") is None
    response = parser.receive_eof()
    assert response is not None
    assert (response.status, response.reason, response.body) == (403, "Forbidden", b"no entry")


def test_what_follows_an_upgrade_is_kept() -> None:
    """The first frames may come with the response."""
    parser = ResponseParser()
    assert (
        parser.receive_data(b"HTTP/1.1 101 Switching Protocols\r\nA: 1\r\na: 2\r\n\r\n\x81\x00") is not None
    )
    assert parser.rest == b"\x81\x00"


def test_fields_of_one_name_are_joined() -> None:
    """RFC 9110 section 5.3."""
    response = ResponseParser().receive_data(b"HTTP/1.1 204 No Content\r\nA: 1\r\na:  2 \r\n\r\n")
    assert response is not None
    assert (response.header("a"), response.header("b"), response.body) == ("1, 2", None, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2xx OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2000,
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    """At once, and with a documented error."""
    with pytest.raises(ProtocolError):
        ResponseParser(max_head_bytes=1000, max_body_bytes=1000).receive_data(data)


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", WHOLE["chunked"][:-5]]
)
def test_a_connection_that_ends_early_gives_no_response(data: bytes) -> None:
    """A part of a body is no body."""
    parser = ResponseParser()
    parser.receive_data(data)
    assert parser.receive_eof() is None


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb", "a\0b"])
def test_a_header_cannot_smuggle_another_one(value: str) -> None:
    """RFC 9110 section 5.5."""
    with pytest.raises(ValueError, match="one line"):
        serialize_request("GET", "/", [("A", value)])


def test_a_request_says_how_long_its_body_is() -> None:
    """In the order given."""
    assert serialize_request("POST", "/x", [("Host", "h")], b"{}") == (
        b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    )
