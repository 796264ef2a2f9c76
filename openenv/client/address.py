"""Where a server is and what it must be shown: a base URL and headers as one value.

In: what the user typed. Out: host, port, targets and header fields. No I/O, except that the
Hugging Face token is looked up (``config.huggingface_token``) where the host is a Space.

Limits: ``http``, ``https``, ``ws`` and ``wss`` only. Reference: RFC 3986; ``wire.md`` section 1.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, urljoin, urlsplit

from openenv.config import huggingface_token

__all__ = ["Address", "request_headers"]

_SECURE = {"http": False, "ws": False, "https": True, "wss": True}


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and the path under which it answers.

    Attributes:
        secure: Whether it is spoken to over TLS.
        host: Name or address, without brackets, ASCII.
        port: 1 to 65535.
        prefix: Path before every route, percent-encoded, without a trailing slash; mostly empty.
        query: Raw query that every request carries, mostly empty.
        user_info: ``user:password`` of the URL, decoded, or None.
    """

    secure: bool
    host: str
    port: int
    prefix: str = ""
    query: str = ""
    user_info: str | None = None

    @classmethod
    @lru_cache(maxsize=64)
    def parse(cls, base_url: str) -> Address:
        """Read a base URL; a trailing slash means nothing.

        Raises:
            ValueError: It is not a URL of one of the four schemes, with a host.
        """
        parts = urlsplit(base_url.strip())
        if parts.scheme.lower() not in _SECURE or not parts.hostname:
            raise ValueError(
                f"expected a URL like http://localhost:8000 or https://name.hf.space, got {base_url!r}"
            )
        secure = _SECURE[parts.scheme.lower()]
        try:
            port = parts.port or (443 if secure else 80)
            host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
        except ValueError as error:
            raise ValueError(f"{error} in {base_url!r}") from None
        user_info = None
        if parts.username is not None:
            user_info = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        prefix = quote(parts.path.rstrip("/"), safe="/:@!$&'()*+,;=~%-._")
        return cls(secure, host, port, prefix, parts.query, user_info)

    @property
    def authority(self) -> str:
        """The value of ``Host``: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def target(self, path: str, query: str = "") -> str:
        """The request target of a route; ``path`` starts with a slash."""
        joined = "&".join(part for part in (self.query, query) if part)
        return f"{self.prefix}{path}?{joined}" if joined else self.prefix + path

    def url(self, path: str, *, websocket: bool = False) -> str:
        """What a message calls a route. Without user info and query: they may be secrets."""
        scheme = ("wss" if self.secure else "ws") if websocket else ("https" if self.secure else "http")
        return f"{scheme}://{self.authority}{self.prefix}{path}"

    def follow(self, path: str, location: str) -> tuple[Address, str]:
        """Where a redirect of ``path`` leads: the address of that host, and the target there.

        Raises:
            ValueError: It leads to what is not a URL of one of the four schemes.
        """
        parts = urlsplit(urljoin(self.url(path), location))
        root = Address.parse(f"{parts.scheme}://{parts.netloc}")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return root, target


def request_headers(
    address: Address, headers: Mapping[str, str] | None, token: str | None
) -> list[tuple[str, str]]:
    """The header fields that every request to ``address`` carries.

    ``Authorization`` is, in this order: what ``headers`` say, the ``token``, the URL's user info, and,
    for a Space (``https`` on ``*.hf.space``) and for nobody else, the Hugging Face token of this machine.
    """
    fields = list((headers or {}).items())
    names = {name.lower() for name, _ in fields}
    if "user-agent" not in names:
        fields.append(("User-Agent", "openenv-runtime"))
    if "authorization" not in names:
        if token is None and address.user_info is not None:
            fields.append(("Authorization", "Basic " + base64.b64encode(address.user_info.encode()).decode()))
            return fields
        if token is None and address.secure and address.host.lower().endswith(".hf.space"):
            token = huggingface_token()
        if token:
            fields.append(("Authorization", f"Bearer {token}"))
    return fields
