"""Pseudonyms say nothing and stay the same."""

from hypothesis import given
from hypothesis import strategies as st

from site_client.deidentify.pseudonyms import Pseudonyms, pseudonyms

keys = st.binary(min_size=32, max_size=32)


@given(st.text(), keys, keys)
def test_a_pseudonym_depends_on_the_key(value: str, first: bytes, second: bytes) -> None:
    same = Pseudonyms(first).of("patient", value) == Pseudonyms(second).of("patient", value)
    assert same == (first == second)


def test_equal_values_of_two_kinds_cannot_be_linked() -> None:
    names = pseudonyms(b"k" * 32)
    assert names.of("StudyInstanceUID", "1.2") != names.of("SeriesInstanceUID", "1.2")
    assert names.of("patient", "P1 ") == names.of("patient", "P1\0")


def test_the_key_is_not_in_the_text_of_the_object() -> None:
    assert "secret" not in repr(Pseudonyms(b"secret"))
