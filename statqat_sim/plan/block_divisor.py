"""The word that elements are divided by or multiplied with, one for each block. Definition 25.

S = fl(fl(s_1 × s_2) × ...) is the product of the scales, outermost first; r is the anchor's scale before encoding.
`apply` and `quotient` are the anchor's; only the last level's word is used on elements.

| apply               | quotient  | the word                        | an element becomes |
|---------------------|-----------|---------------------------------|--------------------|
| divide              | rounded   | S                               | fl(x / word)       |
| divide              | unrounded | S, r in place of the anchor's s | fl(x / word)       |
| multiply_reciprocal | rounded   | fl(fl(1 / s_1) / s_2) ...       | fl(x × word)       |
| multiply_reciprocal | unrounded | the same, r in place of that s  | fl(x × word)       |

If the only scale is always a power of two with an exact reciprocal, elements are multiplied with that instead: the bits
are the same, and a product is faster. For blocks whose elements are not scaled, the last level's word is NaN:

| S                                                                      | the word  | codes      |
|------------------------------------------------------------------------|-----------|------------|
| NaN                                                                    | S         | 0          |
| 0, rounded                                                             | `OF_ZERO` | those of 0 |
| any other, unrounded: r is 0, or the word comes out NaN, or 0 (divide) | `OF_ZERO` | those of 0 |
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from operator import mul
from typing import Final

from statqat_sim.plan.block_scale import OuterScales, PlanWriter, is_nan
from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import FLOAT32, MAGNITUDE, MANTISSA_BITS, QUIET_NAN, SIGN
from statqat_sim.plan.scale_rules import EXPONENT_OFFSET, exponent_of
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Apply, Combine, Quotient, ScaleLevel

SMALLEST: Final = Fraction(1, 2**EXPONENT_OFFSET)
"""The smallest magnitude of float32 above zero."""

OF_ZERO: Final = QUIET_NAN | 1
"""The word of a scale of 0: its elements get the codes of 0. Those of any other NaN get code 0."""


def quotient(words: PlanWriter, x: Word, format: BlockFormat, outer: OuterScales) -> Word:
    """An element divided by its scale; NaN where that is 0 or NaN."""
    divisor = words[str(outer.divisor)]
    return x.fmul(divisor) if multiplies(format) else x.fdiv(divisor)


def nearest_integer(words: PlanWriter, x: Word) -> Word:
    """A float32 rounded to an integer, to nearest even, with its sign; NaN and Inf stay."""
    magnitude, magic = x & MAGNITUDE, words.number("least without fraction", 2.0**MANTISSA_BITS)
    return magnitude.lt(magic).where(magnitude.fadd(magic).fsub(magic) | (x & SIGN), x)


def zero_if_nan_scale(words: PlanWriter, word: Word, format: BlockFormat, outer: OuterScales) -> Word:
    """The word, or 0 where the block's scale is 0 or NaN."""
    return word if always_scales(format) else is_nan(words[str(outer.divisor)]).where(0, word)


def is_dead(words: PlanWriter, format: BlockFormat, outer: OuterScales) -> Word | None:
    """Whether an element's code is 0 for any input; None if never, or if code 0 is that of the value 0 anyway."""
    element = format.element.element
    if always_scales(format) or (element.has_zero and element.zero_code == 0):
        return None
    divisor = words[str(outer.divisor)]
    return divisor.eq(OF_ZERO).where(0, is_nan(divisor))


def always_scales(format: BlockFormat) -> bool:
    """Whether the word is never NaN: S is never 0 or NaN, and is the word, or its reciprocal."""
    anchor = format.anchor
    if anchor.apply is not Apply.DIVIDE or anchor.quotient is not Quotient.ROUNDED or not _is_never_zero(format):
        return False
    return all(isinstance(each.format, NumberFormat) and each.format.element.nan_code is None for each in format.scales)


def _is_never_zero(format: BlockFormat) -> bool:
    """Whether S is never 0: no scale is, and no product of the first scales underflows."""
    smallest = [_smallest(level) for level in format.scales]
    return all(each >= SMALLEST for each in (*smallest, *accumulate(smallest, mul)))


def _smallest(level: ScaleLevel) -> Fraction:
    """The smallest magnitude that a level multiplies with; 0 if it may be 0, or is not known."""
    if not level.multiplies:
        assert isinstance(level.format, NumberFormat)
        return Fraction(1, 1 if level.combine is Combine.EXPONENT_ADD else 2 ** (2**level.format.bits - 1))
    element = level.format.element if isinstance(level.format, NumberFormat) else None
    if not isinstance(element, FloatElement) or element.has_zero:
        return Fraction(0)
    return Fraction(element.smallest)


def multiplies(format: BlockFormat) -> bool:
    """Whether elements are multiplied with a reciprocal: the format says so, or it is exact and gives the same bits."""
    return format.anchor.apply is Apply.MULTIPLY_RECIPROCAL or _has_exact_reciprocal(format)


def _has_exact_reciprocal(format: BlockFormat) -> bool:
    """Whether the scale is a power of two whose reciprocal is a float32."""
    level = format.scales[0]
    if len(format.scales) > 1 or not level.is_power_of_two or level.quotient is Quotient.UNROUNDED:
        return False
    assert isinstance(level.format, NumberFormat)
    return exponent_of(level.format.smallest) >= -FLOAT32.bias and exponent_of(level.format.max) <= FLOAT32.bias


@dataclass(frozen=True, slots=True)
class Divisor:
    """The word of a level, computed from the words of the plan of its scale."""

    words: PlanWriter
    format: BlockFormat
    level: ScaleLevel
    outer: OuterScales

    def word(self, scale: Word, raw: Word, product: Word) -> Word:
        """The word of all scales so far; `raw`: this level's scale before encoding; `product`: S."""
        is_raw = self.level is self.format.anchor and self.level.quotient is Quotient.UNROUNDED
        word = self._joined(raw if is_raw else scale, product)
        return self._marked(word, product) if self.level is self.format.scales[-1] else word

    def _joined(self, used: Word, product: Word) -> Word:
        """The first table; the mark of a zero scale, which has no reciprocal, survives all inner levels."""
        anchor, outside = self.format.anchor, self.outer.divisor
        if anchor.apply is Apply.MULTIPLY_RECIPROCAL:
            before = self.words.number("one", 1.0) if outside is None else self.words[outside]
            reciprocal = _unless_zero(used, before.fdiv(used))
            return reciprocal if outside is None else is_nan(before).where(before, reciprocal)
        if anchor.quotient is Quotient.ROUNDED:
            return product
        return used if outside is None else self.words[outside].fmul(used)

    def _marked(self, word: Word, product: Word) -> Word:
        """The second table."""
        anchor = self.format.anchor
        if anchor.quotient is Quotient.UNROUNDED:
            sound = word if anchor.apply is Apply.MULTIPLY_RECIPROCAL else _unless_zero(word, word)
            return is_nan(product).where(product, is_nan(word).where(OF_ZERO, sound))
        if anchor.apply is Apply.MULTIPLY_RECIPROCAL:
            return is_nan(product).where(product, _unless_zero(product, word))
        word = self.words.number("one", 1.0).fdiv(product) if multiplies(self.format) else word
        return word if _is_never_zero(self.format) else _unless_zero(product, word)


def _unless_zero(scale: Word, word: Word) -> Word:
    """The word, or `OF_ZERO` where the scale is 0."""
    return (scale & MAGNITUDE).where(word, OF_ZERO)
