"""How log records look: lines for people, or one JSON object per line for machines.

In: level and format of a `Config`. Out: a handler on the root logger, so that what authors log comes out
the same way as what we do. It writes to standard error; standard output is the banner's.

JSON keys: `time` (RFC 3339, UTC), `level`, `logger`, `message`, `pid`, and where they apply `exception` (the
traceback), `session_id` and `request_id` (of a record logged with `extra={"session_id": ...}`).
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from openenv.codec import encode

__all__ = ["JsonFormatter", "TextFormatter", "configure_logging"]

_TALKATIVE = ("asyncio", "websockets")


class TextFormatter(logging.Formatter):
    """`2026-11-22 12:01:33 INFO openenv.server: message`.

    A message is what it seems: the second and later lines of a record are indented, so that no client can
    make a text of which a line looks like a record of its own, and control characters are written as `\\x1b`.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        text = super().format(record).translate(_ESCAPED)
        return text.replace("\n", "\n    ") if "\n" in text else text


_ESCAPED = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
} | {0x2028: "\\u2028", 0x2029: "\\u2029"}


class JsonFormatter(logging.Formatter):
    """One JSON object, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text without a line break."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        for name in ("session_id", "request_id"):
            value = getattr(record, name, None)
            if value is not None:
                entry[name] = str(value)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return encode(entry).decode()


def configure_logging(level: str, log_format: str) -> None:
    """Set up the root logger, unless the program that we are part of has done so already.

    Args:
        level: `critical`, `error`, `warning`, `info` or `debug`.
        log_format: `text` or `json`.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root.addHandler(handler)
    root.setLevel(level.upper())
    # At debug these two tell of every frame and every slow callback, which hides what was asked for.
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))
