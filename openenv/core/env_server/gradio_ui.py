"""A Gradio page of an environment, for applications that mount one: under the path that they import it from.

Gradio is their own dependency, imported when a page is built. The page is plain: a form of the action's
fields, buttons for reset, step and state, and what came of them as JSON.
"""

import json
import re
from importlib import import_module
from typing import Any

from openenv.codec import encode
from openenv.core.env_server.page import action_fields as _extract_action_fields
from openenv.core.paths import refusal
from openenv.schema import jsonable

__all__ = ["_extract_action_fields", "build_gradio_app", "get_gradio_display_title"]

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def get_gradio_display_title(metadata: Any, fallback: str = "OpenEnv Environment") -> str:
    """Title of a page about an environment."""
    return f"OpenEnv Agentic Environment: {getattr(metadata, 'name', fallback)}"


def _readme_section(metadata: Any) -> str:
    return _FRONT_MATTER.sub("", getattr(metadata, "readme_content", None) or "")


def _format_observation(data: dict[str, Any]) -> str:
    return f"```json\n{_text(data)}\n```"


def _text(value: Any) -> str:
    return json.dumps(json.loads(encode(value, jsonable)), indent=2)


def build_gradio_app(
    web_manager: Any,
    action_fields: list[dict[str, Any]],
    metadata: Any = None,
    is_chat_env: bool = False,
    title: str = "OpenEnv Environment",
    quick_start_md: str | None = None,
) -> Any:
    """A page as Gradio's Blocks, for `gradio.mount_gradio_app`.

    Args:
        web_manager: A `WebInterfaceManager`, or what has its methods.
        action_fields: The fields of actions, as `_extract_action_fields` gives them.
        metadata: What the environment says about itself.
        is_chat_env: Whether actions are one message; they are one JSON text then.
        title: Of the page, where `metadata` names nothing.
        quick_start_md: Markdown beside the form.

    Raises:
        ImportError: Gradio is not installed.
    """
    gradio = import_module("gradio")
    names = [] if is_chat_env else [each["name"] for each in action_fields]

    async def reset() -> str:
        return _text(await web_manager.reset_environment())

    async def step(*values: Any) -> str:
        given = dict(zip(names, values, strict=True)) if names else json.loads(values[0])
        action = {name: value for name, value in given.items() if value not in (None, "")}
        return _text(await web_manager.step_environment(action))

    with gradio.Blocks(title=get_gradio_display_title(metadata, title)) as blocks:
        gradio.Markdown(_readme_section(metadata) or f"# {getattr(metadata, 'name', title)}")
        if quick_start_md:
            gradio.Markdown(quick_start_md)
        inputs = [_input(gradio, each) for each in action_fields if each["name"] in names]
        inputs = inputs or [gradio.Textbox(label="Action, as JSON")]
        shown = gradio.Code(label="Answer", language="json")
        gradio.Button("Reset").click(reset, None, shown)
        gradio.Button("Step").click(step, inputs, shown)
        gradio.Button("State").click(lambda: _text(web_manager.get_state()), None, shown)
    return blocks


def _input(gradio: Any, about: dict[str, Any]) -> Any:
    said = {"label": about["name"], "info": about["help_text"] or None, "value": about["default_value"]}
    if about["type"] == "select":
        return gradio.Dropdown(about["choices"], **said)
    if about["type"] == "checkbox":
        return gradio.Checkbox(**{**said, "value": bool(about["default_value"])})
    if about["type"] == "number":
        return gradio.Number(**said)
    lines = 5 if about["type"] == "textarea" else 1
    text = about["default_value"]
    return gradio.Textbox(
        lines=lines, **{**said, "value": text if isinstance(text, str | None) else _text(text)}
    )


def __getattr__(name: str) -> Any:
    raise refusal(__name__, name)
