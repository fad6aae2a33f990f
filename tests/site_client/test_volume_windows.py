"""A window of CT volumes at a site: real DICOM series, outlines, and peaks of tissues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_study import EXACT
from watched_outlines import watched_outlines
from watched_study import site_on

from fedrad.shift.agreed import check_window, layout_of
from fedrad.shift.extras import PEAKS

CT = (
    'data.modality="CT"', "data.dimensions=3", "recipe.size=[8, 32, 32]",
    'recipe.intensity.kind="window"', 'recipe.intensity.constants="ct-lung-1"',
    "labels.map={ lesion = 1 }", 'task.classes=["background", "lesion"]',
    'task.positive="lesion"', "model.parameters={ channels = [4, 8] }",
)  # fmt: skip


@pytest.mark.long  # half a minute of a processor: volumes of a hospital are written and outlined
def test_a_window_of_volumes_tells_peaks_of_tissues(tmp_path: Path) -> None:
    """Sums are exact here: phantoms have air, so its peak is told of each of the patients."""
    study = watched_outlines(tmp_path / "run", *CT, *EXACT, kind="ct")
    assert layout_of(study.task).extras == tuple(PEAKS)
    reply = site_on(study, "2025-01-01").answer(study.ask("window", 1), study.model)
    assert reply.outcome == "done", reply
    blocks = {block.name: block for block in reply.blocks}
    patients = float(blocks["n"].values[0])
    assert patients > 0
    air = blocks["extras"].values[0] / patients
    assert np.abs(blocks["extras"].values).max() <= 2 * patients
    assert air != 0, "an exact 0 is a peak that was not found"
    assert abs(air) < 1, "deviations of 50 HU from -1000"
    check_window(reply.blocks, study.task, "window", window_sigma=0.0)
