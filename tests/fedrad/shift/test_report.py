"""A window's release is small, exact, and read with suspicion."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from window_patients import LAYOUT, example, together

from fedrad.errors import SettingsError
from fedrad.privacy.mechanisms import noise_source
from fedrad.protocol.messages import Block
from fedrad.shift.blocks import images_window, labels_window, whole_window, window_edges
from fedrad.shift.report import WindowReport, as_bytes, parse_report, released, report_of
from fedrad.site_report import noised

SEEN, LABELS = together([example()] * 250)
RELEASES = {
    "whole": whole_window(SEEN, LABELS, LAYOUT),
    "images": images_window(SEEN, LAYOUT),
    "labels": labels_window(SEEN.scores, LABELS, LAYOUT, population=SEEN.population),
}


def report(kind: Any = "whole", noise: float = 2.0) -> tuple[WindowReport, tuple[Block, ...]]:
    blocks = noised(RELEASES[kind], sigma=noise, rng=noise_source(bytes(32)))
    said = WindowReport(
        site="hospital-a", task_hash="a" * 64, model_digest="b" * 64, ledger_line="c" * 64,
        kind=kind, first="2026-01-01", last="2026-01-30", noise=noise, values=report_of(blocks),
    )  # fmt: skip
    return said, blocks


@pytest.mark.parametrize("kind", list(RELEASES))
@pytest.mark.parametrize("noise", [0.5, 2.0, 200.0])
def test_a_release_is_under_two_kilobytes_and_comes_back_whole(kind: str, noise: float) -> None:
    said, blocks = report(kind, noise)
    content = as_bytes(said)
    assert len(content) < 2048
    again = {block.name: block for block in released(parse_report(content), LAYOUT).blocks}
    for block in blocks:
        np.testing.assert_array_equal(again[block.name].values, block.values)
        assert again[block.name].sigma == pytest.approx(block.sigma)
        assert again[block.name].sensitivity == block.sensitivity


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "schema must be 1"),
        ({"kind": "some"}, "kind"),
        ({"last": "2025-01-01"}, "days in order"),
        ({"first": "soon"}, "days in order"),
        ({"noise": 0.0}, "noise must lie between"),
        ({"site": "../x"}, "site must be"),
        ({"vocabulary": "mine"}, "vocabulary"),
        ({"values": {"n": [1]}}, "values must be those of n, positives"),
        ({"ledger_line": ""}, "64 hexadecimal"),
    ],
)
def test_what_is_not_as_agreed_is_refused_with_a_reason(change: dict[str, Any], says: str) -> None:
    table = json.loads(as_bytes(report()[0]))
    with pytest.raises(SettingsError, match=says):
        parse_report(json.dumps(table | change).encode())


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with pytest.raises(SettingsError):
        parse_report(content)


@pytest.mark.parametrize("content", [b"[" * 2000, b'{"noise": NaN}', b"x" * 3000])
def test_deep_long_and_odd_content_is_refused(content: bytes) -> None:
    with pytest.raises(SettingsError, match="no JSON object|longer than"):
        parse_report(content)


def test_another_tasks_edges_are_refused() -> None:
    said, _ = report()
    other = type(LAYOUT)(LAYOUT.tags, LAYOUT.population, window_edges(500, 0.5), 0.5)
    with pytest.raises(SettingsError, match="table must have"):
        released(said, other)
