"""The hospital's commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedrad.commands import (
    AsJson,
    Program,
    Quiet,
    emit,
    screen_columns,
    to_stderr,
    whole_numbers,
)
from fedrad.logs import begin
from site_client import (
    audit_commands,
    dashboard_commands,
    enrolment_commands,
    node_commands,
    predict_commands,
)

app = Program(help="The hospital's side of fedrad.", begin=begin)
app.add_typer(enrolment_commands.app)
app.add_typer(audit_commands.app, name="audit", no_args_is_help=True)
app.add_typer(node_commands.app)
app.add_typer(predict_commands.app)
app.add_typer(dashboard_commands.app)

Home = Annotated[
    Path,
    typer.Option(envvar="FEDRAD_HOME", help="The site's folder.", exists=True, file_okay=False),
]


@app.command()
def init(  # noqa: PLR0913, PLR0917  # one parameter an option
    home: Annotated[
        Path, typer.Option(envvar="FEDRAD_HOME", help="The site's folder, new or empty.")
    ],
    name: Annotated[str, typer.Option(help="The site in contracts; else the folder's.")] = "",
    archive: Annotated[
        Path | None, typer.Option(help="A folder of DICOM files.", exists=True, file_okay=False)
    ] = None,
    dicomweb: Annotated[str, typer.Option(help="A PACS's DICOMweb address.")] = "",
    dimse: Annotated[str, typer.Option(help="A PACS that speaks DIMSE: TITLE@HOST:PORT.")] = "",
    labels: Annotated[
        Path | None, typer.Option(help="A CSV of labels.", exists=True, dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a commented site.toml, and the folders and the secret that a site needs."""
    from site_client.opening import Wishes, as_table, as_text, open_home

    wishes = Wishes(name=name, archive=archive, dicomweb=dicomweb, dimse=dimse, labels=labels)
    opened = open_home(home, wishes)
    emit(as_json, as_table(opened), as_text(opened))


