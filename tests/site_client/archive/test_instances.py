"""Foreign bytes: whatever a file holds, one error with a reason code comes out."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from site_client.archive import effort
from site_client.archive.instances import UnusableFileError, decode, read_header, read_instance
from site_client.limits import Reading

SQUARE = np.arange(256, dtype=np.uint16).reshape(16, 16)


@pytest.fixture
def small_limits() -> Iterator[Reading]:
    """Limits that a small file can pass."""
    limits = Reading(inflated_mib=1, depth=3)
    effort.use(limits)
    yield limits
    effort.use(Reading())


def deflated(path: Path, image: FileDataset, more: bytes = b"") -> Path:
    """Write ``image`` deflated, with ``more`` behind its pixels as one private element."""
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    image.add_new(0x7FE10011, "OB", more)
    image.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.usefixtures("small_limits")
def test_a_deflated_bomb_is_refused_before_a_parser_sees_it(
    tmp_path: Path, write_image: Any
) -> None:
    path = deflated(tmp_path / "bomb.dcm", write_image(SQUARE, "P1"), bytes(1 << 21))
    assert path.stat().st_size < 10_000
    for read in (lambda: read_header(path, ["Rows"]), lambda: read_instance(path)):
        with pytest.raises(UnusableFileError, match="too-large"):
            read()


def test_a_deflated_image_within_the_limit_is_read(tmp_path: Path, write_image: Any) -> None:
    path = deflated(tmp_path / "x.dcm", write_image(SQUARE, "P1"))
    assert np.array_equal(decode(read_instance(path)), SQUARE)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_inside_sequences_are_counted_before_a_parser_follows_them(
    tmp_path: Path, write_image: Any, undefined: bool
) -> None:
    for levels in (3, 4):
        item = Dataset()
        for _ in range(levels):
            inner, item = item, Dataset()
            inner.is_undefined_length_sequence_item = undefined
            item.RequestAttributesSequence = [inner]
            item["RequestAttributesSequence"].is_undefined_length = undefined
        image = write_image(SQUARE, "P1")
        image.update(item)
        image.save_as(tmp_path / f"{levels}.dcm", enforce_file_format=True)
    assert read_instance(tmp_path / "3.dcm").Rows == 16
    with pytest.raises(UnusableFileError, match="too-deep"):
        read_instance(tmp_path / "4.dcm")


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
