"""`openenv top`: what it makes of a server's numbers."""

from __future__ import annotations

from array import array

import pytest

from openenv.app.routes.metrics import render
from openenv.cli.top import Reading, parse_metrics, quantile, screen
from openenv.session.meter import N_CELLS, Meter


def reading(meter: Meter, taken_at: float, health: str = "healthy") -> Reading:
    """What a server with these counts would be read as."""
    meter.settle()
    cells = memoryview(array("q", meter.cells.tolist()))
    return Reading(taken_at, health, parse_metrics(render([cells], [("openenv_capacity", "gauge", "", 8)])))


def test_every_line_that_is_a_number_is_read() -> None:
    """Comments and what is none are passed over."""
    text = '# HELP a b\n# TYPE a counter\na 3\nb{code="X Y"} 1.5\n\nnonsense\nc many\n'
    assert parse_metrics(text) == {"a": 3.0, 'b{code="X Y"}': 1.5}


def test_rates_are_of_the_time_between_two_readings() -> None:
    """And totals are totals."""
    meter = Meter()
    meter.n_steps = 1000
    before = reading(meter, 10.0)
    meter.n_steps += 500
    meter.count("errors.EXECUTION_ERROR", 2)
    meter.show("sessions.ready", 3)
    meter.show("sessions.broken", 1)
    text = screen("http://here", before, reading(meter, 12.0, "degraded: slow"))
    assert "http://here  degraded: slow" in text
    assert "sessions  4 of 8: 0 starting, 3 ready, 0 running, 1 broken; 0 wait" in text
    assert "steps     250.0/s; 1,500 in all" in text
    assert "errors    EXECUTION_ERROR 2 (+2)" in text


def test_times_are_of_the_last_interval_if_it_had_any() -> None:
    """What was slow an hour ago says nothing about now."""
    meter = Meter()
    for _ in range(1000):
        meter.observe("step", 20.0)
    before = reading(meter, 0.0)
    assert "p50 20 s" in screen("x", before, before)
    for _ in range(100):
        meter.observe("step", 0.003)
    line = next(
        row for row in screen("x", before, reading(meter, 1.0)).splitlines() if row.startswith("steps")
    )
    assert "p50 3.75 ms, p99 4.98 ms" in line


@pytest.mark.parametrize(
    ("times", "q", "expected"),
    [
        ([], 0.5, None),
        ([0.05], 0.5, 0.0375),
        ([0.0001] * 99 + [0.05], 0.5, 0.0001 * 50 / 99),
        ([0.0001] * 99 + [0.05], 1.0, 0.05),
        ([1000.0], 0.99, 60.0),
    ],
)
def test_a_quantile_lies_within_its_bucket(times: list[float], q: float, expected: float | None) -> None:
    """Evenly spread in it; beyond the last bound nothing is known but that bound."""
    meter = Meter(memoryview(array("q", bytes(8 * N_CELLS))))
    for seconds in times:
        meter.observe("step", seconds)
    found = quantile(reading(meter, 0.0).values, "openenv_step_seconds", q)
    assert found == (None if expected is None else pytest.approx(expected))
