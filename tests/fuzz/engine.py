"""Drivers for the targets: mutation with a seed of its own, hypothesis, or atheris where it is installed.

The mutation engine keeps every input that came to something new (by the target's label) and goes on
from there. It is no match for coverage guidance and needs nothing installed.
"""

from __future__ import annotations

import hashlib
import importlib
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.tokens import TOKENS

Target = Callable[[bytes], str]

CORPUS = Path(__file__).parent / "corpus"
_MAX_BYTES = 4096
_MAX_POOL = 4000


class Finding(Exception):
    """An input for which a target's sentence does not hold; `__cause__` is what was raised."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        super().__init__(repr(data))


class Tally(NamedTuple):
    """How much was tried: runs, and how many different outcomes they had."""

    runs: int
    outcomes: int


def corpus(name: str) -> list[bytes]:
    """The inputs kept for a target, in order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def mutate(data: bytes, other: bytes, tokens: list[bytes], rng: random.Random) -> bytes:
    """One to four small changes; `other` is an input to borrow from."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randint(0, len(changed))
        to = min(len(changed), at + rng.choice((1, 1, 2, 4, 16, 64)))
        kind = rng.randrange(8)
        if kind == 0:
            changed[at:to] = b""
        elif kind == 1:
            changed[at:at] = rng.choice(tokens)
        elif kind == 2:
            changed[at:to] = rng.choice(tokens)
        elif kind == 3:
            changed[at:at] = changed[at:to] * rng.choice((1, 2, 20))
        elif kind == 4:
            start = rng.randint(0, len(other))
            changed[at:to] = other[start : start + rng.choice((1, 4, 16, 64))]
        elif kind == 5:
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 4)))
        elif at < len(changed):
            changed[at] = (
                (changed[at] ^ (1 << rng.randrange(8)))
                if kind == 6
                else rng.choice(b"\x00\n\r 09:;{\x7f\x80\xff")
            )
    return bytes(changed[:_MAX_BYTES])


def run_mutations(
    name: str, target: Target, *, seed: int, runs: int | None = None, seconds: float | None = None
) -> Tally:
    """Try the corpus, then mutations of it, until `runs` inputs or `seconds` of time are spent.

    With the same seed and the same number of runs the same inputs are tried.

    Raises:
        Finding: The sentence of the target does not hold.
    """
    rng = random.Random(seed)
    tokens = TOKENS[name]
    pool = corpus(name)
    seen: set[str] = set()
    done = 0
    for data in pool:
        seen.add(attempt(target, data))
        done += 1
    until = None if seconds is None else time.monotonic() + seconds
    while (runs is None or done < runs) and (until is None or time.monotonic() < until):
        data = mutate(rng.choice(pool), rng.choice(pool), tokens, rng)
        label = attempt(target, data)
        done += 1
        if label not in seen and len(pool) < _MAX_POOL:
            seen.add(label)
            pool.append(data)
    return Tally(done, len(seen))


def attempt(target: Target, data: bytes) -> str:
    """Run the target once, turning whatever it raises into a finding."""
    try:
        return target(data)
    except Exception as error:
        raise Finding(data) from error


def shrink(target: Target, data: bytes) -> bytes:
    """Leave out what is not needed for the target to raise the same kind of error."""
    kind = _error_of(target, data)
    size = len(data) // 2
    while size:
        start = 0
        while start < len(data):
            shorter = data[:start] + data[start + size :]
            if _error_of(target, shorter) is kind:
                data = shorter
            else:
                start += size
        size //= 2
    return data


def _error_of(target: Target, data: bytes) -> type[Exception] | None:
    try:
        target(data)
    except Exception as error:
        return type(error)
    return None


def keep(name: str, data: bytes, folder: Path) -> Path:
    """Write a finding where it can be found again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def run_hypothesis(name: str, target: Target, *, seed: int, runs: int) -> None:
    """Let hypothesis choose the mutations, and shrink what it finds."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    parts = st.one_of(st.sampled_from(corpus(name)), st.sampled_from(TOKENS[name]), st.binary(max_size=8))

    @seeded(seed)
    @settings(max_examples=runs, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(parts, max_size=12).map(b"".join))
    def check(data: bytes) -> None:
        target(data)

    check()


def run_atheris(name: str, target: Target, arguments: list[str]) -> None:
    """Let atheris (coverage-guided) go on until it finds something. Arguments are libFuzzer's."""
    atheris = importlib.import_module("atheris")  # has no types, and need not be installed

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments, str(CORPUS / name)], lambda data: target(data) and None)
    atheris.Fuzz()
