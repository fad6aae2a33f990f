"""Nodes without names are known by their answers."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from tiny_federation import SITES, TinySites, tiny_contract, tiny_setup, tiny_task

from aggregator.app import server_app
from aggregator.identify import identify_simulated, identify_sites
from aggregator.store import Store
from fedrad import flower
from fedrad.clock import SystemClock
from fedrad.contract import Contract
from fedrad.errors import RunError
from simulations.engines import server_context
from simulations.grid import LocalGrid
from simulations.pool import Inline


class Nameless(LocalGrid):
    """A grid like Ray's: nodes with ids only."""

    def get_nodes(self) -> list:
        """Return the nodes without their names."""
        return [flower.node_info(node, "") for node in self.get_node_ids()]


@pytest.fixture
def contract() -> Contract:
    return tiny_contract(tiny_task())


def found(grid: LocalGrid, contract: Contract) -> list[str]:
    nodes = identify_simulated(grid, contract, clock=SystemClock(), deadline_s=5.0)
    return [nodes[node] for node in sorted(nodes)]


def test_outside_a_simulation_a_node_without_a_name_is_nobody(contract: Contract) -> None:
    """Whoever knows the contract can make the answer of any site."""
    for kind, expected in ((Nameless, set()), (LocalGrid, set(SITES))):
        grid = kind(SITES, Inline(SITES, TinySites()))
        nodes = identify_sites(grid, contract, clock=SystemClock(), deadline_s=0.1)
        assert set(nodes.values()) == expected


@pytest.mark.parametrize(("engine", "there"), [("superlink", 0), ("ray", 4)])
def test_a_run_asks_nameless_nodes_only_on_the_engine_of_a_simulation(
    tmp_path: Path, engine: str, there: int
) -> None:
    setup = tiny_setup(tmp_path, tiny_task(rounds=1, deadline_s=0.5), engine=engine)
    grid = Nameless(SITES, Inline(SITES, TinySites()))
    with suppress(RunError):
        server_app(setup)(grid, server_context(grid.run.run_id))
    with Store(tmp_path / "run.sqlite") as store:
        assert (store.frame("sites")["status"] == "joined").sum() == there


def test_names_of_nodes_are_enough(contract: Contract) -> None:
    assert found(LocalGrid(SITES, Inline(SITES, TinySites())), contract) == sorted(SITES)


def test_nodes_without_names_are_asked(contract: Contract) -> None:
    assert found(Nameless(SITES, Inline(SITES, TinySites())), contract) == sorted(SITES)


def test_a_node_that_answers_as_nobody_of_the_contract_is_left_out(contract: Contract) -> None:
    strangers = ("east", "north", "south", "zoo")
    assert found(Nameless(strangers, Inline(strangers, TinySites(strangers))), contract) == [
        "east",
        "north",
        "south",
    ]


def test_two_nodes_for_one_site_are_refused(contract: Contract) -> None:
    names = ("east", "north", "south", "west")
    twins = TinySites(("east", "east", "north", "south"))
    with pytest.raises(RunError, match="two nodes answer for site 'east'"):
        found(Nameless(names, Inline(names, twins)), contract)
