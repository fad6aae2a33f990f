"""Foreign bytes: whatever a file holds, one error with a reason code comes out."""

import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from site_client.archive.instances import UnusableFileError, decode, read_header, read_instance


def test_a_deflated_bomb_is_refused_before_it_is_inflated(tmp_path: Path, write_image: Any) -> None:
    path = tmp_path / "bomb.dcm"
    file = write_image(np.zeros((16, 16), np.uint16), "P1")
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file.save_as(path, enforce_file_format=True)
    with path.open("ab") as tail:
        tail.write(zlib.compress(bytes(10**7)))
    for read in (lambda: read_header(path, ["Rows"]), lambda: read_instance(path)):
        with pytest.raises(UnusableFileError, match="deflated"):
            read()


def test_a_header_that_claims_a_huge_image_is_refused(tmp_path: Path, write_image: Any) -> None:
    path = tmp_path / "lie.dcm"
    lie = {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 100}
    write_image(np.zeros((16, 16), np.uint16), "P1", **lie).save_as(path, enforce_file_format=True)
    with pytest.raises(UnusableFileError, match="too-large"):
        read_instance(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_pixels_come_back_as_they_were(
    tmp_path: Path, write_image: Any, syntax: str
) -> None:
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 4096
    file = write_image(values, "P1")
    file.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    file.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    assert np.array_equal(decode(read_instance(tmp_path / "x.dcm")), values)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), min_size=1, max_size=20))
def test_damaged_bytes_are_read_or_refused_and_never_raise_anything_else(
    tmp_path: Path, write_image: Any, damage: list[tuple[int, int]]
) -> None:
    path = tmp_path / "x.dcm"
    write_image(np.zeros((16, 16), np.uint16), "P1").save_as(path, enforce_file_format=True)
    content = bytearray(path.read_bytes())
    for place, value in damage:
        content[place % len(content)] = value
    path.write_bytes(content)
    with suppress(UnusableFileError):
        decode(read_instance(path))
