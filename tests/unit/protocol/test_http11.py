"""HTTP/1.1 parsing and serializing: RFC 9112, each case whole, byte by byte, and cut at every index."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openenv.errors import HttpError
from openenv.protocol.http11 import (
    CONTINUE,
    ExpectContinue,
    Phase,
    Request,
    RequestParser,
    Unfinished,
    format_date,
    serialize_head,
    serialize_response,
)

# What a stream of bytes gives: requests, then None or the (status, text) of the error that ended it.
Outcome = tuple[list[Request], tuple[int, str] | None]


def outcome(pieces: Iterable[bytes], make: Callable[[], RequestParser] = RequestParser) -> Outcome:
    """Feed the pieces one by one, draining events after each. `ExpectContinue` depends on the cut."""
    parser = make()
    requests: list[Request] = []
    try:
        for piece in pieces:
            parser.receive_data(piece)
            while (event := parser.next_event()) is not None:
                if isinstance(event, Request):
                    requests.append(event)
    except HttpError as error:
        assert parser.phase is Phase.DEAD
        assert parser.next_event() is None
        return requests, (error.status, str(error))
    return requests, None


def outcome_of_every_cut(stream: bytes, make: Callable[[], RequestParser] = RequestParser) -> Outcome:
    """The one outcome that all ways of cutting the stream have in common."""
    whole = outcome([stream], make)
    assert outcome([stream[i : i + 1] for i in range(len(stream))], make) == whole, "byte by byte"
    for cut in range(1, len(stream)):
        assert outcome([stream[:cut], stream[cut:]], make) == whole, f"cut at {cut}"
    return whole


def only_request(stream: bytes) -> Request:
    requests, error = outcome_of_every_cut(stream)
    assert error is None
    (request,) = requests
    return request


def refusal(stream: bytes, make: Callable[[], RequestParser] = RequestParser) -> tuple[int, str]:
    requests, error = outcome_of_every_cut(stream, make)
    assert requests == []
    assert error is not None
    return error


def get(
    *fields: str, target: str = "/", method: str = "GET", version: str = "1.1", body: bytes = b""
) -> bytes:
    """A request with a Host field and the fields given."""
    lines = [f"{method} {target} HTTP/{version}", "Host: here", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


# ---- what a request says ----


def test_a_request_is_taken_apart() -> None:
    """Every attribute of a plain POST."""
    stream = (
        b"POST /step?n=1&x=%20 HTTP/1.1\r\nHost: localhost:8000\r\nX-Name:  two words \t\r\n"
        b"content-length: 5\r\nx-NAME: caf\xe9\r\n\r\nhello"
    )
    assert only_request(stream) == Request(
        method="POST",
        target="/step?n=1&x=%20",
        path="/step",
        query="n=1&x=%20",
        headers=(
            ("host", "localhost:8000"),
            ("x-name", "two words"),
            ("content-length", "5"),
            ("x-name", "caf\xe9"),
        ),
        http_version="1.1",
        keep_alive=True,
        upgrade=False,
        body=b"hello",
    )


def test_repeated_fields_are_joined_by_header() -> None:
    """RFC 9110 section 5.2; a field that is absent gives the default."""
    request = only_request(get("X: a", "Y: only", "x: b"))
    assert request.header("x") == "a, b"
    assert request.header("y") == "only"
    assert request.header("z") is None
    assert request.header("z", "default") == "default"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a/b", "/a/b", ""),
        ("/a?b?c=d", "/a", "b?c=d"),
        ("/a%20b%2Fc", "/a b/c", ""),
        ("/caf%C3%A9", "/café", ""),
        ("/%ff", "/�", ""),
        ("/a?x=%zz", "/a", "x=%zz"),
        ("//double", "//double", ""),
        ("/a/../b", "/a/../b", ""),
        ("/{x}|y", "/{x}|y", ""),
        ("http://example.com", "/", ""),
        ("http://example.com/", "/", ""),
        ("HTTP://example.com:80/a%20b?q", "/a b", "q"),
        ("https://[::1]:8000/a", "/a", ""),
        ("ws://example.com/ws?session_id=1", "/ws", "session_id=1"),
        ("http://example.com?q=1", "/", "q=1"),
    ],
)
def test_path_and_query_of_a_target(target: str, path: str, query: str) -> None:
    """Origin and absolute form; only the path is decoded."""
    request = only_request(get(target=target))
    assert (request.target, request.path, request.query) == (target, path, query)


def test_asterisk_form_belongs_to_options() -> None:
    """RFC 9112 section 3.2.4."""
    assert only_request(get(target="*", method="OPTIONS")).path == "*"
    assert refusal(get(target="*"))[0] == 400


@pytest.mark.parametrize("target", ["example.com:443", "[::1]:443", "127.0.0.1:1"])
def test_authority_form_belongs_to_connect(target: str) -> None:
    """RFC 9112 section 3.2.3; no route has such a path."""
    request = only_request(get(target=target, method="CONNECT"))
    assert (request.path, request.header("host")) == (target, target)
    assert refusal(get(target=target))[0] == 400


def test_authority_in_the_target_replaces_host() -> None:
    """RFC 9112 section 3.2.2: what Host says is ignored then."""
    request = only_request(get("X: 1", target="http://other:81/a"))
    assert request.headers == (("host", "other:81"), ("x", "1"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "get", "M-SEARCH", "!#$%&'*+-.^_`|~09"])
def test_any_token_is_a_method(method: str) -> None:
    """Methods are tokens, case-sensitive, and the router's business."""
    assert only_request(get(method=method)).method == method


