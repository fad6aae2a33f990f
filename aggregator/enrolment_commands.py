"""The coordinator's commands about hospitals: init, enrol, revoke, rotate."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fedrad.commands import AsJson, emit

if TYPE_CHECKING:
    from fedrad.enrolment import JoinRequest

app = typer.Typer(rich_markup_mode=None)

Home = Annotated[
    Path,
    typer.Option(
        envvar="FEDRAD_HOME", help="The coordinator's folder.", exists=True, file_okay=False
    ),
]
_FILE = {"exists": True, "dir_okay": False}
_STUDY_DAYS = 365


@app.command()
def init(  # noqa: PLR0913, PLR0917  # one parameter an option
    home: Annotated[
        Path, typer.Option(envvar="FEDRAD_HOME", help="The coordinator's folder, new or empty.")
    ],
    address: Annotated[
        str, typer.Option(help="What hospitals reach, HOST:PORT; one port, 443 if you can.")
    ],
    name: Annotated[str, typer.Option(help="Who this is; else the host.")] = "",
    listen: Annotated[str, typer.Option(help="Where the gateway answers here.")] = "0.0.0.0:443",
    server_certificate: Annotated[
        Path | None, typer.Option(help="The institution's, PEM, with its chain.", **_FILE)
    ] = None,
    server_key: Annotated[Path | None, typer.Option(help="Its key, PEM.", **_FILE)] = None,
    server_ca: Annotated[
        Path | None, typer.Option(help="The root that hospitals are to trust, PEM.", **_FILE)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the coordinator's home: keys, certificates and aggregator.toml."""
    from aggregator.authority import Given
    from aggregator.home import Coordinator
    from aggregator.opening import open_home
    from fedrad.clock import SystemClock

    files = (server_certificate, server_key, server_ca)
    if any(files) and not all(files):
        raise typer.BadParameter("--server-certificate, --server-key and --server-ca go together")
    given = None
    if server_certificate and server_key and server_ca:
        given = Given(certificate=server_certificate, key=server_key, ca=server_ca)
    who = Coordinator(name=name or address.rpartition(":")[0], address=address)
    made = open_home(home, who, SystemClock(), listen=listen, given=given)
    table = {"home": str(home), "address": address, "fingerprint": made.fingerprint}
    emit(
        as_json,
        table | {"listen": listen},
        f"{home}: hospitals reach {address}; the gateway listens on {listen} here\n"
        f"fingerprint: {made.fingerprint}",
    )


@app.command()
def enrol(  # noqa: PLR0913, PLR0917  # one parameter an option
    home: Home,
    requests: Annotated[
        list[Path], typer.Argument(help="request.json of every hospital.", metavar="REQUEST...")
    ],
    study: Annotated[str, typer.Option(help="The study's name.")],
    task: Annotated[Path, typer.Option(help="The study's task.toml.", **_FILE)],
    ethics: Annotated[str, typer.Option(help="The approval's reference.")] = "",
    expires: Annotated[str, typer.Option(help="Last day, YYYY-MM-DD; else in a year.")] = "",
    recipient: Annotated[
        list[str] | None, typer.Option(help="Who gets the model; may be repeated.")
    ] = None,
    figures: Annotated[
        Literal["letters", "names"], typer.Option(help="How a hospital sees the others.")
    ] = "letters",
    fingerprint: Annotated[
        list[str] | None,
        typer.Option(help="What each hospital read out; else you are asked. May be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register hospitals, make the study's contract and write an invitation for each."""
    from aggregator.enrol import Wishes
    from aggregator.enrol import enrol as invite
    from aggregator.opening import fingerprint as own
    from fedrad.clock import SystemClock
    from fedrad.contract import Conditions
    from fedrad.enrolment import read_request

    clock = SystemClock()
    conditions = Conditions(
        expires=expires or (clock.now() + timedelta(days=_STUDY_DAYS)).date().isoformat(),
        recipients=tuple(recipient or ["the sites of this study"]),
        ethics=ethics,
        figures=figures,
    )
    asked = [read_request(path) for path in requests]
    _compare(asked, fingerprint or [])
    done = invite(home, asked, Wishes(study=study, task=task, conditions=conditions), clock)
    terms = done.study.contract.sites
    table = {
        "study": study,
        "expires": conditions.expires,
        "coordinator": own(home),
        "invitations": {name: str(path) for name, path in done.invitations.items()},
        "labels": {name: terms[name].label for name in terms},
        "certificate_ends_early": done.short,
    }
    lines = [
        f"{name} (hospital {terms[name].label}, {terms[name].kind}): {path}"
        for name, path in done.invitations.items()
    ]
    lines += [
        f"note: {name}'s certificate ends on {day}, before the study; rotate it in time"
        for name, day in done.short.items()
    ]
    lines.append(f"send each its own; tell by telephone: {own(home)}")
    emit(as_json, table, "\n".join(lines))


@app.command()
def revoke(
    home: Home,
    site: Annotated[str, typer.Argument(help="The hospital's name.")],
    as_json: AsJson = False,
) -> None:
    """Shut a hospital out at once: its key and its certificates are no longer good."""
    from aggregator.membership import revoke as shut_out
    from fedrad.clock import SystemClock

    gone = shut_out(home, site, SystemClock())
    table = {"site": site, "status": gone.status, "revoked": list(gone.revoked_serials)}
    emit(as_json, table, f"{site} is revoked; {len(gone.revoked_serials)} certificates with it")


@app.command()
def rotate(
    home: Home,
    request: Annotated[
        Path | None, typer.Argument(help="A request made with fedrad-site join --rotate.", **_FILE)
    ] = None,
    revoke_old: Annotated[
        bool, typer.Option("--revoke-old", help="Its older certificates are lost: revoke them.")
    ] = False,
    servers: Annotated[
        bool, typer.Option("--servers", help="New certificates for this home's own servers.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take a hospital's new keys and write its renewal; or renew this home's servers."""
    from aggregator import membership
    from fedrad.clock import SystemClock
    from fedrad.enrolment import read_request

    if (request is None) is not servers:
        raise typer.BadParameter("name a hospital's request, or --servers")
    if request is None:
        membership.renew_servers(home, SystemClock())
        emit(as_json, {"servers": "renewed"}, "renewed; restart with fedrad-aggregator start")
        return
    asked = read_request(request)
    path = membership.rotate(home, asked, SystemClock())
    if revoke_old:
        membership.revoke_older(home, asked.site, SystemClock())
    emit(as_json, {"site": asked.site, "renewal": str(path)}, f"for {asked.site}: {path}")


def _compare(requests: list[JoinRequest], heard: list[str]) -> None:
    """Make sure that a person compared every fingerprint, or end."""
    from fedrad import signatures
    from fedrad.errors import EnrolmentError

    for request in requests:
        said = signatures.spoken(request.digest)
        if heard:
            if not any(signatures.same_spoken(text, request.digest) for text in heard):
                raise EnrolmentError(
                    f"the request of {request.site!r} has the fingerprint {said}, which is none of "
                    "those given; ask the hospital to read its own out"
                )
            continue
        typer.echo(f"{request.site} ({request.kind}), fingerprint {said}", err=True)
        if not typer.confirm("does the hospital read out the same?", err=True):
            raise EnrolmentError(f"{request.site!r} reads out another fingerprint: not enrolled")
