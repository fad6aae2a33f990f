"""286 real DICOM files of many makers, some broken: read as pydicom reads them, or set aside."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from numpy.typing import NDArray

from fedrad.data_contract import Labels
from site_client.archive.instances import decode, read_instance
from site_client.archive.readers import Answer, Outcome, Readers, Request
from site_client.catalogue import look_at
from site_client.gate import admit
from site_client.grey import grey_values
from site_client.limits import Reading

TWELVE_BITS = (
    "pyd__JPEG-lossy.dcm",
    *(f"rob__WG04_JPLY_{name}_JPLY" for name in ("MR2", "MR3", "MR4", "RG2", "RG3", "XA1")),
)


@pytest.fixture(scope="module")
def table(dicom_files: Path) -> pd.DataFrame:
    """Return their catalogue."""
    return look_at(dicom_files)


def pydicom_pixels(path: Path) -> NDArray[Any] | None:
    """Return what pydicom decodes by its own choice of decoder; ``None`` if it cannot."""
    with suppress(Exception):
        return np.asarray(pydicom.dcmread(path).pixel_array)
    return None


def admitted(table: pd.DataFrame, make_task: Any) -> list[str]:
    """Return the files that a contract admits which asks for nothing but grey single images.

    Whose they are and whether several hold one image does not count here.
    """
    found: list[str] = []
    usable = table[table["fault"] == ""].assign(reason="")
    for modality, rows in usable.groupby("modality"):
        classes = sorted(set(rows["sop_class"]))
        data = {"modality": modality, "sop_classes": classes, "min_rows": 1, "min_columns": 1}
        found += list(admit(table, make_task(data=data)).images["file"])
    return sorted(found)


def read_all(folder: Path, files: list[str]) -> Iterator[tuple[str, Outcome]]:
    """Read each image in a worker process."""
    place = {file: (folder / file).stat() for file in files}
    requests = [
        Request(
            "site_client.unit_files:read_image_unit",
            {
                "folder": str(folder),
                "files": [(file, place[file].st_size, place[file].st_mtime_ns, "")],
                "truths": [],
                "labels": {"source": Labels(source="csv").source},
            },
        )
        for file in files
    ]
    with Readers(Reading()) as readers:
        yield from zip(files, readers.each(requests), strict=True)


def test_every_admitted_file_has_the_pixels_that_pydicom_decodes(
    dicom_files: Path, table: pd.DataFrame, make_task: Any
) -> None:
    wanted = admitted(table, make_task)
    assert len(wanted) >= 80
    for file, outcome in read_all(dicom_files, wanted):
        theirs = pydicom_pixels(dicom_files / file)
        assert isinstance(outcome, Answer), file
        if "refused" in outcome.result:
            reason = outcome.result["refused"][0]
            assert (reason == "pixels-unreadable") == (theirs is None), (file, reason)
            assert reason in ("pixels-unreadable", "grey-scale-unknown"), file
        elif theirs is None:
            assert file in TWELVE_BITS, file  # below, beside dcmtk
        else:
            expected = grey_values(pydicom.dcmread(dicom_files / file), theirs)
            np.testing.assert_array_equal(outcome.arrays[0], expected, err_msg=file)


def test_lossy_jpeg_of_twelve_bits_has_the_pixels_that_dcmtk_decodes(
    dicom_files: Path, tmp_path: Path
) -> None:
    """Its scans say what pydicom's decoders refuse; two inverse transforms may round apart."""
    if shutil.which("dcmdjpeg") is None:
        pytest.skip("missing: dcmdjpeg, of Debian's dcmtk")
    for file in (dicom_files / name for name in TWELVE_BITS):
        assert pydicom_pixels(file) is None
        plain = tmp_path / file.name
        subprocess.run(["dcmdjpeg", "+te", file, plain], check=True, capture_output=True)
        theirs = pydicom_pixels(plain)
        ours = decode(read_instance(file))
        assert theirs is not None
        assert np.abs(ours.astype(int) - theirs).max() <= 1, file.name


def test_what_is_set_aside_before_any_contract_is_what_pydicom_does_not_decode(
    dicom_files: Path, table: pd.DataFrame
) -> None:
    assert len(table) == sum(path.is_file() for path in dicom_files.rglob("*"))
    about_pixels = ("not-dicom", "syntax-missing", "no-pixels", "syntax-unsupported", "truncated")
    in_use = ("", "duplicate-instance", "instance-conflict", "patient-id-unusable")
    refused = table[~table["reason"].isin(in_use)]
    assert set(refused["reason"]) <= {*about_pixels, "unreadable", "instance-uid-missing"}
    for file, reason in refused[["file", "reason"]].itertuples(index=False):
        if reason in about_pixels:
            assert pydicom_pixels(dicom_files / file) is None, (file, reason)
