"""Twenty enrolled hospitals on one machine: each its own key and node, two runners at a time."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import deployed
import pytest
from deployed import PROGRAM, STUDY, Federation, Homes, enrol_all, need_nginx
from tiny_study import SEED, tiny_scenario, tiny_task

from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import run_folder
from fedrad.flower.tasks import Runtime
from fedrad.processes import Child, free_port
from simulations import premises
from simulations.hospital import HospitalSpec, write_hospital
from simulations.places import site_folder
from simulations.scenario import Limits
from site_client.node.connector import connector_plan, new_secret
from site_client.node.launcher import Launcher

pytestmark = pytest.mark.long

NAMES = tuple(f"site{number:02}" for number in range(20))
MOST_RUNNERS = 2
ALL = ("federation.rounds=1", "federation.quorum=20", "federation.deadline_s=1800.0")
ON_DEMAND = "\n[resources]\nkeep_warm = false\n"


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Homes:
    """Twenty hospitals that approved; all of them must answer for a round to count."""
    need_nginx()
    monkeypatch.setattr(deployed, "SITES", NAMES)
    found, task = Homes(tmp_path), tiny_task(*ALL)
    specs = tuple(HospitalSpec(name=name, patients=24, size=64) for name in NAMES)
    limits = {name: Limits(epsilon_limit=50.0, min_patients=1) for name in NAMES}
    scenario = tiny_scenario(limits=limits, hospitals=specs)
    write_hospital(site_folder(tmp_path, NAMES[0]), specs[0], seed=SEED)
    for name in NAMES:
        if name != NAMES[0]:
            shutil.copytree(site_folder(tmp_path, NAMES[0]), site_folder(tmp_path, name))
    for name in NAMES:
        premises.open_home(tmp_path, name, scenario, task, seed=SEED)
        with (found.home(name) / "site.toml").open("a") as file:
            file.write(ON_DEMAND)
        found.join(name, patients=20)
    enrol_all(found, task)
    for name in NAMES:
        found.approve(name)
    return found


class Nodes:
    """The twenty nodes, and their launchers in this process."""

    def __init__(self, running: Federation, stack: ExitStack) -> None:
        self.launchers: list[Launcher] = []
        self.most = 0
        for name in NAMES:
            home, port = running.homes.home(name), free_port()
            secret = new_secret(home)
            running.children[name] = Child(connector_plan(home, port))
            launcher = Launcher(home, Runtime(f"127.0.0.1:{port}"), secret)
            stack.callback(launcher.end)
            self.launchers.append(launcher)

    def tend(self) -> None:
        """Look after tasks that are worked on; let another begin where there is room."""
        for launcher in self.launchers:
            busy = sum(one.busy for one in self.launchers)
            self.most = max(self.most, busy)
            if launcher.busy or busy < MOST_RUNNERS:
                launcher.tend()
        time.sleep(0.1)


@pytest.fixture
def running(homes: Homes) -> Iterator[tuple[Federation, Nodes]]:
    federation = Federation(homes)
    federation.start("hub", "aggregator", homes.hub)
    federation.until(lambda: federation.online() is not None)
    with ExitStack() as stack:
        stack.callback(federation.close)
        yield federation, Nodes(federation, stack)


def test_a_round_of_twenty_hospitals_completes(running: tuple[Federation, Nodes]) -> None:
    federation, nodes = running
    federation.until_online(NAMES, 400.0)
    words = ("run", "--home", str(federation.hub))
    line = [sys.executable, "-c", PROGRAM.format(module="aggregator"), *words]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as study:
        while study.poll() is None:
            nodes.tend()
        assert study.returncode == 0, (study.stderr and study.stderr.read(), federation.logs())
    with Store(run_folder(federation.hub, STUDY) / DATABASE) as store:
        replies = store.frame("replies").query("phase == 'train' and outcome == 'done'")
    assert sorted(replies["site"]) == list(NAMES)
    assert nodes.most == MOST_RUNNERS
