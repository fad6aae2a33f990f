"""The hospital's commands of its own page: dashboard, pause, resume, withdraw."""

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
By = Annotated[str, typer.Option(help="The name of the person who decides.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in this site's record.")]


@app.command()
def dashboard(
    home: Home,
    port: Annotated[int, typer.Option(help="On the loopback; 0: any.")] = 8601,
    by: Annotated[
        str, typer.Option(help="Who may pause and withdraw, by name; absent: all only look.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show what this site did, sent and spent in a browser of this machine, until Ctrl-C."""
    from fedrad.clock import SystemClock
    from site_client.dashboard.serve import show

    def ready(addresses: dict[str, str]) -> None:
        lines = [f"{role}: {address}" for role, address in addresses.items()]
        emit(as_json, addresses, "\n".join([*lines, "Ctrl-C ends it"]))

    show(home.absolute(), port=port, by=by.strip(), clock=SystemClock(), ready=ready)


@app.command()
def pause(home: Home, by: By, reason: Reason, as_json: AsJson = False) -> None:
    """Take no question until resume; what is worked on waits between two steps."""
    from fedrad.clock import SystemClock
    from fedrad.errors import SettingsError
    from site_client import pausing

    if not (home / "site.toml").exists():  # one that is there and damaged may be paused
        raise SettingsError(str(home), ("it is no site's home: site.toml is not there",))
    found = pausing.pause(home, by=by, reason=reason, clock=SystemClock())
    table = {"paused": True, "by": found.by, "reason": found.reason, "since": found.since}
    emit(as_json, table, "paused; fedrad-site resume ends it")


@app.command()
def resume(home: Home, by: By, reason: Reason, as_json: AsJson = False) -> None:
    """Answer again, within the site's hours."""
    from fedrad.clock import SystemClock
    from site_client import pausing

    pausing.resume(home, by=by, reason=reason, clock=SystemClock())
    emit(as_json, {"paused": False, "by": by, "reason": reason}, "the site works again")


@app.command()
def withdraw(
    home: Home,
    study: Annotated[str, typer.Argument(help="The study to leave.")],
    by: By,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Leave a study: nothing of it is answered any more; what was charged stays charged."""
    from fedrad.clock import SystemClock
    from site_client import leaving

    leaving.withdraw(home, study, by=by, reason=reason, clock=SystemClock())
    emit(as_json, {"study": study, "by": by, "reason": reason}, f"this site has left {study}")
