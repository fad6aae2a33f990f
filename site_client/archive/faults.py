"""Why one file cannot be used, and the edge where foreign bytes meet a parser.

A parser may raise anything, and quotes the values that it stumbles over: here that becomes
one error with a reason code, which carries no value of the file. What the codes mean is
written in ``reasons``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.errors import InvalidDicomError

from fedrad.errors import DataError


class UnusableFileError(DataError):
    """One file, or one series, cannot be used.

    Attributes:
        reason: The quarantine's code (``site_client.reasons``); it carries no value of the file.
        detail: The numbers that show it, for ``quarantine.csv`` and nobody outside the site;
            geometry and counts, never text of a header.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"a file cannot be used: {self.reason}; see the site's quarantine.csv"


@contextmanager
def foreign_bytes(reason: str) -> Iterator[None]:
    """Turn whatever a parser raises into ``UnusableFileError(reason)``; silence its warnings.

    pydicom's warnings and errors quote the values that they stumble over.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnusableFileError:
        raise
    except MemoryError:
        raise UnusableFileError("too-large") from None
    except RecursionError:
        raise UnusableFileError("too-deep") from None
    except InvalidDicomError:
        raise UnusableFileError("not-dicom") from None
    except Exception:  # noqa: BLE001  the edge to foreign bytes: a parser may raise anything
        raise UnusableFileError(reason) from None
