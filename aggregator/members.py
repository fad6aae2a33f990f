"""Who is there and who is asked: sites that join late, go away, come back, are left alone.

Before each round the grid is looked at. A site of the contract that was not there is asked
from then on, under whatever node it came with; one that went away is still asked, because
its answer may come in time, and its silence is a row. Which node is which site is
``identify``'s to say.
"""

from __future__ import annotations

from collections.abc import Collection

from flwr.serverapp import Grid

from aggregator import quarantine
from aggregator.setup import RunSetup
from aggregator.store import Store
from aggregator.tables import Site
from fedrad.clock import stamp
from fedrad.errors import RunError

JOINED, AWAY = quarantine.JOINED, "absent"  # status of a site


class Members:
    """The sites of one run, as the coordinator can reach them."""

    def __init__(self, setup: RunSetup, store: Store, nodes: dict[int, str]) -> None:
        """Record who is there.

        Args:
            setup: The run.
            store: Its tables.
            nodes: Node id to site, as ``identify`` found them.
        """
        self._setup, self._store = setup, store
        self._nodes = _in_order(nodes)
        self._shut: frozenset[str] = frozenset()
        self._meet(set(nodes.values()), 0)
        self.enforce()

    @property
    def quarantined(self) -> frozenset[str]:
        """The sites that are left alone until a person lifts it."""
        return self._shut

    @property
    def asked(self) -> dict[int, str]:
        """Node id to site, in the order of the names, for every site that is asked."""
        return {node: site for node, site in self._nodes.items() if site not in self._shut}

    def look(self, grid: Grid, number: int) -> None:
        """Take in who came and who went before round ``number``, and whom a person let in."""
        if self._setup.look is not None:
            try:
                here = self._setup.look(grid)
            except RunError as error:
                detail = {"problem": str(error)}
                self._store.record_event("nodes-unclear", number, detail=detail)
            else:
                known = {site: node for node, site in self._nodes.items()}
                known |= {site: node for node, site in here.items()}
                self._nodes = _in_order({node: site for site, node in known.items()})
                self._meet(set(here.values()), number)
        self.enforce()

    def enforce(self) -> None:
        """Leave those alone whose replies were bad too often."""
        self._shut = quarantine.enforce(self._store, self._setup.task.federation.bad_replies)

    def _meet(self, here: Collection[str], number: int) -> None:
        known = {row["site"]: Site(**row) for row in self._store.rows("sites")}
        new = [_new(self._setup, site) for site in self._setup.contract.sites if site not in known]
        self._store.record_sites(new)
        for row in (*known.values(), *new):
            if (row.site in here) != _is_here(row):
                self._came_or_went(row, number)

    def _came_or_went(self, row: Site, number: int) -> None:
        now = stamp(self._setup.clock)
        kind = "left" if _is_here(row) else "came-back" if row.joined else "joined"
        row.left = now if kind == "left" else ""
        row.joined = row.joined or now
        if row.status != quarantine.QUARANTINED:
            row.status = AWAY if kind == "left" else JOINED
        self._store.record_site(row, kind, number)


def _is_here(row: Site) -> bool:
    return bool(row.joined) and not row.left


def _new(setup: RunSetup, name: str) -> Site:
    terms = setup.contract.sites[name]
    return Site(
        site=name,
        label=terms.label,
        node_key="",
        patients_agreed=terms.patients_agreed,
        joined="",
        status=AWAY,
    )


def _in_order(nodes: dict[int, str]) -> dict[int, str]:
    return dict(sorted(nodes.items(), key=lambda item: item[1]))
