"""What every column of an export is: type, unit, meaning. A test holds it against the tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    type: str  # text, integer, number, time, json
    unit: str
    meaning: str


_ROUND = Column("integer", "", "round of training, from 1; 0: the model before round 1")
_WINDOW = Column("text", "", "calendar window of monitoring; empty: a release in training")
_SITE = Column("text", "", "hospital, by letter unless names are agreed")
_SUMMED = Column("text", "", "hospital by letter; * all patients together, macro the mean of the "
                 "hospitals, worst the worst hospital")  # fmt: skip
_MODEL = Column("text", "SHA-256", "digest of the model's parameters")
_STARTED = Column("time", "UTC", "begun")
_ENDED = Column("time", "UTC", "ended; empty: not yet")
_REASON = Column("text", "", "why, as recorded")

COMPARISON: dict[str, Column] = {
    "site": _SITE,
    "n": Column("integer", "patients", "test patients, exact: a simulation"),
    "n_positive": Column("integer", "patients", "of them with the positive class"),
    "trivial": Column("number", "", "primary score of chance, or of the mean mask"),
    "alone": Column("number", "", "of this site's patients only, without privacy"),
    "pooled": Column("number", "", "of all patients in one place, without privacy"),
    "federated_exact": Column("number", "", "of the federation without privacy"),
    "federated_private": Column("number", "", "of the federation with privacy"),
    "difference": Column("number", "", "the run's federated model minus alone, paired by patient"),
    "lo": Column("number", "", "lower end of the 95 % interval of the difference"),
    "hi": Column("number", "", "upper end of it"),
    "p_holm": Column("number", "", "p value, adjusted over the sites"),
    "verdict": Column("text", "", "federated, alone or cannot tell"),
    "reason": Column("text", "", "why nothing can be told"),
}
"""``comparison.json`` of a simulation: one row a site, the same test patients in every arm."""

COLUMNS: dict[str, dict[str, Column]] = {
    "runs": {
        "run": Column("text", "", "the run's name"),
        "study": Column("text", "", "the study's name"),
        "task_hash": Column("text", "SHA-256", "the task's name: digest of its canonical JSON"),
        "started": _STARTED,
        "ended": _ENDED,
        "status": Column("text", "", "running, done, stopped, failed or interrupted"),
        "reason": _REASON,
        "seed": Column("integer", "", "fixes the first model where no file gives it"),
        "engine": Column("text", "", "local, ray (simulations) or deployment"),
        "versions_json": Column("json", "", "versions of what computed"),
    },
    "sites": {
        "site": _SITE,
        "label": Column("text", "", "the letter of the contract"),
        "node_key": Column("text", "", "public key; only where names are agreed"),
        "patients_agreed": Column("integer", "patients", "agreed number, rounded; never exact"),
        "joined": Column("time", "UTC", "taken in"),
        "left": Column("time", "UTC", "gone; empty: still there"),
        "status": Column("text", "", "joined, absent or quarantined"),
    },
    "rounds": {
        "round": _ROUND,
        "state": Column("text", "", "asked, received, folded, committed, evaluated or void"),
        "accepted_digest": Column("text", "SHA-256", "of what was folded; only with names"),
        "model_digest": _MODEL,
        "started": _STARTED,
        "ended": _ENDED,
    },
    "replies": {
        "round": _ROUND,
        "phase": Column("text", "", "train, evaluate, query, or late"),
        "site": _SITE,
        "reply_id": Column("text", "SHA-256", "of the question; only where names are agreed"),
        "outcome": Column("text", "", "done, abstained, refused or failed"),
        "reason_code": Column("text", "", "the reason in one word; not-ready hides patients"),
        "update_digest": Column("text", "SHA-256", "of the update"),
        "weight": Column("number", "share", "of the round's mean, by agreed numbers"),
        "ledger_head": Column("text", "SHA-256", "of its privacy ledger then; only with names"),
        "bytes": Column("integer", "bytes", "of the answer"),
        "seconds": Column("number", "s", "from question to answer"),
    },
    "reports": {
        "round": _ROUND,
        "window": _WINDOW,
        "site": _SITE,
        "model_digest": _MODEL,
        "block": Column("text", "", "name of a block of sums"),
        "idx": Column("integer", "", "place in the block, from 0"),
        "value": Column("number", "", "the sum as released, noise included; empty: undefined"),
        "sigma": Column("number", "", "standard deviation of the noise; 0: exact"),
        "sensitivity": Column("number", "", "the most that one patient moves the block, L2"),
    },
    "metrics": {
        "round": _ROUND,
        "window": _WINDOW,
        "site": _SUMMED,
        "model": Column("text", "", "global, alone, alone-private, pooled, federated-exact, "
                        "personal"),
        "data_site": Column("text", "", "whose patients, where not the site's own"),
        "split": Column("text", "", "audit, window, test or train: disjoint patients; with-own and "
                        "without-own: test patients, of the last model and of that without the "
                        "site's part (simulation only)"),
        "metric": Column("text", "", "name of the metric"),
        "value": Column("number", "", "from released sums; empty: they cannot carry it"),
        "lo": Column("number", "", "lower end of the 95 % interval, noise included"),
        "hi": Column("number", "", "upper end of the 95 % interval"),
        "n": Column("number", "patients", "noised or agreed number behind the value"),
        "method": Column("text", "", "exact (simulation only) or private"),
    },
    "shifts": {
        "window": _WINDOW,
        "site": _SITE,
        "channel": Column("text", "", "image, acquisition, label, concept or population"),
        "statistic": Column("number", "", "distance from the hospital's first windows"),
        "z": Column("number", "standard deviations", "the statistic by its noise"),
        "p": Column("number", "", "chance of so much or more without a shift"),
        "cusum": Column("number", "", "what gathered over windows"),
        "threshold": Column("number", "", "an alarm is raised above it"),
    },
    "alarms": {
        "window": _WINDOW,
        "site": _SITE,
        "channel": Column("text", "", "where it was seen"),
        "kind": Column("text", "", "what it probably is"),
        "since_window": Column("text", "", "when it probably began"),
        "posterior": Column("number", "share", "of the named kind among all"),
        "evidence": Column("text", "", "what speaks for it"),
    },
    "actions": {
        "round": _ROUND,
        "window": _WINDOW,
        "site": _SITE,
        "action": Column("text", "", "what was proposed or done"),
        "parameters_json": Column("json", "", "with which values"),
        "reason": _REASON,
        "decided_by": Column("text", "", "who; only where names are agreed"),
        "decision": Column("text", "", "accepted, declined, or taken by itself"),
        "effect": Column("text", "", "what came of it"),
    },
    "releases": {
        "round": _ROUND,
        "model_digest": _MODEL,
        "decision": Column("text", "", "promote, harm or cannot-tell"),
        "by": Column("text", "", "who; only where names are agreed"),
        "reasons_json": Column("json", "", "what the decision rests on"),
        "signature": Column("text", "", "only where names are agreed"),
    },
    "privacy": {
        "round": _ROUND,
        "site": _SITE,
        "stream": Column("text", "", "train, audit, window, test or other: disjoint patients"),
        "mechanism": Column("text", "", "how noise was added"),
        "sigma": Column("number", "", "noise multiplier; 0: no noise"),
        "q": Column("number", "share", "chance of a patient to be drawn in a step"),
        "steps": Column("integer", "steps", "charged, a crash included"),
        "epsilon": Column("number", "", "of the stream's patients so far; empty: none is shown"),
        "delta": Column("number", "", "the delta of that epsilon"),
    },
    "events": {
        "seq": Column("integer", "", "order of the run's history"),
        "time": Column("time", "UTC", "when"),
        "kind": Column("text", "", "what happened"),
        "round": _ROUND,
        "site": _SITE,
        "detail_json": Column("json", "", "more, names as letters"),
    },
}  # fmt: skip
