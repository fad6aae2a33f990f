"""The one package that touches names which Flower does not promise to keep.

Every private name is looked up at import, so that another Flower fails here, at once and
by name, instead of in the middle of a round. Public Flower names are used elsewhere.

``messages`` is what every engine needs and is offered here. A deployment's parts import
more of Flower and stand apart: ``bundle`` (what a run is started with), ``waits``, ``node``
(a hospital's SuperNode), ``tasks`` (its launcher and its runner), ``link`` (the SuperLink),
``control`` (the coordinator's word to it), ``serving`` and ``grid`` (the coordinator's app).
"""

from __future__ import annotations

from fedrad.flower.lookup import FLOWER_VERSION
from fedrad.flower.messages import (
    AGGREGATOR_NODE,
    APP_CRASHED,
    APP_RAISED,
    NODE_UNAVAILABLE,
    OFFLINE,
    REFUSED,
    begin_run,
    message_from_bytes,
    message_to_bytes,
    node_info,
    quiet,
    records_size,
    run_of,
    stamp_message,
)

__all__ = [
    "AGGREGATOR_NODE",
    "APP_CRASHED",
    "APP_RAISED",
    "FLOWER_VERSION",
    "NODE_UNAVAILABLE",
    "OFFLINE",
    "REFUSED",
    "begin_run",
    "message_from_bytes",
    "message_to_bytes",
    "node_info",
    "quiet",
    "records_size",
    "run_of",
    "stamp_message",
]
