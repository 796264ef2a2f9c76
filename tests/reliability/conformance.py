"""What RFC 6455 says about bytes, case by case, in the order of the Autobahn test suite's sections.

The server is no echo, but it names the type of a message that it does not know: `{"type": TEXT}` comes
back with TEXT in it. A case sends bytes, in pieces, and says what has to come: that text, pongs, a close
frame with one of some codes, and then the end of the connection. Sections 12 and 13 of the suite, about
compression, are one promise here: it is never agreed to, and what claims to be compressed is refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass

from tests.reliability.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, GoneError, frame

__all__ = ["Case", "cases", "play"]

Expected = tuple[str, object]


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes, and what has to come.

    Attributes:
        section: Of the Autobahn suite.
        name: What it is about, with the section of the RFC.
        data: What is sent.
        expected: In this order: ("text", TEXT), ("pong", BYTES), ("close", CODES).
        piece_bytes: How much is sent at once; 0 sends all at once.
    """

    section: str
    name: str
    data: bytes
    expected: tuple[Expected, ...]
    piece_bytes: int = 0


def _said(text: str) -> bytes:
    return json.dumps({"type": text}, ensure_ascii=False).encode()


def _text(text: str) -> bytes:
    return frame(_said(text))


def _close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(b"" if code is None else code.to_bytes(2) + reason, CLOSE)


_BYE = _close(1000)
_CLEAN: Expected = ("close", (1000,))
_BROKEN: Expected = ("close", (1002,))
_NO_TEXT: Expected = ("close", (1007,))


def _split(payload: bytes, at: int, *between: bytes, opcode: int = TEXT) -> bytes:
    """One message in two fragments, with something between them."""
    first = frame(payload[:at], opcode, fin=False)
    return first + b"".join(between) + frame(payload[at:], CONTINUATION)


def _sized(n_bytes: int) -> str:
    return "x" * (n_bytes - len(_said("")))


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _framing()
    yield from _pings()
    yield from _reserved()
    yield from _fragments()
    yield from _utf8()
    yield from _closes()
    yield from _limits()


def _framing() -> Iterator[Case]:
    for n_bytes in (12, 125, 126, 127, 128, 65535, 65536, 1_000_000):
        text = _sized(n_bytes)
        for pieces in (0, 997) if n_bytes > 4000 else (0, 1):
            name = f"5.2: a text of {n_bytes} bytes" + (f", {pieces} at a time" if pieces else "")
            yield Case("1.1", name, _text(text) + _BYE, (("text", text), _CLEAN), pieces)
    for n_bytes in (0, 125, 126, 65536):
        # The protocol on top of it has no use for binary messages: it answers, and closes as it should.
        yield Case(
            "1.2",
            f"5.6: a binary message of {n_bytes} bytes",
            frame(b"\xfe" * n_bytes, BINARY),
            (("text", None), _CLEAN),
        )
    long_text = _said("abc")
    unusual = bytes([0x81, 0x80 | 126]) + len(long_text).to_bytes(2) + b"\0\0\0\0" + long_text
    yield Case("1.1", "5.2: a length that could be shorter", unusual + _BYE, (("text", None), _CLEAN))
    yield Case(
        "1.1",
        "5.2: a length with its highest bit set",
        b"\x81\xff" + b"\xff" * 8 + b"mask",
        (("close", (1002, 1009)),),
    )
    yield Case("1.1", "5.1: a frame without a mask", frame(long_text, mask=None), (_BROKEN,))
    yield Case("1.1", "5.1: a ping without a mask", frame(b"", PING, mask=None), (_BROKEN,))
    yield Case(
        "1.1", "5.3: a mask of zeros", frame(long_text, mask=b"\0\0\0\0") + _BYE, (("text", "abc"), _CLEAN)
    )


