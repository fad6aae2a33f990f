"""Names that say nothing: keyed digests in place of patient IDs, UIDs, dates and the like.

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
MOST_DAYS = 3652  # ten years


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

    def uid(self, value: str) -> str:
        """Return the UID that stands for ``value``: 2.25 and a UUID as a decimal number.

        The UUID is of version 8, whose 122 free bits are the pseudonym's (RFC 9562 5.8;
        PS3.5 B.2). One UID has one stand-in, whatever attribute holds it, so that
        references still fit.
        """
        bits = int(self.of("uid", value), 16)
        bits = bits & ~(0xF << 76) | 8 << 76  # version
        bits = bits & ~(0x3 << 62) | 2 << 62  # variant
        return f"2.25.{bits}"

    def days_back(self, patient: str) -> int:
        """Return by how many days the dates of one patient move into the past: 1 to 3652.

        Args:
            patient: The patient's pseudonym: all of a patient's dates move together, so that
                their order and the days between them stay.
        """
        return 1 + int(self.of("days", patient), 16) % MOST_DAYS


def pseudonyms(split_key: bytes) -> Pseudonyms:
    """Return the site's pseudonyms; their key is derived from its one secret."""
    return Pseudonyms(hmac.digest(split_key, b"pseudonyms", hashlib.sha256))
