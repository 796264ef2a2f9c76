"""The client's side of one HTTP/1.1 exchange, sans-I/O: a request as bytes, bytes as a response.

Enough of RFC 9112 for asking a server about itself and for opening a WebSocket: one response per
connection, bodies by length, by chunks or until the end of the connection. It knows nothing about
sockets, redirects or JSON. Limits: ``max_head_bytes`` and ``max_body_bytes``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from openenv.errors import ProtocolError

__all__ = ["Response", "ResponseParser", "serialize_request"]

_BODYLESS = (101, 204, 304)


@dataclass(slots=True)
class Response:
    """One response.

    Attributes:
        status: 101, or 200 to 599; interim responses are not shown.
        reason: The phrase of the status line, possibly empty.
        headers: Names in lower case, in order of arrival.
        body: Decoded from its chunks.
    """

    status: int
    reason: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The value of a field, several joined by commas (RFC 9110 section 5.3); name in lower case."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None


def serialize_request(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> bytes:
    """One request.

    Raises:
        ValueError: A header has a line break in it (RFC 9110 section 5.5), or is not Latin-1.
    """
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers:
        if any(char in name or char in value for char in "\r\n\0"):
            raise ValueError(f"expected one line, got {value!r} as header {name!r}")
        lines.append(f"{name}: {value}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class ResponseParser:
    """Parses the one response of a connection.

    Attributes:
        rest: After the response: the bytes that followed it (the first frames, after a 101).
    """

    def __init__(self, max_head_bytes: int = 65536, max_body_bytes: int = 100 * 1024 * 1024) -> None:
        self.rest = b""
        self._max_head_bytes = max_head_bytes
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._response: Response | None = None
        self._chunked = False
        self._length: int | None = None

    def receive_data(self, data: bytes) -> Response | None:
        """Take bytes from the server; the response, once it is whole.

        Raises:
            ProtocolError: It is not HTTP/1.x, or larger than the limits.
        """
        self._buffer += data
        while self._response is None:
            end = self._buffer.find(b"\r\n\r\n")
            if max(end, len(self._buffer) if end < 0 else 0) > self._max_head_bytes:
                raise ProtocolError(f"the response's head is larger than {self._max_head_bytes} bytes")
            if end < 0:
                if not b"HTTP/1.".startswith(self._buffer[:7]):
                    raise ProtocolError(f"not an HTTP/1.1 response: {bytes(self._buffer[:40])!r}")
                return None
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            response = _parse_head(head)
            if response.status >= 200 or response.status == 101:
                self._begin_body(response)
        return self._take_body(self._response)

    def receive_eof(self) -> Response | None:
        """The connection ended: the response, if that is how its body ends, else None."""
        response = self._response
        if response is None or self._chunked or self._length is not None:
            return None
        response.body = bytes(self._buffer)
        return response

    def _begin_body(self, response: Response) -> None:
        self._response = response
        if response.status in _BODYLESS:
            self._length = 0
            return
        coding = response.header("transfer-encoding")
        length = response.header("content-length")
        if coding is not None:
            self._chunked = coding.lower().endswith("chunked")
        elif length is not None:
            if not (length.isascii() and length.isdigit()):
                raise ProtocolError(f"expected a number of bytes, got Content-Length: {length}")
            self._length = int(length)
            self._check_size(self._length)

    def _take_body(self, response: Response) -> Response | None:
        if self._chunked:
            return self._take_chunks(response)
        if self._length is None:
            self._check_size(len(self._buffer))
            return None
        if len(self._buffer) < self._length:
            return None
        response.body = bytes(self._buffer[: self._length])
        self.rest = bytes(self._buffer[self._length :])
        return response

    def _take_chunks(self, response: Response) -> Response | None:
        # Answers are small and read once: going through all chunks again with each arrival is fine.
        buffer = self._buffer
        position = 0
        body = bytearray()
        while (line_end := buffer.find(b"\r\n", position)) >= 0:
            size_text = bytes(buffer[position:line_end]).split(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError:
                raise ProtocolError(f"expected a chunk size, got {size_text[:20]!r}") from None
            self._check_size(len(body) + size)
            position = line_end + 2
            if size == 0:
                if buffer[position : position + 2] != b"\r\n" and buffer.find(b"\r\n\r\n", position) < 0:
                    return None
                response.body = bytes(body)
                return response
            if len(buffer) < position + size + 2:
                return None
            body += buffer[position : position + size]
            position += size + 2
        return None

    def _check_size(self, size: int) -> None:
        if size > self._max_body_bytes:
            raise ProtocolError(f"the response's body is larger than {self._max_body_bytes} bytes")


def _parse_head(head: bytes) -> Response:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or len(status) != 3 or not status.isdigit():
        raise ProtocolError(f"not an HTTP/1.1 response: {status_line[:80]!r}")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ProtocolError(f"expected a header, got {line[:80]!r}")
        headers.append((name.strip().lower(), value.strip()))
    return Response(int(status), reason, headers)
