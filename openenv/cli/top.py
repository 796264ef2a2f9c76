"""`openenv top URL`: what a running server does, in a terminal, once a second.

In: the address of a server. Out: a screen of plain text on standard output, made of `/metrics` and `/health`;
into a file or a pipe, one block after the other. Rates and times are those of the last second; times of a
second without steps are those since the server's start. The numbers speak for all workers.

Limits: a quantile is as sharp as the histogram's buckets; within one, values count as evenly spread.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

from openenv.client.address import Address
from openenv.client.blocking import BlockingNetwork
from openenv.client.channel import Options, fetch
from openenv.config import KNOBS, environ
from openenv.errors import ConfigurationError, ConnectError

__all__ = ["Reading", "configure", "parse_metrics", "quantile", "run", "screen"]

_EPILOG = """\
examples:
  openenv top http://localhost:8000
  openenv top https://me-my-env.hf.space --token SECRET
  openenv top http://localhost:8000 --once | grep steps
"""

_EVERY_S = 1.0
_TIMEOUT_S = 10.0
_CLEAR = "\x1b[H\x1b[J"
_STATES = ("starting", "ready", "running", "broken")


class Reading(NamedTuple):
    """What a server said at one moment.

    Attributes:
        taken_at: Monotonic seconds.
        health: What `/health` says, in words.
        values: Every number of `/metrics`, by name and labels as they stand there.
    """

    taken_at: float
    health: str
    values: Mapping[str, float]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("url", metavar="URL", help="base URL of the server")
    parser.add_argument("--once", action="store_true", help="print one screen, of one second, and end")
    parser.add_argument(
        "--token", metavar="TOKEN", help=f"what the server wants (variable {KNOBS['token'].variable})"
    )
    parser.add_argument("--debug", action="store_true", help="tracebacks of mistakes")


def run(options: argparse.Namespace) -> int:
    """Show; gives the exit code."""
    try:
        address = Address.parse(options.url)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    token = options.token or environ().get(KNOBS["token"].variable or "") or None
    network_options = Options(token=token)
    before = _read(address, network_options)
    clear = _CLEAR if sys.stdout.isatty() and not options.once else ""
    try:
        while True:
            time.sleep(_EVERY_S)
            try:
                now = _read(address, network_options)
            except ConnectError as error:
                if options.once:
                    raise
                print(f"{clear}{error}", flush=True)
                continue
            print(clear + screen(address.url(""), before, now), flush=True)
            if options.once:
                return 0
            before = now
    except KeyboardInterrupt:
        return 0


def _read(address: Address, options: Options) -> Reading:
    health = json.loads(_get(address, "/health", options) or "{}")
    text = _get(address, "/metrics", options)
    said = str(health.get("status", "unknown")) if isinstance(health, dict) else "unknown"
    if said != "healthy" and isinstance(health, dict) and "reason" in health:
        said += f": {health['reason']}"
    return Reading(time.monotonic(), said, parse_metrics(text))


def _get(address: Address, path: str, options: Options) -> str:
    network = BlockingNetwork()
    response = network.drive(fetch(network, address, "GET", path, b"", options, _TIMEOUT_S))
    if response.status == 401:
        raise ConfigurationError(f"{address.url(path)} wants a token; give it with --token")
    if response.status != 200:
        raise ConfigurationError(
            f"expected 200 from {address.url(path)}, got {response.status}; is it a server of this runtime?"
        )
    return response.body.decode("utf-8", "replace")


def parse_metrics(text: str) -> dict[str, float]:
    """The numbers of a text in Prometheus' format; lines that are none are left out."""
    values = {}
    for line in text.splitlines():
        name, _, number = line.rpartition(" ")
        if name and not line.startswith("#"):
            try:
                values[name] = float(number)
            except ValueError:
                continue
    return values


def quantile(values: Mapping[str, float], metric: str, q: float) -> float | None:
    """A quantile of a histogram.

    Args:
        values: With the histogram's buckets.
        metric: Its name, `openenv_step_seconds`.
        q: 0..1.

    Returns:
        Seconds; the highest bound where it lies beyond that; None of an empty histogram.
    """
    prefix = f'{metric}_bucket{{le="'
    buckets = sorted(
        (math.inf if bound == "+Inf" else float(bound), count)
        for bound, count in (
            (name[len(prefix) : -2], count) for name, count in values.items() if name.startswith(prefix)
        )
    )
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted = q * buckets[-1][1]
    low, n_below = 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted and count > n_below:
            if bound == math.inf:
                return low
            return low + (bound - low) * (wanted - n_below) / (count - n_below)
        low, n_below = bound, count
    return low


def screen(url: str, before: Reading, now: Reading) -> str:
    """What is shown of two readings, the second later than the first."""
    values = now.values
    since = {name: value - before.values.get(name, 0.0) for name, value in values.items()}
    seconds = max(now.taken_at - before.taken_at, 1e-9)

    def value(name: str) -> int:
        return int(values.get(f"openenv_{name}", 0))

    def rate(name: str) -> float:
        return max(0.0, since.get(f"openenv_{name}", 0.0) / seconds)

    states = {state: value(f'sessions{{state="{state}"}}') for state in _STATES}
    in_states = ", ".join(f"{n} {state}" for state, n in states.items())
    lag_ms = values.get("openenv_loop_lag_seconds", 0.0) * 1e3
    lines = [
        f"{url}  {now.health}",
        f"sessions  {sum(states.values())} of {value('capacity')}: {in_states}; "
        f"{value('waiting_clients')} wait",
        f"opened    {value('sessions_opened_total'):,}, {rate('sessions_opened_total'):,.1f}/s",
        f"steps     {rate('steps_total'):,.1f}/s{_times(values, since, 'step')}; "
        f"{value('steps_total'):,} in all",
        f"resets    {rate('resets_total'):,.1f}/s{_times(values, since, 'reset')}; "
        f"{value('resets_total'):,} in all",
        f"errors    {_errors(values, since)}; {value('deadline_overruns_total'):,} calls too late",
        f"workers   {max(1, value('workers'))}, {value('worker_restarts_total')} gone, "
        f"{value('stuck_workers')} stuck; {value('threads')} threads, {value('connections')} connections, "
        f"loop {lag_ms:.1f} ms late",
    ]
    return "\n".join(lines)


def _times(values: Mapping[str, float], since: Mapping[str, float], name: str) -> str:
    metric = f"openenv_{name}_seconds"
    source = since if since.get(f"{metric}_count", 0) > 0 else values
    median, high = quantile(source, metric, 0.5), quantile(source, metric, 0.99)
    return "" if median is None or high is None else f", p50 {_time(median)}, p99 {_time(high)}"


def _errors(values: Mapping[str, float], since: Mapping[str, float]) -> str:
    prefix = 'openenv_errors_total{code="'
    found = []
    for name, count in values.items():
        if name.startswith(prefix) and count:
            new = int(since.get(name, 0))
            found.append(f"{name[len(prefix) : -2]} {int(count):,}" + (f" (+{new:,})" if new > 0 else ""))
    return ", ".join(found) or "none"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
