"""JSON values to Python values: what each kind of type accepts, and what it says when it does not.

In: one decoded JSON value. Out: the value a field of that type holds, or a :class:`Fault` with
every fault found. A :class:`Kind` is one type; kinds form a tree and keep no state between values,
so threads may share them. This module knows nothing about annotations (``kinds`` builds the trees),
JSON Schema or messages.

Values are converted as existing clients expect: ``"3"``, ``3.0`` and ``true`` are an int, ``3.5``
is not; a text is never made from a number. In a union the member that fits best wins: exactly,
then without loss, then by conversion; the first one among equals.

Reference: the conversion table of pydantic 2 (lax mode, Python input), with whose validators
``tests/conformance/test_pydantic_parity.py`` compares every kind.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

__all__ = [
    "AnyKind",
    "BoolKind",
    "Bounds",
    "BytesKind",
    "DecimalKind",
    "EnumKind",
    "Fault",
    "FloatKind",
    "InstanceKind",
    "IntKind",
    "Kind",
    "Lengths",
    "LiteralKind",
    "NoneKind",
    "PathKind",
    "Run",
    "StrKind",
    "UUIDKind",
    "fault",
    "hashable",
    "not_instance",
    "place_of",
    "too_long",
]

EXACT, STRICT, LAX = 2, 1, 0

Line = dict[str, Any]


class Fault(Exception):
    """A value does not fit. Never leaves this package: `schema` makes a SchemaError of it.

    Args:
        lines: One ``{type, loc, msg, input, ctx?}`` per fault; ``loc`` is a list.
    """

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        super().__init__()

    def at(self, *place: Any) -> list[Line]:
        """The lines, seen from `place` further out."""
        for line in self.lines:
            line["loc"][:0] = place
        return self.lines


def fault(kind: str, msg: str, value: Any, **ctx: Any) -> Fault:
    """One fault at the value itself."""
    line: Line = {"type": kind, "loc": [], "msg": msg, "input": value}
    if ctx:
        line["ctx"] = ctx
    return Fault([line])


class Run:
    """How well the value being checked has fitted so far; unions choose by it.

    Attributes:
        exactness: 2 exactly the type, 1 without loss, 0 converted.
        n_fields: Fields that were given, over all records; None where there was no record.
    """

    __slots__ = ("exactness", "n_fields")

    def __init__(self) -> None:
        self.exactness = EXACT
        self.n_fields: int | None = None

    def floor(self, exactness: int) -> None:
        """Note that the fit is no better than `exactness`."""
        if exactness < self.exactness:
            self.exactness = exactness

    def count(self, n_fields: int) -> None:
        """Note that a record was given `n_fields` fields."""
        self.n_fields = n_fields + (self.n_fields or 0)


class Kind:
    """One type: what it accepts.

    Attributes:
        label: Its name in the ``loc`` of a union's faults.
    """

    label: str = "any"

    def check(self, value: Any, run: Run) -> Any:
        """Give the value as this type.

        Raises:
            Fault: It does not fit; every fault inside it is listed.
        """
        raise NotImplementedError

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        """A Python expression, true only where `check` would give the variable `name` back as it is.

        None where there is no cheap one. `constants` takes the objects that the expression names.
        """
        return None


class Bounds:
    """Lower and upper limits of a value that has an order; None where there is none."""

    __slots__ = ("ge", "gt", "le", "lt")

    def __init__(self, ge: Any = None, gt: Any = None, le: Any = None, lt: Any = None) -> None:
        self.ge, self.gt, self.le, self.lt = ge, gt, le, lt

    def __bool__(self) -> bool:
        return not (self.ge is None and self.gt is None and self.le is None and self.lt is None)

    def check(self, value: Any, given: Any, show: Callable[[Any], Any]) -> None:
        """Raise the first limit that `value` breaks; `given` is what the peer sent."""
        if self.le is not None and not value <= self.le:
            raise _bound("less_than_equal", "less than or equal to", "le", show(self.le), given)
        if self.lt is not None and not value < self.lt:
            raise _bound("less_than", "less than", "lt", show(self.lt), given)
        if self.ge is not None and not value >= self.ge:
            raise _bound("greater_than_equal", "greater than or equal to", "ge", show(self.ge), given)
        if self.gt is not None and not value > self.gt:
            raise _bound("greater_than", "greater than", "gt", show(self.gt), given)

    def guard(self, name: str) -> str:
        """The same as an expression over plain numbers."""
        limits = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        return "".join(f" and {name} {sign} {limit!r}" for sign, limit in limits if limit is not None)


def _bound(kind: str, words: str, key: str, limit: Any, given: Any) -> Fault:
    return fault(kind, f"Input should be {words} {_bare(limit)}", given, **{key: limit})


def _bare(limit: Any) -> str:
    """A limit in a sentence: whole floats without their fraction."""
    if isinstance(limit, float) and limit.is_integer() and abs(limit) < 1e16:
        return str(int(limit))
    return str(limit)


class Lengths:
    """Fewest and most items; None where there is no limit."""

    __slots__ = ("longest", "shortest")

    def __init__(self, shortest: int | None = None, longest: int | None = None) -> None:
        self.shortest, self.longest = shortest, longest

    def __bool__(self) -> bool:
        return self.shortest is not None or self.longest is not None

    def check(self, n: int, given: Any, name: str) -> None:
        """Raise if a container called `name` with `n` items is too short or too long."""
        if self.shortest is not None and n < self.shortest:
            raise fault(
                "too_short",
                f"{name} should have at least {_count(self.shortest, 'item')} after validation, not {n}",
                given,
                field_type=name,
                min_length=self.shortest,
                actual_length=n,
            )
        if self.longest is not None and n > self.longest:
            raise too_long(name, self.longest, None, given)


def too_long(name: str, longest: int, n: int | None, given: Any) -> Fault:
    """The fault of a container called `name` with `n` items (None: not counted) of `longest` allowed."""
    return fault(
        "too_long",
        f"{name} should have at most {_count(longest, 'item')} after validation, not {n or 'more'}",
        given,
        field_type=name,
        max_length=longest,
        actual_length=n,
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _same(value: Any) -> Any:
    return value


class AnyKind(Kind):
    """Everything, as it is."""

    def check(self, value: Any, run: Run) -> Any:
        run.floor(LAX)
        return value

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        return "True"


class NoneKind(Kind):
    label = "none"

    def check(self, value: Any, run: Run) -> Any:
        if value is None:
            return None
        raise fault("none_required", "Input should be None", value)

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        return f"{name} is None"


class BoolKind(Kind):
    label = "bool"

    def check(self, value: Any, run: Run) -> Any:
        if value is True or value is False:
            return value
        run.floor(LAX)
        if isinstance(value, str):
            meant = _BOOL_WORDS.get(value.lower())
        elif isinstance(value, int | float) and abs(value) < 2**63 and value == int(value):
            meant = {0: False, 1: True}.get(int(value))
        else:
            raise fault("bool_type", "Input should be a valid boolean", value)
        if meant is None:
            raise fault("bool_parsing", "Input should be a valid boolean, unable to interpret input", value)
        return meant

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        return f"{name}.__class__ is bool"


_BOOL_WORDS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}


class IntKind(Kind):
    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.label = "constrained-int" if bounds else "int"

    def check(self, value: Any, run: Run) -> Any:
        number = value if value.__class__ is int else _to_int(value, run)
        if self.bounds:
            self.bounds.check(number, value, _same)
        return number

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        return f"{name}.__class__ is int{self.bounds.guard(name)}"


_INTEGER_TEXT = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*(?:\.0+)?")
_MAX_INTEGER_TEXT = 4300  # the interpreter's own limit for int(text)


def _to_int(value: Any, run: Run) -> int:
    if isinstance(value, int):
        run.floor(LAX if isinstance(value, bool) else STRICT)
        return int(value)
    run.floor(LAX)
    if isinstance(value, float):
        return _whole(value)
    if isinstance(value, str):
        return _int_of_text(value)
    raise fault("int_type", "Input should be a valid integer", value)


def _whole(value: float) -> int:
    if not math.isfinite(value):
        raise fault("finite_number", "Input should be a finite number", value)
    if not value.is_integer():
        raise fault(
            "int_from_float", "Input should be a valid integer, got a number with a fractional part", value
        )
    if abs(value) >= 2.0**63:
        raise _int_too_long(value)
    return int(value)


def _int_of_text(value: str) -> int:
    text = value.strip()
    if _INTEGER_TEXT.fullmatch(text) is None:
        raise fault(
            "int_parsing", "Input should be a valid integer, unable to parse string as an integer", value
        )
    if len(text) > _MAX_INTEGER_TEXT:
        raise _int_too_long(value)
    return int(text.partition(".")[0])


def _int_too_long(value: Any) -> Fault:
    return fault(
        "int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size", value
    )


class FloatKind(Kind):
    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.label = "constrained-float" if bounds else "float"

    def check(self, value: Any, run: Run) -> Any:
        number = value if value.__class__ is float else _to_float(value, run)
        if self.bounds:
            self.bounds.check(number, value, float)
        return number

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        return f"{name}.__class__ is float{self.bounds.guard(name)}"


def _to_float(value: Any, run: Run) -> float:
    run.floor(STRICT if isinstance(value, int | float) and not isinstance(value, bool) else LAX)
    try:
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            # float() takes the digits of every script, the reference only ASCII's.
            return float(value if value.strip().isascii() else "")
    except OverflowError:
        pass
    except ValueError:
        raise fault(
            "float_parsing", "Input should be a valid number, unable to parse string as a number", value
        ) from None
    raise fault("float_type", "Input should be a valid number", value)


class DecimalKind(Kind):
    label = "decimal"

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def check(self, value: Any, run: Run) -> Any:
        number = value if isinstance(value, Decimal) else _to_decimal(value, run)
        if not number.is_finite():
            raise fault("finite_number", "Input should be a finite number", value)
        if self.bounds:
            self.bounds.check(number, value, lambda limit: Decimal(str(limit)))
        return number


def _to_decimal(value: Any, run: Run) -> Decimal:
    run.floor(LAX)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fault(
            "decimal_type", "Decimal input should be an integer, float, string or Decimal object", value
        )
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        raise fault("decimal_parsing", "Input should be a valid decimal", value) from None


class StrKind(Kind):
    """Text; lengths are in characters (code points)."""

    def __init__(self, lengths: Lengths, pattern: str | None) -> None:
        self.lengths, self.pattern = lengths, pattern
        self.label = "constrained-str" if lengths or pattern is not None else "str"
        self._matches = None if pattern is None else re.compile(_anchored(pattern)).search

    def check(self, value: Any, run: Run) -> Any:
        if value.__class__ is not str:
            if not isinstance(value, str) or isinstance(value, Enum):
                raise fault("string_type", "Input should be a valid string", value)
            run.floor(STRICT)
            value = str(value)
        if self.lengths:
            self._check_length(value)
        if self._matches is not None and self._matches(value) is None:
            raise fault(
                "string_pattern_mismatch",
                f"String should match pattern '{self.pattern}'",
                value,
                pattern=self.pattern,
            )
        return value

    def _check_length(self, value: str) -> None:
        shortest, longest = self.lengths.shortest, self.lengths.longest
        if shortest is not None and len(value) < shortest:
            msg = f"String should have at least {_count(shortest, 'character')}"
            raise fault("string_too_short", msg, value, min_length=shortest)
        if longest is not None and len(value) > longest:
            msg = f"String should have at most {_count(longest, 'character')}"
            raise fault("string_too_long", msg, value, max_length=longest)

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        if self._matches is not None:
            return None
        expression = f"{name}.__class__ is str"
        if self.lengths.shortest is not None:
            expression += f" and len({name}) >= {self.lengths.shortest}"
        if self.lengths.longest is not None:
            expression += f" and len({name}) <= {self.lengths.longest}"
        return expression


def _anchored(pattern: str) -> str:
    r"""The pattern with ``$`` meaning the very end, as in JSON Schema, not also before a newline."""
    made, in_class, escaped = [], False, False
    for character in pattern:
        if character == "$" and not in_class and not escaped:
            character = r"\Z"
        elif character == "[" and not escaped:
            in_class = True
        elif character == "]" and not escaped:
            in_class = False
        escaped = character == "\\" and not escaped
        made.append(character)
    return "".join(made)


class BytesKind(Kind):
    """Bytes, as base64 text (RFC 4648 section 4; the URL alphabet and absent padding are accepted)."""

    def __init__(self, lengths: Lengths) -> None:
        self.lengths = lengths
        self.label = "constrained-bytes" if lengths else "bytes"

    def check(self, value: Any, run: Run) -> Any:
        data = value
        if not isinstance(value, bytes | bytearray):
            run.floor(LAX)
            data = _from_base64(value)
        shortest, longest = self.lengths.shortest, self.lengths.longest
        if shortest is not None and len(data) < shortest:
            msg = f"Data should have at least {_count(shortest, 'byte')}"
            raise fault("bytes_too_short", msg, value, min_length=shortest)
        if longest is not None and len(data) > longest:
            msg = f"Data should have at most {_count(longest, 'byte')}"
            raise fault("bytes_too_long", msg, value, max_length=longest)
        return bytes(data)


def _from_base64(value: Any) -> bytes:
    if not isinstance(value, str):
        raise fault("bytes_type", "Input should be a valid bytes", value)
    standard = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise fault(
            "bytes_invalid_encoding",
            f"Data should be valid base64: {error}",
            value,
            encoding="base64",
            encoding_error=str(error),
        ) from None


class UUIDKind(Kind):
    label = "uuid"

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, UUID):
            return value
        run.floor(LAX)
        if not isinstance(value, str):
            raise fault("uuid_type", "UUID input should be a string, bytes or UUID object", value)
        error = _uuid_error(value)
        if error is not None:
            raise fault("uuid_parsing", f"Input should be a valid UUID, {error}", value, error=error)
        return UUID(value)


_UUID_GROUPS = (8, 4, 4, 4, 12)


def _uuid_error(text: str) -> str | None:
    """What is wrong with the text of a UUID (RFC 9562 section 4, braces and ``urn:uuid:`` allowed)."""
    bare, offset = text, 0
    if text.startswith("{") and text.endswith("}") and len(text) > 1:
        bare, offset = text[1:-1], 1
    elif text.startswith("urn:uuid:"):
        bare, offset = text[9:], 9
    for index, character in enumerate(bare):
        if character not in "0123456789abcdefABCDEF-":
            return f"invalid character: found `{character}` at {len(bare[:index].encode()) + offset}"
    groups = bare.split("-")
    if len(groups) == 1:
        return None if len(bare) == 32 else f"invalid length: found {len(bare)}"
    if len(groups) != 5:
        return f"invalid group count: expected 5, found {len(groups)}"
    for index, (group, length) in enumerate(zip(groups, _UUID_GROUPS, strict=True)):
        if len(group) != length:
            return f"invalid group length in group {index}: expected {length}, found {len(group)}"
    return None


class PathKind(Kind):
    """A file path; the class is one of ``pathlib``'s."""

    def __init__(self, cls: type[PurePath]) -> None:
        self.cls = cls
        self.label = cls.__name__.lower()

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, self.cls):
            return value
        run.floor(LAX)
        if not isinstance(value, str):
            raise fault("path_type", f"Input is not a valid path for {self.cls!r}", value)
        return self.cls(value)


