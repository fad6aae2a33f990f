"""Whether the coordinator's programs answer, asked from beside them: for a container's check.

Flower's server is asked through its gRPC health service, the gateway by a connection. A check
changes nothing and waits seconds at most; whether hospitals are there is ``runs``'s business.
"""

from __future__ import annotations

from pathlib import Path

import grpc  # type: ignore[import-untyped]  # as below: no stubs, and Flower brings them
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from aggregator.deployment.gateway import Gateway
from aggregator.deployment.state import is_running
from aggregator.home import read_coordinator

_WAIT_S = 5.0


def sick(home: Path) -> str:
    """Return what does not answer; empty if all is well.

    Raises:
        SettingsError: It is no coordinator's home.
    """
    settings = read_coordinator(home)
    if not is_running(home):
        return "no server runs"
    if not _serves(f"127.0.0.1:{settings.ports.health}"):
        return "Flower's server does not answer"
    return "" if Gateway(home, settings).answers(_WAIT_S) else "the gateway does not answer"


def _serves(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            found = stub.Check(health_pb2.HealthCheckRequest(), timeout=_WAIT_S)
        except grpc.RpcError:
            return False
    return bool(found.status == health_pb2.HealthCheckResponse.SERVING)
