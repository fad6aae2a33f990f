"""A go is earned on no better evidence than a study has, a no on no worse."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invented_outcomes import PATIENTS, PRIVATE, TASK, a_trial, at, two, with_private

from fedrad.planning.readings import Answer, Situation, judge, read

RANK: dict[Answer, int] = {"no": 0, "doubtful": 1, "go": 2}
COHORTS, EPSILONS = st.integers(1, 900), st.floats(0.5, 20.0)


@pytest.mark.parametrize(
    ("kept", "gain", "answer"),
    [
        ((0.9, 0.95), (-0.02, 0.1), "go"),
        ((0.89, 0.95), (0.1, 0.1), "doubtful"),
        ((0.95, 0.95), (-0.021, 0.1), "doubtful"),
        ((0.95, 0.95), (0.85 - 0.87, 0.86 - 0.88), "go"),  # ties, whatever floats make of them
        ((0.95, 0.95), (-0.021, -0.03), "no"),
        ((0.4, 0.59), (0.1, 0.1), "no"),
        ((0.4, 0.61), (0.1, 0.1), "doubtful"),
    ],
)
def test_the_rule_at_its_limits(
    kept: tuple[float, ...], gain: tuple[float, ...], answer: str
) -> None:
    assert judge(kept, gain, margin=0.02) == answer


@given(st.lists(st.tuples(st.floats(-0.5, 1.1), st.floats(-0.5, 0.5)), min_size=1, max_size=5))
def test_a_better_seed_never_makes_an_answer_worse(seeds: list[tuple[float, float]]) -> None:
    kept, gain = zip(*seeds, strict=True)
    better = judge(tuple(k + 0.1 for k in kept), tuple(g + 0.1 for g in gain), margin=0.02)
    assert RANK[better] >= RANK[judge(kept, gain, margin=0.02)]


@given(COHORTS, st.floats(1, 900), EPSILONS)
def test_a_go_has_no_better_evidence_than_the_study_and_a_no_no_worse(
    patients: int, mean: float, epsilon: float
) -> None:
    found = read(a_trial(), at(patients, mean, epsilon))
    if found.cautious is not None:
        cell = found.cautious
        assert (cell.patients <= mean, cell.epsilon <= epsilon) == (True, True)
        assert cell.alone_patients >= patients
        assert cell.private == two(PRIVATE[cell.patients, cell.epsilon])
    if found.hopeful is not None:
        cell = found.hopeful
        assert (cell.patients >= mean, cell.epsilon >= epsilon) == (True, True)
        assert cell.alone_patients <= patients
    assert found.answer != "go" or (found.cautious is not None and found.cautious.answer == "go")
    assert found.answer != "no" or (found.hopeful is not None and found.hopeful.answer == "no")


@given(COHORTS, st.floats(1, 900), EPSILONS, st.floats(1, 3), st.floats(1, 3))
def test_more_patients_on_average_or_a_larger_epsilon_never_worsen_an_answer(
    patients: int, mean: float, epsilon: float, more: float, larger: float
) -> None:
    """A go stays; what was not lost is never lost; and measured answers never fall."""
    before = read(a_trial(), at(patients, mean, epsilon)).answer
    after = read(a_trial(), at(patients, mean * more, epsilon * larger)).answer
    assert before != "go" or after == "go"
    assert after != "no" or before == "no"


@given(COHORTS, st.floats(50, 400), st.floats(2.0, 8.0), st.integers(0, 400))
def test_a_site_with_more_of_its_own_never_has_more_to_gain(
    patients: int, mean: float, epsilon: float, more: int
) -> None:
    before = read(a_trial(), at(patients, mean, epsilon)).answer
    after = read(a_trial(), at(patients + more, mean, epsilon)).answer
    assert after != "go" or before == "go"
    assert before != "no" or after == "no"


@pytest.mark.parametrize(
    ("patients", "mean", "answer"),
    [
        (50, 400, "go"),  # in a cell both readings are one
        (400, 150, "no"),
        (150, 150, "doubtful"),
        (50, 399, "doubtful"),  # the cell below is doubtful, the one above is a go
        (400, 151, "doubtful"),  # the cell below is a no
        (50, 4000, "go"),  # more than a go
        (400, 10, "no"),  # less than a no
        (50, 10, "no"),
    ],
)
def test_a_study_between_two_cells_is_what_both_of_them_are(
    patients: int, mean: float, answer: str
) -> None:
    assert read(a_trial(), at(patients, mean)).answer == answer


@pytest.mark.parametrize(
    ("situation", "said"),
    [
        (at(49, 150), "50 to 400 patients a site were measured, the site has 49"),
        (at(401, 400), "50 to 400 patients a site were measured, the site has 401"),
        (at(400, 401, 2.0), "the sites have in the mean 401"),
        (at(50, 400, 1.99), "epsilon 2 to 8 was measured, the study costs 1.99"),
        (at(50, 150, 8.01), "the study costs 8.01"),
        (replace(at(50, 400), sites=2), "3 sites were measured, the study has 2"),
    ],
)
def test_one_reading_that_does_not_decide_is_not_measured(situation: Situation, said: str) -> None:
    found = read(a_trial(), situation)
    assert found.answer == "not measured"
    assert said in " ".join(found.outside)
    assert len(found.nearest) == 1


def test_beyond_two_ends_of_the_table_there_is_no_reading() -> None:
    found = read(a_trial(), at(150, 401, 1.0))
    assert (found.answer, found.nearest, len(found.outside)) == ("not measured", (), 2)


def test_readings_that_contradict_each_other_are_a_doubt() -> None:
    """A measured table need not rise everywhere."""
    falling = {50: 0.95, 150: 0.6, 400: 0.6}
    cells = tuple(replace(c, private=two(falling[c.patients])) for c in a_trial().cells)
    found = read(a_trial(cells=cells), at(50, 100))
    assert found.cautious is not None
    assert found.hopeful is not None
    assert (found.cautious.answer, found.hopeful.answer) == ("go", "no")
    assert found.answer == "doubtful"


def test_a_no_counts_the_patients_of_further_sites() -> None:
    poor = with_private(a_trial(), 0.6)
    assert read(poor, replace(at(150, 150), sites=8)).answer == "no"  # 1,200 as in 3 × 400
    beyond = read(poor, replace(at(150, 150), sites=9))
    assert (beyond.answer, beyond.hopeful) == ("not measured", None)
    assert "and are 9, not 3" in beyond.outside[0]
    assert read(a_trial(), replace(at(50, 400), sites=9)).answer == "go"


@pytest.mark.parametrize(("delta", "answers"), [(1e-6, ("not measured", "no")),
                                                (1e-4, ("go", "not measured"))])  # fmt: skip
def test_another_delta_leaves_one_direction(delta: float, answers: tuple[str, str]) -> None:
    task = replace(TASK, privacy=replace(TASK.privacy, delta=delta))
    good, bad = at(50, 400, task=task), at(400, 150, task=task)
    assert tuple(read(a_trial(), one).answer for one in (good, bad)) == answers
    (said,) = read(a_trial(), good).outside
    assert said == f"delta 1e-05 was measured, the task's is {delta:g}"


def test_every_measured_cohort_can_be_either_reading() -> None:
    """A reading that never moved would make the properties above empty."""
    means = range(50, 401, 10)
    found = [read(a_trial(), at(150, mean)) for mean in means]
    assert {one.cautious.patients for one in found if one.cautious} == set(PATIENTS)
    assert {one.hopeful.patients for one in found if one.hopeful} == set(PATIENTS)
