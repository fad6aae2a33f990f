"""The package's own page names every module and none that does not exist."""

from __future__ import annotations

import pkgutil
import re

from fedrad import shift


def test_the_packages_page_names_its_modules() -> None:
    named = re.findall(r"``(\w+)``", shift.__doc__ or "")
    assert sorted(named) == sorted(module.name for module in pkgutil.iter_modules(shift.__path__))
