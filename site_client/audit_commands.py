"""The hospital's commands about its own record: audit verify, export, compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from fedrad.commands import AsJson, emit

app = typer.Typer(help="The record of what this site did, and of every message.")

Home = Annotated[
    Path,
    typer.Option(envvar="FEDRAD_HOME", help="The site's folder.", exists=True, file_okay=False),
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
    from fedrad import audit_log
    from site_client.audit import NAME

    found = audit_log.verify(home / NAME, heads=tuple(head or ()))
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
    study: Annotated[str, typer.Option(help="The study.")],
    out: Annotated[Path, typer.Option(help="The file to write, for the coordinator.")],
    as_json: AsJson = False,
) -> None:
    """Write what this site recorded of a study's messages: digests, sizes, rounds, decisions."""
    from fedrad import audit_compare
    from site_client.audit import NAME
    from site_client.settings import read_site

    name = read_site(home).site.name
    found = audit_compare.export(home / NAME, end="site", site=name, study=study)
    audit_compare.write_export(out, found)
    table = {"file": str(out), "messages": len(found.messages), "head": found.head}
    emit(as_json, table, f"{len(found.messages)} messages of {study}: {out}")


@app.command()
def compare(
    home: Home,
    other: Annotated[Path, typer.Argument(help="What the coordinator exported.", exists=True)],
    as_json: AsJson = False,
) -> None:
    """Compare the coordinator's record of the messages with this one.

    Ends with 1 if they differ.
    """
    from fedrad import audit_compare
    from site_client.audit import NAME
    from site_client.settings import read_site

    there = audit_compare.read_export(other)
    name = read_site(home).site.name
    here = audit_compare.export(home / NAME, end="site", site=name, study=there.study)
    found = audit_compare.compare(here, there)
    emit(as_json, dataclasses.asdict(found), audit_compare.as_text(found))
    if found.only_here or found.only_there:
        raise typer.Exit(1)
