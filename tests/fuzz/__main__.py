"""Fuzz one target: `python -m tests.fuzz TARGET [--seconds N | --runs N] [--seed S]`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz.engine import Finding, attempt, keep, run_atheris, run_hypothesis, run_mutations, shrink
from tests.fuzz.targets import TARGETS

FOUND = Path("build/fuzz")


def main() -> int:
    """Exit code 0: nothing found; 1: something was, and is kept in build/fuzz."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--seconds", type=float, metavar="N", help="stop after N seconds (default 30)")
    limit.add_argument("--runs", type=int, metavar="N", help="stop after N inputs")
    parser.add_argument("--seed", type=int, metavar="S", help="repeat the run that printed this seed")
    parser.add_argument("--engine", choices=["mutation", "hypothesis", "atheris"], default="mutation")
    parser.add_argument("--input", type=Path, metavar="FILE", help="try this one input and nothing else")
    options = parser.parse_args()
    names = list(TARGETS) if options.target == "all" else [options.target]
    return max(fuzz(name, options) for name in names)


def fuzz(name: str, options: argparse.Namespace) -> int:
    """Fuzz one target as the options say."""
    target = TARGETS[name]
    seed = int(time.time()) if options.seed is None else options.seed
    print(f"{name}: {target.__doc__}", flush=True)
    try:
        if options.input is not None:
            print(f"  came to: {attempt(target, options.input.read_bytes())}")
        elif options.engine == "atheris":
            run_atheris(
                name, target, [f"-runs={options.runs or -1}", f"-max_total_time={options.seconds or 30:g}"]
            )
        elif options.engine == "hypothesis":
            run_hypothesis(name, target, seed=seed, runs=options.runs or 2000)
        else:
            seconds = 30.0 if options.runs is None and options.seconds is None else options.seconds
            tally = run_mutations(name, target, seed=seed, runs=options.runs, seconds=seconds)
            print(f"  held for {tally.runs:,} inputs with {tally.outcomes:,} outcomes; seed {seed}")
    except Finding as finding:
        traceback.print_exception(finding.__cause__)
        data = shrink(target, finding.data)
        print(
            f"  does not hold for {data!r}\n  kept as {keep(name, data, FOUND)}; seed {seed}", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
