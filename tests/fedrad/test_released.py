"""A model's folder is what its list says, and a signature is of one key."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from model_run import trained, write_model_folder
from tiny_study import tiny_task

from fedrad import signatures
from fedrad.errors import DamagedStateError, EnrolmentError, SettingsError
from fedrad.released import read_released, refuse_other_signer, seal, verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An unsigned model."""
    return write_model_folder(tmp_path / "model", tiny_task())


def test_what_was_written_is_read_as_it_was(folder: Path) -> None:
    released = read_released(folder)
    images = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(released.network()(images), trained(tiny_task(), 1)(images))
    assert released.signed_by == ""


@pytest.mark.parametrize("name", ["model.safetensors", "task.toml", "model.json"])
def test_a_changed_byte_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(DamagedStateError, match="differs from SHA256SUMS"):
        read_released(folder)


def test_a_file_that_nobody_listed_is_refused(folder: Path) -> None:
    (folder / "more.txt").write_text("x")
    with pytest.raises(DamagedStateError, match="more.txt"):
        verify(folder)


def test_a_list_that_leads_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text("0" * 64 + "  ../../etc/passwd\n")
    with pytest.raises(DamagedStateError, match="not a list"):
        verify(folder)


def test_a_model_of_another_task_is_refused(folder: Path) -> None:
    text = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(text.replace("steps = 2", "steps = 3"))
    seal(folder, None)
    with pytest.raises(DamagedStateError, match="not those that model.json names"):
        read_released(folder)


def test_a_folder_without_a_list_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no SHA256SUMS"):
        read_released(tmp_path)


def test_a_signature_tells_whose_it_is(folder: Path) -> None:
    key, other = signatures.new_key(), signatures.new_key()
    seal(folder, key)
    signed_by = verify(folder)
    refuse_other_signer(signed_by, _heard(key))
    with pytest.raises(EnrolmentError, match="signed by another key"):
        refuse_other_signer(signed_by, _heard(other))


def test_another_key_beside_a_signature_is_refused(folder: Path) -> None:
    seal(folder, signatures.new_key())
    (folder / "coordinator.pub").write_bytes(signatures.public_pem(signatures.new_key()))
    with pytest.raises(EnrolmentError, match="not a signature"):
        verify(folder)


def test_nobody_signed(folder: Path) -> None:
    with pytest.raises(EnrolmentError, match="nobody signed"):
        refuse_other_signer(verify(folder), "7K3M")


def test_a_statement_is_never_signed_as_a_file() -> None:
    with pytest.raises(EnrolmentError, match="statement"):
        signatures.sign_file(signatures.new_key(), b"fedrad approval\n{}")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="missing: openssl")
def test_openssl_and_sha256sum_say_the_same(folder: Path) -> None:
    """A hospital needs no fedrad to check what it got."""
    seal(folder, signatures.new_key())
    line = "openssl dgst -sha384 -verify coordinator.pub -signature SHA256SUMS.sig SHA256SUMS"
    check = f"{line} && sha256sum --strict --check SHA256SUMS"
    assert subprocess.run(["sh", "-c", check], cwd=folder, check=False).returncode == 0
    (folder / "model.json").write_bytes(b"{}")
    assert subprocess.run(["sh", "-c", check], cwd=folder, check=False).returncode != 0


def _heard(key: signatures.PrivateKey) -> str:
    return signatures.spoken(signatures.key_digest(signatures.public_text(key)))
