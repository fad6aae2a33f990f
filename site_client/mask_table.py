"""Read which NIfTI file was drawn on which exam: the hospital's table of masks.

NIfTI names no series, so a table does: a key (series, study or accession) and ``mask``, the
file's path inside the archive. Paths are compared with the archive's listing and never opened
from here. Whether a mask fits its series belongs to ``nifti``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedrad.data_contract import Labels
from site_client.deidentify.pseudonyms import Pseudonyms
from site_client.label_table import KEY_COLUMNS, key_column, read_keyed_table

MASK = "mask"


@dataclass(frozen=True, slots=True)
class MaskTable:
    """The files by the pseudonym of their key."""

    column: str  # the catalogue's column that holds the key
    files: dict[str, tuple[str, ...]]  # pseudonym -> paths inside the archive
    absent: int  # rows whose file the archive does not list


def read_mask_table(
    path: Path | None, labels: Labels, names: Pseudonyms, *, listed: Collection[str]
) -> MaskTable:
    """Read the site's table of masks.

    Args:
        path: ``[labels] file`` of ``site.toml``.
        labels: The task's key.
        names: The site's pseudonyms.
        listed: The archive's files that may be masks, relative to it.

    Raises:
        LabelError: There is no file, it cannot be read or lacks a column.
    """
    table = read_keyed_table(path, labels, MASK)
    column, key = key_column(path, table, labels, MASK)
    found: dict[str, list[str]] = defaultdict(list)
    absent = 0
    for row in table.rows:
        file = PurePosixPath(row.get(MASK).replace("\\", "/")).as_posix()
        if file not in listed:
            absent += 1
        elif row.get(column):
            found[names.of(key, row.get(column))].append(file)
    return MaskTable(
        KEY_COLUMNS[key], {name: tuple(files) for name, files in found.items()}, absent
    )
