"""A run folder as a study leaves it: four sites, one that declines, one void round."""

from __future__ import annotations

import json
import math
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aggregator import tables
from aggregator.comparison import Comparison, SiteComparison, write_comparison
from aggregator.facts import Fact, write_facts
from aggregator.store import Store
from fedrad.contract import Contract, SiteTerms, write_contract
from fedrad.task import parse_task, task_hash

TASK = """
schema = 1
[task]
name = "four_hospitals"
kind = "classification"
classes = ["normal", "lesion"]
positive = "lesion"
[data]
modality = "DX"
dimensions = 2
[labels]
source = "csv"
map = { normal = 0, lesion = 1 }
[recipe]
size = [64, 64]
intensity = { kind = "range", constants = "unit" }
[model]
name = "filter_bank_cnn"
[training]
steps = 1
expected_batch_patients = 100.0
optimiser = { name = "sgd", rate = 0.5, momentum = 0.9 }
[federation]
rounds = 30
[privacy]
enabled = true
epsilon = 8.0
[evaluation]
metrics = ["auroc", "sensitivity", "specificity"]
edges = [0.0, 0.25, 0.5, 0.75, 1.0]
every_rounds = 10
release = "private"
[analysis]
primary = "auroc"
"""
SITES = {"east": "A", "north": "B", "south": "C", "west": "D"}
ENDS = {"east": 0.93, "north": 0.90, "south": 0.86, "west": 0.79}
START = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that every test gets its own copy of."""
    return write_run(tmp_path_factory.mktemp("pattern") / "run")


@pytest.fixture
def run_folder(pattern: Path, tmp_path: Path) -> Path:
    """A finished private run with everything that a simulation adds."""
    return Path(shutil.copytree(pattern, tmp_path / "run"))


@pytest.fixture
def exact_folder(run_folder: Path) -> Path:
    """The same run with exact metrics, hence not private."""
    folder = run_folder
    text = TASK.replace('release = "private"', 'release = "exact"')
    (folder / "task.toml").write_text(text, encoding="utf-8")
    return folder


def write_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "task.toml").write_text(TASK, encoding="utf-8")
    _write_contract(folder)
    _write_database(folder)
    write_facts(
        folder,
        [
            Fact(
                key="identifiers",
                value="0 of 1,204",
                text="planted identifiers are in the bytes that left the four hospitals.",
                command="fedrad-sim run four_hospitals --out runs/four_hospitals",
            ),
            Fact(
                key="broken",
                value="7 files",
                text="of hospital C could not be used and were set aside: 4 truncated, "
                "2 without a PatientID, 1 that is not DICOM. The run went on.",
                command="fedrad-site catalogue --home runs/four_hospitals/sites/south",
            ),
        ],
    )
    write_comparison(folder, comparison())
    return folder


def comparison() -> Comparison:
    rows = [
        ("east", 0.902, 0.931, 0.029, 0.006, 0.054, "federated", 0.03, ""),
        ("north", 0.918, 0.884, -0.034, -0.061, -0.008, "alone", 0.04, ""),
        ("south", 0.848, 0.861, 0.013, -0.021, 0.049, "cannot tell", 0.91, ""),
        ("west", 0.771, 0.797, 0.026, -0.088, 0.142, "cannot tell", None, "12 positive, under 15"),
    ]
    return Comparison(
        primary="auroc",
        command="fedrad-sim run four_hospitals --baselines",
        seeds=3,
        rates={"alone": 0.5, "pooled": 0.5, "federated_exact": 1.0},
        spread={"east": (0.021, 0.029, 0.034)},
        sites=tuple(
            SiteComparison(
                site=site,
                label=SITES[site],
                n=60,
                n_positive=12 if site == "west" else 28,
                alone=alone,
                federated_private=federated,
                federated_exact=federated + 0.02,
                pooled=federated + 0.024,
                trivial=0.5,
                difference=difference,
                lo=lo,
                hi=hi,
                p_holm=p,
                verdict=verdict,
                reason=reason,
            )
            for site, alone, federated, difference, lo, hi, verdict, p, reason in rows
        ),
    )


def _write_contract(folder: Path) -> None:
    terms = {
        site: SiteTerms(label=label, patients_agreed=210, train_sigma=2.31, audit_sigma=1.9)
        for site, label in SITES.items()
    }
    digest = task_hash(_task())
    write_contract(
        folder / "contract.json",
        Contract(schema=1, study="four_hospitals-1", task_hash=digest, sites=terms),
    )


def _task():  # type: ignore[no-untyped-def]
    import tomllib

    return parse_task(tomllib.loads(TASK))


def _write_database(folder: Path) -> None:
    with Store(folder / "run.sqlite") as store:
        store.record(
            [
                tables.Run(
                    run="r1",
                    study="four_hospitals-1",
                    task_hash=task_hash(_task()),
                    started=_stamp(0),
                    ended=_stamp(99),
                    status="done",
                    seed=7,
                    engine="local",
                    versions_json=json.dumps({"fedrad": "0.1.0", "flwr": "1.41.0"}),
                )
            ]
        )
        store.record(
            tables.Site(
                site=site, label=label, node_key="", patients_agreed=210, joined="", status="in"
            )
            for site, label in SITES.items()
        )
        rows = [[_round(n), *_answers(n), *_spent(n)] for n in range(1, 31)]
        rows += [_metrics(number) for number in (10, 20, 30)]
        store.record(row for some in rows for row in some)
        store.record_event("run-started")


def _stamp(minute: float) -> str:
    moment = START + timedelta(minutes=minute)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _round(number: int) -> tables.Round:
    return tables.Round(
        round=number,
        state="void" if number == 12 else "committed",
        model_digest=f"{number:064x}",
        started=_stamp(number),
        ended=_stamp(number + 0.04),
    )


def _outcome(site: str, number: int) -> tuple[str, str]:
    if site == "west" and number >= 9:
        return "refused", "budget"
    if site == "south" and number in (4, 12):
        return "abstained", "not-ready"
    if site == "north" and number == 12:
        return "failed", "failed"
    return "done", ""


def _answers(number: int) -> list[tables.Answer]:
    return [
        tables.Answer(
            round=number,
            phase=phase,
            site=site,
            reply_id=f"{phase}-{number}-{site}",
            outcome=_outcome(site, number)[0] if phase == "train" else "done",
            reason_code=_outcome(site, number)[1] if phase == "train" else "",
            bytes=9_800 if phase == "train" else 1_900,
            seconds=0.4,
        )
        for phase in (("train", "evaluate") if number % 10 == 0 else ("train",))
        for site in SITES
    ]


def _spent(number: int) -> list[tables.Spent]:
    def spent(site: str, stream: str, mechanism: str, q: float) -> tables.Spent:
        return tables.Spent(
            round=number,
            site=site,
            stream=stream,
            mechanism=mechanism,
            sigma=2.31 if stream == "train" else 1.9,
            q=q,
            steps=1,
            epsilon=None,
            delta=1e-5,
        )

    trained = [site for site in SITES if _outcome(site, number)[0] == "done"]
    rows = [spent(site, "train", "subsampled-gaussian", 0.5) for site in trained]
    if number % 10 == 0:
        rows += [spent(site, "audit", "gaussian", 1.0) for site in SITES]
    return rows


def _metrics(number: int) -> list[tables.Metric]:
    def metric(site: str, name: str, value: float, half: float | None, n: float) -> tables.Metric:
        return tables.Metric(
            round=number,
            site=site,
            data_site=site,
            split="audit",
            metric=name,
            value=value,
            lo=None if half is None else value - half,
            hi=None if half is None else min(1.0, value + half),
            n=n,
            method="private",
        )

    rows = []
    for site, end in ENDS.items():
        auroc = end - 0.35 * math.exp(-number / 8)
        n = 6.2 if site == "west" else 46.7
        rows += [
            metric(site, "auroc", auroc, 0.05, n),
            metric(site, "sensitivity", auroc - 0.05, 0.08, n),
            metric(site, "specificity", auroc - 0.02, 0.07, n),
        ]
    rows += [metric("macro", "auroc", 0.87, None, 146.3), metric("*", "auroc", 0.88, 0.03, 146.3)]
    return [*rows, metric("worst", "auroc", 0.78, 0.05, 6.2)]
