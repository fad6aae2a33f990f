"""A card says what the records say, names nobody, and is signed with everything beside it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from model_run import SITES, write_model_run
from tiny_study import tiny_task
from window_patients import patients, window

from aggregator.cli import app
from aggregator.model_out.folder import Wishes, write_model
from aggregator.store import Store, report_rows
from aggregator.tables import Action, Answer, Metric, Shift, Spent
from fedrad import signatures
from fedrad.contract import Conditions, read_contract, write_contract
from fedrad.progress import silent
from fedrad.shift.agreed import layout_of
from fedrad.task import Task

Card = tuple[dict[str, Any], str]


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two promoted models, figures and charges."""
    run = write_model_run(tmp_path_factory.mktemp("card") / "run", promoted=[1, 2])
    with Store(run / "run.sqlite") as store:
        for number, value in ((1, 0.71), (2, 0.83)):
            store.record(_metric(number, site, value) for site in (*SITES, "worst", "macro", "*"))
        store.record([_metric(2, "south", None)])
        store.record([
            Spent(round=2, site="east", stream="train", mechanism="subsampled-gaussian", sigma=1.5,
                  q=0.2, steps=4, epsilon=None, delta=1e-3),
            Answer(round=2, phase="train", site="north", reply_id="n", outcome="refused",
                   reason_code="budget"),
            Answer(round=2, phase="train", site="east", reply_id="e", outcome="done",
                   reason_code="", ledger_head="f" * 64),
        ])  # fmt: skip
    return run


@pytest.fixture
def run(pattern: Path, tmp_path: Path) -> Path:
    """A copy."""
    return Path(shutil.copytree(pattern, tmp_path / "run"))


@pytest.fixture
def card(tmp_path: Path) -> Callable[[Path], Card]:
    """Write the card of a run; return its JSON and its Markdown."""

    def write(run: Path) -> Card:
        out = tmp_path / "model"
        write_model(run, out, Wishes(), key=None, say=silent)
        return json.loads((out / "model-card.json").read_text()), (
            out / "model-card.md"
        ).read_text()

    return write


def _metric(number: int, site: str, value: float | None) -> Metric:
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return Metric(
        round=number, site=site, split="audit", metric="auroc", value=value, lo=low, hi=high,
        n=24.0, method="private",
    )  # fmt: skip


def test_numbers_are_those_of_the_records(run: Path, card: Callable[[Path], Card]) -> None:
    table, text = card(run)
    first, *_ = table["quantitative_analyses"]
    assert first["site"] == "Worst site"
    assert first["metrics"][0]["value"] == 0.83
    assert "| Hospital A | 0.830 (0.730 to 0.930) | 24 |" in text
    assert "| Hospital C | not estimable | 24 |" in text
    assert table["training_data"][0] == {
        "site": "Hospital A", "part": "trained", "patients_agreed": "40",
    }  # fmt: skip


def test_privacy_has_its_meaning_in_words(run: Path, card: Callable[[Path], Card]) -> None:
    table, text = card(run)
    paid = {one["site"]: one for one in table["privacy"]}
    assert paid["Hospital A"]["epsilon"] > 0
    assert "a perfect attacker recognises at most" in paid["Hospital A"]["means"]
    assert paid["Hospital B"]["epsilon"] is None
    assert "| Hospital B | nothing recorded |" in text


def test_what_changed_is_told_against_the_promoted_model_before(
    run: Path, card: Callable[[Path], Card]
) -> None:
    changes = card(run)[0]["changes"]
    assert changes["since_round"] == 1
    assert changes["sites"][0] == {"site": "Hospital A", "before": 0.71, "now": 0.83}
    assert changes["sites"][2]["now"] is None


def test_nobody_is_named(run: Path, card: Callable[[Path], Card]) -> None:
    """Nor by a digest over names: whoever guesses them could confirm it."""
    table, text = card(run)
    everything = (text + json.dumps(table)).lower()
    assert not [name for name in (*SITES, "ada") if f" {name}" in everything]
    assert table["agreements"]["contract"].startswith("withheld")
    assert table["agreements"]["approvals"] == {}
    assert table["agreements"]["ledger_heads"] == {"Hospital A": "f" * 64}
    assert "Hospital B declined" in text


def test_agreed_names_come_with_their_digests(run: Path, card: Callable[[Path], Card]) -> None:
    contract = read_contract(run / "contract.json")
    conditions = Conditions(expires="2027-01-01", recipients=("all",), figures="names")
    write_contract(run / "contract.json", replace(contract, schema=2, conditions=conditions))
    table, _ = card(run)
    assert set(table["agreements"]["approvals"]) == set(SITES)
    assert len(table["agreements"]["contract"]) == 64


def test_the_front_matter_is_yaml_with_hugging_face_fields(
    run: Path, card: Callable[[Path], Card]
) -> None:
    _, front, _ = card(run)[1].split("---\n", 2)
    found = yaml.safe_load(front)
    assert found["pipeline_tag"] == "image-classification"
    results = found["model-index"][0]["results"]
    assert all({"task", "dataset", "metrics"} <= set(one) for one in results)
    assert results[0]["metrics"][0] == {"type": "auroc", "name": "AUROC", "value": 0.83}


