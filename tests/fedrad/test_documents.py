"""A stranger's file: one strict JSON object within a limit, or a reason."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedrad.documents import printable, read_document
from fedrad.durable import canonical_json
from fedrad.errors import EnrolmentError


class Evil:
    """Writes a file where somebody unpickles it."""

    def __reduce__(self) -> tuple:
        return (Path("pwned").write_text, ("x",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps(Evil()), "a pickle, which fedrad never opens"),
        (pickle.dumps(Evil(), protocol=0), "not a JSON object"),
        (gzip.compress(b"{}", mtime=0), "compressed"),
        (b"-----BEGIN PRIVATE KEY-----", "never a private key"),
        (b"[]", "not a JSON object"),
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b'{"a": {"b": 1, "b": 1}}', "a key stands twice"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b'{"a": 1e999}', "not a JSON object"),
        (b'{"a": "\\ud800"}', "not a JSON object"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not a JSON object"),
        (b'{"a":' * 100_000, "not a JSON object"),
        (b"\xff\xfe{}", "not a JSON object"),
        (b"", "not a JSON object"),
        (b"{" + b" " * 1_000_000 + b"}", "larger than 900,000 bytes"),
    ],
)
def test_what_is_no_strict_json_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_bytes(content)
    with pytest.raises(EnrolmentError, match=reason):
        read_document(Path("f"), most_bytes=900_000)
    assert not Path("pwned").exists()


def test_a_pickle_of_torch_is_named(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "f")
    with pytest.raises(EnrolmentError, match="a pickle of torch is one"):
        read_document(tmp_path / "f", most_bytes=10_000)


def test_a_folder_a_pipe_and_nothing_are_no_files(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(EnrolmentError, match="is not a file"):
            read_document(path, most_bytes=100)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    try:
        table = read_document(path, most_bytes=1000)
    except EnrolmentError:
        return
    assert json.loads(canonical_json(table)) == table


@given(st.text(max_size=400))
def test_what_a_terminal_is_shown_moves_no_cursor(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 303
