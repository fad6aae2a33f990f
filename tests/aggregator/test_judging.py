"""Windows of one model are judged by themselves: what was raised under another is another's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from test_hostile_windows import watched_task
from tiny_federation import tiny_setup
from window_patients import patients, window

from aggregator.judging import judge
from aggregator.setup import RunSetup
from aggregator.store import Store, report_rows
from aggregator.windows import Promoted


def tell(store: Store, model: Promoted, year: int) -> None:
    """Nine months at one site, the images brighter from August on."""
    for month in range(1, 10):
        rng = np.random.default_rng([model.round, month])
        own = patients(rng, brighter=0.8 if month >= 8 else 0.0)
        blocks = window(*own, key=100 * model.round + month).blocks
        digest, name = model.model_digest, f"{year}-{month:02d}-01"
        store.record(
            report_rows(model.round, "east", model_digest=digest, blocks=blocks, window=name)
        )


def alarms(setup: RunSetup, store: Store, model: Promoted) -> list[tuple[str, str]]:
    return [(one.window, one.channel) for one in judge(setup, store, model)]


def test_each_model_alarms_by_its_own_reference_and_once(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, watched_task())
    old, new = Promoted(3, "a" * 64), Promoted(9, "b" * 64)
    with Store(tmp_path / "run.sqlite") as store:
        tell(store, old, 2020)
        assert alarms(setup, store, old) == [("2020-09-01", "image")]
        assert alarms(setup, store, old) == []
        tell(store, new, 2021)
        assert alarms(setup, store, new) == [("2021-09-01", "image")]
        assert alarms(setup, store, new) == []
