"""What a coordinator is told before anything starts: a study that is over, a port wanted twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from joined import STUDY, Joined, open_hub

from aggregator.deployment import runs
from aggregator.home import read_coordinator
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import read_study, run_folder
from aggregator.tables import Run
from fedrad.errors import RunError, SettingsError, UnreachableError

ROW = {"task_hash": "", "started": "", "seed": 1, "engine": "", "versions_json": ""}


@pytest.fixture
def joined(tmp_path: Path) -> Joined:
    """A coordinator whose server does not run."""
    made = open_hub(tmp_path)
    made.enrol()
    return made


def ended(hub: Path, status: str) -> None:
    folder = run_folder(hub, STUDY)
    folder.mkdir(parents=True)
    with Store(folder / DATABASE) as store:
        store.record_run(Run(run=STUDY, study=STUDY, **ROW))
        store.end_run(STUDY, status=status, reason="")


def test_a_study_whose_rounds_are_over_is_not_begun_again(joined: Joined) -> None:
    ended(joined.hub, "done")
    with pytest.raises(RunError, match=r"rounds of demo are over, see .*report\.html"):
        runs.begin(joined.hub, read_study(joined.hub, STUDY))


def test_a_study_that_failed_may_be_begun_again(joined: Joined) -> None:
    ended(joined.hub, "failed")
    with pytest.raises(UnreachableError, match="does not answer"):  # it asked the server
        runs.begin(joined.hub, read_study(joined.hub, STUDY))


@pytest.mark.parametrize("listen", ["0.0.0.0:9443", "127.0.0.1:9450", "[::]:9443"])
def test_a_gateway_on_a_port_of_flowers_server_is_named(joined: Joined, listen: str) -> None:
    path = joined.hub / "aggregator.toml"
    path.write_text(path.read_text().replace("127.0.0.1:8443", listen))
    with pytest.raises(SettingsError, match="Flower's server wants port"):
        read_coordinator(joined.hub)
