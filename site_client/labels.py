"""Give each patient one class from the votes of the hospital's table, by the task's rule.

Votes are matched to images by the pseudonym of their key. The readers of one exam (and side)
are settled first, then the exams of a patient, both by the same rule. Reading the table belongs
to ``label_table``; truth drawn on images belongs to ``masks``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from fedrad.data_contract import Labels
from fedrad.errors import LabelError
from site_client.label_table import LabelTable, Vote

MOST_SHARED = 0.05  # of the keys may be on images of several patients


@dataclass(frozen=True, slots=True)
class Matched:
    """The votes that are about an image of the archive."""

    votes: pd.DataFrame  # patient, key, side, reader, source, date, value: one row a vote
    unknown_keys: int  # keys that are on no image
    restored: int  # votes matched by putting leading zeros back
    ambiguous: int  # votes that fit several exams of a patient with other leading zeros
    shared: int  # keys that label several patients


@dataclass(frozen=True, slots=True)
class PatientLabels:
    """One class for each patient that has one."""

    classes: dict[str, int]  # patient -> class index
    refused: pd.DataFrame  # columns file, reason: images without a usable label
    unknown_keys: int  # labels whose key is on no image
    notes: tuple[str, ...]  # what the site's screen should say; counts only


def label_patients(images: pd.DataFrame, table: LabelTable, labels: Labels) -> PatientLabels:
    """Give each patient one class by the task's rule.

    ``one``: all labels must agree, else the patient stays out. ``majority``: the more frequent
    class, the higher index where they tie. ``any``: the highest index. The rule settles the
    readers of one exam and side, then what remains of a patient: five readers of one exam do
    not outvote two other exams.

    Args:
        images: Admitted catalogue rows.
        table: From ``read_labels``.
        labels: The task's rule.

    Returns:
        The classes, and images left out: ``no-label`` or ``labels-disagree``.

    Raises:
        LabelError: Not one image has a label, or too many labels fit several patients.
    """
    matched = match_votes(images, table)
    if len(images) and matched.votes.empty:
        raise LabelError(
            f"no image has a label: none of the {matched.unknown_keys} keys in the labels' "
            f"{table.column} column is on an image; check that it holds {labels.key} values"
        )
    _refuse_many_shared(matched, table.column)
    classes = _by_rule(matched.votes, labels.rule)
    pairs = pd.MultiIndex.from_frame(matched.votes[["patient", "key"]])
    labelled = pd.MultiIndex.from_frame(images[["patient", table.column]]).isin(pairs)
    disagree = labelled & ~images["patient"].isin(classes)
    reason = pd.Series("", images.index).mask(~labelled, "no-label")
    refused = images[["file"]].assign(reason=reason.mask(disagree, "labels-disagree"))
    notes = (*table.notes, *_notes(table, matched))
    return PatientLabels(classes, refused[refused["reason"] != ""], matched.unknown_keys, notes)


def match_votes(images: pd.DataFrame, table: LabelTable) -> Matched:
    """Find out which exam each vote is about.

    Each patient's exams are looked at by themselves, so that nobody gains or loses a label
    because somebody else is in the archive: a key on images of several patients is a vote for
    each of them. A number without its leading zeros is matched by putting them back if no
    number of the file begins with 0 and exactly one exam of the patient fits.
    """
    exams = images[["patient", table.column]].drop_duplicates()
    owners: dict[str, list[str]] = defaultdict(list)
    for patient, key in exams[exams[table.column] != ""].itertuples(index=False):
        owners[str(key)].append(str(patient))
    rows, unknown, shared, restored, ambiguous = [], set(), set(), 0, 0
    for vote in table.votes:
        keys = vote.keys[:1] if table.keeps_zeros else vote.keys
        fits = [(patient, key) for key in keys for patient in owners.get(key, ())]
        exams_of = Counter(patient for patient, _ in fits)
        used = [(patient, key) for patient, key in fits if exams_of[patient] == 1]
        rows += [(patient, key, *_values(vote)) for patient, key in used]
        unknown |= set() if fits else {vote.keys[0]}
        shared |= {vote.keys[0]} if len(used) > 1 else set()
        restored += any(key != vote.keys[0] for _, key in used)
        ambiguous += len(used) < len(fits)
    columns = ["patient", "key", "side", "reader", "source", "date", "value"]
    found = pd.DataFrame(rows, columns=columns)
    return Matched(found, len(unknown), restored, ambiguous, len(shared))


def _refuse_many_shared(matched: Matched, column: str) -> None:
    keys = matched.votes["key"].nunique()
    if matched.shared > MOST_SHARED * keys:
        raise LabelError(
            f"{matched.shared} of {keys} keys in the labels' {column} column fit images of several "
            f"patients, more than {MOST_SHARED:.0%}; name the exams by StudyInstanceUID"
        )


def _values(vote: Vote) -> tuple[str, str, str, str, int]:
    return vote.side, vote.reader, vote.source, vote.date, vote.value


def _by_rule(votes: pd.DataFrame, rule: str) -> dict[str, int]:
    exams: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    columns = ["patient", "key", "side", "value"]
    for patient, key, side, value in _last_word(votes)[columns].itertuples(index=False):
        exams[patient][key, side].append(value)
    classes: dict[str, int] = {}
    for patient, mine in sorted(exams.items()):
        values = [_settled(one, rule) for one in mine.values()]
        found = None if None in values else _settled([v for v in values if v is not None], rule)
        if found is not None:
            classes[patient] = found
    return classes


def _last_word(votes: pd.DataFrame) -> pd.DataFrame:
    """Keep of a named reader's dated votes on one exam and side the latest."""
    dated = votes[(votes["reader"] != "") & (votes["date"] != "")]
    latest = dated.groupby(["patient", "key", "side", "reader"])["date"].transform("max")
    return votes.drop(dated.index[dated["date"] != latest])


def _settled(values: list[int], rule: str) -> int | None:
    if rule == "any":
        return max(values)
    if rule == "majority":
        counts = Counter(values)
        return max(counts, key=lambda index: (counts[index], index))
    return values[0] if len(set(values)) == 1 else None


def _notes(table: LabelTable, matched: Matched) -> Iterator[str]:
    if table.blank:
        yield f"{table.blank} rows of the labels are blank: unknown, and used for nothing"
    if matched.restored:
        yield f"{matched.restored} labels fit once lost leading zeros are put back"
    if matched.ambiguous:
        yield (
            f"{matched.ambiguous} labels fit several exams of one patient that differ in leading "
            "zeros alone; they are not used: export the numbers as text"
        )
    if matched.shared:
        yield (
            f"{matched.shared} keys of the labels fit images of several patients; each of them "
            "takes the label: name StudyInstanceUID instead, or say in [patients] mapping that "
            "they are one person"
        )
