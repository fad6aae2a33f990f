"""[archive]: every kind complete, every wrong combination named, secrets never repeated."""

import tomllib
from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.errors import SettingsError
from fedrad.settings import build
from site_client.archive_settings import Archive, inside, is_open, parse_hours

WEB = """
kind = "dicomweb"
[dicomweb]
url = "https://pacs.example/dicom-web"
[query]
modality = ["CT"]
first_date = "2024-01-01"
"""
DIMSE = """
kind = "dimse"
[dimse]
host = "pacs.example"
port = 104
ae_title = "PACS"
[query]
modality = ["CT", "SEG"]
accessions = "accessions.txt"
"""


def read(text: str) -> Archive:
    return build(Archive, tomllib.loads(text))


@pytest.mark.parametrize(
    ("whole", "old", "new", "said"),
    [
        (WEB, 'kind = "dicomweb"', 'kind = "folder"\npath = "x"', "dicomweb belongs to kind"),
        (WEB, 'kind = "dicomweb"', 'kind = "dimse"', "dimse is missing: how to reach"),
        (WEB, 'kind = "dicomweb"', 'kind = "folder"', "path is missing"),
        ('kind = "folder"\npath = "x"', "path", 'hours = "01:00-02:00"\npath', "hours belongs to"),
        (WEB, 'first_date = "2024-01-01"', "", "would ask for the whole archive"),
        (WEB, "2024-01-01", "01.02.2024", "first_date must be a day such as"),
        (WEB, 'first_date = "2024', 'last_date = "2023-01-01"\nfirst_date = "2024', "lies after"),
        (WEB, '["CT"]', '["ct scan"]', "modality must be a list such as"),
        (WEB, "https://", "https://u:hunter2@", "must hold no user"),
        (WEB, "https://", "ftp://", "url must be such as"),
        (WEB, "[query]", 'user = "u"\n[query]', "password_file is missing beside user"),
        (WEB, "[query]", 'key = "k"\n[query]', "certificate is missing beside key"),
        (WEB, "[query]", 'user="u"\npassword_file="p"\ntoken_file="t"\n[query]', "keep one"),
        (WEB, 'https://pacs.example/dicom-web"', 'http://p/"\nca = "x"', "ca needs an https"),
        (WEB, 'https://pacs.example/dicom-web"', 'http://p/"\ntoken_file="x"', "can be read by"),
        (WEB, 'kind = "dicomweb"', 'kind = "dicomweb"\nhours = "8 to 9"', "hours must be such as"),
        (DIMSE, "104", "0", "port must lie in 1 to 65535"),
        (DIMSE, '"PACS"', '"A TITLE THAT IS TOO LONG"', "ae_title must be 1 to 16"),
        (DIMSE, "[query]", "tls = true\n[query]", "tls needs ca"),
        (DIMSE, "[query]", 'ca = "x"\n[query]', "ca needs tls = true"),
        (DIMSE, "[query]", "move = true\n[query]", "move needs listen_address"),
        (DIMSE, "[query]", "listen_port = 11112\n[query]", "need move = true"),
        (DIMSE, 'kind = "dimse"', 'kind = "dimse"\nmax_associations = 0', "lie in 1 to 20"),
    ],
)
def test_a_wrong_value_or_combination_is_named(whole: str, old: str, new: str, said: str) -> None:
    assert old in whole
    with pytest.raises(SettingsError) as error:
        read(whole.replace(old, new))
    assert said in str(error.value)
    assert "hunter2" not in str(error.value)


def test_two_wrong_tables_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        read(WEB.replace("2024-01-01", "soon").replace("https:", "gopher:"))
    assert "dicomweb.url" in str(error.value)
    assert "query.first_date" in str(error.value)


def test_c_move_with_several_senders_is_refused() -> None:
    moving = DIMSE.replace("[query]", 'move=true\nlisten_address="::1"\nlisten_port=9\n[query]')
    assert read(moving).dimse is not None
    with pytest.raises(SettingsError, match="max_associations must be 1 with move"):
        read("max_associations = 2\n" + moving)


def test_paths_are_taken_from_the_home_and_a_pacs_has_a_store_below_it() -> None:
    found = inside(Path("/home"), read(DIMSE))
    assert found.path == Path("/home/store")
    assert found.query is not None
    assert found.query.accessions == Path("/home/accessions.txt")
    assert found.dimse == read(DIMSE).dimse
    assert inside(Path("/h"), read('kind = "folder"\npath = "a"')).path == Path("/h/a")


@given(st.times(), st.times(), st.times())
def test_hours_and_the_hours_left_over_share_no_minute(first: time, last: time, now: time) -> None:
    """Any moment lies in exactly one of the two, over midnight too."""
    ends = [f"{first:%H:%M}-{last:%H:%M}", f"{last:%H:%M}-{first:%H:%M}"]
    moment = datetime(2026, 11, 21, now.hour, now.minute, now.second).astimezone(UTC)
    if parse_hours(ends[0]) is not None:
        assert is_open(ends[0], moment) != is_open(ends[1], moment)
    assert is_open("", moment)
