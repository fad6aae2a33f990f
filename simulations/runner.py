"""Run a scenario from nothing to a report: hospitals, contract, rounds, baselines, facts.

The order is that of a real study. Each stage leaves files that stay readable if the next
one is interrupted; the same command then goes on with the stage that was cut.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flwr.app import Context
from flwr.serverapp import ServerApp

from aggregator import checkpoints
from aggregator.app import server_app
from aggregator.begin import CONTRACT
from aggregator.comparison import read_comparison, write_comparison
from aggregator.decisions import Decider, place_of
from aggregator.lineage import read_lineage
from aggregator.planning import plan_contract
from aggregator.promotion import promote
from aggregator.release import figures_of
from aggregator.report import write_report
from aggregator.run_folder import DATABASE
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.watch_app import watch_app
from aggregator.windows import promoted
from fedrad import durable
from fedrad.clock import SystemClock
from fedrad.contract import Contract, read_contract
from fedrad.errors import FedradError, RunError
from fedrad.parameters import frozen, whole
from fedrad.starting_weights import pinned, starting_model
from simulations import contest, eavesdropper, facts, premises
from simulations.arms import Study
from simulations.baselines import count_trainings, train_arms, workers
from simulations.comparison import compare, rows, with_spread
from simulations.cross import cross_rows
from simulations.engines import run_local, run_ray
from simulations.hospital import HospitalSpec, write_hospital
from simulations.hostile import HostileApps
from simulations.periods import Monitored
from simulations.places import SITES, home_of, site_folder
from simulations.plan import Plan
from simulations.pool import warm_up
from simulations.premises import Stocked
from simulations.screen import Screen
from simulations.wire import Wiretap
from simulations.worker import ClientFactory
from site_client.app import client_app
from site_client.round import SiteRuntime
from site_client.settings import Shares

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
ENGINES = {"local": run_local, "ray": run_ray}
SIMULATION = "the simulation"  # who decides where a person would
MARK = "scenario.json"  # whose folder it is; what --fresh may remove, and what may go on


@dataclass(frozen=True, slots=True)
class SimulatedSites:
    """From a Flower context to a site's runtime: ``partition-id`` counts the sorted names."""

    run: Path
    names: tuple[str, ...]
    seed: int

    def __call__(self, context: Context) -> SiteRuntime:
        """Return the runtime of the site that ``context`` belongs to."""
        name = self.names[int(context.node_config["partition-id"])]
        return SiteRuntime(home_of(self.run, name), self.seed)


def run_plan(plan: Plan, screen: Screen, *, seeds: int = 1, fresh: bool = False) -> Path:
    """Run one simulated study and return the path of its report.

    Args:
        plan: What to run; its folder becomes the run folder.
        screen: Who is told.
        seeds: Further seeds run the whole study again in ``seeds/N/`` of the folder; the
            comparison then shows the spread of each site's difference.
        fresh: Replace a run that is already there; else it goes on where it was cut.

    Raises:
        RunError: Too few sites can take part, or the rounds could not go on.
        SettingsError: ``--data`` does not fit the scenario.
    """
    open_folder(plan, fresh=fresh)
    try:
        run_once(plan, screen)
        if seeds > 1:
            _repeat(plan, screen, seeds)
        if plan.scenario.hostile:
            hold_against(plan, screen)
    except FedradError:
        if (plan.run / DATABASE).exists():
            screen.say(f"  what was finished: {write_report(plan.run)}")
        raise
    with screen.stage("writing the report"):
        return write_report(plan.run)


def run_once(plan: Plan, screen: Screen) -> None:
    """Run the study of one seed, or what is left of it; leaves everything but the report."""
    warm_up(("site_client.app", "simulations.baselines"))
    if not _read_mark(plan.run).get("built"):
        shutil.rmtree(plan.run / SITES, ignore_errors=True)  # half built
        build_hospitals(plan, screen)
        _write_mark(plan, built=True)
    with screen.stage("each hospital reads its own archive"):
        jobs = [(plan.run, site, plan.task) for site in plan.scenario.sites]
        stock = _in_parallel(premises.take_stock, jobs)
    contract = agree(plan, stock, screen)
    if not _is_federated(plan.run):
        federate(plan, contract, screen)
    if plan.task.monitoring is not None:
        watch(plan, contract, screen)
    facts.write(plan.run, contract, stock, banner=plan.scenario.banner)
    if plan.baselines and read_comparison(plan.run) is None:
        compare_arms(plan, contract, screen)


