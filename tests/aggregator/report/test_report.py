from __future__ import annotations

import re
import sqlite3
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aggregator.facts import Fact, write_facts
from aggregator.report import write_report
from fedrad.errors import DamagedStateError, SettingsError

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collect what a browser would read: tags with attributes, and text by tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that closes itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Refuse a tag that closes another."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep the text outside the style."""
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def change(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "run.sqlite") as database:
        for statement in statements:
            database.execute(statement)


def test_the_report_is_one_small_file_that_loads_nothing(run_folder: Path) -> None:
    path = write_report(run_folder)
    page = Page(path.read_text(encoding="utf-8"))
    assert path == run_folder / "report.html"
    assert path.stat().st_size < 3_000_000
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [a for _, attrs in page.tags for a in attrs if a in ("src", "srcset", "onclick")]
    assert all(attrs["href"].startswith("#") for tag, attrs in page.tags if tag == "a")  # type: ignore[union-attr]
    assert not re.search(r"url\(|@import|https?://", path.read_text(encoding="utf-8"))


def test_every_element_is_closed_and_every_link_leads_somewhere(run_folder: Path) -> None:
    page = page_of(run_folder)
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert page.open == []
    assert links == {f"#{name}" for name in ids}


def test_drawings_and_tables_can_be_read_aloud(run_folder: Path) -> None:
    page = page_of(run_folder)
    drawings = [attrs for tag, attrs in page.tags if tag == "svg"]
    heads = [attrs for tag, attrs in page.tags if tag == "th"]
    assert len(drawings) > 8
    assert all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in drawings)
    assert all(a.get("scope") in ("row", "col") for a in heads)
    assert [tag for tag, _ in page.tags].count("h1") == 1


def test_the_same_folder_gives_the_same_bytes(run_folder: Path) -> None:
    first = write_report(run_folder).read_bytes()
    assert write_report(run_folder).read_bytes() == first


def test_the_banner_stands_on_the_page_and_on_every_sheet_of_paper(run_folder: Path) -> None:
    html = write_report(run_folder).read_text(encoding="utf-8")
    assert Page(html).text.count("Phantoms, not clinical evidence") >= 2
    assert '@top-center { content: "Phantoms, not clinical evidence"' in html


def test_a_banner_cannot_break_out_of_the_style_sheet(run_folder: Path) -> None:
    write_facts(run_folder, [Fact(key="banner", text='x"; } </style><script>alert(1)</script>')])
    html = write_report(run_folder).read_text(encoding="utf-8")
    assert "<script" not in html
    assert html.count("</style>") == 1


def test_every_fact_stands_with_its_command_in_one_type_size(run_folder: Path) -> None:
    page = page_of(run_folder)
    facts = [attrs for tag, attrs in page.tags if attrs.get("class") == "fact"]
    commands = [attrs for tag, attrs in page.tags if attrs.get("class") == "command"]
    assert len(facts) == len(commands) == 5
    assert "0 of 1,204" in page.text
    assert (
        "1 of 4 hospitals do better federated, 1 better alone, and at 2 one cannot tell"
        in page.text
    )
    assert "alone 0.918, federated 0.884, difference −0.034" in page.text
    assert ": cannot tell (12 positive, under 15)." in page.text


def test_a_text_of_the_run_is_never_markup(run_folder: Path) -> None:
    change(run_folder, "UPDATE runs SET status = '<b>done</b>'")
    write_facts(run_folder, [Fact(key="x", text="<img src=x onerror=alert(1)>")])
    page = page_of(run_folder)
    assert not {"img", "b"} & {tag for tag, _ in page.tags}
    assert "<b>done</b>" in page.text


def test_what_was_not_measured_says_so_and_is_never_a_zero(run_folder: Path) -> None:
    for name in ("facts.json", "comparison.json", "task.toml", "contract.json"):
        (run_folder / name).unlink()
    tables = ("metrics", "replies", "rounds", "privacy", "runs", "events")
    change(run_folder, *(f"DROP TABLE {name}" for name in tables))
    text = page_of(run_folder).text
    assert text.count("not measured") >= 4
    assert not re.search(r"\b0\.000\b|\b0 rounds\b|\b0 B\b", text)


def test_a_metric_that_its_sums_cannot_carry_is_called_not_estimable(run_folder: Path) -> None:
    change(
        run_folder,
        "UPDATE metrics SET value = NULL WHERE site = 'west' AND metric = 'sensitivity'",
    )
    assert page_of(run_folder).text.count("not estimable") == 1


def test_counts_under_ten_are_not_shown(run_folder: Path) -> None:
    change(run_folder, "UPDATE metrics SET n = 9.4 WHERE site = 'east'")
    row = re.search(r"Hospital A east <10 0\.922", page_of(run_folder).text)
    assert row is not None


def test_exact_metrics_say_so_everywhere_and_show_no_epsilon(exact_folder: Path) -> None:
    text = page_of(exact_folder).text
    assert text.count("exact metrics: not private") >= 4 + 4 + 1  # curves, rows, banner
    assert not re.search(r"epsilon (of )?\d|ε \d|epsilon 8", text)
    assert "attacker" not in text


def test_epsilon_comes_with_the_sentence_that_gives_it_meaning(run_folder: Path) -> None:
    text = page_of(run_folder).text
    share = re.findall(r"at 1 % false alarms a perfect attacker recognises at most (\d+) %", text)
    assert len(share) == 5  # four sites, and the worst of them in front
    assert max(share, key=int) == share[0]
    assert "Epsilon at delta 1e-5" in text


def test_a_folder_without_a_run_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no run\.sqlite in it; name the folder"):
        write_report(tmp_path)


def test_a_damaged_database_is_named(run_folder: Path) -> None:
    for path in run_folder.glob("run.sqlite-*"):
        path.unlink()
    (run_folder / "run.sqlite").write_bytes(b"not a database, only text" * 100)
    with pytest.raises(DamagedStateError, match="cannot be read"):
        write_report(run_folder)
