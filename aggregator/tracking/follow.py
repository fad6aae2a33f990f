"""Tell a tracker of runs while they go on: ``python -m aggregator.tracking.follow HOME``.

``fedrad-aggregator start`` keeps it running where ``[trackers] mlflow`` names a tracker. It reads
records and writes none. A tracker that does not answer is asked again later; nothing else happens.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from aggregator.home import read_coordinator
from aggregator.run_folder import DATABASE, read_run
from aggregator.studies import run_folder, study_names
from aggregator.tracking.told import Told, told
from fedrad.clock import Clock, SystemClock
from fedrad.errors import FedradError
from fedrad.processes import Plan, Stop
from fedrad.progress import Say

EVERY_S, LATER_S = 5.0, 60.0  # between two looks; after the tracker did not answer
_TICK_S = 0.25


class Sink(Protocol):
    """Where it is sent."""

    def send(self, told: Told) -> int:
        """Send what is not there yet; return how many points were."""


class Asked(Protocol):
    """Whether to end."""

    @property
    def asked(self) -> bool:
        """Whether a person or the system asked to end."""


def plan_of(home: Path) -> tuple[Plan, ...]:
    """Return how to start this program; nothing where no tracker is named.

    Raises:
        SettingsError: ``aggregator.toml`` cannot be used.
    """
    if not read_coordinator(home).trackers.mlflow:
        return ()
    command = (sys.executable, "-m", "aggregator.tracking.follow", str(home))
    return (Plan(name="tracker", command=command, log=home / "superlink" / "tracker.log"),)


def recorded(home: Path) -> dict[str, Path]:
    """Return the runs of a coordinator's home that recorded something, by study."""
    folders = {name: run_folder(home, name) for name in study_names(home)}
    return {name: one for name, one in folders.items() if (one / DATABASE).is_file()}


def follow(
    runs: Callable[[], Mapping[str, Path]], sink: Sink, *, say: Say, stop: Asked, clock: Clock
) -> None:
    """Send what runs recorded, until ``stop``; whatever goes wrong is said and tried again.

    Args:
        runs: Asked at every look, because studies come and go.
        sink: Where to.
        say: Told what was sent, and what went wrong.
        stop: When to end.
        clock: What waits.
    """
    seen: dict[Path, object] = {}
    while not stop.asked:
        wait_s = EVERY_S
        for name, folder in runs().items():
            written = _written(folder)
            if seen.get(folder) == written:
                continue
            try:
                count = sink.send(told(read_run(folder)))
            except FedradError as error:
                say(f"{name}: {error}")
                wait_s = LATER_S
            else:
                seen[folder] = written
                say(f"{name}: {count} new points sent")
        _wait(wait_s, stop, clock)


def _wait(wait_s: float, stop: Asked, clock: Clock) -> None:
    until = clock.monotonic_s() + wait_s
    while not stop.asked and clock.monotonic_s() < until:
        clock.sleep(_TICK_S)


def _written(folder: Path) -> object:
    paths = (folder / DATABASE, folder / f"{DATABASE}-wal")
    return tuple((p.stat().st_mtime_ns, p.stat().st_size) for p in paths if p.exists())


def main(home: Path) -> None:
    """Follow the studies of a coordinator until a signal."""
    from aggregator.tracking.mlflow_sink import MlflowSink

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stop, log = Stop(), logging.getLogger(__name__)
    sink = MlflowSink(read_coordinator(home).trackers.mlflow)
    follow(lambda: recorded(home), sink, say=log.info, stop=stop, clock=SystemClock())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
