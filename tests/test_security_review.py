"""docs/security-review.md names tests that exist, and leaves none of its forty lines empty."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "security-review.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (yes|in part|no|see reason) \| (.*) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROWS = ROW.findall(PAGE)


@lru_cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_one_of_the_forty_is_answered_once() -> None:
    assert sorted(int(row[0]) for row in ROWS) == list(range(1, 41))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}")
def test_each_line_names_a_test_that_exists_or_a_reason(row: tuple[str, str, str, str]) -> None:
    _, _, holds, shown = row
    named = NAMED.findall(shown)
    missing = [name for path, name in named if name not in names_in(path)]
    assert not missing
    reason = NAMED.sub("", shown).strip(" ;.")
    assert named if holds == "yes" else len(reason) > 5
    assert shown.count("::") == len(named)
