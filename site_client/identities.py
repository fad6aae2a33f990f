"""Whether an image's patient is one person: PatientIDs that are nobody's, or more than one's.

The unit of privacy is a patient. An image without an ID, an ID that a workstation fills in
("UNKNOWN"), or one ID for two people makes units that are no patient, so such files are set
aside until the hospital's mapping file says who they are. What it maps is trusted: somebody
looked. Where more than a twentieth of the studies are nobody's, no private answer is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from fedrad.errors import NotReadyError

REASON = "patient-id-unusable"
MOST_UNUSABLE = 0.05  # share of studies, above which nothing private is trained or measured
BLANK, PLACEHOLDER, OWN, MAPPED = "blank", "placeholder", "own", "mapped"

# Compared without case, white space and punctuation. A word here is no hospital's number;
# numbers that could be somebody's belong to [patients] placeholders.
PLACEHOLDERS = frozenset((
    "ANON", "ANONYM", "ANONYMIZED", "ANONYMISED", "ANONYMOUS", "ANONYMOUSPATIENT", "DEFAULT",
    "DEIDENTIFIED", "DELETED", "DEMO", "DESCONOCIDO", "DUMMY", "EMPTY", "IGNOTO", "INCONNU",
    "MISSING", "NA", "NAN", "NIL", "NOID", "NOPATIENTID", "NONE", "NOTAVAILABLE", "NOTKNOWN",
    "NULL", "ONBEKEND", "PATIENT", "PATIENTID", "PHANTOM", "QA", "QC", "REDACTED", "REMOVED",
    "TBD", "TEMP", "TEST", "TEST1", "TESTPATIENT", "UNBEKANNT", "UNDEFINED", "UNIDENTIFIED",
    "UNK", "UNKNOWN", "UNKNOWNPATIENT", "UNNAMED",
))  # fmt: skip

_SAYS = {
    BLANK: "the file has no PatientID",
    PLACEHOLDER: "the PatientID is a placeholder, not a person's",
}


@dataclass(frozen=True, slots=True)
class Unusable:
    """How many studies of the archive have a patient that nobody can name."""

    studies: int
    of: int

    @property
    def too_many(self) -> bool:
        """Whether more than ``MOST_UNUSABLE`` of the studies are nobody's."""
        return self.studies > MOST_UNUSABLE * self.of

    def __str__(self) -> str:
        share = 100 * self.studies / max(1, self.of)
        return f"{self.studies} of {self.of} studies ({share:.1f} %) belong to no known patient"


def is_placeholder(patient_id: str, own: frozenset[str] = frozenset()) -> bool:
    """Whether a PatientID is what a machine fills in where it has none.

    A word of ``PLACEHOLDERS``, nothing but zeros, X or punctuation, or one of ``own``: the
    site's ``[patients] placeholders``.
    """
    if patient_id.strip() in own:
        return True
    plain = "".join(letter for letter in patient_id.upper() if letter.isalnum())
    return not plain.strip("0") or not plain.strip("X") or plain in PLACEHOLDERS


def unusable(table: pd.DataFrame, max_studies: int) -> pd.Series[str]:
    """Say of each row of a catalogue why its patient is nobody; empty where it is somebody.

    Args:
        table: Columns ``identity``, ``patient``, ``born``, ``sex`` and ``study``.
        max_studies: More studies than this are not one person's.

    Returns:
        Sentences without a value of any header, with the table's index.
    """
    said = table["identity"].map(_SAYS).fillna("").astype(object)
    own = table["identity"] == OWN
    for rows, column, limit, sentence in (
        (own, "born", 1, "one PatientID with {} birth dates"),
        (own, "sex", 1, "one PatientID with {} sexes"),
        (own | (table["identity"] == MAPPED), "study", max_studies, "one patient with {} studies"),
    ):
        known = table[rows & (table[column] != "")]
        counts = known.groupby("patient")[column].nunique()
        beyond = counts[counts > limit].map(sentence.format)
        here = table["patient"].map(beyond).fillna("")
        said = said.mask((said == "") & (here != ""), here)
    return said


def count_unusable(table: pd.DataFrame, max_studies: int) -> Unusable:
    """Count the studies of a catalogue of which any file belongs to nobody; see ``unusable``.

    A file with a fault of its own does not count: where it was cut off, no ID is missing.
    """
    read = table[(table["identity"] != "") & (table["fault"] == "")]
    study = read["study"].mask(read["study"] == "", read["file"])
    wrong = unusable(table, max_studies).loc[read.index] != ""
    return Unusable(int(study[wrong].nunique()), int(study.nunique()))


def refuse_many_unusable(found: Unusable) -> None:
    """Refuse a private answer whose unit would not be the patient.

    Raises:
        NotReadyError: Above ``MOST_UNUSABLE``; the sentence, for the site's own screen, says
            what to do.
    """
    if found.too_many:
        raise NotReadyError(
            f"{found}; above {100 * MOST_UNUSABLE:g} % nothing private is trained or measured. "
            "fedrad-site quarantine names the files; say who they are in a CSV with the columns "
            "StudyInstanceUID (or AccessionNumber, or PatientID) and patient, and name it as "
            "mapping under [patients] in site.toml"
        )
