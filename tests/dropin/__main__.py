"""`bin/dropin FOLDER...`: play environments under the incumbent and under us, and show what differs.

A folder is an environment (it has `openenv.yaml`) or holds some. Exit code 0 only when nothing differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.dropin.compare import Report, compare_all, find_environments


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="bin/dropin", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path)
    parser.add_argument("--from", dest="base", type=Path, default=Path.cwd(), help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=8, help="actions for each environment (default 8)")
    parser.add_argument("--seed", type=int, default=7, help="seed of resets and actions (default 7)")
    parser.add_argument("--uvicorn", action="store_true", help="serve ours with uvicorn too")
    parser.add_argument(
        "--verbose", action="store_true", help="show the servers' logs where something differs"
    )
    options = parser.parse_args(arguments)
    folders = find_environments([options.base / folder for folder in options.folders])
    if not folders:
        print("no environments found: expected folders with openenv.yaml", file=sys.stderr)
        return 2
    ways = ("openenv", "uvicorn") if options.uvicorn else ("openenv",)
    n_different = 0
    for report in compare_all(folders, options.steps, options.seed, ways):
        n_different += bool(report.differences)
        print(_line(report), flush=True)
        if report.differences and options.verbose:
            print(report.logs)
    print(f"{len(folders)} environments, {n_different} of them differ")
    return 1 if n_different else 0


def _line(report: Report) -> str:
    first = f"{report.name:28} {report.n_asked:4} asked  "
    if not report.differences:
        return first + "same"
    return "\n    ".join([first + f"{len(report.differences)} differ", *report.differences])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
