"""A whole run, looked at from both ends: coordinator and sites recorded the same messages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_study import SEED, SITES

from fedrad import audit_log
from fedrad.audit_compare import Export, compare, export
from simulations.places import home_of

STUDY = f"tiny-{SEED}"


def site_end(run: Path, site: str) -> Export:
    return export(home_of(run, site) / "audit.jsonl", end="site", site=site, study=STUDY)


def coordinators_end(run: Path, site: str) -> Export:
    return export(run / "messages.jsonl", end="coordinator", site=site, study=STUDY)


@pytest.mark.parametrize("site", SITES)
def test_both_ends_recorded_the_same_messages(finished: Path, site: str) -> None:
    found = compare(coordinators_end(finished, site), site_end(finished, site))
    assert (found.only_here, found.only_there) == ((), ())
    assert found.same >= 8  # two rounds, trained and scored, asked and answered


def test_every_update_that_lies_in_the_run_folder_was_recorded_as_sent(finished: Path) -> None:
    for site in SITES:
        kept = list(finished.glob(f"rounds/*/replies/{site}.safetensors"))
        sent = [one for one in site_end(finished, site).messages if one.phase == "train"]
        done = [one for one in sent if one.decision == "done"]
        assert len(done) == len(kept)
        for path, one in zip(sorted(kept), done, strict=True):
            assert path.stat().st_size * 0.5 < one.bytes < path.stat().st_size * 2 + 4000


def test_a_refusal_is_recorded_with_its_word_and_no_more(finished: Path) -> None:
    decisions = {one.decision for one in coordinators_end(finished, "west").messages}
    assert "refused: budget" in decisions


def test_a_site_that_forgets_one_message_is_found_by_both(finished: Path, tmp_path: Path) -> None:
    """Cutting the last line off and the head with it passes alone, and not against the other."""
    home = Path(shutil.copytree(home_of(finished, "east"), tmp_path / "home"))
    record = home / "audit.jsonl"
    record.write_bytes(b"".join(record.read_bytes().splitlines(keepends=True)[:-1]))
    audit_log.head_path(record).unlink()
    cut = export(record, end="site", site="east", study=STUDY)
    there = coordinators_end(finished, "east")
    assert len(compare(cut, there).only_there) == len(compare(there, cut).only_here) == 1
