"""Where the images are and how to ask for them: the ``[archive]`` table of ``site.toml``.

A folder is read where it lies. A PACS is asked, by DICOMweb or by DIMSE, for what
``[archive.query]`` names; what it sends is kept below ``path``, which the catalogue then reads
like any folder. Nothing here opens a file or a connection: that belongs to ``archive``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from fedrad.settings import refuse_problems

STORE = "store"  # below the home: what a PACS sent
_ABSENT = Path()
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PACS_ONLY = ("query", "hours", "contact", "max_associations", "attempts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """``[archive.query]``: what the site asks a PACS for; every given line must hold."""

    modality: tuple[str, ...]  # such as CT, DX, SEG
    first_date: str = ""  # StudyDate, such as 2024-01-31
    last_date: str = ""  # with first_date; absent: today
    study_description: str = ""  # * and ? stand for anything; case does not count
    series_description: str = ""
    accessions: Path = _ABSENT  # one accession number a line

    def __post_init__(self) -> None:
        refuse_problems("archive.query", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not self.modality or not all(re.fullmatch("[A-Z0-9_]{1,16}", m) for m in self.modality):
            yield f'modality must be a list such as ["CT", "SEG"], got {list(self.modality)}'
        days = [_day(text) for text in (self.first_date, self.last_date)]
        for name, day in zip(("first_date", "last_date"), days, strict=True):
            if getattr(self, name) and day is None:
                yield f"{name} must be a day such as 2024-01-31, got {getattr(self, name)!r}"
        if days[0] and days[1] and days[0] > days[1]:
            yield f"first_date {days[0]} lies after last_date {days[1]}"
        if self.last_date and not self.first_date:
            yield "last_date needs a first_date beside it"
        if not self.first_date and self.accessions == _ABSENT:
            yield "first_date or accessions is missing: this would ask for the whole archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomWeb:
    """``[archive.dicomweb]``: the address of a QIDO-RS and WADO-RS service, and who asks."""

    url: str
    ca: Path = _ABSENT  # PEM; absent: the authorities that Python's requests trusts
    certificate: Path = _ABSENT  # PEM of the site as a client
    key: Path = _ABSENT
    user: str = ""
    password_file: Path = _ABSENT
    token_file: Path = _ABSENT  # sent as a bearer token
    connect_s: float = 10.0
    read_s: float = 120.0  # longest silence

    def __post_init__(self) -> None:
        refuse_problems("archive.dicomweb", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value and each combination that cannot be used."""
        secure = self.url.startswith("https://")
        yield from self._url_problems()
        yield from _pairs(self, ("certificate", "key"), ("user", "password_file"))
        if self.user and self.token_file != _ABSENT:
            yield "user and token_file are two ways to sign in; keep one"
        for name in ("ca", "certificate", "key"):
            if not secure and getattr(self, name) != _ABSENT:
                yield f"{name} needs an https:// url"
        signs_in = bool(self.user) or self.token_file != _ABSENT
        if signs_in and not secure and _host(self.url) not in _LOOPBACK:
            yield "a password or token over http:// can be read by anybody between; use https://"
        yield from _positive(self, "connect_s", "read_s")

    def _url_problems(self) -> Iterator[str]:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            usable = usable and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable:
            yield "url must be such as https://pacs.example/dicom-web"  # may hold a password
        elif parts.username is not None or parts.query or parts.fragment:
            yield "url must hold no user, password or query; put secrets into files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimse:
    """``[archive.dimse]``: a PACS that speaks C-FIND with C-GET or C-MOVE, and timeouts."""

    host: str
    port: int
    ae_title: str  # the PACS's
    own_ae_title: str = "FEDRAD"
    tls: bool = False
    ca: Path = _ABSENT
    certificate: Path = _ABSENT
    key: Path = _ABSENT
    connect_s: float = 10.0
    association_s: float = 30.0
    dimse_s: float = 120.0  # longest wait for one answer
    network_s: float = 120.0  # longest silence
    move: bool = False  # C-MOVE in place of C-GET: listens while fetching
    listen_address: str = ""
    listen_port: int = 0

    def __post_init__(self) -> None:
        refuse_problems("archive.dimse", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value and each combination that cannot be used."""
        if not self.host or self.host != self.host.strip():
            yield f"host must be a name or an address, got {self.host!r}"
        if not 0 < self.port < 65536:
            yield f"port must lie in 1 to 65535, got {self.port}"
        for name in ("ae_title", "own_ae_title"):
            if not _is_ae_title(getattr(self, name)):
                yield f"{name} must be 1 to 16 plain characters, got {getattr(self, name)!r}"
        yield from _pairs(self, ("certificate", "key"))
        for name in ("ca", "certificate", "key"):
            if not self.tls and getattr(self, name) != _ABSENT:
                yield f"{name} needs tls = true"
        if self.tls and self.ca == _ABSENT:
            yield "tls needs ca: the certificate of whoever signed the PACS's"
        yield from self._move_problems()
        yield from _positive(self, "connect_s", "association_s", "dimse_s", "network_s")

    def _move_problems(self) -> Iterator[str]:
        if self.move and not (self.listen_address and 0 < self.listen_port < 65536):
            yield "move needs listen_address and listen_port (1 to 65535), where the PACS sends to"
        if self.move and self.tls:
            yield "move with tls is not supported by this version; leave one out"
        if not self.move and (self.listen_address or self.listen_port):
            yield "listen_address and listen_port need move = true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """``[archive]``: a folder, or a PACS with what to ask it, when, and how hard."""

    kind: Literal["folder", "dicomweb", "dimse"]
    path: Path = _ABSENT  # the folder; of a PACS: where its images are kept, "store" if absent
    dicomweb: DicomWeb | None = None
    dimse: Dimse | None = None
    query: Query | None = None
    hours: str = ""  # local time, such as 20:00-06:00; absent: always
    contact: str = ""  # who answers for the site, on the form for the PACS's administrator
    max_associations: int = 1  # connections at the same time
    attempts: int = 5  # of one request before it is given up
    max_instance_mib: float = 1024.0
    keep_free_gib: float = 1.0  # of the disk that holds path; a ledger may lie there too

    def __post_init__(self) -> None:
        refuse_problems("archive", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value and each combination that cannot be used."""
        yield from self._foreign_tables()
        if self.kind == "folder" and self.path == _ABSENT:
            yield "path is missing: the folder of images"
        if self.kind != "folder" and self.query is None:
            yield "query is missing: what to ask the PACS for"
        if self.hours and parse_hours(self.hours) is None:
            yield f"hours must be such as 20:00-06:00, got {self.hours!r}"
        for name in ("max_associations", "attempts"):
            if not 1 <= getattr(self, name) <= 20:
                yield f"{name} must lie in 1 to 20, got {getattr(self, name)}"
        if self.dimse is not None and self.dimse.move and self.max_associations != 1:
            yield "max_associations must be 1 with move = true: one listener, one sender"
        yield from _positive(self, "max_instance_mib")
        if not self.keep_free_gib >= 0:
            yield f"keep_free_gib must be 0 or more, got {self.keep_free_gib}"

    def _foreign_tables(self) -> Iterator[str]:
        for name in ("dicomweb", "dimse"):
            given = getattr(self, name) is not None
            if given and name != self.kind:
                yield f'{name} belongs to kind = "{name}"; here kind is "{self.kind}"'
            if name == self.kind and not given:
                yield f"{name} is missing: how to reach the PACS"
        plain = {field.name: field.default for field in dataclasses.fields(self)}
        for name in _PACS_ONLY:
            if self.kind == "folder" and getattr(self, name) != plain[name]:
                yield f'{name} belongs to a PACS; leave it out with kind = "folder"'


def inside(home: Path, archive: Archive) -> Archive:
    """Return ``archive`` with its paths taken from ``home``, and a PACS's store named."""
    kept = archive.path if archive.path != _ABSENT else Path(STORE)
    return dataclasses.replace(
        archive,
        path=home / kept,
        dicomweb=_inside(home, archive.dicomweb),
        dimse=_inside(home, archive.dimse),
        query=_inside(home, archive.query),
    )


def parse_hours(text: str) -> tuple[time, time] | None:
    """Read ``20:00-06:00`` as the first and the last minute; ``None`` if it is no such text."""
    found = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", text)
    try:
        ends = tuple(time.fromisoformat(part) for part in found.groups()) if found else ()
    except ValueError:
        return None
    return (ends[0], ends[1]) if len(ends) == 2 and ends[0] != ends[1] else None


def is_open(hours: str, now: datetime) -> bool:
    """Say whether ``now``, any zone, lies in the local ``hours``; no hours are always open."""
    ends = parse_hours(hours)
    if ends is None:
        return True
    clock = now.astimezone().time()
    first, last = ends
    return first <= clock < last if first < last else clock >= first or clock < last


def _inside(home: Path, table: Any) -> Any:
    if table is None:
        return None
    changes = {
        field.name: home / value
        for field in dataclasses.fields(table)
        if isinstance(value := getattr(table, field.name), Path) and value != _ABSENT
    }
    return dataclasses.replace(table, **changes)


def _pairs(table: object, *pairs: tuple[str, str]) -> Iterator[str]:
    for pair in pairs:
        missing = [name for name in pair if getattr(table, name) in (_ABSENT, "")]
        if len(missing) == 1:
            yield f"{missing[0]} is missing beside {next(n for n in pair if n != missing[0])}"


def _positive(table: object, *names: str) -> Iterator[str]:
    for name in names:
        if not getattr(table, name) > 0:
            yield f"{name} must be greater than 0, got {getattr(table, name)}"


def _is_ae_title(text: str) -> bool:
    """PS3.5 6.2, VR AE: 16 bytes of the default repertoire, no backslash, not only spaces."""
    return bool(re.fullmatch(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?", text))


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  # a day has no zone
    except ValueError:
        return None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
