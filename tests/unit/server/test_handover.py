"""What one worker gives another arrives whole."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from openenv.server.capacity import SharedCapacity
from openenv.server.handover import Handover, Neighbours, rescue

pytestmark = pytest.mark.skipif(not Handover.is_possible(), reason="needs Linux's SOCK_SEQPACKET and memfd")


@pytest.fixture
def handover() -> Iterator[Handover]:
    """Two workers' pairs."""
    made = Handover(2)
    yield made
    made.close()


@pytest.fixture
def capacity() -> Iterator[SharedCapacity]:
    """Four places for two workers, of which both serve."""
    made = SharedCapacity(4, n_slots=2)
    for slot in (1, 0):
        made.enter(slot)
        made.serve(True)
    yield made
    made.close()


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 3_000_000])
def test_a_connection_arrives_with_what_was_read_from_it(handover: Handover, size: int) -> None:
    """However much that is."""
    data = os.urandom(size)
    ours, theirs = socket.socketpair()
    assert handover.give(1, ours.fileno(), data, 7)
    ours.close()
    assert list(handover.take(0)) == []
    (given,) = handover.take(1)
    assert (given.data, given.place) == (data, 7)
    given.connection.send(b"hello")
    assert theirs.recv(5) == b"hello"
    given.connection.close()
    theirs.close()


def test_a_worker_that_does_not_take_is_given_no_more(handover: Handover) -> None:
    """The giver serves it itself; nothing is lost, and nothing is left open."""
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair()
    n_given = 0
    while handover.give(0, ours.fileno(), b"x" * 10_000, None):
        n_given += 1
    taken = list(handover.take(0))
    assert len(taken) == n_given > 3
    for given in taken:
        given.connection.close()
    ours.close()
    theirs.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_place_goes_along_and_only_to_the_worker_it_was_taken_for(
    handover: Handover, capacity: SharedCapacity
) -> None:
    """One that was taken for a worker that died meanwhile is no longer there."""
    capacity.enter(0)
    here = Neighbours(capacity, handover)
    capacity.enter(1)
    there = Neighbours(capacity, handover)
    ours, theirs = socket.socketpair()
    for dies in (False, True):
        capacity.enter(0)
        assert capacity.try_acquire()
        slot = here.assign()
        assert slot == 1
        assert here.give(slot, ours.fileno(), b"GET", True)
        if dies:
            capacity.clear(1)
        ((given, has_place),) = there.take()
        assert has_place is not dies
        assert capacity.held_by(1) == (0 if dies else 1)
        given.connection.close()
    ours.close()
    theirs.close()


def test_what_waits_for_a_dead_worker_is_given_to_another(
    handover: Handover, capacity: SharedCapacity
) -> None:
    """The parent does it; the peer notices nothing."""
    ours, theirs = socket.socketpair()
    assert handover.give(1, ours.fileno(), b"GET", 0)
    ours.close()
    capacity.clear(1)
    rescue(capacity, handover, 1)
    (given,) = handover.take(0)
    assert (given.data, given.place) == (b"GET", None)
    given.connection.send(b"x")
    assert theirs.recv(1) == b"x"
    given.connection.close()
    theirs.close()


def test_the_next_session_goes_to_who_holds_fewest(capacity: SharedCapacity) -> None:
    """A worker that drains gets none; a full server gives none."""
    capacity.enter(0)
    assert capacity.assign() == 0
    assert capacity.assign() == 1
    capacity.enter(1)
    capacity.serve(False)
    assert capacity.assign() == 0
    assert capacity.assign() == 0
    assert capacity.assign() is None
    capacity.move(0, 1)
    assert (capacity.held_by(0), capacity.held_by(1), capacity.active) == (2, 2, 4)
