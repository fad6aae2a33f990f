"""Write a run's model for others: check every form against the original, then list and sign.

A form that does not agree is not left behind. The folder is new, or an earlier one of ours.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fedrad
from aggregator.card.write import write_card
from aggregator.chosen import Chosen, choose
from aggregator.model_out import bundle, onnx_file
from aggregator.model_out.agreement import Agreement, agree, drawn_images
from aggregator.model_out.graph import graph_of, read_graph
from fedrad import durable
from fedrad.contract import read_contract
from fedrad.errors import SettingsError
from fedrad.released import SUMS, About, Released, read_released, seal, write_released
from fedrad.settings import as_table
from fedrad.signatures import PrivateKey, key_digest, spoken
from fedrad.task import Task, read_task, task_hash

Say = Callable[[str], None]
AGREEMENT = "agreement.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Which forms besides fedrad's own."""

    monai: bool = False
    onnx: bool = False
    round: int | None = None  # absent: the promoted one, or the one that the run stands on


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written where."""

    folder: Path
    about: About
    forms: tuple[Agreement, ...]
    signed_by: str  # the key as people read it out; empty: nobody


def write_model(
    run: Path, out: Path, wishes: Wishes, *, key: PrivateKey | None, say: Say
) -> Written:
    """Write the model of a run into a folder.

    Args:
        run: The run's folder; read only.
        out: New, empty, or written by this before.
        wishes: Which round and forms.
        key: The coordinator's signing key; ``None``: nobody signs.
        say: Told what is under way.

    Raises:
        SettingsError: ``out`` holds something else, or a library of an extra is missing.
        RunError: No round made a model.
        ModelError: A form differs from the original by more than ``agreement.LIMIT``.
    """
    if wishes.onnx:
        onnx_file.refuse_without_extra()
    _refuse_other(out)
    chosen, task = choose(run, wishes.round), read_task(run / "task.toml")
    about = about_of(chosen, task, read_contract(run / "contract.json").study)
    for old in (bundle.FOLDER, onnx_file.FILE, AGREEMENT):
        _remove(out / old)
    write_released(out, task, about, chosen.parameters)
    seal(out, None)
    forms = _forms(read_released(out), wishes, say)
    if forms:
        durable.write_json(out / AGREEMENT, {"forms": [as_table(form) for form in forms]})
    write_card(run, out, chosen, about)
    seal(out, key)
    found = read_released(out)
    signer = spoken(key_digest(found.signed_by)) if found.signed_by else ""
    return Written(folder=out, about=about, forms=forms, signed_by=signer)


def about_of(chosen: Chosen, task: Task, study: str) -> About:
    """Return what ``model.json`` says of a model."""
    return About(
        study=study,
        task_hash=task_hash(task),
        round=chosen.round,
        model_digest=chosen.digest,
        decision="not promoted" if chosen.release is None else "promoted",
        fedrad=fedrad.__version__,
    )


def as_text(written: Written) -> str:
    """Return what a person reads."""
    about = written.about
    lines = [
        f"{about.study}, round {about.round} ({about.decision}): {written.folder}",
        *(
            f"{form.form}: differs by {form.largest:.1e} at most on {form.images} drawn images "
            f"(limit {form.limit:g})"
            for form in written.forms
        ),
        f"signed; the key's fingerprint is {written.signed_by}"
        if written.signed_by
        else "not signed: no coordinator's home was named (--home)",
    ]
    return "\n".join(lines)


def table_of(written: Written) -> dict[str, Any]:
    """Return the same for ``--json``."""
    return {
        "folder": str(written.folder),
        **as_table(written.about),
        "forms": [as_table(form) for form in written.forms],
        "signed_by": written.signed_by,
    }


def _forms(released: Released, wishes: Wishes, say: Say) -> tuple[Agreement, ...]:
    if not (wishes.monai or wishes.onnx):
        return ()
    network, task, out = released.network(), released.task, released.folder
    say("tracing the network")
    graph, images, found = graph_of(network, task), drawn_images(task), []
    if wishes.monai:
        say("writing the MONAI bundle and comparing it with the original")
        bundle.write_bundle(out / bundle.FOLDER, task, released.about, graph)
        predict = read_graph(out / bundle.FOLDER / bundle.GRAPH)
        found.append(agree("MONAI bundle", network, predict, images))
    if wishes.onnx:
        say("writing ONNX and comparing it with the original")
        about = {name: str(value) for name, value in as_table(released.about).items()}
        onnx_file.write_onnx(out / onnx_file.FILE, graph, about | {"use": bundle.RESEARCH})
        predict = onnx_file.read_onnx(out / onnx_file.FILE)
        found.append(agree("ONNX file", network, predict, images))
    return tuple(found)


def _refuse_other(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / SUMS).exists():
        line = "there is something else in it; name a new folder"
        raise SettingsError(str(out), (line,))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
