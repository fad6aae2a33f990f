"""Updates far over the others are set aside: recorded, not folded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from flwr.app import Context, Message
from tiny_federation import SITES, Fault, TinySites, tiny_setup, tiny_task

from aggregator.app import server_app
from aggregator.checkpoints import read_round
from aggregator.setup import RunSetup
from aggregator.store import Store
from fedrad.parameters import digest
from fedrad.protocol.codec import decode_reply, encode_reply
from simulations.engines import run_local


@dataclass(frozen=True)
class Scaled(TinySites):
    """West sends fifty times its update in round 2."""

    def answer(self, message: Message, context: Context) -> Message:
        """Answer one message."""
        sent = super().answer(message, context)
        site = sorted(self.sites)[int(context.node_config["partition-id"])]
        reply = decode_reply(sent)
        if (site, reply.phase, reply.round) != ("west", "train", 2):
            return sent
        update = {name: 50 * tensor for name, tensor in reply.update.items()}
        return encode_reply(replace(reply, update=update, update_digest=digest(update)), message)


def run(setup: RunSetup, sites: TinySites) -> None:
    run_local(server_app(setup), SITES, sites, workers=0)


def table(setup: RunSetup, name: str) -> pd.DataFrame:
    with Store(setup.folder / "run.sqlite") as store:
        return store.frame(name)


def test_an_update_far_over_the_others_is_set_aside_and_the_round_goes_on(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path / "hostile")
    run(setup, Scaled())
    asides = table(setup, "events").query("kind == 'update-set-aside'")
    assert asides[["site", "round"]].to_numpy().tolist() == [["west", 2]]
    shares = table(setup, "replies").query("round == 2 and phase == 'train'").set_index("site")
    assert shares["weight"]["west"] == 0
    assert shares["weight"].sum() == pytest.approx(1)
    honest = tiny_setup(tmp_path / "honest")
    run(honest, TinySites(faults=(Fault("west", "declined", round=2),)))
    models = [digest(read_round(own.folder, 2)[1]) for own in (setup, honest)]
    assert models[0] == models[1]


def test_a_round_with_too_few_usable_updates_is_void(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path, tiny_task(quorum=4, spare_rounds=1))
    run(setup, Scaled())
    assert table(setup, "rounds")["state"].tolist()[1] == "void"
