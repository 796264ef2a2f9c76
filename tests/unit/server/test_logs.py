"""One record is one line, or lines that cannot be taken for others."""

from __future__ import annotations

import json
import logging
import sys

from openenv.server.logs import JsonFormatter, TextFormatter

FORGED = "x\n2026-01-01 00:00:00 INFO openenv.server: all is well\r\x1b[2K\x00\u2028y\x9b"


def record(message: str, *, raised: bool = False) -> logging.LogRecord:
    info = None
    if raised:
        try:
            raise ValueError(message)
        except ValueError:
            info = sys.exc_info()
    return logging.LogRecord("openenv.test", logging.ERROR, "file.py", 1, "said: %s", (message,), info)


def test_a_client_s_text_cannot_look_like_a_record() -> None:
    """Its further lines are indented and its control characters written out."""
    for raised in (False, True):
        text = TextFormatter().format(record(FORGED, raised=raised))
        first, *others = text.split("\n")
        assert "ERROR openenv.test: said: x" in first
        assert others
        assert all(line.startswith("    ") for line in others)
        assert not set(text) & set("\r\x1b\x00\u2028\x9b")
        assert "\\x1b[2K\\x00\\u2028y\\x9b" in text


def test_an_ordinary_record_is_as_it_was() -> None:
    """Tabs and letters of any script included."""
    assert TextFormatter().format(record("a\tb é 漢")).endswith("ERROR openenv.test: said: a\tb é 漢")


def test_json_is_one_line_whatever_was_said() -> None:
    """And says exactly that."""
    text = JsonFormatter().format(record(FORGED, raised=True))
    assert "\n" not in text
    assert json.loads(text)["message"] == f"said: {FORGED}"