@pytest.mark.parametrize(
    "host", ["", "a", "a:80", "a:", "127.0.0.1", "[::1]", "[::1]:80", "a.b-c_d~e%20", "a,b"]
)
def test_host_may_be(host: str) -> None:
    """RFC 9110 section 7.2: uri-host and an optional port; empty where the target has none."""
    assert only_request(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).header("host") == host


@pytest.mark.parametrize(
    ("version", "fields", "keep_alive"),
    [
        ("1.1", [], True),
        ("1.1", ["Connection: keep-alive"], True),
        ("1.1", ["Connection: close"], False),
        ("1.1", ["Connection: Close"], False),
        ("1.1", ["Connection: foo , CLOSE"], False),
        ("1.1", ["Connection: keep-alive", "Connection: close"], False),
        ("1.1", ["Connection: closed"], True),
        ("1.0", [], False),
        ("1.0", ["Connection: keep-alive"], True),
        ("1.0", ["Connection: Keep-Alive, x"], True),
        ("1.0", ["Connection: keep-alive, close"], False),
    ],
)
def test_keep_alive_follows_version_and_connection(version: str, fields: list[str], keep_alive: bool) -> None:
    """RFC 9112 section 9.3."""
    assert only_request(get(*fields, version=version)).keep_alive is keep_alive


def test_host_is_optional_in_http_1_0() -> None:
    """HTTP/1.0 knew no Host."""
    assert only_request(b"GET / HTTP/1.0\r\n\r\n").headers == ()


def test_a_few_empty_lines_before_a_request_are_skipped() -> None:
    """RFC 9112 section 2.2: at least one must be; we take four."""
    assert only_request(b"\r\n" * 4 + get()).path == "/"
    assert refusal(b"\r\n" * 5 + get())[0] == 400


# ---- bodies ----


@pytest.mark.parametrize(
    ("field", "body", "expected"),
    [
        ("Content-Length: 0", b"", b""),
        ("Content-Length: 3", b"abc", b"abc"),
        ("Content-Length: 0003", b"abc", b"abc"),
        ("Transfer-Encoding: chunked", b"0\r\n\r\n", b""),
        ("Transfer-Encoding: CHUNKED", b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        ("Transfer-Encoding: chunked", b"1\r\na\r\nA\r\n0123456789\r\n000\r\n\r\n", b"a0123456789"),
        ("Transfer-Encoding: chunked", b"0003;a=b;c\r\n\r\n\r\r\n0;x\r\n\r\n", b"\r\n\r"),
        ("Transfer-Encoding: chunked", b'3 ; q="x y"\r\nabc\r\n0\r\n\r\n', b"abc"),
        ("Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n", b"abc"),
    ],
)
def test_a_body_is_given_whole(field: str, body: bytes, expected: bytes) -> None:
    """By length or chunked; extensions and trailers are dropped and change nothing."""
    request = only_request(get(field, method="POST", body=body))
    assert request.body == expected
    assert request.header("x") is None


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b"1_0\r\n",
        b" 1\r\na\r\n0\r\n\r\n",
        b"1 \r\na\r\n0\r\n\r\n",
        b"1\na\r\n0\r\n\r\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"1;\x00\r\na\r\n0\r\n\r\n",
        b"1;\rx\r\na\r\n0\r\n\r\n",
        b"00000000000000001\r\n",
        b"1;" + b"x" * 300,
        b"1" * 300,
        b"0\r\nX: y\n\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
        b"0\r\n\n",
    ],
)
def test_a_malformed_chunk_is_refused(body: bytes) -> None:
    """RFC 9112 section 7.1; every one of these has been somebody's smuggling hole."""
    assert refusal(get("Transfer-Encoding: chunked", method="POST", body=body))[0] == 400


def test_chunk_extensions_are_limited_over_the_whole_body() -> None:
    """One byte of data with 200 of extension, over and over, is no body but an attack."""
    stream = get("Transfer-Encoding: chunked", method="POST", body=(b"1;" + b"x" * 200 + b"\r\na\r\n") * 400)
    requests, error = outcome([stream])
    assert requests == []
    assert error is not None
    assert error[0] == 400


