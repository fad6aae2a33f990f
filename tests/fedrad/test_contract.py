"""The agreed number of patients is public and says less than the number itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrad.contract import agreed_patients


@given(st.integers(0, 100_000))
def test_agreed_patients_are_never_more_than_there_are_and_rounding_again_changes_nothing(
    count: int,
) -> None:
    agreed = agreed_patients(count)
    assert (agreed > 0) == (count > 0)
    assert agreed <= count < max(1.5 * agreed, agreed + 5)
    assert agreed_patients(agreed) == agreed


@pytest.mark.parametrize("count", [n for n in range(6, 1000) if n % 5])
def test_an_exact_number_of_patients_is_not_agreed_unless_it_is_round(count: int) -> None:
    assert agreed_patients(count) != count


@pytest.mark.parametrize(("count", "agreed"), [(4, 1), (9, 5), (14, 10), (99, 95), (1299, 1200)])
def test_agreed_patients_of_known_sizes(count: int, agreed: int) -> None:
    assert agreed_patients(count) == agreed