class LiteralKind(Kind):
    """One of a few values; a number also by an equal one: 1.0 and True where 1 is."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = tuple(values)
        self.label = f"literal[{','.join(_shown(value) for value in self.values)}]"
        self._known = {(type(value), value): value for value in self.values}
        # A member of an enumeration is also met by its value in JSON.
        for value in self.values:
            if isinstance(value, Enum):
                self._known.setdefault((type(value.value), value.value), value)
        self._has_int = any(type(value) is int for value in self.values)
        self._has_number = any(kind is int or kind is bool for kind, _ in self._known)
        self._expected = _either([_shown(value) for value in self.values])

    def check(self, value: Any, run: Run) -> Any:
        for key in self._keys(value):
            if key in self._known:
                return self._known[key]
        raise fault("literal_error", f"Input should be {self._expected}", value, expected=self._expected)

    def _keys(self, value: Any) -> list[tuple[type, Any]]:
        """What to look for: the value as its own type, then equal numbers of another."""
        if not hashable(value):
            return []
        keys = [(type(value), value)]
        if self._has_number and isinstance(value, int | float):
            if self._has_int and isinstance(value, int) and abs(value) >= 2**63:
                raise _int_too_long(value)
            keys += [(int, value), (bool, value)]
        return keys

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        if not all(type(value) is str for value in self.values):
            return None
        constants[f"literals_{name}"] = frozenset(self.values)
        return f"{name}.__class__ is str and {name} in literals_{name}"


def _shown(value: Any) -> str:
    return repr(value)


def _either(words: Sequence[str]) -> str:
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} or {words[-1]}"


class EnumKind(Kind):
    """A member of an enumeration, by its value."""

    def __init__(self, cls: type[Enum]) -> None:
        self.cls = cls
        base = next((base for base in (str, int, float) if issubclass(cls, base)), None)
        self.base = base
        self.label = f"{base.__name__}-enum[{cls.__name__}]" if base else f"enum[{cls.__name__}]"
        self._expected = _either([_shown(member.value) for member in cls])
        self._has_int = base is int or any(type(member.value) is int for member in cls)
        self._known = {(type(member.value), member.value): member for member in cls if hashable(member.value)}

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, self.cls):
            return value
        run.floor(LAX)
        member = self._lookup(value)
        if member is not None:
            return member
        raise fault("enum", f"Input should be {self._expected}", value, expected=self._expected)

    def _lookup(self, value: Any) -> Enum | None:
        if hashable(value) and (type(value), value) in self._known:
            return self._known[type(value), value]
        if self.base is str and not isinstance(value, str):
            return None
        try:
            number = self._as_base(value)
            if self._has_int and type(number) is int and abs(number) >= 2**63:
                raise _int_too_long(number)
            return self.cls(number)
        except (ValueError, TypeError):
            return None

    def _as_base(self, value: Any) -> Any:
        """The value as an int or float, for enumerations of those."""
        try:
            if self.base is int:
                return IntKind(Bounds()).check(value, Run())
            return FloatKind(Bounds()).check(value, Run()) if self.base is float else value
        except Fault as error:
            raise ValueError("no number") from error


def hashable(value: Any) -> bool:
    """Whether it may be a key of a dict or an item of a set."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


class InstanceKind(Kind):
    """An object of a class that has no JSON form: only Python code can give one.

    Args:
        cls: The class.
        convert: Makes one from a JSON value, or None where nothing can.
    """

    def __init__(self, cls: type, convert: Callable[[Any], Any] | None = None) -> None:
        self.cls, self.convert = cls, convert
        self.label = f"is-instance[{cls.__name__}]"

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, self.cls):
            return value
        if self.convert is not None:
            run.floor(LAX)
            try:
                return self.convert(value)
            except (ValueError, TypeError) as error:
                raise fault("value_error", f"Value error, {error}", value, error=str(error)) from error
        raise not_instance(self.cls.__qualname__, value)


def not_instance(name: str, value: Any) -> Fault:
    """The fault of a value that is no object of the class called `name`."""
    return fault("is_instance_of", f"Input should be an instance of {name}", value, **{"class": name})


def place_of(key: Any) -> Any:
    """A key of a dict as an entry of `loc`, which has names and positions only."""
    return key if isinstance(key, str | int) else str(key)
