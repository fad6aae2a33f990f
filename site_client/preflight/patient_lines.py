"""What a check says of patients: whose they are, who objects, how many, with which labels."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from fedrad.contract import agreed_patients
from fedrad.task import Task, task_hash
from site_client.identities import MOST_UNUSABLE, count_unusable
from site_client.label_page import Review
from site_client.patient_lists import EXCLUDED, NOT_INCLUDED, list_findings
from site_client.patients import SPLITS, Split
from site_client.preflight.lines import Line, no, ok, warning
from site_client.preflight.stock import Place, Stock
from site_client.study import accepted_contracts

_DRAWN = "with drawn truth"  # in place of classes where truth is drawn
_SCORED: Split = "audit"


def patient_lines(place: Place, stock: Stock) -> Iterator[Line]:
    """Yield what there is to say of patients, as far as the stock goes."""
    if stock.catalogue is None or stock.catalogue.empty:
        return
    yield _nobodys(place, stock.catalogue)
    yield from _lists(place, stock.catalogue)
    train = stock.patients("train")
    if train is not None:
        yield _enough(place, train)
        yield from _agreed(place, train)
        yield from _scored(place.task, stock)


def label_lines(task: Task, stock: Stock, review: Review) -> Iterator[Line]:
    """Yield what there is to say of labels or drawn truth."""
    if not stock.cohorts:
        return
    labelled = sum(len(cohort.units) for cohort in stock.cohorts.values())
    of = int(stock.images["patient"].nunique())
    what = "have a usable label" if task.labels.source == "csv" else "are drawn on"
    yield ok("labels", f"{labelled} of {of} patients with images {what}")
    for note in _of_all_splits(stock):
        yield warning("labels", note, do="see the section on labels of check.html")
    for grouping in review.groupings:
        if grouping.following.flagged:
            yield warning(
                "labels",
                f"the label follows the {grouping.by}",
                do="see the section on labels of check.html: is it the patients or the machine?",
            )


def by_class(task: Task, stock: Stock) -> dict[str, dict[Split, int]]:
    """Return the patients of each class and split, and of ``all``; exact."""
    splits = [split for split in SPLITS if stock.patients(split) is not None]
    everybody = {split: stock.patients(split) or 0 for split in splits}
    if task.labels.source != "csv" or not splits:
        return {_DRAWN: everybody} if splits else {}
    found = {
        name: {split: _labels(stock, split).count(number) for split in splits}
        for number, name in enumerate(task.task.classes)
    }
    return found | {"all": everybody}


def _of_all_splits(stock: Stock) -> list[str]:
    """Return what is said of every split alike: it is about labels, not about one split."""
    said = [cohort.warnings for cohort in stock.cohorts.values()]
    return [note for note in said[0] if all(note in others for others in said)]


def _labels(stock: Stock, split: Split) -> list[int]:
    known = stock.datasets if stock.datasets else stock.cohorts
    return list(known[split].labels.values())


def _nobodys(place: Place, catalogue: pd.DataFrame) -> Line:
    found = count_unusable(catalogue, place.settings.patients.max_studies)
    limit = f"at most {100 * MOST_UNUSABLE:g} %"
    do = "say who they are in a CSV named as mapping under [patients]; fedrad-site quarantine"
    if found.too_many:
        return no("patient IDs", str(found), limit=limit, do=do)
    if found.studies:
        return warning("patient IDs", str(found), limit=limit, do=do)
    return ok("patient IDs", str(found), limit)


def _lists(place: Place, catalogue: pd.DataFrame) -> Iterator[Line]:
    lists = place.settings.patients
    out = {code: _patients(catalogue, code) for code in (EXCLUDED, NOT_INCLUDED)}
    objections = f"{out[EXCLUDED]} objected" if lists.exclude else "no exclude.csv"
    consents = f"{out[NOT_INCLUDED]} did not consent" if lists.include else "no include.csv"
    yield ok("lists", f"{objections}, {consents}")
    for finding in list_findings(place.home, lists, catalogue):
        yield warning("lists", finding, do="correct the list; it is read before every round")


def _patients(catalogue: pd.DataFrame, code: str) -> int:
    return int(catalogue.loc[catalogue["reason"] == code, "patient"].nunique())


def _enough(place: Place, train: int) -> Line:
    """Compare as the guard does: the agreed number decides, so that no outcome tells the exact."""
    least, agreed = place.settings.privacy.min_patients, agreed_here(place, train)
    found, limit = f"{train}, agreed {agreed}", f"agreed at least {least}"
    if agreed < least:
        do = "add cases or labels, or lower [privacy] min_patients in site.toml"
        return no("patients to train on", found, limit=limit, do=do)
    return ok("patients to train on", found, limit)


def agreed_here(place: Place, train: int) -> int:
    """Return the training patients that contracts of the task agreed on, or one would."""
    return min((number for _, number in _contracts(place)), default=agreed_patients(train))


def _agreed(place: Place, train: int) -> Iterator[Line]:
    """Compare with every contract of this task that was accepted here."""
    contracts = list(_contracts(place))
    for study, agreed in contracts:
        found, limit = f"{train} found", f"{agreed} in {study}"
        if train < agreed:
            do = "privacy holds; the update is weaker than agreed: ask for a new contract"
            yield warning("patients agreed", found, limit=limit, do=do)
        else:
            yield ok("patients agreed", found, limit)
    if not contracts:
        yield ok("patients agreed", f"no contract yet; one would say {agreed_patients(train)}")


def _contracts(place: Place) -> Iterator[tuple[str, int]]:
    """Yield study and agreed training patients of this site's contracts for the task."""
    site, hash_ = place.settings.site.name, task_hash(place.task)
    for contract in accepted_contracts(place.home):
        if contract.task_hash == hash_ and site in contract.sites:
            yield contract.study, contract.sites[site].patients_agreed


def _scored(task: Task, stock: Stock) -> Iterator[Line]:
    least = task.analysis.minimum_per_class
    counts = {name: found[_SCORED] for name, found in by_class(task, stock).items()}
    found = ", ".join(f"{number} {name}" for name, number in counts.items())
    limit = f"at least {least}" + " of each class" * (task.labels.source == "csv")
    fewest = min(counts, key=lambda name: counts[name])
    if counts[fewest] < least:
        do = f"more cases, {fewest!r} above all: this site's own figures are not estimable"
        yield warning("patients to score on", found, limit=limit, do=do)
    else:
        yield ok("patients to score on", found, limit)
