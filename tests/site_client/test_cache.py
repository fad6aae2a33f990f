"""The cache keeps an array, or the reason why there is none, under a name that says nothing."""

from pathlib import Path

import numpy as np
import pytest

from fedrad.errors import RunError
from site_client.archive.faults import UnusableFileError
from site_client.cache import array_path, keep_array, refuse_again, remember_refusal
from site_client.deidentify.pseudonyms import pseudonyms

NAMES = pseudonyms(b"k" * 32)


def test_an_array_is_found_by_its_key(tmp_path: Path) -> None:
    made = np.arange(6, dtype=np.float32).reshape(2, 3)
    keep_array(array_path(tmp_path, {"a": 1, "b": 2}, NAMES), made)
    assert np.array_equal(np.load(array_path(tmp_path, {"b": 2, "a": 1}, NAMES)), made)
    assert not array_path(tmp_path, {"a": 1, "b": 3}, NAMES).exists()


def test_a_failure_is_remembered_with_its_reason_and_its_numbers(tmp_path: Path) -> None:
    place = array_path(tmp_path, "key", NAMES)
    refuse_again(place)
    remember_refusal(place, UnusableFileError("too-large", "3 frames"))
    with pytest.raises(UnusableFileError) as again:
        refuse_again(place)
    assert (again.value.reason, again.value.detail) == ("too-large", "3 frames")


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"in the way")
    with pytest.raises(RunError, match="cannot be written: Not a directory; free disk space"):
        keep_array(array_path(tmp_path, "key", NAMES), np.zeros(3))


def test_the_name_of_a_cached_file_says_nothing_without_the_site_s_secret(tmp_path: Path) -> None:
    others = pseudonyms(b"o" * 32)
    ours, theirs = (array_path(tmp_path, {"files": ["ab12"]}, names) for names in (NAMES, others))
    assert ours.name != theirs.name
