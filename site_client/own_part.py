"""What the newest model would be without this hospital's part of its round, computed at home.

With w the newest model, c this hospital's agreed share of a round of all who train, and v its own
model of that round (the model that it got plus its update) that is (w - c v) / (1 - c), as in
simulations (decision 126). The hospital cannot know whether its update came in time or was
shortened: it is what the mean of everybody would give. v stays in ``state/figures/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fedrad.parameters import Parameters, read_safetensors, without_part, write_safetensors
from site_client.own_figures import FOLDER, round_of
from site_client.study import Duty, study_folder


def keep_own(home: Path, duty: Duty, update: Parameters) -> None:
    """Keep this hospital's own model of a round in place of that of an earlier one.

    Raises:
        OSError: The disk refused.
    """
    own = {
        name: (duty.model[name].astype(np.float64) + moved).astype(duty.model[name].dtype)
        for name, moved in update.items()
    }
    before = list(_kept(home, duty, "*"))
    path = home / FOLDER / f"{_name(home, duty)}-{duty.request.round}-{_came(duty)}.safetensors"
    write_safetensors(path, own)
    path.chmod(0o600)
    for old in before:
        if old != path:
            old.unlink()


def without_own(home: Path, duty: Duty) -> Parameters:
    """Return the model that came without this hospital's part of the round that made it.

    Empty where there is none: nothing was trained in that round, the round gave no model, or
    this hospital is all of it.

    Raises:
        DamagedStateError: The own model cannot be read.
    """
    found = list(_kept(home, duty, str(round_of(duty.request))))
    share = _share(duty)
    if not found or found[0].stem.endswith(_came(duty)) or not 0 < share < 1:
        return {}
    return without_part(duty.model, read_safetensors(found[0]), share=share)


def _share(duty: Duty) -> float:
    weights = duty.contract.weights(list(duty.contract.trainers), duty.task.federation.weight_cap)
    return weights.get(duty.settings.site.name, 0.0)


def _kept(home: Path, duty: Duty, number: str) -> Iterator[Path]:
    return (home / FOLDER).glob(f"{_name(home, duty)}-{number}-*.safetensors")


def _name(home: Path, duty: Duty) -> str:
    return f"{study_folder(home, duty.request.study).name}.own"


def _came(duty: Duty) -> str:
    return duty.request.model_digest[:16]
