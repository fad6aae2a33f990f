"""The contract: the numbers that all sites of a study agreed before round one.

Public by design. ``patients_agreed`` is the training-split size of a site, rounded down by
a public rule: sampling rate, divisor and weight come from it, so that no exact count is
ever needed. What a single site allows stays in its own ``site.toml``.

Schema 2 adds what a responsible person signs besides numbers (``Conditions``) and sites that
are scored but never trained on. Schema 1 is still read; a simulation's contract has no
conditions. A site is shown the others as letters, unless the conditions say names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from fedrad import durable
from fedrad.hours import hours_problems
from fedrad.settings import as_table, build, refuse_problems

SCHEMA = 2
READ = (1, 2)
OTHERS = "hospital-"  # with its letter: how a site's contract names another site
MOST_RECIPIENTS = 50
_LONGEST = 300  # characters of a text that people read
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTerms:
    """What one site agreed."""

    label: str  # the letter that readers see
    patients_agreed: int  # training patients, as ``agreed_patients`` rounds
    train_sigma: float  # noise multiplier of a private step; 0: not private
    audit_sigma: float  # noise multiplier of a metric release; 0: exact
    kind: Literal["train", "evaluate"] = "train"  # evaluate: scored, never trained on
    window_sigma: float = 0.0  # noise multiplier of a window's release; 0: none is granted
    hours: str = ""  # UTC, in which it promised to work; empty: the task's (fedrad.hours)

    def __post_init__(self) -> None:
        refuse_problems("sites", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.patients_agreed < 1:
            yield f"patients_agreed must be 1 or more, got {self.patients_agreed}"
        if min(self.train_sigma, self.audit_sigma, self.window_sigma) < 0:
            yield "train_sigma, audit_sigma and window_sigma must be 0 or more"
        if self.kind == "evaluate" and self.train_sigma:
            yield "a site of kind 'evaluate' trains nothing: train_sigma must be 0"
        yield from hours_problems(self.hours)


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
class Conditions:
    """What a responsible person signs besides numbers."""

    expires: str  # the last day, YYYY-MM-DD in UTC; from the next on sites abstain
    recipients: tuple[str, ...]  # who gets the trained model
    ethics: str = ""  # the approval's reference; empty: none was stated
    figures: Literal["letters", "names"] = "letters"  # how a hospital sees the others

    def __post_init__(self) -> None:
        refuse_problems("conditions", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if not _is_day(self.expires):
            yield f"expires must be a day, YYYY-MM-DD, got {self.expires[:20]!r}"
        if not 1 <= len(self.recipients) <= MOST_RECIPIENTS:
            yield f"recipients must name 1 to {MOST_RECIPIENTS}, got {len(self.recipients)}"
        for text in (*self.recipients, self.ethics):
            if len(text) > _LONGEST or not text.isprintable():
                yield f"a text must be one line of up to {_LONGEST} characters"

    def expired(self, now: datetime) -> bool:
        """Whether the last day is over at ``now``, which is in UTC."""
        return now.date() > date.fromisoformat(self.expires)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One study: its task by hash and the terms of every site by name."""

    schema: int
    study: str
    task_hash: str
    sites: dict[str, SiteTerms]
    starting: StartingModel | None = None  # absent: from the study's seed
    conditions: Conditions | None = None  # absent: a simulation's, or schema 1

    def __post_init__(self) -> None:
        refuse_problems("contract", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.schema not in READ:
            yield f"schema must be one of {READ}, got {self.schema}; update fedrad"
        if self.schema == 1 and (self.conditions or len(self.trainers) < len(self.sites)):
            yield "conditions and sites of kind 'evaluate' need schema 2"
        labels = [terms.label for terms in self.sites.values()]
        if len(set(labels)) != len(labels):
            yield f"two sites share a label: {sorted(labels)}"

    @property
    def trainers(self) -> tuple[str, ...]:
        """The sites that train, in the contract's order."""
        return tuple(name for name, terms in self.sites.items() if terms.kind == "train")

    def seen_by(self, site: str) -> Contract:
        """Return the contract as ``site`` gets it: itself by name, the others by letter.

        The whole contract, where the conditions say that hospitals see names.

        Raises:
            KeyError: The contract does not name the site.
        """
        if self.conditions is None or self.conditions.figures == "names":
            return self
        own = self.sites[site]
        others = {
            f"{OTHERS}{terms.label}": terms for name, terms in self.sites.items() if name != site
        }
        in_order = sorted({site: own, **others}.items())
        return replace(self, sites=dict(in_order))

    @property
    def most_patients(self) -> dict[str, float]:
        """For how many patients each site counts at most in figures of all patients together."""
        return {site: float(terms.patients_agreed) for site, terms in self.sites.items()}

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


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


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


def contract_table(contract: Contract) -> dict[str, Any]:
    """Return the contract as JSON holds it: of schema 1 only what schema 1 knows.

    ``window_sigma`` is there only where windows are granted, ``hours`` where some were promised.
    """
    table = as_table(contract)
    for terms in table["sites"].values():
        for name in ("window_sigma", "hours"):
            if not terms[name]:
                del terms[name]
    if contract.schema == 1:
        del table["conditions"]
        for terms in table["sites"].values():
            del terms["kind"]
    return table


def write_contract(path: Path, contract: Contract) -> None:
    """Write the contract as canonical JSON, durably."""
    durable.write_json(path, contract_table(contract))


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
