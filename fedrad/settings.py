"""Turn a TOML file into frozen dataclasses, naming every problem at once.

One table is one class. A class states its own limits by a ``problems`` method and calls
``refuse_problems`` from ``__post_init__``, so that an unusable object cannot exist. What
the tables mean belongs to the modules that define the classes.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fedrad.errors import SettingsError

T = TypeVar("T")


class HasProblems(Protocol):
    """A settings object that can say what is wrong with itself."""

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""


def refuse_problems(table: str, settings: HasProblems) -> None:
    """Raise ``SettingsError`` with every line of ``settings.problems()``, if there is any."""
    found = tuple(settings.problems())
    if found:
        raise SettingsError(f"[{table}]" if table else "the settings", found)


def read_toml(path: Path) -> dict[str, Any]:
    """Read one TOML file.

    Raises:
        SettingsError: The file is missing, unreadable or not TOML; names the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(str(path), ("the file does not exist",)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), (f"not valid TOML: {error}",)) from None


def read_settings(cls: type[T], path: Path) -> T:
    """Read ``path`` into an object of the dataclass ``cls``.

    Raises:
        SettingsError: Carries every problem of the file: missing and unknown keys, wrong
            types, values out of range.
    """
    table = read_toml(path)
    try:
        return build(cls, table)
    except SettingsError as error:
        raise SettingsError(str(path), error.problems) from None


def build(cls: type[T], table: dict[str, Any], where: str = "") -> T:
    """Build the dataclass ``cls`` from a parsed table.

    Args:
        cls: A frozen dataclass whose fields are scalars, tuples, string-keyed dicts,
            ``Literal``, optional values or further dataclasses.
        table: What ``tomllib`` returned.
        where: The dotted name of the table, for messages.

    Raises:
        SettingsError: Every problem found, each with its dotted key.
    """
    problems = list(_unknown_keys(cls, table, where))
    values: dict[str, Any] = {}
    hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # T is a dataclass
        key = _join(where, field.name)
        if field.name in table:
            try:
                values[field.name] = _convert(hints[field.name], table[field.name], key)
            except SettingsError as error:
                problems += error.problems
        elif _required(field):
            problems.append(f"{key} is missing")
    if not problems:
        try:
            return cls(**values)
        except SettingsError as error:
            problems += [_join(where, line) for line in error.problems]
    raise SettingsError(where or "the settings", tuple(problems))


def as_table(settings: Any) -> dict[str, Any]:
    """Return the settings as plain dicts and lists, defaults included, ready for JSON.

    A field that the class names in ``ABSENT`` is left out where it is ``None``, so that what
    was written before there was such a field keeps its bytes.
    """
    table = typing.cast("dict[str, Any]", _plain(dataclasses.asdict(settings)))
    for name in getattr(settings, "ABSENT", ()):
        if table[name] is None:
            del table[name]
    return table


@cache  # a site reads its settings and its task anew for every request
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _unknown_keys(cls: type, table: dict[str, Any], where: str) -> Iterator[str]:
    known = [field.name for field in dataclasses.fields(cls)]
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            yield f"{_join(where, key)} is not a known key; {hint}"


def _convert(hint: Any, raw: Any, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(raw, dict):
            raise _wrong(key, "a table", raw)
        return build(typing.cast("type", hint), raw, key)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if raw in arguments:
            return raw
        raise _wrong(key, "one of " + ", ".join(map(repr, arguments)), raw)
    if origin in (typing.Union, types.UnionType):
        return _convert_optional(arguments, raw, key)
    if origin is tuple:
        return _convert_list(arguments[0], raw, key)
    if origin is dict:
        return _convert_map(arguments[1], raw, key)
    return _convert_scalar(hint, raw, key)


def _convert_optional(hints: tuple[Any, ...], raw: Any, key: str) -> Any:
    """Return what the one hint that is not ``None`` makes of ``raw``; JSON's null is ``None``."""
    if raw is None:  # TOML has no such value and leaves the key out
        return None
    return _convert(next(hint for hint in hints if hint is not type(None)), raw, key)


def _convert_list(item: Any, raw: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(raw, list | tuple):
        raise _wrong(key, "a list", raw)
    return tuple(_each((f"{key}[{i}]", item, value) for i, value in enumerate(raw)))


def _convert_map(item: Any, raw: Any, key: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _wrong(key, "a table", raw)
    values = _each((f"{key}.{name}", item, value) for name, value in raw.items())
    return dict(zip(raw, values, strict=True))


def _each(items: Iterable[tuple[str, Any, Any]]) -> list[Any]:
    values: list[Any] = []
    problems: list[str] = []
    for key, hint, raw in items:
        try:
            values.append(_convert(hint, raw, key))
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError("list", tuple(problems))
    return values


def _convert_scalar(hint: Any, raw: Any, key: str) -> Any:
    if hint is Any:
        return raw
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if hint is float and isinstance(raw, float) and not math.isfinite(raw):
        raise _wrong(key, "a finite number", raw)
    if hint is Path and isinstance(raw, str):
        return Path(raw)
    if isinstance(raw, hint) and not (hint in (int, float) and isinstance(raw, bool)):
        return raw
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    raise _wrong(key, names.get(hint, "a path"), raw)


def _wrong(key: str, wanted: str, raw: Any) -> SettingsError:
    return SettingsError(key, (f"{key} must be {wanted}, got {raw!r}",))
