"""A node's key in the two forms that Flower gives it: bytes for the registry, a header."""

from __future__ import annotations

from base64 import b64encode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from fedrad.errors import RunError
from fedrad.flower.lookup import private

_to_bytes = private("flwr.supercore.primitives.asymmetric", "public_key_to_bytes")


def bytes_of_key(line: str) -> bytes:
    """Return an OpenSSH public line's key as Flower registers it, PEM.

    Raises:
        RunError: The line is no elliptic-curve key.
    """
    try:
        key = load_ssh_public_key(line.encode("ascii"))
    except (ValueError, UnicodeEncodeError):
        raise RunError("a node key must be one OpenSSH line of an elliptic-curve key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RunError("a node key must be of an elliptic curve")
    content: bytes = _to_bytes(key)
    return content


def header_of_key(line: str) -> str:
    """Return what a node with this key sends in its ``flwr-public-key`` header."""
    return b64encode(bytes_of_key(line)).decode("ascii")
