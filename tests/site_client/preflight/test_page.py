"""The page: one file, no identifier, nothing loaded, and no look into the test split."""

import re
from typing import Any

import pytest

from site_client.dataset import load_split

ONLY_TEST = "[splits]\ntrain = 0.0\naudit = 0.0\nwindow = 0.0\ntest = 1.0\n"


def test_the_page_holds_everything_and_loads_nothing(hospital: Any) -> None:
    hospital.fill(40)
    hospital.check()
    page = hospital.page()
    for loaded in ("http:", "https:", 'src="/', "<script", "@import", "url(", "<link"):
        assert loaded not in page
    for section in ("patients", "set-aside", "scanners", "views", "labels"):
        assert (f'id="{section}"' in page) == (section != "set-aside")
    assert page.count("data:image/png;base64,") == 20
    assert 'name="viewport"' in page
    assert "@media print" in page
    plain = re.sub(r"base64,[^\"]*", "", page)
    assert not re.search(r"\bA?P\d+\b|Nobody|1\.2\.\d", plain)


def test_cases_are_never_of_the_test_split(hospital: Any) -> None:
    """It is opened once a study, on the final model."""
    hospital.fill(8)
    with (hospital.home / "site.toml").open("a") as file:
        file.write(ONLY_TEST)
    found = hospital.check()
    assert len(load_split(hospital.home, hospital.task, "test")) == 8
    assert found.patients["all"]["test"] == 8
    assert "data:image/png" not in hospital.page()


@pytest.mark.parametrize("text", ["<b>Acme</b>", "Röntgen & Söhne"])
def test_what_a_header_says_is_text_on_the_page(hospital: Any, text: str) -> None:
    hospital.site.image("P1", "1.dcm", Manufacturer=text, SpecificCharacterSet="ISO_IR 192")
    hospital.label([1])
    hospital.check()
    assert "<b>" not in hospital.page()
    assert ("&lt;b&gt;Acme" in hospital.page()) == ("<b>" in text)
