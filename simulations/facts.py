"""The facts of a simulated run's first screen, each measured in this run.

Identifiers planted and found, broken files by reason, the hospital whose own limit made it
refuse: read from the wire records, the quarantines and the sites' own audit logs. Nothing
is written here that was not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aggregator.facts import Fact, write_facts
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from fedrad.contract import Contract
from fedrad.task import read_task
from simulations import wire
from simulations.foretold import foretold
from simulations.places import home_of
from simulations.premises import Stocked
from site_client import audit


def write(run: Path, contract: Contract, stock: Sequence[Stocked], *, banner: str) -> None:
    """Write ``facts.json`` into the run folder."""
    found = [
        Fact(key="banner", text=banner),
        *_start(run),
        *foretold(run, contract),
        *_identifiers(run),
        *_refusals(run, contract),
        *_cuts(run),
        *_set_aside(run, stock),
        *_sat_out(run, stock),
    ]
    write_facts(run, found)


def _start(run: Path) -> Iterator[Fact]:
    path = run / "task.toml"
    model = read_task(path).model if path.exists() else None
    if model is not None and model.initial:
        text = f"In this run {model.start()}."
        yield Fact(key="starting weights", text=text, command=f"grep -A9 provenance {path}")


def _identifiers(run: Path) -> Iterator[Fact]:
    counts = wire.count(run)
    if not counts:
        return
    planted = sum(count.planted for count in counts)
    hits = sum(count.found for count in counts)
    messages = sum(count.messages for count in counts)
    size = sum(count.bytes for count in counts) / 1e6
    yield Fact(
        key="identifiers",
        value=str(hits),
        text=(
            f"of {planted:,} identifiers planted in the archives are in the {size:.1f} MB "
            f"({messages} messages) that left the hospitals."
        ),
        command=f"fedrad-sim leaks {run}",
    )


def _refusals(run: Path, contract: Contract) -> Iterator[Fact]:
    for site in sorted(contract.sites):
        events = [e for e in audit.read(home_of(run, site)) if e["kind"] == "declined"]
        training = [e for e in events if e["phase"] == "train" and e["outcome"] == "refused"]
        if training:
            first = training[0]
            yield Fact(
                key=f"refusal {site}",
                text=f"In round {first['round']} {first['sentence'].rstrip('.')}.",
                command=f"grep declined {home_of(run, site) / audit.NAME}",
            )


def _cuts(run: Path) -> Iterator[Fact]:
    """Yield a fact for each time that the coordinator came back into a round."""
    if not (run / DATABASE).exists():
        return
    with Store(run / DATABASE) as store:
        events = store.rows("events")
    for place, event in enumerate(events):
        number = max((earlier["round"] or 0 for earlier in events[:place]), default=0)
        if event["kind"] == "run-resumed" and number:
            kept = {
                e["site"] for e in events[:place] if e["kind"] == "reply" and e["round"] == number
            }
            text = (
                f"The coordinator died in round {number} and went on; hospitals whose answer "
                f"was on disk and was kept: {len(kept)}."
            )
            yield Fact(
                key=f"cut {event['seq']}", text=text, command=f"grep resumed {run}/audit.jsonl"
            )


def _set_aside(run: Path, stock: Iterable[Stocked]) -> Iterator[Fact]:
    for entry in stock:
        if entry.set_aside:
            reasons = ", ".join(f"{n} {reason}" for reason, n in entry.set_aside.items())
            part = "it sat out" if entry.problem else "it took part"
            yield Fact(
                key=f"set aside {entry.site}",
                value=str(sum(entry.set_aside.values())),
                text=f"files of {entry.site}'s archive were set aside ({reasons}); {part}.",
                command=f"fedrad-site catalogue --home {home_of(run, entry.site)}",
            )


def _sat_out(run: Path, stock: Iterable[Stocked]) -> Iterator[Fact]:
    for entry in stock:
        if entry.problem:
            yield Fact(
                key=f"sat out {entry.site}",
                text=f"{entry.site} sat out the whole study: {entry.problem}.",
                command=f"fedrad-site catalogue --home {home_of(run, entry.site)}",
            )
