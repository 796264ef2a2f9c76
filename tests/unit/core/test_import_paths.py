"""The import paths of existing environments and clients: `openenv.core` and its old name."""

from __future__ import annotations

import importlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import openenv
from tests.support.peers import ROOT

NAMES: dict[str, tuple[str, ...]] = {
    "": (
        "Action",
        "Environment",
        "EnvClient",
        "GenericEnvClient",
        "MCPToolClient",
        "SyncEnvClient",
        "create_app",
    ),
    "client_types": ("StepResult",),
    "env_client": ("EnvClient",),
    "generic_client": ("GenericAction", "GenericEnvClient"),
    "sync_client": ("SyncEnvClient",),
    "mcp_client": ("MCPClientBase", "MCPToolClient"),
    "utils": ("convert_to_ws_url", "run_async_safely"),
    "env_server": ("Action", "Environment", "HTTPEnvServer", "MCPEnvironment", "Tool", "create_fastapi_app"),
    "env_server.types": (
        *("Action", "CodeExecResult", "ConcurrencyConfig", "EnvironmentMetadata", "Observation", "State"),
        *("HealthResponse", "ResetRequest", "ServerMode", "StepResponse", "WSErrorCode", "WSIncomingMessage"),
    ),
    "env_server.interfaces": ("Environment", "Message", "ModelTokenizer", "TaskProvider", "Transform"),
    "env_server.http_server": ("HTTPEnvServer", "create_app", "create_fastapi_app"),
    "env_server.mcp_types": ("CallToolAction", "JsonRpcResponse", "ListToolsObservation", "ToolErrorType"),
    "env_server.mcp_environment": ("MCPEnvironment", "get_server_tools"),
    "env_server.serialization": ("deserialize_action", "serialize_observation"),
    "env_server.base_transforms": ("CompositeTransform", "NullTransform"),
    "env_server.exceptions": ("ConcurrencyConfigurationError", "OpenEnvError", "SessionCreationError"),
    "env_server.route_config": ("GetEndpointConfig", "register_get_endpoints"),
    "env_server.web_interface": (
        *("create_web_interface_app", "load_environment_metadata", "WebInterfaceManager"),
        *("build_gradio_app", "get_quick_start_markdown", "OPENENV_GRADIO_CSS", "OPENENV_GRADIO_THEME"),
    ),
    "env_server.gradio_theme": ("OPENENV_GRADIO_CSS", "OPENENV_GRADIO_THEME"),
    "env_server.gradio_ui": ("build_gradio_app", "get_gradio_display_title"),
    "llm_client": ("AnthropicClient", "LLMClient", "LLMResponse", "OpenAIClient", "create_llm_client"),
    "tools": ("GitServerClient", "PyExecutor", "RepoInfo"),
    "tools.git_server_client": ("GitServerClient", "RepoInfo"),
    "containers.runtime": ("LocalDockerProvider", "UVProvider"),
    "containers.runtime.providers": ("ContainerProvider", "RuntimeProvider"),
    "rubrics": ("LLMJudge", "Rubric", "WeightedSum"),
    "rubrics.base": ("Rubric",),
    "rubrics.containers": ("Gate", "RubricDict", "Sequential"),
    "rubrics.trajectory": ("ExponentialDiscountingTrajectoryRubric",),
    "rubrics.llm_judge": ("LLMJudge",),
}
ABSENT = ("harness", "harness.rollout", "evals", "containers.runtime.modal_provider")


@pytest.mark.parametrize("path", NAMES)
def test_a_path_has_its_names(path: str) -> None:
    """Every name that the survey of existing environments found in use."""
    module = importlib.import_module(f"openenv.core.{path}".rstrip("."))
    assert [name for name in NAMES[path] if not hasattr(module, name)] == []


@pytest.mark.parametrize("path", ABSENT)
def test_an_absent_path_says_so(path: str) -> None:
    """Whoever needs it learns why it is not here, and where to read on."""
    with pytest.raises(ImportError, match=r"not in openenv-runtime: .*README"):
        importlib.import_module(f"openenv.core.{path}")


def test_an_absent_name_says_so() -> None:
    """The same of a name in a module that is here."""
    with pytest.raises(ImportError, match="KubernetesProvider in openenv-runtime: providers here are"):
        from openenv.core.containers.runtime import KubernetesProvider  # noqa: F401
    with pytest.raises(ImportError, match="harness in openenv-runtime"):
        from openenv.core import harness  # noqa: F401
    with pytest.raises(ImportError, match=r"no AutoEnv: .* GenericEnvClient\.from_env"):
        from openenv import AutoEnv  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'Nonsense'"):
        from openenv.core import Nonsense  # noqa: F401


def test_the_old_name_is_the_same_package() -> None:
    """A class is one class under both names, however it is imported first."""
    program = """
import openenv.core
import openenv_core
from openenv_core.env_server.types import Action
from openenv_core.env_server import create_app
import openenv_core.client_types
import openenv.core.env_server.types as new
assert Action is new.Action
assert sys.modules["openenv_core.env_server.types"] is new
assert new.__spec__.name == new.__name__ == "openenv.core.env_server.types"
assert openenv_core.client_types.StepResult is openenv.core.StepResult
try:
    import openenv_core.harness
except ImportError as error:
    assert "openenv.core.harness is not in" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", f"import sys{program}"], check=True, cwd=ROOT, timeout=60)


def test_the_file_of_the_old_name_becomes_the_package(tmp_path: object) -> None:
    """The wheel has it at its top; nothing else has been imported then."""
    program = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('openenv_core', 'openenv/core/openenv_core.py')\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['openenv_core'] = module\n"
        "spec.loader.exec_module(module)\n"
        "from openenv_core.env_server.interfaces import Environment\n"
        "import openenv; assert Environment is openenv.Environment\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def test_star_imports_give_the_names() -> None:
    """`from openenv.core import *`, as the incumbent's own package does it."""
    scope: dict[str, object] = {}
    exec("from openenv.core import *\nfrom openenv.core.env_server import *", scope)
    assert scope["Environment"] is openenv.Environment
    assert "MCPToolClient" in scope


def test_an_environments_metadata_is_loaded_for_a_page_of_the_authors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an object what it says itself; of a class or a factory the name and the README."""
    from openenv.core.env_server.web_interface import load_environment_metadata

    class Maze(openenv.Environment):  # type: ignore[type-arg]
        pass

    monkeypatch.chdir(tmp_path)
    readme = tmp_path / "envs" / "maze_env" / "README.md"
    readme.parent.mkdir(parents=True)
    readme.write_text("# Maze")
    said = load_environment_metadata(Maze, "maze_env")
    assert (said.name, said.description, said.readme_content) == ("maze_env", "Maze environment", "# Maze")
    assert load_environment_metadata(partial(Maze)).name == "Maze"
    assert load_environment_metadata(Maze(), "maze_env").name == "Maze"
