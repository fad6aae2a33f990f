"""The contract: the numbers that all sites of a study agreed before round one.

Public by design. ``patients_agreed`` is the training-split size of a site, rounded down by
a public rule: sampling rate, divisor and weight come from it, so that no exact count is
ever needed. What a single site allows stays in its own ``site.toml``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedrad import durable
from fedrad.settings import as_table, build, refuse_problems

SCHEMA = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTerms:
    """What one site agreed."""

    label: str  # the letter that readers see
    patients_agreed: int  # training patients, as ``agreed_patients`` rounds
    train_sigma: float  # noise multiplier of a private step; 0: not private
    audit_sigma: float  # noise multiplier of a metric release; 0: exact

    def __post_init__(self) -> None:
        refuse_problems("sites", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.patients_agreed < 1:
            yield f"patients_agreed must be 1 or more, got {self.patients_agreed}"
        if self.train_sigma < 0 or self.audit_sigma < 0:
            yield "train_sigma and audit_sigma must be 0 or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingModel:
    """The model before round 1 by digest, where the task names starting weights.

    A site cannot tell a file from the tensors that reach it; it can compare these.
    """

    model: str  # of all parameters, as ``parameters.digest``
    frozen: str  # of those that no training moves; empty: there are none

    def __post_init__(self) -> None:
        refuse_problems("starting", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        for name, digest in (("model", self.model), ("frozen", self.frozen)):
            if not _DIGEST.fullmatch(digest) and (name == "model" or digest):
                yield f"{name} must be 64 hexadecimal digits, got {digest!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One study: its task by hash and the terms of every site by name."""

    schema: int
    study: str
    task_hash: str
    sites: dict[str, SiteTerms]
    starting: StartingModel | None = None  # absent: from the study's seed

    def __post_init__(self) -> None:
        refuse_problems("contract", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.schema != SCHEMA:
            yield f"schema must be {SCHEMA}, got {self.schema}"
        labels = [terms.label for terms in self.sites.values()]
        if len(set(labels)) != len(labels):
            yield f"two sites share a label: {sorted(labels)}"

    def sampling_rate(self, site: str, expected_batch_patients: float) -> float:
        """Return q, the chance of each patient to be drawn in a step, in (0, 1]."""
        return min(1.0, expected_batch_patients / self.sites[site].patients_agreed)

    def expected_batch(self, site: str, expected_batch_patients: float) -> float:
        """Return how many patients a step is expected to draw: its public divisor.

        What the task asks for, or all agreed patients where the site has fewer than that.
        """
        return min(expected_batch_patients, float(self.sites[site].patients_agreed))

    def weights(self, sites: Iterator[str] | list[str], cap: float) -> dict[str, float]:
        """Return each site's share of an aggregate: by agreed patients, none above ``cap``.

        A share over the cap is set to it and the excess is spread over the others in
        proportion, until none is over. If every site would be over (cap below 1 / n), all
        shares are equal. Shares sum to 1.
        """
        agreed = {site: float(self.sites[site].patients_agreed) for site in sites}
        return capped_shares(agreed, cap)


def capped_shares(sizes: dict[str, float], cap: float) -> dict[str, float]:
    """Return shares proportional to ``sizes``, none above ``cap``, summing to 1."""
    if cap * len(sizes) <= 1:
        return dict.fromkeys(sizes, 1 / len(sizes))
    capped: set[str] = set()
    while True:
        free = sum(size for name, size in sizes.items() if name not in capped)
        left = 1 - cap * len(capped)
        shares = {
            name: cap if name in capped else left * size / free for name, size in sizes.items()
        }
        over = {name for name, share in shares.items() if share > cap * (1 + 1e-12)}
        if not over:
            return shares
        capped |= over


def agreed_patients(count: int) -> int:
    """Round a number of patients down, so that a single patient rarely shows.

    From 100 on to two significant digits, from 5 on to a multiple of 5; 1 to 4 become 1,
    and 0 stays 0.
    """
    if count < 5:
        return min(count, 1)
    if count < 100:
        return count // 5 * 5
    step: int = 10 ** (int(math.log10(count)) - 1)
    return count // step * step


def write_contract(path: Path, contract: Contract) -> None:
    """Write the contract as canonical JSON, durably."""
    durable.write_json(path, as_table(contract))


def read_contract(path: Path) -> Contract:
    """Read a contract.

    Raises:
        SettingsError: It cannot be used; every problem is named.
    """
    import json

    from fedrad.errors import SettingsError

    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(str(path), (f"not a readable contract: {error}",)) from None
    return build(Contract, table)
