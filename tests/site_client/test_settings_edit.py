"""Changing one value of site.toml: everything else stays to the byte, or nothing is written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from joined import SITE_TOML

from fedrad.errors import SettingsError
from site_client.settings_edit import put_values

TEXT = SITE_TOML.format(name="east")
HASH = "a" * 64


def put(folder: Path, text: str, table: str = "approval", **values: object) -> str:
    (folder / "site.toml").write_text(text)
    put_values(folder, table, values)
    return (folder / "site.toml").read_text()


def test_one_line_changes_and_its_comment_stays(tmp_path: Path) -> None:
    after = put(tmp_path, TEXT, studies=[HASH])
    assert after == TEXT.replace("studies = [] ", f'studies = ["{HASH}"] ')
    assert "# nothing yet" in after


def test_a_missing_key_goes_under_its_header_and_a_missing_table_to_the_end(
    tmp_path: Path,
) -> None:
    bare = TEXT.replace("studies = []          # nothing yet\n", "")
    for text in (bare, bare.rstrip("\n")):
        assert tomllib.loads(put(tmp_path, text, studies=[HASH]))["approval"]["studies"] == [HASH]
    without = bare.replace("[approval]\n", "")
    after = put(tmp_path, without, "approval", studies=[HASH])
    assert after.startswith(without)
    assert after.endswith(f'\n[approval]\nstudies = ["{HASH}"]\n')


def test_a_list_over_several_lines_becomes_one(tmp_path: Path) -> None:
    text = TEXT.replace("studies = []          # nothing yet", f'studies = [\n    "{HASH}",\n]')
    after = put(tmp_path, text, studies=["b" * 64])
    assert after == text.replace(f'[\n    "{HASH}",\n]', f'["{"b" * 64}"]')


@pytest.mark.parametrize(
    "block",
    [
        f'[approval]\nstudies = [\n  "{HASH}", # one\n]\n',
        '["approval"]\nstudies = []\n',
        "approval.studies = []\n",
    ],
)
def test_a_form_that_cannot_be_changed_safely_is_left_and_the_line_is_said(
    tmp_path: Path, block: str
) -> None:
    text = TEXT.replace("[approval]\nstudies = []          # nothing yet\n", "")
    text = block + text if block.startswith("approval.") else text + block
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"by hand:\n    studies = \["):
        put_values(tmp_path, "approval", {"studies": ["b" * 64]})
    assert (tmp_path / "site.toml").read_text() == text


@pytest.mark.parametrize("value", ['plain "quotes" # no comment', "Zürich \\ [approval]", "é\tx"])
def test_any_text_reads_back_also_over_an_older_one(tmp_path: Path, value: str) -> None:
    first = {"name": "x # y", "address": "h:1", "key": "K"}
    put(tmp_path, TEXT, "coordinator", **first)
    text = (tmp_path / "site.toml").read_text().replace('K"', "K\" # it's theirs")
    after = put(tmp_path, text, "coordinator", **(first | {"name": value, "key": "N"}))
    assert tomllib.loads(after)["coordinator"] == first | {"name": value, "key": "N"}
    assert "# it's theirs" in after
    assert after.startswith(TEXT)


def test_the_files_mode_stays_and_what_nobody_could_read_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(TEXT)
    (tmp_path / "site.toml").chmod(0o640)
    put_values(tmp_path, "approval", {"studies": [HASH]})
    assert (tmp_path / "site.toml").stat().st_mode & 0o777 == 0o640
    with pytest.raises(SettingsError, match="software must be digests"):
        put_values(tmp_path, "approval", {"software": ["no digest"]})
    assert "no digest" not in (tmp_path / "site.toml").read_text()
