"""Two models on the same patients of a site: charged like an evaluation, counted by label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_study import EXACT, TinyStudy, tiny_task
from watched_outlines import watched_outlines
from watched_study import site_on, watched_study

from fedrad.errors import ProtocolError
from fedrad.parameters import digest
from fedrad.privacy.ledger import parse_line
from fedrad.protocol.messages import Reply
from fedrad.shift.pairs import apart, check_comparison, may_compare, together

DAY = "2025-01-01"


def compare(study: TinyStudy, *, turned: bool) -> Reply:
    """Ask for a comparison with the same model, or with one that says the contrary."""
    model = study.model
    after = {name: -tensor for name, tensor in model.items()} if turned else dict(model)
    both = together(model, after)
    request = replace(study.ask("compare", 2), model_digest=digest(both))
    return site_on(study, DAY).answer(request, both)


@pytest.mark.parametrize("turned", [False, True])
def test_a_model_disagrees_with_its_opposite_and_never_with_itself(
    tmp_path: Path, turned: bool
) -> None:
    study = watched_study(tmp_path / "run", *EXACT)
    cells, labels = compare(study, turned=turned).blocks
    assert (cells.values.sum() > 0) == turned
    assert cells.values[:2].sum() <= labels.values[0]
    assert cells.values[2:].sum() <= labels.values[1]


@pytest.mark.parametrize("turned", [False, True])
def test_two_models_that_outline_are_compared_by_each_patients_dice(
    tmp_path: Path, turned: bool
) -> None:
    study = watched_outlines(tmp_path / "run", *EXACT)
    change, square, cases = compare(study, turned=turned).blocks
    assert cases.values[0] > 0
    assert (square.values[0] > 0) == turned
    assert abs(change.values[0]) <= 0.5 * cases.values[0]


def test_a_comparison_is_noised_as_agreed_charged_once_and_kept(tmp_path: Path) -> None:
    study = watched_study(tmp_path / "run")
    first, again = compare(study, turned=False), compare(study, turned=False)
    assert [b.values.tolist() for b in first.blocks] == [b.values.tolist() for b in again.blocks]
    sigma = study.contract.sites["east"].audit_sigma
    check_comparison(first.blocks, study.task, audit_sigma=sigma)
    with pytest.raises(ProtocolError):
        check_comparison(first.blocks, study.task, audit_sigma=sigma * 1.1)
    (line,) = map(parse_line, (study.home() / "ledger.jsonl").read_text().splitlines())
    assert (line.stream, line.sigma) == ("audit", sigma)


def test_one_model_alone_is_refused_before_anything_is_charged(tmp_path: Path) -> None:
    study = watched_study(tmp_path / "run")
    reply = site_on(study, DAY).answer(study.ask("compare", 2), study.model)
    assert reply.outcome == "failed"
    assert (study.home() / "ledger.jsonl").read_bytes() == b""


def test_two_models_come_apart_as_they_were_put_together() -> None:
    one, other = {"w": np.zeros(2)}, {"w": np.ones(2)}
    before, after = apart(together(one, other))
    assert (before["w"].sum(), after["w"].sum()) == (0, 2)
    for wrong in ({"w": np.zeros(2)}, together(one, {"v": np.ones(2)}), {}):
        with pytest.raises(ProtocolError, match="comparison"):
            apart(wrong)
    assert not may_compare(tiny_task())
