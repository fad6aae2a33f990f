"""Replies that are no answers, from enrolled hospitals over mutual TLS, while a study runs.

Each hospital's node is the real one; what works there answers as its round says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import deployed
import pandas as pd
import pytest
from answering import environment
from deployed import STUDY, Federation, make_doors, need_nginx

from aggregator.deployment.superlink import control
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import run_folder
from fedrad.processes import Child, Plan, free_port
from fedrad.protocol.messages import SCHEMA
from site_client.node.connector import connector_plan, new_secret

pytestmark = pytest.mark.slow
SITES = ("centre", "east", "north", "south", "west")

_ANSWERS = """
import pickle, sys
from dataclasses import replace
import numpy as np
from answering import answer_tasks, honest
from fedrad.parameters import digest
from fedrad.protocol.codec import decode_request, encode_reply
from fedrad.protocol.messages import reply_id
_, port, secret, site = sys.argv
before = []
def pickled(message):
    for array in message.content["arrays"].values():
        array.data = pickle.dumps([1.0])
        break
    return message
def app(message, context):
    asked, model = decode_request(message)
    reply, how = honest(asked, model, site), (site, asked.round)
    if asked.phase != "train":
        return encode_reply(reply, message)
    before.append(reply)
    first = next(iter(reply.update))
    if how == ("north", 1):
        return pickled(encode_reply(reply, message))
    if how == ("west", 1):
        update = {n: np.full_like(t, np.nan) if n == first else t for n, t in reply.update.items()}
        reply = replace(reply, update=update, update_digest=digest(update))
    if how == ("north", 2):
        reply.update[first] = reply.update[first] + 1
    if how == ("south", 2):
        reply = before[0]
    if how == ("west", 3):
        reply = replace(reply, reply_id=reply_id(asked, "east"))
    return encode_reply(reply, message)
answer_tasks(app, port, secret)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return the store of three rounds in which some answer as above."""
    need_nginx()
    patched = pytest.MonkeyPatch()
    patched.setattr(deployed, "SITES", SITES)
    folder = tmp_path_factory.mktemp("bad-replies")
    settings = ("federation.rounds=3", "evaluation.every_rounds=3")
    running = Federation(make_doors(folder, *settings))
    running.start("hub", "aggregator", running.hub)
    for site in SITES:
        home, port = running.homes.home(site), free_port()
        command = (sys.executable, "-c", _ANSWERS, str(port), new_secret(home).decode(), site)
        running.children[site] = Child(connector_plan(home, port))
        log = folder / f"{site}-answers.log"
        plan = Plan(name="answers", command=command, log=log, environment=environment())
        running.children[f"{site}-answers"] = Child(plan)
    try:
        running.until_online(SITES)
        connection = control(running.hub)
        run = connection.start_run(STUDY, SCHEMA)
        running.until(lambda: _over(connection, run), 180.0)
        connection.close()
        with Store(run_folder(running.hub, STUDY) / DATABASE) as found:
            yield found
    finally:
        for name in SITES:
            running.children[f"{name}-answers"].end()
        running.close()
        patched.undo()


def _over(connection, run: int) -> bool:
    return any(one.run_id == run and one.status == "finished" for one in connection.runs())


def refusals(store: Store) -> dict[tuple[str, int], str]:
    events = store.frame("events")
    found = events[events["kind"] == "reply-refused"]
    return {(e.site, e.round): json.loads(e.detail_json)["problem"] for e in found.itertuples()}


def test_each_is_refused_with_its_own_reason(store: Store) -> None:
    found = refusals(store)
    for key, problem in {
        ("north", 1): "pickle",
        ("west", 1): "not finite",
        ("north", 2): "digest",
        ("south", 2): "round is not that of the request",
        ("west", 3): "was not made by site 'west'",
    }.items():
        assert problem in found.get(key, "nothing was refused"), (key, found)
    assert len(found) == 5


def test_the_others_alone_make_those_rounds(store: Store) -> None:
    replies: pd.DataFrame = store.frame("replies")
    trained = replies[replies["phase"] == "train"]
    refused = trained[trained["outcome"] != "done"]
    assert set(zip(refused["site"], refused["round"], strict=True)) == set(refusals(store))
    assert len(trained) == 3 * len(SITES)
    assert set(store.frame("rounds")["state"]) <= {"committed", "evaluated"}
