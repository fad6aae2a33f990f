"""A hospital's SuperNode: Flower's own entry, with the site's certificate, proxy and waits.

One outgoing connection, to the coordinator's gateway; one listener, on the loopback, for
the site's launcher. A bundle that arrives is never opened here. When the node's loop ends,
for whatever reason, the process ends: who started it starts it again.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import httpx

from fedrad.flower.door import NodeOptions, http_client
from fedrad.flower.lookup import private
from fedrad.flower.messages import quiet
from fedrad.flower.node_loop import mend_loop
from fedrad.flower.tasks import TASK_CAME

_entry = private("flwr.supernode.cli.flower_supernode", "flower_supernode")
_node_loop = private("flwr.supernode.start_client_internal", "__dict__")
_connection = private("flwr.supernode.fleet_http_connection", "__dict__")
_FleetClient = private("flwr.supernode.fleet_http_client", "FleetHttpClient")
_retry = private("flwr.supercore.retry.http_retry", "__dict__")

# How far a node's clock may be from the server's: it signs the time of each request.
CLOCK_AHEAD_S: int = private("flwr.common.constant", "SYSTEM_TIME_TOLERANCE")
CLOCK_BEHIND_S: int = private("flwr.common.constant", "TIMESTAMP_TOLERANCE")

LOOP_ENDED = 75  # exit status: nothing is wrong here; try again


def run_node(options: NodeOptions) -> None:
    """Be the SuperNode; ends the process, never returns."""
    quiet()
    mend_loop(_say_task, most_bytes=options.most_bytes)
    _node_loop["get_fused_config_from_fab"] = _open_no_bundle
    _retry["_RETRYABLE_TRANSPORT_ERRORS"] += (httpx.ProxyError,)
    _connection["FleetHttpClient"] = _client_class(options)
    sys.argv = ["flower-supernode", *_arguments(options)]
    _entry()
    os._exit(LOOP_ENDED)  # the Runtime API's thread would keep the process


def _say_task() -> None:
    """Wake the launcher, which reads this process's output."""
    print(TASK_CAME, flush=True)  # noqa: T201  # the pipe to the launcher


def _open_no_bundle(*_: Any) -> dict[str, Any]:
    """Return no settings: a site takes none from a bundle, so it never opens one."""
    return {}


def _client_class(options: NodeOptions) -> Any:
    class SiteClient(_FleetClient):  # type: ignore[misc,valid-type]  # looked up, not imported
        """Flower's client with the site's certificate and proxy."""

        @classmethod
        def from_server_address(cls, address: str, *_: Any, interceptors: Any, **__: Any) -> Any:
            client = cls(f"https://{address}", interceptors=interceptors)
            client._client.close()
            client._client = http_client(options)
            return client

    return SiteClient


def _arguments(options: NodeOptions) -> list[str]:
    return [
        *("--superlink", options.address),
        *("--root-certificates", str(options.ca)),
        *("--auth-supernode-private-key", str(options.node_key)),
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(options.secret)),
        *("--host", "127.0.0.1"),
        *("--port", str(options.port)),
    ]
