"""Plan a contract: how much noise each site adds so that the whole study fits its epsilon.

Noise, sampling rate and steps are fixed here, before round one, for all rounds including
the spare ones, as ``fedrad.planning.noise`` computes them for both sides. Whether a site
agrees is the site's own decision.
"""

from __future__ import annotations

import string
from collections.abc import Mapping

from fedrad.contract import SCHEMA, Contract, SiteTerms, agreed_patients
from fedrad.errors import RunError
from fedrad.planning.noise import audit_sigma, train_sigma, window_sigma
from fedrad.task import Task, task_hash


def plan_contract(task: Task, study: str, patients: Mapping[str, int]) -> Contract:
    """Return the contract of a study.

    Args:
        task: Its privacy table gives epsilon and delta for each stream of patients.
        study: The study's name.
        patients: Site name to its number of training patients.

    Raises:
        RunError: A site has no training patient.
        PrivacyError: No noise would keep the study within its epsilon.
    """
    empty = sorted(site for site, count in patients.items() if count < 1)
    if empty:
        raise RunError(f"site {empty[0]!r} has no training patient; leave it out of the study")
    audit, window = audit_sigma(task), window_sigma(task)
    sites = {}
    for letter, site in zip(letters(len(patients)), sorted(patients), strict=True):
        agreed = agreed_patients(patients[site])
        sites[site] = SiteTerms(
            label=letter,
            patients_agreed=agreed,
            train_sigma=train_sigma(task, agreed),
            audit_sigma=audit,
            window_sigma=window,
        )
    return Contract(schema=SCHEMA, study=study, task_hash=task_hash(task), sites=sites)


def letters(count: int) -> list[str]:
    """Return A to Z, then A2 to Z2, and so on."""
    alphabet = string.ascii_uppercase
    return [alphabet[i % 26] + (str(i // 26 + 1) if i >= 26 else "") for i in range(count)]
