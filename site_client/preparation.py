"""Fill the cache for the patients of one split, and remember what could not be used.

A unit's files are opened only if its arrays are not in the cache, in worker processes and some
ahead of time; the recipe is applied here meanwhile. A unit that cannot be used goes to
quarantine and the patient's next one takes its place.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fedrad.durable import file_digest
from fedrad.progress import Say, counted, silent
from fedrad.task import Task
from site_client.archive.faults import UnusableFileError
from site_client.archive.readers import Answer, Outcome, Readers, Request
from site_client.catalogue import write_catalogue, write_quarantine
from site_client.cohort import Cohort, Unit
from site_client.deidentify.pseudonyms import Pseudonyms
from site_client.limits import Reading
from site_client.shelf import Made, Shelf

_PASSING = "changing"  # a refusal that may be gone at the next look
_MEMORY_SHARES = 4  # a series may take so many times the memory of a file


@dataclass(frozen=True, slots=True)
class PatientFiles:
    """Where the arrays of one patient are."""

    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    units: tuple[str, ...] = ()  # names of the units that they are of, in the same order


class Preparation:
    """Fills the cache for the patients of a split and remembers what could not be used."""

    def __init__(  # noqa: PLR0913  where from, where to, and what for
        self,
        home: Path,
        archive: Path,
        task: Task,
        catalogue: pd.DataFrame,
        *,
        names: Pseudonyms,
        limits: Reading | None = None,
        most_gib: float = math.inf,
    ) -> None:
        """Prepare; the cache may take ``most_gib`` GiB."""
        self._home, self._archive, self._task = home, archive, task
        self._catalogue, self._limits = catalogue, limits or Reading()
        self._shelf = Shelf(home, task, self._limits, names, most_gib=most_gib)
        columns = catalogue[["file", "bytes", "mtime_ns", "digest"]]
        self._listed = {row[0]: row[1:3] for row in columns.itertuples(index=False)}
        self._digests = dict(zip(catalogue["file"], catalogue["digest"], strict=True))
        self._refused: dict[str, UnusableFileError] = {}
        self._fresh_digests = False

    def patients(self, cohort: Cohort, *, say: Say = silent) -> dict[str, PatientFiles]:
        """Return the files of each patient that has at least one usable unit.

        A patient's first units are tried; for each that cannot be used the next one, until
        nobody lacks a unit who has more of them.
        """
        made: dict[str, Made | None] = {}
        with Readers(self._limits, self._modules(cohort)) as readers:
            while wanted := [u for units in cohort.units.values() for u in self._next(units, made)]:
                made.update(self._prepared(readers, wanted, say))
        found = {patient: _files(units, made) for patient, units in cohort.units.items()}
        return {patient: files for patient, files in found.items() if files.images}

    def finish(self, scope: str) -> None:
        """Write what was learned: refused files, and digests for the next time."""
        refusals = sorted(self._refused.items(), key=lambda refusal: refusal[0])
        rows = [(file, error.reason, error.detail) for file, error in refusals]
        refused = pd.DataFrame(rows, columns=["file", "reason", "detail"])
        write_quarantine(self._home, scope, refused)
        if self._fresh_digests:
            digests = self._catalogue["file"].map(self._digests)
            write_catalogue(self._home, self._catalogue.assign(digest=digests))

    def _next(self, units: Sequence[Unit], made: Mapping[str, Made | None]) -> list[Unit]:
        """Return the units to try now: as many as the patient lacks."""
        good = sum(made.get(unit.name) is not None for unit in units)
        untried = [unit for unit in units if unit.name not in made]
        return untried[: max(0, self._task.data.max_images_per_patient - good)]

    def _modules(self, cohort: Cohort) -> tuple[str, ...]:
        volumes = self._task.data.dimensions == 3
        drawn = any(unit.truths for units in cohort.units.values() for unit in units)
        reader = "site_client.volumes" if volumes else "site_client.images"
        return ("site_client.unit_files", reader, *(("site_client.masks",) if drawn else ()))

    def _prepared(
        self, readers: Readers, wanted: Sequence[Unit], say: Say
    ) -> Iterator[tuple[str, Made | None]]:
        missing: list[Unit] = []
        for unit in wanted:
            try:
                found = self._shelf.find(unit, self._digests)
            except UnusableFileError as error:
                self._refuse(unit, error)
                yield unit.name, None
            else:
                if found is None:
                    missing.append(unit)
                else:
                    yield unit.name, found
        requests = (self._request(unit) for unit in missing)
        done = readers.as_done(requests)
        for number, outcome in counted(done, say, what="preparing images", total=len(missing)):
            yield missing[number].name, self._kept(missing[number], outcome)

    def _request(self, unit: Unit) -> Request:
        volumes = self._task.data.dimensions == 3
        read = "read_series_unit" if volumes else "read_image_unit"
        arguments = {
            "folder": str(self._archive),
            "files": [(file, *self._listed[file], self._digests[file]) for file in unit.files],
            "truths": [(file, *self._listed[file], self._digests[file]) for file in unit.truths],
            "labels": dataclasses.asdict(self._task.labels),
        }
        return Request(
            f"site_client.unit_files:{read}",
            arguments,
            files=len(unit.files) + len(unit.truths),
            shares=_MEMORY_SHARES if volumes else 1,
        )

    def _kept(self, unit: Unit, outcome: Outcome) -> Made | None:
        """Put what a worker gave back into the cache, or remember why there is nothing."""
        try:
            answer = self._accepted(unit, outcome)
        except UnusableFileError as error:
            self._refuse(unit, error)  # it may be another file at the next look
            return None
        try:
            if "refused" in answer.result:
                raise UnusableFileError(*answer.result["refused"])
            spacing_mm = answer.result["spacing_mm"]
            return self._shelf.keep(unit, self._digests, spacing_mm, answer.arrays)
        except UnusableFileError as error:
            self._shelf.refuse(unit, self._digests, error)
            self._refuse(unit, error)
            return None

    def _accepted(self, unit: Unit, outcome: Outcome) -> Answer:
        """Learn the digests of a unit's files; of a unit that ended its worker, too."""
        if not isinstance(outcome, UnusableFileError):
            self._learn(outcome.result["digests"])
            return outcome
        if outcome.reason == _PASSING:
            raise outcome
        try:
            self._learn({f: file_digest(self._archive / f) for f in (*unit.files, *unit.truths)})
        except OSError:
            raise outcome from None
        return Answer({"refused": [outcome.reason, outcome.detail]})

    def _learn(self, digests: Mapping[str, str]) -> None:
        for file, digest in digests.items():
            self._fresh_digests |= self._digests[file] != digest
            self._digests[file] = digest

    def _refuse(self, unit: Unit, error: UnusableFileError) -> None:
        self._refused |= dict.fromkeys(unit.files, error)


def _files(units: Sequence[Unit], made: Mapping[str, Made | None]) -> PatientFiles:
    used = [(unit.name, found) for unit in units if (found := made.get(unit.name))]
    return PatientFiles(
        tuple(found.image for _, found in used),
        tuple(found.mask for _, found in used if found.mask),
        tuple(name for name, _ in used),
    )
