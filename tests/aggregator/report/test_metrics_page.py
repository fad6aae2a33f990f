"""Prometheus reads what the records say; nothing that was not measured has a line."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from aggregator.metrics_page import text_of

Lines = dict[tuple[str, frozenset[str]], float]


def lines(folder: Path) -> Lines:
    """The text as Prometheus's own reader reads it."""
    text = text_of({"lungs": folder}).decode("utf-8")
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_rounds_sites_and_figures_are_those_of_the_run(run_folder: Path) -> None:
    found = lines(run_folder)
    assert found["fedrad_rounds_planned", frozenset({"lungs"})] == 30
    assert 0 < found["fedrad_metric", frozenset({"lungs", "Hospital A", "auroc"})] < 1
    assert found["fedrad_epsilon", frozenset({"lungs", "Hospital A"})] > 0
    assert sum(v for (name, _), v in found.items() if name == "fedrad_rounds") > 1


def test_no_hospital_is_named(run_folder: Path) -> None:
    text = text_of({"lungs": run_folder}).decode("utf-8").lower()
    assert not [name for name in ("east", "north", "south", "west") if f'"{name}' in text]


def test_exact_metrics_have_no_epsilon(exact_folder: Path) -> None:
    assert not [key for key in lines(exact_folder) if key[0] == "fedrad_epsilon"]
