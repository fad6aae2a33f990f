"""How long a CT series takes from Orthanc into the store, beside a bare request for the same.

Both by WADO-RS from the same real Orthanc on loopback, interleaved. The bare request splits the
answer and writes one file an instance, and does nothing else: no question before, no check, no
sync. It is done in two ways, with the whole answer in memory and as it streams; the faster one
counts. The fetch is ``fedrad-site fetch`` from its first question to its last synced
file. ``--dimse`` adds the same by C-GET and C-MOVE. Needs root, Orthanc and iproute2.
Run: ``python benchmarks/retrieval.py``.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from email.message import Message
from itertools import pairwise
from pathlib import Path

import numpy as np
import real_pacs
import requests
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from fedrad.clock import SystemClock
from site_client.archive.multipart import iter_parts
from site_client.archive_settings import Archive, DicomWeb, Dimse, Query
from site_client.home import make_home
from site_client.limits import Reading
from site_client.retrieval.fetch import fetch

ROOT = f"http://{real_pacs.HOST}:{real_pacs.WEB_PORT}/dicom-web"
STUDY, SERIES = generate_uid(), generate_uid()
URL = f"{ROOT}/studies/{STUDY}/series/{SERIES}"
ACCEPT = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
QUERY = Query(modality=("CT",), first_date="2024-01-01", last_date="2024-01-31")
SITE_TOML = """
[site]
name = "bench"
[archive]
kind = "folder"
path = "unused"
[privacy]
epsilon_limit = 1.0
delta_limit = 1e-4
min_patients = 1
max_rounds = 1
max_steps = 1
"""


def main() -> None:
    """Print one row a way, in seconds, and the ratio to the bare request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dimse", action="store_true")
    wishes = parser.parse_args()
    if missing := real_pacs.missing_parts():
        sys.exit(f"missing: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(dir=".") as folder, real_pacs.own_network():
        measure(Path(folder).resolve(), wishes)


def measure(folder: Path, wishes: argparse.Namespace) -> None:
    """Fill an Orthanc, take turns, print."""
    ways: dict[str, Callable[[Path], None]] = {
        "bare, whole": bare_whole,
        "bare, streamed": bare_streamed,
        "fetch, DICOMweb": by_web,
    }
    if wishes.dimse:
        ways |= {"fetch, C-GET": by_get, "fetch, C-MOVE": by_move}
    with real_pacs.orthanc(folder / "orthanc"):
        real_pacs.fill([slice_bytes(z, wishes.size) for z in range(wishes.slices)])
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(wishes.repeats + 1):
            for name, way in ways.items():
                taken = timed(way, folder / "site", wishes.slices)
                seconds[name] += [taken] if turn else []  # the first turn warms caches
    base = min(statistics.median(seconds[name]) for name in ways if name.startswith("bare"))
    print(f"{wishes.slices} slices of {wishes.size} px, {wishes.repeats} turns, seconds")
    for name, values in seconds.items():
        middle = statistics.median(values)
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{name:16} median {middle:.2f}  ({spread})  {middle / base:.2f} x bare")


def timed(way: Callable[[Path], None], home: Path, slices: int) -> float:
    """Run one way into an empty folder and check that everything came."""
    os.sync()
    make_home(home, SITE_TOML)
    start_s = time.perf_counter()
    way(home)
    taken = time.perf_counter() - start_s
    found = sum(1 for path in home.rglob("*.dcm"))
    if found != slices:
        raise RuntimeError(f"{found} of {slices} slices came")
    shutil.rmtree(home)
    return taken


def bare_streamed(home: Path) -> None:
    """One request, its parts to files while they arrive."""
    with requests.get(URL, headers=ACCEPT, stream=True, timeout=60) as answer:
        header = Message()
        header["Content-Type"] = answer.headers["Content-Type"]
        boundary = str(header.get_boundary()).encode()
        for number, part in enumerate(iter_parts(answer.iter_content(1 << 20), boundary)):
            with (home / f"{number}.dcm").open("wb") as file:
                file.writelines(part)


def bare_whole(home: Path) -> None:
    """One request, its parts to files once all of it is in memory."""
    request = urllib.request.Request(URL, headers=ACCEPT)  # noqa: S310  # loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310  # loopback
        header, body = Message(), answer.read()
        header["Content-Type"] = answer.headers["Content-Type"]
    delimiter = b"--" + str(header.get_boundary()).encode()
    ends = [found.start() for found in re.finditer(re.escape(delimiter), body)]
    view = memoryview(body)  # no copy of what is written
    for number, (start, end) in enumerate(pairwise(ends)):
        content = view[body.index(b"\r\n\r\n", start) + 4 : end - 2]
        (home / f"{number}.dcm").write_bytes(content)


def by_web(home: Path) -> None:
    """``fedrad-site fetch`` by DICOMweb."""
    run(home, Archive(kind="dicomweb", dicomweb=DicomWeb(url=ROOT), query=QUERY))


def by_get(home: Path) -> None:
    """The same by C-GET."""
    run(home, Archive(kind="dimse", dimse=dimse(), query=QUERY))


def by_move(home: Path) -> None:
    """The same by C-MOVE."""
    listener = {"listen_address": real_pacs.HOST, "listen_port": real_pacs.OWN_PORT}
    run(home, Archive(kind="dimse", dimse=dimse(move=True, **listener), query=QUERY))


def dimse(**changes: object) -> Dimse:
    """Return how to reach Orthanc by DIMSE."""
    return Dimse(
        host=real_pacs.HOST,
        port=real_pacs.DICOM_PORT,
        ae_title=real_pacs.TITLE,
        own_ae_title=real_pacs.OWN_TITLE,
        **changes,  # type: ignore[arg-type]
    )


def run(home: Path, archive: Archive) -> None:
    """Fetch into ``home/store``."""
    kept = dataclasses.replace(archive, path=home / "store")
    report = fetch(home, kept, SystemClock(), reading=Reading(), say=lambda _: None)
    if not report.complete:
        raise RuntimeError(report.problem)


def slice_bytes(z: int, size: int) -> bytes:
    """Return one CT slice of noise, which no compression makes smaller."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for name, value in {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(), "Modality": "CT",
        "StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "PatientID": "BENCH",
        "PatientName": "Nobody^Real", "StudyDate": "20240110", "InstanceNumber": z + 1,
        "Rows": size, "Columns": size, "SamplesPerPixel": 1, "BitsAllocated": 16,
        "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1,
        "PhotometricInterpretation": "MONOCHROME2",
    }.items():  # fmt: skip
        setattr(file, name, value)
    meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.PixelData = np.random.default_rng(z).integers(0, 4096, size * size, np.int16).tobytes()
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
