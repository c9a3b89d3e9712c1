"""One row of `measure`, and the sums it is computed from."""

from __future__ import annotations

from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from statqat_sim.metrics import finite_decibels, finite_or_none
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.format import Format

Float32s: TypeAlias = NDArray[np.float32]


class Row(TypedDict):
    """One tensor in one format. JSON-ready: None stands for a number that is undefined or not finite.

    All but `elements` and `nonfinite` describe the finite inputs.
    """

    tensor: str
    format: str
    quantizer: str
    """The quantizer's name; for a block format the rule of its innermost scale that is a factor; `given`, if the
    caller gave the scale."""
    scale: float | list[float] | None
    """The factor of decoded values; per channel a list, in the order of the channels. For block formats, which store
    their own scales, the caller's scale of the outermost level, or None."""
    zero_point: int | list[int] | None
    """The integer that represents zero, likewise; None unless the quantizer chooses one."""
    sqnr_db: float | None
    """10·log10(Σx² / Σ(x − y)²), in dB; None if the error is zero (then `mse` is 0)."""
    mse: float | None
    """Mean of (x − y)²."""
    max_error: float | None
    """Largest |x − y|."""
    bits_per_element: float
    """Bits of the code and a full block's share of its scales and offsets; scales of a tensor or channel not counted.
    """
    clipped_fraction: float | None
    """Share of inputs outside scale · [min, max] of the format; in a block format, outside the range that their
    block's scales give the element format."""
    flushed_fraction: float | None
    """Share of nonzero inputs that became zero, among all inputs."""
    entropy_bits: float | None
    """Empirical entropy of the elements' codes, in bits per element; None for codes of more than 16 bits."""
    power: float | None
    """Mean of x²."""
    elements: int
    nonfinite: int
    """The number of inputs that are NaN or Inf."""


class Sums:
    """Counts and float64 sums over the finite inputs of one row."""

    def __init__(self, bits: int) -> None:
        self.count = self._clipped = self._flushed = 0
        self._noise = self._power = self._max_error = 0.0
        self._histogram = np.zeros(1 << bits, np.int64) if bits <= MAX_TABLE_BITS else None

    def add(self, x: Float32s, y: Float32s, codes: NDArray[Any], divisor: Float32s | None = None) -> None:
        """Compare finite inputs with their quantized values.

        Args:
            x: the inputs, multiplied by `divisor` if there is one.
            y: their quantized values.
            codes: their codes.
            divisor: what inputs and errors are divided by before they are squared.
        """
        self.count += x.size
        if x.size == 0:
            return
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            squares = np.subtract(x, y, dtype=np.float64)
            self._noise += _sum_of_squares(squares, divisor)
            # the square root of a rounded square is exact unless the square overflows or underflows
            self._max_error = float(np.maximum(self._max_error, np.sqrt(squares.max())))
            np.copyto(squares, x)
            self._power += _sum_of_squares(squares, divisor)
            self._flushed += int(np.count_nonzero((y == 0) & (x != 0)))
        if self._histogram is not None:
            self._histogram += np.bincount(codes.reshape(-1), minlength=self._histogram.size)

    def add_clipped(self, x: Float32s, low: Float32s, high: Float32s) -> None:
        """Count the inputs outside these bounds."""
        self._clipped += int(np.count_nonzero((x < low) | (x > high)))

    def row(
        self,
        tensor: str,
        format: Format,
        quantizer: str,
        scale: float | list[float] | None,
        elements: int,
        zero_point: int | list[int] | None = None,
    ) -> Row:
        """The row of a tensor with this number of `elements`."""
        return {
            "tensor": tensor,
            "format": format.name,
            "quantizer": quantizer,
            "scale": scale,
            "zero_point": zero_point,
            "sqnr_db": finite_decibels(self._power, self._noise),
            "mse": self._share(self._noise),
            "max_error": finite_or_none(self._max_error) if self.count else None,
            "bits_per_element": format.bits_per_element,
            "clipped_fraction": self._share(self._clipped),
            "flushed_fraction": self._share(self._flushed),
            "entropy_bits": self._entropy_bits(),
            "power": self._share(self._power),
            "elements": elements,
            "nonfinite": elements - self.count,
        }

    def _share(self, total: float) -> float | None:
        """A total divided by the number of finite inputs."""
        return finite_or_none(total / self.count) if self.count else None

    def _entropy_bits(self) -> float | None:
        """-Σ p·log2(p) of the codes."""
        if self._histogram is None or self.count == 0:
            return None
        p = self._histogram[self._histogram > 0] / self.count
        return float(np.sum(p * -np.log2(p)))


def _sum_of_squares(numbers: NDArray[np.float64], divisor: Float32s | None) -> float:
    """Σ (number / divisor)²; overwrites `numbers` with the squares."""
    if divisor is not None:
        numbers /= divisor
    np.square(numbers, out=numbers)
    return float(numbers.sum())
