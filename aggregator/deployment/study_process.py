"""The program of one study's run: ``python -m aggregator.deployment.study_process``.

The launcher gives it the home and the task's token on its standard input, where no other
process can read them. It runs the installed ServerApp; whatever bundle the run was started
with is not looked at.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context
from flwr.serverapp import Grid

from aggregator.app import server_app
from aggregator.deployment.superlink import runtime
from aggregator.home import AUDIT
from aggregator.identify import identify_sites
from aggregator.registry import read_sites
from aggregator.release import figures_of
from aggregator.run_folder import DATABASE
from aggregator.setup import RunSetup
from aggregator.studies import Study, read_study, run_folder
from aggregator.windows import COMPARISON, WINDOWS
from fedrad import flower
from fedrad.clock import SystemClock
from fedrad.contract import Contract
from fedrad.errors import FedradError, RunError
from fedrad.flower.keys import bytes_of_key
from fedrad.flower.serving import serve
from fedrad.parameters import Parameters, frozen, whole
from fedrad.progress import Pace
from fedrad.starting_weights import starting_model

if TYPE_CHECKING:
    from aggregator.watch import Collected

ENGINE = "deployment"
_log = logging.getLogger(__name__)


class LoggedProgress:
    """Tells the run's log how far the run is, in lines that a person follows."""

    def __init__(self) -> None:
        self._pace = Pace()

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Say which round begins, and how long the rest may take."""
        rest = self._pace.left(committed, rounds)
        _log.info("round %d begins; %d of %d are finished%s", round_number, committed, rounds, rest)

    def waiting_for(self, phase: str, sites: Collection[str]) -> None:
        """Say who has not answered yet."""
        if sites:
            _log.info("%s: waiting for %s", phase, ", ".join(sorted(sites)))

    def round_closed(self, round_number: int, state: str) -> None:
        """Say how it ended."""
        _log.info("round %d is %s", round_number, state)

    def evaluation_done(self, round_number: int) -> None:
        """Say that its model is measured."""
        _log.info("the model of round %d is evaluated", round_number)


def study_of(home: Path, name: str) -> Callable[[Grid, Context], None]:
    """Return what runs study ``name`` on a grid.

    Raises:
        SettingsError: There is no such study.
    """
    if name.endswith(WINDOWS):
        return partial(_watch, home, read_study(home, name.removesuffix(WINDOWS)))
    if COMPARISON in name:
        study, _, number = name.partition(COMPARISON)
        return partial(_compare, home, read_study(home, study), int(number))
    return partial(_run, home, read_study(home, name))


def run_setup(home: Path, study: Study) -> RunSetup:
    """Return the run of a study as the coordinator's home describes it."""
    still = frozen(starting_model(study.task, seed=study.seed, beside=study.folder))
    return RunSetup(
        folder=run_folder(home, study.name),
        task=study.task,
        contract=study.contract,
        initial=partial(_first_model, study),
        frozen=frozenset(still),
        run=study.name,
        seed=study.seed,
        engine=ENGINE,
        audit=home / AUDIT,
        identify=partial(identify_enrolled, home, study.contract, study.task.federation.deadline_s),
        look=partial(identify_enrolled, home, study.contract, 0.0),
        progress=LoggedProgress(),
        on_release=figures_of(study.task, seed=study.seed, most=study.contract.most_patients),
    )


def _first_model(study: Study) -> Parameters:
    return whole(starting_model(study.task, seed=study.seed, beside=study.folder))


def identify_enrolled(
    home: Path, contract: Contract, deadline_s: float, grid: Grid
) -> dict[int, str]:
    """Return node id to site, for nodes whose registered key is their site's own today.

    Raises:
        RunError: Two nodes have one site's name, or a node has another's key.
    """
    sites = read_sites(home)
    keys = {name: bytes_of_key(site.node_key) for name, site in sites.items() if site.live}
    found = identify_sites(grid, contract, clock=SystemClock(), deadline_s=deadline_s)
    registered = {int(node.node_id): bytes(node.public_key) for node in grid.get_nodes()}
    for node, name in found.items():
        if registered.get(node) != keys.get(name, b""):
            raise RunError(f"the node named {name!r} has not that site's key; register it again")
    return found


def _run(home: Path, study: Study, grid: Grid, context: Context) -> None:
    setup = run_setup(home, study)
    setup.folder.mkdir(parents=True, exist_ok=True)
    try:
        server_app(setup)(grid, context)
    finally:
        if (setup.folder / DATABASE).exists():
            _report(setup.folder)


def _watch(home: Path, study: Study, grid: Grid, context: Context) -> None:
    from aggregator.watch_app import watch_app

    setup = run_setup(home, study)
    watch_app(setup, _log_windows)(grid, context)
    _report(setup.folder)


def _compare(home: Path, study: Study, number: int, grid: Grid, context: Context) -> None:
    from aggregator.watch_app import compare_app

    compare_app(run_setup(home, study), number)(grid, context)


def _report(folder: Path) -> None:
    from aggregator.report import write_report

    _log.info("report: %s", write_report(folder))


def _log_windows(found: Collected) -> None:
    _log.info("windows collected: %s", ", ".join(found.windows) or "none that was not there")
    for alarm in found.alarms:
        _log.info("alarm: %s, %s since %s", alarm.site, alarm.kind, alarm.since_window)


def main() -> None:
    """Run the study of the task that the launcher took."""
    given = json.loads(sys.stdin.read())
    home = Path(given["home"])
    flower.quiet()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        serve(runtime(home), given["token"], partial(study_of, home))
    except FedradError as error:  # how studies end that cannot go on: Flower was told
        _log.error("the study stops: %s", error)  # a sentence, no traceback
        sys.exit(1)


if __name__ == "__main__":
    main()
