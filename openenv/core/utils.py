"""Three small functions that existing code imports from here."""

import re
from collections.abc import Coroutine
from typing import Any, TypeVar

from openenv.mcp import run_to_end

__all__ = ["convert_to_ws_url", "hf_space_subdomain", "run_async_safely"]

T = TypeVar("T")


def run_async_safely(coro: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from plain code, whether or not a loop runs in this thread."""
    return run_to_end(coro)


def convert_to_ws_url(url: str) -> str:
    """The WebSocket URL of an HTTP one; a text without a scheme counts as a host."""
    scheme, separator, rest = url.rstrip("/").partition("://")
    if not separator:
        return f"ws://{scheme}"
    return {"http": "ws", "https": "wss"}.get(scheme, scheme) + f"://{rest}"


def hf_space_subdomain(repo_id: str) -> str:
    """The first label of the host that serves a Space, such as ``owner-name`` of ``owner/name``."""
    return re.sub(r"[^a-z0-9]", "-", repo_id.lower())
