"""Turn the site's query into questions that a PACS answers well, and check its answers.

Days are asked for a month at a time, accession numbers one by one, each modality on its own:
a PACS cuts long answers off. Keys that a PACS does not know it ignores and then answers with
more than was asked, so every answer is matched here again; descriptions only here, because
not every PACS knows wildcards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from fedrad.errors import SettingsError
from site_client.archive.pacs import Question, Series, Study, is_uid
from site_client.archive_settings import Query

_DAYS = 31
_ACCESSIONS = 50
_LONGEST = 16  # characters of an accession number, VR SH (PS3.5 sec. 6.2)


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions that are asked together, before anything they name is retrieved."""

    questions: tuple[Question, ...]


def iter_batches(query: Query, today: date) -> Iterator[Batch]:
    """Yield everything that the query asks, in small portions, oldest days first.

    Raises:
        SettingsError: The file of accession numbers cannot be used.
    """
    if query.accessions != Path():
        numbers = read_accessions(query.accessions)
        for first in range(0, len(numbers), _ACCESSIONS):
            some = numbers[first : first + _ACCESSIONS]
            yield Batch(tuple(Question(m, accession=n) for n in some for m in query.modality))
        return
    first_day = date.fromisoformat(query.first_date)
    last_day = date.fromisoformat(query.last_date) if query.last_date else today
    while first_day <= last_day:
        end = min(first_day + timedelta(days=_DAYS - 1), last_day)
        days = {"first_day": f"{first_day:%Y%m%d}", "last_day": f"{end:%Y%m%d}"}
        yield Batch(tuple(Question(modality, **days) for modality in query.modality))
        first_day = end + timedelta(days=1)


def read_accessions(path: Path) -> list[str]:
    """Return the accession numbers of a file, one a line, in order, each once.

    Raises:
        SettingsError: The file is missing or empty, or lines cannot be asked for; they are
            named by their number, never by what they say.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), (f"it cannot be read: {type(error).__name__}",)) from None
    numbers = [line.strip() for line in lines]
    wrong = [str(i) for i, text in enumerate(numbers, 1) if text and not _may_be_asked(text)]
    if wrong:
        some = ", ".join(wrong[:10])
        said = f"line {some}: an accession number has 1 to {_LONGEST} characters, none of * ? \\"
        raise SettingsError(str(path), (said,))
    found = list(dict.fromkeys(filter(None, numbers)))
    if not found:
        raise SettingsError(str(path), ("it holds no accession number",))
    return found


def is_asked_study(query: Query, question: Question, study: Study) -> bool:
    """Say whether a study that a PACS answered with is one that was asked for."""
    if question.accession:
        right = study.accession == question.accession
        if query.first_date:
            right = right and study.day >= query.first_date.replace("-", "")
        if query.last_date:
            right = right and study.day <= query.last_date.replace("-", "")
    else:
        right = question.first_day <= study.day[:8] <= question.last_day
    return right and is_uid(study.uid) and _fits(query.study_description, study.description)


def is_asked_series(query: Query, series: Series) -> bool:
    """Say whether a series of such a study is one that was asked for."""
    right = series.modality in query.modality and is_uid(series.uid)
    return right and _fits(query.series_description, series.description)


def _fits(pattern: str, text: str) -> bool:
    if not pattern:
        return True
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.IGNORECASE | re.DOTALL) is not None


def _may_be_asked(text: str) -> bool:
    return len(text) <= _LONGEST and text.isprintable() and not set(text) & set("*?\\")
