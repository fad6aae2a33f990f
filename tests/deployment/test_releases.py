"""A running study in which one site is a patch behind and another a patch ahead.

Each of them runs a copy of fedrad with another version, installed on a path of its own and
approved by its own IT; the wire protocol is the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import PROGRAM, SITES, Federation, make_homes, need_nginx
from releases import copy_of, replies_of

import fedrad
from aggregator.deployment import runs
from fedrad.protocol.messages import SCHEMA

pytestmark = pytest.mark.long
BEHIND, AHEAD = "0.0.9", "0.1.1"
RELEASES = {"east": BEHIND, "north": AHEAD, "south": fedrad.__version__}


def site(home: Path, code: Path, *words: str) -> str:
    """Run one of the hospital's commands with that copy."""
    line = [sys.executable, "-c", PROGRAM.format(module="site_client"), *words, "--home", str(home)]
    found = os.environ | {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
    ended = subprocess.run(line, capture_output=True, text=True, env=found, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    need_nginx()
    folder = tmp_path_factory.mktemp("mixed")
    running = Federation(make_homes(folder, "federation.rounds=2", "evaluation.every_rounds=2"))
    running.start("hub", "aggregator", running.hub)
    for name, release in RELEASES.items():
        code = copy_of(release, folder / f"release-{release}")
        site(running.homes.home(name), code, "approve", "--software", "--name=Bo", "--role=IT")
        running.start(name, "site_client", running.homes.home(name), code)
    running.until_online()
    yield running
    running.close()


def test_sites_a_patch_behind_and_a_patch_ahead_take_part_in_every_round(mixed: Federation) -> None:
    line = [sys.executable, "-c", PROGRAM.format(module="aggregator"), "run", "--json"]
    ended = subprocess.run(
        [*line, "--home", str(mixed.hub)], capture_output=True, text=True, timeout=500, check=False
    )
    assert ended.returncode == 0, ended.stderr + mixed.logs()
    assert json.loads(ended.stdout)["outcome"] == "completed"
    assert "warning" not in ended.stderr
    replies = replies_of(mixed)
    trained = replies[(replies["phase"] == "train") & (replies["outcome"] == "done")]
    assert sorted(trained["site"]) == sorted([*SITES, *SITES])


def test_the_coordinator_shows_which_release_each_site_runs(mixed: Federation) -> None:
    mixed.until(lambda: {one["wire"] for one in runs.sites_table(mixed.hub)} == {1})
    table = {one["site"]: one for one in runs.sites_table(mixed.hub)}
    assert {name: one["fedrad"] for name, one in table.items()} == RELEASES
    assert not any(one["trouble"] for one in table.values())


def test_a_site_of_another_wire_protocol_is_named_on_both_screens_before_a_round(
    mixed: Federation,
) -> None:
    """Its program starts, greets, and says itself which end must be updated."""
    home = mixed.homes.home("south")
    mixed.children["south"].end()
    code = copy_of("1.0.0", mixed.homes.folder / "release-1.0.0", wire=SCHEMA + 1)
    site(home, code, "approve", "--software", "--name=Bo", "--role=IT")
    mixed.start("south", "site_client", home, code)
    mixed.until(lambda: bool(trouble(mixed)["south"]))
    assert f"speaks wire protocol {SCHEMA + 1} (fedrad 1.0.0)" in trouble(mixed)["south"]
    assert trouble(mixed)["south"].endswith("update fedrad at this coordinator")
    assert (trouble(mixed)["east"], trouble(mixed)["north"]) == ("", "")
    screen = mixed.homes.folder / "south.log"
    mixed.until(lambda: "update fedrad at the coordinator" in screen.read_text())
    line = [sys.executable, "-c", PROGRAM.format(module="aggregator"), "run", "--home"]
    ended = subprocess.run([*line, str(mixed.hub)], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"warning: site south speaks wire protocol {SCHEMA + 1}" in ended.stderr


def trouble(mixed: Federation) -> dict[str, str]:
    return {one["site"]: one["trouble"] for one in runs.sites_table(mixed.hub)}
