"""Plans of matrix instructions: constants for one kernel per way of summing. `lower_mma` makes them.

Kernels read values, not codes: float32, which holds every operand exactly. A term in units of 2^(E - F) is an integer;
`Unit` says in which arithmetic a kernel sums terms without losing a bit; `mma_units` proves that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from statqat_sim.spec.accelerator_dot import Enter
from statqat_sim.spec.encode import Rounding

MODES: Final = (
    Rounding.TOWARD_ZERO,
    Rounding.NEAREST_EVEN,
    Rounding.TOWARD_POSITIVE,
    Rounding.TOWARD_NEGATIVE,
    Rounding.NEAREST_AWAY,
    Rounding.NEAREST_ZERO,
    Rounding.NEAREST_UP,
    Rounding.TO_ODD,
)
"""Kernels receive the index of a mode into this tuple."""

CUTS: Final = MODES[:4]
"""The modes for which processors have an instruction."""

ENTERS: Final = (Enter.TERM, Enter.JOIN, Enter.LAST, Enter.NONE, Enter.FIRST)
"""Kernels receive the index of the point where C enters into this tuple."""

FLOAT64_BITS: Final = 53
FLOAT32_BITS: Final = 24
FLOAT32_EMIN: Final = -126
FLOAT32_EMAX: Final = 127
FLOAT32_LEAST: Final = -149
INT32_BITS: Final = 31
INT64_BITS: Final = 63
BELOW_ALL_EXPONENTS: Final = -1000
"""An exponent below every exponent that occurs."""


class Unit(StrEnum):
    """The kernel that computes an instruction."""

    NARROW = "narrow"  # aligned products, exact in float32; terms are int32
    BROAD = "broad"  # aligned products in float64
    GROUPS = "groups"  # exact sums of groups times their scales, aligned, in float64
    STEPS = "steps"  # a rounding after each addition, in float64 rounded to odd
    FUSED = "fused"  # the processor's float64 fused multiply-add
    EXACT = "exact"  # any other sum, in multi-word integers
    INTEGER = "integer"


@dataclass(frozen=True, slots=True)
class Factor:
    """How a unit reads one operand."""

    precision: int
    """Significant bits."""
    emin: int
    """The exponent of subnormals; `BELOW_ALL_EXPONENTS` if there are none."""
    emax: int
    least: float
    """Smaller magnitudes are flushed to zero."""
    is_positive: bool
    """Whether values are flushed to +0 instead of a zero of their sign."""

    @property
    def lowest(self) -> int:
        """The exponent of the last bit of the least value."""
        return self.emin - self.precision + 1


def largest_term(a: Factor, b: Factor, fraction_bits: int) -> int:
    """The largest term in units of the alignment: a product is below 4, and a multiple of its factors' last bits."""
    significands = ((1 << a.precision) - 1) * ((1 << b.precision) - 1)
    shift = fraction_bits - (a.precision - 1) - (b.precision - 1)
    return significands << shift if shift >= 0 else (significands >> -shift) + 1


@dataclass(frozen=True, slots=True)
class Result:
    """How a sum is rounded to D."""

    mode: int
    mantissa_bits: int
    emin: int
    largest: float
    saturates: bool
    is_positive: bool
    """Whether -0 becomes +0."""
    keeps_zeros: bool
    """Whether a sum of only -0 is -0."""
    least: float
    """Smaller magnitudes are flushed to zero."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """How the terms of a sum are aligned before they are added.

    `fraction_bits`: bits kept below the largest exponent. `mode`: their rounding, an index into `MODES`. `per_sum`:
    whether the exact sum is rounded, not each term. `zero_exponent`: that of zeros; None: they take no part.
    """

    fraction_bits: int
    mode: int
    per_sum: bool
    zero_exponent: int | None

    @property
    def zero_number(self) -> int:
        """The exponent of zeros that kernels receive."""
        return BELOW_ALL_EXPONENTS if self.zero_exponent is None else self.zero_exponent


@dataclass(frozen=True, slots=True)
class Junction:
    """How C is added to a finished sum of products.

    `dot_bits`, `c_bits`: bits of the sum and of C kept below the larger exponent of the two. `kept_bits`: bits of the
    result kept before the last rounding; None: all. `reach`: C is dropped if its exponent is further below the larger
    one; None: never. `mode`: the rounding of these cuts, an index into `MODES`.
    """

    dot_bits: int
    c_bits: int
    kept_bits: int | None
    reach: int | None
    mode: int


@dataclass(frozen=True, slots=True)
class MmaPlan:
    """One instruction with one format for each operand.

    `step`: products per step; None: all of K. `places`: the order of a step's products; None if it does not matter.
    `emin`: the exponent of D's subnormals, as D is the next step's C.
    """

    unit: Unit
    step: int | None
    parts: int
    places: tuple[int, ...] | None
    enter: Enter
    a: Factor
    b: Factor
    c: Factor
    result: Result
    emin: int
    is_pairwise: bool = False
    alignment: Alignment | None = None
    junction: Junction | None = None
    group: int = 1
    group_bits: int = 0
    """Bits that hold the exact sum of a group's products."""
    block: int | None = None
    scale_emin: int = BELOW_ALL_EXPONENTS
    """The exponent of subnormal scales."""
    product_limit: int | None = None
    bits: int = 32
    """The width of an integer result."""

    @property
    def enter_number(self) -> int:
        """The index into `ENTERS` that kernels receive."""
        return ENTERS.index(self.enter)

    @property
    def later_least(self) -> float:
        """From the second step on, magnitudes of C (the step before's D) below this are flushed to zero."""
        return math.ldexp(1.0, self.emin) if self.c.least else 0.0

    @property
    def most_terms(self) -> int:
        """The number of terms whose sum cannot overflow int32."""
        assert self.alignment is not None
        return ((1 << INT32_BITS) - 1) // largest_term(self.a, self.b, self.alignment.fraction_bits)
