"""A stand-in for Xet's content-addressed store: as much as an upload needs.

In: the requests of ``hf_xet``: xorbs (many chunks of content, each compressed or not) and shards (which files
are made of which chunks). Out: the content of every file, by its sha256. Content is put together and named by
what it is, so a client that cut, packed or described it wrongly is found out.

It knows nothing about downloads, and never deduplicates.

Reference: https://huggingface.co/docs/xet (CAS API; xorb and shard formats); LZ4 frame format 1.6.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator

_ENTRY_BYTES = 48
_BOOKEND = b"\xff" * 32
_WITH_VERIFICATION = 1 << 31
_WITH_METADATA = 1 << 30


class XetStore:
    """One store.

    Attributes:
        files: Content by sha256, in hexadecimal digits.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._xorbs: dict[str, list[bytes]] = {}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Status and JSON for one request; 404 for what is not known, which clients have to take."""
        xorb = re.fullmatch(r"/v1/xorbs/default/([0-9a-f]{64})", path)
        if method == "POST" and xorb is not None:
            known = xorb[1] in self._xorbs
            self._xorbs[xorb[1]] = list(_chunks(body))
            return 200, {"was_inserted": not known}
        if method == "POST" and path in ("/v1/shards", "/shards"):
            self._take_shard(body)
            return 200, {"result": 1}
        return 404, {"error": "not found"}

    def _take_shard(self, shard: bytes) -> None:
        position = _ENTRY_BYTES
        while (header := shard[position : position + _ENTRY_BYTES])[:32] != _BOOKEND:
            flags, count = struct.unpack_from("<II", header, 32)
            content = b""
            for number in range(count):
                at = position + _ENTRY_BYTES * (number + 1)
                _, size, first, end = struct.unpack_from("<IIII", shard, at + 32)
                segment = b"".join(self._xorbs[_hash_text(shard[at : at + 32])][first:end])
                assert len(segment) == size, f"a segment of {size} bytes has {len(segment)}"
                content += segment
            position += _ENTRY_BYTES * (1 + count * (2 if flags & _WITH_VERIFICATION else 1))
            digest = hashlib.sha256(content)
            if flags & _WITH_METADATA:
                said = _hash_text(shard[position : position + 32])
                assert said == digest.hexdigest(), f"said sha256 {said}, is {digest.hexdigest()}"
                position += _ENTRY_BYTES
            self.files[digest.hexdigest()] = content


def _hash_text(raw: bytes) -> str:
    """Four little-endian numbers of 64 bits, in hexadecimal digits."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def _chunks(xorb: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(xorb) and xorb[position] == 0:
        packed = int.from_bytes(xorb[position + 1 : position + 4], "little")
        scheme = xorb[position + 4]
        size = int.from_bytes(xorb[position + 5 : position + 8], "little")
        data = xorb[position + 8 : position + 8 + packed]
        position += 8 + packed
        if scheme:
            data = _from_lz4(data)
        if scheme == 2:
            data = _ungrouped(data)
        assert len(data) == size, f"a chunk of {size} bytes has {len(data)}"
        yield data


def _ungrouped(data: bytes) -> bytes:
    """Undo the grouping of every fourth byte."""
    out = bytearray(len(data))
    position = 0
    for group in range(4):
        length = len(range(group, len(data), 4))
        out[group::4] = data[position : position + length]
        position += length
    return bytes(out)


def _from_lz4(frame: bytes) -> bytes:
    magic, flags = struct.unpack_from("<IB", frame)
    assert magic == 0x184D2204, "not an LZ4 frame"
    position = 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)
    out = bytearray()
    while size := struct.unpack_from("<I", frame, position)[0]:
        plain, size = bool(size >> 31), size & 0x7FFFFFFF
        block = frame[position + 4 : position + 4 + size]
        position += 4 + size + (4 if flags & 0x10 else 0)
        if plain:
            out += block
        else:
            _add_block(block, out)
    return bytes(out)


def _add_block(block: bytes, out: bytearray) -> None:
    position = 0

    def length(start: int) -> int:
        nonlocal position
        total = start
        if start == 15:
            while True:
                total += block[position]
                position += 1
                if block[position - 1] != 255:
                    break
        return total

    while position < len(block):
        token = block[position]
        position += 1
        literals = length(token >> 4)
        out += block[position : position + literals]
        position += literals
        if position >= len(block):
            return
        offset = int.from_bytes(block[position : position + 2], "little")
        position += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-offset])
