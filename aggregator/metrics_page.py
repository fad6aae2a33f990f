"""``/metrics``: a coordinator's studies as Prometheus text, for the screens to mount.

Released and agreed numbers only, hospitals as the contract says (``letters``). Everything is read
from the runs' records when it is asked for; nothing is counted in memory. What was not
measured has no line. Who may ask is the screens' business.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aggregator import measures, quarantine
from aggregator.letters import Letters
from aggregator.lineage import lineage
from aggregator.paid import paid_by_site
from aggregator.run_folder import DATABASE, Run, read_run, read_tables
from aggregator.studies import run_folder, study_names

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SHUT = {quarantine.QUARANTINED: 1, quarantine.LIFTED: 0}


def exposition(home: Path) -> bytes:
    """Return the text for a coordinator's home; ``CONTENT_TYPE`` is its type.

    Raises:
        SettingsError: A study's task or contract cannot be used.
        DamagedStateError: A run's records cannot be read.
    """
    names = (name for name in study_names(home) if (run_folder(home, name) / DATABASE).is_file())
    return text_of({name: run_folder(home, name) for name in names})


def text_of(runs: dict[str, Path]) -> bytes:
    """Return the text for runs by study; raises as ``exposition``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Records(runs))
    return generate_latest(registry)


class _Records(Collector):
    """Reads runs when it is asked."""

    def __init__(self, runs: dict[str, Path]) -> None:
        self._runs = runs

    def collect(self) -> Iterator[Metric]:
        """Yield every family once, with a line for each study."""
        families = _families()
        for study, folder in sorted(self._runs.items()):
            run = read_run(folder)
            letters = Letters(run)
            _course(families, study, run)
            _sites(families, study, run, letters)
            _figures(families, study, run, letters)
            alarms = read_tables(folder / DATABASE, ("alarms",))["alarms"]
            for kind, count in sorted(Counter(str(row["kind"]) for row in alarms).items()):
                families["alarms"].add_metric([study, kind], count)
        yield from families.values()


def _families() -> dict[str, GaugeMetricFamily]:
    told = {
        "round": ("last round that was asked", ("study",)),
        "rounds_planned": ("rounds of the task", ("study",)),
        "stands_on_round": ("round whose model the run stands on", ("study",)),
        "rounds": ("rounds by state", ("study", "state")),
        "run": ("1 for the state of the run", ("study", "status")),
        "sites": ("hospitals by status", ("study", "status")),
        "quarantined": ("1 while a hospital is in quarantine", ("study", "site")),
        "replies": ("answers by outcome", ("study", "site", "phase", "outcome")),
        "reply_bytes": ("bytes of all answers", ("study", "site")),
        "metric": ("last released value, from noised sums", ("study", "site", "metric")),
        "epsilon": ("epsilon that the most exposed patient paid", ("study", "site")),
        "alarms": ("alarms of shift by kind", ("study", "kind")),
    }
    return {
        name: GaugeMetricFamily(f"fedrad_{name}", text, labels=labels)
        for name, (text, labels) in told.items()
    }


def _course(families: dict[str, GaugeMetricFamily], study: str, run: Run) -> None:
    states = Counter(str(row["state"]) for row in run.tables["rounds"])
    line = lineage(run.tables["rounds"], run.tables["events"])
    families["round"].add_metric([study], max(line.states, default=0))
    families["stands_on_round"].add_metric([study], line.stands)
    if run.task is not None:
        families["rounds_planned"].add_metric([study], run.task.federation.rounds)
    for state, count in sorted(states.items()):
        families["rounds"].add_metric([study, state], count)
    families["run"].add_metric([study, str(run.about.get("status") or "not recorded")], 1)


def _sites(families: dict[str, GaugeMetricFamily], study: str, run: Run, letters: Letters) -> None:
    for status, count in sorted(Counter(str(r["status"]) for r in run.tables["sites"]).items()):
        families["sites"].add_metric([study, status], count)
    shut = {str(row["site"]): _SHUT[row["kind"]] for row in run.tables["events"]
            if row["kind"] in _SHUT}  # fmt: skip
    for site, now in sorted(shut.items()):
        families["quarantined"].add_metric([study, letters.of(site)], now)
    sizes: Counter[str] = Counter()
    outcomes: Counter[tuple[str, str, str]] = Counter()
    for row in run.tables["replies"]:
        site = letters.of(str(row["site"]))
        sizes[site] += int(row["bytes"] or 0)
        outcomes[site, str(row["phase"]), str(row["outcome"])] += 1
    for key, count in sorted(outcomes.items()):
        families["replies"].add_metric([study, *key], count)
    for site, size in sorted(sizes.items()):
        families["reply_bytes"].add_metric([study, site], size)


def _figures(
    families: dict[str, GaugeMetricFamily], study: str, run: Run, letters: Letters
) -> None:
    last = measures.last_release(run)
    for site in (*run.sites, *measures.SUMMARIES):
        for name, value in sorted(measures.at_release(run, site, last).items()):
            if math.isfinite(value.value):
                families["metric"].add_metric([study, letters.of(site), name], value.value)
    for paid in paid_by_site(run):
        if paid.epsilon is not None:
            families["epsilon"].add_metric([study, letters.of(paid.site)], paid.epsilon)
