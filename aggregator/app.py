"""The aggregator's Flower ServerApp: open the run folder, find the sites, run the rounds.

One factory serves every engine. However a run ends, its line in the store says how and why,
and what was finished stays readable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from sqlalchemy.exc import OperationalError

from aggregator.begin import HISTORY, METRICS, alone_in, begin
from aggregator.identify import identify_simulated, identify_sites
from aggregator.members import Members
from aggregator.resume import read_standing
from aggregator.run_folder import DATABASE
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.strategy import FedradStrategy
from fedrad.errors import FedradError, RunError


def server_app(setup: RunSetup) -> ServerApp:
    """Build the app that runs ``setup`` once, on whatever grid it is called with.

    Called, the app raises ``RunError`` for a run that cannot start or go on, and
    ``KeyboardInterrupt`` for one that was interrupted.
    """

    def main(grid: Grid, context: Context) -> None:
        del context
        with (
            alone_in(setup.folder),
            Store(setup.folder / DATABASE, setup.clock) as store,
            _recorded(setup, store),
        ):
            standing = read_standing(setup, store)
            members = _join(setup, store, grid)
            strategy = FedradStrategy(setup, store, members, standing)
            strategy.start(grid, ArrayRecord())

    app = ServerApp()
    app.main()(main)
    return app


@contextmanager
def _recorded(setup: RunSetup, store: Store) -> Iterator[None]:
    """Open the run's line, and close it with how the run ended."""
    try:
        begin(setup, store)
    except (OSError, OperationalError) as error:
        raise RunError(_cannot_write(error, setup)) from error
    status, reason = "failed", ""
    try:
        yield
        status = "done"
    except KeyboardInterrupt:
        status, reason = "interrupted", "interrupted by a person"
        raise
    except FedradError as error:
        status, reason = "stopped", str(error)
        raise
    except (OSError, OperationalError) as error:
        reason = _cannot_write(error, setup)
        raise RunError(reason) from error
    finally:
        with suppress(OSError, OperationalError):  # a full disk must not hide why it ended
            store.end_run(setup.run, status=status, reason=reason)
            store.write_metrics_csv(setup.folder / METRICS)
            store.write_history(setup.folder / HISTORY)


def _cannot_write(error: OSError | OperationalError, setup: RunSetup) -> str:
    return f"the run cannot write its files: {_where(error, setup)}; free some space there"


def _where(error: OSError | OperationalError, setup: RunSetup) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or setup.folder}: {error.strerror}"
    return f"{setup.folder / DATABASE}: {error.orig}"


def _join(setup: RunSetup, store: Store, grid: Grid) -> Members:
    """Find the sites, record who is there, and refuse to start without a quorum."""
    plan = setup.task.federation
    if setup.identify is None:
        find = identify_simulated if setup.simulated else identify_sites
        nodes = find(grid, setup.contract, clock=setup.clock, deadline_s=plan.deadline_s)
    else:
        nodes = setup.identify(grid)
    present, trainers = set(nodes.values()), set(setup.contract.trainers)
    members = Members(setup, store, nodes)
    if len(present & trainers) < plan.quorum:
        missing = sorted(trainers - present)
        raise RunError(
            f"{len(present & trainers)} sites are there and the quorum is {plan.quorum}; "
            f"missing: {', '.join(missing) or 'none, the contract names too few'}"
        )
    return members
