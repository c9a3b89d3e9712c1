"""The final rounding of matrix instructions, and the codes of their results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from statqat_sim.reference.dot_numbers import Value, floored_exponent, kept, quantum
from statqat_sim.reference.ieee import FLOAT64, Layout
from statqat_sim.spec.accelerator import Float64, Instruction, OperandFormat
from statqat_sim.spec.accelerator_dot import Beyond, Flush, NegativeZero, Special
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.floating import FloatElement


@dataclass(frozen=True, slots=True)
class Rounder:
    """Rounds to a precision as if exponents were unbounded above, then checks for overflow."""

    to: Layout
    stored: Layout
    mode: Rounding
    special: Special

    @classmethod
    def of(cls, instruction: Instruction) -> Rounder:
        stored = _layout(instruction.d)
        to = instruction.to
        narrow = stored if to is None else Layout(to.exponent_bits, to.mantissa_bits)
        return cls(narrow, stored, instruction.mode, instruction.special)

    @property
    def flushes_inputs(self) -> bool:
        return self.special.flush in (Flush.INPUTS, Flush.BOTH)

    @property
    def stored_emin(self) -> int:
        """Exponent of D's smallest normal value."""
        return self.stored.emin

    def flushed_input(self, value: Value) -> Value:
        """An input of a step, with subnormals flushed if the unit flushes inputs."""
        return value.flushed(self.special.flushed) if self.flushes_inputs else value

    def rounded(self, value: Value) -> Value:
        """An exact value rounded to D's format."""
        if value.exact is None:
            return value
        result = self._finite(value.exact) if value.exact else value.exact
        if result is None:
            return Value(None, value.negative)
        below = bool(result) and floored_exponent(result) < self.to.emin
        if below and self.special.flush in (Flush.OUTPUTS, Flush.BOTH):
            result, below = Fraction(0), False
        keeps = {
            NegativeZero.NEVER: False,
            NegativeZero.UNDERFLOW: bool(value.exact),
            NegativeZero.IEEE: True,
        }[self.special.negative_zero]
        negative = value.negative and (bool(result) or keeps)
        return replace(Value.of(result, negative=negative, emin=self.stored.emin), is_subnormal=below)

    def _finite(self, exact: Fraction) -> Fraction | None:
        """The rounded value; None for Inf."""
        to = self.to
        exponent = max(floored_exponent(exact), to.emin)
        result = kept(exact, quantum(exponent - to.mantissa_bits), self.mode)
        largest = (2 - quantum(-to.mantissa_bits)) * quantum(-to.emin + 1)
        if abs(result) <= largest:
            return result
        if self.special.overflow is not Beyond.SATURATE:
            return None
        return largest if exact > 0 else -largest

    def code(self, value: Value) -> int:
        """The code of a value of D's format."""
        if not value.is_nan:
            return self.stored.nearest(value.number)
        return self.stored.nan if self.special.nan is None else self.special.nan


def _layout(operand: OperandFormat) -> Layout:
    if isinstance(operand, Float64):
        return FLOAT64
    assert isinstance(operand.element, FloatElement)
    return Layout(operand.element.exponent_bits, operand.element.mantissa_bits)
