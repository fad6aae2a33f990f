"""The hospital's commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedrad.commands import AsJson, Program, emit

if TYPE_CHECKING:
    import pandas as pd

app = Program(help="The hospital's side of fedrad.")

Home = Annotated[
    Path,
    typer.Option(envvar="FEDRAD_HOME", help="The site's folder.", exists=True, file_okay=False),
]


@app.command()
def catalogue(home: Home, as_json: AsJson = False) -> None:
    """List the archive's images, one row each, without reading pixels."""
    from site_client.catalogue import update_catalogue

    counts = _counts(update_catalogue(home))
    emit(as_json, counts, _line(counts))


def _counts(table: pd.DataFrame) -> dict[str, Any]:
    used = table[table["reason"] == ""]
    reasons = table.loc[table["reason"] != "", "reason"].value_counts()
    return {
        "images": len(used),
        "patients": int(used["patient"].nunique()),
        "set_aside": int(reasons.sum()),
        "reasons": {str(name): int(reasons[name]) for name in sorted(reasons.index)},
    }


def _line(counts: dict[str, Any]) -> str:
    found = f"{counts['images']} images of {counts['patients']} patients"
    reasons = ", ".join(f"{number} {name}" for name, number in counts["reasons"].items())
    return f"{found}, {counts['set_aside']} set aside" + (f": {reasons}" if reasons else "")
