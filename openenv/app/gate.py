"""Who may come in: hosts, origins and the token, looked at before anything else is done with a request.

In: a request's header fields. Out: a refusal, or None. Three questions, each of which keeps out another
stranger:

- *Host.* A server bound to a loopback address answers to loopback names only. Else a stranger's page,
  whose name he lets point at 127.0.0.1 ("DNS rebinding"), talks to it as its own origin.
- *Origin.* A browser says which page asks (RFC 6454, RFC 6455 section 10.2). Another site's page may not
  open a WebSocket nor send a request that changes something. Programs send no origin and are let in.
- *Token.* Where one is set, everything but `/health` and the empty page of `/web` wants it: as
  ``Authorization: Bearer TOKEN``, as the password of Basic authentication (which browsers ask for), or,
  where a browser's WebSocket can send neither, as the subprotocol ``openenv.token.`` + base64url(TOKEN)
  beside ``openenv``. It is compared in constant time.

It knows nothing about sockets, routes' handlers or sessions.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from openenv.app.context import JSON, Response, detail
from openenv.config import Config
from openenv.protocol.http11 import Request

__all__ = ["Gate", "chosen_protocol", "is_loopback"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_HOST = 300  # a name has 253 characters at most (RFC 1035 section 2.3.4), and then there is the port
_TOKEN_PROTOCOL = "openenv.token."


def is_loopback(host: str) -> bool:
    """Whether a host, as one binds to it or as a Host field names it, is this machine and nobody else's."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def chosen_protocol(request: Request) -> str | None:
    """The WebSocket subprotocol to answer with, of those that a client offers."""
    offered = request.header("sec-websocket-protocol")
    if offered is None or "openenv" not in (word.strip() for word in offered.split(",")):
        return None
    return "openenv"


class Gate:
    """Refuses who may not come in.

    Args:
        config: Its `host`, `uds`, `token`, `allow_origin` and `allow_host`.
        open_paths: Paths that want no token.
    """

    def __init__(self, config: Config, open_paths: frozenset[str]) -> None:
        self._token = config.token.encode() if config.token else None
        self._open_paths = open_paths
        self._origins = _words(config.allow_origin)
        self._hosts = _words(config.allow_host)
        # Clients say the same host in all their requests, and taking one apart takes as long as a step.
        self._is_ours = lru_cache(maxsize=64)(self._is_ours_anew)
        self._checks_host = config.uds is None and is_loopback(config.host) and "*" not in self._hosts

    def refusal(self, request: Request) -> Response | None:
        """The response to a request that may not come in; None lets it in."""
        fields = request.table
        host = fields.get("host", "")
        if self._checks_host and host and not (len(host) <= _MAX_HOST and self._is_ours(host)):
            return detail(
                421,
                "This server listens on a loopback address and does not answer to the host "
                f"{_shown(host)}; start it with --allow-host to let it",
            )
        origin = fields.get("origin")
        if (
            origin is not None
            and (request.upgrade or request.method not in _SAFE)
            and not self._may_ask(origin, host, fields.get("x-forwarded-host", ""))
        ):
            return detail(
                403,
                f"Pages of {_shown(origin)} may not use this server; "
                "start it with --allow-origin to let them",
            )
        if self._token is not None and request.path not in self._open_paths and not self._knows(request):
            return detail(401, "This server wants a token: Authorization: Bearer TOKEN", _CHALLENGE)
        return None

    def _is_ours_anew(self, host: str) -> bool:
        name = _name_of(host)
        return is_loopback(name) or name in self._hosts

    def _may_ask(self, origin: str, host: str, forwarded: str) -> bool:
        lowered = origin.lower()
        if "*" in self._origins or lowered in self._origins:
            return True
        # A browser lets no page of another site set X-Forwarded-Host without asking us first.
        asked = urlsplit(lowered).netloc
        return bool(asked) and asked in (host.lower(), forwarded.lower())

    def _knows(self, request: Request) -> bool:
        fields = request.table
        given = [_of_authorization(fields.get("authorization", ""))]
        if request.upgrade:
            given += map(_of_protocol, fields.get("sec-websocket-protocol", "").split(","))
        assert self._token is not None
        return any(hmac.compare_digest(one, self._token) for one in given)


_CHALLENGE = (*JSON, ("www-authenticate", 'Bearer, Basic realm="openenv", charset="UTF-8"'))


def _words(text: str | None) -> frozenset[str]:
    return frozenset(word.strip().rstrip("/").lower() for word in (text or "").split(",") if word.strip())


def _name_of(host: str) -> str:
    """The host of a Host field, without its port; RFC 9110 section 7.2."""
    if host.startswith("["):
        return host.partition("]")[0].strip("[").lower()
    return host.partition(":")[0].lower()


def _shown(text: str) -> str:
    return repr(text[:200])


def _of_authorization(value: str) -> bytes:
    scheme, _, credentials = value.strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode("latin-1")  # the bytes as they came
    if scheme.lower() == "basic":
        return _decoded(credentials.strip(), base64.b64decode).partition(b":")[2]
    return b""


def _of_protocol(value: str) -> bytes:
    word = value.strip()
    if not word.startswith(_TOKEN_PROTOCOL):
        return b""
    text = word.removeprefix(_TOKEN_PROTOCOL)
    return _decoded(text + "=" * (-len(text) % 4), base64.urlsafe_b64decode)


def _decoded(text: str, decode: object) -> bytes:
    try:
        return decode(text)  # type: ignore[operator, no-any-return]
    except (binascii.Error, ValueError):
        return b""
