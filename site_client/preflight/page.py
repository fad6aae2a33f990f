"""``check.html``: a check as one self-contained page, for the hospital's own eyes.

The section on labels with its random cases belongs to ``label_page``.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import jinja2

from site_client.label_page import render_section, write_page
from site_client.patients import SPLITS
from site_client.preflight.check import Looked
from site_client.preflight.lines import Line
from site_client.preflight.screen import answer

_MOST_ROWS = 40  # of a table of scanners, views or twins
_GRAVEST_FIRST = ("no", "warning", "ok")
_NOT_SHOWN = "test"  # opened once, on the final model


def write_check(home: Path, looked: Looked, now: datetime) -> Path:
    """Write the page durably, in place of the last one, and return where it is.

    Args:
        home: The site's folder.
        looked: From ``check_site``.
        now: When.
    """
    sections = [_overview(looked, now)]
    if looked.stock.datasets:
        shown = [found for split, found in looked.stock.datasets.items() if split != _NOT_SHOWN]
        sections.append(render_section(looked.task, looked.review, shown, rng=looked.rng))
    title = f"{looked.check.site} for {looked.check.task}"
    return write_page(home, title, sections)


def _overview(looked: Looked, now: datetime) -> str:
    found = looked.check
    return (
        _environment()
        .get_template("preflight.html")
        .render(
            check=found,
            answer=answer(found),
            lines=sorted(found.lines, key=_gravity),
            splits=[split for split in SPLITS if looked.stock.patients(split) is not None],
            most=_MOST_ROWS,
            time=f"{now:%Y-%m-%d %H:%M} UTC",
        )
    )


def _gravity(line: Line) -> int:
    return _GRAVEST_FIRST.index(line.verdict)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("site_client", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
