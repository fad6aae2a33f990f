"""What a check says of files and images: read, set aside, admitted, of which scanners, twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from site_client.holdings import read_quarantine
from site_client.preflight.duplicates import Twins
from site_client.preflight.lines import Line, no, ok, warning
from site_client.preflight.stock import Place, Stock
from site_client.quarantine import SetAside, sum_up

MANY = 0.25  # of the files set aside: worth a look
_FROZEN_ELSEWHERE = " freeze"  # what ``freeze`` noted; the splits' own notes are newer


@dataclass(frozen=True, slots=True)
class Group:
    """The images of one make of scanner, or of one view."""

    name: str
    patients: int
    images: int


def archive_lines(place: Place, stock: Stock, twins: Sequence[Twins]) -> Iterator[Line]:
    """Yield what there is to say, as far as the stock goes."""
    if stock.catalogue is None:
        return
    found = f"{len(stock.catalogue)} files in {place.settings.archive.path}"
    if stock.catalogue.empty:
        yield no("archive", found, do="put images there, or correct [archive] in site.toml")
        return
    yield ok("archive", found)
    yield _set_aside(stock.catalogue)
    yield _admitted(stock.catalogue, stock.images)
    if not stock.images.empty:
        makes, devices = stock.images["maker"].nunique(), _devices(stock.images)
        yield ok("scanners", f"makes: {makes}; machines with a serial number: {devices}")
    yield from _doubled(stock.catalogue, twins)


def set_aside(home: Path, task: str) -> tuple[SetAside, ...]:
    """Return what is set aside for any task or for this one, by reason."""
    rows = read_quarantine(home)
    of = rows["task"]
    mine = (of == "") | (of == task) | of.str.startswith(f"{task} ")
    return sum_up(rows[mine & (of != f"{task}{_FROZEN_ELSEWHERE}")])


def groups(images: pd.DataFrame, column: str) -> tuple[Group, ...]:
    """Return patients and images by ``maker`` or ``view`` of admitted images."""
    if images.empty:
        return ()
    named = images.assign(**{column: images[column].replace("", "not stated")})
    found = [
        Group(str(name), int(rows["patient"].nunique()), len(rows))
        for name, rows in named.groupby(column)
    ]
    return tuple(sorted(found, key=lambda one: (-one.patients, one.name)))


def _set_aside(catalogue: pd.DataFrame) -> Line:
    aside, files = int((catalogue["reason"] != "").sum()), len(catalogue)
    found = f"{aside} of {files} files, whatever the task"
    if aside > MANY * files:
        do = "see the reasons below; fedrad-site quarantine REASON names the files"
        return warning("set aside", found, limit=f"at most {100 * MANY:g} %", do=do)
    return ok("set aside", found)


def _admitted(catalogue: pd.DataFrame, images: pd.DataFrame) -> Line:
    usable = int((catalogue["reason"] == "").sum())
    found = f"{len(images)} of {usable} usable files suit the task"
    if images.empty:
        return no("images", found, do="see the reasons below, and compare with the task's [data]")
    return ok("images", found)


def _devices(images: pd.DataFrame) -> int:
    return int(images.loc[images["device"] != "", "device"].nunique())


def _doubled(catalogue: pd.DataFrame, twins: Sequence[Twins]) -> Iterator[Line]:
    again = int((catalogue["reason"] == "duplicate-instance").sum())
    owners = catalogue[catalogue["reason"] == ""].groupby("instance")["patient"].nunique()
    shared = int((owners > 1).sum())
    persons = [one for one in twins if len(one.patients) > 1]
    if shared or persons:
        yield warning(
            "duplicates",
            f"{shared} UIDs and {len(persons)} pictures belong to several patients each",
            do="one person with two PatientIDs? Say so in [patients] mapping before the first "
            "round, else they are in two splits",
        )
    same = sum(one.images - 1 for one in twins if len(one.patients) == 1)
    found = f"{again} files repeat a UID and are left out, {same} pictures come twice in a patient"
    yield ok("duplicates", found)
