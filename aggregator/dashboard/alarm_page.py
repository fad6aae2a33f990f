"""Alarms and what is proposed about them, waiting and decided; sites in quarantine."""

from __future__ import annotations

import json
from typing import Any

from aggregator.dashboard import matters
from aggregator.dashboard.book import Book
from aggregator.dashboard.glance import banner_of
from aggregator.dashboard.lines import strips_by_site
from aggregator.quarantine import QUARANTINED
from aggregator.run_folder import Row

NOTES = "note"


def alarm_context(book: Book) -> dict[str, Any]:
    """Return what the page of alarms shows."""
    turns = book.turns()
    run = book.run(events=turns)
    alarms = book.rows("SELECT * FROM alarms ORDER BY window DESC, site")
    why = _reasons(turns)
    actions = book.rows("SELECT * FROM actions ORDER BY window DESC, round DESC, site")
    return {
        "run": run,
        "banner": banner_of(run),
        "alarms": [
            (matter, row)
            for matter, row in zip(matters.alarm_matters(run, alarms), alarms, strict=True)
        ],
        "strips": strips_by_site(book, alarms),
        "proposals": [_with_words(row) for row in matters.proposals(actions)],
        "decided": [
            _with_words(row) | {"why": why.get(_which(row), "")}
            for row in actions
            if row["decision"] != matters.OPEN
        ],
        "quarantined": [r["site"] for r in run.tables["sites"] if r["status"] == QUARANTINED],
        "notes": [_note(row) for row in turns if row["kind"] == NOTES][-20:],
        "looked": bool(book.rows("SELECT 1 FROM shifts LIMIT 1")),
    }


def _with_words(row: Row) -> Row:
    try:
        parameters = json.loads(row["parameters_json"] or "{}")
    except ValueError:
        parameters = {}
    told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in parameters.items())
    reason = matters.sentence(row["reason"])
    return row | {
        "said": reason,
        "text": matters.action_text(str(row["action"])),
        "parameters": told,
    }


def _reasons(turns: list[Row]) -> dict[tuple[str, str, str], str]:
    """Return why each proposal was decided, by site, window and action."""
    found = {}
    for row in turns:
        if row["kind"] in ("proposal-accepted", "proposal-declined"):
            detail = json.loads(row["detail_json"])
            found[str(row["site"]), str(detail["window"]), str(detail["action"])] = detail["reason"]
    return found


def _which(row: Row) -> tuple[str, str, str]:
    return str(row["site"]), str(row["window"]), str(row["action"])


def _note(row: Row) -> Row:
    detail = json.loads(row["detail_json"])
    return {"window": detail.get("window", ""), "site": row["site"] or detail.get("site", ""),
            "text": detail.get("text", "")}  # fmt: skip
