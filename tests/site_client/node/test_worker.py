"""A runner is watched from outside and replaced; a site works in its hours only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from joined import Joined, open_hub

from fedrad.errors import DeclinedError, RunError, SettingsError
from fedrad.flower.bundle import bundle_digest
from fedrad.flower.tasks import CLIENT_TASK, Offer, Runtime
from fedrad.protocol.messages import SCHEMA
from site_client.node.launcher import Launcher
from site_client.node.start import keep_site
from site_client.node.worker import Worker
from site_client.settings import Resources, read_site
from site_client.settings_edit import put_values

NOBODY = Runtime("127.0.0.1:1")


def wait_for(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Joined:
    """Return homes of a coordinator and hospitals that approved its study."""
    found = open_hub(tmp_path_factory.mktemp("joined"))
    found.enrol()
    for name in ("east", "north", "south"):
        found.accept(name)
        found.approve(name)
    return found


@pytest.fixture
def home(joined: Joined, tmp_path: Path) -> Path:
    """Return a copy of a hospital's home, for its own settings."""
    import shutil

    shutil.copytree(joined.home("east"), tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def worker(home: Path) -> Iterator[Worker]:
    found = Worker(home, Resources())
    yield found
    found.end()


@pytest.mark.slow
def test_a_runner_is_replaced_when_it_is_too_large_too_slow_or_dead(
    home: Path, worker: Worker
) -> None:
    """One process for all three: it takes seconds to start."""
    worker.warm_up()
    wait_for(lambda: worker.finished() and worker.ready)
    assert worker.trouble() == ""
    pid = worker.pid
    worker.warm_up()
    assert worker.pid == pid
    worker.limits = Resources(memory_gib=0.05)
    assert "more memory than [resources] memory_gib = 0.05" in worker.trouble()
    worker.limits = Resources(task_hours=1e-9)
    worker.give(NOBODY.address, "token", b"\0" * 8)
    assert "longer than [resources] task_hours = 1e-09" in worker.trouble()
    wait_for(worker.finished)  # nobody answers there: it gives up and says so
    assert worker.lost
    assert not worker.begun
    assert not worker.died
    worker._child.process.kill()
    wait_for(lambda: "ended with status -9" in worker.trouble())
    assert worker.died


@pytest.mark.long
def test_a_runner_whose_software_was_not_approved_does_not_start(home: Path) -> None:
    put_values(home, "approval", {"software": ["0" * 64]})
    worker = Worker(home, read_site(home).resources)
    worker.warm_up()
    wait_for(lambda: bool(worker.trouble()))
    assert "ended with status 1" in worker.trouble()
    assert "not in [approval] software" in (home / "logs" / "runner.log").read_text()
    worker.end()


def launcher(home: Path) -> Launcher:
    return Launcher(home, NOBODY, b"0" * 64)


def test_a_closed_site_takes_no_task_and_starts_no_runner(home: Path) -> None:
    later = datetime.now() + timedelta(hours=3)  # noqa: DTZ005  # the machine's own time
    until = later + timedelta(minutes=5)
    put_values(home, "site", {"hours": f"{later:%H:%M}-{until:%H:%M}"})
    closed = launcher(home)
    assert not closed.open()
    closed.tend()
    assert closed.worker.pid == 0
    closed.end()


def test_a_slip_in_site_toml_closes_a_running_site_until_it_is_mended(home: Path) -> None:
    path, running = home / "site.toml", launcher(home)
    before = path.read_text()
    for wrong in ("[site", f"memory = 1\n{before}"):
        path.write_text(wrong)
        for _ in range(3):
            running.tend()
        assert not running.open()
    path.write_text(before)
    put_values(home, "resources", {"keep_warm": False})
    assert running.open()
    assert not running.worker.limits.keep_warm
    notes = (home / "audit.jsonl").read_text()
    assert notes.count('"warning"') == 2
    assert "memory" in notes
    running.end()


OURS = Offer(kind=CLIENT_TASK, run_id=1, bundle_digest=bundle_digest(SCHEMA), token="t")  # noqa: S106


@pytest.mark.parametrize(
    ("kind", "digest", "why"),
    [
        ("flwr-agentapp", OURS.bundle_digest, "it runs no flwr-agentapp"),
        ("flwr-model", OURS.bundle_digest, "it runs no flwr-model"),
        ("flwr-connector", OURS.bundle_digest, "it runs no flwr-connector"),
        ("flwr-serverapp", OURS.bundle_digest, "it runs no flwr-serverapp"),
        ("flwr-simulation", OURS.bundle_digest, "it runs no flwr-simulation"),
        (CLIENT_TASK, bundle_digest(SCHEMA + 1), "wire protocol"),
        (CLIENT_TASK, "", "is not the one without code"),
        (CLIENT_TASK, OURS.bundle_digest, ""),
    ],
)
def test_only_tasks_of_one_kind_and_one_bundle_are_worked_on(
    home: Path, kind: str, digest: str, why: str
) -> None:
    offer = Offer(kind=kind, run_id=1, bundle_digest=digest, token="t")  # noqa: S106
    found = launcher(home)._refusal(offer)
    assert why in found
    assert bool(found) == bool(why)


def test_a_task_is_refused_once_the_software_is_no_longer_approved(home: Path) -> None:
    put_values(home, "approval", {"software": ["0" * 64]})
    assert launcher(home)._refusal(OURS) == "its software is not the approved one"
    with pytest.raises(DeclinedError, match="not in"):
        keep_site(home, SimpleNamespace(asked=False))


def test_a_site_with_a_gpu_that_is_missing_does_not_start(home: Path) -> None:
    put_values(home, "resources", {"device": "cuda:7"})
    with pytest.raises(SettingsError, match="device 'cuda:7' is"):
        keep_site(home, SimpleNamespace(asked=False))


def test_a_site_that_joined_nobody_does_not_start(home: Path) -> None:
    (home / "keys" / "tls.pem").unlink()
    with pytest.raises(SettingsError, match="fedrad-site join"):
        keep_site(home, SimpleNamespace(asked=False))


def test_a_program_that_failed_to_start_leaves_the_lock_to_the_next(home: Path) -> None:
    for _ in range(2):
        put_values(home, "resources", {"device": "cuda:7"})
        with pytest.raises((SettingsError, RunError), match="device"):
            keep_site(home, SimpleNamespace(asked=False))
