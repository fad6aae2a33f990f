"""Every hospital by window, and how hospitals stand apart before any."""

from __future__ import annotations

from typing import Any

from aggregator.panels import maps, standing

WINDOWS = ("2024-01-01", "2024-01-31")


def row(site: str, channel: str, window: str, z: float) -> dict[str, Any]:
    return {"site": site, "channel": channel, "window": window, "z": z, "p": 0.01, "statistic": z}


def test_a_hospitals_cell_is_its_furthest_channel_and_keeps_every_alarm(make_run: Any) -> None:
    rows = [
        row("north", "image", WINDOWS[0], 0.1), row("north", "label", WINDOWS[0], 2.0),
        row("north", "image", WINDOWS[1], 5.0), row("north", "label", WINDOWS[1], 2.0),
        row("south", "image", WINDOWS[1], 0.2),
    ]  # fmt: skip
    alarm = {"site": "north", "channel": "label", "window": WINDOWS[1]}
    found = tuple(maps.by_site(tuple(maps.strips(make_run(alarms=[alarm]), rows, WINDOWS))))
    (early, late), (gap, _) = (strip.cells for strip in found)
    assert early is not None
    assert late is not None
    assert (early.step, early.alarm, late.step, late.alarm) == (1, False, 2, True)
    assert late.said.endswith("(images)")
    assert gap is None
    assert maps.headline(found) == (
        "3 windows of 2 hospitals were read; 1 of them is far off, at Hospital A."
    )


def test_the_hospital_that_differs_most_comes_first_with_its_distance(make_run: Any) -> None:
    rows = [row("north", "image", "record", 40.0), row("south", "image", "record", 900.0)]
    rows[1]["p"] = 1e-80
    said = [{"site": site, "channel": "image", "said": f"stands apart: {site}"}
            for site in ("north", "south")]  # fmt: skip
    first, second = standing.sentences(make_run(shifts=rows), said)
    assert first == (
        "Of the 2 hospitals that told it Hospital B (south) stands furthest apart: south; squared "
        "distance 900, p under 0.000001"
    )
    assert second == "Hospital A (north) stands apart: north; squared distance 40, p = 0.01"
