"""h11 as a second opinion on the HTTP parser.

Whatever h11 accepts, we accept with the same method, target, version, fields and body, or it stands
in STRICTER with a witness; whatever h11 refuses, we refuse, or it stands in LENIENT.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import h11
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openenv.errors import HttpError
from openenv.protocol.http11 import ExpectContinue, Phase, RequestParser


class Seen(NamedTuple):
    """A request as both parsers can be made to show it."""

    method: str
    target: str
    version: str
    fields: tuple[tuple[str, str], ...]
    body: bytes


class Verdict(NamedTuple):
    """What a parser made of a whole stream that ended with EOF."""

    requests: list[Seen]
    error: str | None
    stopped: bool  # the connection closes or changes protocol: what follows is not looked at


# What we refuse and h11 takes: our message -> why, and a stream that shows it.
STRICTER: dict[str, tuple[str, bytes]] = {
    r"a line ends with a bare LF": (
        "RFC 9112 section 2.2 lets us, and a proxy that does not would see other lines",
        b"GET / HTTP/1.1\nHost: a\n\n",
    ),
    r"a field value holds a control character": (
        "RFC 9110 section 5.5; h11 lets all but NUL and white space pass for the sake of old cookies",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
    ),
    r"a field is folded over two lines": (
        "RFC 9112 section 5.2: reject or unfold; rejecting leaves nothing to disagree about",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    ),
    r"the content-length field appears more than once": (
        "RFC 9112 section 6.3: reject or use the one value",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    ),
    r"expected digits as Content-Length": (
        "the same in one line",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na",
    ),
    r"both Content-Length and Transfer-Encoding": (
        "RFC 9112 section 6.1: a server may reject it; it is how smuggling starts",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    r"Transfer-Encoding in an HTTP/1\.0 request": (
        "RFC 9112 section 6.1: its framing is faulty",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    r"the Host field is not host or host:port": (
        "RFC 9112 section 3.2: an invalid value is a 400",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ),
    r"expected a target that starts with / or http://": (
        "the four forms of RFC 9112 section 3.2 and no other",
        b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    r"expected host:port as the target of CONNECT": (
        "RFC 9112 section 3.2.3",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    r"a target has no fragment": (
        "RFC 9112 section 3.2 knows none",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    r"the path holds a percent sign that starts no valid escape": (
        "RFC 3986 section 2.1; h11 does not look into targets",
        b"GET /% HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    r"expected HTTP/1\.1 or HTTP/1\.0, got HTTP/[0-9]\.[0-9]": (
        "505 for what we do not speak; h11 leaves that to its caller",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    ),
    r"the only expectation met here is 100-continue": (
        "RFC 9110 section 10.1.1: 417; h11 leaves that to its caller",
        b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
    ),
    r"expected a chunk size of 1 to 16 hexadecimal digits, ended by CRLF": (
        "h11 takes 20 digits and white space after the size, which the grammar has not",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
    ),
    r"a chunk's size and extensions are longer than 256 bytes": (
        "nobody needs extensions",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;" + b"x" * 300 + b"\r\n\r\n",
    ),
    r"the request line is longer than 8192 bytes": (
        "RFC 9112 section 3: 8,000 and a little",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    r"more than 100 fields": (
        "h11 counts bytes only",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n",
    ),
    r"the body is longer than 104857600 bytes": (
        "h11 leaves that to its caller; here the body is missing as well",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 104857601\r\n\r\n",
    ),
}

# What h11 refuses and we take: its message -> why, and a stream that shows it.
LENIENT: dict[str, tuple[str, bytes]] = {
    r"no request line received": (
        "RFC 9112 section 2.2 asks servers to skip an empty line before a request",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
}


def ours(stream: bytes) -> Verdict:
    parser = RequestParser()
    requests: list[Seen] = []
    try:
        parser.receive_data(stream)
        parser.receive_eof()
        while (event := parser.next_event()) is not None:
            if not isinstance(event, ExpectContinue):
                requests.append(
                    Seen(event.method, event.target, event.http_version, event.headers, event.body)
                )
                if parser.phase is Phase.DONE:
                    return Verdict(requests, None, True)
    except HttpError as error:
        return Verdict(requests, str(error), False)
    return Verdict(requests, None, False)


def theirs(stream: bytes) -> Verdict:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
    requests: list[Seen] = []
    head: h11.Request | None = None
    body = b""
    try:
        connection.receive_data(stream)
        if stream:
            connection.receive_data(b"")
        while True:
            event: Any = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                requests.append(_seen(head, body))
                # h11 reads no further request before it has answered; 404 accepts no tunnel.
                connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return Verdict(requests, None, True)
                connection.start_next_cycle()
            else:
                return Verdict(requests, None, event is h11.PAUSED)
    except h11.RemoteProtocolError as error:
        return Verdict(requests, str(error), False)


def _seen(head: h11.Request, body: bytes) -> Seen:
    fields = tuple((name.decode(), value.decode("latin-1")) for name, value in head.headers)
    return Seen(head.method.decode(), head.target.decode(), head.http_version.decode(), fields, body)


def _comparable(seen: Seen) -> Seen:
    """Level what each of the two does on purpose.

    h11 writes the transfer coding in lower case; we put an absolute target's authority in Host.
    """
    fields = [(name, value.lower() if name == "transfer-encoding" else value) for name, value in seen.fields]
    if not seen.target.startswith(("/", "*")):
        fields = [field for field in fields if field[0] != "host"]
    return seen._replace(fields=tuple(fields))


def compare(stream: bytes) -> tuple[str, str] | None:
    """Check the promise of this module; gives the (table, pattern) that a difference is excused by."""
    us, them = ours(stream), theirs(stream)
    for mine, other in zip(us.requests, them.requests, strict=False):
        assert _comparable(mine) == _comparable(other), stream
    if len(us.requests) < len(them.requests):
        if us.stopped:  # a WebSocket upgrade ends HTTP for us; h11 went on after its refusal
            return None
        assert us.error is not None, stream
        return "stricter", _excuse(STRICTER, us.error, stream)
    if them.stopped and (not us.stopped or len(us.requests) > len(them.requests)):
        # h11 closes after every HTTP/1.0 request; we let a client that asks for it stay.
        last = us.requests[len(them.requests) - 1]
        assert last.version == "1.0", stream
        assert any(name == "connection" and "keep-alive" in value.lower() for name, value in last.fields)
        return "lenient", "HTTP/1.0 keep-alive"
    if len(us.requests) > len(them.requests):
        assert them.error is not None, stream
        return "lenient", _excuse(LENIENT, them.error, stream)
    if them.stopped or us.stopped:
        assert us.error is None, stream
        return None
    if us.error is not None and them.error is None:
        return "stricter", _excuse(STRICTER, us.error, stream)
    if them.error is not None and us.error is None:
        return "lenient", _excuse(LENIENT, them.error, stream)
    return None


def _excuse(table: dict[str, tuple[str, bytes]], error: str, stream: bytes) -> str:
    for pattern in table:
        if re.fullmatch(pattern, error):
            return pattern
    raise AssertionError(f"{error!r} is in no table: {stream!r}")


@pytest.mark.parametrize(
    ("table", "pattern", "stream"),
    [
        *(("stricter", pattern, row[1]) for pattern, row in STRICTER.items()),
        *(("lenient", pattern, row[1]) for pattern, row in LENIENT.items()),
    ],
)
def test_every_difference_in_the_tables_exists(table: str, pattern: str, stream: bytes) -> None:
    """No excuse without a witness: a row that h11 or we have outgrown must go."""
    if "body is longer" in pattern:  # h11 waits for the body, and then misses it
        assert ours(stream).error != theirs(stream).error
    else:
        assert compare(stream) == (table, pattern)


_METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "M-X", "G@T", "", "get"])
_TARGETS = st.sampled_from(
    ["/", "/a?b", "/%20", "/%", "*", "http://h/p", "http://u@h/", "h:1", "a", "/#", "/\xe9", "/a b", ""]
)
_VERSIONS = st.sampled_from(
    ["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", ""]
)
_FIELDS = st.sampled_from(
    [
        "Host: a", "Host: a:80", "Host: ", "Host: a/b", "Host : a", "X: y", "X:\t y \t", "X:", "X", ": y",
        "X: a\x00", "X: a\x01b", "X: a\x7f", "X: \xff", "X: a\x0bb", "X: a\x0c", "X\xe9: a", " folded",
        "\tfolded", "X: a\rb", "Content-Length: 0", "Content-Length: 3", "Content-Length: 03",
        "Content-Length: 3, 3",
        "Content-Length: +3", "Content-Length: ", "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: chunked", "Transfer-Encoding: Chunked", "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity", "Transfer-Encoding: ", "Transfer-Encoding: ,chunked",
        "Connection: close", "Connection: keep-alive", "Connection: Upgrade", "Upgrade: websocket",
        "Upgrade: h2c", "Expect: 100-continue", "Expect: x",
    ]
)  # fmt: skip
_BODIES = st.sampled_from(
    [
        b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"3;x=y\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n", b"0\r\n\r\n", b"0\r\nT: u\r\n\r\n", b"0\r\nT\r\n\r\n",
        b"00000000000000000003\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n", b"g\r\n", b"GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n",
    ]
)  # fmt: skip
_ENDS = st.sampled_from(["\r\n"] * 12 + ["\n", "\r", "\r\r\n", "\n\r"])


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """Something between a request and garbage, from parts that are each known for trouble."""
    sane = draw(st.booleans())
    line = "POST / HTTP/1.1" if sane else f"{draw(_METHODS)} {draw(_TARGETS)} {draw(_VERSIONS)}"
    fields = draw(st.lists(_FIELDS, max_size=4))
    if draw(st.integers(0, 5)):
        fields.insert(0, "Host: a")
    end = "\r\n" if draw(st.integers(0, 4)) else draw(_ENDS)
    lead = draw(st.sampled_from(["", "", "", "", "\r\n", "\n"]))
    return (lead + end.join([line, *fields, "", ""])).encode("latin-1") + draw(_BODIES)


@st.composite
def _streams(draw: st.DrawFn) -> bytes:
    """One to three requests after one another, a few bytes of them changed."""
    stream = bytearray(b"".join(draw(st.lists(_requests(), min_size=1, max_size=3))))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(stream) - 1))
        kind = draw(st.sampled_from(["replace", "insert", "delete", "cut"]))
        byte = draw(st.sampled_from(b'\x00\t\n\r "#%,/0:;A[a\x7f\x80\xff'))
        if kind == "replace":
            stream[at] = byte
        elif kind == "insert":
            stream.insert(at, byte)
        elif kind == "delete" and len(stream) > 1:
            del stream[at]
        else:
            del stream[at + 1 :]
    return bytes(stream)


@given(_streams())
@example(b"")
@example(b"\r\n")
@example(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
@settings(max_examples=250, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_we_agree_with_h11_or_say_why_not(stream: bytes) -> None:
    """The promise of this module, on streams made of troublesome parts."""
    compare(stream)


@given(st.binary(max_size=64))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_we_agree_with_h11_on_noise(stream: bytes) -> None:
    """Bytes that are hardly ever a request."""
    compare(stream)
