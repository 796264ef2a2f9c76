"""HTTP/1.1 requests out of bytes, responses into bytes.

In: the bytes of one connection, cut anywhere. Out: whole requests, in order, each with its body;
or one `HttpError`, after which the connection is over. It knows nothing about sockets, clocks,
routes or JSON: who calls it enforces time limits (by `RequestParser.phase`) and stops reading while
requests wait.

Limits: head 64 KiB, 100 fields, request line 8 KiB, body 100 MiB unless told otherwise; chunk line
256 bytes, chunk extensions and trailers no more than a head; 65,536 chunks, and one for each 16 bytes
of the body beyond. Bodies are held whole in memory.

Reference: RFC 9112 (message syntax), RFC 9110 (fields and semantics), RFC 3986 (targets). Where the
RFCs leave a choice, the strict reading is taken: two parties that read one message differently are
how requests are smuggled, and no client worth having depends on the loose reading.

- Lines end with CRLF. A bare CR or LF, a folded line, a control character: 400.
- `Content-Length` appears once, even where a repetition says the same; never with
  `Transfer-Encoding`, which is `chunked` and nothing else, and never in HTTP/1.0.
- A percent sign in a path starts a valid escape, and not that of NUL: 400 otherwise. Bytes that are
  not UTF-8 become U+FFFD, which no route contains.
- An authority inside the target replaces `Host` (RFC 9112 section 3.2.2).
"""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote

from openenv.errors import HttpError

__all__ = [
    "CONTINUE",
    "ExpectContinue",
    "Phase",
    "Request",
    "RequestParser",
    "Unfinished",
    "format_date",
    "serialize_chunk",
    "serialize_chunked_head",
    "serialize_head",
    "serialize_response",
]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_MAX_EMPTY_LINES = 4  # before a request line; RFC 9112 section 2.2 asks for at least one
_MAX_CHUNK_LINE = 256  # size, extensions and CRLF
# Clients that encode JSON piece by piece send a chunk for each token; beyond so many of them, chunks have to
# be worth their while.
_MAX_CHUNKS = 65_536
_CHUNK_BYTES = 16
_MAX_REMEMBERED = 2048  # bytes of a head, or of one field section, that is worth remembering
_MAX_HEADS = 256  # heads that are remembered
_MAX_SLICED = 64 * 1024  # bytes of a body that are copied twice, which is faster only for small ones
_BARE_LF = "a line ends with a bare LF"

_TOKEN_CHARACTERS = r"!#$%&'*+\-.^_`|~0-9A-Za-z"
_token = re.compile(f"[{_TOKEN_CHARACTERS}]+").fullmatch
_request_line = re.compile(rf"([{_TOKEN_CHARACTERS}]+) ([!-~]+) HTTP/([0-9]\.[0-9])").fullmatch
_field = re.compile(rf"([{_TOKEN_CHARACTERS}]+):([\t -~\x80-\xff]*)").fullmatch
_host = re.compile(
    r"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Za-z:.\-_~!$&'()*+,;=%]+\])(?::[0-9]*)?"
).fullmatch
_absolute = re.compile(r"(?:https?|wss?)://([^/?]+)(/[^?]*)?(?:\?(.*))?", re.IGNORECASE).fullmatch
_key_of_handshake = re.compile(
    rb"\r\n(?:Sec-WebSocket-Key|sec-websocket-key): ([A-Za-z0-9+/]{22}==)\r\n"
).search
_bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2})|%00").search
_plain_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n").match
_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t -~\x80-\xff]*)?").fullmatch

_TOKEN_BYTES = frozenset(byte for byte in range(256) if _token(chr(byte)))
_CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte not in b"\t\r\n")
_ONCE = frozenset(("host", "content-length"))
_SERIALIZER_OWNS = frozenset(("content-length", "transfer-encoding", "connection", "date"))
_NO_CONTENT = frozenset((*range(100, 200), 204, 304))  # RFC 9110 section 6.4.1


