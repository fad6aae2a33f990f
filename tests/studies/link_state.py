"""Flower's server without its sockets: its own state in a file, with a run and a node online."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedrad import flower
from fedrad.flower.lookup import private


def link_state(database: Path) -> tuple[Any, int, int]:
    """Return the state, the id of its run and of its node; this process has the run's identity."""
    stores = private("flwr.supercore.object_store", "ObjectStoreFactory")(str(database))
    manager = private("flwr.superlink.federation", "NoOpFederationManager")()
    factory = private("flwr.server.superlink.linkstate", "LinkStateFactory")
    state = factory(str(database), manager, stores).state()
    noop = private("flwr.supercore.constant", "NOOP_FEDERATION_ID")
    run = state.create_run(None, None, None, {}, noop, None, None, "flwr-serverapp")
    node = state.create_node("aid", "name", b"key", 30.0)
    state.acknowledge_node_heartbeat(node, 1e6)
    flower.begin_run(run)
    return state, run, node
