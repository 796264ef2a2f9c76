"""Making applications, under the path that existing environments import it from.

The incumbent's module also holds what it imports itself, and existing code takes it from there: the messages'
classes, the functions of `serialization`. They are found here as well. `serialize_observation` may be
replaced by assignment, as existing code does that wants its metadata elsewhere: the servers of this process
then send what the author's function gives.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from openenv.app.app import create_app
from openenv.app.registration import HTTPEnvServer, create_fastapi_app
from openenv.codec import decode, encode
from openenv.core.env_server.serialization import serialize_observation
from openenv.schema import DumpedObservation, dump_observations_with, jsonable

__all__ = ["HTTPEnvServer", "create_app", "create_fastapi_app", "serialize_observation"]

_OURS = serialize_observation
_ELSEWHERE = (
    *("types", "mcp_types", "mcp_environment", "interfaces", "serialization"),
    *("route_config", "exceptions"),
)


def _make_json_serializable(obj: Any) -> Any:
    return decode(encode(obj, jsonable))


def _taken_apart(serialize: Callable[[Any], Mapping[str, Any]]) -> Callable[[Any], DumpedObservation]:
    def dump(observation: Any) -> DumpedObservation:
        payload = serialize(observation)
        metadata = payload.get("metadata")
        return payload["observation"], payload.get("reward"), payload.get("done", False), metadata or None

    return dump


class _Module(ModuleType):
    """This module, which notices that a name of it is replaced."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "serialize_observation":
            dump_observations_with(None if value is _OURS else _taken_apart(value))
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        for module in _ELSEWHERE:
            value = getattr(import_module(f"openenv.core.env_server.{module}"), name, None)
            if value is not None:
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


sys.modules[__name__].__class__ = _Module
