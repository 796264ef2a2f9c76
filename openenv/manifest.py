"""`openenv.yaml` <-> `Manifest`.

In: the text of a manifest. Out: a `Manifest`, or a `ManifestError` that names the line. No file is opened
here, and no YAML library is used, installed or not: a manifest reads the same everywhere.

What is read is the part of YAML 1.2 that manifests are written in: block mappings and sequences, flow ones
(`[a, b]`, `{a: 1}`), plain, 'single' and "double" quoted scalars, `|` and `>` block scalars, comments, one
document. Anchors, aliases, tags, complex keys, tabs in the indentation and duplicate keys are refused.

Reference: YAML 1.2.2 (https://yaml.org/spec/1.2.2), core schema for scalars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openenv.errors import ManifestError

__all__ = ["MANIFEST_NAME", "Manifest", "dump", "parse"]

MANIFEST_NAME = "openenv.yaml"
DEFAULT_APP = "server.app:app"
_TEXT_KEYS = ("name", "type", "runtime", "app", "version", "description")
_UNUSED = frozenset({"type", "runtime", "description"})
_WHOLE = re.compile(r"[0-9]+(\.0+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an environment's folder says about itself.

    Attributes:
        spec_version: Version of the manifest's own format.
        name: Name of the environment, also of its package; None where the folder's name must do.
        type: `space`.
        runtime: What serves it, `fastapi` in existing manifests; kept, and not acted upon.
        app: `module:attribute`, as importable from the folder.
        port: Port to serve on, or None.
        version: The environment's own version.
        description: One sentence.
        extra: Every other key, in order, as JSON values; `type`, `runtime` and `description` too where
            they are no text, as in manifests that were written for something else as well.
    """

    spec_version: int = 1
    name: str | None = None
    type: str = "space"
    runtime: str = "fastapi"
    app: str = DEFAULT_APP
    port: int | None = None
    version: str | None = None
    description: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def parse(text: str, where: str = MANIFEST_NAME) -> Manifest:
    """Read a manifest.

    Args:
        text: The file's text.
        where: The file's name, for messages.

    Raises:
        ManifestError: It is not YAML as described above, or a key has a value it cannot have.
    """
    values = _Reader(text, where).document()
    known: dict[str, Any] = {}
    for key in _TEXT_KEYS:
        if key in _UNUSED and not isinstance(values.get(key), str | None):
            continue
        value = values.pop(key, None)
        if value is not None:
            if not isinstance(value, str):
                raise ManifestError(
                    f"{where}: expected text as {key!r}, got {value!r}; write {key}: some text"
                )
            known[key] = value
    for key, low, high in (("spec_version", 1, 2**31), ("port", 0, 65535)):
        value = values.pop(key, None)
        if value is not None:
            value = _whole(value)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ManifestError(
                    f"{where}: expected a whole number from {low} to {high} as {key!r}, got {value!r}"
                )
            known[key] = value
    app = known.get("app", DEFAULT_APP)
    if not re.fullmatch(r"[^\s:]+:[^\s:]+", app):
        raise ManifestError(
            f"{where}: expected 'module:attribute' as 'app', got {app!r}; write app: {DEFAULT_APP}"
        )
    return Manifest(**known, extra=values)


def _whole(value: Any) -> Any:
    """A number that was written `"8000"` or `1.0`, as existing manifests do."""
    text = str(value)
    return int(text.partition(".")[0]) if isinstance(value, str | float) and _WHOLE.fullmatch(text) else value


def dump(manifest: Manifest) -> str:
    """Write a manifest, such that `parse` gives it back. Nested values are written in flow style."""
    lines = []
    for key in ("spec_version", "name", "type", "runtime", "app", "port", "version", "description"):
        value = getattr(manifest, key)
        if value is not None and key not in manifest.extra:
            lines.append(f"{key}: {_scalar_text(value)}")
    lines += [f"{_scalar_text(key)}: {_scalar_text(value)}" for key, value in manifest.extra.items()]
    return "\n".join(lines) + "\n"


def _scalar_text(value: object) -> str:
    return value if isinstance(value, str) and _reads_back(value) else json.dumps(value, ensure_ascii=False)


def _reads_back(text: str) -> bool:
    """Whether text without quotes is read as itself, as value and as key."""
    if not re.fullmatch(r"[A-Za-z_][\w .:/@+-]*", text) or re.search(r":(\s|$)|\s$", text):
        return False
    return bool(_plain(text) == text)


