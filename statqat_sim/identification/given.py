"""The inputs of `identify`: the original, and values, bytes, or codes and scales of the quantized tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from statqat_sim.arrays import INTEGERS, Array, as_float32, dtype_name, float_storage, is_cpu_array
from statqat_sim.codec import Codec
from statqat_sim.errors import of_type
from statqat_sim.identification.result import Compared
from statqat_sim.plan.program import Storage
from statqat_sim.quantized import octets
from statqat_sim.spec.base import BYTE
from statqat_sim.spec.catalog import load_format
from statqat_sim.spec.format import Format

SAMPLE = 1 << 12
"""The approximate number of elements on which a format is tried first."""

ENOUGH = 0.5
"""The share of the sample that a format must reproduce to be tried on all."""

SAMPLER: Final = "reference"
"""The backend that quantizes samples: it compiles nothing."""

FEW: Final = 1 << 16
"""The most elements that take longer to compile for than to interpret."""


@dataclass(frozen=True, slots=True)
class Values:
    """The values of the quantized tensor as float32, and the dtype they were given in."""

    array: NDArray[np.float32]
    storage: Storage

    @classmethod
    def of(cls, values: Any, shape: tuple[int, ...]) -> Values:
        """The values of a tensor of this shape.

        Raises:
            TypeError: if they are not real numbers.
            ValueError: if their shape differs.
        """
        array = np.atleast_1d(as_float32(values, "values"))
        if array.shape != shape:
            raise ValueError(f"values have shape {array.shape}; allowed: that of the original, {shape}")
        return cls(array, float_storage(values, "values"))

    def rounded(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values rounded to the tensor's dtype, as float32."""
        if self.storage is Storage.BFLOAT16:
            rounded: NDArray[np.float32] = codec_for(_bfloat16(), y).fake_quantize(y)
            return rounded
        with np.errstate(over="ignore"):
            return y.astype(np.float16).astype(np.float32) if self.storage is Storage.FLOAT16 else y

    def beside(self, y: NDArray[np.float32]) -> Compared:
        """The comparison of the values with those of a format."""
        return Compared.of("values", self.array, self.rounded(y))

    def begin_like(self, y: NDArray[np.float32]) -> bool:
        """Whether enough of the first values equal `y`, a format's values of the first indices of axis 0."""
        return Values(self.array[: len(y)], self.storage).beside(y).share >= ENOUGH


@dataclass(frozen=True, slots=True)
class Given:
    """The original, and one representation of the quantized tensor."""

    x: NDArray[np.float32]
    values: Values | None = None
    packed: NDArray[np.uint8] | None = None
    codes: Array | None = None
    scales: tuple[Array, ...] = ()

    @classmethod
    def of(cls, x: NDArray[np.float32], values: Any, packed: Any, codes: Any, scales: Sequence[Any]) -> Given:
        """The checked arguments of `identify`.

        Raises:
            TypeError: if an array has the wrong dtype.
            ValueError: unless exactly one representation is given, or if x is empty.
        """
        if not isinstance(scales, tuple | list):
            raise TypeError(f"scales is {of_type(scales)}; allowed: a list of arrays, outermost first")
        parts = {"values": values is not None, "packed": packed is not None, "codes": codes is not None or bool(scales)}
        if sum(parts.values()) != 1:
            told = " and ".join(name for name, is_given in parts.items() if is_given) or "nothing"
            raise ValueError(f"{told} given; allowed: one of values, packed, and codes with scales")
        if x.size == 0:
            raise ValueError(f"x has no elements (shape {x.shape}), and every format reproduces nothing")
        if values is not None:
            return cls(x, values=Values.of(values, x.shape))
        if packed is not None:
            return cls(x, packed=octets(packed, "packed"))
        taken = None if codes is None else _integers(codes)
        return cls(x, codes=taken, scales=tuple(_scales(each, index) for index, each in enumerate(scales)))

    @property
    def sample(self) -> NDArray[np.float32]:
        """The first indices of axis 0 of the original: about `SAMPLE` elements, at least one index."""
        return self.x[: max(SAMPLE * len(self.x) // self.x.size, 1)]


def codec_for(format: Format, x: NDArray[np.float32]) -> Codec:
    """The codec that quantizes an array which need not be a sample."""
    return Codec(format, SAMPLER if x.size <= FEW else "auto")


@cache
def _bfloat16() -> Format:
    return load_format("bfloat16")


def without_signs(codes: Array, bits: int) -> Array:
    """Codes as unsigned integers, with sign extension beyond `bits` removed."""
    words = codes.view(f"u{codes.itemsize}")
    if bits >= BYTE * codes.itemsize:
        return words
    signed = codes.view(f"i{codes.itemsize}")
    is_extended = (signed < 0) & (signed >= -(1 << (bits - 1)))
    return np.where(is_extended, words & words.dtype.type((1 << bits) - 1), words)


def _integers(codes: Any) -> Array:
    """Codes as a contiguous array of native integers.

    Raises:
        TypeError: if they are not integers.
    """
    array = np.asarray(codes)
    if array.dtype.kind not in "ui":
        raise TypeError(f"codes are {array.dtype}; allowed: integers")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _scales(scales: Any, index: int) -> Array:
    """Integer arrays as codes; other arrays as float32 values."""
    array = np.asarray(scales) if np.ndim(scales) == 0 else scales
    if is_cpu_array(array) and dtype_name(array) in INTEGERS:
        return _integers(array)
    return as_float32(array, f"scales[{index}]")
