"""Rules between the keys of one level of scales, its format and the element."""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from statqat_sim.spec.base import KeyProblem
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import Encoding, IntElement
from statqat_sim.spec.members import holds, only_powers_of_two, power_range
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import AllZero, Nonfinite, Order, Rule, ScaleLevel, Target, Whole

if TYPE_CHECKING:
    from statqat_sim.spec.block import BlockFormat

MAX_MICRO_EXPONENT_BITS: Final = 7
MAX_MSE_BITS: Final = 8
RULES_OF_NESTED: Final = (Rule.ABSMAX, Rule.SIGNED_ABSMAX, Rule.MINMAX)

USELESS_WITH: Final[Mapping[Rule, frozenset[str]]] = {
    Rule.FLOOR: frozenset({"rounding", "underflow", "quotient", "order", "candidates"}),
    Rule.MSE: frozenset({"quotient"}),
    Rule.MINMAX: frozenset({"target", "order", "candidates"}),
    Rule.GIVEN: frozenset({"target", "rounding", "clamp", "underflow", "all_zero", "quotient", "order", "candidates"}),
    Rule.ABSMAX: frozenset({"candidates"}),
}
"""Keys without effect, by rule; other power-of-two rules are like floor, and signed_absmax is like absmax."""

USELESS_FOR_NESTED: Final = frozenset({"rounding", "clamp", "underflow"})
USELESS_FOR_MICRO_EXPONENTS: Final = frozenset(
    {"rounding", "clamp", "underflow", "nonfinite", "apply", "quotient", "order", "candidates"}
)
OF_ANCHORS: Final = ("apply", "quotient")


def useless_keys(rule: Rule) -> frozenset[str]:
    """Keys without effect under a rule, for a scale that multiplies."""
    alike = Rule.FLOOR if rule.is_power_of_two else Rule.ABSMAX if rule is Rule.SIGNED_ABSMAX else rule
    return USELESS_WITH[alike] | ({"target"} if rule is Rule.RCEIL else frozenset())


