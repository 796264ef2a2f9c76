"""When a dead worker is replaced, and when the server gives up; no process and no clock involved."""

from __future__ import annotations

import pytest

from openenv.server.workers import RestartPolicy


def test_the_first_death_is_mended_almost_at_once() -> None:
    """One crash in an hour is no reason to wait."""
    policy = RestartPolicy(n_workers=4)
    assert policy.died(0.0, was_ready=True, others_serve=True) == pytest.approx(0.05)
    assert policy.died(3600.0, was_ready=True, others_serve=True) == pytest.approx(0.05)


def test_delays_double_up_to_a_limit() -> None:
    """Each round of deaths, one per worker, doubles the wait; it ends at five seconds."""
    policy = RestartPolicy(n_workers=1, max_per_worker=100)
    delays = [policy.died(float(n), was_ready=True, others_serve=False) for n in range(9)]
    assert delays == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


def test_all_workers_dying_together_counts_as_one_round() -> None:
    """A killed container's worth of workers comes back without a queue."""
    policy = RestartPolicy(n_workers=8)
    assert {policy.died(1.0, was_ready=True, others_serve=False) for _ in range(8)} == {0.05}


def test_five_early_deaths_with_nobody_serving_are_a_crash_loop() -> None:
    """Workers that never served will not serve the sixth time either."""
    policy = RestartPolicy(n_workers=2)
    answers = [policy.died(float(n), was_ready=False, others_serve=False) for n in range(5)]
    assert None not in answers[:4]
    assert answers[4] is None


def test_one_that_becomes_ready_starts_the_count_anew() -> None:
    """The row is broken."""
    policy = RestartPolicy(n_workers=2)
    for n in range(4):
        policy.died(float(n), was_ready=False, others_serve=False)
    policy.became_ready()
    assert policy.died(5.0, was_ready=False, others_serve=False) is not None


def test_early_deaths_do_not_end_a_server_that_others_still_carry() -> None:
    """There is something to lose: it is tried again for ever, seldom."""
    policy = RestartPolicy(n_workers=4)
    delays = [policy.died(n * 5.0, was_ready=False, others_serve=True) for n in range(100)]
    assert None not in delays
    assert max(delay for delay in delays if delay is not None) <= 5.0


def test_many_deaths_in_a_minute_are_a_crash_loop_whoever_serves() -> None:
    """Workers that all serve for a moment and die are no service."""
    policy = RestartPolicy(n_workers=2)
    answers = [policy.died(n * 2.0, was_ready=True, others_serve=True) for n in range(20)]
    assert None not in answers[:19]
    assert answers[19] is None