class Phase(enum.Enum):
    """Where the parser stands after the last `next_event`, which is what time limits depend on."""

    IDLE = "between requests"
    HEAD = "inside a request line or head"
    BODY = "inside a body"
    DONE = "no further request comes: the last one asked to close or to upgrade, or the peer ended"
    DEAD = "the grammar was broken"


_IDLE, _HEAD, _BODY, _DONE, _DEAD = Phase


class Fields(tuple[tuple[str, str], ...]):
    """The header fields of a request, (lower-case name, value) in order of arrival.

    Attributes:
        table: Value by name, several joined by ", " (RFC 9110 section 5.2).
    """

    table: dict[str, str]

    def __new__(cls, fields: Iterable[tuple[str, str]]) -> Fields:
        made = super().__new__(cls, fields)
        table = dict(made)
        if len(table) != len(made):
            table = {}
            for name, value in made:
                table[name] = f"{table[name]}, {value}" if name in table else value
        made.table = table
        return made


class Request(NamedTuple):
    """One whole request. Immutable: requests with equal heads may share their parts.

    Attributes:
        method: As sent; methods are case-sensitive.
        target: As sent.
        path: Percent-decoded; `*` for `OPTIONS *`, the authority for CONNECT.
        query: Raw, without the question mark; "" where there is none.
        headers: (lower-case name, value) in order of arrival; values are decoded as latin-1. Parsers give
            `Fields`, which are looked up faster.
        http_version: "1.0" or "1.1".
        keep_alive: The client will use the connection again after this response.
        upgrade: A GET that asks to change to the WebSocket protocol.
        body: Whole, with the chunked coding removed.
    """

    method: str
    target: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    http_version: str
    keep_alive: bool
    upgrade: bool
    body: bytes

    @property
    def table(self) -> dict[str, str]:
        """Value of each field by its name in lower case, several joined by ", " (RFC 9110 section 5.2)."""
        headers = self.headers
        return headers.table if type(headers) is Fields else Fields(headers).table

    def header(self, name: str, default: str | None = None) -> str | None:
        """Value of one field; see `table`."""
        return self.table.get(name, default)

    def to_bytes(self) -> bytes:
        """Bytes of which a parser makes this request again; a chunked body comes whole."""
        lines = [f"{self.method} {self.target} HTTP/{self.http_version}"]
        framing = ("content-length", "transfer-encoding")
        lines += [f"{name}: {value}" for name, value in self.headers if name not in framing]
        if self.body:
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class ExpectContinue:
    """The client waits for `CONTINUE` before it sends the body of the request to come."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ExpectContinue()"


class Unfinished:
    """There is more to look at than one call may: call `next_event` again once others had their turn."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Unfinished()"


_EXPECT_CONTINUE = ExpectContinue()
_UNFINISHED = Unfinished()


class _Line(NamedTuple):
    """A request line, taken apart."""

    method: str
    target: str
    path: str
    query: str
    authority: str | None
    http_version: str


class _Head(NamedTuple):
    """A head and how the body after it is framed; a pure function of its bytes and the limits."""

    raw: bytes
    size: int
    request: Request  # with an empty body
    content_length: int
    chunked: bool
    expects: bool
    last: bool

    @property
    def is_worth_remembering(self) -> bool:
        """True where the next request follows a small head and a small body of known length."""
        small = self.size <= _MAX_REMEMBERED and self.content_length <= _MAX_SLICED
        return small and not (self.chunked or self.expects or self.last)


