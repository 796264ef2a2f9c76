"""`openenv fork SPACE`: copy a Space on the Hub, with settings of one's own.

In: the Space's name and flags. Out: on standard output, where the copy is. The Hub copies by itself; nothing
is downloaded. Secrets are not copied, and the values of those that are given are neither printed nor logged.
"""

from __future__ import annotations

import argparse

from openenv.cli.settings import add_settings, parse_settings
from openenv.errors import ConfigurationError, HubError
from openenv.hub import Hub, check_repo_id

__all__ = ["configure", "run"]

_EPILOG = """\
examples:
  openenv fork openenv/echo-env                              to YOU/echo-env
  openenv fork openenv/echo-env --repo-id me/my-echo --private
  openenv fork openenv/echo-env -e MAX_STEPS=100 --secret API_KEY --hardware t4-medium

Variables are copied, secrets are not: give the copy its own with --secret.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("space", metavar="SPACE", help="namespace/name of the Space to copy")
    add("--repo-id", "-r", metavar="ID", help="namespace/name or name of the copy (default: YOU/name)")
    add("--private", action="store_true", help="make a copy that only you see")
    add("--hardware", "-H", metavar="NAME", help="what the copy runs on (default: cpu-basic, which is free)")
    # The incumbent spells them differently here than for its `push`.
    add_settings(parser, ("--env-var", "-e", "--set-env"), ("--secret", "-s", "--set-secret"))
    add("--debug", action="store_true", help="tracebacks of mistakes")


def run(options: argparse.Namespace) -> int:
    """Copy; gives the exit code."""
    source = check_repo_id(options.space, "SPACE")
    if "/" not in source:
        raise ConfigurationError(f"expected namespace/name as SPACE, got {source!r}; say whose it is")
    target = check_repo_id(options.repo_id) if options.repo_id is not None else source.partition("/")[2]
    variables = parse_settings(options.env_var, "--env-var")
    secrets = parse_settings(options.secret, "--secret")
    hub = Hub(secrets=list(secrets.values()))
    if "/" not in target:
        target = f"{hub.account().name}/{target}"
    if target == source:
        raise ConfigurationError(f"{source} is yours already; name the copy with --repo-id")
    hub.duplicate(
        source,
        target,
        private=options.private,
        hardware=options.hardware,
        variables=variables,
        secrets=secrets,
    )
    copy = hub.find(target)
    if copy is None:
        raise HubError(f"{target} was made and cannot be found; look at {hub.page(target)}")
    print(
        f"""copied {source} to {target}

  Space     {copy.page}
  Web UI    {copy.url}/web
  API docs  {copy.url}/docs
  Health    {copy.url}/health

It is live when the Space has built it, in a minute or two."""
    )
    return 0
