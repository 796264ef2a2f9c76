"""The import paths that existing environments and clients use: thin re-exports, see the README beside this.

Nothing in this package imports from here. A name is loaded with its module when it is first used.
"""

from importlib import import_module
from typing import Any

from openenv.core import env_server, paths

_HOMES = {
    "EnvClient": "env_client",
    "GenericAction": "generic_client",
    "GenericEnvClient": "generic_client",
    "MCPClientBase": "mcp_client",
    "MCPToolClient": "mcp_client",
    "StepResult": "client_types",
    "SyncEnvClient": "sync_client",
    **dict.fromkeys(
        ("AnthropicClient", "LLMClient", "LLMResponse", "OpenAIClient", "ToolCall", "create_llm_client"),
        "llm_client",
    ),
}
_MODULES = frozenset((*_HOMES.values(), "containers", "rubrics", "tools", "utils"))

__all__ = sorted({*_HOMES, *env_server.__all__})

paths.install()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in env_server.__all__:
        value = getattr(env_server, name)
    else:
        raise paths.refusal(__name__, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