def _repeat(plan: Plan, screen: Screen, seeds: int) -> None:
    """Run the further seeds and put the spread into the first one's comparison."""
    for seed in range(plan.seed + 1, plan.seed + seeds):
        folder = plan.run / "seeds" / str(seed)
        again = replace(plan, run=folder, seed=seed)
        open_folder(again)
        screen.say(f"seed {seed}")
        run_once(again, screen)
        write_report(folder)
    folders = [plan.run, *sorted((plan.run / "seeds").iterdir(), key=lambda path: int(path.name))]
    merged = with_spread([read_comparison(folder) for folder in folders])
    if merged is not None:
        command = f"{plan.command} --seeds {seeds}"
        write_comparison(plan.run, replace(merged, command=command))


def hold_against(plan: Plan, screen: Screen) -> None:
    """Run a hostile study's two counterparts and score all three."""
    for name, other in contest.others(plan).items():
        screen.say(f"the same study, {contest.SAID[name]}")
        open_folder(other)
        run_once(other, screen)
    with screen.stage("scoring the honest hospitals"):
        contest.score(plan, read_contract(plan.run / CONTRACT))


def open_folder(plan: Plan, *, fresh: bool = False) -> None:
    """Make the plan's folder ready: empty, or holding this very run.

    Raises:
        RunError: It holds something else; only a run's own folder is removed, and only if
            ``fresh``.
    """
    run = plan.run
    if run.exists() and not run.is_dir():
        raise RunError(f"{run} is a file; choose another --out")
    if run.exists() and any(run.iterdir()):
        mark = _read_mark(run)
        if not mark:
            raise RunError(f"{run} holds something else than a run; choose another --out")
        if not fresh and mark.get("plan") == _digest(plan):
            return
        if not fresh:
            raise RunError(f"{run} holds another run; choose another --out or add --fresh")
        shutil.rmtree(run)
    run.mkdir(parents=True, exist_ok=True)
    _write_mark(plan, built=False)


def build_hospitals(plan: Plan, screen: Screen) -> None:
    """Write every hospital's archive and home."""
    sites = plan.scenario.sites
    if plan.scenario.public is not None and plan.data is not None:
        from simulations import public

        with screen.stage(f"writing {len(sites)} archives from the images in {plan.data}"):
            public.write_public(plan.run / SITES, plan.data, plan.scenario.public, seed=plan.seed)
    else:
        with screen.stage(f"writing the DICOM archives of {len(sites)} hospitals"):
            jobs = [
                (plan.run, spec, plan.seed, plan.scenario.splits)
                for spec in plan.scenario.archives()
            ]
            _in_parallel(_write_phantoms, jobs)
    for site in sites:
        premises.open_home(plan.run, site, plan.scenario, plan.task, seed=plan.seed)


def agree(plan: Plan, stock: Sequence[Stocked], screen: Screen) -> Contract:
    """Plan the contract over the sites that can take part, and sign it at each.

    Raises:
        RunError: Fewer than the quorum can.
    """
    able = {entry.site: entry.patients["train"] for entry in stock if not entry.problem}
    for entry in stock:
        if entry.problem:
            screen.say(f"  {entry.site} sits out: {entry.problem}")
    if len(able) < plan.task.federation.quorum:
        raise RunError(
            f"{len(able)} sites can take part, the quorum is {plan.task.federation.quorum}; "
            "mend the archives named above and run again"
        )
    with screen.stage("planning each site's noise"):
        contract = plan_contract(plan.task, plan.study, able)
        contract = replace(contract, starting=pinned(plan.task, _first_model(plan)))
    premises.sign(plan.run, plan.task, contract)
    return contract


def federate(plan: Plan, contract: Contract, screen: Screen) -> None:
    """Run the rounds on the chosen engine."""
    setup = _setup(plan, contract, screen)
    with screen.bar("federated rounds", plan.task.federation.rounds):
        _run(plan, contract, server_app(setup))


