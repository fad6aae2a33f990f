"""Listing an archive that is a folder."""

import os
from pathlib import Path

import pytest

from fedrad.errors import ArchiveError
from site_client.archive.folder import list_archive


def test_files_are_listed_by_path_with_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/2 ü.dcm").write_bytes(b"12")
    (tmp_path / "a").write_bytes(b"1")
    os.utime(tmp_path / "a", ns=(5, 7))
    found = list_archive(tmp_path)
    assert [(f.file, f.bytes) for f in found.files] == [("a", 1), ("b/2 ü.dcm", 2)]
    assert found.files[0].mtime_ns == 7
    assert found.refused == []


def test_links_do_not_lead_out_of_the_archive_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x").write_bytes(b"1")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/folder").symlink_to(tmp_path / "outside")
    (tmp_path / "archive/file").symlink_to(tmp_path / "outside/x")
    (tmp_path / "archive/gone").symlink_to(tmp_path / "nowhere")
    found = list_archive(tmp_path / "archive")
    assert found.files == []
    assert found.refused == [(name, "symbolic-link") for name in ("file", "folder", "gone")]


def test_what_is_no_file_and_names_that_are_no_text_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.dcm")).write_bytes(b"1")
    found = list_archive(tmp_path)
    assert found.files == []
    assert found.refused == [("\\xff.dcm", "name-not-text"), ("pipe", "special-file")]


def test_folders_inside_folders_may_be_deeper_than_python_recurses(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(1200):
        deep = deep / "d"
        deep.mkdir()
    (deep / "x").write_bytes(b"1")
    found = list_archive(tmp_path).files
    (deep / "x").unlink()
    while deep != tmp_path:  # rmtree, too, recurses
        deep.rmdir()
        deep = deep.parent
    assert [file.bytes for file in found] == [1]


def test_a_missing_archive_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"nowhere is not a folder; correct \[archive\] path"):
        list_archive(tmp_path / "nowhere")
