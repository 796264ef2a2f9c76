"""Dates, times and durations in JSON: ISO 8601 texts and Unix times.

In: a decoded JSON value. Out: ``datetime``, ``date``, ``time`` or ``timedelta``, or a Fault whose
text says which part is wrong. This module knows nothing about clocks or the local time zone: a text
without an offset gives an object without one.

Texts are RFC 3339 profiles of ISO 8601 with a few freedoms that existing servers grant: ``T``,
``t``, ``_`` or a space between date and time, seconds left out, ``,`` before the fraction. Numbers
(and texts of digits, for dates) are seconds since 1970, or milliseconds beyond 20,000,000,000, in
UTC. Fractions are cut at the microsecond. Durations are ``P1DT2H``, ``1 day, 02:00:00`` or seconds.

Limits: years 1 to 9999; durations of 999,999,999 days.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

from openenv.validation import LAX, Bounds, Fault, Kind, Run, fault

__all__ = ["DateKind", "DatetimeKind", "TemporalKind", "TimeKind", "TimedeltaKind"]


class _Malformed(Exception):
    """The text or number is no date, time or duration; ``str()`` says why."""


# ---- kinds -------------------------------------------------------------------------------------


class TemporalKind(Kind):
    """What the four kinds share: an object as it is, else a text or number; then the bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def check(self, value: Any, run: Run) -> Any:
        found = self._convert(value, run)
        if self.bounds:
            self.bounds.check(self._like_limits(found), value, _shown)
        return found

    def _like_limits(self, found: Any) -> Any:
        """A time with or without an offset as its limits are, so that the two can be compared."""
        limits = (self.bounds.ge, self.bounds.gt, self.bounds.le, self.bounds.lt)
        zone = next((getattr(limit, "tzinfo", None) for limit in limits if limit is not None), None)
        if (getattr(found, "tzinfo", None) is None) is (zone is None):
            return found
        return found.replace(tzinfo=zone)

    def _convert(self, value: Any, run: Run) -> Any:
        raise NotImplementedError


def _shown(limit: Any) -> str:
    return str(limit.isoformat()) if hasattr(limit, "isoformat") else str(limit)


class DatetimeKind(TemporalKind):
    label = "datetime"

    def _convert(self, value: Any, run: Run) -> Any:
        if isinstance(value, datetime):
            return value
        run.floor(LAX)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day)
        try:
            if _is_number(value):
                return _datetime_of_number(value)
            if isinstance(value, str):
                return _datetime_or_date(value.encode("utf-8", "replace"), value)
        except (_Malformed, ValueError) as error:
            raise _fault("datetime_parsing", "Input should be a valid datetime", value, error) from None
        raise fault("datetime_type", "Input should be a valid datetime", value)


def _datetime_or_date(text: bytes, value: Any) -> datetime:
    """What says why a text is no datetime is the reading as a date."""
    try:
        return _datetime_of_text(text)
    except _Malformed:
        pass
    try:
        day = _date_of_text(text)
    except _Malformed as error:
        words = "Input should be a valid datetime or date"
        raise _fault("datetime_from_date_parsing", words, value, error) from None
    return datetime(day.year, day.month, day.day)


class DateKind(TemporalKind):
    label = "date"

    def _convert(self, value: Any, run: Run) -> Any:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        run.floor(LAX)
        if isinstance(value, str):
            try:
                return _date_of_text(value.encode("utf-8", "replace"))
            except _Malformed:
                pass
            except ValueError as error:
                words = "Input should be a valid date in the format YYYY-MM-DD"
                raise _fault("date_parsing", words, value, error) from None
        return _midnight(value)


def _midnight(value: Any) -> date:
    """The date of a datetime, text or number that falls on midnight."""
    words = "Input should be a valid date or datetime"
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, str):
            moment = _datetime_of_text(value.encode("utf-8", "replace"))
        elif _is_number(value):
            moment = _datetime_of_number(value)
        else:
            raise fault("date_type", "Input should be a valid date", value)
    except _Malformed as error:
        raise _fault("date_from_datetime_parsing", words, value, error) from None
    except ValueError:
        raise _inexact(value) from None
    if moment.time() != time():
        raise _inexact(value)
    return moment.date()


def _inexact(value: Any) -> Fault:
    msg = "Datetimes provided to dates should have zero time - e.g. be exact dates"
    return fault("date_from_datetime_inexact", msg, value)


