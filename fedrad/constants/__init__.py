"""Named public constants: intensity ranges and filter-bank statistics, never from a site's data.

Each constant set is one JSON file beside this module with ``name``, ``version``, ``source``,
``licence`` and ``values``. A changed value is a new name; a test pins every file's digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from fedrad.errors import SettingsError


def read_constants(name: str) -> dict[str, Any]:
    """Read one set of constants by name.

    Args:
        name: A name of ``known_constants()``, such as ``"dx-unit-1"``.

    Returns:
        The parsed file: ``name``, ``version``, ``source``, ``licence`` and ``values``.

    Raises:
        SettingsError: No such set; lists those that exist.
    """
    known = known_constants()
    if name not in known:
        line = f"no constants are named {name!r}; known: {', '.join(known)}"
        raise SettingsError("constants", (line,))
    text = resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    constants: dict[str, Any] = json.loads(text)
    return constants


def limits_of(values: Mapping[str, Any]) -> tuple[float, float]:
    """Return which values a recipe maps to 0 and 1: two ends, or a centre and a width.

    Raises:
        KeyError: The constants name neither.
    """
    if "center" in values:
        center, width = float(values["center"]), float(values["width"])
        return center - width / 2, center + width / 2
    return float(values["low"]), float(values["high"])


def known_constants() -> tuple[str, ...]:
    """Return the names of all sets, sorted."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in files if name.endswith(".json")))
