"""Any ASGI application as an `App`, so that our server serves it.

In: an ASGI 3 callable. Out: an app that leaves every request and WebSocket to it. Where the routes of an
environment were added to it (`HTTPEnvServer.register_routes`), the app that they are of, so that its sessions
are held by our server itself.
"""

from __future__ import annotations

import inspect
from typing import Any

from openenv.app.app import App
from openenv.app.context import Definition
from openenv.app.delegate import app_behind
from openenv.protocol.http11 import Request
from openenv.schema import schema_of
from openenv.session.runner import EnvironmentSpec

__all__ = ["ForeignApp", "is_asgi", "to_app"]


class _Everything:
    """The author's part of an app that is nothing else."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def openapi(self) -> Any:
        """Its own, if it has one."""
        return self.inner.openapi()

    def settle(self) -> None:
        """There is nothing of ours in it."""

    def takes_request(self, request: Request) -> bool:
        """All of them."""
        return True

    def takes_socket(self, path: str) -> bool:
        """All of them."""
        return True


class ForeignApp(App):
    """An ASGI application without an environment of ours.

    Args:
        application: What answers.
    """

    def __init__(self, application: Any) -> None:
        anything = schema_of(dict)
        spec = EnvironmentSpec(factory=_no_environment, action=anything)
        name = getattr(application, "title", None) or getattr(application, "__name__", "application")
        definition = Definition(str(name), spec, anything, anything, anything)
        super().__init__(definition, str(name), None, None)
        self.delegate = _Everything(application)

    @property
    def concurrent(self) -> bool:
        """How many sessions it holds is its own affair."""
        return True


def _no_environment() -> Any:
    raise NotImplementedError("an ASGI application without an environment has no sessions of ours")


def is_asgi(value: Any) -> bool:
    """Whether a value is to all appearances an ASGI 3 application."""
    if isinstance(value, type):
        return False
    call = value if inspect.isroutine(value) else inspect.getattr_static(type(value), "__call__", None)
    if not inspect.iscoroutinefunction(call):
        return False
    names = [name for name in inspect.signature(call).parameters if name != "self"]
    return names[:3] == ["scope", "receive", "send"]


def to_app(application: Any) -> App:
    """The app that serves an ASGI application."""
    return app_behind(application) or ForeignApp(application)
