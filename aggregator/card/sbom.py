"""The software that made a model, as CycloneDX 1.5, from the installed packages' metadata."""

from __future__ import annotations

import importlib.metadata as installed
import platform
import re
from typing import Any
from urllib.parse import quote

from fedrad.software import app_digest

ROOT = "fedrad"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST = 80  # characters of a licence's name; more is its whole text


def sbom() -> dict[str, Any]:
    """Return fedrad, what it needs and what that needs, as far as it is installed here."""
    found = _closure()
    root = installed.distribution(ROOT)
    interpreter = platform.python_version()
    digest = {"name": "fedrad:app-digest", "value": app_digest()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": _component(root) | {"type": "application", "properties": [digest]}
        },
        "components": [
            {"type": "platform", "name": "python", "version": interpreter,
             "purl": f"pkg:generic/python@{interpreter}"},
            *(_component(found[name]) for name in sorted(found) if name != ROOT),
        ],
    }  # fmt: skip


def _closure() -> dict[str, installed.Distribution]:
    found: dict[str, installed.Distribution] = {}
    waiting = [ROOT]
    while waiting:
        name = _plain(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = installed.distribution(name)
        except installed.PackageNotFoundError:
            continue  # for another system, or optional
        needs = (line for line in found[name].requires or () if "extra ==" not in line)
        waiting += [match.group() for line in needs if (match := _NAME.match(line))]
    return found


def _component(one: installed.Distribution) -> dict[str, Any]:
    name = _plain(one.metadata["Name"])
    purl = f"pkg:pypi/{quote(name)}@{quote(one.version)}"
    table: dict[str, Any] = {"type": "library", "name": name, "version": one.version}
    return table | {"purl": purl, "bom-ref": purl, "licenses": _licences(one)}


def _licences(one: installed.Distribution) -> list[dict[str, Any]]:
    expression = (one.metadata.get_all("License-Expression") or [None])[0]
    if expression:
        return [{"expression": expression}]
    classes = [str(line) for line in one.metadata.get_all("Classifier") or ()]
    names = [line.rpartition(" :: ")[2] for line in classes if line.startswith("License")]
    said = str((one.metadata.get_all("License") or [""])[0]).strip()
    if not names and said and len(said) <= _LONGEST and "\n" not in said:
        names = [said]
    return [{"license": {"name": name}} for name in sorted(set(names))]


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
