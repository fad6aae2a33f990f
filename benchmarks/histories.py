"""Write run folders full of invented rows, to try screens on: no number in them was measured.

Every page of such a run says so in its banner. Real tables, real task and contract; the rows are
what a run of that many hospitals, rounds and windows would have written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.tables import Action, Alarm, Answer, Metric, Round, Run, Shift, Site, Spent, Table
from fedrad.contract import Conditions, Contract, SiteTerms, write_contract
from fedrad.task import parse_task, task_hash, write_task

BANNER = "Invented rows, to try screens on"
FIRST = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
METRICS = ("auroc", "sensitivity", "specificity", "prevalence")
CHANNELS = ("image", "acquisition", "label", "concept", "population")
_NAMES = ("Ashford", "Birkdale", "Carrick", "Dunmore", "Elgin", "Farley", "Garston", "Holt")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a run went through."""

    name: str = "invented"
    sites: int = 4
    rounds: int = 12
    planned: int = 20
    windows: int = 0  # after the reference
    trouble: bool = False  # another scanner at the third site, a quarantine, a void round
    status: str = "running"
    figures: str = ""  # conditions: letters or names; empty: a simulation's contract
    odd_name: str = ""  # instead of the first site's
    exact: bool = False  # metrics without noise

    @property
    def names(self) -> tuple[str, ...]:
        """The sites' names."""
        known = [*_NAMES, *(f"site-{number:03d}" for number in range(9, self.sites + 1))]
        return (self.odd_name or known[0], *known[1 : self.sites])


def write_history(folder: Path, history: History) -> Path:
    """Write a run folder and return it."""
    task = parse_task(_task(history))
    folder.mkdir(parents=True, exist_ok=True)
    write_task(folder / "task.toml", task)
    write_contract(folder / "contract.json", _contract(history, task_hash(task)))
    rng = np.random.default_rng(8)
    with Store(folder / DATABASE) as store:
        store.record([_run(history, task_hash(task)), *_sites(history)])
        store.record_event("run-started", detail={"run": history.name})
        for rows in (_rounds(history), _replies(history), _metrics(history, rng)):
            store.record(rows)
        store.record([*_paid(history), *_shifts(history, rng)])
        if history.trouble:
            _trouble(store, history)
    return folder


def add_round(store: Store, history: History, number: int) -> None:
    """Write one more round, its replies and figures, as a run that goes on does."""
    store.start_round(number)
    for place, site in enumerate(history.names):
        store.record_reply(_reply(number, "train", site, place))
    store.record_metric(_metrics_of(history, np.random.default_rng(number), number))


def _task(history: History) -> dict[str, object]:
    return {
        "schema": 1,
        "task": {"name": history.name, "kind": "classification", "classes": ["clear", "opacity"],
                 "positive": "opacity"},
        "data": {"modality": "DX", "dimensions": 2},
        "labels": {"source": "csv", "map": {"no": 0, "yes": 1}},
        "recipe": {"size": [64, 64], "intensity": {"kind": "range", "constants": "dx-unit-1"}},
        "model": {"name": "resnet18"},
        "training": {"steps": 3, "expected_batch_patients": 32.0},
        "federation": {"rounds": history.planned, "deadline_s": 600.0},
        "privacy": {"enabled": True, "epsilon": 8.0, "delta": 1e-5,
                    "audit_releases": history.planned},
        "evaluation": {"metrics": ["auroc"], "edges": [0.0, 0.5, 1.0], "every_rounds": 1,
                       "release": "exact" if history.exact else "private"},
        "analysis": {"primary": "auroc"},
    }  # fmt: skip


def _contract(history: History, hash_: str) -> Contract:
    terms = {
        site: SiteTerms(label=_letter(place), patients_agreed=100 + 10 * place,
                        train_sigma=2.0, audit_sigma=5.0)
        for place, site in enumerate(history.names)
    }  # fmt: skip
    conditions = None
    if history.figures:
        conditions = Conditions(
            expires="2027-06-30", recipients=("The consortium",), ethics="EC 12/2026",
            figures="names" if history.figures == "names" else "letters",
        )  # fmt: skip
    schema = 2 if conditions else 1
    return Contract(
        schema=schema, study=history.name, task_hash=hash_, sites=terms, conditions=conditions
    )


