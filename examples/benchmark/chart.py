"""The curves of a load test as one SVG file: success, latencies and throughput over sessions.

In: rows as `load.Summary` has them. Out: text. Nothing but the standard library is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 360, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 40, 44
INK, GRID = "#333", "#ddd"
COLOURS = ("#1b6ca8", "#2e8b57", "#c46210", "#9c2f2f", "#6a4c93")
PANELS: tuple[tuple[str, str, tuple[tuple[str, str, float], ...]], ...] = (
    ("Success", "%", (("success", "success", 100.0),)),
    (
        "Latency",
        "s",
        (
            ("connect p50", "connect_p50_s", 1.0),
            ("reset p50", "reset_p50_s", 1.0),
            ("step p50", "step_p50_s", 1.0),
            ("total p99", "total_p99_s", 1.0),
            ("batch p99", "batch_p99_s", 1.0),
        ),
    ),
    ("Throughput", "steps/s", (("steps/s", "steps_per_s", 1.0),)),
)
"""Title, unit, and (label, key of the row, factor) of each panel's curves."""

Row = Mapping[str, Any]
Place = Callable[[float], float]


def draw(rows: Sequence[Row], title: str) -> str:
    """Three panels side by side, over the number of sessions on a logarithmic axis.

    Args:
        rows: At least one, in the order of their sessions; values that are None leave a gap.
        title: Above all of it.
    """
    width = len(PANELS) * WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT + 30}" '
        f'viewBox="0 0 {width} {HEIGHT + 30}" font-family="sans-serif" font-size="11" fill="{INK}">',
        f'<rect width="{width}" height="{HEIGHT + 30}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, unit, curves) in enumerate(PANELS):
        parts += [
            f'<g transform="translate({number * WIDTH} 24)">',
            *_panel(rows, name, unit, curves),
            "</g>",
        ]
    return "\n".join([*parts, "</svg>", ""])


def _panel(rows: Sequence[Row], name: str, unit: str, curves: Sequence[tuple[str, str, float]]) -> list[str]:
    values = [row[key] * factor for _, key, factor in curves for row in rows if row[key] is not None]
    top = 100.0 if unit == "%" else _round_up(max(values, default=1.0))
    x, y = _x_of(rows), _y_of(top)
    parts = [f'<text x="{LEFT}" y="{TOP - 14}" font-weight="bold">{escape(name)}, {escape(unit)}</text>']
    for tick in range(6):
        value = top * tick / 5
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,.4g}</text>')
    for row in rows:
        place = f'x="{x(row["sessions"]):.1f}" y="{HEIGHT - BOTTOM + 16}"'
        parts.append(f'<text {place} text-anchor="middle">{row["sessions"]:,}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - BOTTOM + 34}" text-anchor="middle">sessions</text>')
    for number, (label, key, factor) in enumerate(curves):
        colour = COLOURS[number]
        points = [(x(row["sessions"]), y(row[key] * factor)) for row in rows if row[key] is not None]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        if len(curves) > 1:
            at = f'x="{LEFT + 8}" y="{TOP + 12 + 14 * number}"'
            parts.append(f'<text {at} fill="{colour}">{escape(label)}</text>')
    return parts


def _x_of(rows: Sequence[Row]) -> Place:
    low, high = math.log(rows[0]["sessions"]), math.log(rows[-1]["sessions"])
    span = WIDTH - RIGHT - LEFT - 40

    def place(sessions: float) -> float:
        share = (math.log(sessions) - low) / (high - low) if high > low else 0.5
        return LEFT + 20 + span * share

    return place


def _y_of(top: float) -> Place:
    span = HEIGHT - BOTTOM - TOP
    return lambda value: TOP + span * (1 - value / top)


def _round_up(value: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten, so that five grid lines have short labels."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999999)
