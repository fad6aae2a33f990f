"""The edge of a site's program: what leaves through Flower's messages, and what does not."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from tiny_study import SEED, TinyStudy, copy_study

from fedrad import flower
from fedrad.errors import ProtocolError, RunError
from fedrad.protocol.codec import decode_reply, encode_arrays, encode_request
from fedrad.protocol.digests import request_digest
from fedrad.protocol.messages import Reply, Request
from simulations.worker import Desk
from site_client import audit
from site_client.app import client_app
from site_client.node.runner import installed_app
from site_client.round import Site, SiteRuntime


def deliver(study: TinyStudy, request: Request) -> Message:
    """Send one request through the app as bytes and return what comes back."""
    app = client_app(lambda _: SiteRuntime(study.home("east"), SEED))
    content = encode_request(request, encode_arrays(study.model))
    flower.begin_run(7)
    message = Message(content, 1001, request.phase)
    flower.stamp_message(message, "m1")
    reply = Desk(app, ["east"]).answer(0, flower.message_to_bytes(message))
    return flower.message_from_bytes(reply)


def answer(study: TinyStudy, phase: str = "train") -> Reply:
    return decode_reply(deliver(study, study.ask(phase)))


def test_a_train_reply_holds_update_and_steps_and_nothing_else_of_a_patient(
    study: TinyStudy,
) -> None:
    content = deliver(study, study.ask()).content
    assert set(content) == {"arrays", "metrics", "fedrad"}
    assert dict(content["metrics"]) == {"steps": 2}
    assert set(content["arrays"]) == set(study.model)
    assert set(content["fedrad"]) == {
        "schema", "study", "task_hash", "round", "phase", "model_digest", "reply_id", "outcome",
        "reason_code", "update_digest", "events", "ledger_head", "fedrad_version",
    }  # fmt: skip


def test_an_evaluate_reply_holds_noised_blocks_and_no_tensor(study: TinyStudy) -> None:
    content = deliver(study, study.ask("evaluate")).content
    assert set(content) == {"arrays", "metrics", "fedrad", "blocks"}
    assert dict(content["metrics"]) == {"steps": 0}
    assert not content["arrays"]
    assert min(content["blocks"]["sigmas"]) > 0


def test_a_refusal_on_the_wire_is_one_word(study: TinyStudy) -> None:
    config = deliver(study, study.ask(study="unknown")).content["fedrad"]
    assert (config["outcome"], config["reason_code"], config["events"]) == (
        "refused", "declined", "[]",
    )  # fmt: skip
    assert (
        "never accepted" in audit.read(study.home())[-2]["sentence"]
    )  # the last line is that it left
    assert not any("never accepted" in str(value) for value in config.values())


def test_the_program_s_own_failure_is_an_ordinary_reply_with_what_it_spent(
    hospitals: Path, tmp_path: Path
) -> None:
    """Torch cannot hold this rate: an error that is nobody's deliberate one."""
    study = copy_study(hospitals, tmp_path / "run", "training.optimiser.rate=1e39")
    reply = answer(study)
    assert (reply.outcome, reply.reason_code) == ("failed", "failed")
    assert [event["kind"] for event in reply.events] == ["reserve"]
    assert (
        "RuntimeError" in audit.read(study.home())[-2]["sentence"]
    )  # the last line is that it left


def test_no_word_of_an_unusable_site_toml_leaves(study: TinyStudy) -> None:
    (study.home() / "site.toml").write_text("[site]\nname = 'Ada Byron'\n")
    error = deliver(study, study.ask()).error
    assert (error.code, error.reason) == (flower.APP_RAISED, "RunError")
    app = client_app(lambda _: SiteRuntime(study.home(), SEED))
    with pytest.raises(RunError, match=r"^the site cannot answer \(SettingsError\); see its log$"):
        app(message=_request(study), context=_context())


def test_a_message_without_a_request_is_refused(study: TinyStudy) -> None:
    app = client_app(lambda _: SiteRuntime(study.home(), SEED))
    flower.begin_run(7)
    with pytest.raises(ProtocolError, match="has no ConfigRecord 'fedrad'"):
        app(message=Message(RecordDict(), 1001, "train"), context=_context())
    note = audit.read(study.home())[-1]
    assert note["kind"] == "not answered"
    assert "has no ConfigRecord 'fedrad'" in note["sentence"]


def test_a_question_that_comes_too_late_is_in_the_record(study: TinyStudy) -> None:
    said: list[str] = []
    message = _request(study)
    message.metadata.__dict__["_created_at"] = time.time() - 1e6
    site = Site(SiteRuntime(study.home()))
    reply = installed_app(study.home(), site, said.append)(message, _context())
    assert "after its deadline: not worked on" in reply.error.reason
    came, why = audit.read(study.home())[-2:]
    assert (came["kind"], came["digest"]) == ("received", request_digest(study.ask()))
    assert (why["kind"], why["sentence"]) == ("not answered", reply.error.reason)
    assert came["bytes"] == why["bytes"] > 0


def test_the_same_bits_cross_the_wire_as_leave_the_site(study: TinyStudy) -> None:
    sent, kept = answer(study), study.answer()
    for name, tensor in kept.update.items():
        np.testing.assert_array_equal(sent.update[name], tensor)


def _request(study: TinyStudy) -> Message:
    flower.begin_run(7)
    return Message(encode_request(study.ask(), encode_arrays(study.model)), 1001, "train")


def _context() -> Context:
    return Context(run_id=7, node_id=1001, node_config={}, state=RecordDict(), run_config={})
