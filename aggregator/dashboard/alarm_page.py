"""Alarms and what is proposed about them, waiting and decided; sites in quarantine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from aggregator.dashboard import matters
from aggregator.dashboard.book import Book
from aggregator.dashboard.glance import banner_of
from aggregator.dashboard.lines import strips_by_site
from aggregator.effects import of_others
from aggregator.proposals import EFFECTS, SET_ASIDE
from aggregator.quarantine import QUARANTINED
from aggregator.run_folder import Row
from fedrad.metrics.names import spoken

NOTE, LOOKED = "note", "shift-looked"  # events; the second's detail has notes by site


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
            _with_words(row) | {"why": why.get(_which(row), "")} | _effect(book, row, turns)
            for row in actions
            if row["decision"] != matters.OPEN
        ],
        "quarantined": [r["site"] for r in run.tables["sites"] if r["status"] == QUARANTINED],
        "notes": list(_notes(book, turns))[-20:],
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
        "does": EFFECTS.get(str(row["action"]), "noted"),
    }


def _effect(book: Book, row: Row, turns: list[Row]) -> Row:
    """Return what came of it: of a site that was set aside how the others fared since."""
    since = [
        int(turn["round"])
        for turn in turns
        if turn["kind"] == QUARANTINED and turn["site"] == row["site"]
    ]
    if row["action"] != SET_ASIDE or row["decision"] != "accepted" or not since:
        return {}
    metric = book.primary()
    question = (
        "SELECT round, site, value FROM metrics WHERE metric = ? AND model = 'global' "
        "AND split = 'audit' AND window = '' ORDER BY round"
    )
    said = of_others(book.rows(question, metric), str(row["site"]), since[-1], spoken(metric))
    return {"effect": f"{row['effect']}; {said}"}


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


def _notes(book: Book, turns: list[Row]) -> Iterator[Row]:
    """Yield what was noted of windows and is no alarm: of the last look, and by itself."""
    looks = [row for row in turns if row["kind"] == LOOKED][-1:]
    for row in looks:
        for site, texts in json.loads(row["detail_json"]).get("notes", {}).items():
            for text in texts:
                yield {"window": "", "site": book.letters.get(site, site), "text": text}
    for row in turns:
        if row["kind"] == NOTE:
            detail = json.loads(row["detail_json"])
            window, text = detail.get("window", ""), detail.get("text", "")
            yield {"window": window, "site": row["site"], "text": text}
