"""Read one file for an export, in a process that knows no key and may crash.

What leaves it is what the profile would read of the file (identifiers and dates still as they
are), the values that say whose it is, and the decoded pixels. Objects that are refused by what
they say of themselves are refused here, before their pixels are decoded. Whoever asked cleans
what it got once more (``export``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from site_client.archive.faults import UnusableFileError
from site_client.archive.instances import decode, read_instance
from site_client.deidentify.apply import allowed
from site_client.deidentify.pixels import unsuited
from site_client.deidentify.profile import burned_in, read_profile

READ = "site_client.export_reading:read"
IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
WHOSE = ("PatientID", "IssuerOfPatientID", "AccessionNumber", *IDENTIFIERS)
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read(path: str, listed: list[int]) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Read one file.

    Args:
        path: The file.
        listed: Its size and time of change (ns) when it was listed.

    Returns:
        ``whose``, values of ``WHOSE`` by keyword; ``elements``, the DICOM JSON model (PS3.18 F)
        of what the profile allows; and the stored values as decoded, in this machine's byte order.

    Raises:
        UnusableFileError: The file cannot be read or decoded, or changed; a refused kind;
            ``burned-in-text``, ``instance-uid-missing``, ``no-pixels``, ``colour``,
            ``hidden-bits``.
    """
    size, mtime_ns = listed
    instance = read_instance(Path(path), (size, mtime_ns))
    profile = read_profile()
    _refuse(profile.kind(instance))
    _refuse("burned-in-text" if burned_in(instance) else "")
    _refuse("" if all(instance.get(name) for name in IDENTIFIERS) else "instance-uid-missing")
    _refuse("" if any(name in instance for name in _PIXELS) else "no-pixels")
    elements = allowed(instance, profile).to_json_dict()
    stored = decode(instance)
    _refuse(unsuited(instance, stored))
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return {"whose": _whose(instance), "elements": elements}, [native]


def _whose(instance: Dataset) -> dict[str, str]:
    found = {name: str(instance.get(name) or "") for name in WHOSE}
    "".join(found.values()).encode("utf-8")  # a character set may give half a character
    return found


def _refuse(reason: str) -> None:
    if reason:
        raise UnusableFileError(reason)
