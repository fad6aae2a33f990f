"""How much noise a study needs at a site, and what a given noise would cost.

Both sides compute it here: the aggregator for the contract, a site for its own view. All
rounds count, the spare ones included, because steps are charged whether a round is
committed or void. Epsilons are ``accounting``'s; whether a site agrees is the site's.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedrad.privacy.accounting import FALSE_ALARM, Event, best_attack, epsilon, plan_sigma
from fedrad.protocol.checks import agreed_steps
from fedrad.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What one stream of patients pays for a whole study at one noise."""

    sigma: float  # noise multiplier; 0: not private
    q: float  # chance of a patient to be drawn in a step
    steps: int  # private steps, or releases
    epsilon: float  # at the task's delta; infinite where it is not private
    attack: float  # share of participants a perfect attacker recognises at 1 % false alarms

    @property
    def private(self) -> bool:
        """Whether noise is added at all."""
        return self.sigma > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpareCost:
    """What the spare rounds cost a site: paid in noise, whether they are needed or not."""

    rounds: int
    sigma_without: float  # noise multiplier that would do without them
    epsilon_unused: float  # epsilon paid in the end if none of them is needed


def sampling_rate(task: Task, agreed: int) -> float:
    """Return q of a site with ``agreed`` training patients (1 or more), in (0, 1]."""
    return min(1.0, task.training.expected_batch_patients / agreed)


def train_sigma(task: Task, agreed: int) -> float:
    """Return the noise multiplier of a site's private steps; 0 for a task without privacy.

    The task's own ``noise_multiplier`` if it names one, else the smallest that keeps all
    rounds, spare ones included, within the task's epsilon.

    Raises:
        PrivacyError: No noise would keep the study within its epsilon.
    """
    privacy = task.privacy
    if not privacy.enabled:
        return 0.0
    if privacy.noise_multiplier is not None:
        return privacy.noise_multiplier
    return _planned(task, agreed, steps=agreed_steps("train", task))


def audit_sigma(task: Task) -> float:
    """Return the noise multiplier of one metric release; 0 for exact releases.

    Raises:
        PrivacyError: No noise would keep the releases within the task's epsilon.
    """
    if task.exact:
        return 0.0
    releases = agreed_steps("audit", task)
    return plan_sigma(epsilon=task.privacy.epsilon, delta=task.privacy.delta, q=1, steps=releases)


def window_sigma(task: Task) -> float:
    """Return the noise multiplier of one release of a window; 0 where none is released.

    All releases of one window together fit the task's epsilon: of other windows they are
    other patients.

    Raises:
        PrivacyError: No noise would keep the releases within the task's epsilon.
    """
    if task.exact or task.monitoring is None:
        return 0.0
    steps = agreed_steps("window", task)
    return plan_sigma(epsilon=task.privacy.epsilon, delta=task.privacy.delta, q=1, steps=steps)


def training(task: Task, agreed: int, *, sigma: float) -> Spending:
    """Return what a training patient of a site pays for the whole study at ``sigma``."""
    steps, q = agreed_steps("train", task), sampling_rate(task, agreed)
    return _spending(task, sigma, q=q, steps=steps)


def releases(task: Task, *, sigma: float) -> Spending:
    """Return what an audit patient pays for all metric releases at ``sigma``."""
    return _spending(task, sigma, q=1.0, steps=agreed_steps("audit", task))


def spare_cost(task: Task, agreed: int, *, sigma: float) -> SpareCost | None:
    """Return what the spare rounds cost; ``None`` without privacy or without spare rounds."""
    federation = task.federation
    if sigma == 0 or federation.spare_rounds == 0:
        return None
    steps = task.training.steps * federation.rounds
    unused = _spending(task, sigma, q=sampling_rate(task, agreed), steps=steps)
    fixed = task.privacy.noise_multiplier
    return SpareCost(
        rounds=federation.spare_rounds,
        sigma_without=_planned(task, agreed, steps=steps) if fixed is None else fixed,
        epsilon_unused=unused.epsilon,
    )


def _planned(task: Task, agreed: int, *, steps: int) -> float:
    privacy, q = task.privacy, sampling_rate(task, agreed)
    return plan_sigma(epsilon=privacy.epsilon, delta=privacy.delta, q=q, steps=steps)


def _spending(task: Task, sigma: float, *, q: float, steps: int) -> Spending:
    mechanism = "exact" if sigma == 0 else "gaussian" if q == 1 else "subsampled-gaussian"
    events = [Event(mechanism=mechanism, sigma=sigma, q=q, steps=steps)]  # type: ignore[arg-type]
    return Spending(
        sigma=sigma,
        q=q,
        steps=steps,
        epsilon=epsilon(events, task.privacy.delta),
        attack=best_attack(events, false_alarm=FALSE_ALARM),
    )
