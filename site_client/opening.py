"""Open a site's home: ``fedrad-site init``.

Writes a ``site.toml`` that can be read, with what can be found out and nothing approved; the
folders and the secret come from ``home``. Called where there is a ``site.toml`` it changes
nothing: a hospital's word is only changed by people.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedrad.errors import SettingsError
from site_client.home import make_home
from site_client.machine import Machine, read_machine
from site_client.opening_text import Source, settings_text
from site_client.settings import FILE

_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_DIMSE = re.compile(r"(?P<title>[^@]+)@(?P<host>[^@:]+|\[[^@\]]+\]):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What nobody can find out; all of it may be written into the file later."""

    name: str = ""  # empty: the folder's name
    archive: Path | None = None
    dicomweb: str = ""  # URL
    dimse: str = ""  # TITLE@HOST:PORT
    labels: Path | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """What was written, and what comes next."""

    home: Path
    site: str
    kind: str
    machine: Machine
    todo: tuple[str, ...]  # what a person should look at first
    next: str  # the next command


def open_home(home: Path, wishes: Wishes) -> Opened:
    """Write ``home/site.toml`` and everything beside it that a site needs.

    Raises:
        SettingsError: There is a ``site.toml`` already, a wish cannot be used, or the home
            lies inside the archive.
        DamagedStateError: The secret is lost but patients were charged under it.
    """
    home = home.absolute()
    if (home / FILE).exists():
        raise _unusable(
            f"{home / FILE} is there already and stays as it is: edit it, or name another --home"
        )
    source, machine = _source(home, wishes), read_machine(home)
    name = wishes.name or _NAME.sub("-", home.name).strip("-") or "site"
    labels = str(wishes.labels.absolute()) if wishes.labels else ""
    make_home(home, settings_text(name, source, machine, labels=labels))
    return Opened(home, name, source.kind, machine, _todo(wishes), _next(home, source.kind))


def as_table(opened: Opened) -> dict[str, Any]:
    """Return what was done as one JSON object."""
    return asdict(opened) | {"home": str(opened.home), "site_toml": str(opened.home / FILE)}


def as_text(opened: Opened) -> str:
    """Return what ``fedrad-site init`` prints."""
    found = opened.machine
    lines = [
        f"wrote {opened.home / FILE} for the site {opened.site!r}",
        (
            f"found {found.cores} cores, {found.memory_gib:.1f} GiB of memory, "
            f"{found.free_gib:.1f} GiB free, time zone {found.time_zone}"
        ),
        "nothing is approved yet; keep a backup of the folder, keys/split.key above all",
        *(f"to do: {todo}" for todo in opened.todo),
        f"next: {opened.next}",
    ]
    return "\n".join(lines)


def _source(home: Path, wishes: Wishes) -> Source:
    given = [text for text in (wishes.archive, wishes.dicomweb, wishes.dimse) if text]
    if len(given) > 1:
        raise _unusable("--archive, --dicomweb and --dimse are three ways; give one")
    if wishes.dicomweb:
        return Source(kind="dicomweb", url=wishes.dicomweb)
    if wishes.dimse:
        return _dimse(wishes.dimse)
    return (
        Source(path=str(_outside(home, wishes.archive.resolve()))) if wishes.archive else Source()
    )


def _outside(home: Path, archive: Path) -> Path:
    if home.resolve().is_relative_to(archive):
        raise _unusable(
            f"the home {home} lies inside the archive {archive}, so its own files would be read "
            "as images; put it elsewhere"
        )
    return archive


def _dimse(text: str) -> Source:
    found = _DIMSE.fullmatch(text)
    if found is None:
        raise _unusable(f"--dimse must be such as ARCHIVE@pacs.example:104, got {text!r}")
    host = found["host"].strip("[]")
    return Source(kind="dimse", host=host, port=int(found["port"]), ae_title=found["title"])


def _todo(wishes: Wishes) -> tuple[str, ...]:
    todo = ["decide on [privacy]: the values are cautious ones, not this hospital's"]
    if wishes.dicomweb or wishes.dimse:
        todo.append("write the wanted accession numbers into accessions.txt, or [archive.query]")
    elif wishes.archive is None:
        todo.insert(0, "say where the images are: [archive] path")
    return tuple(todo)


def _next(home: Path, kind: str) -> str:
    command = "catalogue" if kind == "folder" else "pacs-request"
    return f"fedrad-site {command} --home {shlex.quote(str(home))}"


def _unusable(problem: str) -> SettingsError:
    return SettingsError("what init was asked for", (problem,))
