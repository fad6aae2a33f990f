"""Releases of fedrad side by side, and what sites of a mixed study answered."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
from deployed import STUDY, Federation

import fedrad
from aggregator.run_folder import DATABASE
from aggregator.store import Store
from aggregator.studies import run_folder
from fedrad.protocol.messages import SCHEMA
from fedrad.software import PACKAGES


def copy_of(release: str, folder: Path, wire: int = SCHEMA) -> Path:
    """Install fedrad under another version on a path of its own."""
    source = Path(fedrad.__file__).parents[1]
    for package in PACKAGES:
        shutil.copytree(source / package, folder / package, dirs_exist_ok=True)
    path = folder / "fedrad" / "__init__.py"
    path.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{release}"', path.read_text()))
    path = folder / "fedrad" / "protocol" / "messages.py"
    path.write_text(re.sub(r"^SCHEMA = \d+$", f"SCHEMA = {wire}", path.read_text(), flags=re.M))
    return folder


def replies_of(federation: Federation) -> pd.DataFrame:
    """Return the replies of the federation's study."""
    with Store(run_folder(federation.hub, STUDY) / DATABASE) as store:
        return store.frame("replies")
