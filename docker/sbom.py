"""Write what an image holds as CycloneDX 1.5: ``sbom.py NAME VENV DPKG FILE``; part of the build.

Python's packages from their metadata, Debian's from dpkg's list ``DPKG``, as it was before
``prune.py`` emptied some of them; nothing is fetched.
"""

import json
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

REMOVED = ("pip", "setuptools", "wheel", "uv")  # by prune.py


def main(name: str, venv: Path, dpkg: Path, file: Path) -> None:
    """Write the list."""
    libraries = [str(path) for path in venv.glob("lib/python3*/site-packages")]
    found = {item["purl"]: item for item in _python(libraries)}
    found |= {item["purl"]: item for item in _debian(dpkg)}
    version = next(i["version"] for i in found.values() if i["name"] == "fedrad")
    table = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": version}},
        "components": [_interpreter(), *(found[key] for key in sorted(found))],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _interpreter() -> dict[str, Any]:
    version = platform.python_version()
    purl = f"pkg:generic/python@{version}"
    return {"type": "platform", "name": "python", "version": version, "purl": purl}


def _python(libraries: list[str]) -> Iterator[dict[str, Any]]:
    for one in distributions(path=libraries):
        name = one.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        if name not in REMOVED:
            purl = f"pkg:pypi/{quote(name)}@{quote(one.version)}"
            yield {
                "type": "library",
                "name": name,
                "version": one.version,
                "purl": purl,
                "bom-ref": purl,
                "licenses": _licences(one),
            }


def _licences(one: Distribution) -> list[dict[str, Any]]:
    stated = one.metadata.get("License-Expression")
    if stated:
        return [{"expression": stated}]
    kinds = [
        line for line in one.metadata.get_all("Classifier") or () if line.startswith("License")
    ]
    names = [line.rpartition(" :: ")[2] for line in kinds]
    short = (one.metadata.get("License") or "").strip()
    names = names or ([short] if short and len(short) < 80 and "\n" not in short else [])
    return [{"license": {"name": name}} for name in sorted(set(names))]


def _debian(dpkg: Path) -> Iterator[dict[str, Any]]:
    text = dpkg.read_text(encoding="utf-8", errors="replace")
    for stanza in text.split("\n\n"):
        pairs = (line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
        field = {pair[0]: pair[1] for pair in pairs}
        if not field.get("Status", "").endswith(" installed"):
            continue
        name, version = field["Package"], field["Version"]
        where = f"?arch={field.get('Architecture', 'all')}"
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}{where}"
        yield {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