def test_a_model_that_was_not_measured_says_so(
    tmp_path: Path, card: Callable[[Path], Card]
) -> None:
    table, text = card(write_model_run(tmp_path / "bare", tiny_task()))
    assert "Not measured." in text
    assert any("not promoted" in one for one in table["caveats"])
    assert table["changes"] is None


def test_text_from_a_task_is_no_markup(tmp_path: Path, card: Callable[[Path], Card]) -> None:
    task = tiny_task('task.classes=["no", "<script>|x"]', 'task.positive="<script>|x"')
    _, text = card(write_model_run(tmp_path / "odd", task))
    assert "<script>" not in text.split("---\n", 2)[2]


def test_the_software_is_listed_by_version(run: Path, tmp_path: Path) -> None:
    write_model(run, tmp_path / "out", Wishes(), key=None, say=silent)
    found = json.loads((tmp_path / "out" / "sbom.cdx.json").read_text())
    names = {one["name"]: one["version"] for one in found["components"]}
    assert found["bomFormat"] == "CycloneDX"
    assert names["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "flwr", "monai"} <= set(names)
    assert "pytest" not in names


def test_the_card_is_signed_and_checked_offline(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, out = tmp_path / "hub", tmp_path / "out"
    key = signatures.new_key()
    signatures.write_pem_key(home / "keys" / "coordinator.key", key)
    heard = signatures.spoken(signatures.key_digest(signatures.public_text(key)))
    words = ["model", str(run), "--out", str(out), "--home", str(home), "--json"]
    assert ended(words) == 0
    assert json.loads(capsys.readouterr().out)["signed_by"] == heard
    assert ended(["verify", str(out), "--fingerprint", heard]) == 0
    assert ended(["verify", str(out), "--fingerprint", "7K3M-9QRT"]) == 4
    (out / "model-card.md").write_text("all is well")
    assert ended(["verify", str(out), "--fingerprint", heard]) == 5


def ended(words: list[str]) -> int:
    """What the command ends with."""
    with pytest.raises(SystemExit) as end:
        app(words)
    return int(end.value.code or 0)


def test_windows_alarms_and_what_was_decided_are_the_shift_history(
    run: Path, card: Callable[[Path], Card]
) -> None:
    with Store(run / "run.sqlite") as store:
        row = {"channel": "image", "statistic": 1.0, "z": 1.0, "p": 0.2, "cusum": 0.0}
        store.record(
            Shift(window=window, site="north", threshold=4.0, **row)
            for window in ("record", "2026-01-01", "2026-02-01")
        )
        store.record([
            Action(round=2, window="2026-02-01", site="north", action="ask-about-scanner",
                   parameters_json="{}", reason="a", decided_by="Zebulon", decision="accepted",
                   effect="noted; north was asked")
        ])  # fmt: skip
    table, text = card(run)
    (site,) = table["shift"]["sites"]
    assert (site["windows"], site["first"], site["last"]) == (2, "2026-01-01", "2026-02-01")
    assert table["shift"]["windows"] == 2, "the training period is no window"
    assert f"- {site['site']}: 2 windows, 2026-01-01 to 2026-02-01" in text
    assert "ask about scanner; accepted; noted" in text
    assert "north" not in text


def test_subgroups_that_no_site_releases_are_said_to_be_not_released(
    run: Path, card: Callable[[Path], Card]
) -> None:
    table, text = card(run)
    assert table["factors"]["subgroups"] is None
    assert "Subgroups of patients: not released." in text


def tell_windows(run: Path, task: Task, number: int, *, upside_down: bool) -> None:
    """Two sites tell one window under the model of a round."""
    with Store(run / "run.sqlite") as store:
        for place, site in enumerate(SITES[:2]):
            seen, labels = patients(np.random.default_rng([number, place]))
            own = replace(seen, scores=1 - seen.scores if upside_down else seen.scores)
            told = window(own, labels, sigma=0.5, key=10 * number + place, layout=layout_of(task))
            store.record(
                report_rows(number, site, model_digest="m", blocks=told.blocks, window="2026-01-01")
            )
        store.record_event("shift-looked", number, detail={})


def test_subgroups_are_those_of_the_cards_own_model(
    tmp_path: Path, card: Callable[[Path], Card]
) -> None:
    task = tiny_task('monitoring={begins="2026-01-01", days=30, strata=["sex"]}')
    run = write_model_run(tmp_path / "run", task, promoted=[1])
    tell_windows(run, task, 1, upside_down=False)
    tell_windows(run, task, 2, upside_down=True)
    table, text = card(run)
    women, men, others = table["factors"]["subgroups"]
    assert min(one["sensitivity"]["value"] for one in (women, men)) > 0.7
    assert int(women["patients"]) + int(men["patients"]) == pytest.approx(400, abs=60)
    assert others["patients"] == "<10"
    assert "| sex: F | 0." in text
    assert "not released" not in text
