"""`/metrics`: what the whole server counts, in Prometheus' text format 0.0.4.

The numbers are the sums over all workers; those of workers that are gone are kept. Reference:
https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

from collections.abc import Iterator

from openenv.app.context import Context, Respond, Response
from openenv.protocol.http11 import Request
from openenv.session.meter import BOUNDS_S, COUNTERS, GAUGES, HISTOGRAMS, N_CELLS

__all__ = ["metrics", "render"]

_LOOKED_AT = GAUGES["looked_at_ms"]
_TEXT = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)

# name of the cells -> (name of the metric, its label, what it says); a name before a dot stands for all
# cells that begin with it, and the part after the dot is the label's value.
_SAID = {
    "sessions_opened": ("sessions_opened_total", "", "Sessions ever opened"),
    "sessions_closed": ("sessions_closed_total", "", "Sessions ever closed"),
    "sessions_expired": ("sessions_expired_total", "", "Sessions closed because nobody spoke to them"),
    "steps": ("steps_total", "", "Steps taken over sessions"),
    "resets": ("resets_total", "", "Resets made over sessions"),
    "received_bytes": ("received_bytes_total", "", "Bytes received from WebSocket clients"),
    "sent_bytes": ("sent_bytes_total", "", "Bytes sent to WebSocket clients"),
    "overruns": ("deadline_overruns_total", "", "Calls that overran their deadline"),
    "errors": ("errors_total", "code", "Error replies over WebSocket, by code"),
    "responses": ("http_responses_total", "class", "HTTP responses, by class of status"),
    "sessions": ("sessions", "state", "Sessions that are open, by state"),
    "waiting": ("waiting_clients", "", "Clients that wait for a session"),
    "connections": ("connections", "", "Open connections"),
    "threads": ("threads", "", "Threads of the workers"),
    "loop_lag_us": ("loop_lag_seconds", "", "How late the busiest worker's event loop ran at its last look"),
    "stuck": ("stuck_workers", "", "Workers of which no session works any more"),
    "looked_at_ms": ("", "", ""),  # for `server.health` alone
    "step": ("step_seconds", "", "Time that a step took, its wait for a thread included"),
    "reset": ("reset_seconds", "", "Time that a reset took, its wait for a thread included"),
    "factory": ("factory_seconds", "", "Time that making an environment took"),
    "wait": ("capacity_wait_seconds", "", "Time that clients waited for a session"),
}


def metrics(context: Context, request: Request, respond: Respond) -> Response:
    """All counters, gauges and histograms of the server."""
    context.pool.show()
    rows = context.rows()
    extra = [
        ("openenv_capacity", "gauge", "Sessions that the server may hold", context.capacity.maximum),
        ("openenv_workers", "gauge", "Workers that serve", max(1, sum(row[_LOOKED_AT] > 0 for row in rows))),
        ("openenv_worker_restarts_total", "counter", "Workers that are gone", context.n_gone()),
    ]
    return Response(200, render(rows, extra).encode(), _TEXT)


def render(rows: list[memoryview], extra: list[tuple[str, str, str, int]]) -> str:
    """The text of the sums over rows of cells, and of further (name, kind, what it says, value)."""
    sums = [sum(row[index] for row in rows) for index in range(N_CELLS)]
    lag = GAUGES["loop_lag_us"]
    sums[lag] = max(row[lag] for row in rows)
    lines: list[str] = []
    for name, kind, said, value in extra:
        lines += [f"# HELP {name} {said}", f"# TYPE {name} {kind}", f"{name} {value}"]
    lines += _plain(sums, COUNTERS, "counter")
    lines += _plain(sums, GAUGES, "gauge")
    for name, first in HISTOGRAMS.items():
        lines += _histogram(name, sums[first : first + len(BOUNDS_S) + 2])
    return "\n".join(lines) + "\n"


def _plain(sums: list[int], cells: dict[str, int], kind: str) -> Iterator[str]:
    last = ""
    for name, index in cells.items():
        family, _, label_value = name.partition(".")
        metric, label, said = _SAID[family]
        if not metric:
            continue
        if family != last:
            last = family
            yield f"# HELP openenv_{metric} {said}"
            yield f"# TYPE openenv_{metric} {kind}"
        labels = f'{{{label}="{label_value}"}}' if label else ""
        value: float = sums[index] / 1e6 if name.endswith("_us") else sums[index]
        yield f"openenv_{metric}{labels} {value}"


def _histogram(name: str, cells: list[int]) -> Iterator[str]:
    metric, _, said = _SAID[name]
    yield f"# HELP openenv_{metric} {said}"
    yield f"# TYPE openenv_{metric} histogram"
    total = 0
    for bound, n_values in zip((*map(repr, BOUNDS_S), "+Inf"), cells[:-1], strict=True):
        total += n_values
        yield f'openenv_{metric}_bucket{{le="{bound}"}} {total}'
    yield f"openenv_{metric}_sum {cells[-1] / 1e6}"
    yield f"openenv_{metric}_count {total}"
