"""The coordinator's commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aggregator import (
    audit_commands,
    dashboard_commands,
    decision_commands,
    deployment_commands,
    enrolment_commands,
    model_commands,
    tracking_commands,
    watch_commands,
)
from fedrad.commands import AsJson, Program, emit, screen_columns, whole_numbers

app = Program(help="The coordinator's side of fedrad.")
app.add_typer(enrolment_commands.app)
app.add_typer(audit_commands.app, name="audit", no_args_is_help=True)
app.add_typer(deployment_commands.app)
app.add_typer(decision_commands.app)
app.add_typer(watch_commands.app)
app.add_typer(dashboard_commands.app)
app.add_typer(model_commands.app)
app.add_typer(tracking_commands.app)


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


@app.command()
def plan(  # noqa: PLR0913, PLR0917  # one parameter an option
    task: Annotated[Path, typer.Option(help="The study's task.toml.")],
    patients: Annotated[str, typer.Option(help="Training patients of each site: 120,300,80.")],
    audit: Annotated[
        str, typer.Option(help="Audit patients of each site; absent: 15 for every 70.")
    ] = "",
    noise: Annotated[
        float | None,
        typer.Option(help="A multiplier, greater than 0: what epsilon would it cost?"),
    ] = None,
    quality: Annotated[float, typer.Option(help="AUROC or Dice to plan intervals for.")] = 0.85,
    prevalence: Annotated[float, typer.Option(help="Share of positive patients.")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Say what a study would cost each site and reach: noise, intervals, time, traffic, verdict.

    Ends with 1 if the answer is no for every site: by the measured table, or because a site
    would refuse.
    """
    from dataclasses import asdict

    from aggregator import gate_plan
    from aggregator.plan import plan_study
    from fedrad.planning.forecast import Wishes, as_table
    from fedrad.planning.precision import Guess
    from fedrad.planning.wording import as_text
    from fedrad.task import read_task

    guess = Guess(quality=quality, prevalence=prevalence)
    wishes = Wishes(guess=guess, noise=noise)
    found = plan_study(task, whole_numbers(patients), audit=whole_numbers(audit), wishes=wishes)
    read = read_task(task)
    gate = gate_plan.chances(read, len(found.sites), prevalence=prevalence)
    table = as_table(found) | {"gate": [asdict(chance) for chance in gate]}
    said = [as_text(found, screen_columns()), *gate_plan.lines(gate, read)]
    emit(as_json, table, "\n".join(said))
    if found.hopeless:
        raise typer.Exit(1)


@app.command()
def feasibility(
    records: Annotated[list[Path], typer.Argument(metavar="RECORD", help="One file a site.")],
    task: Annotated[Path, typer.Option(help="The study's task.toml.")],
    quality: Annotated[float, typer.Option(help="AUROC or Dice to plan intervals for.")] = 0.85,
    as_json: AsJson = False,
) -> None:
    """Show what sites told of their patients before a contract, and the plan that follows.

    Ends with 1 if the answer is no for every site, at both ends of the intervals.
    """
    from aggregator.feasibility import read_feasibility
    from aggregator.feasibility_screen import as_table, as_text

    found = read_feasibility(records, task, quality=quality)
    emit(as_json, as_table(found), as_text(found, screen_columns()))
    if found.hopeless:
        raise typer.Exit(1)
