"""Was it worth it: the verdict follows the models, and says so where nobody can tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_study import EXACT, SEED, TinyStudy, copy_study

from aggregator.comparison import Comparison, SiteComparison
from fedrad.errors import RunError
from simulations import baselines, comparison
from simulations.arms import Study, train_alone
from simulations.comparison import final_model, mean_mask, with_spread
from site_client.training.source import PatientImages


@pytest.fixture(scope="module")
def judged(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    """Return an exact study whose sites test many patients."""
    run = tmp_path_factory.mktemp("judged") / "run"
    return copy_study(hospitals, run, *EXACT, *LONG)


LONG = (
    "federation.rounds=40",
    "training.expected_batch_patients=20",
    "training.optimiser={name='adam'}",
)


def row(study: TinyStudy, *, better: str) -> SiteComparison:
    """Score a trained model against its own opposite at ``east``."""
    arms = Study(task=study.task, contract=study.contract, seed=SEED)
    source = baselines.site_source(study.run, arms, "east", "test")
    good = train_alone(arms, "east", source, rate=0.05)  # on the test patients: it knows them
    bad = {name: -tensor for name, tensor in good.items()}
    run, alone = (good, bad) if better == "federated" else (bad, good)
    models = {"run": run, "alone east": alone, "pooled": good}
    scored = comparison._score_site(study.run, arms, "east", models)
    return comparison._site_row(arms, scored, scored.difference.p)


def test_the_verdict_turns_over_when_the_models_change_places(judged: TinyStudy) -> None:
    first, second = row(judged, better="federated"), row(judged, better="alone")
    assert (first.alone, first.federated_exact) == (second.federated_exact, second.alone)
    assert first.difference == pytest.approx(-second.difference)
    assert (first.lo, first.hi) == pytest.approx((-second.hi, -second.lo), abs=0.1)
    assert (first.verdict, second.verdict) == ("federated", "alone")


def test_one_model_against_itself_cannot_be_told_apart(judged: TinyStudy) -> None:
    arms = Study(task=judged.task, contract=judged.contract, seed=SEED)
    same = judged.model
    models = {"run": same, "alone east": same, "pooled": same}
    scored = comparison._score_site(judged.run, arms, "east", models)
    found = comparison._site_row(arms, scored, scored.difference.p)
    assert (found.difference, found.verdict) == (0.0, "cannot tell")
    assert found.trivial == 0.5


def test_a_site_with_few_of_a_class_cannot_tell(hospitals: Path, tmp_path: Path) -> None:
    study = copy_study(hospitals, tmp_path / "run", *EXACT, "analysis.minimum_per_class=15")
    found = row(study, better="federated")
    assert found.verdict == "cannot tell"
    assert found.reason == "fewer than 15 test patients in a class"


def test_a_run_without_a_finished_round_has_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished round to compare"):
        final_model(tmp_path)


def test_the_spread_holds_every_seed_s_difference_in_order() -> None:
    def seed(difference: float | None) -> Comparison:
        site = SiteComparison(site="a", label="A", n=9, n_positive=4, difference=difference)
        return Comparison(primary="auroc", sites=(site,))

    merged = with_spread([seed(0.1), None, seed(0.3), seed(None)])
    assert merged is not None
    assert (merged.seeds, merged.spread) == (3, {"a": (0.1, 0.3)})


def test_the_mean_mask_is_where_half_of_all_masks_lie() -> None:
    masks = np.array([[[[1, 1, 0]]], [[[1, 0, 0]]], [[[1, 1, 0]]], [[[0, 0, 0]]]], np.uint8)

    class Source:
        def __len__(self) -> int:
            return 2

        def record(self, index: int, /) -> PatientImages:
            return PatientImages("p", masks, None, masks[2 * index : 2 * index + 2])

    np.testing.assert_array_equal(mean_mask([Source()]), [[True, True, False]])
