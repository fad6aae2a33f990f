"""Only sums with the agreed noise, of no more patients than they say, are taken."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_task import plain_task

from fedrad.agreed_sums import SURE, check_audit
from fedrad.errors import ProtocolError
from fedrad.metrics import classification, segmentation
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.shift.gate import discordance, outlined
from fedrad.shift.pairs import check_comparison
from fedrad.site_report import noised

SIGMA = 2.0
BINS = tuple(float(edge) for edge in np.linspace(0, 1, 11))


SCORED = plain_task(edges=BINS)
EXACT = plain_task(release="exact", edges=BINS)
OUTLINED = plain_task("segmentation", edges=BINS)


def audit(size: int) -> tuple[Block, ...]:
    rng = np.random.default_rng(size)
    return classification.blocks(
        rng.random(size), rng.integers(0, 2, size), edges=BINS, operating_point=0.5
    )


def sent(blocks: tuple[Block, ...], seed: int, sigma: float = SIGMA) -> tuple[Block, ...]:
    return noised(blocks, sigma=sigma, rng=noise_source(seed.to_bytes(32, "big")))


def changed(blocks: tuple[Block, ...], name: str, **fields: Any) -> tuple[Block, ...]:
    return tuple(replace(b, **fields) if b.name == name else b for b in blocks)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.floats(0.2, 50.0), st.integers(0, 2**32))
def test_an_honest_release_of_any_size_and_noise_is_taken(
    size: int, sigma: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    dice = np.where(rng.random((2, size)) < 0.1, np.nan, rng.random((2, size)))
    labels = rng.integers(0, 2, size)
    outlines = segmentation.blocks(dice[0], rng.random(size) < 0.5, edges=BINS)
    pair = discordance(rng.random(size), rng.random(size), labels, operating_point=0.5)
    check_audit(sent(audit(size), seed, sigma), SCORED, audit_sigma=sigma)
    check_audit(sent(outlines, seed, sigma), OUTLINED, audit_sigma=sigma)
    check_comparison(sent(pair, seed, sigma), SCORED, audit_sigma=sigma)
    change = sent(outlined(*dice), seed, sigma)
    check_comparison(change, OUTLINED, audit_sigma=sigma)


def test_noise_refuses_fewer_than_one_honest_release_in_a_hundred_million() -> None:
    most_comparisons = 300
    assert most_comparisons * math.erfc(SURE / math.sqrt(2)) / 2 < 1e-9


@pytest.mark.parametrize("factor", [1e-9, 0.5, 0.999, 1.001, 2.0, 1e6])
def test_noise_and_sensitivity_are_never_those_that_a_site_says(factor: float) -> None:
    blocks = sent(audit(200), 1)
    table = blocks[-1]
    said = changed(blocks, "table", sigma=table.sigma * factor)
    with pytest.raises(ProtocolError, match="block 'table' has the noise .* agreed are"):
        check_audit(said, SCORED, audit_sigma=SIGMA)
    both = changed(blocks, "table", sigma=table.sigma * factor, sensitivity=factor)
    with pytest.raises(ProtocolError, match="block 'table' has the sensitivity .* agreed are 1"):
        check_audit(both, SCORED, audit_sigma=SIGMA)


def test_noise_of_another_multiplier_or_of_none_is_refused() -> None:
    for given_sigma, agreed in ((SIGMA, 2.1), (SIGMA, 0.0), (2.1, SIGMA)):
        with pytest.raises(ProtocolError, match="block 'n' has the noise"):
            check_audit(sent(audit(200), 1, given_sigma), SCORED, audit_sigma=agreed)
    with pytest.raises(ProtocolError, match="has the noise 0, agreed are"):
        check_audit(audit(200), SCORED, audit_sigma=SIGMA)


def test_numbers_that_a_wire_rounded_are_the_same() -> None:
    blocks = tuple(replace(b, sigma=float(np.float32(b.sigma))) for b in sent(audit(200), 1))
    check_audit(blocks, SCORED, audit_sigma=SIGMA)


def test_exact_sums_pass_where_the_task_and_the_contract_are_exact() -> None:
    more = Block(name="exact", values=np.array([np.nan]), sigma=0.0, sensitivity=1.0)
    for blocks in (audit(200), (*audit(200), more)):
        check_audit(blocks, EXACT, audit_sigma=0.0)
    with pytest.raises(ProtocolError, match="'exact' is not one of"):
        check_audit((*sent(audit(200), 1), more), SCORED, audit_sigma=SIGMA)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("positives", [900.0]),
        ("operating", [1e5, 0, 0, 0]),
        ("operating", [-1e5, 1e5, 1e5, -1e5]),
        ("table", np.ones(20) * 1e4),
        ("table", np.zeros(20)),
        ("table", [1e6, -1e6] * 10),
        ("n", [1e5]),
    ],
)
def test_counts_of_other_patients_than_it_says_are_refused(name: str, said: list[float]) -> None:
    lie = changed(sent(audit(500), 3), name, values=np.asarray(said, dtype=np.float64))
    with pytest.raises(ProtocolError, match=r"adds up to|counts -"):
        check_audit(lie, SCORED, audit_sigma=SIGMA)


@pytest.mark.parametrize(
    "cells", [[3e5, 0, 3e5, 0], [700, 0, 0, 0], [0, 0, 400, 400], [1e5, -1e5, 0, 0]]
)
def test_more_changed_calls_of_a_label_than_patients_with_it_are_refused(
    cells: list[float],
) -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(1000) % 2
    pair = sent(discordance(rng.random(1000), labels, labels, operating_point=0.5), 4)
    lie = changed(pair, "disagreement", values=np.asarray(cells, dtype=np.float64))
    with pytest.raises(ProtocolError, match="block 'disagreement'"):
        check_comparison(lie, SCORED, audit_sigma=SIGMA)


@pytest.mark.parametrize(
    ("name", "said"), [("dice_change", 900.0), ("dice_change", -900.0), ("dice_square", 900.0)]
)
def test_more_change_of_dice_than_the_clip_allows_is_refused(name: str, said: float) -> None:
    rng = np.random.default_rng(1)
    change = sent(outlined(rng.random(1000), rng.random(1000)), 4)
    with pytest.raises(ProtocolError, match=f"block '{name}'"):
        check_comparison(
            changed(change, name, values=np.array([said])), OUTLINED, audit_sigma=SIGMA
        )
