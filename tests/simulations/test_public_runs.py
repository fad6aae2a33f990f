"""A private round on published radiographs, from the images to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = "from simulations.cli import app; app()"


@pytest.mark.long
@pytest.mark.parametrize(("scenario", "images"), [("lungs_private", "lungs"), ("pneumonia",) * 2])
def test_a_private_round_on_published_images_leaks_nothing(
    scenario: str, images: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data, out = request.getfixturevalue(images), tmp_path / "run"
    words = ["run", scenario, "--data", str(data), "--out", str(out), "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words, "--no-baselines", "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = {fact["key"]: fact for fact in json.loads(done.stdout)["facts"]}
    assert facts["banner"]["text"] == "Public images, not clinical evidence"
    assert facts["identifiers"]["value"] == "0"
    assert float(facts["privacy"]["value"].removeprefix("ε ")) < 8
    assert (out / "report.html").stat().st_size > 10_000