@dataclass(frozen=True, slots=True)
class LevelRules:
    """One level, and its place among the others."""

    level: ScaleLevel
    element: NumberFormat
    outer: tuple[ScaleLevel, ...]
    anchor: ScaleLevel

    def problems(self) -> Iterator[KeyProblem]:
        """Impossible combinations of keys."""
        level = self.level
        yield from self._useless_keys()
        if not level.multiplies:
            yield from self._of_micro_exponent()
            return
        if isinstance(level.format, NumberFormat):
            yield from self._of_number(level.format)
        else:
            yield from self._of_nested()
        if level.rule not in (Rule.RCEIL, Rule.MINMAX, Rule.GIVEN):
            yield from self._of_target()
        yield from self._of_order()
        if level is not self.anchor:
            yield from self._of_outer()

    def _useless_keys(self) -> Iterator[KeyProblem]:
        level = self.level
        if not level.multiplies:
            yield from self._refused(USELESS_FOR_MICRO_EXPONENTS, f"combine: {level.combine.value}")
            return
        yield from self._refused(useless_keys(level.rule), f"rule: {level.rule.value}")
        if not isinstance(level.format, NumberFormat):
            yield from self._refused(USELESS_FOR_NESTED, "the scales of a block format")

    def _refused(self, useless: Collection[str], why: str) -> Iterator[KeyProblem]:
        for key in sorted(self.level.model_fields_set & set(useless)):
            yield key, f"it has no meaning with {why}; leave it out"

    # --- the format ------------------------------------------------------------------------------------------------

    def _of_micro_exponent(self) -> Iterator[KeyProblem]:
        level, combine = self.level, self.level.combine.value
        if level.rule is not Rule.FLOOR:
            yield "rule", f"{level.rule.value!r} gives no exponent for combine: {combine}; allowed: floor"
        element = level.format.element if isinstance(level.format, NumberFormat) else None
        if not isinstance(element, IntElement) or not _counts_from_zero(element):
            yield "format", f"combine: {combine} takes exponents; allowed: uint1 to uint{MAX_MICRO_EXPONENT_BITS}"
        if level.all_zero is AllZero.ZERO:
            yield "all_zero", "'zero' is no exponent; allowed: one, min"
        if level.rule is Rule.FLOOR:
            yield from self._of_target()

    def _of_nested(self) -> Iterator[KeyProblem]:
        level = self.level
        if level is not self.anchor:
            yield "format", "only the innermost scale that multiplies may be of a block format"
        if not isinstance(level.block, int):
            yield "block", "scales of a block format lie in a row; allowed: an integer"
        if level.rule not in RULES_OF_NESTED:
            allowed = ", ".join(RULES_OF_NESTED)
            yield "rule", f"{level.rule.value!r} does not go with scales of a block format; allowed: {allowed}"
        if level.all_zero is not AllZero.ZERO:
            yield "all_zero", "a scale of 0 is one of the scales that a block format holds; allowed: zero"
        if not isinstance(level.format, NumberFormat):
            yield from nested_problems(level.format)
        if level.nonfinite is Nonfinite.NAN_BLOCK:
            yield "nonfinite", "'nan_block' needs a scale that is a number with NaN; allowed: saturate"

    def _of_number(self, format: NumberFormat) -> Iterator[KeyProblem]:
        level, element = self.level, format.element
        if element.highest <= 0:
            yield "format", f"{format.name} has no positive value"
        if level.rule.is_power_of_two and power_range(element) is None:
            what = f"{level.rule.value!r} needs a scale format of kind float or int, with powers of two in a row"
            allowed = ", ".join(rule for rule in Rule if not rule.is_power_of_two)
            yield "rule", f"{what}, not {format.name}; allowed: {allowed}"
        if level.may_be_negative and not self._is_exponent and not element.has_negative:
            key = "rule" if level.rule is Rule.SIGNED_ABSMAX else "target"
            yield key, f"the scale may be negative, and {format.name} has no negative value"
        if level.all_zero is AllZero.ZERO and not element.has_zero:
            yield "all_zero", f"'zero' needs a scale format with a zero, not {format.name}; allowed: one, min"
        if level.nonfinite is Nonfinite.NAN_BLOCK and element.nan_code is None and level is self.anchor:
            yield "nonfinite", f"'nan_block' needs a scale format with NaN, not {format.name}; allowed: saturate"
        if level.rounding.is_stochastic:
            allowed = ", ".join(rounding for rounding in Rounding if not rounding.is_stochastic)
            yield "rounding", f"scales are not rounded by random bits; allowed: {allowed}"
        yield from self._of_clamp(format)
        if level.rule is Rule.EVEN and not isinstance(self.element.element, FloatElement | IntElement):
            yield "rule", f"'even' needs an element of kind float or int, not {self.element.element.kind}"
        elif level.rule in (Rule.EVEN, Rule.RCEIL) and self.element.max <= 0:
            what = (
                f"{level.rule.value!r} reads the exponent of the largest element, which is {_plain(self.element.max)}"
            )
            yield "rule", f"{what}; allowed: elements above 0"
        if level.rule is Rule.MSE:
            yield from self._of_mse(format)

    def _of_clamp(self, format: NumberFormat) -> Iterator[KeyProblem]:
        if self.level.clamp is None:
            return
        for index, bound in enumerate(self.level.clamp):
            if not holds(format.element, bound):
                yield f"clamp.{index}", f"{_plain(bound)} is not a value of {format.name}"
        low, high = self.level.clamp
        if low > high:
            yield "clamp", f"{_plain(low)} is above {_plain(high)}; allowed: [low, high]"

    def _of_mse(self, format: NumberFormat) -> Iterator[KeyProblem]:
        level = self.level
        if not isinstance(format.element, FloatElement | IntElement) or format.bits > MAX_MSE_BITS:
            what = f"'mse' needs a scale format of kind float or int, of up to {MAX_MSE_BITS} bits"
            yield "rule", f"{what}, not {format.name}"
        if only_powers_of_two(format.element):
            yield from self._refused({"rounding", "underflow", "order"}, "a scale that is a power of two")
        if level.clamp is not None and level.clamp[1] <= 0:
            yield "clamp", f"up to {_plain(level.clamp[1])} 'mse' has no candidate; allowed: an upper end above 0"
        offsets, targets = level.candidates.offsets, level.candidates.targets
        if "candidates" not in level.model_fields_set:
            return
        if not offsets and not targets:
            yield "candidates", "there is none; allowed: distances between codes, as [0, 1], or {targets: [6, 4]}"
        elif offsets and targets:
            yield "candidates", "either 'offsets' or 'targets', not both"
        elif offsets and 0 not in offsets:
            yield "candidates", "0 is missing, the code of the plain rule itself"
        for target in targets:
            if not target > 0 or not _is_float32(target):
                yield (
                    "candidates",
                    f"{_plain(target)} is no target; allowed: numbers above 0, finite in float32",
                )
        if targets and "target" in level.model_fields_set:
            yield "target", "the first of 'targets' says it already; leave it out"

    # --- the other keys --------------------------------------------------------------------------------------------

    def _of_target(self) -> Iterator[KeyProblem]:
        target, highest = self.level.target, self.element.max
        if isinstance(target, Target):
            if not self.level.candidates.targets and not (highest > 0 and _is_float32(highest)):
                yield "target", f"the largest element, {_plain(highest)}, cannot be one; write a number"
        elif target == 0 or not _is_float32(target):
            yield "target", f"{_plain(target)} is no target; allowed: numbers that are finite in float32, and not 0"
        elif target < 0 and self._is_exponent:
            yield "target", f"{_plain(target)} has no logarithm; allowed: positive numbers, max, emax"

    @property
    def _is_exponent(self) -> bool:
        return self.level.rule.is_power_of_two or self.level.rule is Rule.MSE

    def _of_order(self) -> Iterator[KeyProblem]:
        if "order" not in self.level.model_fields_set:
            return
        factors = [level for level in self.outer if level.multiplies]
        if not factors:
            yield "order", "it is about scales below another one; leave it out"
        elif self.level.order is Order.ENCODE and (len(factors) > 1 or factors[0].rule is not Rule.ABSMAX):
            yield "order", "'encode' needs one outer scale, of rule absmax; allowed: target_first, product"

    def _of_outer(self) -> Iterator[KeyProblem]:
        """Keys that only the innermost multiplying scale may have."""
        for key in OF_ANCHORS:
            said, decided = getattr(self.level, key), getattr(self.anchor, key)
            if key in self.level.model_fields_set and said is not decided:
                why = f"the innermost scale that multiplies says {decided.value!r} for all of them"
                yield key, f"{said.value!r} differs: {why}"
        if self.level.nonfinite is Nonfinite.NAN_BLOCK:
            yield "nonfinite", "only the innermost scale that multiplies is NaN; allowed: saturate"


def nested_problems(format: BlockFormat) -> Iterator[KeyProblem]:
    """Problems of a block format whose elements are scales, below the key `format`."""
    if format.offset:
        yield "format.offset", "the scales of scales have no offset"
    for index, level in enumerate(format.scales):
        if not isinstance(level.block, int) and level.block is not Whole.CHANNEL:
            yield f"format.scales.{index}.block", "blocks of scales lie in a row; allowed: an integer, channel"
        if not isinstance(level.format, NumberFormat):
            yield f"format.scales.{index}.format", "the scales of scales may not be of a block format themselves"
        if level.rule is Rule.GIVEN:
            yield f"format.scales.{index}.rule", "the caller gives no scales of scales"


def _counts_from_zero(element: IntElement) -> bool:
    plain = element.encoding is Encoding.UNSIGNED and (element.min, element.max) == (None, None)
    return plain and element.fraction_bits == 0 and element.bits <= MAX_MICRO_EXPONENT_BITS


def _plain(value: float) -> str:
    """A number as a user would write it: integers without a decimal point."""
    return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else repr(value)


def _is_float32(value: float) -> bool:
    """Whether a value rounds to a finite, nonzero float32."""
    try:
        rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return False
    return math.isfinite(rounded) and rounded != 0