def _run(history: History, hash_: str) -> Run:
    ended = "" if history.status == "running" else _time(history.rounds)
    return Run(
        run=f"{history.name}-1", study=history.name, task_hash=hash_, started=_time(0), ended=ended,
        status=history.status, seed=8, engine="deployment",
        versions_json=json.dumps({"fedrad": "0.1.0", "banner": BANNER}),
    )  # fmt: skip


def _sites(history: History) -> Iterator[Table]:
    for place, site in enumerate(history.names):
        yield Site(site=site, label=_letter(place), node_key="", patients_agreed=100 + 10 * place,
                   joined=_time(0), status="joined")  # fmt: skip


def _rounds(history: History) -> Iterator[Table]:
    for number in range(1, history.rounds + 1):
        void = history.trouble and number == history.rounds - 3
        state = "void" if void else "evaluated"
        digest = "" if void else f"{number:064x}"
        yield Round(round=number, state=state, accepted_digest=digest, model_digest=digest,
                    started=_time(number - 1), ended=_time(number))  # fmt: skip


def _replies(history: History) -> Iterator[Table]:
    for number in range(1, history.rounds + 1):
        for place, site in enumerate(history.names):
            refuses = history.trouble and place == 1 and number > history.rounds - 2
            for phase in ("train", "evaluate"):
                yield _reply(number, phase, site, place, refuses=refuses and phase == "train")


def _reply(number: int, phase: str, site: str, place: int, *, refuses: bool = False) -> Answer:
    return Answer(
        round=number, phase=phase, site=site, reply_id=f"{number:05d}{place:04d}{phase}",
        outcome="refused" if refuses else "done", reason_code="budget" if refuses else "",
        update_digest="" if refuses or phase != "train" else f"{number * 1000 + place:064x}",
        weight=0.0, ledger_head="", bytes=11_887 if phase == "train" else 1_420,
        seconds=4.0 + place % 5,
    )  # fmt: skip


def _metrics(history: History, rng: np.random.Generator) -> Iterator[Table]:
    for number in range(1, history.rounds + 1):
        yield from _metrics_of(history, rng, number)


def _metrics_of(history: History, rng: np.random.Generator, number: int) -> list[Metric]:
    found: list[Metric] = []
    for metric in METRICS:
        values = {}
        for place, site in enumerate(history.names):
            level = 0.6 + 0.28 * (1 - np.exp(-number / (history.planned / 3))) - 0.02 * (place % 5)
            values[site] = float(np.clip(level + rng.normal(0, 0.012), 0, 1))
        values |= {"macro": float(np.mean(list(values.values())))}
        values |= {"*": values["macro"], "worst": min(values.values())}
        found += [_metric(number, site, metric, value) for site, value in values.items()]
    return found


def _metric(number: int, site: str, metric: str, value: float) -> Metric:
    return Metric(
        round=number, site=site, data_site=site, split="audit", metric=metric, value=value,
        lo=max(0.0, value - 0.06), hi=min(1.0, value + 0.05), n=120.0, method="private",
    )  # fmt: skip


def _paid(history: History) -> Iterator[Table]:
    for number in range(1, history.rounds + 1):
        for site in history.names:
            spent = 8.0 * np.sqrt(number / (history.planned + 2))
            yield Spent(round=number, site=site, stream="train", mechanism="subsampled-gaussian",
                        sigma=2.0, q=0.3, steps=3, epsilon=float(spent), delta=1e-5)  # fmt: skip


def _shifts(history: History, rng: np.random.Generator) -> Iterator[Table]:
    sums: dict[tuple[str, str], float] = {}
    for number in range(history.windows):
        for place, site in enumerate(history.names):
            for channel in CHANNELS:
                moved = history.trouble and place == 2 and number >= history.windows - 5
                z = rng.normal() + (4.2 if moved and channel in ("image", "acquisition") else 0.0)
                key = site, channel
                sums[key] = max(0.0, sums.get(key, 0.0) + min(z, 4.0) - 0.75)
                p = float(np.clip(np.exp(-0.7 * max(z, 0.0) ** 1.45), 1e-9, 1.0))
                yield Shift(window=_window(number), site=site, channel=channel, statistic=9.0 + z,
                            z=float(z), p=p, cusum=float(sums[key]), threshold=6.1)  # fmt: skip


