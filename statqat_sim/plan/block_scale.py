"""One level of scales as words: from a block's statistics to the value to encode, and to the elements' divisor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from statqat_sim.plan.block import ELEMENTS, GIVEN
from statqat_sim.plan.block_statistics import (
    AMAX,
    HIGHEST,
    LOWEST,
    PEAK,
    extreme_value,
    ordered,
    peak_value,
    unordered,
)
from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.layout import FLOAT32, INFINITY, MAGNITUDE, QUIET_NAN, SIGN
from statqat_sim.plan.program import Storage
from statqat_sim.plan.scale_rules import EXPONENT_OFFSET, power_of_two_range, power_of_two_rule, target_value
from statqat_sim.spec.block import BlockFormat, OffsetKind
from statqat_sim.spec.encode import Underflow
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import AllZero, Nonfinite, Order, Rule, ScaleLevel


@dataclass(frozen=True, slots=True)
class PlanWriter:
    """Writes one plan; its input streams are declared by name when first read."""

    builder: Builder = field(default_factory=Builder)
    _words: dict[str, Word] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Word:
        if name not in self._words:
            storage = Storage.FLOAT32 if name == ELEMENTS else Storage.UINT32
            self._words[name] = self.builder.input(name, storage)
        return self._words[name]

    def number(self, name: str, value: float) -> Word:
        """A number of the format, rounded once to float32."""
        return self.builder.param(name, FLOAT32.pattern(value))


@dataclass(frozen=True, slots=True)
class OuterScales:
    """Names of the results of the levels lowered so far."""

    product: str | None = None
    """The product of all their scales; None if there is no outer level."""

    divisor: str | None = None
    """The word that elements would be divided by or multiplied with."""

    level: ScaleLevel | None = None
    amax: str | None = None
    """The name of the innermost level's amax statistic."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate for a level's scale; `rule: mse` has several, other rules one."""

    level: ScaleLevel
    """The level, with `rule: mse` replaced by its plain rule."""

    steps: int | None = None
    """Distance in codes from the plain scale; None without a choice."""


def choices(level: ScaleLevel) -> Iterator[Choice]:
    """The candidates: the plain scale first, then by code, as the first among equals is chosen."""
    if level.rule is not Rule.MSE:
        yield Choice(level)
        return
    plain = level.model_copy(update={"rule": Rule.FLOOR if level.is_power_of_two else Rule.ABSMAX})
    if level.candidates.targets:
        first, *others = level.candidates.targets
        for target in (first, *sorted(set(others) - {first}, reverse=True)):
            yield Choice(plain.model_copy(update={"target": target}))
        return
    for steps in (0, *sorted(set(level.candidates.offsets) - {0})):
        yield Choice(plain, steps)


@dataclass(frozen=True, slots=True)
class ScaleRule:
    """Computes the scale of a block by the rule of one level, in the words of one plan."""

    words: PlanWriter
    level: ScaleLevel
    """The level, with `rule: mse` replaced by its plain rule."""

    format: BlockFormat
    outer: OuterScales

    def raw(self) -> Word:
        """The scale as float32, before encoding."""
        return self.words[GIVEN] if self.level.rule is Rule.GIVEN else self._unless_flat(self._by_rule())

    def _by_rule(self) -> Word:
        """The scale by the level's rule. Definitions 21, 22, 27."""
        words = self.words
        match self.level.rule:
            case Rule.MINMAX:
                element = self.format.element
                span = words.number("highest", element.max).fsub(words.number("lowest", element.min))
                return self._within(self._extent().fdiv(span))
            case Rule.ABSMAX:
                return self._absmax(words[AMAX])
            case Rule.SIGNED_ABSMAX:
                return self._absmax(peak_value(words[AMAX], words[PEAK]))
        return self._power_of_two()

    def _absmax(self, amax: Word) -> Word:
        words, outer = self.words, self.outer
        target = words.number("target", target_value(self.level, self.format.element))
        if outer.product is None or outer.level is None or self.level.order is Order.TARGET_FIRST:
            return self._within(amax.fdiv(target))
        if self.level.order is Order.PRODUCT:
            return amax.fdiv(target.fmul(words[outer.product]))
        outer_target = words.number("outer target", target_value(outer.level, self.format.element))
        gain = outer_target.fdiv(words[str(outer.amax)])
        return amax.fmul(gain.fmul(words.number("one", 1.0).fdiv(target)))

    def _power_of_two(self) -> Word:
        format = self.level.format
        assert isinstance(format, NumberFormat)
        amax = self._within(self.words[AMAX])
        if self.outer.product is not None:  # which may be negative
            amax = amax & MAGNITUDE
        power = power_of_two_rule(amax, self.level, format, self.format.element)
        if self.outer.product is None:
            return power
        least, most = power_of_two_range(format)
        power = amax.where(power, self.words.number("least", 2.0**least))
        return amax.eq(INFINITY).where(self.words.number("most", 2.0**most), power)

    def _within(self, word: Word) -> Word:
        """The word divided by the product of the outer scales."""
        return word if self.outer.product is None else word.fdiv(self.words[self.outer.product])

    def extremes(self) -> tuple[Word, Word]:
        """The lowest and highest finite element of a block; 0 is between them where the offset needs it."""
        low = extreme_value(self.words[LOWEST], inverse=True)
        high = extreme_value(self.words[HIGHEST], inverse=False)
        offset = self.format.offset
        is_zero_point = offset is not None and offset.kind is OffsetKind.ZERO_POINT
        if is_zero_point or (offset is not None and offset.sign < 0):
            low = low.lt(SIGN).where(0, low)
        return low, high.lt(SIGN).where(high, 0) if is_zero_point else high

    def _extent(self) -> Word:
        low, high = self.extremes()
        return high.fsub(low)

    def encodable(self) -> Word:
        """The value to encode: the raw scale within `clamp`, or the fixed scale of blocks of zeros, NaN or Inf."""
        level = self.level
        if level.rule is Rule.GIVEN:
            return self.marked(self.raw())
        value = self._by_rule()
        if self.outer.product is not None:
            value = canonical(value)
        if self._may_vanish:
            value = (value & MAGNITUDE).max(1) | (value & SIGN)
        if level.clamp is not None:
            value = _clamped(self.words, value, *level.clamp)
        return self.marked(self._unless_flat(value))

    def _unless_flat(self, value: Word) -> Word:
        """`value`, or the scale of a block of zeros if the block is flat."""
        level = self.level
        if self._vanishes_with_amax and level.all_zero is AllZero.ZERO:
            return value
        least = (level.format.element if isinstance(level.format, BlockFormat) else level.format).smallest
        least = max(least, 2.0**-EXPONENT_OFFSET)  # float32 has nothing between this and 0
        of_zeros = {AllZero.ONE: 1.0, AllZero.MIN: least, AllZero.ZERO: 0.0}[level.all_zero]
        return self._is_flat().where(self.words.number("of zeros", of_zeros), value)

    @property
    def _vanishes_with_amax(self) -> bool:
        """Whether the rule itself gives +0 for a block of zeros."""
        level = self.level
        element = self.format.element
        if level.rule is Rule.MINMAX:
            low, high = FLOAT32.pattern(element.min), FLOAT32.pattern(element.max)
            divides = low != high and (low | high) & MAGNITUDE != 0  # by more than 0
        else:
            divides = level.rule is Rule.ABSMAX and target_value(level, element) > 0
        return divides and level.clamp is None and self.outer.product is None and not self._may_vanish

    @property
    def _may_vanish(self) -> bool:
        """Whether the quotient may underflow to 0 in float32 although the scale must not be 0."""
        level = self.level
        if level.rule.is_power_of_two or isinstance(level.format, BlockFormat):
            return False
        return level.underflow is Underflow.MIN and level.format.element.has_zero

    @property
    def is_exact(self) -> bool:
        """Whether the value to encode is always a value of the level's format: a power of two that it has."""
        if not self.level.rule.is_power_of_two or isinstance(self.level.format, BlockFormat):
            return False
        least, most = power_of_two_range(self.level.format)
        return self.level.clamp is None and (self.level.all_zero is not AllZero.ONE or least <= 0 <= most)

    def marked(self, word: Word) -> Word:
        """The word, or NaN for a block that contains NaN or Inf under `nonfinite: nan_block`."""
        if self.level.nonfinite is not Nonfinite.NAN_BLOCK:
            return word
        return self.words[AMAX].lt(INFINITY).where(word, QUIET_NAN)

    def is_special(self) -> Word:
        """Whether a block's scale does not come from its rule: a flat block, or NaN under `nonfinite: nan_block`."""
        flat = self._is_flat()
        if self.level.nonfinite is not Nonfinite.NAN_BLOCK:
            return flat
        return flat | self.words.builder.const(INFINITY - 1).lt(self.words[AMAX])

    def _is_flat(self) -> Word:
        """Whether a block has no extent: its elements are zeros, or under minmax all the same."""
        if self.level.rule is Rule.MINMAX:
            return (self._extent() & MAGNITUDE).eq(0)
        return self.words[AMAX].eq(0)


def canonical(word: Word) -> Word:
    """A float32 with every NaN replaced by the same quiet NaN, so that all processors agree."""
    return is_nan(word).where(QUIET_NAN, word)


def is_nan(word: Word) -> Word:
    """Whether a float32 is NaN."""
    return word.builder.const(INFINITY).lt(word & MAGNITUDE)


def _clamped(words: PlanWriter, value: Word, low: float, high: float) -> Word:
    """The value within the bounds, as float32; NaN becomes the upper one. Definition 22."""
    lowest, highest = words.number("clamp to", low), words.number("clamp from", high)
    if low >= 0:
        return value.lt(SIGN).where(value, 0).max(lowest).min(highest)
    return unordered(ordered(value).max(ordered(lowest)).min(ordered(highest)))
