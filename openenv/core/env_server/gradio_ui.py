"""Names of the incumbent's Gradio page: they can be imported, and raise an ImportError when called."""

from typing import Any

from openenv.core.paths import absent, refusal

__all__ = ["build_gradio_app", "get_gradio_display_title"]

build_gradio_app = absent(__name__, "build_gradio_app")
get_gradio_display_title = absent(__name__, "get_gradio_display_title")
_extract_action_fields = absent(__name__, "_extract_action_fields")
_format_observation = absent(__name__, "_format_observation")
_readme_section = absent(__name__, "_readme_section")


def __getattr__(name: str) -> Any:
    raise refusal(__name__, name)
