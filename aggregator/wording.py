"""How the report says a number, a list or a task.

Pure text: no file, no HTML. A value that is missing becomes ``None`` or an empty string,
which the templates print as "not measured".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from aggregator.comparison import Comparison
from aggregator.figures import signed
from aggregator.run_folder import Row, Run, spoken_label
from fedrad.metrics.metric import shown_count
from fedrad.metrics.names import spoken
from fedrad.settings import as_table
from fedrad.task import Task

TITLES = {
    "task": "What is learnt",
    "data": "Images",
    "labels": "Labels",
    "recipe": "Recipe",
    "model": "Model",
    "training": "Training at a site",
    "federation": "Federation",
    "privacy": "Privacy",
    "evaluation": "Evaluation",
    "analysis": "Analysis plan",
}
ARMS = {
    "trivial": "Trivial baseline",
    "alone": "Alone, no privacy",
    "federated_private": "Federated, private",
    "federated_exact": "Federated, no privacy",
    "pooled": "Pooled, no privacy",
}
MODELS = {
    "densenet121": "DenseNet121",
    "resnet18": "ResNet18",
    "unet": "U-Net",
    "filter_bank_cnn": "filter-bank CNN",
    "filter_bank_pixel": "filter-bank pixel network",
}
VERDICTS = {
    "federated": "federated is better",
    "alone": "alone is better",
    "cannot tell": "cannot tell",
}


def subtitle(run: Run) -> str:
    """Say in one sentence who trained what, in how many rounds, with which promise."""
    task = run.task
    if task is None:
        return "The task of this run was not recorded."
    what = "find" if task.task.kind == "classification" else "outline"
    model = MODELS.get(task.model.name, task.model.name)
    promise = "without a privacy guarantee"
    if task.privacy.enabled and not task.exact:
        promise = (
            f"each patient protected by a planned epsilon of {task.privacy.epsilon:g} "
            f"at delta {small(task.privacy.delta)}"
        )
    outside = len(run.external)
    scored = f"; {outside} more scored it and trained nothing" if outside else ""
    return (
        f"{len(run.sites) - outside} hospitals trained one {model} to {what} "
        f"“{task.task.positive}” on {task.data.modality} images in "
        f"{task.federation.rounds} rounds, {promise}{scored}. No image left a hospital."
    )


def arms(comparison: Comparison | None) -> list[tuple[str, str]]:
    """Return the arms that were run at one site at least, as (field, name)."""
    if comparison is None:
        return []
    return [
        (arm, name)
        for arm, name in ARMS.items()
        if any(getattr(site, arm) is not None for site in comparison.sites)
    ]


def analysis_plan(task: Task) -> str:
    """Return the plan that was fixed before the first round, as sentences."""
    plan = task.analysis
    final = "the last round's" if plan.final_round == "last" else "the planned round's"
    return (
        f"Primary metric: {spoken(plan.primary)}, of {final} model, never of the round that "
        f"tested best. Operating point {plan.operating_point:g}. Differences within "
        f"{plan.margin:g} count as equal in practice. A site with fewer than "
        f"{plan.minimum_per_class} test patients in a class cannot tell."
    )


def readable(task: Task) -> dict[str, dict[str, str]]:
    """Return the task's tables by title, every value as text, defaults included.

    With exact metrics no epsilon is shown, not even the planned one.
    """
    found = {
        TITLES.get(name, name): {key: plain(value) for key, value in part.items()}
        for name, part in as_table(task).items()
        if isinstance(part, dict)
    }
    if task.exact:
        found[TITLES["privacy"]]["epsilon"] = "not shown: exact metrics are not private"
    return found


def plain(value: Any) -> str:
    """Return a TOML value for readers; an empty one as ``none``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value) or "none"
    if isinstance(value, float):
        return small(value)
    return "planned" if value is None else str(value) or "none"


def versions(about: Row) -> dict[str, str]:
    """Return the run's versions; empty if none or unreadable ones were recorded."""
    try:
        found = json.loads(about.get("versions_json") or "{}")
    except ValueError:
        return {}
    return {str(key): plain(value) for key, value in found.items()}


def score(value: float | None) -> str:
    """Return a score with three decimals; empty if missing or not a number."""
    return "" if value is None or math.isnan(value) else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of scores; empty if missing."""
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def interval_of_difference(low: float | None, high: float | None) -> str:
    """Return an interval of differences with signs; empty if missing."""
    return "" if low is None or high is None else f"{signed(low)} to {signed(high)}"


def small(value: float) -> str:
    """Return a small number such as a delta: ``1e-5``."""
    return f"{value:g}".replace("e-0", "e-")


def amount(size: int | None) -> str:
    """Return a number of bytes in the largest fitting unit of 1000; empty if missing."""
    if size is None:
        return ""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def moment(stamp: str | None) -> str:
    """Return a time in UTC to the minute; empty if missing."""
    return f"{stamp[:10]} {stamp[11:16]} UTC" if stamp else ""


def duration(seconds: float | None) -> str:
    """Return seconds as ``0.8 s``, ``42 s`` or ``3 min 20 s``; empty if missing."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def spent_epsilon(value: float | None) -> str:
    """Return an epsilon with two decimals, rounded up; empty if missing."""
    if value is None:
        return ""
    return f"{math.ceil(value * 100 - 1e-9) / 100:.2f}" if math.isfinite(value) else "not private"


def css_string(text: str) -> str:
    """Return ``text`` escaped for a CSS string: nothing in it can end the string."""
    return "".join(c if c.isalnum() or c in " ,." else f"\\{ord(c):x} " for c in text)


FILTERS: dict[str, Callable[..., Any]] = {
    "score": score,
    "signed": lambda value: "" if value is None else signed(value),
    "amount": amount,
    "duration": duration,
    "moment": moment,
    "epsilon": spent_epsilon,
    "count": lambda value: "" if value is None else shown_count(value),
    "spoken_label": spoken_label,
    "small": small,
    "css_string": css_string,
    "verdict": VERDICTS.__getitem__,
    "interval": lambda item: interval(item.lo, item.hi),
}
