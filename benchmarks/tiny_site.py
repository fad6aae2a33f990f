"""The smallest site that trains: a linear network on numbers of its own, nothing on disk.

Used by ``engines.py`` to measure what an engine adds to training. ``train_s`` makes
training last that long in one busy thread, as a real step would.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import fedrad
from fedrad.parameters import Parameters, digest
from fedrad.protocol.codec import decode_request, encode_reply
from fedrad.protocol.messages import Reply, reply_id

VALUES = 20_000  # float32 parameters


def initial_model() -> Parameters:
    """Return the model before round 1."""
    return {"weight": np.zeros(VALUES, np.float32)}


@dataclass(frozen=True)
class BenchSites:
    """A picklable factory of the sites' app."""

    names: tuple[str, ...]
    train_s: float

    def __call__(self) -> ClientApp:
        """Build the app."""
        app = ClientApp()
        for register in (app.train, app.evaluate, app.query):
            register()(self.answer)
        return app

    def answer(self, message: Message, context: Context) -> Message:
        """Train for ``train_s`` seconds, or say done."""
        site = self.names[int(context.node_config["partition-id"])]
        request, model = decode_request(message)
        update: Parameters = {}
        if request.phase == "train":
            update = {name: train(tensor, self.train_s) for name, tensor in model.items()}
        reply = Reply(
            study=request.study,
            task_hash=request.task_hash,
            round=request.round,
            phase=request.phase,
            model_digest=request.model_digest,
            reply_id=reply_id(request, site),
            outcome="done",
            update=update,
            update_digest=digest(update) if update else "",
            steps=1,
            fedrad_version=fedrad.__version__,
        )
        return encode_reply(reply, message)


def train(start: np.ndarray, seconds: float) -> np.ndarray:
    """Return an update after that much work of this process."""
    end = time.process_time() + seconds
    weight = start.copy()
    while True:
        weight += 1e-4 * np.tanh(1 - weight)
        if time.process_time() >= end:
            return weight - start
