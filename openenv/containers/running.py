"""Starting any provider until it is ready, stopping it, and stopping at exit what nobody stopped.

Providers are told apart by their methods, not by their class: subclasses of other packages' base classes are
as good as ours. What is held here is stopped when the interpreter exits, by the process that started it and
not by its forks.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from openenv.errors import StartError

__all__ = ["hold", "is_container_provider", "release", "start", "stop"]

_held: dict[int, tuple[int, Any]] = {}
"""By id of the provider: the process that started it, and the provider."""


def is_container_provider(provider: Any) -> bool:
    """Whether it has ``start_container`` rather than ``start``."""
    return hasattr(provider, "start_container")


def start(
    provider: Any,
    image: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    wait_timeout_s: float | None = None,
) -> str:
    """Start a provider and wait until it is ready; nothing of it is left if that fails.

    Args:
        provider: A `ContainerProvider`, a `RuntimeProvider`, or something with the methods of one.
        image: For the former; None for one that knows its own.
        arguments: Passed on to ``start_container`` or ``start``.
        wait_timeout_s: Seconds to wait for readiness, > 0; None takes the provider's own default.

    Returns:
        The base URL.

    Raises:
        ProviderError: It could not be done; or whatever else the provider raises.
    """
    if id(provider) in _held:
        raise StartError(
            f"this {type(provider).__name__} already runs a server, and runs one at a time; make another, "
            "or close the client that uses it first"
        )
    given = dict(arguments or {})
    # Held before it is started: an interrupt may come between any two lines.
    hold(provider)
    try:
        wait = {} if wait_timeout_s is None else {"timeout_s": wait_timeout_s}
        base_url: str
        if is_container_provider(provider):
            base_url = provider.start_container(*(() if image is None else (image,)), **given)
            provider.wait_for_ready(base_url, **wait)
        else:
            base_url = provider.start(**given)
            provider.wait_for_ready(**wait)
    except BaseException:
        # Its own failure says more than what stopping it may raise.
        with suppress(Exception):
            stop(provider)
        raise
    return base_url


def stop(provider: Any) -> None:
    """Stop a provider; raises what its method raises, and then it is tried again at exit."""
    (provider.stop_container if is_container_provider(provider) else provider.stop)()
    release(provider)


def hold(provider: Any) -> None:
    """Stop this provider at exit, unless it is released before."""
    _held[id(provider)] = (os.getpid(), provider)


def release(provider: Any) -> None:
    """Forget a provider that has been stopped."""
    _held.pop(id(provider), None)


def _stop_all() -> None:
    for pid, provider in list(_held.values()):
        if pid == os.getpid():
            # One that fails must not keep the others running.
            with suppress(Exception):
                # Sessions that nobody closed are not waited for: exits are to be quick.
                getattr(provider, "stop_at_once", lambda held=provider: stop(held))()


atexit.register(_stop_all)
