"""Nouns to JSON and back: one small codec for frozen dataclasses, strict about what it does not know."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from graft.core.errors import PlanError, nearest
from graft.core.examples import Target

T = TypeVar("T")
SHOWN = 10  # faults that are said
WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def to_dict(noun: Any) -> Any:
    """A noun as plain dicts, lists, strings and numbers; floats that are not finite become None."""
    if dataclasses.is_dataclass(noun) and not isinstance(noun, type):
        return {
            f.name: to_dict(getattr(noun, f.name)) for f in dataclasses.fields(noun) if f.metadata.get("json", True)
        }
    if isinstance(noun, Mapping):
        return {str(key): to_dict(value) for key, value in noun.items()}
    if isinstance(noun, (tuple, list)):
        return [to_dict(value) for value in noun]
    if isinstance(noun, float) and not math.isfinite(noun):
        return None
    return noun


def to_json(noun: Any, indent: int | None = None) -> str:
    """A noun as JSON text."""
    plain = to_dict(noun)
    text = json.dumps(plain, indent=indent, ensure_ascii=False)
    # File names that are not UTF-8 hold lone surrogates, which only escapes can carry.
    return (
        text if text.isascii() or text.encode("utf-8", "ignore").decode() == text else json.dumps(plain, indent=indent)
    )


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def from_dict(kind: type[T], value: Any, where: str = "") -> T:
    """Build a noun of `kind` from plain data.

    Raises:
        PlanError: a field is unknown (the nearest name is offered), missing, or of another type.
    """
    return typing.cast(T, _build(kind, value, where or kind.__name__))


def from_json(kind: type[T], text: str) -> T:
    """Build a noun from JSON text; see `from_dict`."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanError(f"This is not the JSON of a {kind.__name__}: {error}.") from None
    return from_dict(kind, value)


def _build(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _either(args, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _noun(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise PlanError(f"{where} must be a list, not {value!r}.")
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(inner) != len(value):
            raise PlanError(f"{where} must have {len(inner)} entries, not {len(value)}.")
        plain = {int, float} if args[0] == Target else {args[0]}
        if args[-1] is Ellipsis and plain <= {str, int, float} and {type(entry) for entry in value} <= plain:
            return tuple(value)  # long columns of a Task: checked in one sweep
        asks = [(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(inner, value, strict=True))]
        return tuple(_all(asks, []))
    if origin is dict:
        if not isinstance(value, dict):
            raise PlanError(f"{where} must be an object, not {value!r}.")
        return {key: _build(args[1], entry, f"{where}[{key!r}]") for key, entry in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is float and value is None:
        return math.nan
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise PlanError(f"{where} must be {WORDS.get(kind, kind.__name__)}, not {value!r}.")
    return value


def _either(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as the first of these kinds that it can be."""
    if value is None and type(None) in kinds:
        return None
    wanted = [kind for kind in kinds if kind is not type(None)]
    for kind in wanted[:-1]:
        try:
            return _build(kind, value, where)
        except PlanError:
            continue
    return _build(wanted[-1], value, where)


def _noun(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise PlanError(f"{where} must be an object with the fields of a {kind.__name__}, not {value!r}.")
    fields = {f.name: f for f in dataclasses.fields(kind) if f.metadata.get("json", True)}
    faults = [f"{where} has no field {name!r}.{nearest(name, fields)}" for name in value if name not in fields]
    missing = [
        name
        for name, f in fields.items()
        if name not in value and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        faults.append(f"{where} lacks {', '.join(missing)}.")
    hints = _hints(kind)
    given = [name for name in value if name in fields]
    built = _all([(hints[name], value[name], f"{where}.{name}") for name in given], faults)
    return kind(**dict(zip(given, built, strict=True)))


def _all(asks: list[tuple[Any, Any, str]], faults: list[str]) -> list[Any]:
    """Every value built; what is wrong with any of them is said together."""
    built = []
    for kind, value, where in asks:
        try:
            built.append(_build(kind, value, where))
        except PlanError as error:
            faults.append(str(error))
    if faults:
        more = f" There are {len(faults) - SHOWN} more." if len(faults) > SHOWN else ""
        raise PlanError(" ".join(faults[:SHOWN]) + more)
    return built
