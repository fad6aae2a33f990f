"""The coordinator's commands about its own record: audit verify, export, compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from fedrad.commands import AsJson, emit

app = typer.Typer(help="The record of what was done here, and of every message.")

Home = Annotated[
    Path,
    typer.Option(
        envvar="FEDRAD_HOME", help="The coordinator's folder.", exists=True, file_okay=False
    ),
]


@app.command()
def verify(
    home: Home,
    head: Annotated[
        list[str] | None, typer.Option(help="A head that was noted before; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that no line was changed, removed, moved or cut off; ends with 5 if one was."""
    from aggregator.home import AUDIT
    from fedrad import audit_log

    found = audit_log.verify(home / AUDIT, heads=tuple(head or ()))
    emit(
        as_json,
        dataclasses.asdict(found),
        f"{found.lines} lines, none changed or missing\nnote the head down: {found.hash}"
        if found.lines
        else "no record: nothing was written here yet, or all of it was taken away",
    )
    if not found.lines:
        raise typer.Exit(1)


@app.command()
def export(
    home: Home,
    site: Annotated[str, typer.Argument(help="The hospital that the file is for.")],
    study: Annotated[str, typer.Option(help="The study.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    as_json: AsJson = False,
) -> None:
    """Write what was recorded here of the messages with one hospital, and of no other's."""
    from aggregator.home import AUDIT
    from fedrad import audit_compare

    found = audit_compare.export(home / AUDIT, end="coordinator", site=site, study=study)
    audit_compare.write_export(out, found)
    table = {"file": str(out), "messages": len(found.messages), "head": found.head}
    emit(as_json, table, f"{len(found.messages)} messages of {study} with {site}: {out}")


@app.command()
def compare(
    home: Home,
    other: Annotated[Path, typer.Argument(help="What a hospital exported.", exists=True)],
    as_json: AsJson = False,
) -> None:
    """Compare a hospital's record of the messages with this one; ends with 1 if they differ."""
    from aggregator.home import AUDIT
    from fedrad import audit_compare

    there = audit_compare.read_export(other)
    here = audit_compare.export(home / AUDIT, end="coordinator", site=there.site, study=there.study)
    found = audit_compare.compare(here, there)
    emit(as_json, dataclasses.asdict(found), audit_compare.as_text(found))
    if found.only_here or found.only_there:
        raise typer.Exit(1)
