"""Read the hospital's table of labels and give each patient one class.

The table is a CSV with the column that the task names as key and a column ``label``. Keys
are compared as pseudonyms, so that no accession number is kept in memory for long. Truth
drawn on images belongs to ``masks``.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fedrad.errors import LabelError
from fedrad.task import Labels
from site_client.deidentify.pseudonyms import Pseudonyms

VALUE = "label"
KEY_COLUMNS = {
    "StudyInstanceUID": "study",
    "SeriesInstanceUID": "series",
    "AccessionNumber": "accession",
}  # of the task -> of the catalogue


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The labels by the pseudonym of their key."""

    column: str  # the catalogue's column that holds the key
    classes: dict[str, tuple[int, ...]]  # pseudonym -> class indices, as many as rows
    unmapped: int  # rows whose label the task does not know


@dataclass(frozen=True, slots=True)
class PatientLabels:
    """One class for each patient that has one."""

    classes: dict[str, int]  # patient -> class index
    refused: pd.DataFrame  # columns file, reason: images without a usable label
    unknown_keys: int  # labels whose key is on no image


def read_labels(path: Path | None, labels: Labels, names: Pseudonyms) -> LabelTable:
    """Read the site's table of labels.

    Args:
        path: ``[labels] file`` of ``site.toml``.
        labels: The task's key, and its map from text to class index.
        names: The site's pseudonyms.

    Raises:
        LabelError: There is no file, it cannot be read, lacks a column, or holds no label
            that the task knows.
    """
    classes: dict[str, list[int]] = defaultdict(list)
    unmapped = 0
    for row in _rows(path, labels):
        key, text = (row[labels.key] or "").strip(), (row[VALUE] or "").strip()
        if text not in labels.map:
            unmapped += 1
        elif key:
            classes[names.of(labels.key, key)].append(labels.map[text])
    if not classes:
        raise LabelError(
            f"{path} has no row whose label is one of {', '.join(labels.map)}; "
            "write the labels as the task's [labels] map spells them"
        )
    frozen = {key: tuple(values) for key, values in classes.items()}
    return LabelTable(KEY_COLUMNS[labels.key], frozen, unmapped)


def label_patients(images: pd.DataFrame, table: LabelTable, labels: Labels) -> PatientLabels:
    """Give each patient one class by the task's rule.

    ``one``: all labels of a patient must agree, else the patient stays out. ``majority``: the
    more frequent class, the higher index where they tie. ``any``: the highest index.

    Args:
        images: Admitted catalogue rows.
        table: From ``read_labels``.
        labels: The task's rule.

    Returns:
        The classes, and images left out: ``no-label`` or ``labels-disagree``.

    Raises:
        LabelError: Not one image has a label.
    """
    keys = images[table.column]
    labelled = keys.isin(table.classes)
    if len(images) and not labelled.any():
        raise LabelError(
            f"no image has a label: none of the {len(table.classes)} keys in the labels' column "
            f"{labels.key} is on an image; check that the column holds {labels.key} values"
        )
    classes = _by_rule(images[labelled], table, labels.rule)
    disagree = labelled & ~images["patient"].isin(classes)
    reason = pd.Series("", images.index).mask(~labelled, "no-label")
    refused = images[["file"]].assign(reason=reason.mask(disagree, "labels-disagree"))
    unknown = len(set(table.classes) - set(keys))
    return PatientLabels(classes, refused[refused["reason"] != ""], unknown)


def _by_rule(images: pd.DataFrame, table: LabelTable, rule: str) -> dict[str, int]:
    found: dict[str, list[int]] = defaultdict(list)
    pairs = images[["patient", table.column]].drop_duplicates()
    for patient, key in pairs.itertuples(index=False):
        found[patient] += table.classes[key]
    if rule == "one":
        return {patient: v[0] for patient, v in found.items() if len(set(v)) == 1}
    if rule == "any":
        return {patient: max(v) for patient, v in found.items()}
    return {patient: _majority(v) for patient, v in found.items()}


def _majority(values: list[int]) -> int:
    counts = Counter(values)
    return max(counts, key=lambda index: (counts[index], index))


def _rows(path: Path | None, labels: Labels) -> list[dict[str, str | None]]:
    if path is None:
        raise LabelError(
            f"the task needs labels; name a CSV with the columns {labels.key} and {VALUE} "
            "as [labels] file in site.toml"
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {labels.key, VALUE} - set(reader.fieldnames or ())
            rows = [] if missing else list(reader)
    except (OSError, UnicodeDecodeError, csv.Error):
        raise LabelError(f"the labels {path} cannot be read; see [labels] file") from None
    if missing:
        raise LabelError(f"{path} lacks the column {' and '.join(sorted(missing))}")
    return rows
