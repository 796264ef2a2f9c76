"""Programs that environments run for their agents: Python, and git against a Gitea server.

`PyExecutor` is None where smolagents, the environment's own dependency, is not installed.
"""

from openenv.core.tools.git_server_client import GitServerClient, RepoInfo

try:
    from openenv.core.tools.local_python_executor import PyExecutor
except ModuleNotFoundError:
    PyExecutor = None  # type: ignore[assignment,misc]

__all__ = ["GitServerClient", "PyExecutor", "RepoInfo"]
