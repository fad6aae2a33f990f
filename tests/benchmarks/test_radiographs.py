"""A folder of radiographs as the benchmark reads it: who is left out, what a shift does."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "shiftbench"))

import radiographs
from bank import Machine, Rows, conditions
from draws import NONE, Shift
from radiographs import AS_TAKEN, POSITIVE, SITE, VirtualSite, archive, bank, changed, rescaled

from fedrad.shift.moments import CLIP
from simulations.phantoms import radiograph


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients of two films: the first has both labels, the last is of another site."""
    home = tmp_path_factory.mktemp("radiographs")
    rows = [("file", "site", "label", "patient")]
    for patient in range(8):
        for film in range(2):
            image = radiograph(np.random.default_rng(2 * patient + film), size=64, positive=False)
            name = f"{patient}-{film}.png"
            Image.fromarray((200 * image.image).astype(np.uint8)).save(home / name)
            positive = (patient + film) % 2 if patient == 0 else patient % 2
            site = "elsewhere" if patient == 7 else SITE
            rows.append((name, site, POSITIVE if positive else "normal", f"p{patient}"))
    with (home / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return home


def test_patients_with_both_labels_and_other_sites_are_left_out(folder: Path) -> None:
    films, labels = archive(folder)
    assert len(films) == len(labels) == 6
    assert sum(labels) == 3
    assert all(len(own) == 2 for own in films)


@pytest.mark.parametrize("name", sorted(conditions(Machine())))
def test_a_shift_of_images_changes_films_and_no_shift_does_not(folder: Path, name: str) -> None:
    films, _ = archive(folder)
    before = changed(films[0], AS_TAKEN, 3)
    after = changed(films[0], conditions(AS_TAKEN)[name], 3)
    assert np.allclose(before[0], films[0][0], atol=1e-6)
    same = name in ("rename", "population L", "population H")
    assert np.allclose(before[0], after[0], atol=1e-4) == same


def test_nobody_is_in_two_windows_of_a_virtual_site() -> None:
    size = 200
    columns = {name: np.arange(size, dtype=float)[:, None] for name in Rows.__dataclass_fields__}
    columns |= {"labels": np.arange(size) % 2, "lesion": np.zeros(size)}
    rows = Rows(**columns)  # type: ignore[arg-type]
    site = VirtualSite({"": rows, "x": rows}, list(range(size)), np.random.default_rng(1))
    windows = [site.window(shift) for shift in (NONE, Shift(condition="x"), NONE)]
    met = [int(one) for window in windows for one in window.raw[:, 0]]
    assert len(met) == len(set(met)) > 60
    assert not set(met) & set(site.free())


def test_patients_are_described_once_for_each_shift_and_rescaled_moments_keep_to_the_clip(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radiographs, "FITTED", 4)
    monkeypatch.setattr(radiographs, "COMPONENTS", 3)
    as_taken, darker = (bank(folder, name, tmp_path) for name in ("", "gain H"))
    assert len(as_taken.labels) == 2
    assert (darker.raw[:, 0] < as_taken.raw[:, 0]).all()
    assert np.array_equal(bank(folder, "gain H", tmp_path).moments, darker.moments)
    anew = rescaled(as_taken, folder)
    assert not np.allclose(anew.moments, as_taken.moments)
    assert (np.linalg.norm(anew.moments, axis=1) <= CLIP * (1 + 1e-12)).all()
