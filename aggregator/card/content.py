"""What a model card says, gathered from a run: one table for JSON and Markdown alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aggregator import attendance, first_screen, measures, wording
from aggregator.card import figures, subgroups
from aggregator.chosen import Chosen, reasons
from aggregator.letters import SOMEBODY, Letters
from aggregator.run_folder import DATABASE, Run, read_run, read_tables
from fedrad.contract import contract_table
from fedrad.enrolment import study_digest
from fedrad.errors import SettingsError
from fedrad.metrics.metric import shown_count
from fedrad.metrics.names import spoken
from fedrad.released import About
from fedrad.signatures import digest
from fedrad.task import Task

SCHEMA = 1
RESEARCH = "RESEARCH - NOT FOR CLINICAL USE"
WITHHELD = "withheld: it is a digest over the hospitals' names, and those are not agreed"
_EVALUATION = (
    "Audit patients of each hospital: a share that a secret of the hospital deals out by patient, "
    "never trained on."
)
_ETHICS = (
    "No image and no identifier left a hospital.",
    "A patient who objects is left out of every later round, not of models that exist.",
    "The model was never shown to be safe for a patient's care.",
)
_PIPELINES = {"classification": "image-classification", "segmentation": "image-segmentation"}


def card_of(run_folder: Path, chosen: Chosen, about: About) -> tuple[dict[str, Any], Letters]:
    """Return a model's card, and the letters that it was written with.

    Raises:
        SettingsError: The run has no task.
    """
    run = read_run(run_folder)
    if run.task is None:
        raise SettingsError(str(run_folder), ("no task.toml in it; a card describes its task",))
    letters = Letters(run)
    more = read_tables(run_folder / DATABASE, ("shifts", "alarms", "releases", "actions"))
    task, number = run.task, chosen.round
    groups = subgroups.released(run, number)
    card = {
        "schema": SCHEMA,
        "use": RESEARCH,
        "banner": first_screen.banner(run),
        "model_details": _details(run, chosen, about, letters),
        "intended_use": _intended(task),
        "factors": {"groups": "hospitals", "subgroups": groups or None},
        "metrics": {"primary": measures.primary(run), "plan": wording.analysis_plan(task),
                    "exploratory": _exploratory(run), "groups": _groups(run)},
        "training_data": _data(run, letters),
        "evaluation_data": _EVALUATION,
        "quantitative_analyses": figures.performance(run, number, letters),
        "privacy": figures.privacy(run, letters),
        "shift": figures.shift(more, letters),
        "agreements": _agreements(run, letters),
        "ethical_considerations": [*_ETHICS],
        "changes": figures.changes(run, more, number, letters),
        "caveats": [*_caveats(run, chosen, letters), *_without(groups)],
    }  # fmt: skip
    return card | {"huggingface": _huggingface(card, task)}, letters


def _details(run: Run, chosen: Chosen, about: About, letters: Letters) -> dict[str, Any]:
    task, release = run.task, chosen.release
    who = "" if release is None else str(release["by"]) if letters.agreed else SOMEBODY
    return {
        "study": about.study,
        "task": task.task.name if task else "",
        "task_hash": about.task_hash,
        "round": about.round,
        "model_digest": about.model_digest,
        "decision": about.decision,
        "decided_by": who,
        "reasons": [letters.text(why) for why in reasons(release)],
        "network": wording.MODELS.get(task.model.name, task.model.name) if task else "",
        "starts_from": task.model.start() if task else "",
        "summary": wording.subtitle(run),
        "trained": {"started": run.about.get("started"), "ended": run.about.get("ended") or None},
        "fedrad": about.fedrad,
        "versions": letters.value(wording.versions(run.about)),
    }


def _intended(task: Task) -> dict[str, Any]:
    verb = "say whether" if task.task.kind == "classification" else "outline where"
    rest = "is on an image" if task.task.kind == "classification" else "lies on an image"
    return {
        "use": f"{verb} “{task.task.positive}” {rest}, for research",
        "images": {
            "modality": task.data.modality,
            "dimensions": task.data.dimensions,
            "views": list(task.data.views),
            "smallest": [task.data.min_rows, task.data.min_columns],
        },
        "postprocessing": None if task.output is None else {
            "components": task.output.components, "fill_holes": task.output.fill_holes},
        "out_of_scope": [
            "diagnosis, treatment or any decision about a patient",
            "images that the task's gate refuses: other modalities, views, sizes",
            "hospitals whose own patients did not measure it",
        ],
    }  # fmt: skip


def _exploratory(run: Run) -> list[str]:
    primary = measures.primary(run)
    return [spoken(name) for name in measures.columns(run) if name != primary]


def _groups(run: Run) -> list[list[dict[str, str]]]:
    return [
        [{"metric": name, "name": spoken(name)} for name in group] for group in measures.groups(run)
    ]


def _data(run: Run, letters: Letters) -> list[dict[str, Any]]:
    sites = run.contract.sites if run.contract else {}
    return [
        {
            "site": letters.of(site),
            "part": "trained" if terms.kind == "train" else "scored only",
            "patients_agreed": shown_count(terms.patients_agreed),
        }
        for site, terms in sorted(sites.items(), key=lambda pair: letters.of(pair[0]))
    ]


def _agreements(run: Run, letters: Letters) -> dict[str, Any]:
    contract, task = run.contract, run.task
    heads = {}
    for row in run.tables["replies"]:
        if row["ledger_head"]:
            heads[letters.of(str(row["site"]))] = str(row["ledger_head"])
    heads = dict(sorted(heads.items()))  # an order of rows could tell of names
    if contract is None or task is None:
        return {"contract": None, "approvals": {}, "ledger_heads": heads}
    conditions = contract.conditions
    approvals = {
        letters.of(site): study_digest(task, contract.seen_by(site)) for site in contract.sites
    }
    return {
        "contract": digest(contract_table(contract)) if letters.agreed else WITHHELD,
        "approvals": approvals if letters.agreed else {},
        "hospitals": len(contract.sites),
        "expires": conditions.expires if conditions else None,
        "ethics": letters.text(conditions.ethics) or None if conditions else None,
        "recipients": [letters.text(one) for one in conditions.recipients] if conditions else [],
        "names": "agreed" if letters.agreed else "letters",
        "ledger_heads": heads,
    }


def _without(groups: list[dict[str, Any]]) -> Iterator[str]:
    if not groups:
        yield "Subgroups were not released: the task asks for none, or too few hospitals told any."


def _caveats(run: Run, chosen: Chosen, letters: Letters) -> Iterator[str]:
    banner = first_screen.banner(run)
    if banner:
        yield f"{banner}."
    if chosen.release is None:
        yield "This model was not promoted: nobody decided that it may take another's place."
    if run.exact:
        yield "Exact metrics were released: none of them is private, and no epsilon is shown."
    if not any(measures.at_release(run, site, chosen.round) for site in run.sites):
        yield "This round was not measured: the card shows no performance."
    if not run.exact:
        yield "Metrics come from noised sums of audit patients; intervals hold the noise."
    for sentence in attendance.sentences(run):
        yield letters.text(sentence)


def _huggingface(card: dict[str, Any], task: Task) -> dict[str, Any]:
    kind = _PIPELINES[task.task.kind]
    results = [
        {
            "task": {"type": kind, "name": task.task.name},
            "dataset": {"type": "private", "name": f"{one['site']}, audit patients"},
            "metrics": [
                {"type": metric["metric"], "name": metric["name"], "value": metric["value"]}
                for metric in one["metrics"]
                if metric["value"] is not None
            ],
        }
        for one in card["quantitative_analyses"]
    ]
    measured = [one for one in results if one["metrics"]]
    name = f"{card['model_details']['study']}-round-{card['model_details']['round']}"
    return {
        "license": "other",
        "library_name": "monai",
        "pipeline_tag": kind,
        "tags": ["medical", "radiology", "federated-learning", "differential-privacy",
                 "research-only"],
        "model-index": [{"name": name, "results": measured}],
    }  # fmt: skip


def as_front_matter(table: dict[str, Any]) -> str:
    """Return a table as YAML: each value as JSON, which YAML reads."""
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in table.items())
    return "\n".join(lines)
