"""What every PACS is asked, whatever protocol it speaks, and how it fails.

``dicomweb`` and ``dimse`` answer these questions; ``site_client.retrieval`` asks them, repeats
them and keeps what comes. UIDs stay in memory: no error here names a study, series or
instance, because errors reach screens and logs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fedrad.errors import ArchiveError
from site_client.archive.inbox import Inbox

MOST_ANSWERS = 100_000  # to one question; more is no answer to it
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")  # PS3.5 sec. 9, leading zeros let pass


class PacsError(ArchiveError):
    """A PACS that cannot be used now; asking again may help."""


class PacsUnreachableError(PacsError):
    """No connection at all: it is down, or something lies between."""


class PacsRefusedError(PacsError):
    """A PACS that says no and will go on saying so until somebody changes a setting."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which studies: by days (DICOM's YYYYMMDD, both given) or by accession number."""

    modality: str
    first_day: str = ""
    last_day: str = ""
    accession: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """One study as the PACS describes it; what it does not say is empty or 0."""

    uid: str
    day: str
    description: str
    accession: str
    instances: int


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a study, likewise."""

    study: str
    uid: str
    modality: str
    description: str
    instances: int


class Pacs(Protocol):
    """One connection to a PACS; used by one thread at a time.

    Every method raises ``PacsError`` or one of its kinds, and ``NoRoomError`` where it fills
    an inbox.
    """

    def find_studies(self, question: Question) -> list[Study]:
        """Return the studies that match; a PACS may return more than it was asked for."""

    def find_series(self, study: Study) -> list[Series]:
        """Return the series of one study."""

    def list_instances(self, series: Series) -> list[str]:
        """Return the SOP Instance UIDs of one series."""

    def fetch_series(self, series: Series, inbox: Inbox) -> None:
        """Put every instance of one series into ``inbox``; what came before an error stays."""

    def fetch_instances(self, series: Series, uids: Sequence[str], inbox: Inbox) -> None:
        """Put the named instances of one series into ``inbox``, likewise."""

    def close(self) -> None:
        """End what is still open."""


def is_uid(text: str) -> bool:
    """Say whether ``text`` may go into a request: digits and dots, at most 64."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None
