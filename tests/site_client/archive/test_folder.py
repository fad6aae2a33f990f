"""Listing an archive that is a folder."""

import os
from pathlib import Path

import pytest

from fedrad.errors import ArchiveError
from site_client.archive.folder import list_files


def test_files_are_listed_by_path_with_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/2 ü.dcm").write_bytes(b"12")
    (tmp_path / "a").write_bytes(b"1")
    os.utime(tmp_path / "a", ns=(5, 7))
    found = list_files(tmp_path)
    assert [(f.file, f.bytes) for f in found] == [("a", 1), ("b/2 ü.dcm", 2)]
    assert found[0].mtime_ns == 7


def test_links_do_not_lead_out_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x").write_bytes(b"1")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/folder").symlink_to(tmp_path / "outside")
    (tmp_path / "archive/file").symlink_to(tmp_path / "outside/x")
    assert list_files(tmp_path / "archive") == []


def test_a_missing_archive_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"nowhere is not a folder; correct \[archive\] path"):
        list_files(tmp_path / "nowhere")
