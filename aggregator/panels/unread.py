"""What could not be estimated of the windows, and why: a gap is said and never filled.

A hospital that told no window, a window of too few patients, a figure whose interval was too wide,
a channel that could not be read, a reference that is not whole. Reads the rows of ``replies``,
``metrics`` and ``shifts`` and the released counts; reasons are those of the rules behind a gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from aggregator.attendance import REASONS, VERBS, of_window
from aggregator.run_folder import Run
from fedrad.metrics.names import spoken
from fedrad.shift.agreed import RECORD
from fedrad.shift.estimates import FEWEST_OF_CLASS
from fedrad.shift.evidence import CHANNELS
from fedrad.shift.reference import WINDOWS
from fedrad.shift.windows import SMALLEST_SIZE, Released, patients

SPLIT = "window"
Told = Mapping[str, Sequence[Released]]


def sentences(run: Run, told: Told) -> tuple[str, ...]:
    """Return one sentence for each gap, site by site.

    Args:
        run: Its rows.
        told: Each site's releases, in order of their windows.
    """
    return (
        *_absent(run),
        *_small(run, told),
        *_references(run, told),
        *_figures(run),
        *_channels(run, told),
    )


def aside(run: Run, blamed: Mapping[str, str], problem: str) -> Iterator[str]:
    """Yield one sentence for each site that is drawn nowhere, and one if nothing could be drawn.

    Args:
        run: For the names of its sites.
        blamed: Sites whose released sums cannot be read, with the kind of error.
        problem: The kind of error that no single site explains; empty: none.
    """
    for site, why in sorted(blamed.items()):
        yield f"{run.full_name(site)}: its released sums cannot be read ({why}); it is left out."
    if problem:
        yield f"What was released cannot be read together ({problem}); nothing is drawn of it."


def headline(gaps: Sequence[str], told: Told) -> str:
    """Return one sentence about all gaps."""
    releases = sum(len(found) for found in told.values())
    if not gaps:
        return f"Everything that was asked of the {releases} releases could be estimated."
    number = f"{len(gaps)} gap{'s' if len(gaps) != 1 else ''}"
    return f"{number} in what {releases} releases of windows could tell; why is said for each."


def _absent(run: Run) -> Iterator[str]:
    """Yield who answered for no window, or not for all."""
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in run.tables["replies"]:
        if of_window(row) and row["outcome"] in VERBS:
            key = str(row["site"]), str(row["outcome"]), str(row["reason_code"] or "")
            found[key].add(_asked(int(row["round"])))
    for (site, outcome, reason), windows in sorted(found.items()):
        why = REASONS.get(reason, reason)
        what = _listed(sorted(windows))
        yield f"{run.full_name(site)} {VERBS[outcome]} for {what}{f': {why}' if why else ''}."


def _asked(number: int) -> str:
    return "the time before the windows" if number == 0 else f"window {number}"


def _small(run: Run, told: Told) -> Iterator[str]:
    for site, found in told.items():
        small = [one for one in found if patients(one) < SMALLEST_SIZE]
        if small:
            names = _listed([_window(one.windows[0]) for one in small])
            yield (
                f"{run.full_name(site)}, {names}: fewer than {SMALLEST_SIZE} patients, by the "
                "released count; a window is read together with the next."
            )


def _references(run: Run, told: Told) -> Iterator[str]:
    for site, found in told.items():
        windows = sum(RECORD not in one.windows for one in found)
        if 0 < windows <= WINDOWS:
            yield (
                f"{run.full_name(site)}: no change can be seen yet, {windows} of the {WINDOWS} "
                "windows of its reference were told."
            )


def _figures(run: Run) -> Iterator[str]:
    """Yield which figures have no value in which windows."""
    rows = [row for row in run.tables["metrics"] if row["split"] == SPLIT]
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row["value"] is None and row["site"] in run.sites:
            found[str(row["site"]), str(row["metric"])].append(str(row["window"]))
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (site, metric), windows in sorted(found.items()):
        alike[site, tuple(sorted(windows))].append(spoken(metric))
    for (site, names), metrics in alike.items():
        yield (
            f"{run.full_name(site)}, {_listed([_window(name) for name in names])}: "
            f"{', '.join(metrics)}. With so few patients and the noise the interval is too wide to "
            "be shown, or a class is too small."
        )


def _channels(run: Run, told: Told) -> Iterator[str]:
    """Yield which channels of windows after the reference have no reading."""
    read = {(r["site"], r["channel"], r["window"]) for r in run.tables["shifts"]}
    judged = {(site, window) for site, _, window in read if window != RECORD}
    for site in told:
        for channel, name in CHANNELS.items():
            own = sorted(window for one, window in judged if one == site)
            gaps = [window for window in own if (site, channel, window) not in read]
            if gaps:
                yield f"{run.full_name(site)}, {name.lower()} in {_listed(gaps)}: {_why(channel)}."


def _why(channel: str) -> str:
    if channel == "concept":
        return f"fewer than {FEWEST_OF_CLASS:g} patients of a class in it or in the first windows"
    return "too few patients in it or in the first windows, or it was not told"


def _window(name: str) -> str:
    return "the time before the windows" if name == RECORD else name


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
