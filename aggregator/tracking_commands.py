"""The coordinator's command for a tracker that people already have: track."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aggregator.decision_commands import Home, Run, Study
from fedrad.clock import SystemClock
from fedrad.commands import AsJson, Quiet, emit, to_stderr

app = typer.Typer(rich_markup_mode=None)


@app.command()
def track(  # noqa: PLR0913, PLR0917  # one parameter an option
    home: Home = None,
    study: Study = "",
    run: Run = None,
    to: Annotated[
        str, typer.Option(help="MLflow's tracking URI; absent: [trackers] mlflow of the home.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Send a run's released numbers to MLflow (extra mlflow); hospitals are letters, always.

    What is there already is not sent again. Rounds know nothing of it. Ends with 3 if the
    tracker does not answer.
    """
    from aggregator import decisions
    from aggregator.run_folder import read_run
    from aggregator.tracking.mlflow_sink import MlflowSink
    from aggregator.tracking.told import told

    place = decisions.place_of(home if run is None else None, study, run)
    sink = MlflowSink(_address(to, home if run is None else None))
    if follow:
        _follow(place.folder, sink, quiet=quiet)
        return
    said = told(read_run(place.folder))
    count = sink.send(said)
    table = {"study": said.study, "run": said.run, "to": sink.shown, "new": count}
    line = f"{count} new of {len(said.points)} points of {said.study} are at {sink.shown}"
    emit(as_json, table | {"points": len(said.points)}, line)


def _follow(folder: Path, sink: object, *, quiet: bool) -> None:
    from typing import cast

    from aggregator.tracking.follow import Sink, follow
    from fedrad.processes import Stop

    follow(
        lambda: {folder.name: folder}, cast("Sink", sink),
        say=to_stderr(quiet), stop=Stop(), clock=SystemClock(),
    )  # fmt: skip


def _address(to: str, home: Path | None) -> str:
    from aggregator.home import read_coordinator
    from fedrad.errors import SettingsError

    found = to or (read_coordinator(home).trackers.mlflow if home is not None else "")
    if not found:
        line = "name MLflow's tracking URI, or [trackers] mlflow in aggregator.toml"
        raise SettingsError("--to", (line,))
    return found
