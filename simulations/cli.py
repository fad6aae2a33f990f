"""``fedrad-sim``: several hospitals on one machine.

Commands parse, call one function and print. Heavy imports wait until a command runs, so
that ``--help`` answers at once.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fedrad.commands import Program, emit

app = Program(help="Simulate a federation: several hospitals on one machine.")


class Engine(StrEnum):
    """Where the sites' apps run."""

    local = "local"
    ray = "ray"


@app.command("list")
def list_scenarios(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the scenarios, one line each."""
    from simulations.scenario import names, title

    found = {name: title(name) for name in names()}
    emit(as_json, found, "\n".join(f"{name:16} {text}" for name, text in found.items()))


@app.command()
def run(  # noqa: PLR0913, PLR0917  # one parameter an option
    scenario: Annotated[str, typer.Argument(help="A name from `fedrad-sim list`.")],
    data: Annotated[Path | None, typer.Option(help="Folder with manifest.csv.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/SCENARIO.")] = None,
    engine: Annotated[Engine, typer.Option(help="Where the apps run.")] = Engine.local,
    rounds: Annotated[int | None, typer.Option(help="Rounds instead of the task's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the scenario's.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repeat with this many seeds.")] = 1,
    epsilon: Annotated[float | None, typer.Option(help="Budget; 0: without privacy.")] = None,
    baselines: Annotated[bool, typer.Option(help="Train the other arms too.")] = True,
    fresh: Annotated[bool, typer.Option(help="Replace a run that is already in --out.")] = False,
    kill_in_round: Annotated[
        int | None, typer.Option(min=1, help="Kill it once in this round; it goes on.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as training.steps=2.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress on stderr.")] = False,
) -> None:
    """Run a scenario: write the archives, train the federation, compare, report."""
    from simulations.plan import Wishes, make_plan

    wishes = Wishes(
        rounds=rounds, seed=seed, epsilon=epsilon, settings=tuple(settings or ()), data=data
    )
    folder = out or Path("runs") / scenario
    plan = make_plan(scenario, folder, wishes, engine=engine.value, baselines=baselines)
    if kill_in_round is not None:
        raise typer.Exit(_killed(folder, kill_in_round))

    from simulations.runner import run_plan  # slow; a wrong option is told before
    from simulations.screen import Screen
    from simulations.summary import summary

    report = run_plan(plan, Screen(quiet=quiet), seeds=seeds, fresh=fresh)
    table, text = summary(report)
    emit(as_json, table, text)


@app.command()
def pretrain(  # noqa: PLR0913, PLR0917  # one parameter an option
    task: Annotated[Path, typer.Option(help="The task.toml whose network is trained.")],
    out: Annotated[Path, typer.Option(help="File to write, NAME.safetensors.")],
    phantoms: Annotated[int | None, typer.Option(help="Train on this many phantoms.")] = None,
    public: Annotated[Path | None, typer.Option(help="Or on a folder with manifest.csv.")] = None,
    about: Annotated[str, typer.Option(help="What the public images are, and from where.")] = "",
    licence: Annotated[str, typer.Option(help="The licence of the public images.")] = "",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as epochs=20.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress on stderr.")] = False,
) -> None:
    """Make starting weights with provenance from public images, without privacy."""
    from simulations.pretraining_data import make_pretraining

    given = {"phantoms": phantoms, "folder": public, "about": about, "licence": licence}
    asked, wishes = make_pretraining(task, given | {"seed": seed}, tuple(settings or ()))

    from simulations.pretrain import pretrain as make  # slow; a wrong option is told before
    from simulations.screen import Screen

    made = make(asked, wishes, out, Screen(quiet=quiet).say)
    emit(as_json, made.table(), made.line())


@app.command()
def leaks(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A simulated run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count planted identifiers in the bytes that left each hospital, again from the bytes."""
    from simulations.wire import recount

    counts = recount(run_folder)
    lines = [
        f"{c.site}: {c.found} of {c.planted} planted identifiers in {c.bytes} bytes "
        f"({c.messages} messages)"
        for c in counts
    ]
    table = {c.site: {"planted": c.planted, "found": c.found, "bytes": c.bytes} for c in counts}
    emit(as_json, table, "\n".join(lines))
    if any(count.found for count in counts):
        raise typer.Exit(1)


def _killed(folder: Path, number: int) -> int:
    """Run this very command in a process of its own that is killed once."""
    import sys

    from simulations.killed import run_and_kill

    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word == "--kill-in-round":
            next(words)
        elif not word.startswith("--kill-in-round="):
            kept.append(word)
    return run_and_kill(kept, folder, number, say=lambda text: typer.echo(text, err=True))
