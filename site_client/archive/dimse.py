"""Ask a PACS by DIMSE: C-FIND at study, series and image level, C-GET for the images.

One association a question, with time limits on connecting, associating, answering and
silence. Data sets that arrive are written as they came; only answers to questions are parsed.
C-MOVE, for a PACS that cannot do C-GET, is in ``dimse_move``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role, evt

from fedrad.errors import SettingsError
from site_client.archive.arrivals import Arrivals
from site_client.archive.association import Caller, is_pending, spoken
from site_client.archive.inbox import Inbox
from site_client.archive.pacs import (
    MOST_ANSWERS,
    PacsError,
    PacsRefusedError,
    Question,
    Series,
    Study,
    is_uid,
)
from site_client.archive.storage_classes import FIND, GET, storage_contexts, unknown_modalities
from site_client.archive_settings import Dimse

_STUDY_KEYS = ("StudyInstanceUID", "StudyDescription", "NumberOfStudyRelatedInstances")
_SERIES_KEYS = (
    "SeriesInstanceUID", "Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances",
)  # fmt: skip


class DimsePacs:
    """A PACS that answers C-FIND and C-GET; a ``Pacs``."""

    retrieve_model = GET

    def __init__(self, settings: Dimse, modalities: Sequence[str]) -> None:
        """Read certificates; nothing is sent yet.

        Raises:
            SettingsError: A file cannot be used, or a modality has no storage class here.
        """
        unknown = unknown_modalities(modalities)
        if unknown:
            said = f"no storage class is known for {unknown}; use DICOMweb, or leave them out"
            raise SettingsError("[archive.query] modality", (said,))
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # quotes UIDs
        self._storage = storage_contexts(modalities)
        self._caller = Caller(settings)

    def find_studies(self, question: Question) -> list[Study]:
        """Return the studies that match."""
        asked = _identifier("STUDY", _STUDY_KEYS)
        asked.ModalitiesInStudy = question.modality
        asked.AccessionNumber = question.accession
        days = f"{question.first_day}-{question.last_day}"
        asked.StudyDate = "" if question.accession else days
        return [_study(answer) for answer in self._find(asked)]

    def find_series(self, study: Study) -> list[Series]:
        """Return the series of one study."""
        asked = _identifier("SERIES", _SERIES_KEYS)
        asked.StudyInstanceUID = study.uid
        return [_series(study.uid, answer) for answer in self._find(asked)]

    def list_instances(self, series: Series) -> list[str]:
        """Return the SOP Instance UIDs of one series."""
        asked = _identifier("IMAGE", ("SOPInstanceUID",))
        asked.StudyInstanceUID, asked.SeriesInstanceUID = series.study, series.uid
        found = (_text(answer, "SOPInstanceUID") for answer in self._find(asked))
        return list(dict.fromkeys(filter(is_uid, found)))

    def fetch_series(self, series: Series, inbox: Inbox) -> None:
        """Have one series sent into ``inbox``."""
        asked = _identifier("SERIES", ())
        asked.StudyInstanceUID, asked.SeriesInstanceUID = series.study, series.uid
        self._retrieve(asked, Arrivals(inbox))

    def fetch_instances(self, series: Series, uids: Sequence[str], inbox: Inbox) -> None:
        """Have the named instances sent into ``inbox``."""
        asked = _identifier("IMAGE", ())
        asked.StudyInstanceUID, asked.SeriesInstanceUID = series.study, series.uid
        asked.SOPInstanceUID = list(uids)
        self._retrieve(asked, Arrivals(inbox))

    def close(self) -> None:
        """End nothing: no association outlives its question."""

    def _find(self, asked: Dataset) -> list[Dataset]:
        found: list[Dataset] = []
        with self._caller.associated([build_context(FIND)]) as association, spoken():
            for status, answer in association.send_c_find(asked, FIND):
                if is_pending(status, "C-FIND") and answer is not None:
                    found.append(answer)
                if len(found) > MOST_ANSWERS:
                    raise PacsRefusedError(f"more than {MOST_ANSWERS} answers; ask for fewer days")
        return found

    def _retrieve(self, asked: Dataset, arrivals: Arrivals) -> None:
        contexts = [build_context(GET)] + [
            build_context(name, list(group)) for name, group in self._storage
        ]
        classes = dict.fromkeys(name for name, _ in self._storage)
        roles = [build_role(name, scp_role=True) for name in classes]
        handlers = [
            (evt.EVT_C_STORE, arrivals.on_store),
            (evt.EVT_PDU_RECV, arrivals.on_data),
        ]
        with self._caller.associated(contexts, roles, handlers) as association:
            self._drain(association.send_c_get, asked, arrivals)

    def _drain(self, send: Callable[..., Any], asked: Dataset, arrivals: Arrivals) -> None:
        """Follow a retrieval to its end; what the inbox refused comes before what the PACS said."""
        try:
            with spoken():
                for status, _ in send(asked, query_model=self.retrieve_model):
                    is_pending(status, "the retrieval")
        except PacsError:
            arrivals.raise_refusal()
            raise
        arrivals.raise_refusal()


def _identifier(level: str, keys: Sequence[str]) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for key in keys:
        setattr(asked, key, None)
    return asked


def _study(answer: Dataset) -> Study:
    return Study(
        uid=_text(answer, "StudyInstanceUID"),
        day=_text(answer, "StudyDate"),
        description=_text(answer, "StudyDescription"),
        accession=_text(answer, "AccessionNumber"),
        instances=_number(answer, "NumberOfStudyRelatedInstances"),
    )


def _series(study: str, answer: Dataset) -> Series:
    return Series(
        study=study,
        uid=_text(answer, "SeriesInstanceUID"),
        modality=_text(answer, "Modality"),
        description=_text(answer, "SeriesDescription"),
        instances=_number(answer, "NumberOfSeriesRelatedInstances"),
    )


def _text(answer: Dataset, keyword: str) -> str:
    with spoken():
        return str(answer.get(keyword) or "").strip(" \0")


def _number(answer: Dataset, keyword: str) -> int:
    text = _text(answer, keyword)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
