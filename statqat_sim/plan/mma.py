"""Matrix instructions as constants for one kernel per way of summing; the bounds that kernels rely on are proven here.

Kernels read values, not codes: float32, which holds every operand exactly. A term in units of 2^(E - F) is an integer;
`Unit` says in which arithmetic a kernel sums terms without losing a bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from statqat_sim.errors import UnsupportedError
from statqat_sim.spec.accelerator import Apply, Float64, Instruction, OperandFormat, precision_of
from statqat_sim.spec.accelerator_dot import (
    Aligned,
    Beyond,
    Dot,
    Enter,
    Flush,
    Flushed,
    Merge,
    NegativeZero,
    Per,
    Special,
    Sum,
    ordered,
)
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import Encoding, IntElement
from statqat_sim.spec.number import NumberFormat

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
IN_FLOAT64: Final = (
    "allowed with scales, or where C joins: terms cut by themselves, toward an integer or to even, "
    "and sums of up to 53 bits"
)
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
        return ((1 << INT32_BITS) - 1) // _largest_term(self.a, self.b, self.alignment.fraction_bits)


def lower_mma(instruction: Instruction, a: OperandFormat, b: OperandFormat) -> MmaPlan:
    """The plan of an instruction for operands of these formats.

    Raises:
        UnsupportedError: if it is a recipe, or no kernel computes it.
    """
    dot = instruction.dot
    if dot is None:
        raise UnsupportedError(f"{instruction} is a recipe; its instructions have plans of their own")
    scale, enter = instruction.scale, dot.c
    assert enter is not None  # the reader has filled it in
    if dot.sum is Sum.INTEGER:
        return _integer_plan(instruction, (a, b), enter)
    *factors, _ = (_factor(operand, instruction.special) for operand in (a, b, instruction.c, instruction.d))
    alignment, junction = _alignment(dot.aligned), _junction(dot.merge)
    result = _result(instruction)
    unit = _unit(instruction, dot, factors)
    is_limited, has_lanes = instruction.special.product_limit is not None, unit in (Unit.NARROW, Unit.BROAD)
    if is_limited and (not has_lanes or instruction.scale is not None):
        told = "allowed: without scales, where terms are aligned and float64 holds their sums"
        raise UnsupportedError(f"{instruction}: product_limit; {told}")
    step = instruction.step
    order = None if step is None or dot.sum not in (Sum.CHAIN, Sum.PAIRWISE) else ordered(dot.order, step)
    stored = precision_of(instruction.d)
    assert stored is not None
    return MmaPlan(
        unit=unit,
        step=step,
        parts=dot.split,
        places=order,
        enter=enter,
        a=factors[0],
        b=factors[1],
        c=factors[2],
        result=result,
        emin=stored.emin,
        is_pairwise=dot.sum is Sum.PAIRWISE,
        alignment=alignment,
        junction=junction,
        group=dot.group,
        group_bits=_group_bits(dot.group, *factors[:2]) if dot.group > 1 else 0,
        block=scale.block if scale else None,
        scale_emin=_factor(scale.format, Special()).emin if scale else BELOW_ALL_EXPONENTS,
        product_limit=instruction.special.product_limit,
    )


def _integer_plan(instruction: Instruction, operands: tuple[OperandFormat, OperandFormat], enter: Enter) -> MmaPlan:
    """The plan of an integer instruction: operands are int32, sums of a step int64.

    Raises:
        UnsupportedError: if these could overflow, or D is not in two's complement.
    """
    saturates, step = instruction.special.overflow is Beyond.SATURATE, instruction.step
    a, b, c, d = (_in_int32(instruction, each) for each in (*operands, instruction.c, instruction.d))
    largest = [max(-low, high) for low, high in (each.full_range for each in (a, b, c))]
    if saturates and (step or 1 << INT32_BITS) * largest[0] * largest[1] + largest[2] >= 1 << INT64_BITS:
        told = f"steps of {step} products of {a.bits} and {b.bits} bits saturate"
        raise UnsupportedError(f"{instruction}: {told}; allowed: sums that int64 holds")
    if d.encoding is not Encoding.TWOS_COMPLEMENT:
        raise UnsupportedError(f"{instruction}: D is {d.encoding}; allowed: {Encoding.TWOS_COMPLEMENT}")
    nothing = Factor(1, BELOW_ALL_EXPONENTS, 0, 0.0, False)
    result = Result(0, 0, 0, math.inf, saturates, True, False, 0.0)
    return MmaPlan(Unit.INTEGER, step, 1, None, enter, nothing, nothing, nothing, result, 0, bits=d.bits)


def _in_int32(instruction: Instruction, operand: OperandFormat) -> IntElement:
    """The element of an operand whose integers fit int32."""
    assert isinstance(operand, NumberFormat)
    assert isinstance(operand.element, IntElement)
    low, high = operand.element.full_range
    if low < -(1 << INT32_BITS) or high >> INT32_BITS:
        raise UnsupportedError(f"{instruction}: {operand.name} has {low} to {high}; allowed: what int32 holds")
    return operand.element


def _factor(operand: OperandFormat, special: Special) -> Factor:
    """How a unit reads an operand: from the fields of a float element, from the values of other kinds."""
    flush, is_positive = special.flush in (Flush.INPUTS, Flush.BOTH), special.flushed is Flushed.POSITIVE
    if isinstance(operand, Float64):
        return Factor(FLOAT64_BITS, -1022, 1023, 0.0, False)
    element = operand.element
    if isinstance(element, FloatElement):
        least = math.ldexp(1.0, element.emin) if flush else 0.0
        found = Factor(element.mantissa_bits + 1, element.emin, _emax(element), least, is_positive)
        if found.precision > FLOAT32_BITS or found.emax > FLOAT32_EMAX or found.lowest < FLOAT32_LEAST:
            raise UnsupportedError(f"{operand.name}: values that float32 does not hold; allowed: those that it does")
        return found
    if operand.bits > FLOAT32_BITS - 8:
        raise UnsupportedError(f"{operand.name}: kind {element.kind} of {operand.bits} bits; allowed: up to 16 bits")
    return Factor(FLOAT32_BITS, BELOW_ALL_EXPONENTS, FLOAT32_EMAX, 0.0, False)


def _emax(element: FloatElement) -> int:
    """Exponent of the largest finite value."""
    return max((element.max_magnitude >> element.mantissa_bits) - element.bias, element.emin)


def _result(instruction: Instruction) -> Result:
    to, special = instruction.to or precision_of(instruction.d), instruction.special
    assert to is not None
    flush = special.flush in (Flush.OUTPUTS, Flush.BOTH)
    return Result(
        mode=MODES.index(instruction.mode),
        mantissa_bits=to.mantissa_bits,
        emin=to.emin,
        largest=to.largest,
        saturates=special.overflow is Beyond.SATURATE,
        is_positive=special.negative_zero is NegativeZero.NEVER,
        keeps_zeros=special.negative_zero is NegativeZero.IEEE,
        least=math.ldexp(1.0, to.emin) if flush else 0.0,
    )


def _alignment(aligned: Aligned | None) -> Alignment | None:
    if aligned is None:
        return None
    zero = aligned.zero_exponent if isinstance(aligned.zero_exponent, int) else None
    return Alignment(aligned.fraction_bits, MODES.index(aligned.round), aligned.per is Per.SUM, zero)


def _junction(merge: Merge | None) -> Junction | None:
    if merge is None:
        return None
    bits = merge.dot_fraction_bits, merge.c_fraction_bits, merge.normalised_bits
    return Junction(*bits, merge.c_reach, MODES.index(merge.round))


# --- which kernel ------------------------------------------------------------------------------------------------


def _unit(instruction: Instruction, dot: Dot, factors: list[Factor]) -> Unit:
    a, b, _ = factors
    scale, aligned = instruction.scale, dot.aligned
    if isinstance(instruction.d, Float64):
        return Unit.FUSED
    if dot.sum in (Sum.CHAIN, Sum.PAIRWISE):
        return Unit.STEPS
    if aligned is None:
        return Unit.EXACT
    if scale is not None and scale.apply is Apply.GROUP:
        _check_groups(instruction, dot, aligned, a, b)
        return Unit.GROUPS
    if _fits_float64(dot, aligned, _largest_term(a, b, aligned.fraction_bits) * (dot.step or 1), a, b):
        is_plain = scale is None and aligned.round is Rounding.TOWARD_ZERO
        return Unit.NARROW if is_plain and _fits_float32(aligned, a, b) else Unit.BROAD
    if dot.c is Enter.JOIN or scale is not None:
        told = f"terms of {aligned.fraction_bits} fraction bits, steps of {dot.step}, {aligned.round} per {aligned.per}"
        raise UnsupportedError(f"{instruction}: {told}; {IN_FLOAT64}")
    return Unit.EXACT


def _check_groups(instruction: Instruction, dot: Dot, aligned: Aligned, a: Factor, b: Factor) -> None:
    """Check that sums of groups, and these times their scales, are exact in float64.

    Raises:
        UnsupportedError: if they are not.
    """
    assert instruction.scale is not None
    scale = _factor(instruction.scale.format, Special())
    of_group = dot.group * _largest(a) * _largest(b) * 4  # significands of two scales, each below 2
    terms = (dot.step or 1) // dot.group * (int(of_group * Fraction(2) ** aligned.fraction_bits) + 1)
    bits = _group_bits(dot.group, a, b) + 2 * scale.precision
    if 2 * scale.precision > FLOAT32_BITS or bits > FLOAT64_BITS or not _fits_float64(dot, aligned, terms, a, b):
        told = f"groups of {dot.group} with scales take {bits} bits, terms have {aligned.fraction_bits} fraction bits"
        raise UnsupportedError(f"{instruction}: {told}, {aligned.round} per {aligned.per}; {IN_FLOAT64}")


def _largest(factor: Factor) -> Fraction:
    """A power of two above every magnitude."""
    return Fraction(2) ** (factor.emax + 1)


def _group_bits(group: int, a: Factor, b: Factor) -> int:
    """Bits from the lowest bit of the smallest product to the highest bit of a group's largest sum."""
    return a.emax + b.emax + 2 + (group - 1).bit_length() - (a.lowest + b.lowest)


