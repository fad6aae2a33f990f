"""Ask a PACS by DICOMweb: QIDO-RS through dicomweb-client, WADO-RS straight to disk.

Whole instances are asked for as they are stored (PS3.18 sec. 10.4), never frames or rendered
images. The client library would parse every instance in this process as it arrives; foreign
bytes are not parsed here, so retrieval streams the parts into an inbox. Descriptions are
matched by the caller: not every server knows wildcards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from typing import Any

import requests
from dicomweb_client.web import DICOMwebClient

from site_client.archive.inbox import Inbox
from site_client.archive.multipart import iter_parts
from site_client.archive.pacs import (
    MOST_ANSWERS,
    PacsError,
    PacsRefusedError,
    Question,
    Series,
    Study,
    is_uid,
)
from site_client.archive.web_session import open_session, spoken
from site_client.archive_settings import DicomWeb

_PAGE = 500
_CHUNK = 1 << 20
_STUDY_FIELDS = ("StudyDescription", "NumberOfStudyRelatedInstances")
_SERIES_FIELDS = ("Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances")
_ACCEPT = {
    "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*',
    "Accept-Encoding": "identity",  # a compressed body could become gigabytes
}


class DicomWebPacs:
    """One HTTP connection to a DICOMweb service; a ``Pacs``."""

    def __init__(self, settings: DicomWeb) -> None:
        """Read the secrets; nothing is sent yet.

        Raises:
            SettingsError: A file that ``[archive.dicomweb]`` names cannot be used.
        """
        self._url = settings.url.rstrip("/")
        self._timeout = (settings.connect_s, settings.read_s)
        self._session = open_session(settings)
        self._client = DICOMwebClient(self._url, session=self._session, timeout=self._timeout)
        self._client.set_http_retry_params(retry=False)

    def find_studies(self, question: Question) -> list[Study]:
        """Return the studies that match, page by page."""
        filters = {"ModalitiesInStudy": question.modality}
        if question.accession:
            filters["AccessionNumber"] = question.accession
        else:
            filters["StudyDate"] = f"{question.first_day}-{question.last_day}"

        def search(offset: int) -> list[Any]:
            return self._client.search_for_studies(
                limit=_PAGE, offset=offset, fields=_STUDY_FIELDS, search_filters=filters
            )

        return [_study(answer) for answer in _all_pages(search, "0020000D")]

    def find_series(self, study: Study) -> list[Series]:
        """Return the series of one study, page by page."""

        def search(offset: int) -> list[Any]:
            return self._client.search_for_series(
                study_instance_uid=study.uid, limit=_PAGE, offset=offset, fields=_SERIES_FIELDS
            )

        return [_series(study.uid, answer) for answer in _all_pages(search, "0020000E")]

    def list_instances(self, series: Series) -> list[str]:
        """Return the SOP Instance UIDs of one series, page by page."""

        def search(offset: int) -> list[Any]:
            return self._client.search_for_instances(
                study_instance_uid=series.study,
                series_instance_uid=series.uid,
                limit=_PAGE,
                offset=offset,
            )

        return [_text(answer, "00080018") for answer in _all_pages(search, "00080018")]

    def fetch_series(self, series: Series, inbox: Inbox) -> None:
        """Stream one series into ``inbox``, a file an instance."""
        self._fetch(f"/studies/{series.study}/series/{series.uid}", inbox)

    def fetch_instances(self, series: Series, uids: Sequence[str], inbox: Inbox) -> None:
        """Stream the named instances into ``inbox``, a request each."""
        for uid in uids:
            self._fetch(f"/studies/{series.study}/series/{series.uid}/instances/{uid}", inbox)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _fetch(self, path: str, inbox: Inbox) -> None:
        with (
            spoken(),
            self._session.get(
                self._url + path, headers=_ACCEPT, stream=True, timeout=self._timeout
            ) as response,
        ):
            if response.status_code == requests.codes.not_found:
                raise PacsError("the PACS no longer has what it listed")
            response.raise_for_status()
            if response.status_code == requests.codes.no_content:
                return
            chunks = response.iter_content(_CHUNK)
            for part in _parts(response.headers.get("Content-Type", ""), chunks):
                inbox.take(part)


def _parts(content_type: str, chunks: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if header.get_content_type() == "application/dicom":
        return iter([chunks])
    if header.get_content_type() != "multipart/related" or not boundary:
        raise PacsRefusedError(
            "the address answers, but not with DICOM instances; is [archive.dicomweb] url the "
            "root of its DICOMweb service?"
        )
    return iter_parts(chunks, boundary.encode())


def _all_pages(search: Callable[[int], list[Any]], key: str) -> list[dict[str, Any]]:
    """Ask until a page brings nothing new; answers without a usable UID are left out."""
    found: dict[str, dict[str, Any]] = {}
    offset = 0
    while len(found) <= MOST_ANSWERS:
        with spoken():
            page = search(offset)
        new = {_text(answer, key): answer for answer in page}
        before = len(found)
        found |= {uid: answer for uid, answer in new.items() if is_uid(uid)}
        if len(found) == before:
            return list(found.values())
        offset += len(page)
    raise PacsRefusedError(f"more than {MOST_ANSWERS} answers to one question; ask for fewer days")


def _study(answer: dict[str, Any]) -> Study:
    return Study(
        uid=_text(answer, "0020000D"),
        day=_text(answer, "00080020"),
        description=_text(answer, "00081030"),
        accession=_text(answer, "00080050"),
        instances=_number(answer, "00201208"),
    )


def _series(study: str, answer: dict[str, Any]) -> Series:
    return Series(
        study=study,
        uid=_text(answer, "0020000E"),
        modality=_text(answer, "00080060"),
        description=_text(answer, "0008103E"),
        instances=_number(answer, "00201209"),
    )


def _text(answer: Any, tag: str) -> str:
    """Return the first value of one attribute of DICOM JSON (PS3.18 annex F), or nothing."""
    element = answer.get(tag) if isinstance(answer, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    value = values[0] if isinstance(values, list) and values else ""
    return str(value).strip() if isinstance(value, str | int) else ""


def _number(answer: Any, tag: str) -> int:
    text = _text(answer, tag)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
