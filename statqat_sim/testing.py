"""Assertions for users' tests. Need neither a test framework nor torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import dtype_name, is_cpu_tensor, left_out
from statqat_sim.arrays.loaded import loaded_torch
from statqat_sim.errors import of_type, shown
from statqat_sim.metrics import sqnr_db

__all__ = ["assert_bit_exact", "assert_matmul_bits", "assert_sqnr"]

WORD_BYTES = (1, 2, 4, 8)
ALLOWED_SIZES = "allowed: elements of 1, 2, 4 or 8 bytes"


@left_out
def assert_bit_exact(actual: Any, expected: Any) -> None:
    """Fail unless two arrays have the same dtype, shape and bits: -0 is not 0, and NaN is only the same NaN.

    Args:
        actual: a numpy array or CPU tensor; either may be compared with the other.
        expected: likewise.

    Raises:
        AssertionError: with the number of elements that differ, the place of the first, and both its values.
        TypeError: if an argument is something else.

    >>> import numpy as np
    >>> assert_bit_exact(np.float32([1.0, 0.0]), np.float32([1.0, -0.0]))
    Traceback (most recent call last):
        ...
    AssertionError: 1 of 2 elements differ, the first at [1]:
      actual    0x00000000  0.0
      expected  0x80000000  -0.0
    """
    ours, theirs = _Bits.of(actual, "actual"), _Bits.of(expected, "expected")
    if ours.dtype != theirs.dtype:
        raise AssertionError(f"actual is {ours.dtype}; expected {theirs.dtype}")
    if ours.words.shape != theirs.words.shape:
        raise AssertionError(f"actual has shape {ours.words.shape}; expected {theirs.words.shape}")
    differs = ours.words != theirs.words
    if differs.any():
        first = tuple(int(index) for index in np.unravel_index(int(differs.argmax()), differs.shape))
        count, size, place = int(differs.sum()), differs.size, ", ".join(map(str, first))
        raise AssertionError(
            f"{count} of {size} elements differ, the first at [{place}]:\n"
            f"  actual    {ours.shown(first)}\n  expected  {theirs.shown(first)}"
        )


def assert_sqnr(x: Any, y: Any, db: float) -> None:
    """Fail unless `sqnr_db(x, y)` is at least `db`.

    Args:
        x: the original, an array or CPU tensor.
        y: the quantized values, of the same shape.
        db: the smallest ratio that passes, in dB; Inf: only equal arrays pass.

    Raises:
        AssertionError: with the ratio; also where it is undefined (see `sqnr_db`).
        TypeError: if an argument is not real numbers.
        ValueError: if the shapes differ, or `db` is NaN.
    """
    if isinstance(db, bool) or not isinstance(db, Real):
        raise TypeError(f"db is {shown(db)}; allowed: a number of decibels")
    if math.isnan(db):
        raise ValueError(f"db is {shown(float(db))}; allowed: a number of decibels")
    ratio = sqnr_db(x, y)
    if not ratio >= db:
        raise AssertionError(f"SQNR is {ratio:.2f} dB; expected at least {db:.2f} dB")


@dataclass(frozen=True, slots=True, eq=False)
class _Bits:
    """An array as words: the name of its dtype without a library's prefix, its bits, and its elements."""

    dtype: str
    words: NDArray[Any]
    elements: Any

    @classmethod
    def of(cls, array: Any, what: str) -> _Bits:
        if is_cpu_tensor(array):
            tensor = array.detach().resolve_neg()
            words = np.from_dlpack(tensor.view(_tensor_words(tensor.element_size(), tensor.dtype, what)))
            return cls(dtype_name(tensor), words.view(f"u{words.itemsize}"), tensor)
        if not isinstance(array, np.ndarray | np.generic):
            raise TypeError(f"{what} is {of_type(array)}; allowed: a numpy array or a CPU tensor")
        array = np.asarray(array)
        if array.dtype.itemsize not in WORD_BYTES or array.dtype.hasobject:
            raise TypeError(f"{what} is {array.dtype}; {ALLOWED_SIZES}")
        name = array.dtype.name if array.dtype.isnative else array.dtype.str
        return cls(name, array.view(f"u{array.dtype.itemsize}"), array)

    def shown(self, place: tuple[int, ...]) -> str:
        """One element's bits in hex, and its value."""
        word, digits = int(self.words[place]), 2 * self.words.itemsize
        return f"{word:#0{digits + 2}x}  {self.elements[place].item()}"


def _tensor_words(size: int, dtype: Any, what: str) -> Any:
    torch = loaded_torch()
    if size not in WORD_BYTES:
        raise TypeError(f"{what} is {dtype}; {ALLOWED_SIZES}")
    return {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]


@left_out
def assert_matmul_bits(
    actual: Any,
    a: Any,
    b: Any,
    c: Any = None,
    *,
    accelerator: Any,
    instruction: str | None = None,
    a_format: Any = None,
    b_format: Any = None,
    a_scale: Any = None,
    b_scale: Any = None,
    plan: Any = None,
) -> None:
    """Fail unless a matrix product has the bits that an accelerator gives.

    Args:
        actual: the computed product, a numpy array or CPU tensor of the instruction's result type.
        a: `(..., M, K)`, as `Accelerator.matmul` takes it.
        b: `(..., K, N)`.
        c: the matrix that was added to, or None.
        accelerator: its name, the path of its file, or an Accelerator.
        instruction: the instruction's name; optional if a plan names it.
        a_format: the format of A's codes, where the operand may have several.
        b_format: likewise for B.
        a_scale: A's block scales, as `Accelerator.matmul` takes them, or None.
        b_scale: likewise for B.
        plan: how K was cut, as `Accelerator.matmul` takes it, or None.

    Raises:
        AssertionError: with the number of elements that differ, the place of the first, and both its values.
        LookupError: if there is no such accelerator or instruction.
        TypeError: if an array has the wrong dtype or kind.
        ValueError: if shapes do not fit, or no instruction is named.

    >>> import numpy as np
    >>> a = np.full((1, 4), 0.1, np.float32)
    >>> assert_matmul_bits(np.float32([[0.04]]), a, a.T, accelerator="nvidia_h100", instruction="wgmma.e4m3.f32")
    Traceback (most recent call last):
        ...
    AssertionError: 1 of 1 elements differ, the first at [0, 0]:
      actual    0x3d23d70a  0.03999999910593033
      expected  0x3d290000  0.041259765625
    """
    from statqat_sim.matmul import Accelerator, load_accelerator

    device = accelerator if isinstance(accelerator, Accelerator) else load_accelerator(accelerator)
    operands = {"a_format": a_format, "b_format": b_format, "a_scale": a_scale, "b_scale": b_scale}
    expected = device.matmul(a, b, c, instruction=instruction, plan=plan, **operands)
    assert_bit_exact(actual, expected)
