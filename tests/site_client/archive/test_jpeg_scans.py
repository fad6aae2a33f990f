"""A scan header that says too little is read; nothing else of a JPEG stream is touched."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from site_client.archive.instances import decode, read_instance
from site_client.archive.jpeg_scans import with_fixed_scans

RIGHT, WRONG = b"\x01\x01\x00\x00\x3f\x00", b"\x01\x01\x00\x00\x00\x00"  # one grey component


def jpeg(seed: int) -> bytes:
    """Return a grey JPEG of noise."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def wrong(stream: bytes) -> bytes:
    """Return the stream as old writers left it."""
    assert stream.count(RIGHT) == 1
    return stream.replace(RIGHT, WRONG)


def write(path: Path, write_image: Any, stream: bytes) -> Path:
    grey = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    file = write_image(np.zeros((64, 64), np.uint16), "P1", **grey)
    file.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    file.PixelData = encapsulate([stream])
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.save_as(path, enforce_file_format=True)
    return path


def test_a_stream_with_wrong_scan_numbers_has_the_pixels_of_the_right_one(
    tmp_path: Path, write_image: Any
) -> None:
    stream = jpeg(1)
    good = write(tmp_path / "good.dcm", write_image, stream)
    bad = write(tmp_path / "bad.dcm", write_image, wrong(stream))
    np.testing.assert_array_equal(decode(read_instance(bad)), decode(read_instance(good)))


def test_every_frame_is_put_right_and_right_ones_stay() -> None:
    frames = [jpeg(1), wrong(jpeg(2)), wrong(jpeg(3))]
    expected = encapsulate([jpeg(1), jpeg(2), jpeg(3)])
    assert with_fixed_scans(encapsulate(frames)) == expected
    assert with_fixed_scans(expected) is expected


def test_a_progressive_image_is_not_touched() -> None:
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "JPEG", progressive=True)
    content = encapsulate([buffer.getvalue()])
    assert with_fixed_scans(content) is content


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_bytes_keep_their_length(noise: bytes, place: int) -> None:
    content = encapsulate([wrong(jpeg(1))])
    for damaged in (noise, content[:place], content[:place] + noise + content[place:]):
        assert len(with_fixed_scans(damaged)) == len(damaged)
