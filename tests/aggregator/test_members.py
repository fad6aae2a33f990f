"""Sites that come late, go, come back under another node, or whose nodes are unclear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from flwr.serverapp import Grid
from tiny_federation import SITES, TinySites, tiny_setup, tiny_task

from aggregator.app import server_app
from aggregator.identify import identify_sites
from aggregator.members import Members
from aggregator.setup import RunSetup, Silent
from aggregator.store import Store
from fedrad.errors import RunError
from simulations.engines import run_local
from simulations.grid import LocalGrid
from simulations.pool import Inline

LENIENT = tiny_task(rounds=4, rule={"name": "mean", "ceiling": 1e9})


class Rounds(Silent):
    """Knows the round that is next."""

    next = 1

    def round_started(self, round_number: int, *, committed: int, rounds: int) -> None:
        """Count."""
        del committed, rounds
        self.next = round_number + 1


def run(folder: Path, who: Callable[[int, dict[int, str]], dict[int, str]]) -> RunSetup:
    """Run while ``who`` says which nodes are there at the start of each round."""
    rounds, base = Rounds(), tiny_setup(folder, LENIENT)

    def look(grid: Grid) -> dict[int, str]:
        every = identify_sites(grid, base.contract, clock=base.clock, deadline_s=0)
        return who(rounds.next, every)

    setup = replace(base, progress=rounds, look=look, identify=look)
    run_local(server_app(setup), SITES, TinySites(), workers=0)
    return setup


def without(nodes: dict[int, str], name: str) -> dict[int, str]:
    return {node: site for node, site in nodes.items() if site != name}


def table(setup: RunSetup, name: str) -> pd.DataFrame:
    with Store(setup.folder / "run.sqlite") as store:
        return store.frame(name)


def asked(setup: RunSetup, site: str) -> list[int]:
    return sorted(table(setup, "replies").query("site == @site and phase == 'train'")["round"])


def comings(setup: RunSetup, site: str) -> list[tuple[str, int]]:
    events = table(setup, "events").query("site == @site").sort_values("seq")
    told = events[events["kind"].isin(["joined", "left", "came-back"])]
    return list(zip(told["kind"], told["round"], strict=True))


def test_a_site_that_comes_late_takes_part_from_the_next_round_on(tmp_path: Path) -> None:
    setup = run(tmp_path, lambda number, all_: all_ if number > 2 else without(all_, "west"))
    assert asked(setup, "west") == [3, 4]
    assert comings(setup, "west") == [("joined", 3)]
    assert set(table(setup, "sites")["status"]) == {"joined"}


def test_a_site_that_went_is_still_asked_and_said_to_be_away(tmp_path: Path) -> None:
    """Its answer may come in time; if not, its silence is a row."""
    setup = run(tmp_path, lambda number, all_: all_ if number != 2 else without(all_, "west"))
    assert asked(setup, "west") == [1, 2, 3, 4]
    assert comings(setup, "west") == [("joined", 0), ("left", 2), ("came-back", 3)]
    row = table(setup, "sites").set_index("site").loc["west"]
    assert (row["status"], row["left"]) == ("joined", "")


def test_a_site_whose_node_changed_is_asked_where_it_is_now(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, LENIENT, look=lambda _: {9: "west"})
    with Store(tmp_path / "run.sqlite") as store:
        members = Members(setup, store, {2: "west", 1: "east"})
        members.look(LocalGrid(SITES, Inline(list(SITES), TinySites())), 1)
    assert list(members.asked.items()) == [(1, "east"), (9, "west")]


def test_nodes_that_are_unclear_in_mid_run_change_nothing_and_are_an_event(tmp_path: Path) -> None:
    def clone(number: int, every: dict[int, str]) -> dict[int, str]:
        if number == 2:
            raise RunError("two nodes answer for site 'west'")
        return every

    setup = run(tmp_path, clone)
    assert asked(setup, "west") == [1, 2, 3, 4]
    (event,) = table(setup, "events").query("kind == 'nodes-unclear'").to_dict("records")
    assert "two nodes" in event["detail_json"]


def test_a_restart_says_nothing_new_of_who_was_there_already(tmp_path: Path) -> None:
    class Stopping(Silent):
        def round_closed(self, round_number: int, state: str) -> None:
            raise KeyboardInterrupt

    setup = tiny_setup(tmp_path, LENIENT)
    for progress in (Stopping(), Stopping(), Silent()):
        try:
            own = replace(setup, progress=progress)
            run_local(server_app(own), SITES, TinySites(), workers=0)
        except KeyboardInterrupt:
            continue
    assert comings(setup, "west") == [("joined", 0)]