@app.command()
def catalogue(
    home: Annotated[
        Path | None,
        typer.Option(envvar="FEDRAD_HOME", help="The site's folder.", exists=True, file_okay=False),
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="Look at this folder; needs no settings, writes nothing.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List the archive's images, one row each, without reading pixels."""
    from site_client.catalogue import look_at, update_catalogue
    from site_client.holdings import as_table, as_text

    if archive is not None:
        counts = as_table(look_at(archive.absolute(), say=to_stderr(quiet)))
    elif home is not None:
        counts = as_table(update_catalogue(home, say=to_stderr(quiet)))
    else:
        raise typer.BadParameter("name the site's folder, --home, or any folder, --archive")
    emit(as_json, counts, as_text(counts))


@app.command()
def quarantine(
    home: Home,
    reason: Annotated[str, typer.Argument(help="Name the files with this reason.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say what was set aside, why, and what a person can do; with a reason, name its files."""
    from site_client import holdings
    from site_client import quarantine as summary

    if reason:
        table = holdings.quarantine_table(holdings.read_quarantine(home, reason), reason)
        emit(as_json, table, holdings.quarantine_text(table))
    else:
        found = summary.read_quarantine(home)
        emit(as_json, summary.as_table(found), summary.as_text(found))


@app.command()
def task(
    path: Annotated[Path, typer.Argument(help="A study's task.toml.", metavar="TASK")],
    as_json: AsJson = False,
) -> None:
    """Show the hash that approves a task in site.toml, and what its model starts from."""
    from fedrad.task import read_task, task_hash

    found = read_task(path)
    name, start = found.task.name, found.model.start()
    emit(
        as_json,
        {"task": name, "hash": task_hash(found), "start": start},
        f"task {name}: {start}\nto accept it, put this into [approval] studies: {task_hash(found)}",
    )


@app.command()
def budget(home: Home, as_json: AsJson = False) -> None:
    """Verify the ledger and say what is spent, reserved and left, and what it means."""
    from site_client.budget import as_table, read_budget
    from site_client.budget_screen import as_text
    from site_client.settings import read_site

    found = read_budget(home, read_site(home))
    emit(as_json, as_table(found), as_text(found))


@app.command()
def plan(  # noqa: PLR0913, PLR0917  # one parameter an option
    home: Home,
    task_path: Annotated[Path, typer.Option("--task", help="A study's task.toml.")],
    others: Annotated[str, typer.Option(help="Agreed patients of the other sites: 300,80.")] = "",
    noise: Annotated[
        float | None,
        typer.Option(help="A multiplier, greater than 0: what epsilon would it cost?"),
    ] = None,
    quality: Annotated[float, typer.Option(help="AUROC or Dice to plan intervals for.")] = 0.85,
    prevalence: Annotated[float, typer.Option(help="Share of positive patients.")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Say what a study would cost and reach here, and what site.toml would allow of it.

    Ends with 1 if the measured table says no, or this site's limits do.
    """
    from fedrad.planning.forecast import Wishes
    from fedrad.planning.precision import Guess
    from site_client.plan import as_table, as_text, plan_site

    wishes = Wishes(guess=Guess(quality=quality, prevalence=prevalence), noise=noise)
    found = plan_site(home, task_path, others=whole_numbers(others), wishes=wishes)
    emit(as_json, as_table(found), as_text(found, screen_columns()))
    if found.refused:
        raise typer.Exit(1)


@app.command()
def check(  # noqa: PLR0913, PLR0917  # one parameter an option
    home: Home,
    task_path: Annotated[Path, typer.Option("--task", help="A study's task.toml.")],
    share: Annotated[
        Path | None,
        typer.Option(help="Instead: one noised record for the coordinator, into this file."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Of --share: another record, another charge.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Of --share: do not ask.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say whether this site can join a study, and what to mend; writes check.html.

    Ends with 1 if the answer is no, with 4 if only this site's own limits say so. With --share
    it says what would leave, what it costs and what is left, and asks before it charges.
    """
    from fedrad.clock import SystemClock

    if share is not None:
        _share(home, task_path, share, again=again, yes=yes, as_json=as_json)
        return
    if again or yes:
        raise typer.BadParameter("--again and --yes say how to --share; name its file")
    from site_client.preflight.check import check_site
    from site_client.preflight.page import write_check
    from site_client.preflight.screen import as_table, as_text

    clock = SystemClock()
    looked = check_site(home, task_path, clock, say=to_stderr(quiet))
    found, page = looked.check, write_check(home, looked, clock.now())
    emit(as_json, as_table(found, page), as_text(found, page, screen_columns()))
    if found.exit_code:
        raise typer.Exit(found.exit_code)


@app.command()
def freeze(
    home: Home,
    task_path: Annotated[Path, typer.Option("--task", help="A study's task.toml.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Seal a study's cohort: what comes later enters monitoring windows only."""
    from fedrad.clock import SystemClock
    from site_client.freeze import as_table, as_text
    from site_client.freeze import freeze as seal_cohort

    seal, before = seal_cohort(home, task_path, SystemClock(), say=to_stderr(quiet))
    emit(as_json, as_table(seal, before=before), as_text(seal, before=before))


@app.command()
def touched(
    home: Home,
    patient: Annotated[
        str, typer.Argument(help="A PatientID, or a name of the mapping file; - reads one line.")
    ],
    as_json: AsJson = False,
) -> None:
    """List the models that were released while a patient was in, from this site's records.

    Ends with 1 if there is none.
    """
    from site_client.touched import as_table, as_text, find_touched

    found = find_touched(home, input() if patient == "-" else patient)
    emit(as_json, as_table(found), as_text(found))
    if not found.releases:
        raise typer.Exit(1)


@app.command()
def fetch(home: Home, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Bring what site.toml asks of the PACS into the store; again brings only the rest.

    Ends with 1 if something that was listed did not come, with 3 if the PACS cannot be reached.
    """
    from fedrad.clock import SystemClock
    from site_client.retrieval.fetch import fetch as bring
    from site_client.retrieval.report import as_table, as_text
    from site_client.settings import read_site

    settings = read_site(home)
    say = to_stderr(quiet)
    report = bring(home, settings.archive, SystemClock(), reading=settings.reading, say=say)
    emit(as_json, as_table(report), as_text(report))
    if report.error is not None:
        raise report.error
    if not report.complete:
        raise typer.Exit(1)


@app.command()
def deidentify(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder of DICOM files.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Where the copies go.")],
    home: Home,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write de-identified copies of DICOM files for people, and say what was refused.

    A file that cannot be used stops nothing; called again, it goes on where it stopped.
    """
    from site_client.export import as_table, as_text, export

    found = export(source, target, home, say=to_stderr(quiet))
    emit(as_json, as_table(found), as_text(found))


@app.command(name="pacs-request")
def pacs_request(home: Home, as_json: AsJson = False) -> None:
    """Print the form that a PACS's administrator needs to let this site in."""
    from site_client.retrieval.request_form import as_text, request_form
    from site_client.settings import read_site

    form = request_form(read_site(home))
    emit(as_json, form, as_text(form))


ledger = typer.Typer(help="Mend a ledger that lost lines.", rich_markup_mode=None)
app.add_typer(ledger, name="ledger", no_args_is_help=True)


@ledger.command()
def adopt(
    home: Home,
    lists: Annotated[list[Path], typer.Argument(help="One list for each study of this site.")],
    as_json: AsJson = False,
) -> None:
    """Charge again what coordinators saw and this ledger lost; each list is a coordinator's."""
    from fedrad.clock import SystemClock
    from site_client.recovery import adopt as take_in
    from site_client.settings import read_site

    found = take_in(home, read_site(home), SystemClock(), lists=lists)
    table = {"lines": found.lines, "charged": found.charged, "replies": found.replies}
    said = f"{found.lines} lost lines of {found.replies} rounds and releases are charged again"
    emit(as_json, table, said if found.lines else "nothing was lost that these lists have")


def _share(  # noqa: PLR0913  # what check was given
    home: Path, task_path: Path, file: Path, *, again: bool, yes: bool, as_json: bool
) -> None:
    from fedrad.clock import SystemClock
    from site_client import sharing, sharing_screen

    before, clock = sharing.kept_record(home, task_path), SystemClock()
    made = again or before is None
    if made:
        sharing.refuse_taken(file)
        propose = sharing.offer_again if again else sharing.offer
        found = propose(home, task_path, clock)
        _to_stderr(sharing_screen.as_text(found, screen_columns()))
        if not yes and not (sys.stdin.isatty() and typer.confirm("Charge and make it?", err=True)):
            said = "nothing was charged; with --yes it is made without asking"
            emit(as_json, sharing_screen.as_table(found), said)
            raise typer.Exit(1)
    record = (sharing.share_again if again else sharing.share)(home, task_path, clock)
    sharing.hand_out(record, file)
    table = sharing_screen.shared_table(record, str(file), made=made)
    emit(as_json, table, sharing_screen.shared_text(record, str(file), made=made))


def _to_stderr(line: str) -> None:
    typer.echo(line, err=True)
