"""Names that say nothing: keyed digests in place of patient IDs, UIDs and accession numbers.

The same value has the same pseudonym at one site for ever and another at every other site.
Without the site's key nobody can list candidates and compare (a plain hash of a patient ID
could be searched in seconds).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

LENGTH = 32  # hexadecimal digits: 128 bits
PADDING = " \t\r\n\0"


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """HMAC-SHA256 (RFC 2104) under one key, cut to 128 bits."""

    key: bytes = field(repr=False)

    def of(self, kind: str, value: str) -> str:
        """Return the pseudonym of ``value``: 32 hexadecimal digits.

        Args:
            kind: What the value names, such as ``"patient"``; equal values of two kinds
                have different pseudonyms.
            value: The identifier; white space and NUL padding at its ends do not count.
        """
        text = f"{kind}\x1f{value.strip(PADDING)}".encode()
        return hmac.digest(self.key, text, "sha256").hex()[:LENGTH]


def pseudonyms(split_key: bytes) -> Pseudonyms:
    """Return the site's pseudonyms; their key is derived from its one secret."""
    return Pseudonyms(hmac.digest(split_key, b"pseudonyms", hashlib.sha256))
