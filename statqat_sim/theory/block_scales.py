"""The scale of a block as a function of its largest magnitude, from the exact oracle over one octave.

The supported rules commute with doubling as long as no scale is at an end of its format, so that one octave of amax
determines all.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.blocks_rules import Outside, raw_scale
from statqat_sim.reference.blocks_scale import scale_code, scale_value
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Quotient, Rule, ScaleLevel, Whole, block_size

STEPS = 2048
"""Samples per octave: a step of the scale is misplaced by at most half a sample."""
OUTER = Fraction(1, 64)
"""The scale of the tensor; it puts blocks with amax in [1, 2] in the middle of an 8-bit float's normal range."""
RULES = (Rule.ABSMAX, Rule.FLOOR, Rule.CEIL, Rule.RCEIL, Rule.EVEN)


@dataclass(frozen=True, slots=True, eq=False)
class BlockScales:
    """The scales of blocks.

    Args:
        size: the elements of a block.
        octave: the scale for amax = 2^((i + ½) / STEPS), shape `(STEPS,)`.
        has_tensor_scale: whether there is a scale of the tensor, which multiplies amax by an arbitrary factor.
    """

    size: int
    octave: Floats
    has_tensor_scale: bool

    def scale(self, amax: Floats) -> Floats:
        """The scales of blocks with these largest magnitudes; amax > 0."""
        exponent = np.floor(np.log2(amax))
        step = np.floor((np.log2(amax) - exponent) * STEPS).astype(np.int64)
        return np.asarray(np.ldexp(self.octave[np.clip(step, 0, STEPS - 1)], exponent.astype(np.int64)))


@lru_cache(maxsize=64)
def block_scales(format: BlockFormat) -> BlockScales:
    """The scales of a block format with one level, or with two of which the outer one is the tensor's.

    Raises:
        UnsupportedError: for other formats; the message names the reason.
    """
    level, size = format.scales[-1], block_size(format.scales[-1].block)
    reason = _refused(format) or ("blocks as long as the array" if size is None else None)
    if reason or size is None:
        rules = ", ".join(rule.value for rule in RULES)
        allowed = f"one scale by rule {rules}, or such a scale below that of a tensor or channel"
        raise UnsupportedError(f"{format.name}: expected error of {reason}; allowed: {allowed}")
    has_tensor_scale = len(format.scales) == 2
    outer, outside = (OUTER, _outside(format)) if has_tensor_scale else (Fraction(1), Outside())
    amax = (2 ** ((np.arange(STEPS) + 0.5) / STEPS)).tolist()
    scales = [float(outer * _scale(level, format.element, Fraction(x), outside)) for x in amax]
    return BlockScales(size, np.array(scales), has_tensor_scale)


def _outside(format: BlockFormat) -> Outside:
    """The outer level of a tensor whose largest magnitude gives it the scale OUTER."""
    target = format.scales[0].target
    number = Fraction(target) if isinstance(target, int | float) else Fraction(format.element.max)
    return Outside((OUTER,), number, number * OUTER)


def _scale(level: ScaleLevel, element: NumberFormat, amax: Fraction, outside: Outside) -> Fraction:
    """The value of the scale that the level stores for a block of this amax."""
    own = scale_value(level, scale_code(level, raw_scale(level, element, [amax], outside)))
    if not isinstance(own, Fraction):
        raise UnsupportedError(f"a block of largest magnitude {float(amax)} has no finite scale")
    return own


def _refused(format: BlockFormat) -> str | None:
    """The property of a format that this theory does not support; None if it supports the format."""
    *outer, level = format.scales
    if format.offset:
        return "offsets"
    if len(outer) > 1 or any(not isinstance(each.block, Whole) or each.rule is not Rule.ABSMAX for each in outer):
        return f"{len(format.scales)} levels of scales"
    if not level.multiplies or not isinstance(level.format, NumberFormat):
        return "nested scales or shared exponents"
    if level.rule not in RULES:
        return f"rule {level.rule.value}"
    if level.quotient is not Quotient.ROUNDED:
        return f"quotient: {level.quotient.value}"
    return None