class RequestParser:
    """The server's side of one HTTP/1.1 connection.

    Call `receive_data` with what arrived, then `next_event` until it gives None. Events come in
    the order of the bytes, and the same events however the bytes were cut (save `ExpectContinue`,
    which is only given while nothing of the body has arrived). The work is linear in the bytes
    received. What is buffered is bounded by the limits as long as the caller drains `next_event`
    before it feeds more.

    Args:
        max_head_bytes: Request line and fields with all line ends, > 0.
        max_headers: Fields of one head, >= 1.
        max_body_bytes: Bytes of one body after decoding, >= 0.
        max_line_bytes: The request line with its line end, > 0.
        chunks_per_call: How many chunks of a body one `next_event` goes through, > 0, before it gives
            `Unfinished`. None goes through all.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_chunk_left",
        "_chunks_per_call",
        "_empty_lines",
        "_eof",
        "_extension_bytes",
        "_handshakes",
        "_head",
        "_heads",
        "_line",
        "_line_size",
        "_max_body_bytes",
        "_max_head_bytes",
        "_max_headers",
        "_max_line_bytes",
        "_n_chunks",
        "_scanned",
        "phase",
    )

    phase: Phase

    def __init__(
        self,
        max_head_bytes: int = 64 * 1024,
        max_headers: int = 100,
        max_body_bytes: int = 100 * 1024 * 1024,
        max_line_bytes: int = 8 * 1024,
        chunks_per_call: int | None = None,
    ) -> None:
        self.phase = _IDLE
        self._max_head_bytes = max_head_bytes
        self._max_headers = max_headers
        self._max_body_bytes = max_body_bytes
        self._max_line_bytes = min(max_line_bytes, max_head_bytes)
        self._buffer = bytearray()
        self._scanned = 0  # how far the buffer is known to hold no end of line or section
        self._eof = False
        self._empty_lines = 0
        self._line: _Line | None = None
        self._line_size = 0
        self._head: _Head | None = None
        limits = (max_head_bytes, max_headers, max_body_bytes, max_line_bytes)
        self._heads = _heads_under(limits)
        self._handshakes = _handshakes_under(limits)
        self._body = bytearray()
        self._chunks_per_call = chunks_per_call
        self._chunk_left = 0  # see _receive_chunks
        self._n_chunks = 0
        self._extension_bytes = 0

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take what arrived. Bytes after the last request of the connection are dropped."""
        phase = self.phase
        if phase is _DEAD or (phase is _DONE and (self._head is None or self._eof)):
            return
        self._buffer += data

    def receive_eof(self) -> None:
        """The peer will send no more. `next_event` says whether that was inside a request."""
        self._eof = True

    @property
    def n_held(self) -> int:
        """Bytes that were received and are no part of an event yet."""
        return len(self._buffer) + len(self._body)

    def next_event(self) -> Request | ExpectContinue | Unfinished | None:
        """Give the next event that the bytes received so far make up, or None if more are needed.

        Raises:
            HttpError: 400, 413, 414, 417, 431, 501 or 505: the bytes are no request that we take,
                or they ended inside one. The phase is DEAD from then on and the answer is None;
                respond with `error.status`, then close.
        """
        phase = self.phase
        known = None
        if phase is _IDLE:
            buffer = self._buffer
            if not buffer and not self._eof:
                return None
            # Clients send the same few heads again and again. Equal bytes have equal meaning under
            # equal limits, so one look stands for the whole grammar.
            size = buffer.find(b"\r\n\r\n", 0, _MAX_REMEMBERED) + 4
            if size > 3:
                raw = bytes(buffer[:size])
                known = self._heads.get(raw)
                if known is None:
                    known = self._known_handshake(raw)
                else:
                    end = size + known.content_length
                    length = len(buffer)
                    if length >= end:
                        request = known.request
                        if end > size:
                            request = _with_body(request, bytes(buffer[size:end]))
                        if length == end:
                            buffer.clear()
                        else:
                            del buffer[:end]
                        self._empty_lines = 0
                        return request
        elif phase is _DONE or phase is _DEAD:
            return None
        try:
            event = self._advance() if known is None else self._start(known)
            if event is None and self._eof and self.phase is not _DONE:
                if self.phase is not _IDLE or self._buffer:
                    raise HttpError(400, "the connection ended inside a request")
                self.phase = _DONE
            return event
        except HttpError:
            self.phase = _DEAD
            self._buffer.clear()
            self._body.clear()
            raise

    def take_rest(self) -> bytes:
        """Give the bytes that followed an upgrade request; they belong to the next protocol."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _advance(self) -> Request | ExpectContinue | Unfinished | None:
        if self._head is not None:
            return self._receive_body(self._head)
        if self._line is None:
            self._receive_line()
            if self._line is None:
                return None
        end = self._section_end(self._max_head_bytes)
        if end is None:
            return None
        raw = bytes(self._buffer[:end])
        head = _parse_head(raw, self._line_size, self._max_headers, self._max_body_bytes)
        if head.is_worth_remembering:
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            self._heads[raw] = head
        elif head.request.upgrade and head.size <= _MAX_REMEMBERED:
            self._remember_handshake(raw, head)
        return self._start(head)

    def _known_handshake(self, raw: bytes) -> _Head | None:
        """A handshake that differs from one before in nothing but its key, and so in its meaning."""
        found = _key_of_handshake(raw)
        if found is None:
            return None
        start, end = found.span(1)
        known = self._handshakes.get((raw[:start], raw[end:]))
        if known is None:
            return None
        head, index = known
        fields = list(head.request.headers)
        fields[index] = ("sec-websocket-key", found[1].decode("ascii"))
        return head._replace(raw=raw, request=head.request._replace(headers=Fields(fields)))

    def _remember_handshake(self, raw: bytes, head: _Head) -> None:
        found = _key_of_handshake(raw)
        if found is None or head.content_length or head.chunked or head.expects:
            return
        if len(self._handshakes) >= _MAX_HEADS:
            self._handshakes.clear()
        start, end = found.span(1)
        index = [name for name, _ in head.request.headers].index("sec-websocket-key")
        self._handshakes[raw[:start], raw[end:]] = (head, index)

    def _receive_line(self) -> None:
        """Take the request line apart as soon as it is whole, before the rest of the head arrives."""
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            self._empty_lines += 1
            if self._empty_lines > _MAX_EMPTY_LINES:
                raise HttpError(400, f"more than {_MAX_EMPTY_LINES} empty lines before the request line")
            del buffer[:2]
        if not buffer or buffer == b"\r":
            return
        if buffer[0] not in _TOKEN_BYTES:
            raise HttpError(400, "expected a method at the start of the request line")
        self.phase = _HEAD
        end = buffer.find(b"\n", self._scanned)
        if (end if end >= 0 else len(buffer)) >= self._max_line_bytes:
            raise HttpError(414, f"the request line is longer than {self._max_line_bytes} bytes")
        if end < 0:
            self._scanned = len(buffer)
            return
        if buffer[end - 1] != 0x0D:
            raise HttpError(400, _BARE_LF)
        self._line = _parse_line(buffer[: end - 1].decode("latin-1"))
        self._line_size = end + 1
        self._scanned = end - 1

    def _section_end(self, limit: int) -> int | None:
        """Find the empty line that ends a head or the trailers, resuming where the last call stopped."""
        buffer = self._buffer
        start = self._scanned
        found = buffer.find(b"\r\n\r\n", start)
        end = found + 4 if found >= 0 else len(buffer)
        if found < 0 or end > limit:  # else the fields are looked at now, each by itself
            inside = min(end, limit)
            if buffer.count(b"\n", start, inside) != buffer.count(b"\r\n", max(start - 1, 0), inside):
                raise HttpError(400, _BARE_LF)
        if end > limit:
            raise HttpError(431, f"the fields are longer than {limit} bytes")
        if found < 0:
            self._scanned = max(end - 3, start)
            return None
        self._scanned = 0
        return end

    def _start(self, head: _Head) -> Request | ExpectContinue | Unfinished | None:
        """Leave the head behind and go on to its body."""
        buffer = self._buffer
        del buffer[: head.size]
        self._line = None
        self._head = head
        self._scanned = self._empty_lines = self._extension_bytes = self._n_chunks = 0
        self._chunk_left = _SIZE_LINE
        self.phase = _BODY
        if head.expects and not buffer:
            return _EXPECT_CONTINUE
        return self._receive_body(head)

    def _receive_body(self, head: _Head) -> Request | Unfinished | None:
        buffer = self._buffer
        if head.chunked:
            is_whole = self._receive_chunks()
            if not is_whole:
                return _UNFINISHED if is_whole is None else None
            body = bytes(self._body)
            self._body = bytearray()
        else:
            length = head.content_length
            if len(buffer) < length:
                return None
            body = b""
            if length:
                with memoryview(buffer) as view:
                    body = bytes(view[:length])
                del buffer[:length]
        self._scanned = 0
        if head.last:
            self.phase = _DONE
            if not head.request.upgrade:
                self._head = None
                buffer.clear()
        else:
            self.phase = _IDLE
            self._head = None
        return _with_body(head.request, body) if body else head.request

    def _receive_chunks(self) -> bool | None:
        """Move what has arrived of a chunked body; True once the last trailer is read, None to go on later.

        `_chunk_left` is the number of data bytes still missing from the current chunk, followed by
        its CRLF; or one of the two markers for where there is none.
        """
        buffer = self._buffer
        most = self._chunks_per_call
        until = None if most is None else self._n_chunks + most
        while True:
            left = self._chunk_left
            if left > 0:
                with memoryview(buffer) as view:
                    self._body += view[:left]
                taken = min(left, len(buffer))
                del buffer[:taken]
                self._chunk_left = left - taken
                if taken < left:
                    return False
            elif left == _CHUNK_END:
                if len(buffer) < 2:
                    return False
                if not buffer.startswith(b"\r\n"):
                    raise HttpError(400, "a chunk is longer than its size says")
                del buffer[:2]
                self._chunk_left = _SIZE_LINE
            elif left == _SIZE_LINE:
                left = _MAX_CHUNKS + len(self._body) // _CHUNK_BYTES + 1 - self._n_chunks
                self._receive_whole_chunks(left if most is None else min(left, most))
                if self._n_chunks > _MAX_CHUNKS + len(self._body) // _CHUNK_BYTES:
                    raise HttpError(400, f"the body comes in more than {self._n_chunks - 1} small chunks")
                if until is not None and self._n_chunks >= until:
                    return None
                if not self._receive_chunk_line():
                    return False
            else:
                return self._receive_trailers()

    def _receive_whole_chunks(self, most: int) -> None:
        """Move chunks that are whole and plain: a fraction of what it costs to take them step by step."""
        buffer, body = self._buffer, self._body
        room = self._max_body_bytes - len(body)
        at = 0
        for _ in range(most):
            line = _plain_chunk_line(buffer, at)
            if line is None:
                break
            size = int(line[1], 16)
            start = line.end()
            stop = start + size
            room -= size
            if not size or room < 0 or buffer[stop : stop + 2] != b"\r\n":
                break
            body += buffer[start:stop]
            at = stop + 2
            self._n_chunks += 1
        del buffer[:at]

    def _receive_chunk_line(self) -> bool:
        buffer = self._buffer
        end = buffer.find(b"\n", 0, _MAX_CHUNK_LINE)
        if end < 0:
            if len(buffer) >= _MAX_CHUNK_LINE:
                raise HttpError(400, f"a chunk's size and extensions are longer than {_MAX_CHUNK_LINE} bytes")
            return False
        match = _chunk_line(buffer[: end - 1]) if end and buffer[end - 1] == 0x0D else None
        if match is None:
            raise HttpError(400, "expected a chunk size of 1 to 16 hexadecimal digits, ended by CRLF")
        digits = match[1]
        size = int(digits, 16)
        self._extension_bytes += end - 1 - len(digits)
        if self._extension_bytes > self._max_head_bytes:
            raise HttpError(400, f"the chunk extensions are longer than {self._max_head_bytes} bytes")
        if len(self._body) + size > self._max_body_bytes:
            raise _body_too_large(self._max_body_bytes)
        del buffer[: end + 1]
        self._n_chunks += 1
        self._chunk_left = size or _TRAILERS
        return True

    def _receive_trailers(self) -> bool:
        """Check the trailers' grammar and drop them: nothing here may depend on them."""
        buffer = self._buffer
        if buffer.startswith(b"\r\n"):
            del buffer[:2]
            return True
        end = self._section_end(self._max_head_bytes)
        if end is None:
            return False
        _parse_fields(bytes(buffer[:end]), self._max_headers)
        del buffer[:end]
        return True


