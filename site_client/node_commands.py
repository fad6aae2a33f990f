"""The hospital's commands that take part: start, health, doctor, dossier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedrad.commands import AsJson, emit

app = typer.Typer(rich_markup_mode=None)

Home = Annotated[
    Path,
    typer.Option(envvar="FEDRAD_HOME", help="The site's folder.", exists=True, file_okay=False),
]


@app.command()
def start(home: Home, as_json: AsJson = False) -> None:
    """Take part: answer the coordinator's questions until Ctrl-C, within the site's hours.

    One connection out, to the address of [coordinator]; no port beyond the loopback. With
    --json one object is printed once the programs were started.
    """
    import logging
    import os

    from fedrad.processes import Stop
    from site_client.node.start import keep_site

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    home = home.absolute()
    table = {"state": "started", "home": str(home), "pid": os.getpid()}
    keep_site(home, Stop(), ready=lambda: emit(as_json, table, "started; Ctrl-C ends it"))


@app.command()
def health(home: Home, as_json: AsJson = False) -> None:
    """Say whether the site's programs run; what a container's check calls.

    Ends with 1 if they do not.
    """
    from site_client.node.health import sick

    trouble = sick(home.absolute())
    emit(as_json, {"healthy": not trouble, "trouble": trouble}, trouble or "all is well")
    if trouble:
        raise typer.Exit(1)


@app.command()
def doctor(home: Home, as_json: AsJson = False) -> None:
    """Say what keeps this site from its coordinator, step by step, and what to do.

    Changes nothing, reads no patient, shows no secret. Ends with 3 if the coordinator cannot
    be reached, 4 if somebody must approve or enrol first, 5 for damaged files, 1 for the rest.
    """
    from fedrad.clock import SystemClock
    from fedrad.commands import screen_columns
    from site_client.doctor.examine import examine
    from site_client.doctor.screen import as_table, as_text

    found = examine(home.absolute(), SystemClock())
    emit(as_json, as_table(found), as_text(found, screen_columns()))
    if found.exit_code:
        raise typer.Exit(found.exit_code)


@app.command()
def dossier(
    home: Home,
    study: Annotated[str, typer.Option(help="The study, as accepted.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to; else dossier-STUDY.html in the home.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write what the approval meeting needs: at most eight pages, from settings and contract.

    Opens no image and sends nothing.
    """
    from fedrad.clock import SystemClock
    from site_client.dossier.page import write_dossier

    path = write_dossier(home.absolute(), study, out, SystemClock())
    emit(as_json, {"study": study, "dossier": str(path)}, f"written: {path}")