def test_trailers_are_limited_like_a_head() -> None:
    """In bytes and in number."""
    head = get("Transfer-Encoding: chunked", method="POST", body=b"0\r\n")
    small = lambda: RequestParser(max_head_bytes=200, max_headers=3)  # noqa: E731
    assert refusal(head + b"a: b\r\n" * 4 + b"\r\n", small)[0] == 431
    assert refusal(head + b"a: " + b"b" * 300, small)[0] == 431
    requests, error = outcome_of_every_cut(head + b"a: b\r\n" * 3 + b"\r\n", small)
    assert (len(requests), error) == (1, None)


# ---- what is refused ----

_LONG = "x" * 9000

REFUSED: list[tuple[str, bytes, int]] = [
    # request line
    ("HTTP/0.9", b"GET /\r\n", 400),
    ("no target", b"GET HTTP/1.1\r\n", 400),
    ("two spaces", b"GET  / HTTP/1.1\r\n", 400),
    ("a space in the target", b"GET /a b HTTP/1.1\r\n", 400),
    ("a tab as separator", b"GET\t/ HTTP/1.1\r\n", 400),
    ("leading space", b" GET / HTTP/1.1\r\n", 400),
    ("trailing space", b"GET / HTTP/1.1 \r\n", 400),
    ("bare LF first", b"\nGET / HTTP/1.1\r\n", 400),
    ("bare CR first", b"\rGET / HTTP/1.1\r\n", 400),
    ("bare LF ends the request line", b"GET / HTTP/1.1\n", 400),
    ("bare CR in the request line", b"GET /\r HTTP/1.1\r\n", 400),
    ("no token as method", b"G(T / HTTP/1.1\r\n", 400),
    ("TLS on a plain port", b"\x16\x03\x01\x02\x00", 400),
    ("NUL in the target", b"GET /\x00 HTTP/1.1\r\n", 400),
    ("raw non-ASCII in the target", b"GET /\xc3\xa9 HTTP/1.1\r\n", 400),
    ("lower-case http", b"GET / http/1.1\r\n", 400),
    ("two digits", b"GET / HTTP/1.10\r\n", 400),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\n", 505),
    ("HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n", 505),
    ("HTTP/0.9 in words", b"GET / HTTP/0.9\r\n", 505),
    ("request line too long", f"GET /{_LONG}".encode(), 414),
    # target
    ("relative target", get(target="a/b"), 400),
    ("fragment", get(target="/a#b"), 400),
    ("fragment in the query", get(target="/a?b#c"), 400),
    ("userinfo", get(target="http://user@example.com/"), 400),
    ("no host in an absolute target", get(target="http:///a"), 400),
    ("port without a host", get(target="http://:80/a"), 400),
    ("other scheme", get(target="ftp://example.com/"), 400),
    ("escape cut short", get(target="/a%2"), 400),
    ("escape of no hexadecimal", get(target="/a%zz"), 400),
    ("escaped NUL", get(target="/a%00"), 400),
    ("CONNECT without a port", get(target="example.com", method="CONNECT"), 400),
    ("CONNECT with an empty port", get(target="example.com:", method="CONNECT"), 400),
    ("CONNECT without a host", get(target=":80", method="CONNECT"), 400),
    ("CONNECT to a path", get(target="/a", method="CONNECT"), 400),
    # fields
    ("space before the colon", get("X : y"), 400),
    ("tab before the colon", get("X\t: y"), 400),
    ("no colon", get("X"), 400),
    ("empty name", get(": y"), 400),
    ("name that is no token", get("X(y): z"), 400),
    ("non-ASCII name", get("X\xe9: z"), 400),
    ("folded field", get("X: y", " z"), 400),
    ("folded with a tab", get("X: y", "\tz"), 400),
    ("folded first field", b"GET / HTTP/1.1\r\n Host: here\r\n\r\n", 400),
    ("bare LF between fields", b"GET / HTTP/1.1\r\nHost: here\nX: y\r\n\r\n", 400),
    ("bare LF at the end", b"GET / HTTP/1.1\r\nHost: here\r\n\n", 400),
    ("bare CR in a value", get("X: a\rb"), 400),
    ("bare CR between fields", get("X: a\rY: b"), 400),
    ("CR CR LF", get("X: a\r"), 400),
    ("NUL in a value", get("X: a\x00b"), 400),
    ("control byte in a value", get("X: a\x01b"), 400),
    ("DEL in a value", get("X: a\x7fb"), 400),
    # Host
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("no Host beside an absolute target", b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", get("Host: there"), 400),
    ("the same Host twice", get("Host: here"), 400),
    ("two Hosts in HTTP/1.0", get("Host: there", version="1.0"), 400),
    ("a path as Host", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("userinfo in Host", b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    ("a space in Host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("no number as port", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    ("IPv6 without brackets", b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
    # framing: request smuggling
    ("Content-Length with a sign", get("Content-Length: +1", body=b"a"), 400),
    ("negative Content-Length", get("Content-Length: -1", body=b"a"), 400),
    ("hexadecimal Content-Length", get("Content-Length: 0x1", body=b"a"), 400),
    ("fractional Content-Length", get("Content-Length: 1.0", body=b"a"), 400),
    ("Content-Length with an underscore", get("Content-Length: 1_0", body=b"a"), 400),
    ("superscript Content-Length", get("Content-Length: \xb2", body=b"a"), 400),
    ("empty Content-Length", get("Content-Length:", body=b"a"), 400),
    ("spaced Content-Length", get("Content-Length: 1 1", body=b"a"), 400),
    ("list of equal Content-Lengths", get("Content-Length: 1, 1", body=b"a"), 400),
    ("list of Content-Lengths", get("Content-Length: 1, 2", body=b"a"), 400),
    ("Content-Length twice, equal", get("Content-Length: 1", "Content-Length: 1", body=b"a"), 400),
    ("Content-Length twice", get("Content-Length: 1", "content-length: 2", body=b"a"), 400),
    ("CL and TE", get("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    ("TE and CL", get("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"), 400),
    ("TE in HTTP/1.0", get("Transfer-Encoding: chunked", version="1.0", body=b"0\r\n\r\n"), 400),
    ("TE identity", get("Transfer-Encoding: identity"), 400),
    ("TE empty", get("Transfer-Encoding:"), 400),
    ("TE chunked twice", get("Transfer-Encoding: chunked, chunked"), 400),
    ("TE chunked in two fields", get("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    ("TE chunked first", get("Transfer-Encoding: chunked, gzip"), 400),
    ("TE chunked, then identity", get("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400),
    ("TE with a parameter", get("Transfer-Encoding: chunked;q=1"), 400),
    ("TE in quotes", get('Transfer-Encoding: "chunked"'), 400),
    ("TE misspelt", get("Transfer-Encoding: xchunked"), 400),
    ("TE with a vertical tab", get("Transfer-Encoding: \x0bchunked"), 400),
    ("TE with a trailing comma", get("Transfer-Encoding: chunked,"), 400),
    ("TE gzip, chunked", get("Transfer-Encoding: gzip, chunked"), 501),
    ("TE gzip and chunked in two fields", get("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"), 501),
    # limits and expectations
    ("body too long", get("Content-Length: 104857601"), 413),
    ("Content-Length of 30 digits", get("Content-Length: " + "9" * 30), 413),
    ("Content-Length of 5,000 digits", get("Content-Length: " + "9" * 5000), 413),
    ("chunk too long", get("Transfer-Encoding: chunked", body=b"ffffffffffffffff\r\n"), 413),
    ("unknown expectation", get("Expect: a-miracle"), 417),
    ("two expectations", get("Expect: 100-continue, x"), 417),
    ("empty expectation", get("Expect:"), 417),
    ("101 fields", get(*["A: b"] * 100), 431),
]


@pytest.mark.parametrize(("stream", "status"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_is_refused(stream: bytes, status: int) -> None:
    """The same refusal, in the same words, however the bytes arrive."""
    if len(stream) < 1000:
        assert refusal(stream)[0] == status
    else:
        whole = outcome([stream])
        assert whole[1] is not None
        assert whole[1][0] == status
        assert outcome([stream[i : i + 7] for i in range(0, len(stream), 7)]) == whole


def test_a_refusal_says_what_was_wrong() -> None:
    """One sentence each, for the response and the log."""
    assert refusal(get("X : y"))[1] == "a field name holds a character that is not allowed in one"
    assert refusal(get("X: y", " z"))[1] == "a field is folded over two lines"
    assert refusal(b"GET / HTTP/3.0\r\n")[1] == "expected HTTP/1.1 or HTTP/1.0, got HTTP/3.0"
    assert refusal(b"GET / HTTP/1.1\r\n\r\n")[1] == "expected one Host field, got none"


@pytest.mark.parametrize("excess", [0, 1])
def test_limits_are_exact(excess: int) -> None:
    """A head, a line, a number of fields and a body at the limit pass; one more does not."""

    def make() -> RequestParser:
        return RequestParser(max_head_bytes=100, max_headers=2, max_body_bytes=5, max_line_bytes=30)

    line = f"GET /{'a' * (30 - 16 + excess)} HTTP/1.1\r\nHost:a\r\n\r\n".encode()
    head = b"GET / HTTP/1.1\r\nHost: " + b"a" * (100 - 26 + excess) + b"\r\n\r\n"
    fields = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * (1 + excess) + b"\r\n"
    body = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (5 + excess) + b"a" * (5 + excess)
    chunks = (
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n%d\r\nabc\r\n0\r\n\r\n"
    )
    expected = [None] * 5 if not excess else [414, 431, 431, 413, 413]
    for stream, status in zip((line, head, fields, body, chunks % (2 + excess)), expected, strict=True):
        stream = stream.replace(b"2\r\nabc", b"2\r\nab")
        requests, error = outcome_of_every_cut(stream, make)
        assert (error and error[0], len(requests)) == (status, 0 if excess else 1)


def test_an_endless_head_is_refused_at_the_limit() -> None:
    """Nothing beyond the limit is waited for."""
    parser = RequestParser(max_head_bytes=1000)
    parser.receive_data(get("X: ")[:-4] + b"y" * 1000)
    with pytest.raises(HttpError) as caught:
        parser.next_event()
    assert caught.value.status == 431


def test_a_long_announced_body_is_refused_at_the_head() -> None:
    """413 needs not one byte of the body, and comes instead of a Continue."""
    assert refusal(get("Content-Length: 104857601", "Expect: 100-continue", method="POST"))[0] == 413


# ---- order, phases and ends ----


def test_pipelined_requests_come_in_order() -> None:
    """Each with its own body, whatever the framing."""
    stream = (
        get(target="/1")
        + get("Content-Length: 3", method="POST", target="/2", body=b"abc")
        + b"\r\n"
        + get("Transfer-Encoding: chunked", method="POST", target="/3", body=b"2\r\nde\r\n0\r\n\r\n")
        + get("Content-Length: 3", method="POST", target="/2", body=b"fgh")
        + get("Content-Length: 3", method="POST", target="/2", body=b"ijk")
        + get(target="/1")
        + get(target="/1")
    )
    requests, error = outcome_of_every_cut(stream)
    assert error is None
    assert [(request.path, request.body) for request in requests] == [
        ("/1", b""),
        ("/2", b"abc"),
        ("/3", b"de"),
        ("/2", b"fgh"),
        ("/2", b"ijk"),
        ("/1", b""),
        ("/1", b""),
    ]


_UNITS = [
    b"\r\n",
    get(),
    get("X: y"),
    get("Content-Length: 2", method="POST", body=b"ab"),
    get("Content-Length: 2", method="POST", body=b"cd"),
    get("Transfer-Encoding: chunked", method="POST", body=b"1\r\na\r\n0\r\n\r\n"),
    get("Content-Length: 70000", method="POST", body=b"x" * 70_000),
    get("Expect: 100-continue", "Content-Length: 2", method="POST", body=b"ef"),
]


@given(st.lists(st.tuples(st.sampled_from(_UNITS), st.sampled_from([0, 0, 1, 30])), max_size=24))
@example([(unit, 0) for unit in [get(), *[b"\r\n", get()] * 6]])
@settings(max_examples=100, derandomize=True, deadline=None)
def test_cuts_between_and_inside_requests_change_nothing(units: list[tuple[bytes, int]]) -> None:
    """Whole requests one by one, or each cut after some of its bytes, are the stream in one piece."""
    pieces = [piece for unit, cut in units for piece in (unit[:cut], unit[cut:]) if piece]
    assert outcome(pieces) == outcome([b"".join(pieces)])


def test_requests_before_a_fault_are_still_given() -> None:
    """The connection ends at the fault and not before it."""
    requests, error = outcome_of_every_cut(get(target="/1") + get(target="/2") + b"oops\r\n\r\n" + get())
    assert [request.path for request in requests] == ["/1", "/2"]
    assert error is not None
    assert error[0] == 400


def test_a_smuggled_request_stays_inside_the_body() -> None:
    """What looks like a request within the announced length is body, and nothing follows it."""
    inner = get(target="/admin")
    request = only_request(get(f"Content-Length: {len(inner)}", method="POST", body=inner))
    assert request.body == inner


def test_equal_heads_share_their_parts_and_not_their_bodies() -> None:
    """The second of two equal heads is recognised by its bytes."""
    stream = get("Content-Length: 1", method="POST", body=b"a") + get(
        "Content-Length: 1", method="POST", body=b"b"
    )
    (first, second), error = outcome([stream])
    assert error is None
    assert (first.body, second.body) == (b"a", b"b")
    assert first.headers is second.headers
    assert first[:-1] == second[:-1]


def test_a_head_that_begins_like_the_last_one_is_another_head() -> None:
    """Recognition needs all bytes, the empty line among them."""
    requests, error = outcome_of_every_cut(get("A: b") + get("A: bc") + get("A: b", "C: d") + get("A: b"))
    assert error is None
    assert [len(request.headers) for request in requests] == [2, 2, 3, 2]


@pytest.mark.parametrize("last", [get("Connection: close"), get(version="1.0")])
def test_nothing_follows_a_request_that_closes(last: bytes) -> None:
    """RFC 9112 section 9.6: further bytes are not read as requests."""
    requests, error = outcome_of_every_cut(get() + last + get() + b"\x00garbage")
    assert (len(requests), error) == (2, None)
    parser = RequestParser()
    parser.receive_data(last)
    assert parser.next_event() is not None
    assert parser.phase is Phase.DONE
    parser.receive_data(get())
    assert parser.next_event() is None
    assert parser.take_rest() == b""


def test_phases_follow_the_bytes() -> None:
    """IDLE before the first byte, HEAD until the empty line, BODY until its last byte."""
    parser = RequestParser()
    phases: list[Phase] = []
    for byte in get("Content-Length: 2", method="POST", body=b"ab"):
        parser.receive_data(bytes([byte]))
        parser.next_event()
        if not phases or phases[-1] is not parser.phase:
            phases.append(parser.phase)
    assert phases == [Phase.HEAD, Phase.BODY, Phase.IDLE]
    parser.receive_data(b"\r\n")
    assert parser.next_event() is None
    assert parser.phase is Phase.IDLE


def test_phase_is_body_while_the_body_of_a_repeated_head_is_missing() -> None:
    """The short way for repeated heads keeps to the same phases."""
    parser = RequestParser()
    stream = get("Content-Length: 2", method="POST", body=b"ab")
    parser.receive_data(stream + stream[:-1])
    assert parser.next_event() is not None
    assert parser.next_event() is None
    phases = [parser.phase]
    parser.receive_data(stream[-1:])
    request = parser.next_event()
    assert isinstance(request, Request)
    assert request.body == b"ab"
    assert [*phases, parser.phase] == [Phase.BODY, Phase.IDLE]


@pytest.mark.parametrize("stream", [b"", b"\r\n", get(), get("Content-Length: 1", body=b"a"), get() * 2])
def test_the_peer_may_end_between_requests(stream: bytes) -> None:
    """EOF is no fault there; requests that came before it are given."""
    parser = RequestParser()
    parser.receive_data(stream)
    parser.receive_eof()
    for _ in range(stream.count(b"GET")):
        assert isinstance(parser.next_event(), Request)
    assert parser.next_event() is None
    assert parser.phase is Phase.DONE


@pytest.mark.parametrize(
    "stream",
    [
        get("Content-Length: 2", method="POST", body=b"ab"),
        get("Transfer-Encoding: chunked", method="POST", body=b"2;x\r\nab\r\n0\r\nT: u\r\n\r\n"),
    ],
)
def test_the_peer_may_not_end_inside_a_request(stream: bytes) -> None:
    """EOF after any byte but the last is a 400, also where the head is a repeated one."""
    for before in (b"", stream):
        for cut in range(1, len(stream)):
            parser = RequestParser()
            parser.receive_data(before + stream[:cut])
            parser.receive_eof()
            if before:
                assert parser.next_event() is not None
            with pytest.raises(HttpError, match="ended inside a request") as caught:
                parser.next_event()
            assert caught.value.status == 400
            assert parser.phase is Phase.DEAD


def test_a_dead_parser_stays_dead() -> None:
    """It takes bytes and an end, and gives nothing."""
    parser = RequestParser()
    parser.receive_data(b"\x00")
    with pytest.raises(HttpError):
        parser.next_event()
    parser.receive_data(get())
    parser.receive_eof()
    assert parser.next_event() is None
    assert parser.phase is Phase.DEAD
    assert parser.take_rest() == b""


# ---- Expect ----


def test_continue_is_asked_for_while_the_body_is_missing() -> None:
    """RFC 9110 section 10.1.1: once, after the head, before the body."""
    for framing, body in (
        ("Content-Length: 2", b"ab"),
        ("Transfer-Encoding: chunked", b"2\r\nab\r\n0\r\n\r\n"),
    ):
        parser = RequestParser()
        parser.receive_data(get("Expect: 100-Continue", framing, method="POST"))
        assert isinstance(parser.next_event(), ExpectContinue)
        assert parser.next_event() is None
        assert parser.phase is Phase.BODY
        parser.receive_data(body)
        request = parser.next_event()
        assert isinstance(request, Request)
        assert request.body == b"ab"
    assert CONTINUE == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert repr(ExpectContinue()) == "ExpectContinue()"


@pytest.mark.parametrize(
    "stream",
    [
        get("Expect: 100-continue", "Content-Length: 2", method="POST", body=b"a"),
        get("Expect: 100-continue", "Content-Length: 0", method="POST"),
        get("Expect: 100-continue"),
        get("Expect: 100-continue", "Content-Length: 2", method="POST", version="1.0"),
        get("Expect: a-miracle", "Content-Length: 2", method="POST", version="1.0"),
    ],
)
def test_continue_is_not_asked_for(stream: bytes) -> None:
    """The body has begun, there is none, or the client speaks HTTP/1.0, where Expect is ignored."""
    parser = RequestParser()
    parser.receive_data(stream)
    assert not isinstance(parser.next_event(), ExpectContinue)


# ---- upgrade ----


def test_an_upgrade_request_stops_the_parser() -> None:
    """The bytes after it belong to the next protocol, whichever way they arrive."""
    stream = get("Connection: keep-alive, Upgrade", "Upgrade: WebSocket", target="/ws")
    rest = b"\x81\x85abcdhello"
    for cut in range(len(stream + rest) + 1):
        parser = RequestParser()
        events = []
        for piece in ((stream + rest)[:cut], (stream + rest)[cut:]):
            parser.receive_data(piece)
            if (event := parser.next_event()) is not None:
                events.append(event)
        (request,) = events
        assert isinstance(request, Request)
        assert request.upgrade
        assert request.path == "/ws"
        assert parser.phase is Phase.DONE
        assert parser.take_rest() == rest
        assert parser.take_rest() == b""


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%b"
    b"Sec-WebSocket-Version: 13\r\nUser-Agent: %b\r\n\r\n"
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Sec-WebSocket-Key: %b\r\n", b"a"),
        (b"sec-websocket-key: %b\r\n", b"b"),
        (b"SEC-WebSocket-Key: %b\r\n", b"c"),
        (b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b"d"),
        (b"X: Sec-WebSocket-Key: BBBBBBBBBBBBBBBBBBBBBB==\r\nSec-WebSocket-Key: %b\r\n", b"e"),
        (b"Sec-WebSocket-Key: %b\r\nContent-Length: 1\r\n", b"f"),
        (b"Sec-WebSocket-Key: %b\r\nExpect: 100-continue\r\n", b"g"),
    ],
)
def test_handshakes_that_differ_in_their_key_alone_mean_what_each_says(before: bytes, after: bytes) -> None:
    """The second and third are not taken apart as a whole; a parser that has seen none says the same."""
    for turn, key in enumerate(
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"", b"x3JJHMbDL1EzLkh9GBhXDw==", b"a b", b"+" * 22 + b"==")
    ):
        stream = HANDSHAKE % (before % key, after)
        parsers = RequestParser(), RequestParser(max_headers=50 + turn)
        outcomes = []
        for parser in parsers:
            parser.receive_data(stream + b"rest")
            event = parser.next_event()
            outcomes.append((event, parser.phase, parser.take_rest()))
        assert outcomes[0] == outcomes[1]
        request = outcomes[0][0]
        assert isinstance(request, Request)
        assert (request.header("sec-websocket-key") or "").split(",")[0] == key.decode()
        assert request.header("user-agent") == after.decode()


@pytest.mark.parametrize(
    "stream",
    [
        get("Upgrade: websocket"),
        get("Connection: Upgrade"),
        get("Connection: Upgrade", "Upgrade: h2c"),
        get("Connection: Upgrade", "Upgrade: websockets"),
        get("Connection: Upgrade", "Upgrade: websocket", version="1.0"),
        get("Connection: Upgrade", "Upgrade: websocket", method="POST"),
    ],
)
def test_is_not_an_upgrade(stream: bytes) -> None:
    """It takes both fields, GET and HTTP/1.1; otherwise it is an ordinary request."""
    assert not only_request(stream).upgrade


def test_an_upgrade_may_name_several_protocols() -> None:
    """RFC 9110 section 7.8: a list, from which we take ours."""
    assert only_request(get("Connection: Upgrade", "Upgrade: h2c, websocket")).upgrade
    assert only_request(get("Connection: x", "Connection: Upgrade", "Upgrade: websocket")).upgrade


# ---- work is linear ----


def seconds_for(stream: bytes, piece: int, make: Callable[[], RequestParser] = RequestParser) -> float:
    started = time.process_time()
    requests, error = outcome((stream[i : i + piece] for i in range(0, len(stream), piece)), make)
    assert (len(requests), error) == (1, None)
    return time.process_time() - started


@pytest.mark.parametrize(
    ("head", "unit", "tail", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"y", b"\r\n\r\n", 1),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b" ", b"\r\n\r\n", 1),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"0\r\n\r\n", 1),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\na\r\n",
            b"0\r\n\r\n",
            10**9,
        ),
    ],
)
def test_time_grows_with_the_bytes_and_not_faster(head: bytes, unit: bytes, tail: bytes, piece: int) -> None:
    """Eight times the bytes take about eight times as long, not sixty-four times."""
    make = lambda: RequestParser(max_head_bytes=1_000_000)  # noqa: E731
    small = min(seconds_for(head + unit * 1_500 + tail, piece, make) for _ in range(3))
    large = min(seconds_for(head + unit * 12_000 + tail, piece, make) for _ in range(3))
    assert large < 24 * small + 0.02


def test_a_large_body_in_small_pieces_costs_no_more_than_its_bytes() -> None:
    """4 MiB in 64-byte pieces; quadratic work would take minutes."""
    body = bytes(4 << 20)
    assert seconds_for(get(f"Content-Length: {len(body)}", method="POST", body=body), 64) < 5


def test_chunks_beyond_so_many_are_left_for_the_next_call() -> None:
    """With other framing between them, and the same request in the end."""
    chunks = b"1\r\na\r\n" * 10 + b"2;x=y\r\nbc\r\n" * 10 + b"3\r\ndef\r\n"
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    stream = head + chunks + b"0\r\nX: y\r\n\r\n"
    parser = RequestParser(chunks_per_call=4)
    parser.receive_data(stream)
    parser.receive_eof()
    events = []
    while not events or isinstance(events[-1], Unfinished):
        events.append(parser.next_event())
    assert len(events) > 4
    request = events[-1]
    assert isinstance(request, Request)
    assert request.body == b"a" * 10 + b"bc" * 10 + b"def"
    assert (parser.n_held, parser.next_event(), parser.phase) == (0, None, Phase.DONE)


def test_a_body_in_more_small_chunks_than_any_client_sends_is_refused() -> None:
    """Clients that encode JSON piece by piece send tens of thousands; larger chunks are not counted."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert outcome([head + b"1\r\na\r\n" * 60_000 + b"0\r\n\r\n"])[1] is None
    unit = b"10\r\n" + b"a" * 16 + b"\r\n"
    assert outcome([head + unit * 80_000 + b"0\r\n\r\n"])[1] is None
    refused = (400, "the body comes in more than 69905 small chunks")
    tiny = b"1\r\na\r\n" * 80_000
    assert outcome([head + tiny])[1] == refused
    assert outcome([head, *(tiny[start : start + 4099] for start in range(0, len(tiny), 4099))])[1] == refused


# ---- responses ----


def test_a_response_has_status_fields_length_and_body() -> None:
    """The common response, byte for byte."""
    assert serialize_response(
        200, [("content-type", "application/json")], b"{}", keep_alive=True, date=format_date(784111777)
    ) == (
        b"HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-type: application/json\r\n"
        b"content-length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("keep_alive", "version", "field"),
    [
        (True, "1.1", b""),
        (False, "1.1", b"connection: close\r\n"),
        (True, "1.0", b"connection: keep-alive\r\n"),
        (False, "1.0", b"connection: close\r\n"),
    ],
)
def test_a_response_says_what_becomes_of_the_connection(keep_alive: bool, version: str, field: bytes) -> None:
    """Only what the version does not already imply."""
    response = serialize_response(200, [], b"", keep_alive=keep_alive, http_version=version)
    assert response == b"HTTP/1.1 200 OK\r\n" + field + b"content-length: 0\r\n\r\n"


def test_a_response_to_head_keeps_the_length_and_drops_the_body() -> None:
    """RFC 9110 section 9.3.2."""
    assert serialize_response(200, [], b"abc", keep_alive=True, head_only=True) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"
    )


@pytest.mark.parametrize("status", [100, 101, 204, 304])
@pytest.mark.parametrize("head_only", [False, True])
def test_some_statuses_have_no_body(status: int, head_only: bool) -> None:
    """RFC 9110 section 6.4.1; a length there would only mislead."""
    response = serialize_response(status, [], b"abc", keep_alive=True, head_only=head_only)
    assert response.endswith(b"\r\n\r\n")
    assert b"content-length" not in response


def test_a_head_alone_announces_a_body_that_follows() -> None:
    """For bodies that are not copied into one piece with their head."""
    assert serialize_head(200, [("x", "y")], 10, keep_alive=True) + b"0123456789" == serialize_response(
        200, [("x", "y")], b"0123456789", keep_alive=True
    )
    assert serialize_head(204, [], 0, keep_alive=True) == b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    "field",
    [
        ("x", "a\r\nSet-Cookie: b"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\x00b"),
        ("x", "a\x7f"),
        ("x", "日本"),
        ("x y", "a"),
        ("x:", "a"),
        ("x\r\n", "a"),
        ("", "a"),
        ("é", "a"),
        ("Content-Length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("Date", "now"),
    ],
)
def test_a_field_that_would_break_the_response_is_refused(field: tuple[str, str]) -> None:
    """Response splitting ends here, and so do two lengths."""
    with pytest.raises(ValueError):
        serialize_response(200, [field], b"", keep_alive=True)


def test_a_field_value_may_hold_a_tab_and_latin_1() -> None:
    """RFC 9110 section 5.5."""
    assert b"x: a\tb\xe9\r\n" in serialize_response(200, [("x", "a\tb\xe9")], b"", keep_alive=True)


@pytest.mark.parametrize("status", [0, 99, 600, -1])
def test_a_status_out_of_range_is_refused(status: int) -> None:
    """Three digits, five classes."""
    with pytest.raises(ValueError, match="expected a status"):
        serialize_response(status, [], b"", keep_alive=True)


def test_an_unregistered_status_has_no_phrase() -> None:
    """The phrase is optional, the space before it is not (RFC 9112 section 4)."""
    assert serialize_response(299, [], b"", keep_alive=True).startswith(b"HTTP/1.1 299 \r\n")


def test_a_date_with_a_line_break_is_refused() -> None:
    """The date goes the same way as every other field."""
    with pytest.raises(ValueError, match="control character"):
        serialize_response(200, [], b"", keep_alive=True, date="a\r\nb")
