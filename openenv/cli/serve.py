"""`openenv serve [TARGET]`: serve an environment until told to stop.

In: a target and flags, made from the table of knobs. Out: the banner on standard output, printed when every
worker is ready and not before; logs on standard error; an exit code.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

from openenv.app.app import App
from openenv.cli.targets import Target, find_target
from openenv.config import KNOBS, Config, Knob, resolve
from openenv.server.logs import configure_logging
from openenv.server.reload import run_reloading
from openenv.server.run import Banner
from openenv.server.run import run as run_server

__all__ = ["configure", "run"]

_EPILOG = """\
examples:
  openenv serve                               the folder you stand in, with its openenv.yaml
  openenv serve examples/echo_env --port 0    a folder, on a free port
  openenv serve my_env.server.app:app         an app, or an Environment class, in a module
  WORKERS=4 openenv serve my_env              variables do what flags do; a flag comes first

A flag comes before its variable, a variable before what the code says, and that before the default.
SIGTERM or Ctrl-C drains, a second one ends at once; SIGHUP reloads the code, one worker at a time.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="module:attribute, a .py file, or a folder with openenv.yaml (default: this folder)",
    )
    for knob in KNOBS.values():
        if knob.flag is None:
            continue
        if knob.kind is bool:
            parser.add_argument(
                knob.flag, dest=knob.name, action="store_const", const=True, help=_help_of(knob)
            )
        else:
            parser.add_argument(knob.flag, dest=knob.name, metavar=_metavar(knob), help=_help_of(knob))


def run(options: argparse.Namespace) -> int:
    """Serve; gives the exit code."""
    flags = {knob.name: getattr(options, knob.name) for knob in KNOBS.values() if knob.flag is not None}
    target = find_target(options.target)

    def settle(app: App | None) -> Config:
        code = {} if app is None else app.settings()
        # The manifest is the folder's own word and code the more particular one; none sets a port today.
        return resolve(flags, code={"port": target.port, **code})

    # Once without the app, because how it is imported and logged is configuration too.
    config = settle(None)
    configure_logging(config.log_level, config.log_format)
    if config.reload:
        config = replace(config, workers=1)
        return run_reloading(
            lambda: _load_for_reload(target, settle), config, target.watched_folders(), _print_banner
        )
    app = target.load()
    return run_server(app, settle(app), reimport=target.reload, announce=_print_banner)


def _load_for_reload(target: Target, settle: Callable[[App | None], Config]) -> tuple[App, Config]:
    app = target.load()
    return app, replace(settle(app), workers=1)


def _print_banner(banner: Banner) -> None:
    # Flushed, because whoever waits for it reads from a pipe.
    print(f"{banner}\nStop with Ctrl-C.", flush=True)


def _metavar(knob: Knob) -> str:
    if knob.choices:
        return "|".join(knob.choices)
    if knob.unit == "seconds":
        return "SECONDS"
    return {int: "N", float: "X", str: "FILE" if "file" in knob.name else knob.name.upper()}[knob.kind]


def _help_of(knob: Knob) -> str:
    notes = []
    if knob.default not in (None, False):
        notes.append(f"default {knob.default:g}" if knob.kind is float else f"default {knob.default}")
    if knob.variable is not None:
        notes.append(f"variable {knob.variable}")
    text = f"{knob.help} ({', '.join(notes)})" if notes else knob.help
    return text.replace("%", "%%")
