"""Settings of a Space, as they are typed: `-e NAME=VALUE` and `--secret NAME=VALUE`.

In: words of a command line. Out: names and values. No message holds a value, since it may be a secret.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from openenv.config import environ
from openenv.errors import ConfigurationError

__all__ = ["add_settings", "is_name", "parse_settings"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


_WHENCE = "NAME alone takes its value from the variable here (repeatable)"


def add_settings(
    parser: argparse.ArgumentParser,
    variable_flags: Sequence[str] = ("--env-var", "-e"),
    secret_flags: Sequence[str] = ("--secret",),
) -> None:
    """Add the flags to a command: `env_var` and `secret`, lists of words."""
    for name, flags, what in (
        ("env_var", variable_flags, "public variable"),
        ("secret", secret_flags, "variable that is never shown"),
    ):
        parser.add_argument(
            *flags,
            dest=name,
            metavar="NAME=VALUE",
            action="append",
            default=[],
            help=f"{what}; {_WHENCE}",
        )


def is_name(word: str) -> bool:
    """Whether a Space can have a variable of this name."""
    return _NAME.fullmatch(word) is not None


def parse_settings(words: Sequence[str], flag: str) -> dict[str, str]:
    """Read `K=V` words; `K` alone takes the value of the variable of that name.

    Args:
        words: As typed, later ones first in line.
        flag: For messages, which never hold a value.

    Raises:
        ConfigurationError: A name is none, or there is no such variable.
    """
    settings = {}
    for word in words:
        key, separator, value = word.partition("=")
        key = key.strip()
        if not is_name(key):
            shown = repr(key) if separator else "a word"
            raise ConfigurationError(
                f"expected {flag} NAME=VALUE, got {shown} as the name; names are letters, digits and '_'"
            )
        if not separator:
            value = environ().get(key, "")
            if not value:
                raise ConfigurationError(
                    f"expected {flag} {key}=VALUE, got no value, and there is no variable {key} here to "
                    f"take it from"
                )
        settings[key] = value
    return settings