def _pings() -> Iterator[Case]:
    for payload in (b"", b"hello", bytes(range(0x80, 0xFF))[:125], b"x" * 125):
        for pieces in (0, 1):
            yield Case(
                "2",
                f"5.5.2: a ping of {len(payload)} bytes",
                frame(payload, PING) + _BYE,
                (("pong", payload), _CLEAN),
                pieces,
            )
    for opcode, word in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close")):
        yield Case("2.5", f"5.5: a {word} of 126 bytes", frame(b"x" * 126, opcode), (_BROKEN,))
    yield Case("2.7", "5.5.3: a pong that nobody asked for", frame(b"", PONG) + _BYE, (_CLEAN,))
    yield Case(
        "2.9",
        "5.5.3: such a pong, then a ping",
        frame(b"a", PONG) + frame(b"b", PING) + _BYE,
        (("pong", b"b"), _CLEAN),
    )
    ten = tuple(str(number).encode() for number in range(10))
    pongs = tuple(("pong", word) for word in ten)
    for pieces in (0, 1):
        sent = b"".join(frame(word, PING) for word in ten)
        yield Case("2.10", "5.5.2: ten pings", sent + _BYE, (*pongs, _CLEAN), pieces)


def _reserved() -> Iterator[Case]:
    for rsv in range(1, 8):
        for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
            payload = b"" if opcode == CLOSE else b"x"
            yield Case("3", f"5.2: RSV {rsv} on opcode {opcode}", frame(payload, opcode, rsv=rsv), (_BROKEN,))
        yield Case(
            "3",
            f"5.2: RSV {rsv} behind a good message",
            _text("a") + frame(b"x", rsv=rsv),
            (("text", "a"), _BROKEN),
        )
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        section = "4.1" if opcode < 8 else "4.2"
        for payload in (b"", b"x" * 20):
            yield Case(
                section, f"5.2: opcode {opcode}, {len(payload)} bytes", frame(payload, opcode), (_BROKEN,)
            )
        yield Case(
            section,
            f"5.2: opcode {opcode} behind a good message",
            _text("a") + frame(b"", opcode),
            (("text", "a"), _BROKEN),
        )


def _fragments() -> Iterator[Case]:
    for opcode in (PING, PONG, CLOSE):
        yield Case(
            "5.1",
            f"5.5: opcode {opcode} in fragments",
            frame(b"", opcode, fin=False) + frame(b"", CONTINUATION),
            (_BROKEN,),
        )
    payload = _said("frag-mented")
    for at in range(len(payload) + 1):
        yield Case(
            "5.3", f"5.4: a text cut at {at}", _split(payload, at) + _BYE, (("text", "frag-mented"), _CLEAN)
        )
    for pieces in (0, 1):
        both = (("pong", b"between"), ("text", "frag-mented"), _CLEAN)
        yield Case(
            "5.6",
            "5.4: a ping between fragments",
            _split(payload, 5, frame(b"between", PING)) + _BYE,
            both,
            pieces,
        )
    yield Case(
        "5.7",
        "5.4: a pong between fragments",
        _split(payload, 5, frame(b"", PONG)) + _BYE,
        (("text", "frag-mented"), _CLEAN),
    )
    for fin in (True, False):
        yield Case(
            "5.9",
            f"5.4: a continuation of nothing, FIN {fin}",
            frame(payload, CONTINUATION, fin=fin),
            (_BROKEN,),
        )
        yield Case(
            "5.12",
            f"5.4: the same behind a message, FIN {fin}",
            _text("a") + frame(payload, CONTINUATION, fin=fin),
            (("text", "a"), _BROKEN),
        )
        yield Case(
            "5.18",
            f"5.4: a new text inside of a message, FIN {fin}",
            frame(payload[:5], fin=False) + frame(payload, fin=fin),
            (_BROKEN,),
        )
        yield Case(
            "5.18",
            f"5.4: a new binary inside of a message, FIN {fin}",
            frame(payload[:5], fin=False) + frame(payload, BINARY, fin=fin),
            (_BROKEN,),
        )
    bits = [payload[index : index + 1] for index in range(len(payload))]
    many = (
        frame(bits[0], fin=False)
        + b"".join(frame(bit, CONTINUATION, fin=False) for bit in bits[1:])
        + frame(b"", CONTINUATION)
    )
    yield Case(
        "5.15",
        "5.4: a fragment for each byte, and an empty one",
        many + _BYE,
        (("text", "frag-mented"), _CLEAN),
    )
    pings = (
        frame(bits[0], fin=False)
        + b"".join(frame(bit, PING) + frame(bit, CONTINUATION, fin=False) for bit in bits[1:])
        + frame(b"", CONTINUATION)
    )
    pongs = tuple(("pong", bit) for bit in bits[1:])
    yield Case(
        "5.19", "5.4: a ping between any two of them", pings + _BYE, (*pongs, ("text", "frag-mented"), _CLEAN)
    )
    yield Case(
        "5.20",
        "5.5.1: a close inside of a message",
        frame(payload[:5], fin=False) + _BYE,
        (("close", (1000, 1002)),),
    )


