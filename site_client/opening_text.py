"""The commented ``site.toml`` that ``fedrad-site init`` writes.

Its words are in ``templates/site.toml``. In it a prose comment begins with ``# ``, a setting that
is off with ``#`` alone, so that whoever takes a ``#`` away has a file that can be read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2

from site_client.machine import Machine

_FILE_GIB = 1.0  # what reading one file may take, as in [reading]
_MOST_WORKERS = 8
_MODALITIES = ("CT", "MR", "DX", "CR", "MG", "SEG", "RTSTRUCT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the images are; what is empty is filled with an example."""

    kind: str = "folder"  # or dicomweb, dimse
    path: str = "archive"
    url: str = "https://pacs.example/dicom-web"
    host: str = "pacs.example"
    port: int = 104
    ae_title: str = "ARCHIVE"
    modality: tuple[str, ...] = _MODALITIES


def settings_text(name: str, source: Source, machine: Machine, *, labels: str = "") -> str:
    """Return the text of ``site.toml``.

    Args:
        name: What contracts call the site.
        source: Where its images are.
        machine: What it runs on; rounds may use half of it.
        labels: Path of the table of labels; empty: none yet.
    """
    half = machine.memory_gib / 2
    return (
        _environment()
        .get_template("site.toml")
        .render(
            name=name,
            on=source.kind,
            path=source.path,
            url=source.url,
            host=source.host,
            port=source.port,
            ae_title=source.ae_title,
            modality=list(source.modality),
            labels=labels,
            machine=machine,
            keep_free_gib=max(1.0, round(machine.free_gib / 10, 1)),
            threads=max(1, machine.cores // 2),
            memory_gib=max(0.5, round(half, 1)),
            workers=max(1, min(machine.cores, int(half / _FILE_GIB), _MOST_WORKERS)),
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("site_client", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # TOML, whose own escapes ``toml`` writes
    )
    environment.filters["toml"] = _toml
    return environment


def _toml(value: Any) -> str:
    """Return text or a list of texts as TOML: a JSON string is a basic string (TOML 1.0)."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
