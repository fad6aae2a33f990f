"""What each reason of ``quarantine.csv`` means, and what a person can do about it.

Codes are stable: they are written to disk and asked for in tests. The numbers that show a
reason are in the column ``detail`` beside it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason in words."""

    means: str
    do: str


_AGAIN = "Ask the archive for the file again; if it is the same there, nothing can be done."
_TASK = "Nothing: the study asks for other images."
_SERIES = "Look at the series in a viewer; send it again if slices are missing, else leave it out."
_MASK = "Have the drawing exported again from the system that made it."
_KIND = "Nothing: such objects often show names, and no study reads them."
_LINK = "Copy the files into the archive's folder, or leave them out."
_LIMIT = "Raise the limit under [reading] in site.toml if such files belong to the study."

REASONS: dict[str, Reason] = {
    "not-dicom": Reason("the file is no DICOM file", "Nothing, unless it should be one."),
    "unreadable": Reason("the file is damaged or could not be read", _AGAIN),
    "not-readable": Reason(
        "the file may not be read by this program's user", "Give it the right to read."
    ),
    "folder-not-readable": Reason(
        "a folder may not be read by this program's user", "Give it the right to read."
    ),
    "changing": Reason(
        "the file changed while it was read", "Run the command again when the archive is at rest."
    ),
    "truncated": Reason("the file ends before its pixels do", _AGAIN),
    "deflated": Reason("the file is compressed as a whole", "Have it exported uncompressed."),
    "crashed": Reason("the program that read the file died of it", _AGAIN),
    "too-large": Reason("the file claims more bytes, pixels or frames than is allowed", _LIMIT),
    "too-slow": Reason("reading the file took longer than is allowed", _LIMIT),
    "too-deep": Reason("sequences are nested deeper than any scanner nests them", _AGAIN),
    "value-too-long": Reason("one value is longer than is allowed", _AGAIN),
    "symbolic-link": Reason("a link; an archive ends at its own folder", _LINK),
    "special-file": Reason(
        "no ordinary file (a pipe, a socket, a device)", "Move it out of the archive."
    ),
    "name-not-text": Reason("the file's name is no text", "Rename it."),
    "no-pixels": Reason("the file holds no image", "Nothing."),
    "syntax-missing": Reason("the file does not say how its pixels are stored", _AGAIN),
    "syntax-unsupported": Reason(
        "the pixels are stored in a way that is not read here",
        "Have the images exported uncompressed or as JPEG 2000.",
    ),
    "pixels-unreadable": Reason("the pixels cannot be decoded", _AGAIN),
    "hidden-bits": Reason("the pixels hold bits beyond those that the header names", _AGAIN),
    "not-finite": Reason("the image holds values that are no numbers", _AGAIN),
    "instance-uid-missing": Reason("the file has no SOPInstanceUID", _AGAIN),
    "duplicate-instance": Reason(
        "another file of the same patient says the same", "Nothing: that one is used."
    ),
    "instance-conflict": Reason(
        "several files say that they are one image of one patient, and differ",
        "Keep the right one in the archive and move the others out.",
    ),
    "patient-id-unusable": Reason(
        "nobody can say whose image it is: no PatientID, a placeholder, or one for two people",
        "Say who it is in a CSV with the columns StudyInstanceUID (or AccessionNumber, or "
        "PatientID) and patient, and name it as mapping under [patients] in site.toml. One person "
        "with very many studies: raise max_studies there.",
    ),
    "patient-excluded": Reason("the patient is on exclude.csv", "Nothing: they objected."),
    "patient-not-included": Reason(
        "the patient is not on include.csv", "Add them to include.csv once they consent."
    ),
    "changed-since-freeze": Reason(
        "the file is not what it was when the cohort was sealed, and its frozen form is not cached",
        "Put the old file back, or go on without it.",
    ),
    "gone-since-freeze": Reason(
        "the file was in the sealed cohort and is gone, and its frozen form is not cached",
        "Put the file back, or go on without it.",
    ),
    "wrong-modality": Reason("another modality than the study's", _TASK),
    "wrong-sop-class": Reason("another kind of image than the study's", _TASK),
    "other-view": Reason("another view than the study's", _TASK),
    "other-orientation": Reason("another orientation than the study's", _TASK),
    "localizer": Reason("a localizer or scout image", _TASK),
    "too-small": Reason("fewer rows or columns than the study asks for", _TASK),
    "multi-frame": Reason("several frames where the study asks for one image", _TASK),
    "too-few-slices": Reason("fewer slices than make a volume", _TASK),
    "colour": Reason("a colour image", "Nothing: grey images only."),
    "burned-in-text": Reason(
        "the header says, or the text check found, that text is burned into the pixels",
        "Have it exported without annotations.",
    ),
    "text-check-failed": Reason(
        "the picture could not be looked at for text", "Look at it yourself; it is not copied."
    ),
    "secondary-capture": Reason("a screenshot or scan", _KIND),
    "ultrasound": Reason("an ultrasound image", _KIND),
    "visible-light": Reason("a photograph", _KIND),
    "encapsulated-document": Reason("a document", _KIND),
    "presentation-state": Reason("a presentation state", _KIND),
    "structured-report": Reason("a structured report", _KIND),
    "kind-not-allowed": Reason("a kind of object that is not on the list of allowed ones", _KIND),
    "series-missing": Reason("the file does not say of which series it is", _AGAIN),
    "series-incomplete": Reason(
        "files of the series were set aside, so the series lacks slices",
        "Look at the reasons of those files first.",
    ),
    "series-mixed": Reason("the series holds images that make no one volume", _SERIES),
    "series-geometry": Reason("the slices make no regular volume", _SERIES),
    "slices-missing": Reason("slices are missing", _SERIES),
    "slices-doubled": Reason("two slices lie at one place", _SERIES),
    "slices-shifted": Reason("slices are shifted against each other", _SERIES),
    "spacing-uneven": Reason("the slices are not equally far apart", _SERIES),
    "spacing-unknown": Reason("the file does not say how large its pixels are", _AGAIN),
    "position-missing": Reason("a slice does not say where it lies", _AGAIN),
    "orientation-invalid": Reason("the orientation of a slice is none", _AGAIN),
    "orientation-mixed": Reason("the slices lie in several directions", _SERIES),
    "gantry-tilt": Reason("the gantry was tilted", "Nothing: tilted series are not straightened."),
    "grey-scale-unknown": Reason("the file does not say what its grey values mean", _AGAIN),
    "no-label": Reason(
        "labels.csv has no label for it", "Add a row with its key, if it has a label."
    ),
    "labels-disagree": Reason(
        "the labels of the patient contradict each other", "Decide for one of them in labels.csv."
    ),
    "no-mask": Reason(
        "nothing was drawn on it", "Add the drawing to the archive, if there is one."
    ),
    "mask-unreadable": Reason("the drawing cannot be read", _MASK),
    "mask-values": Reason("the drawing holds values that are no labels", _MASK),
    "mask-other-class": Reason(
        "the drawing names nothing that the study asks for",
        "Compare its names with the task's [labels] map.",
    ),
    "mask-other-frame": Reason("the drawing was made in another frame of reference", _MASK),
    "mask-other-grid": Reason("the drawing lies on another grid than the images", _MASK),
    "mask-other-series": Reason("the drawing was made on another series", _MASK),
    "mask-other-size": Reason("the drawing has another size than the image", _MASK),
    "mask-other-slice": Reason("the drawing lies on another slice than it names", _MASK),
    "mask-affine-missing": Reason("the drawing does not say where it lies", _MASK),
    "mask-affine-unclear": Reason("the drawing contradicts itself about where it lies", _MASK),
    "contour-not-closed": Reason("a contour of the drawing is open", _MASK),
    "contour-off-plane": Reason("a contour of the drawing lies in no slice", _MASK),
    "contour-slices-skipped": Reason("the contours leave out slices in between", _MASK),
}

_UNKNOWN = Reason("see the column detail of quarantine.csv", "Look at the file in a viewer.")


def explain(code: str) -> Reason:
    """Return what a code means and what can be done; a general sentence for one unheard of."""
    return REASONS.get(code, _UNKNOWN)
