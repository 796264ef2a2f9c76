"""Dates, times and durations in JSON: ISO 8601 texts and numbers of seconds.

In: a decoded JSON value. Out: ``datetime``, ``date``, ``time`` or ``timedelta``.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from openenv.validation import LAX, Bounds, Kind, Run, fault

__all__ = ["DateKind", "DatetimeKind", "TimeKind", "TimedeltaKind"]


class DatetimeKind(Kind):
    label = "datetime"

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, datetime):
            return value
        run.floor(LAX)
        if not isinstance(value, str):
            raise fault("datetime_type", "Input should be a valid datetime", value)
        try:
            return datetime.fromisoformat(value)
        except ValueError as error:
            raise fault(
                "datetime_parsing", f"Input should be a valid datetime, {error}", value, error=str(error)
            ) from error


class DateKind(Kind):
    label = "date"

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, date):
            return value
        run.floor(LAX)
        return date.fromisoformat(value)


class TimeKind(Kind):
    label = "time"

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, time):
            return value
        run.floor(LAX)
        return time.fromisoformat(value)


class TimedeltaKind(Kind):
    label = "timedelta"

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, timedelta):
            return value
        run.floor(LAX)
        return timedelta(seconds=value)