def _trouble(store: Store, history: History) -> None:
    site, since = history.names[2], max(0, history.windows - 5)
    evidence = (
        "images: sum 9.2 over the threshold of 6.1; in this window also other than before: tags of "
        "the machine; as before: share of positives, scores within a label, sex and age"
    )
    if history.windows:
        window = _window(since + 2)
        store.record(
            [
                Alarm(window=window, site=site, channel="image", kind="acquisition",
                      since_window=_window(since), posterior=None, evidence=evidence),
                Action(round=history.rounds, window=window, site=site, action="ask-about-scanner",
                       parameters_json="{}", reason=evidence, decided_by="", decision="proposed",
                       effect=""),
            ]
        )  # fmt: skip
    quarantined = Site(site=history.names[3], label="D", node_key="", patients_agreed=130,
                       joined=_time(0), status="quarantined")  # fmt: skip
    detail = {"bad": [[number, "train"] for number in range(1, 4)], "limit": 3}
    store.record_site(quarantined, "quarantined", history.rounds - 1, detail=detail)


def _letter(place: int) -> str:
    return chr(65 + place) if place < 26 else f"{chr(64 + place // 26)}{chr(65 + place % 26)}"


def _time(number: int) -> str:
    return (FIRST + timedelta(minutes=11 * number)).isoformat(timespec="milliseconds")[:-6] + "Z"


def _window(number: int) -> str:
    year, month = divmod(number + 6, 12)
    return f"{2025 + year}-{month + 1:02d}-01"


def write_site_home(home: Path, *, odd_study: str = "") -> Path:
    """Write the home of a site that answered a few questions today, and return it.

    No image and no patient: letters, a contract and figures, as a site's programs write them.
    """
    from fedrad.clock import SystemClock
    from fedrad.protocol.messages import Block, Reply, Request
    from site_client import correspondence, own_figures
    from site_client.home import make_home

    history = History(name="invented", figures="letters")
    task = parse_task(_task(history))
    contract = _contract(history, task_hash(task))
    make_home(home, _SITE_TOML.format(hash=task_hash(task)))
    folder = home / "state" / "studies" / history.name
    folder.mkdir(parents=True)
    write_task(folder / "task.toml", task)
    write_contract(folder / "contract.json", contract.seen_by("Ashford"))
    (home / "quarantine.csv").write_text("file,reason,task,detail\na,no-pixels,,\nb,no-pixels,,\n")
    blocks = [Block(name=name, values=np.array(values), sigma=1.0, sensitivity=1.0)
              for name, values in _SUMS.items()]  # fmt: skip
    for number, study in enumerate((history.name, history.name, odd_study or history.name), 1):
        asked = Request(study=study, task_hash=task_hash(task), round=number, phase="evaluate",
                        model_digest=f"{number:064x}", deadline_s=60.0)  # fmt: skip
        reply = Reply(study=study, task_hash=task_hash(task), round=number, phase="evaluate",
                      model_digest=f"{number:064x}", reply_id=f"{number:064x}", outcome="done",
                      blocks=tuple(blocks))  # fmt: skip
        correspondence.received(home, asked, 9_000)
        correspondence.sent(home, reply, 1_400)
        if study == history.name:
            own_figures.keep_sums(home, asked, blocks, SystemClock(), without=blocks)
    return home


_SUMS = {
    "n": [40.0],
    "positives": [18.0],
    "operating": [14.0, 4.0, 5.0, 17.0],
    "table": [17.0, 5.0, 4.0, 14.0],
}
_SITE_TOML = """
[site]
name = "Ashford"
[archive]
kind = "folder"
path = "archive"
[privacy]
epsilon_limit = 8.0
delta_limit = 1e-4
min_patients = 1
max_rounds = 50
max_steps = 100
[approval]
studies = ["{hash}"]
"""


def write_study(home: Path, history: History) -> None:
    """Write the study of a history into a coordinator's home."""
    from aggregator.studies import Study
    from aggregator.studies import write_study as write

    task = parse_task(_task(history))
    folder = home / "studies" / history.name
    contract = _contract(history, task_hash(task))
    study = Study(name=history.name, folder=folder, task=task, contract=contract, seed=8)
    write(study, beside=folder)
