"""Apply ``--set key=value`` to the tables of a scenario or its task before they are checked.

A key is dotted. Its first word says which file it belongs to: a table of ``task.toml``
(``training.steps=2``) or a key of the scenario (``splits.train=0.6``). Values are TOML.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import fields
from typing import Any

from fedrad.errors import SettingsError
from fedrad.task import Task

Table = dict[str, Any]


def parse(text: str) -> tuple[tuple[str, ...], Any]:
    """Split ``key.path=value`` into the path and the TOML value.

    Raises:
        SettingsError: No ``=``, an empty key, or a value that is not TOML.
    """
    key, sign, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not sign or not all(path):
        raise SettingsError("--set", (f"{text!r} is not key=value, such as training.steps=2",))
    try:
        return path, tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return path, value.strip()


def apply(
    task: Table, scenario: Table, settings: tuple[str, ...], *, known: Collection[str]
) -> None:
    """Change ``task`` and ``scenario`` in place by each ``key=value``.

    Args:
        task: Parsed ``task.toml``.
        scenario: Parsed scenario.
        settings: Each ``key=value``; later ones win.
        known: What a scenario's key may start with, whether the file has it or not.

    Raises:
        SettingsError: A key leads nowhere; names the tables it may start with.
    """
    tables = [field.name for field in fields(Task)]
    for text in settings:
        path, value = parse(text)
        if path[0] not in (*tables, *known):
            names = ", ".join([*tables, *known])
            raise SettingsError("--set", (f"{path[0]!r} is not one of: {names}",))
        _put(task if path[0] in tables else scenario, path, value)


def _put(table: Table, path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SettingsError("--set", (f"{'.'.join(path)}: {name!r} is not a table",))
        table = inner
    table[path[-1]] = value
