"""The coordinator's task: a grid of hospitals for the installed ServerApp.

What Flower's own runner does, without what this one must not: no bundle is opened, nothing
is installed, no log is uploaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid

from fedrad.flower.bundle import STUDY_KEY
from fedrad.flower.grid import PolledGrid
from fedrad.flower.lookup import private
from fedrad.flower.tasks import COMPLETED, FAILED, Runtime
from fedrad.flower.waits import shorten_object_waits

_Identity = private("flwr.supercore.task_identity", "TaskIdentity")
_context_from = private("flwr.common.serde", "context_from_proto")
_run_from = private("flwr.common.serde", "run_from_proto")
_pb = private("flwr.proto", "runtime_pb2")

Study = Callable[[Grid, Context], None]
_BEAT_S = 10.0


def serve(runtime: Runtime, token: str, study_of: Callable[[str], Study]) -> None:
    """Run the study that this task is for and tell the SuperLink how it ended.

    Args:
        runtime: The SuperLink.
        token: The task's.
        study_of: From the study's name to what runs it; what it raises ends the run.

    Raises:
        Exception: Whatever the study raised, once the SuperLink was told.
    """
    shorten_object_waits()
    grid = PolledGrid(
        runtime.address, insecure=runtime.ca is None, root_certificates=runtime.ca, token=token
    )
    done = threading.Event()
    threading.Thread(target=_beat, args=(grid, done), daemon=True).start()
    status, details = FAILED, "the run did not end by itself"
    try:
        context, study = _begin(grid)
        study_of(study)(grid, context)
        status, details = COMPLETED, ""
    except Exception as error:
        details = f"{type(error).__name__}: {error}"
        raise
    finally:
        done.set()
        request = _pb.PushTaskOutputRequest(sub_status=status, details=details)
        grid._retry_invoker.max_tries = 3
        grid._runtime_client.PushTaskOutput(request)
        grid.close()


def _begin(grid: Any) -> tuple[Context, str]:
    found = grid._runtime_client.PullTaskInput(_pb.PullTaskInputRequest())
    _Identity.task_id, _Identity.run_id = found.task_id, found.run.run_id
    _Identity.node_id = found.context.node_id
    run, context = _run_from(found.run), _context_from(found.context)
    context.state = RecordDict()
    grid.set_run(run)
    return context, str(run.override_config.get(STUDY_KEY, ""))


def _beat(grid: Any, done: threading.Event) -> None:
    while not done.wait(_BEAT_S):
        grid._runtime_client.SendTaskHeartbeat(_pb.SendTaskHeartbeatRequest())
