"""``fedrad-site pacs-request``: what a PACS's administrator needs to let this site in.

Everything comes from ``site.toml``; nothing is asked of the PACS. Secrets are named by their
file, never shown; accession numbers are counted, never listed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedrad.errors import SettingsError
from site_client.archive.storage_classes import FIND, GET, MOVE, storage_classes, storage_contexts
from site_client.archive_settings import Archive, Dimse, Query
from site_client.retrieval.questions import read_accessions
from site_client.settings import SiteSettings

_FILL_IN = "(please name: [archive] contact in site.toml)"
_QUESTIONS = {"C-FIND": FIND, "C-GET": GET, "C-MOVE": MOVE}


def request_form(settings: SiteSettings) -> dict[str, Any]:
    """Return the form as a table, ready for JSON.

    Raises:
        SettingsError: The archive is a folder, or its file of accession numbers is unusable.
    """
    archive = settings.archive
    if archive.query is None:
        raise SettingsError("[archive]", ('kind = "folder" asks no PACS; no form is needed',))
    access = _of_dimse(archive) if archive.dimse is not None else _of_web(archive)
    return {
        "site": settings.site.name,
        "contact": archive.contact or _FILL_IN,
        "purpose": "read-only copy of images into the hospital's own fedrad site; nothing is "
        "stored, changed or deleted in the PACS",
        **access,
        "query_level": "study, then series; single images only where a series came incomplete",
        "retrieved": _asked(archive.query),
        "hours": archive.hours or "any",
        "associations": archive.max_associations,
        "attempts": f"{archive.attempts} a request, waiting 1 s, 2 s, 4 s … 60 s between them",
    }


def as_text(form: dict[str, Any]) -> str:
    """Return the form for a person: one line an entry, lists indented."""
    return "\n".join(_lines(form, ""))


def _lines(table: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for name, value in table.items():
        label = f"{indent}{name.replace('_', ' ')}:"
        if isinstance(value, dict):
            lines += [label, *_lines(value, f"{indent}  ")]
        elif isinstance(value, list):
            lines += [label, *(f"{indent}  - {item}" for item in value)]
        else:
            lines.append(f"{label} {value}")
    return lines


def _of_dimse(archive: Archive) -> dict[str, Any]:
    dimse, query = archive.dimse, archive.query
    if dimse is None or query is None:
        raise SettingsError("[archive]", ("dimse and query are missing",))
    retrieve = "C-MOVE" if dimse.move else "C-GET"
    return {
        "pacs": {"ae_title": dimse.ae_title, "host": dimse.host, "port": dimse.port},
        "this_site": _own(dimse),
        "tls": "yes" if dimse.tls else "no",
        "allow": ["C-FIND", retrieve],
        "sop_classes": [
            f"{name} Study Root, {_QUESTIONS[name]}, this site as SCU"
            for name in ("C-FIND", retrieve)
        ]
        + [f"{_named(uid)}, {uid}, this site as SCP" for uid in storage_classes(query.modality)],
        "presentation_contexts_for_each_storage_class": [
            ", ".join(map(_named, syntaxes))
            for syntaxes in dict.fromkeys(group for _, group in storage_contexts(query.modality))
        ],
        "seconds": {
            "association": dimse.association_s,
            "answer": dimse.dimse_s,
            "silence": dimse.network_s,
        },
    }


def _own(dimse: Dimse) -> dict[str, Any]:
    own: dict[str, Any] = {"ae_title": dimse.own_ae_title, "host": "(this machine's address)"}
    if dimse.move:
        return own | {
            "listens_on": f"{dimse.listen_address} port {dimse.listen_port}, while fetching"
        }
    return own | {"listens_on": "no port"}


def _of_web(archive: Archive) -> dict[str, Any]:
    web = archive.dicomweb
    if web is None:
        raise SettingsError("[archive]", ("dicomweb is missing",))
    signed = f"user {web.user}" if web.user else "token" if web.token_file != Path() else "none"
    return {
        "pacs": {"url": web.url},
        "this_site": {"host": "(this machine's address)", "listens_on": "no port"},
        "tls": "yes" if web.url.startswith("https") else "no",
        "client_certificate": "yes" if web.certificate != Path() else "no",
        "sign_in": signed,
        "allow": ["QIDO-RS studies, series, instances", "WADO-RS series, instances"],
        "media_type": 'multipart/related; type="application/dicom"; transfer-syntax=* (as stored)',
        "seconds": {"connecting": web.connect_s, "silence": web.read_s},
    }


def _asked(query: Query) -> dict[str, Any]:
    asked: dict[str, Any] = {"modality": ", ".join(query.modality)}
    if query.first_date:
        asked["study_dates"] = f"{query.first_date} to {query.last_date or 'today'}"
    if query.accessions != Path():
        asked["accession_numbers"] = f"a list of {len(read_accessions(query.accessions))}"
    for name in ("study_description", "series_description"):
        if getattr(query, name):
            asked[name] = f"{getattr(query, name)} (matched at this site)"
    return asked


def _named(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name
