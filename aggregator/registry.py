"""Which hospitals are enrolled: ``sites/NAME.json``, one file each.

A hospital is a name, a node key and certificates. Each key belongs to one name for ever: a key
that comes back under another is a copy. Nothing here decides; ``enrol`` and ``membership`` do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedrad import durable, signatures
from fedrad.documents import read_document
from fedrad.enrolment import SITE, Kind
from fedrad.errors import DamagedStateError, EnrolmentError, SettingsError
from fedrad.settings import as_table, build, refuse_problems

SCHEMA = 1
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """One hospital as the coordinator knows it."""

    schema: int = SCHEMA
    site: str
    kind: Kind
    status: Literal["enrolled", "revoked"] = "enrolled"
    node_key: str  # an OpenSSH line
    request: str  # digest of the last request that was accepted
    certificate: str  # PEM, the newest
    serials: tuple[str, ...]  # of certificates that are good, newest last; as nginx prints them
    revoked_serials: tuple[str, ...] = ()
    former_keys: tuple[str, ...] = ()  # node keys that were rotated out
    patients_agreed: int
    app_digest: str
    fedrad_version: str
    enrolled: str  # times, ISO 8601 in UTC
    changed: str

    def __post_init__(self) -> None:
        refuse_problems("site", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.schema != SCHEMA:
            yield f"schema must be {SCHEMA}, got {self.schema}"
        if not SITE.fullmatch(self.site):
            yield f"site must be a name, got {self.site!r}"

    @property
    def live(self) -> bool:
        """Whether this hospital may come in."""
        return self.status == "enrolled"

    @property
    def keys(self) -> frozenset[str]:
        """Every node key that this hospital ever had."""
        return frozenset((self.node_key, *self.former_keys))

    @property
    def fingerprint(self) -> str:
        """What people read to each other to compare the last request."""
        return signatures.spoken(self.request)


def read_sites(home: Path) -> dict[str, Enrolled]:
    """Return every hospital that was ever enrolled, by name, in the order of names.

    Raises:
        DamagedStateError: A file cannot be read, or is another hospital's.
    """
    paths = sorted((home / "sites").glob("*.json"))
    return {path.stem: _read(path) for path in paths if not path.name.startswith(".")}


def write_site(home: Path, site: Enrolled) -> None:
    """Write one hospital's file, durably."""
    durable.write_json(home / "sites" / f"{site.site}.json", as_table(site))


def revoked_serials(sites: dict[str, Enrolled]) -> tuple[str, ...]:
    """Return the serial numbers of all certificates that are no longer good."""
    gone = [serial for site in sites.values() for serial in site.revoked_serials]
    return tuple(sorted(gone))


def _read(path: Path) -> Enrolled:
    try:
        found = build(Enrolled, read_document(path, most_bytes=_MOST_BYTES))
    except (EnrolmentError, SettingsError) as error:
        raise DamagedStateError(f"{path} is damaged: {error}; restore it from a backup") from None
    if found.site != path.stem:
        raise DamagedStateError(f"{path} is the file of {found.site!r}; put it back")
    return found
