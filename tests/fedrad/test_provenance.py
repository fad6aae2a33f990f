"""Weights come with source, data, licence and their own digest, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedrad.durable import file_digest
from fedrad.errors import SettingsError
from fedrad.provenance import Provenance, provenance_path, read_provenance, write_provenance


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    path.write_bytes(b"weights")
    return path


def known(path: Path, **changed: str) -> Provenance:
    given = {"source": "a paper", "data": "phantoms", "licence": "CC0-1.0"}
    return Provenance(**(given | {"digest": file_digest(path)} | changed))


def test_what_was_written_is_read_back(weights: Path) -> None:
    told = known(weights, privacy="nobody is in the data")
    assert write_provenance(weights, told) == weights.with_name("start.json")
    assert read_provenance(weights) == told


@pytest.mark.parametrize("name", ["source", "data", "licence", "digest"])
def test_every_one_of_the_four_is_required(weights: Path, name: str) -> None:
    write_provenance(weights, known(weights))
    table = json.loads(provenance_path(weights).read_text())
    provenance_path(weights).write_text(json.dumps({k: v for k, v in table.items() if k != name}))
    with pytest.raises(SettingsError, match=f"{name} is missing"):
        read_provenance(weights)


def test_weights_alone_are_refused(weights: Path) -> None:
    with pytest.raises(SettingsError, match=r"without provenance are refused: write start.json"):
        read_provenance(weights)


def test_provenance_alone_is_refused(weights: Path) -> None:
    write_provenance(weights, known(weights))
    weights.unlink()
    with pytest.raises(SettingsError, match="the starting weights are not there"):
        read_provenance(weights)


def test_one_changed_byte_makes_it_another_file(weights: Path) -> None:
    write_provenance(weights, known(weights))
    weights.write_bytes(b"Weights")
    with pytest.raises(SettingsError, match="its provenance describes .*: another file"):
        read_provenance(weights)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"source": 1}', '{"licence": "x", "more": 2}'])
def test_a_provenance_that_is_none_is_told(weights: Path, text: str) -> None:
    provenance_path(weights).write_text(text)
    with pytest.raises(SettingsError, match="start.json"):
        read_provenance(weights)
