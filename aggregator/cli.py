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


@app.command()
def ledger(
    run: Annotated[Path, typer.Argument(help="The folder that a run was written to.")],
    site: Annotated[str, typer.Argument(help="The site that lost its ledger.")],
    out: Annotated[Path | None, typer.Option(help="The file; beside the run's records.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write what a site told this run of its ledger, for the site to take in again."""
    from aggregator.told import default_path, write_told_by

    told = write_told_by(run, site, out=out)
    path = out or default_path(run, site)
    table = {"file": str(path), "lines": len(told.lines), "head": told.head}
    emit(as_json, table, f"{len(told.lines)} ledger lines of {site}: {path}")
