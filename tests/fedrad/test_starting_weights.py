"""A model starts from the file that the task pins, or it does not start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_study import tiny_task

from fedrad.contract import Contract, SiteTerms, StartingModel, read_contract, write_contract
from fedrad.durable import file_digest
from fedrad.errors import ContractChangedError, SettingsError
from fedrad.models.networks import build
from fedrad.parameters import Parameters, digest, whole, write_safetensors
from fedrad.protocol.messages import Request
from fedrad.provenance import Provenance
from fedrad.starting_weights import pinned, refuse_other_start, starting_model
from fedrad.task import Task, task_hash

NAME = "start.safetensors"


def weights_of(seed: int) -> Parameters:
    return whole(build(tiny_task(), seed=seed))


def starting(folder: Path, tensors: Parameters, trained: str = "all") -> Task:
    """Write ``tensors`` as starting weights and return the task that pins them."""
    write_safetensors(folder / NAME, tensors)
    known = Provenance(source="us", data="x", licence="l", digest=file_digest(folder / NAME))
    task = tiny_task()
    model = replace(task.model, initial=NAME, provenance=known, trained=trained)
    return replace(task, model=model)


def contract_of(task: Task, start: StartingModel | None) -> Contract:
    terms = SiteTerms(label="A", patients_agreed=10, train_sigma=1.0, audit_sigma=1.0)
    return Contract(
        schema=1, study="s", task_hash=task_hash(task), sites={"a": terms}, starting=start
    )


def request_of(model: Parameters, *, round_number: int = 1, phase: str = "train") -> Request:
    return Request(
        study="s",
        task_hash="h",
        round=round_number,
        phase=phase,  # type: ignore[arg-type]
        model_digest=digest(model),
        deadline_s=1.0,
    )


def test_a_file_that_fits_is_the_first_model_whatever_the_seed(tmp_path: Path) -> None:
    task = starting(tmp_path, weights_of(7))
    for seed in (1, 2):
        assert digest(whole(starting_model(task, seed=seed, beside=tmp_path))) == digest(
            weights_of(7)
        )


def test_without_a_file_the_seed_alone_fixes_the_first_model(tmp_path: Path) -> None:
    module = starting_model(tiny_task(), seed=7, beside=tmp_path)
    assert digest(whole(module)) == digest(weights_of(7))
    assert pinned(tiny_task(), module) is None


def test_the_last_part_may_be_left_out_and_then_comes_from_the_seed(tmp_path: Path) -> None:
    body = {k: t for k, t in weights_of(7).items() if not k.startswith("head.4.")}
    found = whole(starting_model(starting(tmp_path, body), seed=2, beside=tmp_path))
    expected = weights_of(2) | body
    assert digest(found) == digest({name: expected[name] for name in found})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"head.0.weight": None}, r"tensor 'head.0.weight' of the network is missing"),
        ({"head.4.bias": None}, r"tensor 'head.4.bias' of the network is missing"),
        (
            {"head.0.bias": np.zeros(4, np.float32)},
            r"'head.0.bias' is float32\[4\], the network has float32\[16\]",
        ),
        ({"head.0.bias": np.zeros(16)}, r"'head.0.bias' is float64\[16\], the network has float32"),
        ({"fc.weight": np.zeros(3, np.float32)}, r"'fc.weight' is not one of filter_bank_cnn's"),
        ({"bn1.running_mean": np.zeros(3, np.float32)}, "belongs to a BatchNorm; train starting"),
        ({"head.0.bias": np.full(16, np.nan, np.float32)}, "'head.0.bias' holds a value that is"),
    ],
)
def test_a_file_that_does_not_fit_names_the_tensor(
    tmp_path: Path, change: Parameters, line: str
) -> None:
    tensors = {k: t for k, t in (weights_of(7) | change).items() if t is not None}
    task = starting(tmp_path, tensors)
    with pytest.raises(SettingsError, match=line):
        starting_model(task, seed=1, beside=tmp_path)


def test_every_misfit_counts_and_few_are_listed(tmp_path: Path) -> None:
    task = starting(tmp_path, {f"other.{n}": np.zeros(1, np.float32) for n in range(9)})
    with pytest.raises(SettingsError, match="and 8 further problems"):  # 4 missing, 9 foreign
        starting_model(task, seed=1, beside=tmp_path)


@pytest.mark.parametrize("content", [None, b"other bytes"])
def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path, content: bytes | None) -> None:
    task = starting(tmp_path, weights_of(7))
    if content is None:
        (tmp_path / NAME).unlink()
    else:
        (tmp_path / NAME).write_bytes(content)
    with pytest.raises(SettingsError, match="cannot be read|names other starting weights"):
        starting_model(task, seed=1, beside=tmp_path)


def test_bytes_that_are_no_safetensors_are_told(tmp_path: Path) -> None:
    task = starting(tmp_path, weights_of(7))
    (tmp_path / NAME).write_bytes(b"\x00" * 40)
    known = replace(task.model.provenance, digest=file_digest(tmp_path / NAME))
    task = replace(task, model=replace(task.model, provenance=known))
    with pytest.raises(SettingsError, match="not safetensors"):
        starting_model(task, seed=1, beside=tmp_path)


def test_the_contract_holds_the_pins_and_comes_back_from_disk(tmp_path: Path) -> None:
    task = starting(tmp_path, weights_of(7), "last")
    start = pinned(task, starting_model(task, seed=1, beside=tmp_path))
    for contract in (contract_of(task, start), contract_of(task, None)):
        write_contract(tmp_path / "contract.json", contract)
        assert read_contract(tmp_path / "contract.json") == contract


def test_a_site_takes_the_pinned_first_model_and_later_ones(tmp_path: Path) -> None:
    task = starting(tmp_path, weights_of(7), "last")
    module = starting_model(task, seed=1, beside=tmp_path)
    contract, first = contract_of(task, pinned(task, module)), whole(module)
    later = first | {"head.4.bias": first["head.4.bias"] + 1}
    for model, number in ((first, 1), (first, 2), (later, 2)):
        request = request_of(model, round_number=number)
        refuse_other_start(task, contract, request, model=model, module=module)


@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_a_site_refuses_another_first_model_or_a_changed_frozen_part(
    tmp_path: Path, phase: str
) -> None:
    task = starting(tmp_path, weights_of(7), "last")
    module = starting_model(task, seed=1, beside=tmp_path)
    contract, first = contract_of(task, pinned(task, module)), whole(module)
    swapped = first | {"head.0.bias": first["head.0.bias"] + 1}
    request = request_of(swapped, round_number=5, phase=phase)
    with pytest.raises(ContractChangedError, match="was to stay frozen differs"):
        refuse_other_start(task, contract, request, model=swapped, module=module)
    other = first | {"head.4.bias": first["head.4.bias"] + 1}
    with pytest.raises(ContractChangedError, match="not made of the agreed starting weights"):
        refuse_other_start(task, contract, request_of(other), model=other, module=module)
    bare = contract_of(task, None)
    with pytest.raises(ContractChangedError, match="the contract pins none"):
        refuse_other_start(task, bare, request_of(first), model=first, module=module)


def test_a_person_reads_source_data_and_licence_before_accepting(tmp_path: Path) -> None:
    task = starting(tmp_path, weights_of(7), "last")
    told = task.model.start()
    assert task.model.provenance
    for text in (task.model.provenance.digest, "made by us", "data: x", "licence: l", "last"):
        assert text in told
    assert "random weights" in tiny_task().model.start()