_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUES = frozenset({"true", "True", "TRUE"})
_FALSES = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+")
_HEX_OR_OCTAL = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_KEY = re.compile(
    r"""(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s\-?:,\[\]{}#&*!|>'"%@`][^\n]*?|[-?:][^\s][^\n]*?)\s*:(?=\s|$)"""
)
_BLOCK_SCALAR = re.compile(r"[|>](?:[-+]?[1-9]?|[1-9][-+])")
_ESCAPES = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    " ": " ",
    '"': '"',
    "/": "/",
    "\\": "\\",
    "N": "\x85",
    "_": "\xa0",
    "L": "\u2028",
    "P": "\u2029",
}
_MAX_DEPTH = 64


def _plain(text: str) -> Any:
    """The value of an unquoted scalar, by YAML's core schema."""
    if text in _NULLS:
        return None
    if text in _TRUES or text in _FALSES:
        return text in _TRUES
    if _INT.fullmatch(text) and len(text) < 1000:
        return int(text)
    if _HEX_OR_OCTAL.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    indent: int
    text: str


class _Reader:
    """Lines in, values out; one method per construct."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._raw = text.removeprefix("\ufeff").splitlines()
        self._at = 0

    def document(self) -> dict[str, Any]:
        line = self._peek()
        while line is not None and (line.text == "---" or line.text.startswith("%")):
            self._at += 1
            line = self._peek()
        if line is None:
            return {}
        value = self._block(line.indent, 0, top=True)
        rest = self._peek()
        if rest is not None and rest.text != "...":
            what = "a second document" if rest.text == "---" else f"{rest.text!r} at this indentation"
            raise self._error(rest.number, f"expected 'key: value', got {what}; check the indentation")
        if not isinstance(value, dict):
            raise self._error(line.number, f"expected 'key: value', got {line.text!r}")
        return value

    # -- lines ------------------------------------------------------------------------------

    def _error(self, number: int, text: str) -> ManifestError:
        return ManifestError(f"{self._where}, line {number}: {text}")

    def _peek(self) -> _Line | None:
        """The next line that is neither empty nor a comment."""
        while self._at < len(self._raw):
            raw = self._raw[self._at]
            stripped = raw.strip(" ")
            if stripped.strip() and not stripped.startswith("#"):
                indent = len(raw) - len(raw.lstrip(" "))
                if raw[indent] == "\t":
                    raise self._error(
                        self._at + 1, "a tab in the indentation, which YAML does not allow; use spaces"
                    )
                return _Line(self._at + 1, indent, stripped.rstrip())
            self._at += 1
        return None

    # -- block constructs -------------------------------------------------------------------

    def _block(self, indent: int, depth: int, top: bool = False) -> Any:
        line = self._peek()
        assert line is not None
        if depth > _MAX_DEPTH:
            raise self._error(line.number, "nested too deeply")
        if line.text == "-" or line.text.startswith("- "):
            return self._sequence(indent, depth)
        if _KEY.match(line.text):
            return self._mapping(indent, depth, top)
        self._at += 1
        return self._inline(line.text, line.number, indent - 1)

    def _mapping(self, indent: int, depth: int, top: bool) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while (line := self._peek()) is not None and line.indent == indent:
            match = _KEY.match(line.text)
            if match is None:
                if top and line.text in ("---", "..."):
                    break
                raise self._error(line.number, f"expected 'key: value', got {line.text!r}")
            key = self._key(match["key"], line.number)
            if key in values:
                raise self._error(line.number, f"{key!r} is given twice; leave one of them out")
            rest = line.text[match.end() :].strip()
            self._at += 1
            values[key] = self._value(rest, line.number, indent, depth, as_text=top and key in _TEXT_KEYS)
        line = self._peek()
        if line is not None and line.indent > indent:
            raise self._error(line.number, f"{line.text!r} is indented more than the line it belongs to")
        return values

    def _key(self, text: str, number: int) -> str:
        if text[0] in "\"'":
            value, _ = self._quoted(text, 0, number)
            return value
        return text

    def _value(self, rest: str, number: int, indent: int, depth: int, as_text: bool) -> Any:
        if _is_comment(rest):
            rest = ""
        if rest:
            header = rest.split(" #")[0].strip()
            if _BLOCK_SCALAR.fullmatch(header):
                return self._block_scalar(header, indent)
            return self._inline(rest, number, indent, as_text)
        line = self._peek()
        if line is None or line.indent < indent:
            return None
        if line.indent > indent:
            return self._block(line.indent, depth + 1)
        # A sequence may stand at the indentation of the key it belongs to.
        if line.text == "-" or line.text.startswith("- "):
            return self._sequence(indent, depth + 1)
        return None

    def _sequence(self, indent: int, depth: int) -> list[Any]:
        values: list[Any] = []
        while (line := self._peek()) is not None and line.indent == indent:
            if line.text != "-" and not line.text.startswith("- "):
                break
            rest = line.text[1:].lstrip(" ")
            if not rest or _is_comment(rest):
                self._at += 1
                following = self._peek()
                nested = following is not None and following.indent > indent
                values.append(self._block(following.indent, depth + 1) if following and nested else None)
            elif _KEY.match(rest) or rest == "-" or rest.startswith("- "):
                # `- key: value` opens a mapping whose indentation is where its key stands.
                inner = indent + len(line.text) - len(rest)
                self._raw[self._at] = " " * inner + rest
                values.append(self._block(inner, depth + 1))
            else:
                self._at += 1
                values.append(self._value(rest, line.number, indent, depth, as_text=False))
        line = self._peek()
        if line is not None and line.indent > indent:
            raise self._error(line.number, f"{line.text!r} is indented more than the line it belongs to")
        return values

    def _block_scalar(self, header: str, indent: int) -> str:
        given = next((int(char) for char in header if char.isdigit()), None)
        lines: list[str] = []
        width = indent + given if given else None
        while self._at < len(self._raw):
            raw = self._raw[self._at]
            own = len(raw) - len(raw.lstrip(" "))
            if raw.strip(" "):
                if own <= indent and not (width is not None and own >= width):
                    break
                width = own if width is None else width
                if own < width:
                    break
            lines.append(raw[width:] if width is not None and raw.strip(" ") else "")
            self._at += 1
        body = "\n".join(lines) if header[0] == "|" else _fold(lines)
        stripped = body.rstrip("\n")
        if "-" in header or not stripped:
            return stripped
        n_trailing = len(lines) - len("\n".join(lines).rstrip("\n").split("\n"))
        return stripped + "\n" * (1 + n_trailing if "+" in header else 1)

    # -- scalars and flow constructs --------------------------------------------------------

    def _inline(self, text: str, number: int, indent: int, as_text: bool = False) -> Any:
        """A value that starts on this line; it may go on over more indented ones."""
        if text[0] in "&*!":
            raise self._error(
                number, f"anchors, aliases and tags are not supported, got {text!r}; write it out"
            )
        if text == "-" or text.startswith("- "):
            raise self._error(number, "a list cannot start on the line of its key; begin it on the next line")
        if text[0] in "@`%":
            raise self._error(number, f"a value cannot start with {text[0]!r}; put it into quotes")
        if text[0] in "\"'[{":
            text = self._until_closed(text, number, indent)
            value, end = self._flow(text, 0, number, 0)
            rest = text[end:].strip()
            if rest and not (rest.startswith("#") and text[end].isspace()):
                raise self._error(number, f"expected the end of the line after the value, got {rest!r}")
            return value
        parts = [_without_comment(text)]
        while (line := self._peek()) is not None and line.indent > indent:
            self._at += 1
            parts.append(_without_comment(line.text))
        plain = " ".join(part for part in parts if part)
        if re.search(r":(\s|$)", plain):
            raise self._error(number, f"{plain!r} holds a ': ', which starts a mapping; put it into quotes")
        return plain if as_text and plain not in _NULLS else _plain(plain)

    def _until_closed(self, text: str, number: int, indent: int) -> str:
        """Add lines until every quote and bracket is closed; comments between them are dropped."""
        while (end := _end_of_open_content(text)) is not None:
            line = self._peek()
            if line is None or line.indent <= indent:
                raise self._error(number, f"{text[0]!r} is opened and never closed")
            self._at += 1
            text = f"{text[:end].rstrip()} {line.text}"
        return text

    def _flow(self, text: str, position: int, number: int, depth: int) -> tuple[Any, int]:
        position = _skip_space(text, position)
        if depth > _MAX_DEPTH:
            raise self._error(number, "nested too deeply")
        if position >= len(text):
            raise self._error(number, f"expected a value, got the end of {text!r}")
        char = text[position]
        if char in "\"'":
            return self._quoted(text, position, number)
        if char == "[":
            return self._flow_sequence(text, position + 1, number, depth + 1)
        if char == "{":
            return self._flow_mapping(text, position + 1, number, depth + 1)
        match = re.compile(r"(?:(?![,\[\]{}]|:(?=[\s,\[\]{}]|$)|\s#).)*").match(text, position)
        assert match is not None
        if not match[0].strip():
            raise self._error(number, f"expected a value, got {char!r}")
        return _plain(match[0].strip()), match.end()

    def _flow_sequence(self, text: str, position: int, number: int, depth: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        while True:
            position = _skip_space(text, position)
            if text[position : position + 1] == "]":
                return values, position + 1
            value, position = self._flow(text, position, number, depth)
            values.append(value)
            position = self._comma(text, position, "]", number)

    def _flow_mapping(self, text: str, position: int, number: int, depth: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        while True:
            position = _skip_space(text, position)
            if text[position : position + 1] == "}":
                return values, position + 1
            key, position = self._flow(text, position, number, depth)
            position = _skip_space(text, position)
            value = None
            if text[position : position + 1] == ":":
                position = _skip_space(text, position + 1)
                if text[position : position + 1] not in (",", "}"):
                    value, position = self._flow(text, position, number, depth)
            values[key if isinstance(key, str) else json.dumps(key)] = value
            position = self._comma(text, position, "}", number)

    def _comma(self, text: str, position: int, closing: str, number: int) -> int:
        position = _skip_space(text, position)
        char = text[position : position + 1]
        if char == ",":
            return position + 1
        if char != closing:
            raise self._error(number, f"expected ',' or {closing!r}, got {char or 'the end'!r} in {text!r}")
        return position

    def _quoted(self, text: str, position: int, number: int) -> tuple[str, int]:
        quote = text[position]
        position += 1
        out: list[str] = []
        while position < len(text):
            char = text[position]
            if char == quote:
                if quote == "'" and text[position + 1 : position + 2] == "'":
                    out.append("'")
                    position += 2
                    continue
                return "".join(out), position + 1
            if char == "\\" and quote == '"':
                decoded, position = self._escape(text, position + 1, number)
                out.append(decoded)
                continue
            out.append(char)
            position += 1
        raise self._error(number, f"the quote of {text!r} is opened and never closed")

    def _escape(self, text: str, position: int, number: int) -> tuple[str, int]:
        char = text[position : position + 1]
        if char in _ESCAPES and char:
            return _ESCAPES[char], position + 1
        width = {"x": 2, "u": 4, "U": 8}.get(char, 0)
        digits = text[position + 1 : position + 1 + width]
        if width and re.fullmatch(rf"[0-9a-fA-F]{{{width}}}", digits):
            code = int(digits, 16)
            end = position + 1 + width
            if 0xD800 <= code < 0xDC00 and (low := re.match(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})", text[end:])):
                # JSON writes what is beyond 16 bits as two halves.
                return chr(0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00), end + 6
            if code < 0x110000:
                return chr(code), end
        raise self._error(number, f"unknown escape '\\{char}' in double quotes; write '\\\\' for a backslash")


def _end_of_open_content(text: str) -> int | None:
    """Where the content of a value ends whose quote or bracket is still open; None if all are closed."""
    open_brackets, quote, position = 0, "", 0
    while position < len(text):
        char = text[position]
        if quote == '"' and char == "\\":
            position += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and (not open_brackets or text[position - 1] in " [{,:"):
            quote = char
        elif char in "[{":
            open_brackets += 1
        elif char in "]}":
            open_brackets -= 1
        elif char == "#" and text[position - 1].isspace():
            break
        if not quote and open_brackets <= 0:
            return None
        position += 1
    return position


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _is_comment(text: str) -> bool:
    return text.startswith("#")


def _without_comment(text: str) -> str:
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()


def _fold(lines: list[str]) -> str:
    """Join lines as `>` does: a line break is a space, an empty line is a line break."""
    out = ""
    pending = 0
    for line in lines:
        if not line:
            pending += 1
            continue
        more_indented = line.startswith((" ", "\t"))
        if out and not more_indented and not out.rsplit("\n", 1)[-1].startswith((" ", "\t")):
            out += "\n" * pending if pending else " "
        elif out:
            out += "\n" * (pending + 1)
        else:
            out += "\n" * pending
        out += line
        pending = 0
    return out
