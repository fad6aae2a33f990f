"""Turn published images into hospitals' DICOM archives.

The source is a folder with a ``manifest.csv``, one row for each image: its file, its patient,
its site, and a label or the file of a mask. Images are grey, 8 bits, stored as they are in DX
objects; what stands in the manifest beyond label and view goes nowhere, and the identifiers
in the archive are invented. A mask is an image of its picture's size in which every value
above 0 is inside; there is no "ignore" value.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fedrad.errors import DataError
from fedrad.settings import refuse_problems
from simulations import archives
from simulations.archives import Book, WrittenHospital
from simulations.dicom import write_radiograph
from simulations.partition import deal_keys
from simulations.planted import Identity
from simulations.scanners import Scanner

MANIFEST = "manifest.csv"
_VIEWS = {"PA": "PA", "AP": "AP", "AP Supine": "AP"}  # of the manifest -> ViewPosition

Row = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicSpec:
    """Which rows of a manifest become which hospitals."""

    truth: Literal["labels", "masks"]
    keep: dict[str, tuple[str, ...]] = field(default_factory=dict)  # column -> values
    sites: dict[str, str] = field(default_factory=dict)  # of the site column -> hospital
    virtual_sites: tuple[str, ...] = ()  # deal all kept patients to these instead
    file_column: str = "file"
    patient_column: str = "patient"
    site_column: str = "site"
    label_column: str = "label"
    mask_column: str = "mask"
    view_column: str = ""  # empty: no view is written
    positive_label: str = ""
    segment_label: str = "lung"

    def __post_init__(self) -> None:
        refuse_problems("public", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.sites and self.virtual_sites:
            yield "give sites or virtual_sites, not both"
        if len(set(self.virtual_sites)) < len(self.virtual_sites):
            yield f"virtual_sites has a name twice: {', '.join(self.virtual_sites)}"

    def columns(self) -> tuple[str, ...]:
        """Return the columns that the manifest must have."""
        truth = self.label_column if self.truth == "labels" else self.mask_column
        needed = [self.file_column, self.patient_column, self.site_column, truth, *self.keep]
        return tuple(dict.fromkeys([*needed, *filter(None, [self.view_column])]))


def write_public(
    folder: Path, source: Path, spec: PublicSpec, *, seed: int
) -> tuple[WrittenHospital, ...]:
    """Write one archive for each site into ``folder/SITE``.

    All images of a patient go to one site, each as a study of its own.

    Args:
        folder: Made if absent; must hold no archive of these sites.
        source: The folder with ``manifest.csv``.
        spec: Rows, columns and sites.
        seed: Fixes the dealing to virtual sites and the invented identifiers.

    Returns:
        In order of site name.

    Raises:
        DataError: Folder, manifest, a column, an image or a mask is missing or cannot be
            used, or no row is kept; names it and the way out.
        ArchiveError: A site's folder already holds an archive.
    """
    rows = _kept(read_manifest(source, spec.columns()), spec)
    sites = _virtual(rows, spec, seed) if spec.virtual_sites else _published(rows, spec)
    return tuple(
        _write_site(
            archives.open_book(folder / site, site, seed), source, spec, patients=sites[site]
        )
        for site in sorted(sites)
    )


def read_manifest(source: Path, columns: Sequence[str]) -> list[Row]:
    """Read ``manifest.csv`` of a folder of published images.

    Raises:
        DataError: The folder, the file or a column is missing.
    """
    if not source.is_dir():
        raise DataError(f"the folder {source} does not exist; give the data's folder by --data")
    path = source / MANIFEST
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            rows = [] if missing else list(reader)
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(
            f"{path} is missing or unreadable; --data needs a folder with a {MANIFEST} that "
            f"has the columns {', '.join(columns)}"
        ) from None
    if missing:
        raise DataError(
            f"{path} lacks the column {', '.join(missing)}; add it or name another in the scenario"
        )
    return rows


def _kept(rows: list[Row], spec: PublicSpec) -> list[Row]:
    kept = [row for row in rows if all(row[name] in spec.keep[name] for name in spec.keep)]
    if not kept:
        wanted = "; ".join(f"{name} in {', '.join(spec.keep[name])}" for name in spec.keep)
        raise DataError(
            f"none of {len(rows)} rows of {MANIFEST} is kept ({wanted or 'it is empty'}); "
            "change keep in the scenario"
        )
    return kept


def _published(rows: list[Row], spec: PublicSpec) -> dict[str, dict[str, list[Row]]]:
    sites: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        published = row[spec.site_column]
        if not spec.sites or published in spec.sites:
            site = spec.sites.get(published, published)
            sites[site][_patient(row, spec)].append(row)
    absent = set(spec.sites.values()) - set(sites)
    if absent:
        raise DataError(
            f"no row is kept for {', '.join(sorted(absent))}; change sites in the scenario"
        )
    return sites


def _virtual(rows: list[Row], spec: PublicSpec, seed: int) -> dict[str, dict[str, list[Row]]]:
    by_patient: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_patient[_patient(row, spec)].append(row)
    names = spec.virtual_sites
    if len(by_patient) < len(names):
        raise DataError(
            f"{len(by_patient)} patients cannot be dealt to {len(names)} sites; "
            "name fewer virtual_sites or keep more rows"
        )
    dealt = deal_keys(tuple(by_patient), seed, sites=len(names))
    return {
        name: {key: by_patient[key] for key in keys}
        for name, keys in zip(names, dealt, strict=True)
    }


def _patient(row: Row, spec: PublicSpec) -> str:
    return f"{row[spec.site_column]}/{row[spec.patient_column]}"


def _write_site(
    book: Book, source: Path, spec: PublicSpec, *, patients: Mapping[str, list[Row]]
) -> WrittenHospital:
    positives = 0
    for ordinal, key in enumerate(sorted(patients)):
        identity = archives.admit_patient(book, ordinal)
        numbered = enumerate(patients[key], start=1)
        found = [
            _write_image(book, source, spec, who=(identity, n), row=row) for n, row in numbered
        ]
        positives += any(found)
    return archives.close_book(book, patients=len(patients), positives=positives)


def _write_image(
    book: Book, source: Path, spec: PublicSpec, *, who: tuple[Identity, int], row: Row
) -> bool:
    """Write one row's image and truth; return whether it is positive."""
    identity, number = who
    pixels = read_grey(source / row[spec.file_column])
    view = _VIEWS.get(row[spec.view_column], "") if spec.view_column else ""
    exam = archives.admit_exam(book, identity, number=number, view=view)
    uid = book.uid(identity.ordinal, number, "instance")
    book.plant(identity.ordinal, [("instance-uid", uid)])
    scanner = Scanner(manufacturer="Published", model=row[spec.site_column][:64], bits_stored=8)
    path = archives.image_path(book, exam)
    image = write_radiograph(path, pixels.astype(np.uint16), exam=exam, scanner=scanner, uid=uid)
    book.images += 1
    if spec.truth == "masks":
        mask = _read_mask(source / row[spec.mask_column], pixels.shape)
        archives.add_segmentation(book, exam, [image], mask=mask, label=spec.segment_label)
        return bool(mask.any())
    label = row[spec.label_column]
    book.labels.append((exam.study_uid, exam.accession, label))
    return label == spec.positive_label


def _read_mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    mask = (read_grey(path) > 0).astype(np.uint8)
    if mask.shape != shape:
        raise DataError(
            f"the mask {path} has {mask.shape[0]} x {mask.shape[1]} pixels and its image "
            f"{shape[0]} x {shape[1]}; make them one size"
        )
    return mask


def read_grey(path: Path) -> NDArray[np.uint8]:
    """Read an image file as grey values 0 to 255, (rows, columns).

    Raises:
        DataError: The file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"), np.uint8)
    except (OSError, UnidentifiedImageError):
        raise DataError(
            f"the image {path} is missing or unreadable; restore it or take its row out of "
            f"{MANIFEST}"
        ) from None