def _largest_term(a: Factor, b: Factor, fraction_bits: int) -> int:
    """The largest term in units of the alignment: a product is below 4, and a multiple of its factors' last bits."""
    significands = ((1 << a.precision) - 1) * ((1 << b.precision) - 1)
    shift = fraction_bits - (a.precision - 1) - (b.precision - 1)
    return significands << shift if shift >= 0 else (significands >> -shift) + 1


def _fits_float64(dot: Dot, aligned: Aligned, terms: int, a: Factor, b: Factor) -> bool:
    """Whether every product, and every sum of terms of at most `terms` in magnitude, is exact in float64."""
    if dot.step is None or aligned.per is Per.SUM or aligned.round not in CUTS:
        return False
    if a.precision + b.precision > FLOAT64_BITS:
        return False
    of_c = 2 << aligned.fraction_bits
    return terms + of_c + dot.step + 1 < 1 << FLOAT64_BITS


def _fits_float32(aligned: Aligned, a: Factor, b: Factor) -> bool:
    """Whether every product is exact in float32, its unit is a float32, and int32 holds at least one term."""
    is_exact = a.precision + b.precision <= FLOAT32_BITS and a.lowest + b.lowest >= FLOAT32_LEAST
    is_finite = a.emax + b.emax + 2 <= FLOAT32_EMAX
    # E is at least every nonzero product's exponent, and at most 127, the largest of C, or `zero_exponent`; if that is
    # larger, every product is below one unit 2^(E - F), and kernels may take 0 for 2^(F - E)
    has_units = aligned.fraction_bits - (a.emin + b.emin) <= FLOAT32_EMAX
    has_units = has_units and aligned.fraction_bits - FLOAT32_EMAX - 1 >= FLOAT32_EMIN
    return is_exact and is_finite and has_units and _largest_term(a, b, aligned.fraction_bits) < 1 << INT32_BITS - 1
