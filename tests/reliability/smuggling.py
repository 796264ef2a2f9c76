"""Requests on which two programs in a row may disagree, and what RFC 9112 says to each.

A case is what an attacker sends, with a whole request for `/smuggled` behind it. Where the grammar is broken,
the one answer is an error and nothing behind it is answered; where it is not, that request is answered, too.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

__all__ = ["CASES", "Case", "play"]

_BEHIND = b"GET /smuggled HTTP/1.1\r\nHost: a.localhost\r\n\r\n"
_POST = b"POST /health HTTP/1.1\r\nHost: localhost\r\n"
_GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to send.

    Attributes:
        section: Of RFC 9112, or of RFC 9110 where it says so.
        name: What is wrong with it.
        data: Bytes.
        statuses: Allowed answers to the first request.
        follows: Whether the request behind it is one of its own, and is answered (404).
    """

    section: str
    name: str
    data: bytes
    statuses: tuple[int, ...] = (400,)
    follows: bool = False


def _te(value: bytes, body: bytes = b"0\r\n\r\n", more: bytes = b"") -> bytes:
    return _POST + more + b"Transfer-Encoding: " + value + b"\r\n\r\n" + body


def _cl(value: bytes, body: bytes = b"hello") -> bytes:
    return _POST + b"Content-Length: " + value + b"\r\n\r\n" + body


def _chunks(body: bytes) -> bytes:
    return _te(b"chunked", body)


