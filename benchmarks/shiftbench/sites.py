"""Judge several sites together: one that begins late, and one whose sums are made up.

The product's own rule over sites is what is measured (``aggregator.shifts``): false alarms are
shared out, so a site that lies may move the thresholds of the honest ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bank import LAYOUT, Rows
from draws import NONE, SHIFTS, Hospital, sums, told
from paths import BEFORE, count_late
from trials import AFTER, Setting, Tally, dealt

from aggregator import shifts
from fedrad import seeds
from fedrad.shift.alarms import Judgement
from fedrad.shift.reference import WINDOWS, single
from fedrad.shift.statistics import between_sites
from fedrad.shift.windows import Released

LATE = 8  # windows by which a new site begins after the others
WHOLE = LATE + WINDOWS + BEFORE  # windows before anything changes
SPREAD = 0.5  # deviation of the logarithm of the factors that a lying site puts on its sums

Told = dict[str, list[Released]]


def several_sites(setting: Setting, draws: range, epsilons: Sequence[float]) -> Tally:
    """Judge an honest, a lying and a new last site beside the others, which never change.

    Of each site: whether it alarms, and whether standing differences call its images odd.
    """
    tally = Tally()
    for draw in draws:
        dealt_now = dealt(setting, "sites", range(draw, draw + 1))
        hospitals = {site: hospital for site, _, hospital in dealt_now}
        rows = {site: _unchanged(hospital) for site, hospital in hospitals.items()}
        last = setting.sites[-1]
        changed = [hospitals[last].window(SHIFTS["gamma H"]) for _ in range(AFTER)]
        for epsilon in epsilons:
            key, of = (setting.seed, draw, "sites", str(epsilon)), f"|{epsilon:g}"
            said = {site: _released(own, epsilon, (*key, site)) for site, own in rows.items()}
            _count(tally, f"all honest{of}", said, (last, draw))
            false = _made_up(rows[last], epsilon, (*key, "made up"))
            _count(tally, f"last one lies{of}", {**said, last: false}, (last, draw))
            late = said[last][LATE:WHOLE] + _released(changed, epsilon, (*key, "new"), first=WHOLE)
            judged = _judged({**said, last: late})
            count_late(tally, f"new site{of}", judged[last], ("image", f"all {draw}"))
    return tally


def _unchanged(hospital: Hospital) -> list[Rows]:
    return [hospital.window(NONE) for _ in range(WHOLE + AFTER)]


def _released(
    rows: Sequence[Rows], epsilon: float, key: tuple[str | int, ...], *, first: int = 0
) -> list[Released]:
    return [
        told(f"w{first + k:02d}", sums(one), epsilon=epsilon, key=(*key, k))
        for k, one in enumerate(rows)
    ]


def _made_up(rows: Sequence[Rows], epsilon: float, key: tuple[str | int, ...]) -> list[Released]:
    """Return releases whose every sum has a random factor of its own, window by window."""
    rng = seeds.stream(int(key[0]), "", int(key[1]), f"shiftbench lies {epsilon:g}")
    found = []
    for number, one in enumerate(rows):
        blocks = [
            replace(block, values=block.values * rng.lognormal(0, SPREAD, len(block.values)))
            for block in sums(one)
        ]
        found.append(told(f"w{number:02d}", blocks, epsilon=epsilon, key=(*key, number)))
    return found


def _count(tally: Tally, name: str, said: Told, which: tuple[str, int]) -> None:
    last, draw = which
    judged = _judged(said)
    first = {site: single(releases[0], LAYOUT) for site, releases in said.items()}
    odd = between_sites({site: one for site, one in first.items() if one is not None}, "image")
    for site in said:
        who = "last" if site == last else "others"
        tally.add(f"{name}|{who}|alarm", bool(judged[site].alarms), f"all {draw}")
        tally.add(f"{name}|{who}|odd", site in odd and odd[site][1] < 0.05, f"all {draw}")


def _judged(said: Mapping[str, Sequence[Released]]) -> dict[str, Judgement]:
    known = {site: shifts.history_of(site, [own], LAYOUT) for site, own in said.items()}
    return shifts.judged({site: own for site, own in known.items() if own is not None})
