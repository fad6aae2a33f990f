"""No text of a library reaches a log, a warning or a crash report of a site's program."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from fedrad.errors import ArchiveError
from fedrad.logs import describe

BEGIN = "import logging, warnings, threading, sys\nfrom fedrad.logs import begin\nbegin()\n"
NAME = "Smith^Anna"


def said(program: str) -> str:
    """Everything that a program of its own printed."""
    code = BEGIN + textwrap.dedent(program)
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    return run.stdout + run.stderr


@pytest.mark.parametrize(
    "program",
    [
        f"logging.getLogger('pydicom').error('bad value %s', '{NAME}')",
        f"logging.basicConfig(); logging.getLogger('a.b').warning('{NAME}', stack_info=True)",
        f"logging.getLogger('x').exception('{NAME}', exc_info=ValueError('{NAME}'))",
        f"""
        try:
            raise ValueError('{NAME}')
        except ValueError:
            logging.getLogger('site_client.app').error('failed', exc_info=True)
        """,
        f"warnings.warn('{NAME}')",
        f"raise KeyError('{NAME}')",
        f"""
        try:
            raise KeyError('{NAME}')
        except KeyError as error:
            raise ValueError('{NAME}') from error
        """,
        f"threading.Thread(target=lambda: int('{NAME}')).start()",
        f"""
        class Odd:
            def __del__(self):
                raise ValueError('{NAME}')
        Odd()
        """,
        f"open('/nowhere/{NAME}')",
    ],
)
def test_a_name_in_the_text_of_a_library_is_not_printed(program: str) -> None:
    plain = subprocess.run(
        [sys.executable, "-c", BEGIN.replace("begin()", "") + textwrap.dedent(program)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert NAME in plain.stdout + plain.stderr  # the check can fail
    found = said(program)
    assert "Smith" not in found
    assert found


def test_own_sentences_and_places_stay() -> None:
    found = said(
        """
        from fedrad.errors import ArchiveError
        def fetch():
            raise ArchiveError('the archive is missing')
        try:
            fetch()
        except ArchiveError:
            logging.getLogger('site_client.app').error('no answer', exc_info=True)
        """
    )
    assert "no answer" in found
    assert "fedrad.errors.ArchiveError: the archive is missing" in found
    assert "in fetch" in found


def test_a_chain_is_described_once_with_its_causes() -> None:
    try:
        try:
            raise KeyError("Smith")
        except KeyError as error:
            raise ArchiveError("cannot be read") from error
    except ArchiveError as error:
        text = describe(error)
    assert text.index("KeyError") < text.index("then:") < text.index("cannot be read")
    assert "Smith" not in text


def test_an_error_that_causes_itself_ends() -> None:
    error = ValueError("x")
    error.__cause__ = error
    assert describe(error).count("ValueError") == 1


def test_no_core_file_is_written() -> None:
    program = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    assert said(program).strip() == "0"
