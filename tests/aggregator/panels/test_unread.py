"""What could not be estimated is said with its reason, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
from window_patients import patients, window

from aggregator.panels.unread import headline, sentences
from fedrad.shift.agreed import RECORD
from fedrad.shift.windows import Released


def told(windows: int, size: int = 200) -> tuple[Released, ...]:
    rng = np.random.default_rng(2)
    names = [RECORD, *(f"2024-{month:02d}-01" for month in range(1, windows + 1))]
    releases = [window(*patients(rng, size=size), key=n).blocks for n in range(len(names))]
    return tuple(Released((n,), b) for n, b in zip(names, releases, strict=True))


def test_where_everything_was_read_nothing_is_missing(make_run: Any) -> None:
    releases = {"north": told(7)}
    found = sentences(make_run(), releases)
    assert found == ()
    assert (
        headline(found, releases)
        == "Everything that was asked of the 8 releases could be estimated."
    )


def test_a_hospital_that_declined_is_named_with_its_reason(make_run: Any) -> None:
    reply = {
        "phase": "window",
        "site": "south",
        "outcome": "refused",
        "reason_code": "budget",
        "round": 0,
    }
    done = reply | {"site": "north", "outcome": "done", "reason_code": ""}
    found = sentences(make_run(replies=[reply, done]), {"north": told(7)})
    assert found == (
        "Hospital B (south) declined for the time before the windows: its privacy budget.",
    )


def test_small_windows_and_a_reference_that_is_not_whole_are_said(make_run: Any) -> None:
    small, whole = sentences(make_run(), {"north": told(3, size=30)})
    assert "record" not in small
    assert "fewer than 50 patients, by the released count" in small
    assert "3 of the 6 windows of its reference were told" in whole


def test_figures_without_a_value_are_joined_by_their_windows(make_run: Any) -> None:
    rows = [
        {"split": "window", "site": "north", "window": window, "metric": metric, "value": None}
        for metric in ("auroc", "prevalence") for window in ("2024-01-01", "2024-02-01")
    ]  # fmt: skip
    rows.append(rows[0] | {"metric": "sensitivity", "value": 0.8})
    (found,) = sentences(make_run(metrics=rows), {"north": told(7)})
    assert found.startswith("Hospital A (north), 2024-01-01 and 2024-02-01: AUROC, Prevalence.")
    assert "the interval is too wide to be shown" in found


def test_a_channel_without_a_reading_says_why(make_run: Any) -> None:
    read = ("image", "acquisition", "label", "population")
    rows = [{"site": "north", "channel": channel, "window": "2024-07-01"} for channel in read]
    (found,) = sentences(make_run(shifts=rows), {"north": told(7)})
    assert found == (
        "Hospital A (north), scores within a label in 2024-07-01: fewer than 15 patients of a "
        "class in it or in the first windows."
    )
    assert headline([found], {"north": told(7)}).startswith("1 gap in what 8 releases")
