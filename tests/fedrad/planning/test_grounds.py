"""The grounds show every reading that there is, and what lies outside of the table."""

from __future__ import annotations

import re

from invented_outcomes import a_table, a_trial, at

from fedrad.planning.grounds import grounds
from fedrad.planning.readings import Situation
from fedrad.planning.verdict import verdict


def said(situation: Situation) -> str:
    return "\n".join(grounds(verdict(situation, a_table())))


def test_a_study_that_is_a_measured_cell_has_its_rows() -> None:
    rows = dict(re.findall(r"^ {4}(\S.*?) {2,}(.*)$", said(at(50, 400)), re.MULTILINE))
    assert rows == {
        "private, 400 patients a site, epsilon 8": "0.950 (0.940 to 0.960)",
        "the same without privacy": "0.960 (0.950 to 0.970)",
        "alone, 50 patients": "0.800 (0.790 to 0.810)",
        "no skill": "0.500 (0.500 to 0.500)",
    }
    assert "keeps 98 % of the skill, 0.150 above alone" in said(at(50, 400))


def test_readings_that_differ_are_both_shown_each_in_a_line() -> None:
    lines = said(at(400, 200)).splitlines()
    (below,) = [line for line in lines if "with no more than this study has, no: 150" in line]
    (above,) = [line for line in lines if "with no less, go: 400 patients a site" in line]
    assert "alone with 400 patients 0.940 (0.930 to 0.950)" in below
    assert "alone with 400 patients" in above
    assert not any(line.startswith("    ") for line in lines)


def test_beyond_the_table_the_reading_that_is_left_and_the_way_in_are_shown() -> None:
    found = said(at(49, 150))
    assert "outside the table: 50 to 400 patients a site were measured, the site has 49" in found
    assert "with no more than this study has, doubtful: 150 patients" in found
    assert "with no less" not in found
    assert "would be measured: 50 to 400 patients at the site (on invented)" in found
    assert "nothing that was measured would be better" not in found


def test_where_no_reading_is_left_there_are_no_scores() -> None:
    found = said(at(150, 401, 1.0))
    assert "AUROC" not in found.partition("would be")[0]
    assert "would be measured: a mean of 50 to 400 patients a site, epsilon 2 to 8" in found


def test_of_several_trials_each_says_its_own_answer() -> None:
    two = a_table(a_trial(), a_trial("more", data="others"))
    lines = list(grounds(verdict(at(400, 150), two)))
    assert [line for line in lines if line.startswith("  no, measured on others")]
