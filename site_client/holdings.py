"""What an archive holds and what was set aside, in words and numbers for the hospital's screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from site_client.catalogue import QUARANTINE

_OF_ALL = "any task"
_MOST_LINES = 200  # files on one screen; quarantine.csv has all


def as_table(catalogue: pd.DataFrame) -> dict[str, Any]:
    """Count the images and patients of a catalogue, and what was set aside by reason."""
    used = catalogue[catalogue["reason"] == ""]
    return {
        "images": len(used),
        "patients": int(used["patient"].nunique()),
        "set_aside": len(catalogue) - len(used),
        "reasons": _counts(catalogue.loc[catalogue["reason"] != "", "reason"]),
    }


def as_text(counts: dict[str, Any]) -> str:
    """Return what ``as_table`` counted as one line."""
    found = f"{counts['images']} images of {counts['patients']} patients"
    reasons = ", ".join(f"{number} {name}" for name, number in counts["reasons"].items())
    return f"{found}, {counts['set_aside']} set aside" + (f": {reasons}" if reasons else "")


def read_quarantine(home: Path, reason: str = "") -> pd.DataFrame:
    """Return the rows of ``quarantine.csv``: columns file, reason, task, detail.

    Args:
        home: The site's folder.
        reason: Only files with this code; empty: all.
    """
    columns = ["file", "reason", "task", "detail"]
    path = home / QUARANTINE
    if not path.exists():
        return pd.DataFrame(columns=columns, dtype=str)
    rows = pd.read_csv(path, dtype=str, keep_default_na=False).reindex(columns=columns)
    rows = rows.fillna("")
    return rows[rows["reason"] == reason] if reason else rows


def quarantine_table(rows: pd.DataFrame, reason: str = "") -> dict[str, Any]:
    """Count files by reason for each task; name them if one reason was asked for."""
    tasks = rows["task"].mask(rows["task"] == "", _OF_ALL)
    counts = {str(task): _counts(found) for task, found in rows["reason"].groupby(tasks)}
    files = rows[["file", "task", "detail"]].to_dict("records") if reason else []
    return {"set_aside": int(rows["file"].nunique()), "tasks": counts, "files": files}


def quarantine_text(table: dict[str, Any]) -> str:
    """Return what ``quarantine_table`` found, for a person."""
    if not table["set_aside"]:
        return "nothing was set aside"
    lines = [f"{table['set_aside']} files set aside"]
    for task, reasons in table["tasks"].items():
        lines.append(f"for {task}:")
        lines += [f"  {number:>7}  {reason}" for reason, number in reasons.items()]
    files = [f"{_shown(row['file'])}  {row['detail']}".rstrip() for row in table["files"]]
    lines += files[:_MOST_LINES]
    if len(files) > _MOST_LINES:
        lines.append(f"and {len(files) - _MOST_LINES} more: see {QUARANTINE}")
    return "\n".join(lines)


def _shown(name: str) -> str:
    """Return a file's name without anything that a screen would obey."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in name)


def _counts(reasons: pd.Series[str]) -> dict[str, int]:
    counts = reasons.value_counts()
    return {str(name): int(counts[name]) for name in sorted(counts.index)}
