"""The mean of files: right, independent of order, and small."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aggregator.aggregation import updates
from aggregator.aggregation.mean import weighted_mean
from fedrad.errors import DamagedStateError, RunError
from fedrad.parameters import Parameters, digest, write_safetensors

SITES = ("east", "north", "south")
SHARES = {"east": 0.5, "north": 0.3, "south": 0.2}


def written(folder: Path, updates: dict[str, Parameters]) -> dict[str, Path]:
    files = {site: folder / f"{site}.safetensors" for site in updates}
    for site, update in updates.items():
        write_safetensors(files[site], update)
    return files


def some_updates(dtype: type = np.float32, size: int = 7) -> dict[str, Parameters]:
    rng = np.random.default_rng(1)
    return {
        site: {"w": rng.normal(size=(size, 3)).astype(dtype), "scale": np.array(rng.normal())}
        for site in SITES
    }


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([np.float16, np.float32, np.float64]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            st.tuples(st.just(3), st.integers(1, 40)),
            elements={"min_value": -9, "max_value": 9},
        )
    )
)
def test_it_is_the_weighted_sum_in_the_dtype_of_the_updates(
    tmp_path: Path, values: np.ndarray
) -> None:
    files = written(tmp_path, {site: {"w": row} for site, row in zip(SITES, values, strict=True)})
    got = weighted_mean(files, SHARES)["w"]
    wanted = (values.astype(np.float64) * [[0.5], [0.3], [0.2]]).sum(axis=0)
    assert got.dtype == values.dtype
    np.testing.assert_allclose(got, wanted.astype(values.dtype), rtol=1e-3, atol=1e-7)


def test_the_order_of_arrival_does_not_touch_a_bit(tmp_path: Path) -> None:
    files = written(tmp_path, some_updates())
    backwards = dict(reversed(files.items()))
    assert digest(weighted_mean(files, SHARES)) == digest(weighted_mean(backwards, SHARES))


def test_pieces_do_not_touch_a_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = written(tmp_path, some_updates(size=50))
    whole = digest(weighted_mean(files, SHARES))
    monkeypatch.setattr(updates, "PIECE", 11)
    assert digest(weighted_mean(files, SHARES)) == whole


def test_the_names_keep_the_order_of_the_model(tmp_path: Path) -> None:
    updates = {site: {"z": np.ones(2), "a": np.ones(3)} for site in SITES}
    assert list(weighted_mean(written(tmp_path, updates), SHARES)) == ["z", "a"]


def test_memory_does_not_grow_with_the_number_of_sites(tmp_path: Path) -> None:
    tensor = np.ones(1_000_000, np.float32)
    files = written(tmp_path, {f"s{number:02d}": {"w": tensor} for number in range(12)})
    tracemalloc.start()
    weighted_mean(files, dict.fromkeys(files, 1 / 12))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    buffers = updates.PIECE * (4 + 8 + 8)
    assert peak < tensor.nbytes + buffers + 1_000_000


def test_shares_that_do_not_sum_to_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must sum to 1"):
        weighted_mean(written(tmp_path, some_updates()), dict.fromkeys(SITES, 0.5))


def test_a_file_with_other_tensors_is_refused_by_site(tmp_path: Path) -> None:
    updates = some_updates()
    updates["south"] = {"w": updates["south"]["w"]}
    with pytest.raises(RunError, match="'south' holds other tensors"):
        weighted_mean(written(tmp_path, updates), SHARES)


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_file_that_is_not_safetensors_is_damaged_state(tmp_path: Path, damage: bytes) -> None:
    files = written(tmp_path, some_updates())
    files["south"].write_bytes(damage)
    with pytest.raises((DamagedStateError, RunError), match="south"):
        weighted_mean(files, SHARES)


def test_a_file_cut_short_is_damaged_state(tmp_path: Path) -> None:
    files = written(tmp_path, some_updates())
    files["south"].write_bytes(files["south"].read_bytes()[:-8])
    with pytest.raises(DamagedStateError, match="ends before its tensors"):
        weighted_mean(files, SHARES)


def test_a_missing_file_is_damaged_state(tmp_path: Path) -> None:
    files = written(tmp_path, some_updates())
    files["north"].unlink()
    with pytest.raises(DamagedStateError, match="No such file"):
        weighted_mean(files, SHARES)
