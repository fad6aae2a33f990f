"""``result.json``: what a model says of one study, with everything that led there.

It holds the study's UIDs, so that a person can find the images; it stays in the hospital.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedrad import durable, signatures
from fedrad.output import Output
from fedrad.released import Released
from fedrad.settings import as_table
from site_client.predict.clean import said

FILE = "result.json"
RESEARCH = "RESEARCH - NOT FOR CLINICAL USE"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """One image or series; what does not apply is ``None``."""

    files: tuple[str, ...]
    series: str  # SeriesInstanceUID
    instances: tuple[str, ...]  # SOPInstanceUIDs
    probability: float | None = None  # of the positive class
    object: str | None = None  # the SEG file
    pixels: int | None = None  # inside the mask
    volume_ml: float | None = None  # of a volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a model says of one study."""

    study: str  # StudyInstanceUID
    model: Released
    images: tuple[ImageResult, ...]
    refused: tuple[tuple[str, str], ...]  # file, reason
    time: str

    @property
    def probability(self) -> float | None:
        """The mean over the study's images, as the metrics take it; ``None``: a segmentation."""
        found = [one.probability for one in self.images if one.probability is not None]
        return sum(found) / len(found) if found else None

    @property
    def positive(self) -> bool | None:
        """Whether the study is called positive at the task's operating point."""
        point = self.model.task.analysis.operating_point
        return None if self.probability is None else self.probability >= point

    @property
    def signer(self) -> str:
        """The fingerprint of the key that signed the model; empty: nobody."""
        line = self.model.signed_by
        return signatures.spoken(signatures.key_digest(line)) if line else ""

    @property
    def postprocessing(self) -> tuple[str, ...]:
        """The steps between the network and the object, in words."""
        output: Output | None = self.model.task.output
        return said(output) if self.model.task.task.kind == "segmentation" else ()


def as_json(result: Result) -> dict[str, Any]:
    """Return the content of ``result.json``."""
    task = result.model.task
    return {
        "schema": SCHEMA,
        "use": RESEARCH,
        "content_qualification": "RESEARCH",
        "time": result.time,
        "study_instance_uid": result.study,
        "kind": task.task.kind,
        "positive_class": task.task.positive,
        "operating_point": task.analysis.operating_point,
        "probability": result.probability,
        "called_positive": result.positive,
        "postprocessing": list(result.postprocessing),
        "images": [as_table(one) for one in result.images],
        "refused": [{"file": file, "reason": reason} for file, reason in result.refused],
        "model": as_table(result.model.about)
        | {"task": task.task.name, "signed_by": result.signer},
    }


def write_result(folder: Path, result: Result) -> Path:
    """Write ``result.json`` durably and return where it is."""
    durable.write_json(folder / FILE, as_json(result))
    return folder / FILE
