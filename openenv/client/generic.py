"""A client without types: dicts in, dicts out, for any environment, with none of its code here."""

from __future__ import annotations

from typing import Any

from openenv.client.client import EnvClient

__all__ = ["GenericAction", "GenericEnvClient"]


class GenericEnvClient(EnvClient[dict[str, Any], dict[str, Any], dict[str, Any]]):
    """`EnvClient` whose actions, observations and states are dicts.

    ``schema()`` says what an action may hold. Objects of an action class are accepted too.
    """


class GenericAction(dict[str, Any]):
    """A dict of an action's fields, written as keyword arguments: ``GenericAction(message="hi")``."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(fields)

    def __repr__(self) -> str:
        return f"GenericAction({', '.join(f'{name}={value!r}' for name, value in self.items())})"
