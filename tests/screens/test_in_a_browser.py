"""Every page in a real browser: both widths, both colour schemes, by keyboard, without a fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from histories import add_round
from playwright.sync_api import Browser, Page, expect

from aggregator.store import Store

from .conftest import HEALTHY, Shown

COORDINATOR = (
    "/runs/troubled", "/runs/troubled/course", "/runs/troubled/alarms", "/runs/troubled/models",
    "/runs/troubled/site/C", "/runs/healthy", "/compare?run=troubled&run=healthy",
)  # fmt: skip
HOSPITAL = ("/", "/left", "/budget", "/images", "/contract")
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
JUDGED = [(1280, "light"), (390, "dark")]  # by axe, which takes its time
WAIT_MS = 60_000  # on a machine that is busy


@contextmanager
def opened(
    browser: Browser, where: Shown, role: str = "operator", width: int = 1280, scheme: str = "light"
) -> Iterator[tuple[Page, list[str]]]:
    """Open a dashboard; yield the page and the list of what went wrong in it."""
    wrong: list[str] = []
    size = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda asked: wrong.append(asked.url) if where.base not in asked.url else None
    )
    page.goto(where.addresses[role])
    try:
        yield page, wrong
    finally:
        context.close()


def faults(page: Page) -> list[str]:
    """Return axe's serious and critical findings."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found
            if one["impact"] in ("serious", "critical")]  # fmt: skip


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("whose", ["coordinator", "hospital"])
def test_every_page_is_whole(
    request: pytest.FixtureRequest, browser: Browser, whose: str, width: int, scheme: str
) -> None:
    """No console error, nothing asked of another host, nothing beside the screen, no fault."""
    where: Shown = request.getfixturevalue(whose)
    with opened(browser, where, width=width, scheme=scheme) as (page, wrong):
        for path in COORDINATOR if whose == "coordinator" else HOSPITAL:
            answer = page.goto(where.base + path)
            assert answer
            assert answer.status == 200
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            assert page.title() != "taken"
            if (width, scheme) in JUDGED:
                assert faults(page) == [], path
        assert wrong == []


def test_the_first_screen_names_site_kind_and_window(browser: Browser, coordinator: Shown) -> None:
    """Without scrolling, at either width."""
    for width in (1280, 390):
        with opened(browser, coordinator, role="viewer", width=width) as (page, _):
            verdict = page.locator(".verdict")
            expect(verdict).to_contain_text("Look at Hospital C (Carrick): another scanner or")
            expect(verdict).to_contain_text("since the window of 2026-02-01")
            box = verdict.bounding_box()
            assert box
            assert box["y"] + box["height"] < 900


def test_a_change_is_drawn_without_a_reload(browser: Browser, coordinator: Shown) -> None:
    with opened(browser, coordinator) as (page, wrong):
        page.goto(f"{coordinator.base}/runs/healthy")
        expect(page.locator("#lamp")).to_have_text("live", timeout=WAIT_MS)
        page.evaluate("window.same = true")
        with Store(coordinator.folder / "healthy" / "run.sqlite") as store:
            add_round(store, HEALTHY, 5)
        expect(page.locator(".tiles")).to_contain_text("5 of 20", timeout=WAIT_MS)
        assert page.evaluate("window.same")
        assert wrong == []


def test_what_somebody_types_is_not_replaced(browser: Browser, coordinator: Shown) -> None:
    with opened(browser, coordinator) as (page, _):
        page.goto(f"{coordinator.base}/runs/troubled/alarms")
        expect(page.locator("#lamp")).to_have_text("live", timeout=WAIT_MS)
        page.locator("#proposals input[name=reason]").fill("half a sen")
        with Store(coordinator.folder / "troubled" / "run.sqlite") as store:
            store.record_event("note", detail={"window": "2026-05-01", "text": "a new note"})
        expect(page.locator("#decided")).to_contain_text("a new note", timeout=WAIT_MS)
        assert page.locator("#proposals input[name=reason]").input_value() == "half a sen"


def test_a_viewer_cannot_act_from_a_page(browser: Browser, coordinator: Shown) -> None:
    with opened(browser, coordinator, role="viewer") as (page, _):
        page.goto(f"{coordinator.base}/runs/troubled/alarms")
        assert page.locator("form").count() == 0
        sent = page.request.post(
            f"{coordinator.base}/runs/troubled/lift", form={"site": "Dunmore", "reason": "a"}
        )
        assert sent.status == 403


def test_the_keyboard_alone_decides_a_proposal(browser: Browser, coordinator: Shown) -> None:
    """From the first page, with Tab, Enter and letters."""
    with opened(browser, coordinator) as (page, wrong):
        page.goto(f"{coordinator.base}/runs/troubled")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        tab_to(page, "el => el.textContent.includes('proposal waits')")
        page.keyboard.press("Enter")
        page.wait_for_url("**/alarms#proposals")
        tab_to(page, "el => el.name === 'reason' && !!el.closest('#proposals')")
        page.keyboard.type("they told us of a new scanner")
        tab_to(page, "el => el.value === 'accepted'")
        page.keyboard.press("Enter")
        expect(page.locator(".said-back")).to_contain_text("Accepted.")
        expect(page.locator("#decided")).to_contain_text("by Dr A: they told us of a new scanner")
        assert wrong == []


def test_the_keyboard_alone_pauses_and_resumes_a_site(browser: Browser, hospital: Shown) -> None:
    with opened(browser, hospital) as (page, wrong):
        for word, said in (("Pause", "Paused."), ("Resume", "works again")):
            tab_to(page, "el => el.name === 'reason'")
            page.keyboard.type("an inspection")
            tab_to(page, f"el => el.textContent === '{word}'")
            page.keyboard.press("Enter")
            expect(page.locator(".said-back")).to_contain_text(said)
        assert wrong == []


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until the focus is on what ``wanted`` accepts, and see the focus on the way."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(f"({wanted})(document.activeElement)"):
            style = "getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(style) != "none"
            return
    raise AssertionError(f"the keyboard does not reach what {wanted} accepts")
