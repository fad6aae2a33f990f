"""The aggregator's other ServerApps: collect the windows of the model in use, compare two models.

One factory serves every engine, as ``app`` does; the run folder is that of the rounds, and
whoever collects is alone in it.
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from aggregator.begin import HISTORY, METRICS, alone_in
from aggregator.identify import identify_simulated, identify_sites
from aggregator.members import Members
from aggregator.paired import Compared, compare
from aggregator.run_folder import DATABASE
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.watch import Collected, Watch
from fedrad.errors import RunError

Told = Callable[[Collected], None]
Work = Callable[[Store, Members, Grid], None]


def watch_app(setup: RunSetup, told: Told = lambda _: None) -> ServerApp:
    """Build the app that collects the windows of ``setup``'s run, on whatever grid it meets.

    Called, the app raises ``RunError`` where no model is in use, or the folder holds no run.

    Args:
        setup: The run, as it was for its rounds.
        told: Is given what came.
    """
    return _app(
        setup, lambda store, members, grid: told(Watch(setup, store, members).collect(grid))
    )


def compare_app(
    setup: RunSetup, number: int, told: Callable[[Compared], None] = lambda _: None
) -> ServerApp:
    """Build the app that has a round's model compared with the one in use.

    Called, the app raises as ``paired.compare`` does, or ``RunError``: the folder holds no run.
    """
    return _app(
        setup,
        lambda store, members, grid: told(compare(setup, store, members, grid=grid, number=number)),
    )


def _app(setup: RunSetup, work: Work) -> ServerApp:
    def main(grid: Grid, context: Context) -> None:
        del context
        if not (setup.folder / DATABASE).is_file():
            raise RunError(f"{setup.folder} holds no run; train a model first")
        with alone_in(setup.folder), Store(setup.folder / DATABASE, setup.clock) as store:
            members = Members(setup, store, _nodes(setup, grid))
            try:
                work(store, members, grid)
            finally:
                store.write_metrics_csv(setup.folder / METRICS)
                store.write_history(setup.folder / HISTORY)

    app = ServerApp()
    app.main()(main)
    return app


def _nodes(setup: RunSetup, grid: Grid) -> dict[int, str]:
    if setup.identify is not None:
        return setup.identify(grid)
    find = identify_simulated if setup.simulated else identify_sites
    wait_s = setup.task.federation.deadline_s
    return find(grid, setup.contract, clock=setup.clock, deadline_s=wait_s)
