"""A hospital's program that answers without training, for what is about replies on their way.

Beside a real node; messages are taken and answered through the runner's own code.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Context, Message

from fedrad.flower.tasks import UNREACHABLE, ClientTask, Runtime, TaskSource, answer
from fedrad.parameters import Parameters, digest
from fedrad.protocol.messages import Reply, Request, reply_id

_BEAT_S = 10.0


def environment() -> dict[str, str]:
    """Return what lets another process import this module."""
    before = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), before]).rstrip(os.pathsep)}


def honest(asked: Request, model: Parameters, site: str) -> Reply:
    """Return the reply of a site whose update is a thousandth of the model."""
    update = {name: tensor * tensor.dtype.type(1e-3) for name, tensor in model.items()}
    keys = ("study", "task_hash", "round", "phase", "model_digest")
    same: dict[str, Any] = {key: getattr(asked, key) for key in keys}
    same["reply_id"] = reply_id(asked, site)
    if asked.phase != "train":
        return Reply(**same, outcome="abstained")
    done = {"outcome": "done", "update": update, "update_digest": digest(update), "steps": 1}
    return Reply(**same, **done)


def answer_tasks(app: Callable[[Message, Context], Message], port: str, secret: str) -> None:
    """Take the node's tasks and answer each with ``app``; never returns."""
    runtime = Runtime(f"127.0.0.1:{port}")
    source = TaskSource(runtime, secret.encode())
    while True:
        try:
            offer = source.acquire()
            if offer is None:
                time.sleep(0.2)
                continue
            _answer(ClientTask(runtime, offer), runtime, app)
        except UNREACHABLE:
            time.sleep(0.5)


def _answer(task: ClientTask, runtime: Runtime, app: Callable[..., Message]) -> None:
    packed, done = task.open(), threading.Event()
    threading.Thread(target=_alive, args=(task, done), daemon=True).start()
    try:
        answer(runtime, task.offer.token, packed, app)
    finally:
        done.set()


def _alive(task: ClientTask, done: threading.Event) -> None:
    while not done.wait(_BEAT_S) and task.beat():
        pass
