"""What the first screen says of a run is what the run's files say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tiny_study import tiny_task

from aggregator.facts import read_facts
from fedrad.clock import SystemClock
from fedrad.contract import Contract, SiteTerms
from fedrad.provenance import Provenance
from fedrad.task import write_task
from simulations import facts
from simulations.places import home_of
from simulations.planted import Planted, write_planted
from simulations.premises import Stocked
from simulations.wire import Wiretap
from site_client import audit

TERMS = {
    name: SiteTerms(label=name, patients_agreed=9, train_sigma=1.0, audit_sigma=1.0)
    for name in ("east", "north", "west")
}
CONTRACT = Contract(schema=1, study="s", task_hash="t", sites=TERMS)


def told(run: Path, *stock: Stocked) -> dict[str, str]:
    facts.write(run, CONTRACT, stock, banner="Phantoms")
    return {fact.key: f"{fact.value} {fact.text}".strip() for fact in read_facts(run)}


def test_an_uneventful_run_has_nothing_but_its_banner(tmp_path: Path) -> None:
    assert told(tmp_path, Stocked("east", {"train": 9}, {})) == {"banner": "Phantoms"}


def test_starting_weights_are_told_with_their_provenance(tmp_path: Path) -> None:
    write_task(tmp_path / "task.toml", tiny_task())
    assert "starting weights" not in told(tmp_path)
    known = Provenance(source="us", data="films of 1999", licence="CC0-1.0", digest="a" * 64)
    task = tiny_task()
    model = replace(task.model, initial="w.safetensors", provenance=known)
    write_task(tmp_path / "task.toml", replace(task, model=model))
    assert "data: films of 1999; licence: CC0-1.0" in told(tmp_path)["starting weights"]


def test_a_private_study_is_told_what_planning_foretold_for_its_contract(tmp_path: Path) -> None:
    task = tiny_task()
    write_task(tmp_path / "task.toml", task)
    said = told(tmp_path)["foretold"]
    assert "not measured for east, north, west" in said
    assert "Each release" in said
    exact = replace(task, privacy=replace(task.privacy, enabled=False))
    write_task(tmp_path / "task.toml", exact)
    assert "foretold" not in told(tmp_path)


def test_an_identifier_that_got_out_is_counted_and_not_hidden(tmp_path: Path) -> None:
    rows = [Planted("east", 0, "family-name", "Quelbornmora")]
    write_planted(tmp_path / "sites" / "east" / "planted.csv", rows)
    Wiretap(tmp_path, "east", keep=False).record("0001-train", b"Quelbornmora" * 2)
    assert told(tmp_path)["identifiers"].startswith("2 of 1 identifiers planted")


def test_the_first_refusal_to_train_is_told_and_no_abstention(tmp_path: Path) -> None:
    for site, outcome in (("east", "abstained"), ("west", "refused")):
        home_of(tmp_path, site).mkdir(parents=True)
        for number in (3, 4):
            detail = {"round": number, "phase": "train", "outcome": outcome}
            audit.record(
                home_of(tmp_path, site),
                SystemClock(),
                "declined",
                sentence="west says no",
                **detail,
            )
    found = told(tmp_path)
    assert found["refusal west"] == "In round 3 west says no."
    assert "refusal east" not in found


def test_a_site_that_sat_out_is_told_as_such(tmp_path: Path) -> None:
    found = told(tmp_path, Stocked("east", {}, {"truncated": 2}, "no image suits"))
    assert found["set aside east"].endswith("were set aside (2 truncated); it sat out.")
    assert found["sat out east"] == "east sat out the whole study: no image suits."
