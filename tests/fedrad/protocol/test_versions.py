"""Who works together is said by the wire protocol alone, in words that name the older side."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedrad
from fedrad.errors import ProtocolError
from fedrad.flower.bundle import bundle_digest
from fedrad.protocol import versions
from fedrad.protocol.messages import SCHEMA
from fedrad.protocol.versions import Speaker


@given(st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True))
def test_any_release_of_the_same_wire_protocol_works(release: str) -> None:
    assert Speaker(SCHEMA, release).difference("north") == ""
    assert Speaker(SCHEMA, release).difference("") == ""


@pytest.mark.parametrize(
    ("wire", "site", "older"),
    [
        (SCHEMA + 1, "north", "this coordinator"),
        (SCHEMA - 1, "north", "site north"),
        (SCHEMA + 1, "", "this site"),
        (SCHEMA - 1, "", "the coordinator"),
    ],
)
def test_another_wire_protocol_names_both_and_who_must_update(
    wire: int, site: str, older: str
) -> None:
    sentence = Speaker(wire, "7.7.7").difference(site)
    assert f"wire protocol {wire} (fedrad 7.7.7)" in sentence
    assert f"{SCHEMA} (fedrad {fedrad.__version__})" in sentence
    assert sentence.endswith(f"update fedrad at {older}")


def test_what_one_end_says_is_what_the_other_reads() -> None:
    assert versions.from_text(versions.to_text(versions.ours())) == versions.ours()


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_what_a_stranger_says_is_read_or_refused(said: str | bytes) -> None:
    try:
        found = versions.from_text(said)
    except ProtocolError:
        return
    assert found.wire <= 10_000
    assert len(found.release) <= 40


@pytest.mark.parametrize(
    "table",
    [{}, {"wire": "1"}, {"wire": -1, "release": "1"}, {"wire": 1, "release": "<b>"}, [1], None],
)
def test_half_an_answer_is_none(table: object) -> None:
    with pytest.raises(ProtocolError, match="does not say"):
        versions.from_text(json.dumps(table))


def test_a_bundle_tells_the_wire_protocol_that_it_is_for() -> None:
    assert versions.wire_of_bundle(bundle_digest(SCHEMA)) == SCHEMA
    assert versions.wire_of_bundle(bundle_digest(SCHEMA + 3)) == SCHEMA + 3
    assert versions.wire_of_bundle("0" * 64) == 0
