"""A whole run on real archives: what it leaves, what it tells, what never gets out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import EXACT, SEED, SITES, tiny_plan

from aggregator.store import Store
from fedrad.errors import DataError, RunError
from simulations import premises, runner
from simulations.hospital import HospitalSpec
from simulations.places import home_of
from simulations.planted import occurrences
from simulations.premises import Stocked
from simulations.scenario import Limits
from simulations.screen import Screen
from simulations.wire import planted_values
from site_client import audit

QUIET = Screen(quiet=True)


def frame(run: Path, table: str) -> pd.DataFrame:
    with Store(run / "run.sqlite") as store:
        return store.frame(table)


def facts(run: Path) -> dict[str, dict[str, str]]:
    return {fact["key"]: fact for fact in json.loads((run / "facts.json").read_text())}


def identifiers(run: Path) -> set[str]:
    return {v for site in (*SITES, "idle") for v in planted_values(run, site)}


def test_a_run_ends_with_a_report_a_database_and_a_model(finished: Path) -> None:
    assert frame(finished, "runs")["status"].tolist() == ["done"]
    assert frame(finished, "rounds")["state"].tolist() == ["evaluated", "evaluated"]
    page = (finished / "report.html").read_text()
    assert "Phantoms, not clinical evidence" in page
    assert "idle sat out the whole study" in page


def test_the_facts_are_those_of_this_run(finished: Path) -> None:
    found = facts(finished)
    assert found["identifiers"]["value"] == "0"
    assert (
        f"of {len(identifiers(finished)):,}" not in found["identifiers"]["text"]
    )  # idle sent none
    assert found["set aside north"]["value"] == "3"
    assert "2 truncated, 1 patient-id-unusable" in found["set aside north"]["text"]
    assert "it took part" in found["set aside north"]["text"]
    assert "over its limit of 2.00" in found["refusal west"]["text"]
    assert "no image of the archive suits" in found["sat out idle"]["text"]


def test_a_refusing_site_stops_nobody_and_is_not_asked_to_train_again(finished: Path) -> None:
    trained = frame(finished, "replies").query("phase == 'train'")
    west = trained.query("site == 'west'")
    others = trained.query("site != 'west'")
    assert set(others["outcome"]) == {"done"}
    assert west["reason_code"].tolist() in (["", "budget"], ["budget"])
    notes = audit.read(home_of(finished, "west"))
    assert [(e.get("phase"), e.get("outcome")) for e in notes].count(("train", "refused")) == 1


def test_no_planted_identifier_is_in_anything_the_aggregator_has(finished: Path) -> None:
    """``planted.csv`` and the archives are the only places where they may stand."""
    values = identifiers(finished)
    ours = [p for p in finished.rglob("*") if p.is_file() and "sites" not in p.parts]
    assert {"report.html", "run.sqlite", "metrics.csv", "facts.json"} <= {p.name for p in ours}
    assert [str(p) for p in ours if occurrences(p.read_bytes(), values)] == []


def test_no_planted_identifier_is_in_what_a_site_writes_but_its_lists_of_files(
    finished: Path,
) -> None:
    """The catalogue and the quarantine name files, and archives name files after patients."""
    for site in (*SITES, "idle"):
        home, values = home_of(finished, site), planted_values(finished, site)
        files = [p for p in home.rglob("*") if p.is_file()]
        lists = {"catalogue.parquet", "quarantine.csv"}
        assert [
            p for p in files if p.name not in lists and occurrences(p.read_bytes(), values)
        ] == []
        names = "\n".join(str(p.relative_to(home)) for p in files)
        assert occurrences(names.encode(), values) == 0
        catalogue = home / "catalogue.parquet"
        if site != "idle":
            text = pd.read_parquet(catalogue).drop(columns="file").to_csv()
            assert occurrences(text.encode(), values) == 0


def test_every_arm_is_scored_on_the_same_test_patients(finished: Path) -> None:
    rows = json.loads((finished / "comparison.json").read_text())["sites"]
    assert [row["site"] for row in rows] == list(SITES)
    for row in rows:
        assert None not in (row["alone"], row["pooled"], row["federated_exact"])
        assert (row["federated_private"], row["trivial"]) != (None, None)
    metrics = pd.read_csv(finished / "metrics.csv").query("split == 'test'")
    assert set(metrics["model"]) == {"alone", "pooled", "federated-exact", "global"}
    assert set(metrics["method"]) == {"exact"}


def test_a_folder_that_holds_something_else_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for fresh in (False, True):
        with pytest.raises(RunError, match="holds something else than a run"):
            runner.open_folder(tiny_plan(tmp_path), fresh=fresh)
    assert (tmp_path / "thesis.txt").exists()


def test_a_run_is_replaced_only_on_request(tmp_path: Path) -> None:
    runner.open_folder(tiny_plan(tmp_path))
    (tmp_path / "kept").write_text("")
    runner.open_folder(tiny_plan(tmp_path))
    other = replace(tiny_plan(tmp_path), seed=SEED + 1)
    with pytest.raises(RunError, match="holds another run; choose another --out or add --fresh"):
        runner.open_folder(other)
    assert (tmp_path / "kept").exists()
    runner.open_folder(other, fresh=True)
    assert [path.name for path in tmp_path.iterdir()] == [runner.MARK]


def test_a_file_in_the_place_of_the_run_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(RunError, match="is a file; choose another --out"):
        runner.open_folder(tiny_plan(tmp_path / "out"), fresh=True)


def test_too_few_usable_archives_end_the_run_with_the_reason(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    stock = [Stocked("east", {"train": 9}, {}), Stocked("west", {}, {}, "no image suits")]
    with pytest.raises(RunError, match="1 sites can take part, the quorum is 3; mend the archives"):
        runner.agree(plan, stock, QUIET)


def test_taking_stock_reports_a_site_instead_of_failing(hospitals: Path, tmp_path: Path) -> None:
    shutil.copytree(hospitals, tmp_path / "run")
    run, task = tmp_path / "run", tiny_plan(tmp_path).task
    shutil.rmtree(run / "sites" / "east" / "ARCHIVE")
    (run / "sites" / "north" / "labels.csv").unlink()
    stock = {site: premises.take_stock(run, site, task) for site in SITES}
    assert "ARCHIVE" in stock["east"].problem
    assert "labels" in stock["north"].problem
    assert stock["south"].problem == ""
    assert stock["south"].patients["train"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("baselines", [False, pytest.param(True, marks=pytest.mark.long)])
def test_one_patient_one_class_and_empty_masks_do_not_stop_the_others(
    tmp_path: Path, baselines: bool
) -> None:
    """Segmentation: one site has one patient, one has nothing to segment, three are well."""
    specs = [
        HospitalSpec(name=name, patients=16, size=64, truth="masks", prevalence=share)
        for name, share in (("a", 1.0), ("b", 0.8), ("c", 0.9), ("empty", 0.0))
    ]
    single = HospitalSpec(name="single", patients=1, size=64, truth="masks", prevalence=1.0)
    limits = {s.name: Limits(epsilon_limit=50.0, min_patients=2) for s in (*specs, single)}
    plan = tiny_plan(
        tmp_path / "run", *EXACT, *SEGMENT, hospitals=(*specs, single), limits=limits,
    )  # fmt: skip
    report = runner.run_plan(replace(plan, baselines=baselines), QUIET)
    outcomes = frame(plan.run, "replies").query("phase == 'train'").groupby("site")["outcome"]
    assert {site: set(found) for site, found in outcomes}["a"] == {"done"}
    assert set(frame(plan.run, "replies").query("site == 'single'")["reason_code"]) <= {"not-ready"}
    assert frame(plan.run, "runs")["status"].tolist() == ["done"]
    assert report.exists()


SEGMENT = (
    "task.kind=segmentation",
    "task.classes=['background', 'lesion']",
    "task.positive=lesion",
    "labels={source='seg', map={lesion=1}}",
    "model={name='filter_bank_pixel'}",
    "analysis={primary='dice_mean', minimum_per_class=1}",
    "federation.rounds=1",
)


def test_the_test_patients_of_a_missing_folder_are_a_clear_word(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="planted.csv is missing"):
        planted_values(tmp_path, "nowhere")


def test_a_site_finds_its_own_home_by_its_place_among_the_names(tmp_path: Path) -> None:
    from flwr.app import Context, RecordDict

    sites = runner.SimulatedSites(tmp_path, SITES, SEED)
    context = Context(run_id=1, node_id=2, node_config={"partition-id": 2}, state=RecordDict(),
                      run_config={})  # fmt: skip
    assert sites(context).home == home_of(tmp_path, "south")
    assert sites(context).simulated
