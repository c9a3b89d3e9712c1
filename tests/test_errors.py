"""How messages speak of words and values that are not allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from statqat_sim.errors import Problem, SpecError, none_of, of_type


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


def test_a_problem_is_told_once_for_each_place() -> None:
    """An aliased node is one place at several paths; values without a text have no place but their path."""
    aliased = [Problem("a.yaml", 3, 7, path, "unknown key") for path in ("rules.0.x", "rules.1.x")]
    assert [str(each) for each in SpecError(aliased).problems] == ["a.yaml:3:7: rules.0.x: unknown key"]
    plain = [Problem("QATConfig", 0, 0, path, "unknown key") for path in ("rules.0.x", "rules.1.x")]
    told = ["QATConfig: rules.0.x: unknown key", "QATConfig: rules.1.x: unknown key"]
    assert [str(each) for each in SpecError(plain).problems] == told
