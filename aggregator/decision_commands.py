"""The coordinator's commands by which a person decides about a run: set-aside, lift, rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedrad.clock import SystemClock
from fedrad.commands import AsJson, emit

app = typer.Typer(rich_markup_mode=None)

Home = Annotated[
    Path | None,
    typer.Option(
        envvar="FEDRAD_HOME", help="The coordinator's folder.", exists=True, file_okay=False
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(help="Or the folder of a simulated run.", exists=True, file_okay=False),
]
Study = Annotated[str, typer.Option(help="The study; absent: the only one.")]
By = Annotated[str, typer.Option(help="The name of the person who decides.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the record.")]


@app.command()
def lift(  # noqa: PLR0913, PLR0917  # one parameter an option
    site: Annotated[str, typer.Argument(help="The hospital that is in quarantine.")],
    by: By,
    reason: Reason,
    home: Home = None,
    study: Study = "",
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Let a hospital take part again whose replies were bad; it is asked from the next round."""
    from aggregator import decisions

    decider = decisions.Decider(by=by, reason=reason)
    place = decisions.place_of(home if run is None else None, study, run)
    last = decisions.lift(place, site, decider, SystemClock())
    table = {"site": site, "asked_after": last, "by": by, "reason": reason}
    emit(as_json, table, f"{site} is asked again from the round after {last} on")


@app.command(name="set-aside")
def set_aside(  # noqa: PLR0913, PLR0917  # one parameter an option
    site: Annotated[str, typer.Argument(help="The hospital whose updates are left aside.")],
    by: By,
    reason: Reason,
    home: Home = None,
    study: Study = "",
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Ask a hospital no more, from the next round on, until a person lifts it."""
    from aggregator import decisions

    decider = decisions.Decider(by=by, reason=reason)
    place = decisions.place_of(home if run is None else None, study, run)
    last = decisions.set_aside(place, site, decider, SystemClock())
    table = {"site": site, "set_aside_after": last, "by": by, "reason": reason}
    emit(as_json, table, f"{site} is not asked after round {last}; lift lets it in again")


@app.command()
def rollback(  # noqa: PLR0913, PLR0917  # one parameter an option
    number: Annotated[int, typer.Argument(metavar="ROUND", help="The round to go back to.", min=0)],
    by: By,
    reason: Reason,
    home: Home = None,
    study: Study = "",
    run: Run = None,
    as_json: AsJson = False,
) -> None:
    """Set a run that stands still back to the model of a round; the next rounds go on from it."""
    from aggregator import decisions

    decider = decisions.Decider(by=by, reason=reason)
    place = decisions.place_of(home if run is None else None, study, run)
    digest = decisions.roll_back(place, number, decider, SystemClock())
    table = {"round": number, "model_digest": digest, "by": by, "reason": reason}
    emit(as_json, table, f"the run stands on the model of round {number} ({digest[:12]})")
