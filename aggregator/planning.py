"""Plan a contract: how much noise each site adds so that the whole study fits its epsilon.

Noise, sampling rate and steps are fixed here, before round one, for all rounds including
the spare ones. Whether a site agrees is the site's own decision.
"""

from __future__ import annotations

import string
from collections.abc import Mapping

from fedrad.contract import SCHEMA, Contract, SiteTerms, agreed_patients
from fedrad.errors import RunError
from fedrad.privacy.accounting import plan_sigma
from fedrad.task import Task, is_evaluation_round, task_hash


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
    audit = _audit_sigma(task)
    sites = {}
    for letter, site in zip(_letters(len(patients)), sorted(patients), strict=True):
        agreed = agreed_patients(patients[site])
        sites[site] = SiteTerms(
            label=letter,
            patients_agreed=agreed,
            train_sigma=_train_sigma(task, agreed),
            audit_sigma=audit,
        )
    return Contract(schema=SCHEMA, study=study, task_hash=task_hash(task), sites=sites)


def _train_sigma(task: Task, agreed: int) -> float:
    privacy, federation = task.privacy, task.federation
    if not privacy.enabled:
        return 0.0
    if privacy.noise_multiplier is not None:
        return privacy.noise_multiplier
    return plan_sigma(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        q=min(1.0, task.training.expected_batch_patients / agreed),
        steps=task.training.steps * (federation.rounds + federation.spare_rounds),
    )


def _audit_sigma(task: Task) -> float:
    if task.exact:
        return 0.0
    rounds = range(1, task.federation.rounds + 1)  # evaluation counts committed rounds
    scheduled = sum(is_evaluation_round(task, number) for number in rounds)
    releases = max(1, min(scheduled, task.privacy.audit_releases))
    return plan_sigma(epsilon=task.privacy.epsilon, delta=task.privacy.delta, q=1, steps=releases)


def _letters(count: int) -> list[str]:
    """Return A to Z, then A2 to Z2, and so on."""
    alphabet = string.ascii_uppercase
    return [alphabet[i % 26] + (str(i // 26 + 1) if i >= 26 else "") for i in range(count)]
