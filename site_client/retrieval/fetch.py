"""``fedrad-site fetch``: bring what the site's query names from the PACS into the store.

Month by month (or fifty accession numbers at a time): ask for studies and series, then
retrieve each series over at most ``max_associations`` connections. Whatever ends a fetch, what
it brought is kept, and the next one asks for the rest only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import queue
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from fedrad import durable
from fedrad.clock import Clock
from fedrad.errors import FedradError, RunError, SettingsError
from fedrad.progress import Pace
from site_client import home as site_home
from site_client.archive.pacs import Pacs, PacsError, Series, Study
from site_client.archive_settings import Archive, Query
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.limits import Reading
from site_client.retrieval.patience import Patience
from site_client.retrieval.progress import Progress, read_progress
from site_client.retrieval.questions import Batch, is_asked_series, is_asked_study, iter_batches
from site_client.retrieval.report import Report, as_line
from site_client.retrieval.series import Limits, Outcome, SeriesRetrieval
from site_client.retrieval.store import SERIES, STUDY, Store

LOCK = Path("state") / "fetch.lock"
_FRUITLESS = 5  # series in a row without one image: more would only burden the PACS
Say = Callable[[str], None]
Retrieved = tuple[Outcome, FedradError | None]


def fetch(home: Path, archive: Archive, clock: Clock, *, reading: Reading, say: Say) -> Report:
    """Retrieve what is missing; ends early, and says so, rather than lose anything.

    Args:
        home: The site's folder; written below it are the store, ``state/fetched.jsonl`` and a lock.
        archive: The site's ``[archive]``, a PACS, its paths resolved.
        clock: For hours and waiting.
        reading: The site's ``[reading]``: what reading the header of what came may cost.
        say: Takes one line of progress now and then; pseudonyms and counts only.

    Raises:
        SettingsError: The archive is a folder, or a file that it names cannot be used.
        RunError: Another fetch of this home is running.
    """
    if archive.kind == "folder" or archive.query is None:
        raise SettingsError("[archive]", ('kind = "folder" is read where it lies; no fetch',))
    with _only_one(home), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote what a PACS answered
        run = _Fetch(home, archive, clock, reading=reading, say=say)
        try:
            run.whole(archive.query)
        except FedradError as error:
            if isinstance(error, SettingsError):
                raise
            run.report.error = error
            run.report.problem = str(error)
        finally:
            run.close()
        return run.report


def open_pacs(archive: Archive) -> Pacs:
    """Return a new connection of the kind that ``[archive]`` names; nothing is sent yet.

    Raises:
        SettingsError: A file that it names cannot be used, or the packages are not installed.
    """
    if importlib.util.find_spec("pynetdicom") is None:
        raise SettingsError("this installation", ("it speaks to no PACS: add fedrad[pacs]",))
    if archive.dicomweb is not None:
        from site_client.archive.dicomweb import DicomWebPacs

        return DicomWebPacs(archive.dicomweb)
    if archive.dimse is not None and archive.query is not None:
        from site_client.archive.dimse import DimsePacs
        from site_client.archive.dimse_move import MovePacs

        kind = MovePacs if archive.dimse.move else DimsePacs
        return kind(archive.dimse, archive.query.modality)
    raise SettingsError("[archive]", ("no PACS is named",))


class _Fetch:
    """One run: its connections, its store, what it has counted."""

    def __init__(
        self, home: Path, archive: Archive, clock: Clock, *, reading: Reading, say: Say
    ) -> None:
        self.report = Report()
        self._archive, self._clock, self._say, self._said = archive, clock, say, ""
        self._pace, self._share, self._batches = Pace(clock), 0.0, 1
        names = pseudonyms(site_home.split_key(home))
        self._store = Store(archive.path, names, reading)
        self._progress: Progress = read_progress(home)
        self._patience = Patience(clock, archive.hours, archive.attempts)
        self._incoming = archive.path.with_name(f"{archive.path.name}.incoming")
        archive.path.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._incoming, ignore_errors=True)  # of a fetch that was killed
        self._incoming.mkdir(mode=0o700)
        self._fruitless = 0
        self._idle: queue.SimpleQueue[Pacs] = queue.SimpleQueue()
        for _ in range(archive.max_associations):
            self._idle.put(open_pacs(archive))

    def whole(self, query: Query) -> None:
        """Go through everything that the query asks."""
        batches = list(iter_batches(query, self._clock.now().astimezone().date()))
        self._batches = len(batches)
        self._pace.left(0, self._batches)
        for number, batch in enumerate(batches):
            self._share = float(number)
            studies = self._find_studies(query, batch)
            asked = {study.uid: self._find_series(query, study) for study in studies}
            self._retrieve([series for found in asked.values() for series in found])
            for study in studies:
                self._note_study(query, study, asked[study.uid])
            self._share = number + 1.0
            self._tell()

    def close(self) -> None:
        """End every connection and remove what was not received whole."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
        shutil.rmtree(self._incoming, ignore_errors=True)

    def _tell(self) -> None:
        if self._said != as_line(self.report):
            self._said = as_line(self.report)
            self._say(self._said + self._pace.left(self._share, self._batches))

    def _find_studies(self, query: Query, batch: Batch) -> list[Study]:
        found: dict[str, Study] = {}
        with self._connection() as pacs:
            for question in batch.questions:
                answers = self._patience.ask(lambda: pacs.find_studies(question))  # noqa: B023
                asked = [study for study in answers if is_asked_study(query, question, study)]
                self.report.unasked += len(answers) - len(asked)
                found |= {study.uid: study for study in asked}
        self.report.studies += len(found)
        return list(found.values())

    def _find_series(self, query: Query, study: Study) -> list[Series]:
        """Return the series of a study that need a question; count those that do not."""
        known = self._finished_series(query, study)
        if known:
            self.report.series += known
            self.report.finished += known
            return []
        with self._connection() as pacs:
            answers = self._patience.ask(lambda: pacs.find_series(study))
        asked = [series for series in answers if is_asked_series(query, series)]
        self.report.series += len(asked)
        return asked

    def _finished_series(self, query: Query, study: Study) -> int:
        """Return how many series of a study are here, if it did not change since; else 0."""
        line = self._progress.studies.get(self._store.names.of(STUDY, study.uid))
        if line is None or not study.instances:
            return 0
        if (line["promised"], line["query"]) != (study.instances, _digest(query)):
            return 0
        whole = all(self._is_here(series) for series in line["series"])
        return len(line["series"]) if whole else 0

    def _is_here(self, series: str) -> bool:
        line = self._progress.series.get(series)
        return line is not None and len(self._store.held(series)) >= line["held"]

    def _retrieve(self, asked: list[Series]) -> None:
        with ThreadPoolExecutor(self._archive.max_associations) as workers:
            futures = [workers.submit(self._one, series) for series in asked]
            try:
                self._collect(futures)
            except BaseException:
                self._patience.stopped.set()
                workers.shutdown(cancel_futures=True)
                raise

    def _collect(self, futures: list[Future[Retrieved]]) -> None:
        said_s = self._clock.monotonic_s()
        for future in as_completed(futures):
            outcome, error = future.result()
            self._count(outcome)
            self._share += 1 / len(futures)
            if error is not None:
                raise error
            if self._clock.monotonic_s() - said_s > 5:
                said_s = self._clock.monotonic_s()
                self._tell()

    def _one(self, series: Series) -> Retrieved:
        """Retrieve one series; what came before an error is counted too."""
        name = self._store.names.of(SERIES, series.uid)
        held = len(self._store.held(name))
        if self._progress.is_finished(name, promised=series.instances, held=held):
            return Outcome(held_before=held), None
        with self._connection() as pacs:
            retrieval = SeriesRetrieval(
                pacs=pacs,
                series=series,
                store=self._store,
                progress=self._progress,
                patience=self._patience,
                limits=_limits(self._archive),
                incoming=self._incoming,
            )
            try:
                return retrieval.run(), None
            except FedradError as error:
                retrieval.outcome.missing = max(1, series.instances)
                return retrieval.outcome, error

    def _count(self, outcome: Outcome) -> None:
        report = self.report
        report.finished += not outcome.missing
        report.kept += outcome.kept
        report.bytes += outcome.bytes
        report.refused += outcome.refused
        report.missing += outcome.missing
        if outcome.problem and not report.problem:
            report.problem = f"the PACS did not send everything: {outcome.problem}"
        self._fruitless = self._fruitless + 1 if outcome.missing and not outcome.kept else 0
        if self._fruitless >= _FRUITLESS:
            raise PacsError(f"{_FRUITLESS} series in a row brought nothing: {outcome.problem}")

    def _note_study(self, query: Query, study: Study, asked: list[Series]) -> None:
        names = [self._store.names.of(SERIES, series.uid) for series in asked]
        if names and all(self._is_here(name) for name in names):
            self._progress.note_study(
                self._store.names.of(STUDY, study.uid),
                promised=study.instances,
                query=_digest(query),
                series=names,
            )

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Pacs]:
        pacs = self._idle.get()
        try:
            yield pacs
        finally:
            self._idle.put(pacs)


def _limits(archive: Archive) -> Limits:
    return Limits(
        most_bytes=int(archive.max_instance_mib * 2**20),
        keep_free=int(archive.keep_free_gib * 2**30),
    )


def _digest(query: Query) -> str:
    """Return a name of the query's words; the accession file's content is left out."""
    return hashlib.sha256(durable.canonical_json(_words(query))).hexdigest()[:16]


def _words(query: Query) -> dict[str, str]:
    names = ("first_date", "last_date")  # a study lies in them or is not asked for at all
    return {name: str(value) for name, value in asdict(query).items() if name not in names}


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    (home / LOCK).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError("another fetch of this home is running; wait for it to end") from None
        yield
    finally:
        os.close(descriptor)
