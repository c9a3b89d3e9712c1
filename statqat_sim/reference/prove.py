"""The proof of an encoder: all float32 inputs are encoded and compared with the exact oracle."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from statqat_sim.reference.ieee import FLOAT32
from statqat_sim.reference.steps import Step, Steps, thresholds
from statqat_sim.spec.number import NumberFormat

BLOCK: Final = 1 << 20
"""Inputs encoded at a time: their buffers fit a cache, and give enough work to all threads."""

SHOWN: Final = 10
"""The most wrong inputs that a proof lists."""

FIRST_NAN: Final = FLOAT32.inf + 1

Words = NDArray[Any]


class Encoder(Protocol):
    """The function that `prove` checks: `Codec.encode`, a backend's kernel, or any function of float32 arrays."""

    def __call__(self, x: NDArray[np.float32], *, out: Words) -> Words:
        """The codes of x, in `out` or in a new array."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An input with a wrong code."""

    bits: int
    code: int
    expected: int

    def __str__(self) -> str:
        value = struct.unpack("<f", struct.pack("<I", self.bits))[0]
        return f"{value!r} ({self.bits:#010x}): code {self.code:#x}, expected {self.expected:#x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The result of `prove`.

    Of `inputs` encoded inputs, `wrong` differ from the oracle; `mismatches` are the first of these. `change_points` is
    how often the code changes between neighbouring inputs, in the order of their bits.
    """

    format: str
    inputs: int
    change_points: int
    wrong: int
    mismatches: tuple[Mismatch, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every input has the right code."""
        return not self.wrong


def prove(format: NumberFormat, encode: Encoder, progress: Callable[[int, int], None] | None = None) -> Proof:
    """Compare an encoder with the exact oracle on every float32 input, NaN payloads included.

    The encoder itself runs on all 2^32 inputs; nothing is sampled. The oracle, which uses rational arithmetic, would
    take days, but it is known exactly between inputs: the bits of inputs of one sign are in the order of their
    magnitudes, and between neighbouring values the result of a rounding mode changes at one place: at either value or
    at the midpoint (moved outward by `flush_inputs` and `via`, which preserve the order). So the oracle is a step
    function: `thresholds` computes the first float32 of each step, and all NaN of one sign are one more step. Expanded
    block by block, the steps are the codes that all inputs must have. Inputs that the format refuses (NaN under
    `nan_input: error`) are left out.

    Args:
        format: a format of up to 16 bits whose overflow does not wrap, and whose rounding is not stochastic.
        encode: called with float32 arrays and `out=`, an array of codes that it may write to.
        progress: called after each block with the number of inputs done, and the number of all inputs.

    Raises:
        UnsupportedError: for other formats.
        ValueError: if the encoder's result has another shape than its input.
    """
    start = time.perf_counter()
    expected = _Expected(thresholds(format), _code_type(format.bits))
    found = _Tally()
    for first, codes in _encoded(encode, expected):
        found.add(first, codes, *expected.within(first, len(codes)))
        if progress is not None:
            progress(found.inputs, expected.inputs)
    return Proof(
        format=format.name,
        inputs=found.inputs,
        change_points=found.change_points,
        wrong=found.wrong,
        mismatches=tuple(found.mismatches),
        seconds=time.perf_counter() - start,
    )


def _encoded(encode: Encoder, expected: _Expected) -> Iterator[tuple[int, Words]]:
    """The first input and the codes of each block; the next block may reuse their memory."""
    offsets = np.arange(BLOCK, dtype=np.uint32)
    bits, buffer = np.empty_like(offsets), np.empty(BLOCK, expected.code_type)
    for first, count in _blocks(expected.ranges):
        np.add(offsets[:count], np.uint32(first), out=bits[:count])
        codes = np.asarray(encode(bits[:count].view(np.float32), out=buffer[:count]))
        if codes.shape != (count,):
            raise ValueError(f"the encoder gave shape {codes.shape} for {count} inputs; allowed: ({count},)")
        yield first, codes


@dataclass(slots=True)
class _Tally:
    """The results so far, block by block, in the order of the inputs' bits."""

    inputs: int = 0
    change_points: int = 0
    wrong: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    last: int | None = None

    def add(self, first: int, codes: Words, counts: Words, steps: Words) -> None:
        """Compare a block's codes with the expected ones: `steps[i]` repeated `counts[i]` times."""
        right = np.repeat(steps, counts)
        if not np.array_equal(codes, right):
            self._add_wrong(first, codes, right)
            steps = _steps_of(codes)
        continues = self.last in (None, int(steps[0]))  # the first step begins no change
        self.change_points += len(steps) - continues
        self.last = int(steps[-1])
        self.inputs += len(codes)

    def _add_wrong(self, first: int, codes: Words, right: Words) -> None:
        differs = np.flatnonzero(codes != right)
        self.wrong += len(differs)
        for place in differs[: SHOWN - len(self.mismatches)].tolist():
            self.mismatches.append(Mismatch(first + place, int(codes[place]), int(right[place])))


class _Expected:
    """The oracle's step function over the inputs in the order of their bits."""

    def __init__(self, steps: Steps, code_type: np.dtype[Any]) -> None:
        pieces = [*steps.positive, *_nan(0, steps.nan)]
        pieces += [*steps.negative, *_nan(FLOAT32.sign, steps.negative_nan)]
        self._firsts = np.array([piece.first for piece in pieces], np.int64)
        self._codes = np.array([piece.code for piece in pieces], code_type)
        self.code_type = code_type
        finite = FIRST_NAN if steps.nan is None else FLOAT32.sign
        self.ranges = (range(finite), range(FLOAT32.sign, FLOAT32.sign + finite))
        self.inputs = 2 * finite

    def within(self, first: int, count: int) -> tuple[Words, Words]:
        """Run lengths and codes of `count` inputs from `first` on; neighbouring runs have different codes."""
        begin = int(self._firsts.searchsorted(first, side="right")) - 1
        end = int(self._firsts.searchsorted(first + count, side="left"))
        codes = self._codes[begin:end]
        changes = np.diff(codes, prepend=~codes[:1]) != 0
        places = np.maximum(self._firsts[begin:end], first)[changes]
        return np.diff(places, append=first + count), codes[changes]


def _nan(sign: int, code: int | None) -> list[Step]:
    return [] if code is None else [Step(sign + FIRST_NAN, code)]


def _blocks(ranges: tuple[range, ...]) -> Iterator[tuple[int, int]]:
    """(first, count) of blocks that cover the ranges; each block is within one range."""
    for inputs in ranges:
        for first in inputs[::BLOCK]:
            yield first, min(BLOCK, inputs.stop - first)


def _steps_of(codes: Words) -> Words:
    """The first code, and each code that differs from the one before."""
    return np.concatenate((codes[:1], codes[1:][codes[1:] != codes[:-1]]))


def _code_type(bits: int) -> np.dtype[Any]:
    return np.dtype(np.uint8 if bits <= 8 else np.uint16)
