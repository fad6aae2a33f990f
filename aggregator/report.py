"""Write a run's report: one HTML file that opens from disk, on a screen or on paper.

Reads the run folder only and changes nothing but ``report.html``. The file loads nothing
from anywhere: its style and drawings are inside, and its own policy forbids the rest. What
was not measured says so. Sentences and numbers come from the modules beside this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from aggregator import attendance, figures, first_screen, measures, shift_panels, wording
from aggregator.comparison import SiteComparison
from aggregator.facts import Fact
from aggregator.paid import Paid, attack_sentence, paid_by_site
from aggregator.panels.budget import budget
from aggregator.panels.crossed import crossed
from aggregator.run_folder import Run, read_run
from fedrad import durable
from fedrad.metrics.names import spoken
from fedrad.settings import as_table
from fedrad.task import task_hash

NAME = "report.html"


def write_report(run_folder: Path) -> Path:
    """Write ``report.html`` into a run folder, durably, and return its path.

    The same folder gives the same bytes.

    Raises:
        SettingsError: The folder holds no run, or its task or contract cannot be used.
        DamagedStateError: A file of the run cannot be read.
        OSError: The report cannot be written.
    """
    path = run_folder / NAME
    durable.write_bytes(path, render(read_run(run_folder)).encode("utf-8"))
    return path


def facts_of(run_folder: Path) -> list[dict[str, Any]]:
    """Return the banner and the facts of the first screen, ready for JSON; raises as above."""
    run = read_run(run_folder)
    text = first_screen.banner(run)
    banner = [Fact(key=first_screen.BANNER, text=text)] if text else []
    return [as_table(fact) for fact in (*banner, *first_screen.facts(run, paid_by_site(run)))]


def render(run: Run) -> str:
    """Return the report of ``run`` as one HTML document."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("aggregator", "templates"),
                jinja2.PackageLoader("fedrad.screens", "templates"),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= wording.FILTERS
    return environment.get_template("report.html").render(_context(run))


def _context(run: Run) -> dict[str, Any]:
    spent = paid_by_site(run)
    return {
        "run": run,
        "task": run.task,
        "banner": first_screen.banner(run),
        "facts": first_screen.facts(run, spent),
        "exact": run.exact,
        "status": first_screen.status(run),
        "subtitle": wording.subtitle(run),
        **_worth(run),
        **_performance(run),
        **_privacy(run, spent),
        **_rounds(run),
        "shift": shift_panels.panels(run),
        **_plan(run),
    }


def _worth(run: Run) -> dict[str, Any]:
    comparison = run.comparison
    rows = {} if comparison is None else {s.site: _triple(s) for s in comparison.sites}
    drawn = {site: triple for site, triple in rows.items() if triple is not None}
    margin = run.task.analysis.margin if run.task else 0.0
    return {
        "comparison": comparison,
        "forest": figures.forest(drawn, margin) if drawn else None,
        "primary_name": spoken(comparison.primary) if comparison else "",
        "arms": wording.arms(comparison),
        "crossed": crossed(run),
    }


def _triple(site: SiteComparison) -> tuple[float, float, float] | None:
    if site.difference is None or site.lo is None or site.hi is None:
        return None
    return site.difference, site.lo, site.hi


def _performance(run: Run) -> dict[str, Any]:
    metric = measures.primary(run)
    curves = measures.curves(run, metric)
    points = {
        curve.site: [(number, v.value, v.lo, v.hi) for number, v in curve.points]
        for curve in curves
    }
    last = measures.last_release(run)
    rows = [*run.sites, *measures.SUMMARIES]
    latest = {name: measures.at_release(run, name, last) for name in rows}
    return {
        "metric": spoken(metric),
        "curves": curves,
        "panels": figures.panels(points),
        "last_release": last,
        "groups": [[(name, spoken(name)) for name in group] for group in measures.groups(run)],
        "latest": latest,
        "patients": {name: measures.patients(row) for name, row in latest.items()},
        "summaries": measures.SUMMARIES,
        "row_label": {site: run.label(site) for site in run.sites} | measures.SUMMARIES,
    }


def _privacy(run: Run, spent: tuple[Paid, ...]) -> dict[str, Any]:
    return {
        "spent": spent,
        "budget": budget(run, spent),
        "attacks": {site.site: attack_sentence(site) for site in spent},
        "streams": sorted({name for site in spent for name in site.streams}, reverse=True),
    }


def _rounds(run: Run) -> dict[str, Any]:
    lines = attendance.round_lines(run)
    sizes = [line.bytes for line in lines if line.bytes is not None]
    times = [line.seconds for line in lines if line.seconds is not None]
    return {
        "absences": attendance.sentences(run),
        "grid": attendance.grid(run),
        "rounds": lines,
        "void": [line.number for line in lines if line.state == "void"],
        "total_bytes": sum(sizes) if sizes else None,
        "total_seconds": sum(times) if times else None,
        "events": run.tables["events"],
    }


def _plan(run: Run) -> dict[str, Any]:
    task = run.task
    return {
        "tables": wording.readable(task) if task else {},
        "hash": task_hash(task) if task else run.about.get("task_hash") or "",
        "analysis": wording.analysis_plan(task) if task else "",
        "versions": wording.versions(run.about),
    }
