"""A new home: settings that can be read as written and with every option on, one secret."""

import itertools
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import SettingsError
from fedrad.settings import build
from site_client.cli import app
from site_client.home import split_key
from site_client.machine import Machine, read_machine, time_zone
from site_client.opening import Wishes, open_home
from site_client.opening_text import Source, settings_text
from site_client.settings import SiteSettings, read_site

MACHINE = Machine(cores=4, memory_gib=15.6, free_gib=321.0, time_zone="CET (UTC+01:00)")
KINDS = ("folder", "dicomweb", "dimse")


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words])
    return int(str(ended.value.code))


def with_everything_on(text: str, kind: str) -> str:
    """Take the "#" away from every setting, as the file says; of archives from one only."""
    start = [text.index(f"\n# {number}. ") for number in (1, 2, 3)]
    start.append(text.index("\n# The hospital's table"))
    parts = [text[: start[0]], *(text[a:b] for a, b in itertools.pairwise(start))]
    on = 1 + KINDS.index(kind)
    parts = [part for number, part in enumerate(parts) if number in (0, on)]
    return re.sub(r"(?m)^#(?! )", "", "".join(parts) + text[start[-1] :])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("written_for", KINDS)
def test_every_option_can_be_switched_on(kind: str, written_for: str) -> None:
    text = settings_text("north", Source(kind=written_for), MACHINE)
    plain = build(SiteSettings, tomllib.loads(text))
    assert plain.archive.kind == written_for
    table = tomllib.loads(with_everything_on(text, kind))
    everything = build(SiteSettings, table)
    assert everything.archive.kind == kind
    assert everything.patients.mapping == Path("mapping.csv")
    assert table.keys() == set(SiteSettings.__dataclass_fields__) - {"coordinator"}
    for of in set(table) - {"archive"}:
        known = set(type(getattr(everything, of)).__dataclass_fields__)
        assert table[of].keys() == known


def test_what_is_off_names_the_defaults() -> None:
    """A comment that shows another value than the one in force would mislead."""
    text = settings_text("north", Source(), MACHINE)
    plain = build(SiteSettings, tomllib.loads(text))
    everything = build(SiteSettings, tomllib.loads(with_everything_on(text, "folder")))
    assert (everything.reading, everything.splits) == (plain.reading, plain.splits)
    assert everything.patients.max_studies == plain.patients.max_studies


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_path_is_read_back_as_it_was(path: str) -> None:
    text = settings_text("north", Source(path=f"/{path}"), MACHINE)
    assert build(SiteSettings, tomllib.loads(text)).archive.path == Path(f"/{path}")


def test_a_new_home_approves_nothing_and_can_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    home = tmp_path / "St. Mary"
    assert run("init", "--home", home, "--archive", tmp_path / "images") == 0
    said = capsys.readouterr().out
    assert f"next: fedrad-site catalogue --home '{home}'" in said
    settings = read_site(home)
    assert settings.site.name == "St-Mary"
    assert settings.approval.studies == ()
    assert settings.archive.path == tmp_path / "images"
    assert len(split_key(home)) == 32
    assert run("catalogue", "--home", home) == 0


def test_settings_that_are_there_are_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "north"
    assert run("init", "--home", home) == 0
    key, text = split_key(home), (home / "site.toml").read_bytes()
    assert run("init", "--home", home, "--name", "south") == 2
    assert "edit it, or name another --home" in capsys.readouterr().err
    assert (home / "site.toml").read_bytes() == text
    (home / "site.toml").unlink()
    assert run("init", "--home", home) == 0
    assert split_key(home) == key


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        (Wishes(dimse="pacs.example"), "ARCHIVE@pacs.example:104"),
        (Wishes(dimse="A@b:99999"), "port must lie in 1 to 65535"),
        (Wishes(dicomweb="pacs.example"), "url must be such as https://"),
        (Wishes(dicomweb="https://a", dimse="A@b:1"), "give one"),
        (Wishes(name="St. Mary"), "name must be letters"),
    ],
)
def test_a_wish_that_cannot_be_used_leaves_nothing_behind(
    wishes: Wishes, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=problem):
        open_home(tmp_path / "home", wishes)
    assert not (tmp_path / "home").exists()


def test_a_home_inside_the_archive_is_refused(tmp_path: Path) -> None:
    """The catalogue would list the cache as files of the hospital."""
    with pytest.raises(SettingsError, match="lies inside the archive"):
        open_home(tmp_path / "images/home", Wishes(archive=tmp_path / "images"))
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("wish", [("--dicomweb", "https://pacs.example/web"), ("--dimse", "A@b:1")])
def test_a_pacs_begins_with_its_form(
    wish: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("init", "--home", tmp_path / "north", *wish, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["next"] == f"fedrad-site pacs-request --home {tmp_path / 'north'}"
    assert read_site(tmp_path / "north").archive.path == tmp_path / "north/store"


def test_a_home_without_settings_names_the_command_that_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("catalogue", "--home", tmp_path) == 2
    assert "fedrad-site init --home writes one" in capsys.readouterr().err


def test_the_machine_is_what_it_is(tmp_path: Path) -> None:
    found = read_machine(tmp_path / "not" / "there")
    assert found.cores >= 1
    assert 0 < found.memory_gib < 1 << 20
    assert found.free_gib > 0
    assert found.time_zone == time_zone()