CASES: tuple[Case, ...] = (
    # What is right, so that the rest proves something.
    Case("6.3", "a length, then another request", _cl(b"5"), (405,), True),
    Case("7.1", "chunks, then another request", _chunks(b"5\r\nhello\r\n0\r\n\r\n"), (405,), True),
    Case("7.1.1", "a chunk extension", _chunks(b"5;a=b\r\nhello\r\n0\r\n\r\n"), (400, 405), True),
    Case("7.1.2", "a trailer", _chunks(b"0\r\nX: y\r\n\r\n"), (405,), True),
    Case("7.1.2", "a length in a trailer", _chunks(b"0\r\nContent-Length: 50\r\n\r\n"), (405, 400), True),
    Case("6.3", "a body that nobody asked for", _GET + b"Content-Length: 5\r\n\r\nhello", (200,), True),
    Case("2.2", "an empty line before the request", b"\r\n" + _GET + b"\r\n", (200,), True),
    # Two lengths.
    Case("6.1", "CL.TE", _te(b"chunked", b"0\r\n\r\n", b"Content-Length: 6\r\n")),
    Case(
        "6.1",
        "TE.CL",
        _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    Case("6.3", "two lengths that differ", _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    Case("6.3", "two lengths in one line that differ", _cl(b"5, 6")),
    Case(
        "6.3",
        "the same length twice",
        _POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        (400, 405),
    ),
    # What is no length.
    *(
        Case("6.3", f"the length {value!r}", _cl(value), (400, 413))
        for value in (
            *(b"+5", b"-5", b"0x5", b"5 5", b"", b"5;", b"5_0", b"1e1", b"5.0", b"\xc2\xb2", b"'5'"),
            b"\x0b5",
            b"5\x00",
            b"99999999999999999999999999",
        )
    ),
    # Codings.
    Case("6.1", "chunked twice", _te(b"chunked, chunked"), (400, 501)),
    Case(
        "6.1",
        "two Transfer-Encoding lines",
        _te(b"chunked", more=b"Transfer-Encoding: chunked\r\n"),
        (400, 501),
    ),
    Case("6.1", "chunked is not the last", _te(b"chunked, identity"), (400, 501)),
    Case("6.1", "gzip and chunked", _te(b"gzip, chunked"), (400, 501)),
    *(
        Case("6.1", f"the coding {value!r}", _te(value), (400, 501))
        for value in (
            *(
                b"identity",
                b"xchunked",
                b"chunked;q=1",
                b"'chunked'",
                b"\x0bchunked",
                b"chunked\x00",
                b"cow",
                b"",
            ),
            b"chunked,",
            b",chunked",
            b"ch\xc5\xbfunked",
        )
    ),
    Case(
        "6.1",
        "chunked over HTTP/1.0",
        b"POST /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    Case("5.1", "a blank before the colon", _POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    Case("5.1", "a blank before the colon of the length", _POST + b"Content-Length : 5\r\n\r\nhello"),
    # Chunks.
    *(
        Case("7.1", f"the chunk size {value!r}", _chunks(value + b"\r\nhello\r\n0\r\n\r\n"), (400, 413))
        for value in (
            *(
                b"0x5",
                b"+5",
                b"-5",
                b"5 ",
                b" 5",
                b"5_",
                b"g",
                b"",
                b"5\t",
                b"\xc2\xb2",
                b"FFFFFFFFFFFFFFFFF",
            ),
            b"00000000000000000000000000000000000000000000000000000000000000000000005",
        )
        if value != b"5 "
    ),
    Case("7.1", "no CRLF behind a chunk", _chunks(b"5\r\nhelloXX0\r\n\r\n")),
    Case("7.1", "a bare LF behind a chunk", _chunks(b"5\r\nhello\n0\r\n\r\n")),
    Case("7.1", "a bare LF behind a size", _chunks(b"5\nhello\r\n0\r\n\r\n")),
    Case("7.1.1", "a bare LF in an extension", _chunks(b"5;\nxx\r\nhello\r\n0\r\n\r\n")),
    Case("7.1.1", "a bare CR in an extension", _chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    Case("7.1.2", "a trailer without a name", _chunks(b"0\r\n: y\r\n\r\n")),
    # Lines.
    Case("2.2", "bare LF as the end of all lines", b"GET /health HTTP/1.1\nHost: localhost\n\n"),
    Case("2.2", "bare LF behind a field", _GET + b"X: y\nContent-Length: 60\r\n\r\n"),
    Case("2.2", "bare CR in a field", _GET + b"X: y\rContent-Length: 60\r\n\r\n"),
    Case("2.2", "bare CR as the end of a line", b"GET /health HTTP/1.1\rHost: localhost\r\r"),
    Case("2.2", "a blank before the first field", b"GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    Case("5.2", "obs-fold", _GET + b"X: y\r\n z\r\n\r\n"),
    Case("5.2", "obs-fold of a coding", _te(b"\r\n chunked")),
    Case("5.2", "obs-fold with a tab", _GET + b"X: y\r\n\tContent-Length: 60\r\n\r\n"),
    Case("5", "a field without a colon", _GET + b"nonsense\r\n\r\n"),
    Case("5", "a field without a name", _GET + b": y\r\n\r\n"),
    *(
        Case("9110 5.6.2", f"the byte {byte:#04x} in a field's name", _GET + b"X%cY: z\r\n\r\n" % byte)
        for byte in (0x00, 0x01, 0x0B, 0x20, 0x22, 0x28, 0x2C, 0x2F, 0x3B, 0x40, 0x5B, 0x7B, 0x7F, 0x80, 0xFF)
    ),
    *(
        Case("9110 5.5", f"the byte {byte:#04x} in a field's value", _GET + b"X: y%cz\r\n\r\n" % byte)
        for byte in (0x00, 0x01, 0x08, 0x0B, 0x0C, 0x1F, 0x7F)
    ),
    # The request line.
    *(
        Case("3", f"the request line {line!r}", line + b"\r\nHost: localhost\r\n\r\n", (400, 501, 505))
        for line in (
            *(
                b"GET  /health HTTP/1.1",
                b"GET /health  HTTP/1.1",
                b"GET /health HTTP/1.1 ",
                b" GET /health HTTP/1.1",
            ),
            *(b"GET\t/health HTTP/1.1", b"GET /health", b"GET", b"/health", b"GET /he alth HTTP/1.1"),
            *(
                b"G@T /health HTTP/1.1",
                b"GET /health http/1.1",
                b"GET /health HTTP/1.1x",
                b"GET /health HTTP/1",
            ),
            *(b"GET /health HTTP/2.0", b"GET /health HTTP/11", b"PRI * HTTP/2.0", b"GET /health HTTQ/1.1"),
            *(b"GET /\x00 HTTP/1.1", b"GET /\xff HTTP/1.1", b"GET /%00 HTTP/1.1", b"GET /% HTTP/1.1"),
            *(b"GET /#a HTTP/1.1", b"GET health HTTP/1.1", b"GET * HTTP/1.1", b"GET localhost:80 HTTP/1.1"),
            b"GET ftp://localhost/ HTTP/1.1",
        )
    ),
    # Whom it is for.
    Case("3.2", "no Host", b"GET /health HTTP/1.1\r\n\r\n"),
    Case("3.2", "two Hosts", _GET + b"Host: localhost\r\n\r\n"),
    *(
        Case(
            "3.2", f"the Host {value!r}", b"GET /health HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", (400, 421)
        )
        for value in (b"a/b", b"a b", b"a@b", b"[::1", b"a:b", b"a:99999999", b"a,b", b"evil.test", b"\xff")
    ),
    Case(
        "3.2.2",
        "an absolute target of another host",
        b"GET http://evil.test/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        (200, 400, 421),
        True,
    ),
    # Upgrades.
    Case(
        "9110 7.8",
        "an upgrade to something else",
        _GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        (200,),
        True,
    ),
    Case(
        "9110 7.8",
        "an upgrade with a wrong version, and a request behind it",
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 777\r\n\r\n",
        (400, 426),
    ),
    Case(
        "9110 7.8",
        "an upgrade without a key",
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n",
        (400,),
    ),
    Case(
        "9110 7.8",
        "an upgrade by POST with chunks",
        b"POST /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        (400, 404, 405),
        True,
    ),
)

_STATUS = re.compile(rb"HTTP/1\.[01] (\d\d\d) ")


async def play(host: str, port: int, case: Case, timeout_s: float = 15.0) -> str | None:
    """Send a case; gives what was wrong with the answer, or None."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(case.data + _BEHIND)
        writer.write_eof()
        async with asyncio.timeout(timeout_s):
            answer = await reader.read(-1)
    except TimeoutError:
        return "the connection hangs"
    except OSError as error:
        return f"the connection was reset before its answer was read: {error!r}"
    finally:
        writer.transport.abort()
    statuses = [int(status) for status in _STATUS.findall(answer)]
    if not statuses or statuses[0] not in case.statuses:
        return f"expected one of {case.statuses}, got {statuses}"
    # A first answer that is an error ends the connection; one behind it would be to what was smuggled.
    refused = statuses[0] in (400, 413, 501, 505) or not case.follows
    if refused and statuses[0] >= 400 and statuses[0] not in (404, 405, 421) and len(statuses) != 1:
        return f"something behind the refused request was answered: {statuses}"
    if case.follows and not refused and statuses[1:] != [404]:
        return f"expected one answer more, 404, got {statuses[1:]}"
    return None
