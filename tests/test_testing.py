"""The assertions that users write their tests with."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from statqat_sim.testing import assert_bit_exact, assert_sqnr

NAN_WITH_PAYLOAD = np.uint32([0x7FC00001]).view(np.float32)


@pytest.mark.parametrize(
    "array",
    [
        np.float32([1.0, -0.0, np.nan, np.inf]),
        np.zeros((0, 3), np.uint8),
        np.float64(0.1),
        np.arange(12, dtype=np.int16).reshape(3, 4).T,
        np.array([True, False]),
        NAN_WITH_PAYLOAD,
        np.ones(3, ml_dtypes.float8_e4m3fn),
        torch.ones((2, 3), requires_grad=True),
        torch.ones(3, dtype=torch.bfloat16),
    ],
)
def test_an_array_is_bit_exact_to_itself(array: Any) -> None:
    assert_bit_exact(array, array)


def test_tensors_and_arrays_compare() -> None:
    x = np.random.default_rng(5).standard_normal((3, 4)).astype(np.float32)
    assert_bit_exact(torch.from_numpy(x).T, x.T)
    assert_bit_exact(x.astype(ml_dtypes.bfloat16), torch.from_numpy(x).bfloat16())
    with pytest.raises(AssertionError, match="actual is float32; expected bfloat16"):
        assert_bit_exact(x, torch.from_numpy(x).bfloat16())


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        (np.float32([1]), np.float64([1]), "actual is float32; expected float64"),
        (np.zeros(2, ">f4"), np.zeros(2, "<f4"), "actual is >f4; expected float32"),
        (np.zeros((1, 2), "f4"), np.zeros(2, "f4"), "actual has shape (1, 2); expected (2,)"),
        (
            np.float32([[1, 0, 2], [3, 0, 5]]),
            np.float32([[1, 0, 2], [3, -0.0, 6]]),
            "2 of 6 elements differ, the first at [1, 1]:\n  actual    0x00000000  0.0\n  expected  0x80000000  -0.0",
        ),
        (
            NAN_WITH_PAYLOAD,
            np.float32([np.nan]),
            "1 of 1 elements differ, the first at [0]:\n  actual    0x7fc00001  nan\n  expected  0x7fc00000  nan",
        ),
        (
            np.uint8([3, 4]),
            np.uint8([3, 5]),
            "1 of 2 elements differ, the first at [1]:\n  actual    0x04  4\n  expected  0x05  5",
        ),
        (
            torch.tensor([1.5], dtype=torch.bfloat16),
            torch.tensor([-1.5], dtype=torch.bfloat16),
            "1 of 1 elements differ, the first at [0]:\n  actual    0x3fc0  1.5\n  expected  0xbfc0  -1.5",
        ),
    ],
)
def test_the_message_tells_what_differs(actual: Any, expected: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(message) + "$"):
        assert_bit_exact(actual, expected)


@pytest.mark.parametrize(
    ("wrong", "told"), [([1.0], "of type list"), (np.zeros(1, complex), "complex128"), (1.0, "of type float")]
)
def test_what_has_no_bits_to_compare(wrong: Any, told: str) -> None:
    with pytest.raises(TypeError, match=f"expected is {told}; allowed: "):
        assert_bit_exact(np.float32([1]), wrong)


def test_sqnr_at_least() -> None:
    x = np.float32([1, 2, 3, 4])
    assert_sqnr(x, x, 200)
    assert_sqnr(x, x + np.float32(0.1), 28.7)
    with pytest.raises(AssertionError, match=re.escape("SQNR is 28.75 dB; expected at least 28.80 dB")):
        assert_sqnr(x, x + np.float32(0.1), 28.8)
    with pytest.raises(AssertionError, match="SQNR is nan dB"):
        assert_sqnr(x[:0], x[:0], 0)


@pytest.mark.parametrize(
    ("db", "error"), [("3", TypeError), (None, TypeError), (True, TypeError), (np.nan, ValueError)]
)
def test_a_ratio_is_compared_with_a_number(db: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"db is ('3'|nothing|true|\.nan); allowed: a number"):
        assert_sqnr(np.ones(2, np.float32), np.ones(2, np.float32), db)
