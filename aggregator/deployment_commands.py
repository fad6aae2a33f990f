"""The coordinator's commands about its server: start, run, status, stop, sites, logs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fedrad.commands import AsJson, Quiet, emit, to_stderr

app = typer.Typer(rich_markup_mode=None)

Home = Annotated[
    Path,
    typer.Option(
        envvar="FEDRAD_HOME", help="The coordinator's folder.", exists=True, file_okay=False
    ),
]
_LOGS = {"run": "superlink/run.log", "server": "superlink/superlink.log"}
_LOGS |= {"gateway": "gateway/nginx.log", "tracker": "superlink/tracker.log"}


@app.command()
def start(home: Home, as_json: AsJson = False) -> None:
    """Open the coordinator to its hospitals until Ctrl-C or stop; what dies is started again.

    With --json one object is printed once hospitals can come.
    """
    import logging
    import os

    from aggregator.deployment.server import serve
    from fedrad.processes import Stop

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    home = home.absolute()
    table = {"state": "open", "home": str(home), "pid": os.getpid()}
    said = "open; Ctrl-C or fedrad-aggregator stop"
    serve(home, Stop(), ready=lambda: emit(as_json, table, said))


@app.command()
def run(  # noqa: PLR0913, PLR0917  # one parameter an option
    home: Home,
    study: Annotated[str, typer.Option(help="The study; absent: the only one.")] = "",
    task: Annotated[
        Path | None, typer.Option(help="Or its task.toml.", exists=True, dir_okay=False)
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not wait for the end; needs a started server.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run a study's rounds and wait for the end; starts the server if none runs.

    Ends with 1 if the run did not complete.
    """
    from aggregator.deployment import runs
    from aggregator.studies import run_folder

    home = home.absolute()
    chosen = runs.study_for(home, study, task)
    for line in runs.warnings(home, chosen):
        typer.echo(f"warning: {line}", err=True)
    if detach:
        number = runs.begin(home, chosen)
        emit(as_json, {"study": chosen.name, "run": number}, f"run {number} of {chosen.name}")
        return
    with runs.server_up(home):
        number = runs.begin(home, chosen)
        ended = runs.follow(home, number, to_stderr(quiet))
    folder = run_folder(home, chosen.name)
    table = {
        "study": chosen.name,
        "run": number,
        "outcome": ended.outcome,
        "details": ended.details,
        "folder": str(folder),
        "report": str(folder / "report.html"),
    }
    why = f": {ended.details}" if ended.details else ""
    emit(as_json, table, f"{chosen.name} is {ended.outcome}{why}; {folder / 'report.html'}")
    if ended.outcome != "completed":
        raise typer.Exit(1)


@app.command()
def status(home: Home, as_json: AsJson = False) -> None:
    """Say whether the server runs, which hospitals are there and how far studies are.

    Ends with 1 if no server runs.
    """
    from aggregator.deployment.runs import status_table

    table = status_table(home.absolute())
    until = table["certificates_until"]
    lines = [f"server: {table['state']}; its certificates end on {until} (rotate --servers)"]
    lines += [_site_line(site) for site in table["sites"]]
    lines += [_study_line(one) for one in table["studies"]]
    lines += [f"run {one['run']}: {one['outcome'] or one['status']}" for one in table["runs"]]
    emit(as_json, table, "\n".join(lines))
    if not table["running"]:
        raise typer.Exit(1)


@app.command()
def stop(
    home: Home,
    run: Annotated[int | None, typer.Option(help="Stop this run only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Stop the server, or one run; what was finished stays, and the study can go on later."""
    from aggregator.deployment import runs

    home = home.absolute()
    if run is not None:
        runs.stop_run(home, run)
        emit(as_json, {"stopped": run}, f"run {run} is stopped")
        return
    was = runs.stop_server(home)
    emit(as_json, {"stopped": was}, "the server is stopped" if was else "no server runs")


@app.command()
def sites(home: Home, as_json: AsJson = False) -> None:
    """List the hospitals: enrolled or revoked, online or not, certificates."""
    from aggregator.deployment.runs import sites_table

    table = sites_table(home.absolute())
    text = "\n".join(map(_site_line, table)) or "no hospital is enrolled"
    emit(as_json, {"sites": table}, text)


@app.command()
def logs(
    home: Home,
    of: Annotated[
        Literal["run", "server", "gateway", "tracker"], typer.Option(help="Whose.")
    ] = "run",
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option(help="So many lines.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the last lines of a log; with --json one object, without --follow."""
    from aggregator.deployment.runs import tail

    if as_json and follow:
        raise typer.BadParameter("--json prints one object; it does not go with --follow")
    lines: list[str] = []
    say = lines.append if as_json else typer.echo
    tail(home / _LOGS[of], say, last=last, until=lambda: not follow)
    if as_json:
        emit(as_json, {"of": of, "lines": lines}, "")


@app.command()
def health(home: Home, as_json: AsJson = False) -> None:
    """Say whether the server and the gateway answer; what a container's check calls.

    Ends with 1 if they do not.
    """
    from aggregator.deployment.health import sick

    trouble = sick(home.absolute())
    emit(as_json, {"healthy": not trouble, "trouble": trouble}, trouble or "all is well")
    if trouble:
        raise typer.Exit(1)


def _study_line(study: dict[str, Any]) -> str:
    line = f"study {study['study']}: round {study['round']} of {study['rounds']}"
    if study["stands_on"] < study["round"]:
        line += f"\n  -> it stands on the model of round {study['stands_on']}; the report says why"
    shut = ", ".join(study["quarantined"])
    return f"{line}\n  -> in quarantine: {shut} (fedrad-aggregator lift)" if shut else line


def _site_line(site: dict[str, str]) -> str:
    where = f"{site['status']}, node {site['node']}"
    until, told = site["certificate_until"], f"fedrad {site['fedrad']}"
    line = f"{site['site']} ({site['kind']}): {where}, certificate to {until}, {told}"
    return f"{line}\n  -> {site['trouble']}" if site["trouble"] else line
