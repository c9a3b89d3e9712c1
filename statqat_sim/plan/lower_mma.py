"""Matrix instructions as plans."""

from __future__ import annotations

import math
from collections.abc import Iterable

from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.mma import (
    BELOW_ALL_EXPONENTS,
    FLOAT32_BITS,
    FLOAT32_EMAX,
    FLOAT32_LEAST,
    FLOAT64_BITS,
    INT32_BITS,
    INT64_BITS,
    MODES,
    Alignment,
    Factor,
    Junction,
    MmaPlan,
    Result,
    Unit,
)
from statqat_sim.plan.mma_units import group_bits, unit_of
from statqat_sim.spec.accelerator import Float64, Instruction, OperandFormat, precision_of
from statqat_sim.spec.accelerator_dot import (
    Aligned,
    Beyond,
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
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import Encoding, IntElement
from statqat_sim.spec.number import NumberFormat


def check_mma(instructions: Iterable[Instruction]) -> None:
    """Check that kernels compute all of these instructions, with each of their operands' formats.

    Raises:
        UnsupportedError: for the first that none computes.
    """
    for instruction in instructions:
        for a in () if instruction.recipe else instruction.a:
            for b in instruction.b:
                lower_mma(instruction, a, b)


def lower_mma(instruction: Instruction, a: OperandFormat, b: OperandFormat) -> MmaPlan:
    """The plan of an instruction for operands of these formats.

    Raises:
        UnsupportedError: if it is a recipe, or no kernel computes it.
    """
    dot = instruction.dot
    if dot is None:
        raise UnsupportedError(f"{instruction} is a recipe; its instructions have plans of their own")
    scale, enter, special = instruction.scale, dot.c, instruction.special
    assert enter is not None  # the reader has filled it in
    if dot.sum is Sum.INTEGER:
        return _integer_plan(instruction, (a, b), enter)
    *factors, _ = (_factor(instruction, operand, special) for operand in (a, b, instruction.c, instruction.d))
    alignment, junction = _alignment(dot.aligned), _junction(dot.merge)
    result = _result(instruction)
    of_scale = _factor(instruction, scale.format, Special()) if scale else None
    unit = unit_of(instruction, dot, factors[0], factors[1], of_scale)
    is_limited, has_lanes = special.product_limit is not None, unit in (Unit.NARROW, Unit.BROAD)
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
        group_bits=group_bits(dot.group, *factors[:2]) if dot.group > 1 else 0,
        block=scale.block if scale else None,
        scale_emin=of_scale.emin if of_scale else BELOW_ALL_EXPONENTS,
        product_limit=special.product_limit,
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
        told = f"steps of {step or 'any number of'} products of {a.bits} and {b.bits} bits saturate"
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


def _factor(instruction: Instruction, operand: OperandFormat, special: Special) -> Factor:
    """How a unit reads an operand: from the fields of a float element, from the values of other kinds."""
    flush, is_positive = special.flush in (Flush.INPUTS, Flush.BOTH), special.flushed is Flushed.POSITIVE
    if isinstance(operand, Float64):
        return Factor(FLOAT64_BITS, -1022, 1023, 0.0, False)
    element = operand.element
    if isinstance(element, FloatElement):
        least = math.ldexp(1.0, element.emin) if flush else 0.0
        found = Factor(element.mantissa_bits + 1, element.emin, _emax(element), least, is_positive)
        if found.precision > FLOAT32_BITS or found.emax > FLOAT32_EMAX or found.lowest < FLOAT32_LEAST:
            told = f"{operand.name} has values that float32 does not hold"
            raise UnsupportedError(f"{instruction}: {told}; allowed: those that it does")
        return found
    if operand.bits > FLOAT32_BITS - 8:
        told = f"{operand.name} is of kind {element.kind}, of {operand.bits} bits"
        raise UnsupportedError(f"{instruction}: {told}; allowed: up to 16 bits")
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
