"""What a site told this run of its ledger, from the run's history.

For a site that lost its ledger: the lines of every reply, word for word, also of replies
that were refused, and the last head that this run saw of it. Charging them again is the
site's work (``fedrad-site ledger adopt``).
"""

from __future__ import annotations

import json
from pathlib import Path

from aggregator.run_folder import Run, read_run
from aggregator.spending import parse_lines
from fedrad.errors import DamagedStateError, ProtocolError, SettingsError
from fedrad.privacy.ledger import EMPTY_HEAD
from fedrad.privacy.told import ToldLines, write_told


def told_by(folder: Path, site: str) -> ToldLines:
    """Return the ledger lines of one site that a run knows, each once, in order.

    Raises:
        SettingsError: The folder holds no run, or the run has no such site.
        DamagedStateError: The history cannot be read.
    """
    run = read_run(folder)
    if site not in run.sites:
        raise SettingsError(str(folder), (f"no site {site!r}; there are {', '.join(run.sites)}",))
    events = [row for row in run.tables["events"] if row["kind"] == "reply" and row["site"] == site]
    details = [json.loads(row["detail_json"]) for row in sorted(events, key=_seq)]
    try:
        lines = parse_lines(line for detail in details for line in detail["ledger_lines"])
    except (ProtocolError, KeyError) as error:
        raise DamagedStateError(f"the history in {folder} cannot be read: {error}") from None
    once = {line.hash: line for line in lines}
    return ToldLines(
        study=str(run.about.get("study", "")),
        site=site,
        head=_last_head(run, [str(detail["reply_id"]) for detail in details]),
        lines=tuple(sorted(once.values(), key=lambda line: (line.seq, line.hash))),
    )


def write_told_by(folder: Path, site: str, *, out: Path | None) -> ToldLines:
    """Write what ``told_by`` returns to ``out``, or beside the run's records.

    Raises:
        SettingsError: As for ``told_by``; so is ``DamagedStateError``.
    """
    told = told_by(folder, site)
    write_told(out or default_path(folder, site), told)
    return told


def default_path(folder: Path, site: str) -> Path:
    """Return where the list goes unless another place is named."""
    return folder / f"ledger-{site}.json"


def _last_head(run: Run, reply_ids: list[str]) -> str:
    """Return the head of the newest reply that told one."""
    heads = {row["reply_id"]: str(row["ledger_head"]) for row in run.tables["replies"]}
    told = [heads[reply] for reply in reply_ids if heads.get(reply)]
    return told[-1] if told else EMPTY_HEAD


def _seq(row: dict[str, object]) -> int:
    return int(str(row["seq"]))
