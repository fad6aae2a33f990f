"""The coordinator's command that shows screens: dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedrad.commands import AsJson, emit

app = typer.Typer(rich_markup_mode=None)


@app.command()
def dashboard(
    home: Annotated[
        Path | None,
        typer.Option(
            envvar="FEDRAD_HOME", help="The coordinator's folder.", exists=True, file_okay=False
        ),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(help="Or a simulated run's folder; may be repeated.", file_okay=False),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="On the loopback; 0: any. Else that of aggregator.toml.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="Who acts over the loopback, by name; absent: all only look.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show the federation live in a browser of this machine, until Ctrl-C.

    It listens on the loopback alone; from elsewhere: ssh -L, or the institution's own proxy over
    [dashboard] socket. With --by NAME it prints an operator's address besides a viewer's.
    """
    from aggregator.dashboard.places import places
    from aggregator.dashboard.serve import show
    from fedrad.clock import SystemClock

    def ready(addresses: dict[str, str]) -> None:
        lines = [f"{role}: {address}" for role, address in addresses.items()]
        emit(as_json, addresses, "\n".join([*lines, "Ctrl-C ends it"]))

    where = places(None if run else home, tuple(run or ()))
    show(where, port=port, by=by.strip(), clock=SystemClock(), ready=ready)
