"""The proxy's credentials come from a file that its owner alone can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedrad.errors import SettingsError
from site_client.proxy_settings import Proxy
from site_client.settings import read_site


def password(folder: Path, content: str = "s3cret:with/all\n", mode: int = 0o600) -> Path:
    path = folder / "password"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_the_password_is_the_first_line(tmp_path: Path) -> None:
    proxy = Proxy(address="proxy:3128", user="site", password_file=password(tmp_path))
    assert proxy.password() == "s3cret:with/all"
    assert proxy.url == "http://proxy:3128"


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [("x\n", 0o640, "read by others"), ("", 0o600, "is empty"), ("\n", 0o600, "is empty")],
)
def test_a_password_file_that_cannot_be_trusted_is_refused(
    tmp_path: Path, content: str, mode: int, why: str
) -> None:
    path = password(tmp_path, content, mode)
    with pytest.raises(SettingsError, match=why):
        Proxy(address="proxy:3128", user="site", password_file=path).password()


@pytest.mark.parametrize(
    "values",
    [
        {"address": "proxy"},
        {"address": "http://proxy:3128"},
        {"address": "proxy:3128", "user": "a:b", "password_file": Path("x")},
        {"address": "proxy:3128", "user": "site"},
        {"address": "proxy:3128", "password_file": Path("x")},
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="proxy"):
        Proxy(**values)


def test_the_password_file_may_lie_in_the_home(tmp_path: Path, site_toml: str) -> None:
    password(tmp_path)
    table = '[proxy]\naddress = "proxy:3128"\nuser = "site"\npassword_file = "password"\n'
    (tmp_path / "site.toml").write_text(site_toml + table)
    found = read_site(tmp_path).proxy
    assert found is not None
    assert found.password() == "s3cret:with/all"
