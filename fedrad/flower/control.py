"""The coordinator's word to its own SuperLink: nodes, runs, over the loopback.

Whoever can call this can start runs and register nodes; the gateway lets nobody else near.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from fedrad.flower.bundle import STUDY_KEY, bundle
from fedrad.flower.lookup import private

_Client = private("flwr.supercore.control.control_http_client", "ControlHttpClient")
_Version = private("flwr.supercore.interceptors", "RuntimeVersionHttpInterceptor")
_pb = private("flwr.proto", "control_pb2")
_Fab = private("flwr.proto.fab_pb2", "Fab")
_config_to_proto = private("flwr.common.serde", "user_config_to_proto")
_config_from_proto = private("flwr.common.serde", "user_config_from_proto")


@dataclass(frozen=True, slots=True)
class Node:
    """A registered site as Flower knows it."""

    node_id: int
    name: str
    public_key: bytes  # PEM
    status: str  # registered, online, offline, unregistered


@dataclass(frozen=True, slots=True)
class FlowerRun:
    """A run as Flower knows it."""

    run_id: int
    status: str  # pending, starting, running, finished
    outcome: str  # of a finished one: completed, failed, stopped
    details: str
    study: str = ""  # that it was started for


class Control:
    """A connection to the Control API; closes with ``close``."""

    def __init__(self, address: str, ca: bytes) -> None:
        self._client = _Client.from_server_address(
            server_address=address,
            insecure=False,
            root_certificates=ca,
            interceptors=[_Version(component_name="flwr CLI")],
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def register(self, name: str, public_key: bytes) -> int:
        """Register a node key under a name and return the node's id; PEM, NIST curve.

        Raises:
            httpx.HTTPStatusError: The key is registered already, or is none.
        """
        request = _pb.RegisterNodeRequest(public_key=public_key, name=name)
        return int(self._client.RegisterNode(request).node_id)

    def unregister(self, node_id: int) -> None:
        """Forget a node: its key opens nothing any more."""
        self._client.UnregisterNode(_pb.UnregisterNodeRequest(node_id=node_id))

    def nodes(self) -> list[Node]:
        """Return the nodes that are registered."""
        found = self._client.ListNodes(_pb.ListNodesRequest()).nodes_info
        return [_node(info) for info in found if info.status != "unregistered"]

    def start_run(self, study: str, protocol: int) -> int:
        """Start a run of ``study`` with the codeless bundle and return its id."""
        settings = _config_to_proto({STUDY_KEY: study})
        return self.start_bundle(bundle(protocol), settings)

    def start_bundle(self, content: bytes, settings: Any = None) -> int:
        """Start a run with any bundle; what a stranger at the control path could do."""
        request = _pb.StartRunRequest(fab=_Fab(content=content), override_config=settings)
        return int(self._client.StartRun(request).run_id)

    def stop_run(self, run_id: int) -> None:
        """Stop a run."""
        self._client.StopRun(_pb.StopRunRequest(run_id=run_id))

    def runs(self) -> list[FlowerRun]:
        """Return every run, the latest last."""
        found = self._client.ListRuns(_pb.ListRunsRequest()).run_dict
        return [_run(found[key]) for key in sorted(found, key=lambda key: found[key].pending_at)]

    def healthy(self) -> bool:
        """Whether the SuperLink answers."""
        try:
            self.nodes()
        except (httpx.HTTPError, ValueError):
            return False
        return True


def _node(info: Any) -> Node:
    return Node(info.node_id, info.name, bytes(info.public_key), info.status)


def _run(run: Any) -> FlowerRun:
    status = run.status
    study = str(_config_from_proto(run.override_config).get(STUDY_KEY, ""))
    return FlowerRun(run.run_id, status.status, status.sub_status, status.details, study)
