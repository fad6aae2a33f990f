"""What training may see of a header: no name, no date, no text, at any depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from site_client.archive.instances import UnusableFileError, decode, read_instance
from site_client.images import read_image
from site_client.picture import picture

canaries = pytest.importorskip("identifier_canaries")
pytest.importorskip("dicomanonymizer", reason="missing: dicom-anonymizer (extra [dev])")

UIDS = "UI"  # stay until the masks are found, in the process that reads


@pytest.mark.parametrize("place", [canaries.at_top, canaries.nested])
def test_no_identifying_value_is_seen(place: Any, tmp_path: Path) -> None:
    some = [one for one in canaries.table_canaries() if one.vr != UIDS and one.tag >> 16 > 2]
    some += [one for group in canaries.other_canaries().values() for one in group]
    path = tmp_path / "file"
    path.write_bytes(canaries.raw(place(*some)))
    seen = picture(read_instance(path))
    text = str(seen)
    held = [one for one in some if one.text and one.text.decode() in text]
    assert [f"{one.tag:08X}" for one in held] == []
    assert np.array_equal(decode(seen), np.arange(64).reshape(8, 8))


def test_an_image_carries_pixels_spacing_and_one_uid(site: Any) -> None:
    file = site.image("Smith", "1.dcm", PatientComments="Smith, Anna")
    image = read_image(site.archive / "1.dcm")
    assert set(image.__slots__) == {"pixels", "spacing_mm", "uid"}
    assert image.uid == file.SOPInstanceUID
    assert image.spacing_mm == (1.0, 1.0)


def test_a_look_up_table_is_still_noticed(site: Any) -> None:
    from pydicom.dataset import Dataset

    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [2, 0, 16], "OD"
    file = site.image("P", "1.dcm")
    file.ModalityLUTSequence = [table]
    site.add(file, "1.dcm")
    with pytest.raises(UnusableFileError, match="grey-scale-unknown"):
        read_image(site.archive / "1.dcm")
