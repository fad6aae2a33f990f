"""286 real DICOM files of many makers, some broken: the path reads or sets aside, and goes on."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from site_client.archive.instances import UnusableFileError
from site_client.catalogue import update_catalogue
from site_client.gate import admit
from site_client.images import read_image

REPOSITORY = Path(__file__).parents[2]
FILES = Path(os.environ.get("FEDRAD_DATA", REPOSITORY / "../shared/data")) / "dicom/files"

pytestmark = pytest.mark.skipif(
    not FILES.is_dir(), reason="no real DICOM files: set FEDRAD_DATA to a folder with dicom/files"
)


def test_every_real_file_is_read_or_set_aside_with_a_reason(
    site: Any, make_task: Any, site_toml: str
) -> None:
    site.settings(site_toml.replace("../archive", str(FILES.resolve())))
    table = update_catalogue(site.home)
    assert len(table) == sum(path.is_file() for path in FILES.rglob("*"))
    counts: Counter[str] = Counter()
    for modality in ("CT", "MR", "CR"):
        task = make_task(data={"modality": modality, "min_rows": 8, "min_columns": 8})
        for file in admit(table, task).images["file"]:
            counts[read(FILES / file)] += 1
    assert counts["read"] >= 60
    assert set(counts) <= {"read", "pixels-unreadable"}


def read(path: Path) -> str:
    """Return ``read`` or the reason why not."""
    try:
        pixels = read_image(path).pixels
    except UnusableFileError as error:
        return error.reason
    return "read" if np.isfinite(pixels).all() else "not-finite"
