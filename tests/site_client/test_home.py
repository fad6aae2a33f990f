"""A site's home keeps one secret and gives it to nobody."""

from pathlib import Path

import pytest

from fedrad.errors import DamagedStateError, SettingsError
from site_client.home import make_home, split_key


def test_the_secret_is_random_and_for_its_owner_alone(tmp_path: Path, site_toml: str) -> None:
    make_home(tmp_path / "a", site_toml)
    make_home(tmp_path / "b", site_toml)
    assert len(split_key(tmp_path / "a")) == 32
    assert split_key(tmp_path / "a") != split_key(tmp_path / "b")
    assert (tmp_path / "a/keys/split.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


def test_making_a_home_again_keeps_the_secret(tmp_path: Path, site_toml: str) -> None:
    make_home(tmp_path, site_toml)
    before = split_key(tmp_path)
    make_home(tmp_path, site_toml.replace("north", "south"))
    assert split_key(tmp_path) == before
    with pytest.raises(SettingsError, match="another key is already there"):
        make_home(tmp_path, site_toml, split_key=b"x" * 32)


def test_a_home_with_unusable_settings_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="site is missing"):
        make_home(tmp_path / "home", "")
    assert not (tmp_path / "home").exists()


def test_a_lost_secret_is_damage_not_a_new_secret(tmp_path: Path, site_toml: str) -> None:
    make_home(tmp_path, site_toml)
    (tmp_path / "keys/split.key").unlink()
    with pytest.raises(DamagedStateError, match="restore it from a backup"):
        split_key(tmp_path)


def test_no_new_secret_is_made_beside_a_ledger(tmp_path: Path, site_toml: str) -> None:
    """It would deal patients who were charged as one stream into another."""
    make_home(tmp_path, site_toml)
    (tmp_path / "keys/split.key").unlink()
    (tmp_path / "ledger.jsonl").touch()
    with pytest.raises(DamagedStateError, match="deal charged patients anew; restore it"):
        make_home(tmp_path, site_toml)
