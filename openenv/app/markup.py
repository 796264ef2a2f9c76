"""HTML that cannot be broken out of: text is escaped unless this module made it.

In: names of elements, attributes and children. Out: `Markup`. It knows nothing about pages.

Reference: https://html.spec.whatwg.org/multipage/syntax.html.
"""

from __future__ import annotations

import re
from html import escape

__all__ = ["Markup", "join", "prose", "tag"]

_VOID = frozenset(("link", "meta", "br", "input"))
_SPAN = re.compile(r"`([^`\n]+)`")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: str | bool | None) -> Markup:
    """An element.

    Args:
        name: Its name, lower case; never from outside.
        *children: Text, which is escaped, or `Markup`; None is left out.
        **attributes: `class_` and `for_` lose their underscore, others become dashes. False and None
            leave an attribute out, True writes its name alone.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    inner = join(children)
    return Markup(f"<{name}{written}>" if name in _VOID else f"<{name}{written}>{inner}</{name}>")


def join(children: object) -> Markup:
    """Several children, one after the other."""
    assert isinstance(children, list | tuple)
    parts = (child if isinstance(child, Markup) else escape(child) for child in children if child is not None)
    return Markup("".join(parts))


def prose(text: str) -> Markup:
    """Text with `code` in backquotes shown as code. Everything else in it stays text."""
    return Markup(_SPAN.sub(lambda found: f"<code>{found[1]}</code>", escape(text)))
