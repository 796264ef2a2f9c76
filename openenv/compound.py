"""Kinds made of kinds: optional values, unions, lists, tuples, sets and dicts.

In: one decoded JSON value. Out: the value, its items of their own kinds, or a Fault with the faults of
every item, each with its place. This module knows no more than ``validation``, which it completes.

Reference: ``validation``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from openenv.errors import MAX_FAULTS
from openenv.validation import (
    EXACT,
    LAX,
    BoolKind,
    Bounds,
    Fault,
    FloatKind,
    IntKind,
    Kind,
    Lengths,
    Line,
    Run,
    StrKind,
    fault,
    hashable,
    not_instance,
    place_of,
    too_long,
)

__all__ = [
    "CheckedKind",
    "DictKind",
    "FixedTupleKind",
    "ListKind",
    "OptionalKind",
    "TaggedKind",
    "UnionKind",
]


class OptionalKind(Kind):
    """A kind, or None."""

    def __init__(self, inner: Kind) -> None:
        self.inner = inner

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"nullable[{self.inner.label}]"

    def check(self, value: Any, run: Run) -> Any:
        return None if value is None else self.inner.check(value, run)

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        inner = self.inner.guard(name, constants)
        return None if inner is None else f"({name} is None or {inner})"


class UnionKind(Kind):
    """The member that fits best."""

    def __init__(self, members: Sequence[Kind]) -> None:
        self.members = tuple(members)

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"union[{','.join(member.label for member in self.members)}]"

    def check(self, value: Any, run: Run) -> Any:
        best: tuple[Any, Run] | None = None
        lines: list[Line] = []
        for member in self.members:
            trial = Run()
            try:
                found = member.check(value, trial)
            except Fault as error:
                lines += error.at(member.label)
                continue
            if trial.exactness == EXACT and trial.n_fields is None:
                return found
            if best is None or _fits_better(trial, best[1]):
                best = (found, trial)
        if best is None:
            raise Fault(lines)
        run.floor(best[1].exactness)
        if best[1].n_fields is not None:
            run.count(best[1].n_fields)
        return best[0]

    def guard(self, name: str, constants: dict[str, Any]) -> str | None:
        names = [_PLAIN.get(type(member)) for member in self.members]
        if None in names or any(getattr(member, "bounds", None) for member in self.members):
            return None
        if any(member.label.startswith("constrained") for member in self.members):
            return None
        return f"{name}.__class__ in ({', '.join(map(str, names))},)"


_PLAIN: dict[type[Kind], str] = {IntKind: "int", FloatKind: "float", BoolKind: "bool", StrKind: "str"}


def _fits_better(new: Run, old: Run) -> bool:
    """More of the given keys were fields; among equals, the better fit; else the earlier member."""
    if new.n_fields is not None and old.n_fields is not None and new.n_fields != old.n_fields:
        return new.n_fields > old.n_fields
    return new.exactness > old.exactness


class TaggedKind(Kind):
    """Records told apart by a field that holds a different literal in each.

    Args:
        tag: Name of that field.
        members: Value of the field to record, in order of declaration.
        fallback: Takes a value without the tag, where the tag has a default; None refuses it.
    """

    def __init__(self, tag: str, members: Mapping[Any, Kind], fallback: Kind | None = None) -> None:
        self.tag, self.members, self.fallback = tag, dict(members), fallback
        self._expected = ", ".join(repr(value) for value in self.members)

    @property
    def label(self) -> str:  # type: ignore[override]
        names = dict.fromkeys(member.label for member in self.members.values())
        return f"tagged-union[{','.join(names)}]"

    def check(self, value: Any, run: Run) -> Any:
        if isinstance(value, Mapping):
            if self.tag not in value:
                if self.fallback is not None:
                    return self.fallback.check(value, run)
                raise self._untagged(value)
            found = value[self.tag]
        elif any(isinstance(value, getattr(member, "cls", ())) for member in self.members.values()):
            found = getattr(value, self.tag)
        else:
            msg = "Input should be a valid dictionary or object to extract fields from"
            raise fault("model_attributes_type", msg, value)
        member = self.members.get(found) if hashable(found) else None
        if member is None:
            raise self._wrong_tag(value, found)
        try:
            return member.check(value, run)
        except Fault as error:
            raise Fault(error.at(found)) from None

    def _untagged(self, value: Any) -> Fault:
        shown = repr(self.tag)
        return fault(
            "union_tag_not_found",
            f"Unable to extract tag using discriminator {shown}",
            value,
            discriminator=shown,
        )

    def _wrong_tag(self, value: Any, found: Any) -> Fault:
        shown = repr(self.tag)
        msg = (
            f"Input tag '{found}' found using {shown} does not match any of the expected tags: "
            f"{self._expected}"
        )
        return fault(
            "union_tag_invalid",
            msg,
            value,
            discriminator=shown,
            tag=str(found),
            expected_tags=self._expected,
        )


class ListKind(Kind):
    """A list, set, frozenset or tuple of any number of items of one kind.

    Args:
        item: Kind of each item.
        lengths: Fewest and most items.
        cls: What is made: list, tuple, set or frozenset.
        abstract: Name of the abstract class that the author wrote instead, or None.
    """

    def __init__(self, item: Kind, lengths: Lengths, cls: type = list, abstract: str | None = None) -> None:
        self.item, self.lengths, self.cls, self.abstract = item, lengths, cls, abstract
        self._what, self._name, self._noun = _SEQUENCES[cls]
        # Items of one plain type can be seen to fit without a call for each: tokens, pixels, boards.
        self._only = {_PLAIN_TYPES[item.label]} if cls is list and item.label in _PLAIN_TYPES else None

    @property
    def label(self) -> str:  # type: ignore[override]
        tail = ", ..." if self.cls is tuple else ""
        return f"{self.cls.__name__}[{self.item.label}{tail}]"

    def check(self, value: Any, run: Run) -> Any:
        if self._only is not None and type(value) is list and set(map(type, value)) == self._only:
            self._check_length(value)
            return value[:]
        if value.__class__ is not self.cls:
            run.floor(LAX)
            if not isinstance(value, list | tuple | set | frozenset):
                raise self._wrong_type(value)
        return self._collect(value, run)

    def _check_length(self, value: Collection[Any]) -> None:
        if self.lengths:
            longest = self.lengths.longest
            if longest is not None and len(value) > longest:
                raise too_long(self._name, longest, len(value), value)
            self.lengths.check(len(value), value, self._name)

    def _wrong_type(self, value: Any) -> Fault:
        if self.abstract is not None:
            if isinstance(value, str):
                msg = f"'str' instances are not allowed as a {self.abstract} value"
                return fault("sequence_str", msg, value, type_name="str")
            return not_instance(self.abstract, value)
        return fault(f"{self._what}_type", f"Input should be a valid {self._noun}", value)

    def _collect(self, value: Collection[Any], run: Run) -> Any:
        hashed = self.cls is set or self.cls is frozenset
        longest = self.lengths.longest
        if longest is not None and self.cls is list and len(value) > longest:
            raise too_long(self._name, longest, len(value), value)
        made: list[Any] = []
        lines: list[Line] = []
        check = self.item.check
        for index, item in enumerate(value):
            try:
                made.append(check(item, run))
                if hashed and not hashable(made[-1]):
                    del made[-1]
                    raise fault("set_item_not_hashable", "Set items should be hashable", item)
            except Fault as error:
                lines += error.at(index)
                if len(lines) > MAX_FAULTS:
                    raise Fault(lines) from None
        return self._finish(made, lines, value)

    def _finish(self, made: list[Any], lines: list[Line], value: Any) -> Any:
        result = made if self.cls is list else self.cls(made)
        longest = self.lengths.longest
        if longest is not None and len(result) > longest:
            raise too_long(self._name, longest, len(value) if self.cls is tuple else None, value)
        if lines and self.cls is not tuple:
            raise Fault(lines)
        try:
            self.lengths.check(len(result), value, self._name)
        except Fault as error:
            lines += error.lines
        if lines:
            raise Fault(lines)
        return result


_PLAIN_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
_SEQUENCES: dict[type, tuple[str, str, str]] = {
    list: ("list", "List", "list"),
    tuple: ("tuple", "Tuple", "tuple"),
    set: ("set", "Set", "set"),
    frozenset: ("frozen_set", "Frozenset", "frozenset"),
}


class FixedTupleKind(Kind):
    """A tuple of so many items, each of its own kind."""

    def __init__(self, items: Sequence[Kind]) -> None:
        self.items = tuple(items)

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"tuple[{', '.join(item.label for item in self.items)}]"

    def check(self, value: Any, run: Run) -> Any:
        if value.__class__ is not tuple:
            run.floor(LAX)
            if not isinstance(value, list | tuple | set | frozenset):
                raise fault("tuple_type", "Input should be a valid tuple", value)
        given = list(value)
        if len(given) > len(self.items):
            raise too_long("Tuple", len(self.items), len(given), value)
        made: list[Any] = []
        lines: list[Line] = []
        for index, item in enumerate(self.items):
            try:
                if index >= len(given):
                    raise fault("missing", "Field required", value)
                made.append(item.check(given[index], run))
            except Fault as error:
                lines += error.at(index)
        if lines:
            raise Fault(lines)
        return tuple(made)


class DictKind(Kind):
    """A dict whose keys are of one kind and whose values are of another."""

    def __init__(self, key: Kind, item: Kind, lengths: Lengths) -> None:
        self.key, self.item, self.lengths = key, item, lengths

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"dict[{self.key.label},{self.item.label}]"

    def check(self, value: Any, run: Run) -> Any:
        if value.__class__ is not dict:
            run.floor(LAX)
            if not isinstance(value, Mapping):
                raise fault("dict_type", "Input should be a valid dictionary", value)
        made: dict[Any, Any] = {}
        lines: list[Line] = []
        check_key, check_item = self.key.check, self.item.check
        for key, item in value.items():
            faults, checked_key, checked = len(lines), None, None
            try:
                checked_key = check_key(key, run)
            except Fault as error:
                lines += error.at(place_of(key), "[key]")
            try:
                checked = check_item(item, run)
            except Fault as error:
                lines += error.at(place_of(key))
            if len(lines) == faults:
                made[checked_key] = checked
            elif len(lines) > MAX_FAULTS:
                break
        if lines:
            raise Fault(lines)
        if self.lengths:
            self.lengths.check(len(made), value, "Dictionary")
        return made


class CheckedKind(Kind):
    """A kind that has no limits of its own, with limits on what it gives: unions, Any, classes."""

    def __init__(self, inner: Kind, bounds: Bounds, lengths: Lengths) -> None:
        self.inner, self.bounds, self.lengths = inner, bounds, lengths

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"function-after[{self.inner.label}]"

    def check(self, value: Any, run: Run) -> Any:
        found = self.inner.check(value, run)
        try:
            self.bounds.check(found, value, lambda limit: limit)
            if self.lengths:
                self.lengths.check(len(found), value, "Value")
        except TypeError as error:
            msg = f"Value error, {error}"
            raise fault("value_error", msg, value, error=str(error)) from error
        return found
