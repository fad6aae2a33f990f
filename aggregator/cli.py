"""The coordinator's commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedrad.commands import AsJson, Program, emit

app = Program(help="The coordinator's side of fedrad.")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The folder that a run was written to.")],
    as_json: AsJson = False,
) -> None:
    """Write the run's report.html again from its records, and print where it is."""
    from aggregator.report import facts_of, write_report

    path = write_report(run)
    emit(as_json, {"report": str(path), "facts": facts_of(run)} if as_json else {}, str(path))
