"""The app digest: one byte, one name or one file more is another program."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedrad.software import IMAGE, app_digest, image_digest

ROOT = Path(__file__).parents[2]


def digest_of(folder: Path) -> str:
    """Return the digest that a program started in ``folder`` sees."""
    command = "from fedrad.software import app_digest; print(app_digest())"
    said = subprocess.check_output([sys.executable, "-c", command], cwd=folder, text=True)
    return said.strip()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for package in ("fedrad", "site_client", "aggregator", "simulations"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def test_a_copy_elsewhere_is_the_same_program_and_bytecode_does_not_count(copied: Path) -> None:
    assert digest_of(copied) == app_digest()
    (copied / "fedrad" / "__pycache__").mkdir(exist_ok=True)
    (copied / "fedrad" / "__pycache__" / "clock.cpython-311.pyc").write_bytes(b"x")
    assert digest_of(copied) == app_digest()


def test_a_changed_an_added_and_a_renamed_file_are_other_programs(copied: Path) -> None:
    seen = {app_digest()}
    for change in (
        lambda: (copied / "fedrad" / "clock.py").open("a").write("#"),
        lambda: (copied / "site_client" / "extra.py").write_text(""),
        lambda: (copied / "site_client" / "extra.py").rename(copied / "site_client" / "more.py"),
        (copied / "simulations" / "pool.py").unlink,
    ):
        change()
        seen.add(digest_of(copied))
    assert len(seen) == 5
    assert "" not in seen


def test_an_image_is_named_by_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(IMAGE, raising=False)
    assert image_digest() == ""
    monkeypatch.setenv(IMAGE, "sha256:" + "a" * 64)
    assert image_digest() == "a" * 64
