"""Counting over several slots; what happens over several processes is in `integration/test_workers.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openenv.server.capacity import SharedCapacity


@pytest.fixture
def capacity() -> Iterator[SharedCapacity]:
    """Three places for four workers."""
    made = SharedCapacity(3, n_slots=4)
    yield made
    made.close()


def test_places_are_given_until_there_are_none(capacity: SharedCapacity) -> None:
    """The sum over all slots is what counts."""
    for slot in range(3):
        capacity.enter(slot)
        assert capacity.try_acquire()
    assert not capacity.try_acquire()
    assert capacity.active == 3
    capacity.release()
    assert capacity.try_acquire()


def test_a_dead_workers_places_are_given_back_and_no_others(capacity: SharedCapacity) -> None:
    """Clearing one slot leaves the rest."""
    capacity.enter(0)
    assert capacity.try_acquire()
    capacity.enter(1)
    assert capacity.try_acquire()
    assert capacity.try_acquire()
    capacity.clear(1)
    assert (capacity.active, capacity.held_by(0), capacity.held_by(1)) == (1, 1, 0)


def test_giving_back_what_one_does_not_hold_is_an_error(capacity: SharedCapacity) -> None:
    """A count below zero would let too many in, for ever."""
    capacity.enter(0)
    assert capacity.try_acquire()
    capacity.enter(1)
    with pytest.raises(ValueError, match="release without an acquire"):
        capacity.release()


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["acquire", "release", "die"])), max_size=60))
def test_any_history_keeps_the_sum_within_the_maximum(history: list[tuple[int, str]]) -> None:
    """The count is that of a plain model, and never above the maximum."""
    capacity = SharedCapacity(5, n_slots=4)
    held = [0, 0, 0, 0]
    try:
        for slot, what in history:
            capacity.enter(slot)
            if what == "acquire":
                granted = capacity.try_acquire()
                assert granted == (sum(held) < 5)
                held[slot] += granted
            elif what == "die":
                capacity.clear(slot)
                held[slot] = 0
            elif held[slot]:
                capacity.release()
                held[slot] -= 1
            assert capacity.active == sum(held) <= 5
    finally:
        capacity.close()