# What a chunked body waits for where no data bytes are missing.
_CHUNK_END, _SIZE_LINE, _TRAILERS = 0, -1, -2


def _with_body(request: Request, body: bytes) -> Request:
    # What `_replace` does, without its detour over keyword arguments.
    return tuple.__new__(Request, request[:-1] + (body,))  # noqa: RUF005 - a third faster


def _body_too_large(limit: int) -> HttpError:
    return HttpError(413, f"the body is longer than {limit} bytes")


@lru_cache(maxsize=64)
def _parse_line(text: str) -> _Line:
    match = _request_line(text)
    if match is None:
        raise HttpError(400, "expected METHOD TARGET HTTP/1.1 as the request line")
    method, target, version = match.groups()
    if version not in ("1.1", "1.0"):
        raise HttpError(505, f"expected HTTP/1.1 or HTTP/1.0, got HTTP/{version}")
    authority = None
    if method == "CONNECT":  # authority-form, RFC 9112 section 3.2.3
        if _host(target) is None or not target[-1].isdigit() or ":" not in target or target[0] == ":":
            raise HttpError(400, "expected host:port as the target of CONNECT")
        return _Line(method, target, target, "", target, version)
    if target[0] == "/":
        path, _, query = target.partition("?")
    elif target == "*" and method == "OPTIONS":
        path, query = "*", ""
    else:
        form = _absolute(target)
        if form is None or _host(form[1]) is None or form[1][0] == ":":
            raise HttpError(400, "expected a target that starts with / or http://")
        authority, path, query = form[1], form[2] or "/", form[3] or ""
    if "#" in target:
        raise HttpError(400, "a target has no fragment")
    if "%" in path:
        if _bad_escape(path):
            raise HttpError(400, "the path holds a percent sign that starts no valid escape")
        path = unquote(path, errors="replace")
    return _Line(method, target, path, query, authority, version)


