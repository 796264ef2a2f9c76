"""A short bounded run of every fuzz target, and of the driver itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.engine import Finding, corpus, keep, mutate, run_hypothesis, run_mutations, shrink
from tests.fuzz.targets import TARGETS
from tests.fuzz.tokens import TOKENS

_each = pytest.mark.parametrize("name", list(TARGETS))


@_each
def test_the_promise_holds_for_the_corpus(name: str) -> None:
    """Inputs kept on purpose, with at least half of them coming to something different."""
    inputs = corpus(name)
    assert len({TARGETS[name](data) for data in inputs}) > len(inputs) // 2 > 1


@_each
@pytest.mark.parametrize("seed", [1, 2])
def test_the_promise_holds_for_mutations(name: str, seed: int) -> None:
    """The same 1,200 inputs every time, so that a failure here is nobody's bad luck."""
    tally = run_mutations(name, TARGETS[name], seed=seed, runs=1200)
    assert tally.runs == 1200
    assert tally.outcomes > 15


@_each
def test_the_promise_holds_for_what_hypothesis_builds(name: str) -> None:
    """Another way of putting the same parts together."""
    run_hypothesis(name, TARGETS[name], seed=1, runs=150)


def _fails_on_a_and_b(data: bytes) -> str:
    if b"a" in data and b"b" in data:
        raise KeyError("both")
    return "fine"


def test_a_broken_promise_is_found_shrunk_and_kept(tmp_path: Path) -> None:
    """The driver is tested on a target that is known to be wrong."""
    with pytest.raises(Finding) as caught:
        run_mutations("http11", _fails_on_a_and_b, seed=1, runs=5000)
    assert isinstance(caught.value.__cause__, KeyError)
    data = shrink(_fails_on_a_and_b, caught.value.data)
    assert sorted(data) == sorted(b"ab")
    assert keep("http11", data, tmp_path / "found").read_bytes() == data


def test_mutations_repeat_with_their_seed() -> None:
    """What a seed found, it finds again."""

    def some() -> list[bytes]:
        rng = random.Random(3)
        return [mutate(b"GET / HTTP/1.1\r\n", b"other", TOKENS["http11"], rng) for _ in range(50)]

    assert some() == some()
    assert len(set(some())) > 40
