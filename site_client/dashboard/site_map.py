"""The addresses of the hospital's page, behind the one door of the loopback."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from fedrad.clock import Clock
from fedrad.errors import FedradError
from fedrad.metrics.metric import shown_count
from fedrad.metrics.names import spoken
from fedrad.screens.access import Door
from fedrad.screens.guarding import LOOPBACK, Guarded, fields_of, visitor_of
from fedrad.screens.live import Watch
from fedrad.screens.pages import Pages, static
from site_client import audit, holdings, own_figures
from site_client.approvals import study_approval
from site_client.dashboard import acting, left, records, state, today
from site_client.dashboard.adding_up import AddingUp
from site_client.home import LEDGER
from site_client.pausing import PAUSED
from site_client.quarantine import sum_up
from site_client.settings import FILE, read_site

Context = dict[str, Any]
_SECTIONS = {
    "": "Today",
    "left": "What left",
    "budget": "Budget",
    "images": "Images",
    "contract": "Contract",
}
_WATCHED = (audit.NAME, LEDGER, FILE, "quarantine.csv", str(PAUSED), "state/figures")


class SitePages:
    """The pages of one site's home."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home, self._clock = home, clock
        self._pages = Pages("site_client.dashboard", _WORDS)
        self._adding = AddingUp(home)

    def behind(self, door: Door) -> tuple[Guarded, Watch]:
        """Return the application, and what tells its browsers of changes."""
        watch = Watch(lambda: (self._stamp(), self._adding.version), every_s=0.25)

        async def events(_: Request) -> Response:
            return watch.response()

        routes = [
            Route("/static/{name}", static),
            Route("/events", events),
            Route("/", self._page("today.html", self._today)),
            Route("/left", self._page("left.html", self._left)),
            Route("/budget", self._page("budget.html", self._spent)),
            Route("/images", self._page("images.html", self._images)),
            Route("/contract", self._page("contract.html", self._contract)),
            *(Route(f"/{what}", self._act(what), methods=["POST"]) for what in _ACTS),
        ]
        handlers: dict[Any, Callable[..., Response]] = {FedradError: self._trouble, 404: self._lost}
        return Guarded(Starlette(routes=routes, exception_handlers=handlers), door, LOOPBACK), watch

    def _page(self, template: str, draw: Callable[[datetime], Context]) -> Callable[..., Response]:
        def answer(request: Request) -> Response:
            context = draw(self._clock.now().astimezone())
            return self._pages.answer(request, template, self._frame(request) | context)

        return answer

    def _act(self, what: str) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            by, fields = visitor_of(request).name, fields_of(request)
            said = acting.act(self._home, what, fields, by=by, clock=self._clock)
            where = "/contract" if what == "withdraw" else "/"
            return RedirectResponse(f"{where}?said={quote(said)}", status_code=303)

        return answer

    def _today(self, now: datetime) -> Context:
        settings, lines = read_site(self._home), records.recent(self._home)
        found = state.read_state(self._home, settings, lines, now=now)
        sent = [one for one in left.messages(lines) if one.time.startswith(f"{now:%Y-%m-%d}")]
        return {
            "state": found, "questions": today.questions(lines, now),
            "notes": today.notes(lines, now),
            "sent": len(sent), "sent_bytes": left.total_bytes(sent), "day": f"{now:%A, %d %B %Y}",
            "figures": own_figures.read_figures(self._home),
            "studies": state.studies(self._home, settings, now),
            "hours": settings.site.hours or "always",
        }  # fmt: skip

    def _left(self, _: datetime) -> Context:
        found = left.messages(records.recent(self._home))
        return {"messages": found, "bytes": left.total_bytes(found), "most": left.MOST}

    def _spent(self, _: datetime) -> Context:
        return {"budget": self._adding.budget(self._stamp())}

    def _images(self, _: datetime) -> Context:
        rows = holdings.read_quarantine(self._home)
        return {"reasons": sum_up(rows), "files": int(rows["file"].nunique())}

    def _contract(self, now: datetime) -> Context:
        found = state.studies(self._home, read_site(self._home), now)
        given = {one.name: study_approval(self._home, one.name) for one in found}
        return {"studies": found, "approvals": given, "site": read_site(self._home).site.name}

    def _frame(self, request: Request) -> Context:
        said = acting.SAID.get(request.query_params.get("said", ""), "")
        name = read_site(self._home).site.name
        return {"site": name, "sections": _SECTIONS, "said": said, "banner": ""}

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stat(self._home / name) for name in _WATCHED)

    def _trouble(self, request: Request, error: Exception) -> Response:
        return self._sorry(request, str(error), 409)

    def _lost(self, request: Request, _: Exception) -> Response:
        return self._sorry(request, "There is no such page.", 404)

    def _sorry(self, request: Request, problem: str, status: int) -> Response:
        frame = {"site": "", "sections": _SECTIONS, "said": "", "banner": "", "problem": problem}
        return self._pages.answer(request, "sorry.html", frame, status=status)


_ACTS = ("pause", "resume", "withdraw")


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _amount(size: int | None) -> str:
    if size is None:
        return "not recorded"
    return (
        f"{size} B"
        if size < 1000
        else f"{size / 1000:.1f} kB"
        if size < 10**6
        else f"{size / 10**6:.1f} MB"
    )


def _epsilon(value: float) -> str:
    return f"{math.ceil(value * 100 - 1e-9) / 100:.2f}" if math.isfinite(value) else "without bound"


_WORDS: dict[str, Callable[..., str]] = {
    "amount": _amount,
    "epsilon": _epsilon,
    "percent": lambda share: f"{math.ceil(share * 100 - 1e-9)} %",
    "count": lambda value: "" if value is None else shown_count(value),
    "metric": spoken,
    "score": lambda value: "" if value is None else f"{value:.3f}",
}
