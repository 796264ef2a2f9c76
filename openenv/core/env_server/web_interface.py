"""`create_web_interface_app`: every application of `create_app` has its page at ``/web``.

The incumbent's Gradio page and what it is made of (`WebInterfaceManager`, `build_gradio_app`) are absent.
"""

from typing import Any

from openenv.app.app import create_app as create_web_interface_app
from openenv.core.paths import refusal

__all__ = ["create_web_interface_app"]


def __getattr__(name: str) -> Any:
    raise refusal(__name__, name)
