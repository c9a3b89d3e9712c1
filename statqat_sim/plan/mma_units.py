"""Which kernel computes a matrix instruction: the bounds that kernels rely on are proven here."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.mma import (
    CUTS,
    FLOAT32_BITS,
    FLOAT32_EMAX,
    FLOAT32_EMIN,
    FLOAT32_LEAST,
    FLOAT64_BITS,
    INT32_BITS,
    Factor,
    Unit,
    largest_term,
)
from statqat_sim.spec.accelerator import Apply, Float64, Instruction
from statqat_sim.spec.accelerator_dot import Aligned, Dot, Enter, Per, Sum
from statqat_sim.spec.encode import Rounding

IN_FLOAT64: Final = (
    "allowed with scales, or where C joins: terms cut by themselves, toward an integer or to even, "
    "and sums of up to 53 bits"
)


def unit_of(instruction: Instruction, dot: Dot, a: Factor, b: Factor, of_scale: Factor | None) -> Unit:
    """The kernel that computes an instruction without losing a bit.

    Args:
        instruction: the instruction.
        dot: how it sums.
        a: how a unit reads A.
        b: how it reads B.
        of_scale: how it reads scales, if the instruction has any.

    Raises:
        UnsupportedError: if no kernel does.
    """
    scale, aligned = instruction.scale, dot.aligned
    if isinstance(instruction.d, Float64):
        return Unit.FUSED
    if dot.sum in (Sum.CHAIN, Sum.PAIRWISE):
        return Unit.STEPS
    if aligned is None:
        return Unit.EXACT
    if scale is not None and of_scale is not None and scale.apply is Apply.GROUP:
        _check_groups(instruction, dot, aligned, a, b, of_scale)
        return Unit.GROUPS
    if _fits_float64(dot, aligned, largest_term(a, b, aligned.fraction_bits) * (dot.step or 1), a, b):
        is_plain = scale is None and aligned.round is Rounding.TOWARD_ZERO
        return Unit.NARROW if is_plain and _fits_float32(aligned, a, b) else Unit.BROAD
    if dot.c is Enter.JOIN or scale is not None:
        steps = "no 'step'" if dot.step is None else f"steps of {dot.step}"
        told = f"terms of {aligned.fraction_bits} fraction bits, {steps}, {aligned.round} per {aligned.per}"
        raise UnsupportedError(f"{instruction}: {told}; {IN_FLOAT64}")
    return Unit.EXACT


def _check_groups(instruction: Instruction, dot: Dot, aligned: Aligned, a: Factor, b: Factor, scale: Factor) -> None:
    """Check that sums of groups, and these times their scales, are exact in float64.

    Raises:
        UnsupportedError: if they are not.
    """
    of_group = dot.group * _largest(a) * _largest(b) * 4  # significands of two scales, each below 2
    terms = (dot.step or 1) // dot.group * (int(of_group * Fraction(2) ** aligned.fraction_bits) + 1)
    bits = group_bits(dot.group, a, b) + 2 * scale.precision
    if 2 * scale.precision > FLOAT32_BITS or bits > FLOAT64_BITS or not _fits_float64(dot, aligned, terms, a, b):
        told = f"groups of {dot.group} with scales take {bits} bits, terms have {aligned.fraction_bits} fraction bits"
        raise UnsupportedError(f"{instruction}: {told}, {aligned.round} per {aligned.per}; {IN_FLOAT64}")


def _largest(factor: Factor) -> Fraction:
    """A power of two above every magnitude."""
    return Fraction(2) ** (factor.emax + 1)


def group_bits(group: int, a: Factor, b: Factor) -> int:
    """Bits from the lowest bit of the smallest product to the highest bit of a group's largest sum."""
    return a.emax + b.emax + 2 + (group - 1).bit_length() - (a.lowest + b.lowest)


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
    return is_exact and is_finite and has_units and largest_term(a, b, aligned.fraction_bits) < 1 << INT32_BITS - 1
