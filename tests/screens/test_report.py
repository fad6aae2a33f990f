"""The report's panels in a real browser: both widths, both colour schemes, without a fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from histories import History, write_history
from playwright.sync_api import Browser

from aggregator.report import write_report
from aggregator.store import Store

TROUBLED = History(name="troubled", sites=4, rounds=6, windows=12, trouble=True)
POSTERIOR = {"acquisition": 0.9, "image": 0.05, "unknown": 0.03, "none": 0.02}
PARTS = [{"name": name, "value": 0.02, "lo": -0.01, "hi": 0.05} for name in ("label", "covariate")]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of a run with an alarm and its diagnosis."""
    run = write_history(tmp_path_factory.mktemp("report") / "run", TROUBLED)
    detail = {
        "window": "2026-03-01", "site": "Carrick", "channel": "image", "since": "2026-02-01",
        "posterior": POSTERIOR,
        "drop": {"metric": "brier", "before": 0.1, "after": 0.14, "parts": PARTS},
    }  # fmt: skip
    with Store(run / "run.sqlite") as store:
        store.record_event("diagnosis", 6, detail=detail)
        store.record_event("shift-looked", 6, detail={"apart": [], "notes": {}})
    return write_report(run)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_whole(browser: Browser, report: Path, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(report.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page).response["violations"]
    assert [
        one["nodes"][0]["html"][:300] for one in found if one["impact"] in ("serious", "critical")
    ] == []
    assert "Every hospital, window by window" in page.inner_text("#shift")
    assert "most likely: another scanner or protocol (90 %)" in page.inner_text("#shift")
    context.close()


def test_a_name_in_a_diagnosis_is_no_markup(browser: Browser, report: Path) -> None:
    run = report.parent
    bad = "<script>document.title='taken'</script>"
    detail = {"window": "w", "site": bad, "channel": "image", "posterior": POSTERIOR, "why": bad}
    with Store(run / "run.sqlite") as store:
        store.record_event("diagnosis", 6, detail=json.loads(json.dumps(detail)))
    page = browser.new_page()
    page.goto(write_report(run).as_uri())
    assert page.title() != "taken"
    assert "What it costs is not estimable" in page.inner_text("#shift")
    page.close()
