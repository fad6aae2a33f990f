"""A PACS on loopback: real programs in a network of this process's own, or a skip that says so."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_pacs
from pydicom.dataset import FileDataset

from site_client.archive_settings import Archive, DicomWeb, Dimse, Query
from site_client.home import make_home
from site_client.limits import Reading
from site_client.retrieval.fetch import fetch
from site_client.retrieval.report import Report

WEB = DicomWeb(url=f"http://{real_pacs.HOST}:{real_pacs.WEB_PORT}/dicom-web")
DIMSE = Dimse(
    host=real_pacs.HOST,
    port=real_pacs.DICOM_PORT,
    ae_title=real_pacs.TITLE,
    own_ae_title=real_pacs.OWN_TITLE,
)
MOVING = {"move": True, "listen_address": real_pacs.HOST, "listen_port": real_pacs.OWN_PORT}
JANUARY = Query(modality=("CT",), first_date="2024-01-01", last_date="2024-01-31")


class Waiting:
    """A clock on which waiting takes no time; it notes how long was waited."""

    def __init__(self) -> None:
        self.waited_s: list[float] = []
        self.start = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
        self.on_wait: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.monotonic_s())

    def monotonic_s(self) -> float:
        return sum(self.waited_s)

    def sleep(self, wait_s: float) -> None:
        self.waited_s.append(wait_s)
        self.on_wait()


@dataclass
class FetchingSite:
    """A home that fetches; ``fetch`` runs once, with changes to the settings."""

    home: Path
    clock: Waiting = field(default_factory=Waiting)
    said: list[str] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)

    def fetch(self, archive: Archive) -> Report:
        return fetch(self.home, archive, self.clock, reading=self.reading, say=self.said.append)

    def web(self, query: Query = JANUARY, table: DicomWeb = WEB, **changes: Any) -> Archive:
        plain: dict[str, Any] = {"keep_free_gib": 0.0, "path": self.home / "store"} | changes
        return Archive(kind="dicomweb", dicomweb=table, query=query, **plain)

    def dimse(self, query: Query = JANUARY, table: Dimse = DIMSE, **changes: Any) -> Archive:
        plain: dict[str, Any] = {"keep_free_gib": 0.0, "path": self.home / "store"} | changes
        return Archive(kind="dimse", dimse=table, query=query, **plain)

    def moving(self, **changes: Any) -> Archive:
        return self.dimse(table=replace(DIMSE, **MOVING), **changes)

    def stored(self) -> list[Path]:
        return sorted((self.home / "store").rglob("*.dcm"))


@pytest.fixture
def fetching(tmp_path: Path, site_toml: str) -> FetchingSite:
    """A home without an image."""
    make_home(tmp_path / "home", site_toml, split_key=b"k" * 32)
    return FetchingSite(tmp_path / "home")


@pytest.fixture
def network() -> Iterator[None]:
    """Put the test into a network with loopback alone."""
    missing = real_pacs.missing_parts()
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    with real_pacs.own_network():
        yield


@pytest.fixture
def orthanc(network: None, tmp_path: Path) -> Iterator[real_pacs.Program]:
    """Run an empty Orthanc."""
    with real_pacs.orthanc(tmp_path / "orthanc") as program:
        yield program


@pytest.fixture
def make_series(write_series: Callable[..., list[FileDataset]]) -> Callable[..., list[bytes]]:
    """Make the encoded slices of one CT series."""

    def make(patient: str, slices: int = 3, size: int = 8, **elements: Any) -> list[bytes]:
        voxels = np.arange(slices * size**2).astype(np.int16).reshape(slices, size, size)
        defaults = {"StudyDate": "20240110", "StudyDescription": "CT THORAX"}
        return [encoded(one) for one in write_series(patient, voxels, **(defaults | elements))]

    return make


def encoded(file: FileDataset) -> bytes:
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
