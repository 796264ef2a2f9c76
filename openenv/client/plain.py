"""What is common, in one compiled function per class: plain replies to results, plain actions to dicts.

Nearly every reply is ``{"observation": {...}, "reward": ..., "done": ...}`` with exactly the declared
fields, each of exactly its type, and no metadata. For those, `EnvClient` needs none of what its
general way does: putting reward and done among the fields, asking for keys that may be missing,
copying empty metadata. That is half of what a client computes for a step, and the only reason for
this module. Whatever is not of the common shape is not taken here; the general way decides about it
and words its faults (``tests/unit/client/test_plain.py`` holds the two against each other). Likewise
an action without metadata whose fields are numbers, texts and truth values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from openenv.compound import DictKind
from openenv.kinds import FieldSpec, RecordKind, kind_of
from openenv.models import StepResult
from openenv.validation import BoolKind, Fault, FloatKind, IntKind, Kind, Run, StrKind

__all__ = ["plain_dump_of", "plain_result_of"]

PlainResult = Callable[[Any], StepResult[Any] | None]

_APART = ("reward", "done")
_compiled: dict[type, PlainResult | None] = {}


def plain_result_of(cls: Any) -> PlainResult | None:
    """What makes a result of the data of a common reply, and gives None for any other reply.

    None for classes that are not filled field by field: no dataclass of ours, one with an
    ``__init__``, ``__post_init__`` or ``__setattr__`` of its own, or without the three fields that
    every `Observation` has.
    """
    if not (isinstance(cls, type) and is_dataclass(cls) and getattr(cls, "__generated_init__", False)):
        return None
    if cls not in _compiled:
        try:
            kind = kind_of(cls)
            specs = kind.fields if isinstance(kind, RecordKind) else ()
        except TypeError:  # an annotation names what does not exist yet; the general way will say so
            return None
        _compiled[cls] = _compile(cls, specs) if _is_plain(cls, specs) else None
    return _compiled[cls]


def plain_dump_of(cls: Any, otherwise: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What makes the dict of an action's fields, without empty metadata.

    ``otherwise`` makes it of actions with metadata, and, as the answer, of classes that need more.
    """
    if not (isinstance(cls, type) and is_dataclass(cls) and getattr(cls, "__generated_init__", False)):
        return otherwise
    try:
        kind = kind_of(cls)
        kinds = {spec.name: spec.kind for spec in kind.fields} if isinstance(kind, RecordKind) else {}
    except TypeError:
        return otherwise
    metadata = kinds.pop("metadata", None)
    written = {name: _WRITTEN.get(type(kind)) for name, kind in kinds.items()}
    declared = {f.name for f in fields(cls)}
    if metadata is None or None in written.values() or declared != {*kinds, "metadata"}:
        return otherwise
    if getattr(cls, "__extra__", None) == "allow" or any(name.startswith("_") for name in declared):
        return otherwise
    shown = ", ".join(f"{name!r}: {str(form).format(f'o.{name}')}" for name, form in written.items())
    made: Callable[[Any], Any] = eval(
        f"lambda o: otherwise(o) if o.metadata else {{{shown}}}", {"otherwise": otherwise}
    )
    return made


# A float field shows a float whatever was assigned, as in `openenv.schema.dump`.
_WRITTEN: dict[type[Kind], str] = {
    BoolKind: "{0}",
    IntKind: "{0}",
    StrKind: "{0}",
    FloatKind: "float({0}) if {0}.__class__ is int else {0}",
}


def _is_plain(cls: type, specs: tuple[FieldSpec, ...]) -> bool:
    kinds = {spec.name: spec.kind for spec in specs}
    metadata = kinds.get("metadata")
    setter: Any = cls.__setattr__
    return (
        isinstance(metadata, DictKind)
        and not metadata.lengths
        and all(name in kinds for name in _APART)
        and len(specs) == len(fields(cls))
        and not hasattr(cls, "__post_init__")
        and setter is object.__setattr__
    )


def _compile(cls: type, specs: tuple[FieldSpec, ...]) -> PlainResult:
    """Write the function. Names of fields enter the source only as identifiers and their ``repr``."""
    names: dict[str, Any] = {
        "Fault": Fault,
        "Run": Run,
        "StepResult": StepResult,
        "cls": cls,
        "new": object.__new__,
    }
    take, checks, fill = [], [], []
    conditions = ["len(data) == 3", f"len(shown) == {len(specs) - len(_APART)}"]
    for index, spec in enumerate(specs):
        value = spec.name if spec.name in _APART else f"f{index}"
        take.append(f"  {value} = {'data' if spec.name in _APART else 'shown'}[{spec.name!r}]")
        fill.append(f" made.{spec.name} = {value}")
        # Empty metadata is nobody else's: it was made for this very reply.
        guard = f"{value} == {{}}" if spec.name == "metadata" else spec.kind.guard(value, names)
        if guard is not None:
            conditions.append(guard)
        else:
            names[f"check{index}"] = spec.kind.check
            checks.append(f"  {value}_ = check{index}({value}, Run())")
            fill[-1] += "_"
    lines = ["def result(data):", " try:", "  shown = data['observation']", *take]
    lines += [" except (KeyError, TypeError):", "  return None"]
    lines += [f" if not ({' and '.join(conditions)}):", "  return None"]
    if checks:
        lines += [" try:", *checks, " except (Fault, RecursionError):", "  return None"]
    lines += [" made = new(cls)", *fill, " result = new(StepResult)"]
    given = {"observation": "made", "reward": "reward", "done": "done"}
    for entry in fields(StepResult):
        names[f"default_{entry.name}"] = entry.default
        lines.append(f" result.{entry.name} = {given.get(entry.name, f'default_{entry.name}')}")
    lines.append(" return result")
    exec("\n".join(lines), names)
    made: PlainResult = names["result"]
    return made
