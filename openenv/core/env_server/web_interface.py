"""Names of the incumbent's page at ``/web``, for applications that import them.

Every application of `create_app` has its page at ``/web``, so `create_web_interface_app` is `create_app`.
What applications build pages of their own with is here: the environment that such a page plays with, the
fields of its actions, and a Gradio page of them where Gradio is installed.
"""

from functools import partial
from pathlib import Path
from typing import Any

from openenv.app.app import create_app as create_web_interface_app
from openenv.core.env_server.gradio_theme import OPENENV_GRADIO_CSS, OPENENV_GRADIO_THEME
from openenv.core.env_server.gradio_ui import build_gradio_app, get_gradio_display_title
from openenv.core.env_server.page import (
    ActionLog,
    EpisodeState,
    PagePlay,
    action_fields,
    is_chat,
    quick_start,
)
from openenv.core.env_server.types import EnvironmentMetadata
from openenv.core.paths import refusal

__all__ = [
    "OPENENV_GRADIO_CSS",
    "OPENENV_GRADIO_THEME",
    "ActionLog",
    "EpisodeState",
    "WebInterfaceManager",
    "build_gradio_app",
    "create_web_interface_app",
    "get_gradio_display_title",
    "get_quick_start_markdown",
    "load_environment_metadata",
]

WebInterfaceManager = PagePlay
get_quick_start_markdown = quick_start
_extract_action_fields = action_fields
_is_chat_env = is_chat

_IN_IMAGES = ("/app/env/README.md", "/app/README.md")


def load_environment_metadata(env: Any, env_name: str | None = None) -> Any:
    """What an environment says about itself, for pages of an author's own.

    Args:
        env: An environment, or its class or factory, which is not called.
        env_name: Its name; a README in ``envs/NAME`` below the working directory is read too.
    """
    if isinstance(env, partial):
        env = env.func
    if not isinstance(env, type) and hasattr(env, "get_metadata"):
        return env.get_metadata()
    name = env.__name__ if isinstance(env, type) or not env_name else env_name
    return EnvironmentMetadata(
        name=env_name or name,
        description=f"{name} environment",
        readme_content=_load_readme_from_filesystem(env_name),
        version="1.0.0",
    )


def _load_readme_from_filesystem(env_name: str | None) -> str | None:
    for path in (*([f"envs/{env_name}/README.md"] if env_name else []), *_IN_IMAGES):
        try:
            return Path(path).read_text("utf-8")
        except (OSError, UnicodeError):
            continue
    return None


def __getattr__(name: str) -> Any:
    raise refusal(__name__, name)
