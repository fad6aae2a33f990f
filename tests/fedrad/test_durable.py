"""A file is the old one or the new one, whatever happens while it is written."""

from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fedrad import durable
from fedrad.parameters import read_safetensors, write_safetensors


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_disk_that_refuses_leaves_the_old_tensors_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": np.arange(3.0)})
    with files_no_larger_than(1000), pytest.raises(OSError, match="File too large") as refused:
        write_safetensors(path, {"a": np.arange(1000.0)})
    assert refused.value.errno == errno.EFBIG
    assert refused.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]
    assert read_safetensors(path)["a"].tolist() == [0.0, 1.0, 2.0]


def test_a_writer_that_gives_up_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    durable.write_bytes(path, b"old")

    def give_up(new: Path) -> None:
        new.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        durable.replace(path, give_up)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
