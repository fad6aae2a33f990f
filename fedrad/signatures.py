"""Keys, signatures and fingerprints: EC P-384 for both ends, through ``cryptography``.

What is signed is canonical JSON with its purpose in front, so that a signature for one thing
is none for another. A fingerprint is of the content, never of a signature: a signature can be
written in several ways. Which files are signed, and by whom, is ``enrolment``'s business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import stat
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from fedrad.durable import canonical_json, write_bytes
from fedrad.errors import DamagedStateError, EnrolmentError

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_MEANT = str.maketrans("OIL", "011", " -\t\n")
_GROUPS, _GROUP = 5, 4  # 20 characters of 5 bits: forging a second content takes 2^100 tries
_LONGEST_KEY = 500  # characters of an OpenSSH line of this curve, with room
_LONGEST_SIGNATURE = 200
_SSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_STATEMENT = b"fedrad "


def new_key() -> PrivateKey:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP384R1())


def write_pem_key(path: Path, key: PrivateKey) -> None:
    """Write a private key as PKCS 8, readable by its owner alone; never over another."""
    _write_key(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def write_ssh_key(path: Path, key: PrivateKey) -> None:
    """Write a private key in OpenSSH's format, which Flower's node key has; as above."""
    _write_key(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))


def read_key(path: Path) -> PrivateKey:
    """Return the private key in a file of either format.

    Raises:
        DamagedStateError: It is missing, no P-384 key, or readable by others than its owner.
    """
    try:
        mode, content = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
        load = load_ssh_private_key if content.startswith(_SSH) else load_pem_private_key
        key = load(content, password=None)
    except OSError as error:
        raise DamagedStateError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise DamagedStateError(f"{path} is not a private key; restore it from a backup") from None
    if mode & 0o077:
        raise DamagedStateError(f"{path} has mode {mode:o}: others may read it; chmod 600 it")
    if not isinstance(key, PrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise DamagedStateError(f"{path} holds no key of the curve P-384")
    return key


def public_text(key: PrivateKey) -> str:
    """Return the public half as one OpenSSH line without a comment."""
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public.decode("ascii")


def public_key(text: str) -> PublicKey:
    """Return the key of a line that ``public_text`` made.

    Raises:
        EnrolmentError: It is anything else.
    """
    try:
        if not text.isascii() or len(text) > _LONGEST_KEY:
            raise ValueError
        key = load_ssh_public_key(text.encode("ascii"))
    except Exception:  # noqa: BLE001  # a stranger's bytes in a parser that promises little
        raise EnrolmentError("a public key is not an OpenSSH line of the curve P-384") from None
    if not isinstance(key, PublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise EnrolmentError("a public key is not of the curve P-384")
    if key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii") != text:
        raise EnrolmentError("a public key carries more than a key; leave comments out")
    return key


def sign(key: PrivateKey, purpose: str, body: Any) -> str:
    """Return the signature (ECDSA, SHA-384) of ``body`` for ``purpose``, in base64."""
    signature = key.sign(_said(purpose, body), ec.ECDSA(hashes.SHA384()))
    return base64.b64encode(signature).decode("ascii")


def holds(signature: str, key: PublicKey, *, purpose: str, body: Any) -> bool:
    """Whether ``signature`` is that of ``body`` for ``purpose`` by the owner of ``key``."""
    try:
        if len(signature) > _LONGEST_SIGNATURE:
            return False
        content = base64.b64decode(signature.encode("ascii"), validate=True)
        key.verify(content, _said(purpose, body), ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, UnicodeEncodeError, binascii.Error, ValueError):
        return False
    return True


def sign_file(key: PrivateKey, content: bytes) -> bytes:
    """Return the signature (ECDSA, SHA-384, DER) of a file's bytes, as openssl checks it.

    Raises:
        EnrolmentError: The content could be read as a statement that ``sign`` signs.
    """
    if content.startswith(_STATEMENT):
        raise EnrolmentError("this file begins like a statement; it is not signed as a file")
    return key.sign(content, ec.ECDSA(hashes.SHA384()))


def file_holds(signature: bytes, key: PublicKey, content: bytes) -> bool:
    """Whether ``signature`` is that of a file's bytes by the owner of ``key``."""
    try:
        key.verify(signature, content, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        return False
    return True


def public_pem(key: PrivateKey) -> bytes:
    """Return the public half as openssl reads it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_of_pem(content: bytes) -> tuple[PublicKey, str]:
    """Return the key of what ``public_pem`` made, and its OpenSSH line.

    Raises:
        EnrolmentError: It is anything else.
    """
    try:
        key = load_pem_public_key(content)
    except Exception:  # noqa: BLE001  # a stranger's bytes in a parser that promises little
        raise EnrolmentError("a public key is not PEM of the curve P-384") from None
    if not isinstance(key, PublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise EnrolmentError("a public key is not of the curve P-384")
    return key, key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


def digest(body: Any) -> str:
    """Return the SHA-256 of ``body`` as canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(body)).hexdigest()


def key_digest(public: str) -> str:
    """Return the SHA-256 of a public key's line, 64 hexadecimal digits."""
    return hashlib.sha256(public.encode("ascii")).hexdigest()


def spoken(hexadecimal: str) -> str:
    """Return a digest as people read it out: its first 100 bits, ``7K3M-9QRT-...``."""
    bits = int(hexadecimal, 16) >> (4 * len(hexadecimal) - 5 * _GROUPS * _GROUP)
    text = ""
    for _ in range(_GROUPS * _GROUP):
        bits, place = divmod(bits, 32)
        text = _ALPHABET[place] + text
    return "-".join(text[i : i + _GROUP] for i in range(0, len(text), _GROUP))


def same_spoken(heard: str, hexadecimal: str) -> bool:
    """Whether what a person typed is ``spoken(hexadecimal)``, or the whole digest.

    Case, spaces and hyphens do not count; O is 0, I and L are 1. Fewer characters never do.
    """
    plain = heard.strip().lower()
    if plain == hexadecimal:
        return True
    return heard.upper().translate(_MEANT) == spoken(hexadecimal).replace("-", "")


def _said(purpose: str, body: Any) -> bytes:
    return _STATEMENT + purpose.encode("ascii") + b"\n" + canonical_json(body)


def _write_key(path: Path, content: bytes) -> None:
    if path.exists():
        raise DamagedStateError(f"{path} is already there; a key is never written over another")
    write_bytes(path, content)  # a temporary file that is renamed: 0600 from its first byte
    path.chmod(0o600)