def _parse_fields(raw: bytes, max_headers: int) -> list[tuple[str, str]]:
    """Take a field section apart, which ends with its empty line; RFC 9112 section 5."""
    text = raw.decode("latin-1")
    lines = text.split("\r\n")
    del lines[-2:]
    if len(lines) > max_headers:
        # A bare LF comes first, as it would have if the section had arrived line by line.
        reason = f"more than {max_headers} fields"
        raise HttpError(400, _BARE_LF) if _has_bare_lf(text) else HttpError(431, reason)
    parse = _parse_field if len(raw) <= _MAX_REMEMBERED else _parse_field.__wrapped__
    try:
        return [parse(line) for line in lines]
    except HttpError:
        if _has_bare_lf(text):
            raise HttpError(400, _BARE_LF) from None
        raise


@lru_cache(maxsize=512)
def _parse_field(line: str) -> tuple[str, str]:
    """One field. Remembered, because clients repeat all but one or two of theirs in every request."""
    match = _field(line)
    if match is not None:
        field = match[1].lower(), match[2].strip(" \t")
        if field[0] == "host" and _host(field[1]) is None:
            raise HttpError(400, "the Host field is not host or host:port")
        return field
    name, colon, _ = line.partition(":")
    if line[:1] in (" ", "\t"):
        raise HttpError(400, "a field is folded over two lines")
    if not colon:
        raise HttpError(400, "a field line has no colon")
    if _token(name) is None:
        raise HttpError(400, "a field name holds a character that is not allowed in one")
    raise HttpError(400, "a field value holds a control character")


