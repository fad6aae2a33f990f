"""The addresses of the dashboard: which page answers where, to whom.

One application for each way in, because each has its own door. Whoever gets here may look;
forms come from operators alone (``fedrad.screens.guarding``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from aggregator import metrics_page
from aggregator.dashboard import acting, alarm_page, compare_page, model_page, run_page, site_page
from aggregator.dashboard.book import Book, opened
from aggregator.dashboard.glance import others_that_matter, read_glance
from aggregator.dashboard.places import Places, stamp
from aggregator.dashboard.presence import Presence
from aggregator.decisions import Place
from aggregator.run_folder import DATABASE, Run
from aggregator.wording import FILTERS, interval
from fedrad import audit_log
from fedrad.clock import Clock
from fedrad.errors import FedradError, RunError, SettingsError
from fedrad.screens.access import Door
from fedrad.screens.guarding import Guarded, fields_of, visitor_of
from fedrad.screens.live import Watch
from fedrad.screens.pages import Pages, static

Context = dict[str, Any]
_ABOUT = {"glance": "Now", "run": "Run", "alarms": "Alarms", "models": "Models"}


class Dashboard:
    """The pages of one dashboard, the same behind every door."""

    def __init__(self, places: Places, presence: Presence, clock: Clock) -> None:
        self._places, self._presence, self._clock = places, presence, clock
        self._pages = Pages("aggregator.dashboard", FILTERS | _WORDS)

    def behind(self, door: Door, hosts: tuple[str, ...] = ()) -> tuple[Guarded, Watch]:
        """Return the application of one way in, and what tells its browsers of changes."""
        looks = _Looks(self._places, self._presence)
        watch = Watch(looks.look)

        async def events(_: Request) -> Response:
            return watch.response()

        routes = [
            Route("/static/{name}", static),
            Route("/events", events),
            Route("/", self._first),
            Route("/compare", self._compare),
            Route("/metrics", self._metrics),
            Route("/runs/{run}", self._of_run("glance.html", self._glance)),
            Route("/runs/{run}/course", self._of_run("run.html", run_page.run_context)),
            Route("/runs/{run}/alarms", self._of_run("alarms.html", alarm_page.alarm_context)),
            Route("/runs/{run}/models", self._of_run("models.html", model_page.model_context)),
            Route("/runs/{run}/models", self._download, methods=["POST"]),
            Route("/runs/{run}/decide", self._act(acting.decide), methods=["POST"]),
            Route("/runs/{run}/set-aside", self._act(acting.set_aside), methods=["POST"]),
            Route("/runs/{run}/lift", self._act(acting.lift), methods=["POST"]),
            Route("/runs/{run}/site/{site:path}", self._site),
        ]
        handlers: dict[Any, Callable[..., Response]] = {FedradError: self._trouble, 404: self._lost}
        return Guarded(Starlette(routes=routes, exception_handlers=handlers), door, hosts), watch

    def _first(self, request: Request) -> Response:
        runs = self._places.runs()
        if not runs:
            return self._pages.answer(request, "empty.html", self._frame({}, "", "glance"))
        name = next(iter(runs))
        return self._answer(request, name, "glance.html", self._glance)

    def _of_run(self, template: str, draw: Callable[[Book], Context]) -> Callable[..., Response]:
        def answer(request: Request) -> Response:
            return self._answer(request, request.path_params["run"], template, draw)

        return answer

    def _answer(
        self, request: Request, name: str, template: str, draw: Callable[[Book], Context]
    ) -> Response:
        runs = self._places.runs()
        place = _place(runs, name)

        def drawn() -> tuple[str, Context]:
            with opened(place.folder, letters_only=not visitor_of(request).may_act) as book:
                context = draw(book)
            here = template.removesuffix(".html")
            return template, self._frame(runs, name, here) | _said(request) | context

        key = (stamp(place.folder), tuple(runs), self._presence.version)
        return self._pages.kept(request, key, drawn)

    def _glance(self, book: Book) -> Context:
        online = {book.letters.get(s, s): n for s, n in self._presence.online.items()}
        glance = read_glance(book, online, self._clock.now())
        others = others_that_matter(self._places.runs(), book.folder)
        return {"glance": glance, "run": glance.run, "banner": glance.banner, "others": others}

    def _site(self, request: Request) -> Response:
        def draw(book: Book) -> Context:
            return site_page.site_context(book, _site_of(book.run(), request.path_params["site"]))

        return self._answer(request, request.path_params["run"], "site.html", draw)

    def _compare(self, request: Request) -> Response:
        runs = self._places.runs()
        asked = [name for name in request.query_params.getlist("run") if name in runs]
        chosen = (asked + [name for name in runs if name not in asked])[:2]
        sides = {}
        for name in chosen:
            with opened(runs[name].folder, letters_only=not visitor_of(request).may_act) as book:
                sides[name] = compare_page.side(book)
        frame = self._frame(runs, chosen[0] if chosen else "", "compare")
        context = compare_page.together(sides) if sides else {"names": []}
        return self._pages.answer(request, "compare.html", frame | context | {"chosen": chosen})

    def _metrics(self, _: Request) -> Response:
        """Answer with Prometheus text: letters, and released numbers alone, to everybody."""
        runs = {name: place.folder for name, place in self._places.runs().items()}
        return Response(metrics_page.text_of(runs), media_type=metrics_page.CONTENT_TYPE)

    def _act(self, act: Callable[..., str]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            name = request.path_params["run"]
            place, fields = _place(self._places.runs(), name), fields_of(request)
            with opened(place.folder, letters_only=False) as book:
                fields["site"] = _site_of(book.run(), fields.get("site", ""))
            said = act(place, fields, by=visitor_of(request).name, clock=self._clock)
            where = f"/runs/{quote(name, safe='')}/alarms?said={quote(said)}"
            return RedirectResponse(where, status_code=303)

        return answer

    def _download(self, request: Request) -> Response:
        name, number = request.path_params["run"], fields_of(request).get("round", "")
        place = _place(self._places.runs(), name)
        if not number.isdecimal():
            raise RunError("the form names no round")
        found = model_page.model_file(place.folder, int(number))
        audit_log.record(
            place.audit, self._clock, "model handed out", run=place.folder.name, round=int(number),
            model_digest=found.digest, by=visitor_of(request).name,
        )  # fmt: skip
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name)}",
            "X-Model-Digest": found.digest,
            "X-File-SHA256": found.sha256,
        }
        return Response(found.content, media_type="application/octet-stream", headers=headers)

    def _frame(self, runs: Mapping[str, Place], name: str, here: str) -> Context:
        """Return what every page shows around its content."""
        return {
            "runs": list(runs), "name": name, "here": here, "sections": _ABOUT, "banner": "",
            "said": "", "server": self._presence.state,
        }  # fmt: skip

    def _trouble(self, request: Request, error: Exception) -> Response:
        status = 404 if isinstance(error, _NotHereError) else 409
        return self._sorry(request, str(error), status)

    def _lost(self, request: Request, _: Exception) -> Response:
        return self._sorry(request, "There is no such page.", 404)

    def _sorry(self, request: Request, problem: str, status: int) -> Response:
        frame = self._frame(self._places.runs(), "", "")
        return self._pages.answer(
            request, "sorry.html", frame | {"problem": problem}, status=status
        )


class _NotHereError(SettingsError):
    """An address of something that is not there."""


class _Looks:
    """What differs when any run was written to; one connection a run, asked by one thread."""

    def __init__(self, places: Places, presence: Presence) -> None:
        self._places, self._presence = places, presence
        self._open: dict[Path, sqlite3.Connection] = {}
        self._asked = 0

    def look(self) -> object:
        """Return the version of every run's database, and of who is online."""
        if self._asked % 40 == 0:  # runs come and go seldom
            self._find()
        self._asked += 1
        versions = [one.execute("PRAGMA data_version").fetchone()[0] for one in self._open.values()]
        return (tuple(self._open), tuple(versions), self._presence.version)

    def _find(self) -> None:
        folders = {place.folder for place in self._places.runs().values()}
        for gone in set(self._open) - folders:
            self._open.pop(gone).close()
        for folder in sorted(folders - set(self._open)):
            where = f"file:{folder / DATABASE}?mode=ro"
            self._open[folder] = sqlite3.connect(where, uri=True, check_same_thread=False)


def key_of(run: Run, site: str) -> str:
    """Return the place of a site in an address: its letter, or its name without one."""
    row = next((one for one in run.tables["sites"] if one["site"] == site), None)
    return str(row["label"]) if row and row["label"] else site


def _site_of(run: Run, key: str) -> str:
    for site in run.sites:
        if key in (key_of(run, site), site):
            return site
    raise _NotHereError("this address", (f"no hospital {key[:40]!r} in this run",))


def _place(runs: Mapping[str, Place], name: str) -> Place:
    if name not in runs:
        raise _NotHereError("this address", (f"no run {name[:60]!r}; the first page lists them",))
    return runs[name]


def _said(request: Request) -> dict[str, str]:
    return {"said": acting.SAID.get(request.query_params.get("said", ""), "")}


_WORDS: dict[str, Callable[..., str]] = {
    "path": lambda text: quote(str(text), safe=""),
    "key": key_of,
    "interval_of": lambda row: interval(row["lo"], row["hi"]),
}
