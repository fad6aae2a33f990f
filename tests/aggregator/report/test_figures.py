from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aggregator.figures import HEIGHT, ROW_WIDTH, WIDTH, forest, panels, signed

shares = st.floats(0, 1)
curves = st.lists(st.tuples(st.integers(1, 500), shares), min_size=1, max_size=12, unique_by=min)


@given(st.dictionaries(st.text(max_size=3), curves, min_size=1, max_size=5))
def test_every_dot_lies_inside_its_panel(raw: dict[str, list[tuple[int, float]]]) -> None:
    points = {name: [(n, v, v / 2, (1 + v) / 2) for n, v in line] for name, line in raw.items()}
    for panel in panels(points).values():
        assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in panel.dots)
        assert all(0 < tick.at < HEIGHT for tick in panel.y_ticks)
        assert 2 <= len(panel.y_ticks) <= 7


def test_higher_values_are_drawn_higher() -> None:
    panel = panels({"a": [(1, 0.6, None, None), (2, 0.9, None, None)]})["a"]
    assert panel.dots[1][1] < panel.dots[0][1]
    assert panel.band == ""


def test_one_release_has_whiskers_and_no_band() -> None:
    panel = panels({"a": [(5, 0.8, 0.7, 0.9)]})["a"]
    assert len(panel.whiskers) == 1
    assert panel.band == ""


differences = st.tuples(st.floats(-0.4, 0.4), st.floats(0, 0.6), st.floats(0, 0.6))


@given(st.lists(differences, min_size=1, max_size=6), st.floats(0, 0.1))
def test_a_forest_keeps_order_and_side(
    raw: list[tuple[float, float, float]], margin: float
) -> None:
    rows = {str(i): (v, v - down, v + up) for i, (v, down, up) in enumerate(raw)}
    plot = forest(rows, margin)
    for name, (value, *_) in rows.items():
        row = plot.rows[name]
        assert 0 <= row.low <= row.middle <= row.high <= ROW_WIDTH
        assert (row.middle >= plot.zero) == (value >= 0) or abs(value) < 1e-3


def test_a_difference_always_carries_its_sign() -> None:
    assert [signed(0.0434), signed(-0.01), signed(0.0)] == ["+0.043", "−0.010", "0"]