def _has_bare_lf(text: str) -> bool:
    return text.count("\n") != text.count("\r\n")


@lru_cache(maxsize=8)
def _heads_under(limits: tuple[int, ...]) -> dict[bytes, _Head]:
    """The heads remembered by all parsers with the same limits: clients of one kind share theirs."""
    return {}


@lru_cache(maxsize=8)
def _handshakes_under(limits: tuple[int, ...]) -> dict[tuple[bytes, bytes], tuple[_Head, int]]:
    """WebSocket handshakes likewise: by what is before and after the key, with the key field's index."""
    return {}


def _parse_head(raw: bytes, line_size: int, max_headers: int, max_body_bytes: int) -> _Head:
    """A whole head."""
    line = _parse_line(raw[: line_size - 2].decode("latin-1"))
    method, target, path, query, authority, version = line
    fields = _parse_fields(raw[line_size:], max_headers)
    table = dict(fields)
    if len(table) != len(fields):
        table = _join(fields)
    modern = version == "1.1"
    if modern and "host" not in table:
        raise HttpError(400, "expected one Host field, got none")
    if authority is not None:
        fields = [("host", authority), *(field for field in fields if field[0] != "host")]
    length, chunked = _body_framing(
        table.get("content-length"), table.get("transfer-encoding"), modern, max_body_bytes
    )
    expects = False
    if "expect" in table and modern:  # RFC 9110 section 10.1.1: ignored in HTTP/1.0
        if _elements(table["expect"]) != ["100-continue"]:
            raise HttpError(417, "the only expectation met here is 100-continue")
        expects = chunked or length > 0
    keep_alive, upgrade = modern, False
    if "connection" in table:
        options = _elements(table["connection"])
        keep_alive = "close" not in options and (modern or "keep-alive" in options)
        # RFC 9110 section 7.8: an upgrade asked for in HTTP/1.0 must be ignored.
        upgrade = (
            modern
            and method == "GET"
            and "upgrade" in options
            and "websocket" in _elements(table.get("upgrade", ""))
        )
    request = Request(method, target, path, query, Fields(fields), version, keep_alive, upgrade, b"")
    return _Head(raw, len(raw), request, length, chunked, expects, upgrade or not keep_alive)