class TimeKind(TemporalKind):
    label = "time"

    def _convert(self, value: Any, run: Run) -> Any:
        if isinstance(value, time):
            return value
        run.floor(LAX)
        try:
            if _is_number(value):
                return _time_of_number(value)
            if isinstance(value, str):
                return _time_of_text(value.encode("utf-8", "replace"), 0)
        except _Malformed as error:
            raise _fault("time_parsing", "Input should be in a valid time format", value, error) from None
        raise fault("time_type", "Input should be a valid time", value)


class TimedeltaKind(TemporalKind):
    label = "timedelta"

    def _convert(self, value: Any, run: Run) -> Any:
        if isinstance(value, timedelta):
            return value
        run.floor(LAX)
        try:
            if isinstance(value, int | float):
                return _duration_of_number(value)
            if isinstance(value, str):
                return _duration_of_text(value.encode("utf-8", "replace"))
        except _Malformed as error:
            raise _fault("time_delta_parsing", "Input should be a valid timedelta", value, error) from None
        raise fault("time_delta_type", "Input should be a valid timedelta", value)


def _fault(kind: str, words: str, value: Any, error: Exception) -> Fault:
    text = "year 0 is out of range" if isinstance(error, ValueError) else str(error)
    return fault(kind, f"{words}, {text}", value, error=text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# ---- numbers -----------------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds since 1970 up to the year 2603; what lies beyond is taken for milliseconds.
_LAST_IN_SECONDS = 20_000_000_000
_FIRST, _LAST = -62_167_219_200, 253_402_300_799  # 0000-01-01 and 9999-12-31T23:59:59
_MAX_DAYS = 999_999_999


def _parts(value: int | float) -> tuple[int, int]:
    """A number as whole units, rounded down, and millionths, 0 to 1,000,000."""
    if isinstance(value, int):
        return int(value), 0
    if math.isnan(value):
        raise _Malformed("NaN values not permitted")
    if math.isinf(value):
        return (10**18 if value > 0 else -(10**18)), 0
    whole = math.floor(value)
    return whole, round((value - whole) * 1e6)


def _datetime_of_number(value: int | float) -> datetime:
    whole, millionths = _parts(value)
    if abs(value) > _LAST_IN_SECONDS:
        whole, rest = divmod(whole, 1000)
        millionths = rest * 1000 + millionths // 1000
    if whole > _LAST:
        raise _Malformed("dates after 9999 are not supported as unix timestamps")
    if whole < _FIRST:
        raise _Malformed("dates before 0000 are not supported as unix timestamps")
    try:
        return _EPOCH + timedelta(seconds=whole, microseconds=millionths)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _time_of_number(value: int | float) -> time:
    whole, millionths = _parts(value)
    whole, millionths = whole + millionths // 1_000_000, millionths % 1_000_000
    if whole < 0:
        raise _Malformed("time in seconds should be positive")
    if whole >= 86_400:
        raise _Malformed("numeric times may not exceed 86,399 seconds")
    return (_EPOCH + timedelta(seconds=whole, microseconds=millionths)).timetz()


def _duration_of_number(value: int | float) -> timedelta:
    if isinstance(value, float) and math.isnan(value):
        raise _Malformed("NaN values not permitted")
    size = abs(value)
    whole, millionths = _parts(size)
    return _duration(0, whole, millionths, negative=value < 0)


def _duration(days: int, seconds: int, microseconds: int, negative: bool) -> timedelta:
    seconds += microseconds // 1_000_000
    days, seconds = days + seconds // 86_400, seconds % 86_400
    if days > _MAX_DAYS:
        raise _Malformed("durations may not exceed 999,999,999 days")
    length = timedelta(days, seconds, microseconds % 1_000_000)
    try:
        return -length if negative else length
    except OverflowError:
        raise _Malformed("durations may not exceed 999,999,999 days") from None


# ---- texts -------------------------------------------------------------------------------------
# Bytes, as positions in a fault's text count bytes and a digit is one of ten.

_NUMBER = re.compile(rb"([+-]?)([0-9]*)(?:\.([0-9]*))?")


def _two_digits(text: bytes, at: int, what: str) -> int:
    pair = text[at : at + 2]
    if len(pair) < 2 or not pair.isdigit():
        raise _Malformed(f"invalid {what}")
    return int(pair)


def _datetime_of_text(text: bytes) -> datetime:
    try:
        return _rfc3339(text)
    except _Malformed:
        number = _number_of_text(text)
        if number is None:
            raise
        return _datetime_of_number(number)


def _rfc3339(text: bytes) -> datetime:
    year, month, day = _calendar_day(text)
    if len(text) < 11:
        raise _Malformed("input is too short")
    if text[10:11] not in b"Tt_ ":
        raise _Malformed("invalid datetime separator, expected `T`, `t`, `_` or space")
    clock = _time_of_text(text, 11)
    return datetime.combine(date(year, month, day), clock)


def _number_of_text(text: bytes) -> int | float | None:
    """A number of plain digits, no exponent; None if it is none or has more than 64 bits."""
    found = _NUMBER.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        return None
    if found[3] is None:
        number = int(text)
        return number if -(2**63) <= number < 2**63 else None
    return float(text)


def _calendar_day(text: bytes) -> tuple[int, int, int]:
    """Year, month and day at the start of a text, the year from 0."""
    if len(text) < 10:
        raise _Malformed("input is too short")
    if not text[:4].isdigit():
        raise _Malformed("invalid character in year")
    if text[4:5] != b"-":
        raise _Malformed("invalid date separator, expected `-`")
    month = _two_digits(text, 5, "character in month")
    if text[7:8] != b"-":
        raise _Malformed("invalid date separator, expected `-`")
    day = _two_digits(text, 8, "character in day")
    if not 1 <= month <= 12:
        raise _Malformed("month value is outside expected range of 1-12")
    year = int(text[:4])
    if not 1 <= day <= _days_in(year, month):
        raise _Malformed("day value is outside expected range")
    return year, month, day


def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _date_of_text(text: bytes) -> date:
    """A date alone; ValueError for the year 0, which has a form but no object."""
    try:
        year, month, day = _calendar_day(text)
        if len(text) > 10:
            raise _Malformed("unexpected extra characters at the end of the input")
    except _Malformed:
        number = _number_of_text(text)
        if number is None:
            raise
        moment = _datetime_of_number(number)
        if moment.time() != time():
            raise
        return moment.date()
    return date(year, month, day)


def _time_of_text(text: bytes, at: int) -> time:
    """A time with an optional offset, from position `at` to the end."""
    if len(text) - at < 5:
        raise _Malformed("input is too short")
    hour = _two_digits(text, at, "character in hour")
    if text[at + 2 : at + 3] != b":":
        raise _Malformed("invalid time separator, expected `:`")
    minute, second, microsecond, end = _minutes(text, at + 3)
    if hour > 23:
        raise _Malformed("hour value is outside expected range of 0-23")
    zone, at = _offset(text, end)
    if at < len(text):
        raise _Malformed("unexpected extra characters at the end of the input")
    return time(hour, minute, second, microsecond, zone)


def _minutes(text: bytes, at: int) -> tuple[int, int, int, int]:
    """Minute, second and microsecond from ``15:30.5`` at position `at`, and where they end."""
    minute = _two_digits(text, at, "character in minute")
    if minute > 59:
        raise _Malformed("minute value is outside expected range of 0-59")
    return minute, *_seconds(text, at + 2)


def _seconds(text: bytes, at: int) -> tuple[int, int, int]:
    """Seconds and microseconds from ``:30.5`` at position `at`, and where they end; 0 if absent."""
    if text[at : at + 1] != b":":
        return 0, 0, at
    second = _two_digits(text, at + 1, "character in second")
    if second > 59:
        raise _Malformed("second value is outside expected range of 0-59")
    at += 3
    if text[at : at + 1] not in (b".", b","):
        return second, 0, at
    start = at = at + 1
    while text[at : at + 1].isdigit():
        at += 1
    if at == start:
        raise _Malformed("second fraction digits missing after `.`")
    return second, int(text[start : start + 6].ljust(6, b"0")[: at - start].ljust(6, b"0")), at


def _offset(text: bytes, at: int) -> tuple[timezone | None, int]:
    """The UTC offset at position `at`, and where it ends."""
    sign = text[at : at + 1]
    if not sign:
        return None, at
    if sign in b"Zz":
        return UTC, at + 1
    minus = "\N{MINUS SIGN}".encode()
    if text.startswith(minus, at):
        sign, at = b"-", at + len(minus) - 1
    elif sign not in b"+-":
        raise _Malformed("invalid timezone sign")
    hours = _two_digits(text, at + 1, "timezone hour")
    at += 4 if text[at + 3 : at + 4] == b":" else 3
    minutes = _two_digits(text, at, "timezone minute")
    if minutes > 59:
        raise _Malformed("timezone minute value is outside expected range of 0-59")
    length = timedelta(hours=hours, minutes=minutes)
    if length >= timedelta(days=1):
        raise _Malformed("timezone offset must be less than 24 hours")
    return timezone(-length if sign == b"-" else length), at + 2


# ---- durations ---------------------------------------------------------------------------------

_DATE_UNITS = {b"Y": 365 * 86_400, b"M": 30 * 86_400, b"W": 7 * 86_400, b"D": 86_400}
_TIME_UNITS = {b"H": 3_600, b"M": 60, b"S": 1}
_QUANTITY = re.compile(rb"([0-9]+)(?:[.,]([0-9]*))?")
_DAYS = re.compile(rb"([0-9]+)( ?[dD](?:[aA][yY][sS]?)?(?![aA]))?,? ?")


def _duration_of_text(text: bytes) -> timedelta:
    sign = text[:1]
    at = 1 if sign in (b"+", b"-") else 0
    if len(text) == at:
        raise _Malformed("input is too short")
    read: Callable[[bytes, int], tuple[int, int, int]]
    if text[at : at + 1] == b"P":
        read, at = _iso_duration, at + 1
    elif b"d" in text or b"D" in text or len(text) < 5:
        read = _days_and_clock
    else:
        read = _clock
    days, seconds, microseconds = read(text, at)
    return _duration(days, seconds, microseconds, negative=sign == b"-")


def _iso_duration(text: bytes, at: int) -> tuple[int, int, int]:
    """Days, seconds, microseconds of what follows the ``P`` (ISO 8601 section 5.5.2)."""
    units, seconds, microseconds, n_quantities, fraction = _DATE_UNITS, 0, 0, 0, b""
    while at < len(text):
        if text[at : at + 1] == b"T":
            if units is _TIME_UNITS:
                raise _Malformed("`t` character repeated in duration")
            units, at = _TIME_UNITS, at + 1
            continue
        found = _quantity(text, at)
        if fraction:
            raise _Malformed("quantity fraction invalid in duration")
        fraction = found[2] or b""
        scale = units.get(text[found.end() : found.end() + 1])
        if scale is None:
            part = "time" if units is _TIME_UNITS else "date"
            raise _Malformed(f"quantity invalid in {part} part of duration")
        seconds += int(found[1]) * scale
        microseconds += round(float(b"0." + fraction) * scale * 1e6) if fraction else 0
        n_quantities, at = n_quantities + 1, found.end() + 1
    if not n_quantities:
        raise _Malformed("input is too short")
    return 0, seconds, microseconds


def _quantity(text: bytes, at: int) -> re.Match[bytes]:
    found = _QUANTITY.match(text, at)
    if found is None:
        raise _Malformed("invalid digit in duration")
    if int(found[1][:20]) >= 2**32:
        raise _Malformed("a numeric value in the duration is too large")
    return found


def _days_and_clock(text: bytes, at: int) -> tuple[int, int, int]:
    """``1 day``, ``1d``, ``1 days, 02:03:04``."""
    _quantity(text, at)
    found = _DAYS.match(text, at)
    if found is None or found[2] is None:
        raise _Malformed('"day" identifier in duration not correctly formatted')
    days = int(found[1])
    if found.end() == len(text):
        return days, 0, 0
    rest = text[found.end() :]
    if len(rest) < 5:
        raise _Malformed("input is too short")
    _, seconds, microseconds = _clock(rest, 0)
    if seconds >= 86_400:
        raise _Malformed("durations may not exceed 999,999,999 hours")
    return days, seconds, microseconds


def _clock(text: bytes, at: int) -> tuple[int, int, int]:
    """``02:03``, ``02:03:04.5``; the hours may be as many as they like."""
    hours, colon, rest = text[at:].partition(b":")
    if not colon:
        raise _Malformed("invalid character in hour")
    if len(hours) > 10:
        raise _Malformed("durations may not exceed 999,999,999 hours")
    if hours.strip(b"0123456789"):
        raise _Malformed("invalid character in hour")
    if int(hours or b"0") > 24 * 10**8:
        raise _Malformed("durations may not exceed 999,999,999 hours")
    # What lies beyond the microseconds is cut off unread, as for times.
    minute, second, microsecond, end = _minutes(rest[:12], 0)
    if end < len(rest[:12]):
        raise _Malformed("unexpected extra characters at the end of the input")
    return 0, int(hours or b"0") * 3_600 + minute * 60 + second, microsecond
