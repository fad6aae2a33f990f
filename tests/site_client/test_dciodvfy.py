"""A validator of DICOM objects finds no error in a copy that it does not find in its source."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from site_client.export import export

pytestmark = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="missing: dciodvfy (Debian's dicom3tools)"
)


def errors(path: Path) -> Counter[str]:
    """What is wrong with a file, without the values that the validator quotes."""
    said = subprocess.run(
        ["dciodvfy", path], check=False, capture_output=True, text=True, errors="replace"
    )
    lines = (said.stdout + said.stderr).splitlines()
    return Counter(re.sub(r"<[0-9.]+>", "<>", one) for one in lines if one.startswith("Error"))


def new_errors(source: Path, target: Path, home: Path) -> tuple[int, dict[str, Counter[str]]]:
    """Copy a folder; return how many copies there are, and what is worse in which."""
    found = export(source, target, home)
    worse = {}
    for line in found.record.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        if one["place"]:
            more = errors(target / one["place"]) - errors(source / one["file"])
            worse |= {one["file"]: more} if more else {}
    return found.written, worse


def test_the_validator_finds_what_is_missing(site: Any) -> None:
    site.image("P1", "1.dcm")
    path = site.archive / "1.dcm"
    assert errors(path)
    file = pydicom.dcmread(path)
    del file.PatientName
    file.save_as(site.archive / "2.dcm")
    assert errors(site.archive / "2.dcm") - errors(path)


def test_copies_of_phantoms_have_no_new_error(hospitals: Path, site: Any) -> None:
    few = site.home.parent / "few"
    few.mkdir()
    files = sorted(p for p in (hospitals / "sites/east/ARCHIVE").rglob("*") if p.is_file())
    for path in files[::10]:
        shutil.copy(path, few)
    written, worse = new_errors(few, site.home.parent / "copies", site.home)
    assert written >= 3
    assert worse == {}


def test_a_copied_series_with_its_mask_has_no_new_error(site: Any) -> None:
    slices = site.series("P1", np.zeros((3, 8, 8), np.int16))
    site.mask(slices, np.ones((3, 8, 8), np.uint8), "seg.dcm")
    written, worse = new_errors(site.archive, site.home.parent / "copies", site.home)
    assert (written, worse) == (4, {})


@pytest.mark.long
def test_copies_of_real_files_have_no_new_error(dicom_files: Path, site: Any) -> None:
    written, worse = new_errors(dicom_files, site.home.parent / "copies", site.home)
    assert written >= 70
    assert worse == {}
