"""A small hospital whose task is private, and a check of it as its lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fedrad.clock import SystemClock
from fedrad.task import Task, write_task
from site_client.preflight.check import Check, check_site
from site_client.preflight.page import write_check

PRIVATE = {"enabled": True, "epsilon": 4.0, "delta": 1e-5, "noise_multiplier": 20.0}


@dataclass(frozen=True)
class Hospital:
    """An archive with labels, its home and a task file."""

    site: Any  # the archive and home of tests/site_client/conftest.py
    task: Task
    task_file: Path

    @property
    def home(self) -> Path:
        """The site's folder."""
        return Path(self.site.home)

    def fill(self, patients: int) -> None:
        """Write one image and one label for each patient, classes by turns."""
        for number in range(patients):
            maker = ("Acme", "Bolt")[number % 2]
            self.site.image(f"P{number}", f"{number}.dcm", 500 + number, Manufacturer=maker)
        self.label(range(patients))

    def label(self, numbers: Any) -> None:
        """Replace the table of labels."""
        self.site.label({f"AP{number}": ("no", "yes")[number % 2] for number in numbers})

    def change(self, old: str, new: str) -> None:
        """Change a line of ``site.toml``."""
        path = self.home / "site.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def check(self, clock: Any = None) -> Check:
        """Check, and write the page."""
        clock = clock or SystemClock()
        looked = check_site(self.home, self.task_file, clock, say=lambda _: None)
        write_check(self.home, looked, clock.now())
        return looked.check

    def page(self) -> str:
        """Read the page."""
        return (self.home / "check.html").read_text(encoding="utf-8")


@pytest.fixture
def hospital(site: Any, make_task: Callable[..., Task], tmp_path: Path) -> Hospital:
    """Return an empty hospital."""
    task = make_task(privacy=PRIVATE, analysis={"minimum_per_class": 1})
    write_task(tmp_path / "task.toml", task)
    return Hospital(site, task, tmp_path / "task.toml")


@pytest.fixture
def said() -> Callable[[Check, str], str]:
    """Return what a check says about one thing, as ``verdict: found | what to do``."""

    def about(check: Check, what: str) -> str:
        lines = [line for line in check.lines if line.about == what]
        return "\n".join(f"{one.verdict}: {one.found} | {one.do}" for one in lines)

    return about
