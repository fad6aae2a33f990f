"""What one fetch did, for a person and for a machine: counts, reasons, one problem.

No identifier is in it, whatever the PACS said.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fedrad.errors import FedradError


@dataclass(slots=True)
class Report:
    """What one fetch did; ``problem`` is what ended it or kept series from being whole."""

    studies: int = 0
    series: int = 0  # of those studies, as asked for
    finished: int = 0  # series that need no further question, earlier ones included
    kept: int = 0  # instances that came now
    bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # instances, by reason
    missing: int = 0  # instances that were listed and did not come
    unasked: int = 0  # answers about what nobody asked for
    problem: str = ""
    error: FedradError | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that can be had is here."""
        return self.error is None and self.finished == self.series


def as_table(report: Report) -> dict[str, object]:
    """Return the report for ``--json``: counts, reasons and one problem, no identifier."""
    return {
        "complete": report.complete,
        "studies": report.studies,
        "series": report.series,
        "finished": report.finished,
        "images": report.kept,
        "bytes": report.bytes,
        "refused": dict(sorted(report.refused.items())),
        "missing": report.missing,
        "unasked": report.unasked,
        "problem": report.problem,
    }


def as_text(report: Report) -> str:
    """Return the report for a person: what came, what did not, what to do."""
    refused = ", ".join(f"{number} {name}" for name, number in sorted(report.refused.items()))
    lines = [as_line(report)]
    lines += [f"left out: {refused}"] if refused else []
    if report.missing:
        lines.append(f"{report.missing} images were listed and did not come: fetch again")
    if report.unasked:
        lines.append(f"{report.unasked} studies that nobody asked for were answered and left")
    if report.problem and report.error is None:
        lines.append(report.problem)
    return "\n".join(lines)


def as_line(report: Report) -> str:
    """Return one line of progress: counts only."""
    return (
        f"{report.finished} of {report.series} series in {report.studies} studies, "
        f"{report.kept} new images, {report.bytes / 2**20:.0f} MiB"
    )
