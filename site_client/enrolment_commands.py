"""The hospital's commands about its coordinator: join, accept, approve, audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fedrad.commands import AsJson, emit

if TYPE_CHECKING:
    from site_client.acceptance import Offer

app = typer.Typer(rich_markup_mode=None)

Home = Annotated[
    Path,
    typer.Option(envvar="FEDRAD_HOME", help="The site's folder.", exists=True, file_okay=False),
]


@app.command()
def join(  # noqa: PLR0913, PLR0917  # one parameter an option
    home: Home,
    patients: Annotated[
        int | None, typer.Option(help="Training patients to offer; rounded down.", min=1)
    ] = None,
    task: Annotated[
        Path | None, typer.Option(help="Count them for this task.toml.", exists=True)
    ] = None,
    kind: Annotated[
        Literal["train", "evaluate"], typer.Option(help="evaluate: score models, train none.")
    ] = "train",
    hours: Annotated[
        str, typer.Option(help="Promise to work then, in UTC: 'mon-fri 19:00-05:00'.")
    ] = "",
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Ask for a new certificate, with a new key.")
    ] = False,
    node_key: Annotated[
        bool, typer.Option("--node-key", help="With --rotate: a new node key as well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make this site's keys and request.json; its fingerprint is read to the coordinator."""
    from fedrad.clock import SystemClock
    from site_client import joining

    if rotate:
        ask = joining.rotate_keys if node_key else joining.rotate_connection
        asked = ask(home, SystemClock())
    else:
        count = _count(home, task) if task is not None else patients
        if count is None:
            raise typer.BadParameter(
                "say --patients (with --kind evaluate: those to score on), or --task to count them"
            )
        clock = SystemClock()
        asked = joining.join(home, kind=kind, patients=count, clock=clock, hours=hours)
    request = asked.request
    table = {
        "request": str(asked.path),
        "site": request.site,
        "kind": request.kind,
        "patients_agreed": request.patients_agreed,
        "hours": request.hours,
        "fingerprint": asked.fingerprint,
    }
    emit(
        as_json,
        table,
        f"send the coordinator {asked.path}\n{request.site} offers {request.patients_agreed} "
        f"patients, to {request.kind}\nfingerprint, by telephone: {asked.fingerprint}",
    )


