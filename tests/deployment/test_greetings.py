"""Two ends that cannot work together say so before a round, each on its own screen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from deployed import STUDY, Federation

from aggregator.deployment import greetings, runs
from aggregator.deployment.gateway import GREETINGS
from aggregator.studies import read_study
from fedrad.errors import RunError, UnreachableError
from fedrad.flower.bundle import bundle_digest
from fedrad.flower.door import NodeOptions, http_client
from fedrad.flower.tasks import CLIENT_TASK, Offer, Runtime
from fedrad.protocol import versions
from fedrad.protocol.versions import Speaker
from site_client import audit
from site_client.node import greeting
from site_client.node.connector import node_options
from site_client.node.launcher import Launcher
from site_client.settings import read_site

pytestmark = pytest.mark.slow


def options(door: Federation, site: str) -> NodeOptions:
    home = door.homes.home(site)
    return node_options(home, read_site(home), port=1)


def says(door: Federation, site: str, wire: int, release: str) -> httpx.Response:
    """Greet as another fedrad would, with this site's own certificate and key."""
    given = options(door, site)
    with http_client(given) as client:
        return client.get(
            f"https://{given.address}{versions.PATH}",
            params={"wire": wire, "release": release},
            headers=greeting.key_header(door.homes.home(site)),
        )


def test_each_end_hears_what_the_other_speaks(door: Federation) -> None:
    heard = greeting.greet(door.homes.home("east"), options(door, "east"))
    assert heard == versions.ours()
    door.until(lambda: "east" in greetings.read_greetings(door.hub))
    assert greetings.read_greetings(door.hub)["east"].speaker == versions.ours()


def test_a_site_of_another_wire_protocol_is_named_before_a_round(door: Federation) -> None:
    """Also where its release sounds newer: the number of the protocol decides."""
    assert says(door, "north", versions.ours().wire + 1, "0.9.0").status_code == 200
    door.until(lambda: "north" in greetings.read_greetings(door.hub))
    rows = {row["site"]: row for row in runs.sites_table(door.hub)}
    assert (rows["north"]["wire"], rows["north"]["fedrad"]) == (versions.ours().wire + 1, "0.9.0")
    assert "update fedrad at this coordinator" in rows["north"]["trouble"]
    assert rows["east"]["trouble"] == ""
    study = read_study(door.hub, STUDY)
    assert [rows["north"]["trouble"]] == runs.warnings(door.hub, study)
    with pytest.raises(RunError, match=r"2 sites could answer and a round needs 3: site north"):
        runs.begin(door.hub, study)
    assert says(door, "north", versions.ours().wire, "0.1.9").status_code == 200
    door.until(lambda: not runs.warnings(door.hub, study))


def test_a_greeting_needs_the_certificate_and_the_key_of_one_hospital(door: Federation) -> None:
    given = options(door, "east")
    with http_client(given) as client:
        url = f"https://{given.address}{versions.PATH}?wire=1&release=1"
        assert client.get(url).status_code == 421
        other = greeting.key_header(door.homes.home("south"))
        assert client.get(url, headers=other).status_code == 421
    assert not any("release" in line for line in _log(door) if '"release":"1"' in line)


def test_what_a_hospital_says_cannot_break_the_coordinators_screen(door: Federation) -> None:
    assert says(door, "south", 1, '"}\n{"site":"CN=east","wire":"9').status_code == 200
    assert says(door, "south", 1, "\x1b[2J" * 9).status_code == 200
    door.until(lambda: len([line for line in _log(door) if "CN=south" in line]) > 1)
    assert greetings.read_greetings(door.hub)["east"].speaker == versions.ours()


def test_what_a_hospital_says_is_kept_only_as_long_as_a_release_is(door: Federation) -> None:
    """Greetings are written to disk; their length is not the hospital's to choose."""
    before = len(_log(door))
    assert says(door, "south", 1, "7" * 5000).status_code == 200
    assert says(door, "south", int("8" * 3000), "0.1.0").status_code == 200
    door.until(lambda: len(_log(door)) >= before + 2)
    assert max(map(len, _log(door))) < 300


def test_greetings_beyond_a_few_are_not_heard(door: Federation) -> None:
    found = [says(door, "south", 1, "0.1.0").status_code for _ in range(25)]
    assert set(found) == {200, 503}


def _log(door: Federation) -> list[str]:
    return (door.hub / "gateway" / GREETINGS).read_text(errors="replace").splitlines()


def test_only_the_last_greeting_of_each_hospital_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / GREETINGS
    path.parent.mkdir()
    line = {"site": "CN=east", "time": "1800000000.5", "wire": "1", "release": "0.1.0"}
    later = line | {"release": "0.1.2", "wire": "2"}
    path.write_text("\n".join([json.dumps(line), "torn {", json.dumps(later), ""]))
    before = greetings.read_greetings(tmp_path)
    greetings.trim(tmp_path)
    assert len(path.read_text().splitlines()) == 1
    assert greetings.read_greetings(tmp_path) == before
    assert before["east"].speaker == Speaker(2, "0.1.2")


def test_a_site_hears_of_a_difference_once_and_keeps_it(door: Federation, tmp_path: Path) -> None:
    """The answer is a file of the gateway's: here the coordinator's next fedrad wrote it."""
    home, told = door.homes.home("east"), []
    answer = door.hub / "gateway" / "fedrad.json"
    before = answer.read_bytes()
    other = replace(versions.ours(), wire=versions.ours().wire + 1, release="2.0.0")
    answer.write_text(versions.to_text(other))
    try:
        greeter = greeting.Greeter(home, options(door, "east"), told.append)
        door.until(lambda: bool(told))
        greeter._once()
        greeter.end()
    finally:
        answer.write_bytes(before)
    assert told == [other.difference("")]
    assert "update fedrad at this site" in told[0]
    assert greeting.read_note(home) == other
    notes = [note for note in audit.read(home) if note["kind"] == "warning"]
    assert [note["sentence"] for note in notes] == told


def test_a_task_of_another_wire_protocol_is_refused_with_the_end_to_update(
    door: Federation,
) -> None:
    """The bundle's digest says it: nothing of the task is opened."""
    source = Runtime("127.0.0.1:9")
    launcher = Launcher(door.homes.home("east"), source, b"secret")
    offer = Offer(CLIENT_TASK, 1, bundle_digest(versions.ours().wire + 1), "token")
    said = launcher._refusal(offer)
    launcher.end()
    assert f"the coordinator speaks wire protocol {versions.ours().wire + 1}" in said
    assert said.endswith("update fedrad at this site")


def test_a_coordinator_that_is_not_there_is_no_difference(door: Federation, tmp_path: Path) -> None:
    away = replace(options(door, "east"), address="localhost:9")
    with pytest.raises(UnreachableError, match="does not answer"):
        greeting.greet(door.homes.home("east"), away)
