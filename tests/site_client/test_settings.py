"""The hospital's settings: complete or refused, with every problem at once."""

from pathlib import Path

import pytest

from fedrad.errors import SettingsError
from site_client.settings import Shares, read_site


def test_every_problem_of_a_site_file_is_named_at_once(tmp_path: Path, site_toml: str) -> None:
    wrong = site_toml.replace("epsilon_limit = 8.0", "epsilon_limit = -1.0\nspeed = 3")
    (tmp_path / "site.toml").write_text(wrong.replace('name = "north"', 'name = ""'))
    with pytest.raises(SettingsError) as error:
        read_site(tmp_path)
    text = str(error.value)
    assert "site.name must be letters" in text
    assert "privacy.speed is not a known key" in text


@pytest.mark.parametrize(
    "line", ["epsilon_limit", "delta_limit", "min_patients", "max_rounds", "max_steps"]
)
def test_what_a_person_must_decide_has_no_default(
    tmp_path: Path, site_toml: str, line: str
) -> None:
    kept = [text for text in site_toml.splitlines() if not text.startswith(line)]
    (tmp_path / "site.toml").write_text("\n".join(kept))
    with pytest.raises(SettingsError, match=f"privacy.{line} is missing"):
        read_site(tmp_path)


def test_relative_paths_are_taken_from_the_home(tmp_path: Path, site_toml: str) -> None:
    (tmp_path / "site.toml").write_text(site_toml)
    settings = read_site(tmp_path)
    assert settings.archive.path == tmp_path / "../archive"
    assert settings.labels.file == tmp_path / "../labels.csv"
    assert settings.patients.mapping is None


def test_a_home_that_is_named_relatively_has_absolute_paths(
    tmp_path: Path, site_toml: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers that open the archive's files have another working folder."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "site.toml").write_text(site_toml)
    monkeypatch.chdir(tmp_path)
    assert read_site(Path("home")).archive.path == tmp_path / "home" / "../archive"


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"sum to 1, got 0\.9"):
        Shares(train=0.6)
    with pytest.raises(SettingsError, match=r"\[0, 1\]"):
        Shares(train=1.2, audit=-0.2, window=0.0, test=0.0)


def test_a_task_may_not_be_allowed_more_than_the_site(tmp_path: Path, site_toml: str) -> None:
    (tmp_path / "site.toml").write_text(site_toml + "[privacy.per_task]\nlungs = 9.0\n")
    with pytest.raises(SettingsError, match=r"per_task\.lungs must lie"):
        read_site(tmp_path)
