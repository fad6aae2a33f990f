"""Any process is killed without a word, in the middle of a study: the study goes on.

One federation and one study for the whole file; ``make test-long`` runs it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from connect_proxy import ConnectProxy
from deployed import PROGRAM, SITES, STUDY, Federation, make_homes, need_nginx

from aggregator.checkpoints import latest_round, read_round
from aggregator.home import read_coordinator
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import run_folder
from site_client.settings_edit import put_values

pytestmark = pytest.mark.long
ROUNDS = 12


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    need_nginx()
    settings = (
        f"federation.rounds={ROUNDS}",
        "federation.spare_rounds=12",
        "federation.deadline_s=240",
        "privacy.noise_multiplier=12.0",
        "evaluation.every_rounds=50",
    )
    homes = make_homes(tmp_path_factory.mktemp("kills"), *settings)
    proxy = ConnectProxy("site", "s3cret", idle_s=2.0, most_bytes=250_000)
    password = homes.home("east") / "password"
    password.write_text("s3cret\n")
    password.chmod(0o600)
    put_values(
        homes.home("east"),
        "proxy",
        {"address": proxy.address, "user": "site", "password_file": "password"},
    )
    running = Federation(homes)
    running.open()
    running.until_online()
    yield running
    running.close()
    assert proxy.cut, "no idle connection was cut"
    assert proxy.capped, "no connection carried too much"
    assert set(proxy.opened) == {read_coordinator(homes.hub).coordinator.address}


@pytest.fixture(scope="module")
def study(federation: Federation) -> Iterator[list[subprocess.Popen[str]]]:
    runs = [begin(federation)]
    yield runs
    for run in runs:
        run.kill()
        run.wait()


def begin(federation: Federation) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", PROGRAM.format(module="aggregator"), "run"]
    log = (federation.homes.folder / "run.log").open("a")
    return subprocess.Popen([*line, "--home", str(federation.hub)], stdout=log, stderr=log)


def committed(federation: Federation) -> int:
    folder = run_folder(federation.hub, STUDY)
    last = latest_round(folder) if folder.exists() else None
    return read_round(folder, last)[0].committed if last else 0


def one_more_round(federation: Federation, more: int = 1) -> None:
    wanted = min(committed(federation) + more, ROUNDS)
    federation.until(lambda: committed(federation) >= wanted, 600.0)


def test_a_round_is_committed_before_anything_is_killed(federation, study) -> None:
    one_more_round(federation)


def test_the_runner_is_replaced_and_the_site_takes_part_again(federation, study) -> None:
    home = str(federation.homes.home("east"))
    federation.kill(f"site_client.node.runner {home}")
    one_more_round(federation)
    assert federation.pids(f"site_client.node.runner {home}")


def test_the_node_comes_back_although_flower_refuses_it_for_a_minute(federation, study) -> None:
    federation.kill(f"site_client.node.connector {federation.homes.home('north')}")
    one_more_round(federation)
    federation.until_online(wait_s=180.0)


def test_the_superlink_comes_back_and_the_round_goes_on(federation, study) -> None:
    federation.kill("aggregator.deployment.superlink")
    one_more_round(federation)


def test_the_gateway_comes_back_and_the_round_goes_on(federation, study) -> None:
    federation.kill("nginx: master")
    one_more_round(federation)


def test_an_outage_of_twelve_seconds_is_survived(federation, study) -> None:
    """The command that would start the gateway again is held meanwhile."""
    keeper = federation.children["hub"].process
    keeper.send_signal(signal.SIGSTOP)
    master = federation.kill("nginx: master")
    os.killpg(master, signal.SIGKILL)  # its workers
    time.sleep(12)
    keeper.send_signal(signal.SIGCONT)
    one_more_round(federation, more=2)


def test_a_site_whose_start_was_killed_leaves_nothing_and_comes_back(federation, study) -> None:
    home = federation.homes.home("south")
    federation.children["south"].process.kill()
    federation.children.pop("south").process.wait()
    federation.until(lambda: not federation.pids(str(home)))
    federation.start("south", "site_client", home)
    one_more_round(federation)


def test_a_study_whose_program_was_killed_goes_on_by_itself(federation, study) -> None:
    """Nobody calls run again, and the command that waits for the end goes on waiting."""
    for _ in range(2):
        killed = set(federation.study_pids())
        federation.kill_study()
        federation.until(lambda gone=killed: bool(set(federation.study_pids()) - gone))
        one_more_round(federation)
    assert study[-1].poll() is None


def test_a_coordinator_whose_start_was_killed_leaves_nothing_and_goes_on(federation, study) -> None:
    before = committed(federation)
    federation.children["hub"].process.kill()
    federation.children.pop("hub").process.wait()
    study[-1].wait(180)
    federation.until(lambda: not federation.pids(str(federation.hub)))
    federation.start("hub", "aggregator", federation.hub)
    federation.until(lambda: bool(federation.study_pids()))  # nobody has called run
    federation.until_online(wait_s=240.0)
    study.append(begin(federation))  # joins the run that goes on
    assert study[-1].wait(900) == 0, federation.logs()
    assert before < committed(federation) == ROUNDS


def test_no_round_was_lost_or_counted_twice(federation, study) -> None:
    with Store(run_folder(federation.hub, STUDY) / DATABASE) as store:
        rounds, replies = store.frame("rounds"), store.frame("replies")
    states = rounds["state"].value_counts().to_dict()
    assert states.get("committed", 0) + states.get("evaluated", 0) == ROUNDS
    done = replies[(replies["phase"] == "train") & (replies["outcome"] == "done")]
    assert not done.duplicated(["round", "site"]).any()
    assert set(done["site"]) == set(SITES)
