"""mse and sqnr_db against exact arithmetic, and their documented answers where there is no number."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from statqat_sim import mse, sqnr_db
from statqat_sim.metrics import BLOCK, real_array

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
PAIRS = array_shapes(min_dims=1, max_dims=3).flatmap(
    lambda shape: st.tuples(arrays(np.float32, shape, elements=FINITE), arrays(np.float32, shape, elements=FINITE))
)


WIDE = st.floats(allow_nan=False, allow_infinity=False)


def exact(x: Any, y: Any) -> tuple[Fraction, Fraction]:
    """Mean of (x - y)^2 and of x^2."""
    pairs = [(Fraction(float(a)), Fraction(float(b))) for a, b in zip(x.ravel(), y.ravel(), strict=True)]
    return sum((a - b) ** 2 for a, b in pairs) / Fraction(x.size), sum(a * a for a, _ in pairs) / Fraction(x.size)


@given(PAIRS)
def test_finite_float32_data_against_exact_arithmetic(pair: tuple[Any, Any]) -> None:
    x, y = pair
    noise, power = exact(x, y)
    assert mse(x, y) == pytest.approx(float(noise), rel=1e-12, abs=0)
    if noise and power:
        expected = 10 * (math.log10(power) - math.log10(noise)) if min(noise, power) > 1e-300 else None
        assert expected is None or sqnr_db(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    elif noise:
        assert sqnr_db(x, y) == -math.inf
    else:
        assert sqnr_db(x, y) == math.inf


@pytest.mark.parametrize(
    ("x", "y", "squared", "ratio"),
    [
        ([], [], math.nan, math.nan),
        ([0.0, 0.0], [0.0, -0.0], 0.0, math.inf),
        ([0.0, 0.0], [0.0, 1.0], 0.5, -math.inf),
        ([1.0, -2.0], [1.0, -2.0], 0.0, math.inf),
        ([1.0, 3.0], [1.0, math.inf], math.inf, -math.inf),
        ([1.0, math.inf], [1.0, 3.0], math.inf, math.nan),
        ([1.0, math.inf], [1.0, math.inf], math.nan, math.nan),
        ([1.0, math.nan], [1.0, 2.0], math.nan, math.nan),
        ([1.0, 2.0], [1.0, math.nan], math.nan, math.nan),
    ],
)
def test_where_there_is_no_number(x: list[float], y: list[float], squared: float, ratio: float) -> None:
    ours = np.array(x, np.float32), np.array(y, np.float32)
    assert mse(*ours) == pytest.approx(squared, nan_ok=True)
    assert sqnr_db(*ours) == pytest.approx(ratio, nan_ok=True)


def decibels(ratio: Fraction) -> float:
    return 10 * (math.log10(ratio.numerator) - math.log10(ratio.denominator))


@given(st.lists(st.tuples(WIDE, WIDE), min_size=1))
@example([(1e-200, 0.0)])
@example([(1e300, 1e300)])
@example([(1e300, 1e300), (1e-300, 0.0)])
@example([(1.7e308, -1.7e308)])
@example([(5e-324, 0.0)])
@example([(1e154, 0.0)] * 20)
def test_squares_of_float64_neither_overflow_nor_vanish(pairs: list[tuple[float, float]]) -> None:
    x, y = np.array(pairs).T
    noise, power = exact(x, y)
    largest = Fraction(np.finfo(np.float64).max)
    assert mse(x, y) == pytest.approx(float(noise) if noise <= largest else math.inf, rel=1e-12, abs=1e-323)
    if noise and power:
        assert sqnr_db(x, y) == pytest.approx(decibels(power / noise), rel=1e-9, abs=1e-9)
    else:
        assert sqnr_db(x, y) == (-math.inf if noise else math.inf)


def test_extreme_numbers_may_lie_in_different_blocks() -> None:
    x = np.zeros(3 * BLOCK)
    x[[0, -1]] = 1.0, 1e200
    assert sqnr_db(x, np.zeros_like(x)) == 0
    assert sqnr_db(x, np.where(x == 1, 0, x)) == pytest.approx(4000)


def test_integers_are_compared_as_float64() -> None:
    assert mse(np.array([2**53 + 1]), np.array([2**53])) == 0


def test_sums_over_many_blocks_and_any_strides() -> None:
    x = np.random.default_rng(1).standard_normal((700, 301)).astype(np.float32)
    y = (x + np.float32(0.01)).astype(np.float32)
    assert x.size > 3 * BLOCK
    wide = x.astype(np.float64) - y.astype(np.float64)
    expected = math.fsum(np.square(wide).ravel().tolist()) / x.size
    for view in (lambda a: a, lambda a: a.T, lambda a: a[::-1, ::3], lambda a: np.asfortranarray(a)):
        part = np.square(view(wide))
        assert mse(view(x), view(y)) == pytest.approx(math.fsum(part.ravel().tolist()) / part.size, rel=1e-13)
    assert mse(x, np.asfortranarray(y)) == pytest.approx(expected, rel=1e-13)


def test_no_float64_copy_of_the_whole() -> None:
    x = np.ones(1 << 22, np.float32)
    tracemalloc.start()
    try:
        assert sqnr_db(x, x * np.float32(2)) == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * x.nbytes  # the product, and blocks


def test_any_real_dtype() -> None:
    x = np.array([1, 2, 4], np.float64)
    for dtype in (np.float16, np.float32, np.int8, np.uint64, np.bool_, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
        y = np.ones(3, dtype)
        assert mse(x, y) == pytest.approx(10 / 3)
    assert mse([1, 2, 4], (1, 1, 1)) == pytest.approx(10 / 3)


def test_tensors_with_and_without_gradients() -> None:
    x = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    for dtype in (torch.float32, torch.bfloat16, torch.float64, torch.int32):
        assert mse(x, torch.ones(3, dtype=dtype)) == pytest.approx(10 / 3)
    assert real_array(torch.ones(2, dtype=torch.bfloat16), "x").dtype == np.float32


@pytest.mark.parametrize("wrong", [np.ones(2, np.complex64), np.array(["1", "2"]), np.array([None, 1]), "text"])
def test_what_is_no_array_of_real_numbers(wrong: Any) -> None:
    with pytest.raises(TypeError, match="y is .*; allowed: an array of real numbers"):
        mse(np.ones(2), wrong)


def test_shapes_must_be_equal() -> None:
    with pytest.raises(ValueError, match=r"x has shape \(2, 1\) and y has shape \(2,\); allowed: equal shapes"):
        sqnr_db(np.ones((2, 1)), np.ones(2))
