"""The data of one scale: elements are sorted, with their weights, unless they are many; then a histogram serves."""

from __future__ import annotations

import numpy as np
import pytest

from statqat_sim.histogram import Histogram, Sample, Tail, Tails
from statqat_sim.quantizer import data
from statqat_sim.quantizer.data import Elements, tails
from statqat_sim.quantizer.objective import SQUARED
from statqat_sim.quantizer.representable import FLOAT32_SCALES
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.number import NumberFormat

X = np.float32([-1.5, 0.0, 3.0, -0.0, -0.5, 2.0])
WEIGHTS = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def facts(tail: Tail) -> tuple[float, ...]:
    return tail.count, tail.total, tail.power


def test_zeros_of_either_sign_lie_above() -> None:
    above, below = Elements(X, None).sides()
    assert isinstance(above, Sample)
    assert isinstance(below, Sample)
    np.testing.assert_array_equal(above.values, [0, 0, 2, 3])
    np.testing.assert_array_equal(below.values, [0.5, 1.5])


def test_weights_stay_with_their_elements() -> None:
    above, below = Elements(X, WEIGHTS).sides()
    assert facts(Elements(X, WEIGHTS).folded()) == (63, 1.5 + 12 + 8 + 64, 2.25 + 36 + 4 + 128)
    assert facts(above) == (46, 12 + 64, 36 + 128)
    assert facts(below) == (17, 1.5 + 8, 2.25 + 4)


@pytest.mark.parametrize("is_folded", [True, False])
def test_many_elements_are_counted_in_a_histogram_unless_they_have_weights(
    monkeypatch: pytest.MonkeyPatch, is_folded: bool
) -> None:
    monkeypatch.setattr(data, "MOST_SORTED", len(X) - 1)
    counted, expected = tails(Elements(X, None), is_folded), tails(Histogram.of(X), is_folded)
    assert all(isinstance(each, Tails) for each in counted)
    assert [*map(facts, counted)] == [*map(facts, expected)]
    assert all(isinstance(each, Sample) for each in tails(Elements(X, WEIGHTS), is_folded))
    assert all(isinstance(each, Sample) for each in Elements(X, None).samples(is_folded))

    monkeypatch.setattr(data, "MOST_SORTED", len(X))
    assert all(isinstance(each, Sample) for each in tails(Elements(X, None), is_folded))


def test_elements_are_measured_without_sorting_them() -> None:
    format = load_format("int4")
    assert isinstance(format, NumberFormat)
    task = Task(Elements(X, WEIGHTS), format, 1.0, None, SQUARED, FLOAT32_SCALES)
    assert task.measured(0.5).error == 0
    assert "score" not in vars(task)
