"""The cache makes an array once, and a failure once."""

from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from fedrad.errors import RunError
from site_client.archive.instances import UnusableFileError
from site_client.cache import cached_array
from site_client.deidentify.pseudonyms import pseudonyms

NAMES = pseudonyms(b"k" * 32)


def never() -> NoReturn:
    raise KeyError("asked to make what is there")


def test_an_array_is_made_once_and_found_by_its_key(tmp_path: Path) -> None:
    made = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = cached_array(tmp_path, {"a": 1, "b": 2}, lambda: made, names=NAMES)
    assert cached_array(tmp_path, {"b": 2, "a": 1}, never, names=NAMES) == path
    assert np.array_equal(np.load(path), made)
    with pytest.raises(KeyError):
        cached_array(tmp_path, {"a": 1, "b": 3}, never, names=NAMES)


def test_a_failure_is_remembered_with_its_reason(tmp_path: Path) -> None:
    def refuse() -> NoReturn:
        raise UnusableFileError("slices-missing", "gap of 5 mm")

    for make in (refuse, never):
        with pytest.raises(UnusableFileError, match="slices-missing") as caught:
            cached_array(tmp_path, "key", make, names=NAMES)
        assert caught.value.detail == "gap of 5 mm"


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"in the way")
    with pytest.raises(RunError, match="cannot be written: Not a directory; free disk space"):
        cached_array(tmp_path, "key", lambda: np.zeros(3), names=NAMES)


def test_the_name_of_a_cached_file_says_nothing_without_the_site_s_secret(tmp_path: Path) -> None:
    others = pseudonyms(b"o" * 32)
    ours, theirs = (
        cached_array(tmp_path, {"files": ["ab12"]}, lambda: np.zeros(3), names=names)
        for names in (NAMES, others)
    )
    assert ours.name != theirs.name
