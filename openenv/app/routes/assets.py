"""Files of `openenv/web` as responses: read once, when first asked for, and sent again only if changed.

In: a file's name. Out: a handler. Reference: RFC 9110 sections 8.8.3 and 13.1.2 (validators),
CSP level 3 (https://www.w3.org/TR/CSP3/).
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from openenv.app.context import Context, Handler, Respond, Response
from openenv.protocol.http11 import Request

__all__ = ["EMBEDDERS", "PAGE_POLICY", "asset", "hash_source", "read", "respond_with"]

FOLDER = Path(__file__).parents[2] / "web"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}

EMBEDDERS = "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
"""Who may show a page of ours in a frame: Spaces are shown in one."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    f"connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; {EMBEDDERS}"
)
"""Content-Security-Policy of pages: nothing inline, nothing from anywhere else."""


# Comments that fill their lines, and indentation: for people, not for browsers. No text in those files
# spans lines, which a test makes sure of.
_FOR_PEOPLE = {
    ".html": re.compile(rb"^[ ]*//[^\n]*\n|^[ ]+|^\n", re.MULTILINE),
    ".css": re.compile(rb"^[ ]*/\*.*?\*/\n|^[ ]+|^\n|(?<=[{;:,])[ ]+|[ ]+(?=[{}])", re.MULTILINE | re.DOTALL),
    ".js": re.compile(rb"^[ ]*/\*\*.*?\*/\n|^[ ]*//[^\n]*\n|^[ ]+|^\n", re.MULTILINE | re.DOTALL),
}
# In a line of a script, spaces around signs. A line with a slash or a backquote in it is left as it is: only
# there can a regular expression, a comment or a template be, so that what else has quotes is a text.
_PLAIN_LINE = re.compile(rb"^[^/`\n]+$", re.MULTILINE)
_TEXT_OR_SIGN = re.compile(rb"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')|[ ]*([=<>!&|?:,;{}()\[\]]+)[ ]*")


@cache
def read(name: str) -> bytes:
    """A file of `openenv/web` as it is sent: without what is there for people to read.

    An edit is seen after a restart.
    """
    suffix = Path(name).suffix
    sent = _FOR_PEOPLE[suffix].sub(b"", (FOLDER / name).read_bytes())
    return _PLAIN_LINE.sub(_squeezed, sent) if suffix == ".js" else sent


def _squeezed(line: re.Match[bytes]) -> bytes:
    return _TEXT_OR_SIGN.sub(lambda found: found[1] or found[2], line[0])


def asset(name: str, policy: str = PAGE_POLICY) -> Handler:
    """A handler that answers with a file.

    Args:
        name: Name in `openenv/web`; its suffix is one of `TYPES`.
        policy: Its Content-Security-Policy.
    """
    content_type = TYPES[Path(name).suffix]

    def serve(context: Context, request: Request, respond: Respond) -> Response:
        return respond_with(request, read(name), content_type, policy)

    return serve


def hash_source(content: bytes) -> str:
    """What a policy says to allow one inline script or style of ours: CSP level 3 section 2.3.1."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


def respond_with(request: Request, body: bytes, content_type: str, policy: str = PAGE_POLICY) -> Response:
    """The response with `body`, or 304 if the client has it already."""
    etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = (
        ("content-type", content_type),
        # Ask each time: a Space that was built anew must not show its old page.
        ("cache-control", "no-cache"),
        ("etag", etag),
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    )
    wanted = ",".join(value for name, value in request.headers if name == "if-none-match")
    known = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
    if etag in known or "*" in known:
        return Response(304, b"", headers[1:])
    return Response(200, body, headers)