_GOOD = (
    *("κόσμε", "Hello-µ@ßöäüàá-UTF-8!!", "\x00", "\x7f", "\x80", "\u07ff", "\u0800", "\uffff", "\U00010000"),
    *("\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\U0001f600", "\ufeff", "\u2028", "e\u0301"),
)
_BAD = (
    *(
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80\xbf",
    ),
    *(b"\xc0 ", b"\xc1\xbf", b"\xe0 ", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0 ", b"\xf0\x80\x80\xaf"),
    *(
        b"\xf0\x8f\xbf\xbf",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff",
    ),
    *(
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xad\xbf",
        b"\xed\xae\x80",
        b"\xed\xbf\xbf",
    ),
    *(b"\xed\xa0\x80\xed\xb0\x80", b"\xc0\xaf", b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80"),
)
_CUT = (b"\xc2", b"\xe2\x82", b"\xf0\x9f\x98")


def _utf8() -> Iterator[Case]:
    for text in _GOOD:
        escaped = json.loads(json.dumps(text))
        payload = json.dumps({"type": text}, ensure_ascii=False).encode()
        yield Case("6.2", f"8.1: {text!a}", frame(payload) + _BYE, (("text", escaped), _CLEAN))
        for at in range(len(payload)):
            yield Case(
                "6.2",
                f"8.1: {text!a}, cut into fragments at {at}",
                _split(payload, at) + _BYE,
                (("text", escaped), _CLEAN),
            )
        yield Case(
            "6.2", f"8.1: {text!a}, a byte at a time", frame(payload) + _BYE, (("text", escaped), _CLEAN), 1
        )
    for bad in (*_BAD, *_CUT):
        payload = b'{"type":"' + bad + b'"}'
        yield Case("6.3", f"8.1: {bad!r}", frame(payload), (_NO_TEXT,))
        yield Case("6.3", f"8.1: {bad!r} alone", frame(bad), (_NO_TEXT,))
        yield Case("6.3", f"8.1: {bad!r}, in fragments", _split(payload, 10), (_NO_TEXT,))
        yield Case("6.3", f"8.1: {bad!r}, a byte at a time", frame(payload), (_NO_TEXT,), 1)
        yield Case(
            "6.3",
            f"8.1: {bad!r} behind a good message",
            _text("a") + frame(payload),
            (("text", "a"), _NO_TEXT),
        )


def _closes() -> Iterator[Case]:
    yield Case("7.1", "5.5.1: a message, then a close", _text("a") + _BYE, (("text", "a"), _CLEAN))
    yield Case("7.1", "5.5.1: two closes", _BYE + _BYE, (_CLEAN,))
    yield Case("7.1", "5.5.1: a ping behind the close", _BYE + frame(b"late", PING), (_CLEAN,))
    yield Case("7.1", "5.5.1: a message behind the close", _BYE + _text("late"), (_CLEAN,))
    yield Case("7.3", "5.5.1: a close without a code", _close(), (("close", (None, 1000)),))
    yield Case("7.3", "5.5.1: a close of one byte", frame(b"a", CLOSE), (_BROKEN,))
    yield Case("7.3", "5.5.1: a reason of 123 bytes", _close(1000, b"x" * 123), (_CLEAN,))
    yield Case("7.3", "5.5.1: a reason of 124 bytes", _close(1000, b"x" * 124), (_BROKEN,))
    yield Case(
        "7.5",
        "8.1: a reason that is no UTF-8",
        _close(1000, b"\xce\xba\xe1\xed\xa0\x80"),
        (("close", (1002, 1007)),),
    )
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield Case("7.7", f"7.4: a close with {code}", _close(code), (("close", (code, 1000)),))
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield Case("7.9", f"7.4: a close with {code}", _close(code), (_BROKEN,))


def _limits() -> Iterator[Case]:
    for n_bytes in (2**16, 2**18, 2**20, 2**22):
        text = _sized(n_bytes)
        payload = _said(text)
        yield Case("9", f"10.4: a text of {n_bytes} bytes", frame(payload) + _BYE, (("text", text), _CLEAN))
        for part in (4096, 65536):
            bits = [payload[start : start + part] for start in range(0, n_bytes, part)]
            sent = frame(bits[0], fin=False) + b"".join(
                frame(bit, CONTINUATION, fin=False) for bit in bits[1:]
            )
            yield Case(
                "9",
                f"10.4: the same in fragments of {part}",
                sent + frame(b"", CONTINUATION) + _BYE,
                (("text", text), _CLEAN),
            )
    yield Case(
        "12",
        "RFC 7692: a frame that claims to be compressed",
        frame(b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=4),
        (_BROKEN,),
    )


async def play(host: str, port: int, case: Case) -> str | None:
    """Send a case; gives what was wrong with the answer, or None."""
    try:
        client = await Client.open(host, port, "/ws", "Sec-WebSocket-Extensions: permessage-deflate")
    except GoneError as error:
        return str(error)
    try:
        await client.ask("state")  # from here on the environment is there, and nothing waits for it
        return await _play(client, case)
    except GoneError as error:
        return str(error)
    except TimeoutError:
        return "no answer in time"
    finally:
        client.cut()


async def _play(client: Client, case: Case) -> str | None:
    # Who says goodbye at once need not be answered before: that comes once the rest is there.
    waits = len(case.expected) > 1 and case.data.endswith(_BYE)
    data = case.data.removesuffix(_BYE) if waits else case.data
    step = case.piece_bytes or len(data)
    for start in range(0, len(data), step):
        client.send(data[start : start + step])
        if case.piece_bytes:
            await asyncio.sleep(0)
    for kind, wanted in case.expected:
        if kind == "close" and waits:
            client.send(_BYE)
        try:
            opcode, payload = await client.receive()
        except GoneError as error:
            if kind != "close":
                return f"expected {kind} {str(wanted)[:40]!r}, got {error}"
            assert isinstance(wanted, tuple)
            if error.code not in wanted:
                return f"expected a close with {wanted}, got {error}"
            return await _end(client)
        got = "text" if opcode == TEXT else "pong" if opcode == PONG else f"opcode {opcode}"
        if got != kind:
            return f"expected {kind} {str(wanted)[:40]!r}, got {got} {payload[:60]!r}"
        if kind == "pong" and payload != wanted:
            return f"expected a pong of {wanted!r}, got {payload!r}"
        if kind == "text" and wanted is not None and wanted not in json.loads(payload)["data"]["message"]:
            return f"expected an answer with {str(wanted)[:40]!r}, got {payload[:80]!r}"
    return "expected the end, got silence"


async def _end(client: Client) -> str | None:
    """RFC 6455 section 7.1.1: the server closes the connection, and sends nothing behind its close frame."""
    try:
        async with asyncio.timeout(5):
            rest = await client.reader.read(-1)
    except OSError:  # a reset, because something of ours was not read: an end all the same
        return None
    except TimeoutError:
        return "the connection was not closed"
    return f"something behind the close frame: {rest[:40]!r}" if rest else None
