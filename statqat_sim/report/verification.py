"""The exhaustive proof of one format: every float32 encoded, and every code decoded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from statqat_sim.codec import Codec
from statqat_sim.reference.exact import decode_float32, decode_float64
from statqat_sim.reference.prove import SHOWN, Proof, prove
from statqat_sim.spec.base import MAX_TABLE_BITS
from statqat_sim.spec.encode import Overflow, Rounding
from statqat_sim.spec.number import NumberFormat

INPUTS = 1 << 32

ROUNDED = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int8", "nf4", "posit8")
"""Built-in formats, of several kinds, that `--all` proves under every deterministic rounding."""

DECODERS: tuple[tuple[str, str, Callable[[NumberFormat, int], int]], ...] = (
    ("float32", "uint32", decode_float32),
    ("float64", "uint64", decode_float64),
)
"""The dtypes to which codes are decoded, each with the dtype of its bits and the oracle."""


@dataclass(frozen=True, slots=True)
class WrongValue:
    """A code that is decoded to a wrong value; `word` and `expected` are bits."""

    code: int
    dtype: str
    word: int
    expected: int

    def __str__(self) -> str:
        return f"code {self.code:#x}: {self.dtype} {self.word:#x}, expected {self.expected:#x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of `verify`. `wrong_values` are the first of the `wrong_codes` pairs of code and dtype that fail."""

    encoder: Proof
    codes: int
    wrong_codes: int
    wrong_values: tuple[WrongValue, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every input has the right code, and every code the right value."""
        return self.encoder.holds and not self.wrong_codes


def why_not(fmt: NumberFormat) -> str | None:
    """Why a format cannot be proven; None if it can."""
    if fmt.bits > MAX_TABLE_BITS:
        return f"{fmt.bits} bits; a proof lists all codes, of up to {MAX_TABLE_BITS} bits"
    if fmt.encode.overflow is Overflow.WRAP:
        return "overflow: wrap; a proof lists where codes change, and these change without end"
    if fmt.encode.rounding.is_stochastic:
        return f"rounding: {fmt.encode.rounding.value}; a proof needs one right code for each input"
    return None


def other_roundings(fmt: NumberFormat) -> Iterator[NumberFormat]:
    """The format with each other deterministic rounding, named after it, as in `int8.toward_zero`."""
    for rounding in Rounding:
        if not (rounding.is_stochastic or rounding is fmt.encode.rounding):
            encode = fmt.encode.model_copy(update={"rounding": rounding})
            yield fmt.model_copy(update={"name": f"{fmt.name}.{rounding.value}", "encode": encode})


def verify(fmt: NumberFormat, backend: str = "auto", progress: Callable[[int], None] | None = None) -> Verification:
    """Encode all 2^32 float32 inputs and decode all codes, and compare with the exact oracle.

    Args:
        fmt: a format for which `why_not` returns None.
        backend: the name of the backend to verify.
        progress: called with the number of inputs done.

    Raises:
        LookupError: if there is no such backend.
        UnsupportedError: if the format cannot be proven, or the backend cannot run here.
    """
    start = time.perf_counter()
    codec = Codec(fmt, backend)
    wrong = list(_wrong_values(fmt, codec))
    proof = prove(fmt, codec.encode, None if progress is None else lambda done, total: progress(done))
    return Verification(
        encoder=proof,
        codes=1 << fmt.bits,
        wrong_codes=len(wrong),
        wrong_values=tuple(wrong[:SHOWN]),
        seconds=time.perf_counter() - start,
    )


def _wrong_values(fmt: NumberFormat, codec: Codec) -> Iterator[WrongValue]:
    count = 1 << fmt.bits
    codes: Any = np.arange(count, dtype=np.uint8 if count <= 1 << 8 else np.uint16)
    for dtype, word, exact in DECODERS:
        words = codec.decode(codes, dtype=dtype).view(word).tolist()
        for code, found in enumerate(words):
            expected = exact(fmt, code)
            if found != expected:
                yield WrongValue(code, dtype, found, expected)
