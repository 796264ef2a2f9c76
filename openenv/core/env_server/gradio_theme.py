"""Names of the incumbent's Gradio theme: no theme and no CSS, which Gradio takes for its own."""

__all__ = ["OPENENV_GRADIO_CSS", "OPENENV_GRADIO_THEME"]

OPENENV_GRADIO_CSS = ""
OPENENV_GRADIO_THEME = None
