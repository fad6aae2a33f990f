"""A multipart body gives the same parts however it is cut into chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_client.archive.multipart import iter_parts
from site_client.archive.pacs import PacsError

BOUNDARY = b"b-1"
PARTS = st.lists(st.binary(max_size=60).filter(lambda part: b"\r\n--" + BOUNDARY not in part))


def body(parts: list[bytes]) -> bytes:
    whole = b"".join(b"--b-1\r\nContent-Type: x\r\n\r\n" + part + b"\r\n" for part in parts)
    return whole + b"--b-1--\r\n"


def chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    found, start = [], 0
    for size in [*sizes, len(data)]:
        found.append(data[start : start + size])
        start += size
    return found


@given(PARTS, st.lists(st.integers(0, 30)))
def test_parts_come_back_whole_whatever_the_chunks(parts: list[bytes], sizes: list[int]) -> None:
    read = [b"".join(part) for part in iter_parts(chunks(body(parts), sizes), BOUNDARY)]
    assert read == parts


@given(PARTS.filter(bool), st.data())
def test_a_body_that_ends_early_is_an_error_after_its_whole_parts(
    parts: list[bytes], data: st.DataObject
) -> None:
    whole = body(parts)
    cut = data.draw(st.integers(0, len(whole) - len(b"--\r\n") - 1))
    read: list[bytes] = []
    found = (read.append(b"".join(part)) for part in iter_parts([whole[:cut]], BOUNDARY))
    with pytest.raises(PacsError, match="cut short"):
        list(found)
    assert read == parts[: len(read)]


def test_a_part_without_an_end_of_its_header_is_not_read_for_ever() -> None:
    endless = [b"--b-1\r\n"] + [b"x" * 1000] * 100
    with pytest.raises(PacsError, match="header has no end"):
        list(iter_parts(endless, BOUNDARY))