def _join(fields: list[tuple[str, str]]) -> dict[str, str]:
    """Join the values of repeated fields, and refuse those that framing and routing depend on."""
    table: dict[str, str] = {}
    for name, value in fields:
        if name not in table:
            table[name] = value
        elif name in _ONCE:
            raise HttpError(400, f"the {name} field appears more than once")
        else:
            table[name] += "," + value
    return table


def _body_framing(length: str | None, coding: str | None, modern: bool, limit: int) -> tuple[int, bool]:
    """Length of the body, and whether it is chunked instead; RFC 9112 section 6.3."""
    if coding is not None:
        if not modern:
            raise HttpError(400, "Transfer-Encoding in an HTTP/1.0 request")
        if length is not None:
            raise HttpError(400, "both Content-Length and Transfer-Encoding")
        names = [name.strip(" \t").lower() for name in coding.split(",")]
        if names == ["chunked"]:
            return 0, True
        if names[-1] == "chunked" and "chunked" not in names[:-1]:
            raise HttpError(501, "the only transfer coding spoken here is chunked")
        raise HttpError(400, "expected chunked as the last transfer coding, once")
    if length is None:
        return 0, False
    if not (length.isascii() and length.isdigit()):
        raise HttpError(400, "expected digits as Content-Length")
    digits = length.lstrip("0") or "0"
    if len(digits) > 19 or int(digits) > limit:  # int() itself refuses thousands of digits
        raise _body_too_large(limit)
    return int(digits), False


def _elements(value: str) -> list[str]:
    """Members of a comma-separated field, in lower case; RFC 9110 section 5.6.1."""
    return [name for part in value.lower().split(",") if (name := part.strip(" \t"))]