def watch(plan: Plan, contract: Contract, screen: Screen) -> None:
    """Put the last model into use, in the simulation's name, and collect the windows after it."""
    place = place_of(None, "", plan.run)
    with Store(plan.run / DATABASE) as store:
        used, last = promoted(store), read_lineage(store).stands
    if used is None:
        decider = Decider(by=SIMULATION, reason="nobody decides in a simulation")
        promote(place, last, decider, SystemClock(), insists=True)
    with screen.stage("collecting the windows after the release"):
        _run(plan, contract, watch_app(_setup(plan, contract, screen)))


def _setup(plan: Plan, contract: Contract, screen: Screen) -> RunSetup:
    first = _first_model(plan)
    return RunSetup(
        folder=plan.run,
        task=plan.task,
        contract=contract,
        initial=partial(whole, first),
        frozen=frozenset(frozen(first)),
        run=plan.study,
        seed=plan.seed,
        engine=plan.engine,
        versions={"banner": plan.scenario.banner, "scenario": plan.name},
        progress=screen,
        on_release=figures_of(plan.task, seed=plan.seed, most=contract.most_patients),
    )


def _run(plan: Plan, contract: Contract, app: ServerApp) -> None:
    names = tuple(sorted(contract.sites))
    if plan.scenario.hostile:
        app = eavesdropper.among(app, names, plan.scenario.hostile)
    taps = {name: Wiretap(plan.run, name, keep=plan.scenario.keep_wire) for name in names}
    ENGINES[plan.engine](app, names, _apps(plan, names), observer=partial(_overheard, taps))


def _apps(plan: Plan, names: tuple[str, ...]) -> ClientFactory:
    honest = partial(client_app, SimulatedSites(plan.run.absolute(), names, plan.seed))
    attacks = tuple(sorted(plan.scenario.hostile.items()))
    if not attacks:
        return honest
    return HostileApps(honest=honest, names=names, attacks=attacks, seed=plan.seed)


def compare_arms(plan: Plan, contract: Contract, screen: Screen) -> None:
    """Train the other arms and write ``comparison.json``."""
    start = checkpoints.model_path(plan.run, 0) if plan.task.model.initial else None
    study = Study(task=plan.task, contract=contract, seed=plan.seed, start=start)
    rates = plan.scenario.baselines.rates
    total = count_trainings(study, len(rates))
    with screen.bar("alone, pooled and federated without privacy", total):
        trained = train_arms(plan.run, study, rates, screen.step)
    with screen.stage("scoring every arm on the same test patients"):
        comparison = replace(compare(plan.run, study, trained), command=plan.command)
    last = checkpoints.latest_round(plan.run) or 0
    with screen.stage("scoring each hospital's own model at the others"):
        crossed = tuple(cross_rows(plan.run, study, trained))
    with Store(plan.run / DATABASE) as store:
        store.record_metric((*rows(comparison, last), *crossed))
        store.write_metrics_csv(plan.run / "metrics.csv")
    write_comparison(plan.run, comparison)


def _read_mark(run: Path) -> dict[str, Any]:
    path = run / MARK
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _write_mark(plan: Plan, *, built: bool) -> None:
    table = {"name": plan.name, "seed": plan.seed, "plan": _digest(plan), "built": built}
    durable.write_json(plan.run / MARK, table)


def _digest(plan: Plan) -> str:
    """Return what tells one plan from another, wherever its folder is."""
    said = repr(replace(plan, run=Path(), beside=Path(), command=""))
    return hashlib.sha256(said.encode("utf-8")).hexdigest()


def _is_federated(run: Path) -> bool:
    if not (run / DATABASE).exists():
        return False
    with Store(run / DATABASE) as store:
        return [row["status"] for row in store.rows("runs")] == ["done"]


def _first_model(plan: Plan) -> nn.Module:
    return starting_model(plan.task, seed=plan.seed, beside=plan.beside)


def _write_phantoms(run: Path, spec: HospitalSpec, seed: int, shares: Shares) -> None:
    monitored = Monitored(premises.split_key_of(spec.name, seed), shares)
    write_hospital(site_folder(run, spec.name), spec, seed=seed, monitored=monitored)


def _overheard(
    taps: dict[str, Wiretap], site: str, phase: str, number: int, content: bytes
) -> None:
    if site in taps:
        taps[site].record(f"{number:04d}-{phase}", content)


def _in_parallel(work: Callable[..., T], jobs: list[tuple[Any, ...]]) -> list[T]:
    with workers() as pool:
        futures: list[Future[T]] = [pool.submit(work, *job) for job in jobs]
        return [future.result() for future in futures]
