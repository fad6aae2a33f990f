"""What leaves a run calls hospitals by letters, unless the contract says that names are agreed.

A letter alone is not enough: a digest over a guessable name is the name. What is such a digest
is named here (``TELLING``), and texts that people wrote are searched for names, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from aggregator.run_folder import Run, spoken_label
from fedrad.errors import RunError

# SHA-256 over a site's name and values that are public, a key, or a person's name.
TELLING = {
    "sites": ("node_key",),
    "replies": ("reply_id", "ledger_head"),
    "rounds": ("accepted_digest",),
    "actions": ("decided_by",),
    "releases": ("by", "signature"),
}
_PEOPLE = ("by", "decided_by")  # keys of a detail that name a person
_LINES = ("ledger_lines", "reply_id")  # keys of a detail whose values are made of such digests
_DIGEST = re.compile(r"[0-9a-f]{64}(?:#late)?")
SOMEBODY = "a person"


class Letters:
    """The names of one run's sites for readers elsewhere."""

    def __init__(self, run: Run) -> None:
        conditions = run.contract.conditions if run.contract else None
        self.agreed = conditions is not None and conditions.figures == "names"
        self._labels = {site: _letter(run, site) for site in run.sites}
        self._hidden = frozenset(str(row.get("reply_id")) for row in run.tables["replies"])
        names = sorted(map(re.escape, self._labels), key=len, reverse=True)
        pattern = "|".join(names) or r"(?!)"
        self._beside = re.compile(rf" \((?:{pattern})\)")
        self._name = re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE)
        self._lower = {site.lower(): label for site, label in self._labels.items()}

    @classmethod
    def always(cls, run: Run) -> Letters:
        """Return letters even where names are agreed: for readers outside the study."""
        found = cls(run)
        found.agreed = False
        return found

    def of(self, site: str) -> str:
        """Return what readers call a site; ``*``, ``macro``, ``worst`` and strangers stay."""
        return site if self.agreed else self._labels.get(site, self.text(site))

    def text(self, text: str) -> str:
        """Return a text with every site's name as its letter."""
        if self.agreed:
            return text
        without = self._beside.sub("", text)
        shown = _DIGEST.sub(lambda found: "" if found[0] in self._hidden else found[0], without)
        return self._name.sub(lambda found: self._lower[found[0].lower()], shown)

    def value(self, value: Any) -> Any:
        """Return a value of JSON with names as letters, people as ``SOMEBODY``."""
        if self.agreed:
            return value
        if isinstance(value, dict):
            return {
                self.text(str(key)): SOMEBODY if key in _PEOPLE else self.value(item)
                for key, item in value.items()
                if key not in _LINES
            }
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, str):
            return self.text(value)
        return value

    def refuse_names(self, texts: Iterable[str]) -> None:
        """Look once more at what is about to be written.

        Raises:
            RunError: A site's name is in it.
        """
        for text in () if self.agreed else texts:
            found = self._name.search(text)
            if found:
                label = self._lower[found[0].lower()]
                raise RunError(f"the name of {label} would leave the run; nothing was written")


def _letter(run: Run, site: str) -> str:
    label = run.label(site).partition(",")[0]
    if label != site:
        return label
    place = run.sites.index(site)  # no contract was recorded
    return spoken_label(chr(ord("A") + place) if place < 26 else f"{place + 1}")
