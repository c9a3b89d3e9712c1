"""Every built-in instruction, and random ones, against the exact oracle."""

from __future__ import annotations

import pytest
from mma_compare import CASES, DISTINCT, compare, families

SIZE = 3


@pytest.mark.parametrize("case", DISTINCT, ids="-".join)
def test_an_instruction_is_what_the_oracle_says(case: tuple[str, ...]) -> None:
    for family in families(case, 2):
        compare(case, family, SIZE)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_many_results_are_what_the_oracle_says(case: tuple[str, ...]) -> None:
    for family in families(case, 8):
        compare(case, family, 8)