@app.command()
def accept(
    home: Home,
    invitation: Annotated[
        Path, typer.Argument(help="What the coordinator sent.", exists=True, dir_okay=False)
    ],
    fingerprint: Annotated[
        str, typer.Option(help="What the coordinator reads out; else you are asked.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check an invitation or a renewal, show it, and take it in; nothing is approved yet."""
    from fedrad.clock import SystemClock
    from site_client.acceptance import read_offer, refuse_stranger, take_in

    clock = SystemClock()
    offer = read_offer(home, invitation, clock)
    typer.echo("\n".join([_shown(offer), *_over_limit(home, offer)]), err=True)
    heard = fingerprint
    if not (heard or offer.known):
        heard = typer.prompt("type the fingerprint that the coordinator reads out", err=True)
    refuse_stranger(offer, heard)
    take_in(home, offer, clock)
    study = getattr(offer.answer, "study", "")
    following = f"next: fedrad-site approve {study} --name ... --role ..." if study else "renewed"
    emit(
        as_json,
        {"study": study, "coordinator": offer.fingerprint, "address": offer.answer.link.address},
        f"{invitation} was taken in\n{following}",
    )


@app.command()
def approve(  # noqa: PLR0913, PLR0917  # one parameter an option
    home: Home,
    study: Annotated[str, typer.Argument(help="The study, as accepted.")] = "",
    software: Annotated[
        bool, typer.Option("--software", help="Approve the installed software instead (IT).")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Only show what differs from what was approved last.")
    ] = False,
    name: Annotated[str, typer.Option(help="Who approves.")] = "",
    role: Annotated[str, typer.Option(help="In which role.")] = "",
    digest: Annotated[
        str, typer.Option(help="The study's digest as this person read it; refuse another.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Approve a study, or with --software the installed code; or show what changed.

    With --diff it ends with 1 if something changed.
    """
    from fedrad.clock import SystemClock
    from site_client import approvals

    if bool(study) is software:
        raise typer.BadParameter("name a study, or --software")
    if diff:
        changes = (
            approvals.software_changes(home) if software else approvals.study_changes(home, study)
        )
        shown = {"changes": [[c.key, c.before, c.after] for c in changes]}
        emit(as_json, shown, approvals.changes_text(changes))
        raise typer.Exit(1 if changes else 0)
    person = approvals.Person(name=name, role=role)
    if software:
        done = approvals.approve_software(home, person, SystemClock())
    else:
        done = approvals.approve_study(home, study, person, SystemClock(), seen=digest)
    table = {"kind": done.kind, "study": done.study, "digest": done.digest, "time": done.time}
    what = f"{done.kind} {done.study} {done.digest}".replace("  ", " ")
    emit(as_json, table, f"{what} approved by {name}, {role}")


def _count(home: Path, task_path: Path) -> int:
    from fedrad.task import read_task
    from site_client.plan import count_patients
    from site_client.settings import read_site

    return count_patients(home, read_site(home), read_task(task_path)).agreed


def _over_limit(home: Path, offer: Offer) -> list[str]:
    """Return a line if the study asks for more epsilon than this site allows at all."""
    from site_client.settings import read_site

    limit = read_site(home).privacy.epsilon_limit
    if offer.task is None or not offer.task.privacy.enabled or offer.task.privacy.epsilon <= limit:
        return []
    line = (
        f"  MORE THAN THIS SITE ALLOWS: [privacy] epsilon_limit is {limit:g}; rounds beyond it are "
        "declined: decide on it before the first round (fedrad-site check)"
    )
    return [line]


def _shown(offer: Offer) -> str:
    """Return what a person reads before saying yes."""
    from fedrad.documents import printable
    from fedrad.enrolment import study_digest
    from fedrad.task import task_hash

    link = offer.answer.link
    # the fingerprint of an unknown key is not shown: it would be typed from here, not from the ear
    key = (
        f"signed by {offer.fingerprint} (known)" if offer.known else "signed by a key not known yet"
    )
    lines = [f"from {printable(link.coordinator)} at {link.address}, {key}"]
    if offer.task is None or offer.contract is None or offer.contract.conditions is None:
        return "\n".join([*lines, "new certificates, no study"])
    task, conditions = offer.task, offer.contract.conditions
    own = offer.contract.sites[offer.answer.site]
    others = [name for name in offer.contract.sites if name != offer.answer.site]
    training, privacy = task.training, task.privacy
    lines += [
        (
            f"study {offer.contract.study}: {task.task.kind} {task.task.name}, model "
            f"{task.model.name}, task {task_hash(task)}"
        ),
        (
            f"  asks this site to {own.kind} as hospital {own.label}, with {own.patients_agreed} "
            f"patients; others: {', '.join(others)}"
        ),
        f"  promised hours, UTC: {own.hours or task.federation.hours or 'always'}",
        (
            f"  {task.federation.rounds} rounds (and {task.federation.spare_rounds} spare) of "
            f"{training.steps} steps; metrics every {task.evaluation.every_rounds} rounds"
        ),
        (
            f"  privacy: epsilon {privacy.epsilon:g}, delta {privacy.delta:g} for each patient; "
            f"noise {own.train_sigma:g} a step, {own.audit_sigma:g} a release"
        ),
        f"  ethics: {conditions.ethics or 'none stated'}; until {conditions.expires}",
        f"  the model goes to: {'; '.join(conditions.recipients)}",
        f"  hospitals see each other as {conditions.figures}",
        f"  digest to approve: {study_digest(task, offer.contract)}",
    ]
    return "\n".join(printable(line, 2000) for line in lines)
