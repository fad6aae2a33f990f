"""Keys and signatures: what holds, what does not, and what people read to each other."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from fedrad import signatures
from fedrad.errors import DamagedStateError, EnrolmentError

KEY = signatures.new_key()
PUBLIC = signatures.public_key(signatures.public_text(KEY))
bodies = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.integers())


@given(bodies, bodies)
def test_a_signature_holds_for_its_content_and_for_no_other(body: dict, other: dict) -> None:
    signature = signatures.sign(KEY, "request", body)
    assert signatures.holds(signature, PUBLIC, purpose="request", body=body)
    assert signatures.holds(signature, PUBLIC, purpose="request", body=other) == (body == other)


def test_a_signature_is_for_one_purpose_and_one_key() -> None:
    signature = signatures.sign(KEY, "request", {})
    other = signatures.new_key().public_key()
    assert not signatures.holds(signature, PUBLIC, purpose="invitation", body={})
    assert not signatures.holds(signature, other, purpose="request", body={})


@pytest.mark.parametrize("forged", ["", "not base64!", "AAAA", "é", "A" * 10_000])
def test_what_is_no_signature_never_holds(forged: str) -> None:
    assert not signatures.holds(forged, PUBLIC, purpose="request", body={})


@pytest.mark.parametrize("write", [signatures.write_pem_key, signatures.write_ssh_key])
def test_a_key_comes_back_and_is_its_owners_alone(tmp_path: Path, write) -> None:
    write(tmp_path / "k", KEY)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    assert signatures.public_text(signatures.read_key(tmp_path / "k")) == signatures.public_text(
        KEY
    )
    with pytest.raises(DamagedStateError, match="never written over"):
        write(tmp_path / "k", signatures.new_key())


def test_openssh_reads_the_node_key_and_says_the_same_public_line(tmp_path: Path) -> None:
    signatures.write_ssh_key(tmp_path / "k", KEY)
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen on this machine")
    said = subprocess.check_output(["ssh-keygen", "-y", "-f", "k"], cwd=tmp_path, text=True)
    assert said.split()[:2] == signatures.public_text(KEY).split()


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    signatures.write_pem_key(tmp_path / "k", KEY)
    (tmp_path / "k").chmod(0o640)
    with pytest.raises(DamagedStateError, match="mode 640.*chmod 600"):
        signatures.read_key(tmp_path / "k")


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAA"])
def test_a_damaged_key_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(DamagedStateError, match="not a private key"):
        signatures.read_key(tmp_path / "k")
    with pytest.raises(DamagedStateError, match="cannot be read"):
        signatures.read_key(tmp_path / "none")


def test_a_public_key_with_a_comment_of_another_curve_or_none_is_refused() -> None:
    text = signatures.public_text(KEY)
    other = signatures.public_text(ec.generate_private_key(ec.SECP256R1()))
    for wrong in (f"{text} root@host", other, "", "ssh-rsa AAAA", text + "\n", "é", "A" * 9999):
        with pytest.raises(EnrolmentError, match="public key"):
            signatures.public_key(wrong)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_what_people_say_is_forgiving_in_form_and_strict_in_content(a: bytes, b: bytes) -> None:
    said = signatures.spoken(a.hex())
    sloppy = said.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert signatures.same_spoken(sloppy, a.hex())
    assert signatures.same_spoken(a.hex(), a.hex())
    assert signatures.same_spoken(said, b.hex()) == (said == signatures.spoken(b.hex()))
    assert not signatures.same_spoken(said[:-1], a.hex())
    assert not signatures.same_spoken("", a.hex())
