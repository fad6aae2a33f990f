"""What is installed: fedrad and all that it brings, with version and licence.

Read from the packages' own metadata; what a package does not say is shown as not stated.
"""

from __future__ import annotations

import importlib.metadata as installed
import re
from dataclasses import dataclass

ROOT, EXTRAS = "fedrad", ("site", "pacs")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_OSI = "License :: OSI Approved :: "
_LONGEST = 60  # characters of a licence's name; more is its whole text


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package."""

    name: str
    version: str
    licence: str


def packages() -> list[Package]:
    """Return every package that fedrad's site needs and that is installed, by name."""
    found: dict[str, Package] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(ROOT, EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        key = name.lower().replace("_", "-").replace(".", "-")
        if key in found:
            continue
        try:
            about = installed.distribution(name)
        except installed.PackageNotFoundError:
            continue  # for another system, or optional
        found[key] = Package(about.metadata["Name"], about.version, _licence(about))
        waiting += [(need, ()) for need in _needs(about, extras)]
    return [found[key] for key in sorted(found)]


def _needs(about: installed.Distribution, extras: tuple[str, ...]) -> list[str]:
    needs = []
    for line in about.requires or ():
        name, extra = _NAME.match(line), _EXTRA.search(line)
        if name and (extra is None or extra[1] in extras):
            needs.append(name.group())
    return needs


def _licence(about: installed.Distribution) -> str:
    for name in ("License-Expression", "License"):
        said = str((about.metadata.get_all(name) or [""])[0]).strip().splitlines()
        if said and len(said[0]) <= _LONGEST and said[0] != "UNKNOWN":
            return said[0]
    classes = [str(line) for line in about.metadata.get_all("Classifier") or ()]
    named = [line.removeprefix(_OSI) for line in classes if line.startswith(_OSI)]
    return ", ".join(named) or "not stated"
