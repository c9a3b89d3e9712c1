"""How messages speak of words and values that are not allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from statqat_sim.errors import none_of, of_type


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("trea", "; did you mean 'tree'? (allowed: tree, house)"),
        ("sky", " (allowed: tree, house)"),
        (3, " (allowed: tree, house)"),
    ],
)
def test_a_word_that_is_not_allowed_has_its_nearest_one_and_all(word: object, told: str) -> None:
    assert none_of(word, ("tree", "house")) == told


def test_where_no_word_is_allowed_that_is_said() -> None:
    assert none_of("tree", iter(())) == " (allowed: none)"


@pytest.mark.parametrize(
    ("value", "told"), [(3, "of type int"), (np.zeros(1), "of type ndarray"), (None, "of type NoneType")]
)
def test_types_are_named_without_an_article(value: Any, told: str) -> None:
    assert of_type(value) == told