def serialize_response(
    status: int,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    *,
    keep_alive: bool,
    head_only: bool = False,
    http_version: str = "1.1",
    date: str | None = None,
) -> bytes:
    """Give one response as bytes.

    Args:
        status: 200..599; 100..199, 204 and 304 are sent without a body.
        headers: (name, value); framing fields and Date are not among them, they are made here.
        body: Whole; its length becomes `Content-Length`.
        keep_alive: The connection stays open afterwards.
        head_only: The request was HEAD: `Content-Length` says what GET would have sent.
        http_version: The request's version; a 1.0 client is told about keep-alive.
        date: `format_date(now)`, or None to leave the field out.

    Raises:
        ValueError: A name or value that would break the head apart, or a field that is made here.
    """
    prefix = _prefix(status, tuple(headers), keep_alive, http_version, date)
    if head_only or status in _NO_CONTENT:
        return prefix + _length_field(status, len(body))
    return b"%bcontent-length: %d\r\n\r\n%b" % (prefix, len(body), body)


def serialize_head(
    status: int,
    headers: Sequence[tuple[str, str]],
    content_length: int,
    *,
    keep_alive: bool,
    http_version: str = "1.1",
    date: str | None = None,
) -> bytes:
    """Give the head alone, for a body of `content_length` bytes that is written after it.

    Arguments and errors are those of `serialize_response`.
    """
    return _prefix(status, tuple(headers), keep_alive, http_version, date) + _length_field(
        status, content_length
    )


def serialize_chunked_head(
    status: int,
    headers: Sequence[tuple[str, str]],
    *,
    keep_alive: bool,
    http_version: str = "1.1",
    date: str | None = None,
) -> bytes:
    """Give the head alone, for a body of unknown length: pieces as of `serialize_chunk`, or, to a 1.0
    client, bytes up to the end of the connection, which is then not kept alive.

    Arguments and errors are those of `serialize_response`.
    """
    prefix = _prefix(status, tuple(headers), keep_alive and http_version != "1.0", http_version, date)
    return prefix + (b"\r\n" if http_version == "1.0" else b"transfer-encoding: chunked\r\n\r\n")


def serialize_chunk(data: bytes) -> bytes:
    """One piece of a chunked body; the empty one is the last. RFC 9112 section 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _length_field(status: int, length: int) -> bytes:
    # RFC 9110 section 8.6: none in 1xx and 204; in 304 it would have to be that of the 200.
    return b"\r\n" if status in _NO_CONTENT else b"content-length: %d\r\n\r\n" % length


@lru_cache(maxsize=512)
def _prefix(
    status: int,
    headers: tuple[tuple[str, str], ...],
    keep_alive: bool,
    http_version: str,
    date: str | None,
) -> bytes:
    """Everything before Content-Length. A server says the same few heads over and over."""
    if not 100 <= status <= 599:
        raise ValueError(f"expected a status of 100..599, got {status}")
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}"]
    if date is not None:
        lines.append(f"date: {date}")
    for name, value in headers:
        if _token(name) is None:
            raise ValueError(f"expected a token as field name, got {name!r}")
        if name.lower() in _SERIALIZER_OWNS:
            raise ValueError(f"{name} is made by the serializer")
        lines.append(f"{name}: {value}")
    if not keep_alive:
        lines.append("connection: close")
    elif http_version == "1.0":
        lines.append("connection: keep-alive")
    for line in lines:
        encoded = line.encode("latin-1")
        if len(encoded.translate(None, _CONTROLS + b"\r\n")) != len(encoded):
            raise ValueError(f"control character in the field {line!r}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


_PHRASES = {int(status): status.phrase for status in HTTPStatus}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def format_date(unix_time: float) -> str:
    """Give a Unix time as an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`; RFC 9110 section 5.6.7."""
    moment = time.gmtime(unix_time)
    return (
        f"{_DAYS[moment.tm_wday]}, {moment.tm_mday:02} {_MONTHS[moment.tm_mon - 1]} {moment.tm_year:04} "
        f"{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02} GMT"
    )
