"""Facts and comparisons survive the disk, and a broken file is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.comparison import Comparison, SiteComparison, read_comparison, write_comparison
from aggregator.facts import Fact, read_facts, write_facts
from aggregator.first_screen import banner
from aggregator.run_folder import read_run
from aggregator.store import Store
from aggregator.tables import Run
from fedrad.errors import DamagedStateError, SettingsError


def test_facts_come_back_as_they_were_written(tmp_path: Path) -> None:
    facts = (Fact(key="a", text="t", value="0", command="c", lines=("x", "y")),)
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path) == facts


def test_a_count_of_zero_is_a_value(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text('[{"key": "k", "text": "found", "value": 0}]')
    assert read_facts(tmp_path)[0].value == "0"


@pytest.mark.parametrize("text", ["{", "[1]", '[{"key": "k"}]', "3"])
def test_facts_that_cannot_be_used_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "facts.json").write_text(text)
    with pytest.raises(DamagedStateError, match=r"facts\.json cannot be used"):
        read_facts(tmp_path)


@given(score=st.none() | st.floats(0, 1))
def test_a_comparison_comes_back_with_its_gaps(
    tmp_path_factory: pytest.TempPathFactory, score: float | None
) -> None:
    folder = tmp_path_factory.mktemp("run")
    site = SiteComparison(site="s", label="A", n=20, n_positive=9, alone=score)
    comparison = Comparison(primary="auroc", sites=(site,), spread={"s": (0.1, 0.2)})
    write_comparison(folder, comparison)
    assert read_comparison(folder) == comparison


def test_a_verdict_needs_a_difference() -> None:
    site = SiteComparison(site="s", label="A", n=20, n_positive=9, verdict="federated")
    with pytest.raises(SettingsError, match="verdict without a difference"):
        Comparison(primary="auroc", sites=(site,))


def test_a_comparison_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text('{"primary": "luck", "sites": []}')
    with pytest.raises(DamagedStateError, match=r"comparison\.json cannot be used.*primary"):
        read_comparison(tmp_path)


def test_only_a_simulation_has_a_banner_by_itself(run_folder: Path) -> None:
    assert banner(read_run(run_folder)) == "Phantoms, not clinical evidence"
    with Store(run_folder / "run.sqlite") as store:
        row = store.frame("runs").iloc[0].to_dict()
        store.record([Run(**(row | {"engine": "superlink"}))])
    assert banner(read_run(run_folder)) == ""


def test_public_images_are_not_called_phantoms(run_folder: Path) -> None:
    with Store(run_folder / "run.sqlite") as store:
        row = store.frame("runs").iloc[0].to_dict()
        store.record([Run(**(row | {"versions_json": '{"images": "public"}'}))])
    assert banner(read_run(run_folder)) == "Public images, not clinical evidence"
