"""Prints C that sums a candidate's squared errors per block, in float64.

A block's terms are padded with zeros to a power of two, and the upper half is added to the lower one until one sum is
left. A single thread gets the same order of additions by visiting the terms in bit-reversed order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from statqat_sim.backends.cupy_gpu.bodies import block, unrolled

DEPTH: Final = 40
"""Size of the stack of partial sums, which holds one per bit of a block's size."""

INFINITE: Final = "__longlong_as_double(0x7ff0000000000000LL)"


def term(x: str, y: str, weight: str | None) -> list[str]:
    """Declare `term`, the squared difference of two float32 given as bits; 0 if x is NaN or Inf."""
    square = "__dmul_rn(difference, difference)"
    if weight is not None:
        square = f"__dmul_rn({square}, {weight})"
    return [
        f"const double difference = __dsub_rn(widened(__uint_as_float({x})), widened(__uint_as_float({y})));",
        f"const double term = ({x} & 0x7f800000u) == 0x7f800000u ? 0 : {square};",
    ]


def add_by_halves(terms: str, size: int, each: int) -> Iterator[str]:
    """Sum the terms of each block of `size`, of which a lane holds `each`; the sum replaces the block's first term."""
    step = size // each // 2
    while step:
        other = f"__shfl_xor_sync(0xffffffffu, {terms}[e], {step})"
        yield from unrolled("e", each, [f"{terms}[e] = __dadd_rn({terms}[e], {other});"])
        step //= 2
    width = min(size, each)
    half = width // 2
    while half:
        for first in range(0, each, width):
            low, high = f"{terms}[{first} + e]", f"{terms}[{first + half} + e]"
            yield from unrolled("e", half, [f"{low} = __dadd_rn({low}, {high});"])
        half //= 2


def sum_in_turn(count: str, lines: Iterable[str]) -> list[str]:
    """Declare `sum`, the sum of `found`, which `lines` compute for each `turn_place` below `count`, a power of two."""
    return [
        f"double partial[{DEPTH}];",
        "u32 depth = 0;",
        "u64 turn_place = 0;",
        *block(
            f"for (u64 turn = 0; turn < {count}; turn++)",
            [
                *lines,
                "double added = found;",
                "for (u64 full = turn; full & 1; full >>= 1) added = __dadd_rn(partial[--depth], added);",
                "partial[depth++] = added;",
                f"u64 bit = {count} >> 1;",
                "for (; turn_place & bit; bit >>= 1) turn_place ^= bit;",
                "turn_place |= bit;",
            ],
        ),
        "const double sum = partial[0];",
    ]


def comparable(error: str) -> str:
    """A C expression: the error, or Inf if it is NaN because an element became NaN."""
    return f"{error} != {error} ? {INFINITE} : {error}"
