"""The coordinator's commands about a model in use: promote, monitor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aggregator.decision_commands import By, Home, Reason, Run, Study
from fedrad.clock import SystemClock
from fedrad.commands import AsJson, Quiet, emit, to_stderr

if TYPE_CHECKING:
    from aggregator.studies import Study as StudyRecord

app = typer.Typer(rich_markup_mode=None)


@app.command()
def promote(  # noqa: PLR0913, PLR0917  # one parameter an option
    number: Annotated[int, typer.Argument(metavar="ROUND", help="Its model.", min=1)],
    by: By,
    reason: Reason,
    home: Home = None,
    study: Study = "",
    run: Run = None,
    decide: Annotated[
        bool, typer.Option("--decide", help="Promote it although the gate cannot tell.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the release gate about a round's model: promote, harm shown, cannot tell.

    A model that is promoted is the one in use. Where the gate cannot tell, the person named
    decides (--decide), which is recorded. Ends with 1 if it was not promoted.
    """
    from aggregator import decisions, promotion

    decider = decisions.Decider(by=by, reason=reason)
    place = decisions.place_of(home if run is None else None, study, run)
    found = promotion.promote(place, number, decider, SystemClock(), insists=decide)
    used = "it is in use" if found.in_use else "it is not in use"
    said = found.said if found.said == promotion.IN_USE else f"{found.said}; {used}"
    lines = [f"round {number}: {said}", *(f"  {one}" for one in found.reasons)]
    if found.said == "cannot tell" and not found.in_use:
        lines.append("  a named person decides: --decide promotes it and records who did")
    emit(as_json, found.as_table(), "\n".join(lines))
    if not found.in_use:
        raise typer.Exit(1)


@app.command()
def compare(
    number: Annotated[int, typer.Argument(metavar="ROUND", help="The new model.", min=1)],
    home: Home = None,
    study: Study = "",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Ask every hospital to compare a round's model with the one in use, on the same patients.

    Each answers with noised counts of disagreement, charged like an evaluation; `promote` reads
    them. Asking again asks only who has not answered. Ends with 1 if nobody has.
    """
    from aggregator import decisions
    from aggregator.paired import answered

    place = decisions.place_of(home, study, None)
    if home is not None:
        _compare(home.absolute(), study, number, quiet=quiet)
    sites = answered(place.folder, number)
    text = f"round {number}: compared at {', '.join(sites) or 'no hospital'}"
    emit(as_json, {"round": number, "sites": list(sites)}, text)
    if not sites:
        raise typer.Exit(1)


@app.command()
def monitor(
    home: Home = None,
    study: Study = "",
    run: Run = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Collect the windows that are over for the model in use, and say what they show.

    No training runs. With --run of a simulation nothing is asked: what was collected is read
    again. Ends with 1 if an alarm stands.
    """
    from aggregator import decisions

    place = decisions.place_of(home if run is None else None, study, run)
    if run is None and home is not None:
        _collect(home.absolute(), study, quiet=quiet)
    table = _standing(place.folder)
    emit(as_json, table, _as_text(table))
    if table["alarms"]:
        raise typer.Exit(1)


def _collect(home: Path, study: str, *, quiet: bool) -> None:
    from aggregator.deployment import runs

    _follow(home, study, runs.begin_watch, quiet=quiet)


def _compare(home: Path, study: str, number: int, *, quiet: bool) -> None:
    from aggregator.deployment import runs

    begin = partial(runs.begin_compare, number=number)
    _follow(home, study, begin, quiet=quiet)


def _follow(
    home: Path, study: str, begin: Callable[[Path, StudyRecord], int], *, quiet: bool
) -> None:
    from aggregator.deployment import runs

    chosen = runs.study_for(home, study, None)
    with runs.server_up(home):
        number = begin(home, chosen)
        ended = runs.follow(home, number, to_stderr(quiet))
    if ended.outcome != "completed":
        typer.echo(f"it is {ended.outcome}: {ended.details}", err=True)
        raise typer.Exit(3)


def _standing(folder: Path) -> dict[str, Any]:
    from aggregator.run_folder import DATABASE
    from aggregator.store import Store

    with Store(folder / DATABASE) as store:
        windows = sorted({row["window"] for row in store.rows("shifts")})
        return {"windows": windows, "alarms": store.rows("alarms")}


def _as_text(table: dict[str, Any]) -> str:
    lines = [
        f"{alarm['site']}: {alarm['kind']} since the window of {alarm['since_window']} "
        f"(raised {alarm['window']}): {alarm['evidence']}"
        for alarm in table["alarms"]
    ]
    return "\n".join(lines or [f"no alarm in {len(table['windows'])} windows that were judged"])
