"""Encode policies of scales, offsets and elements of blocks: their formats' policies, except what the block fixes."""

from __future__ import annotations

from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.encode import (
    EncodePolicy,
    InfInput,
    NanInput,
    NegativeInput,
    Overflow,
    Rounding,
    Underflow,
    Via,
    ZeroInput,
)
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Apply, Nonfinite, Quotient, Rule, ScaleLevel


def scale_policy(level: ScaleLevel, format: NumberFormat) -> EncodePolicy:
    """How a level's scales are encoded."""
    if level.rule is Rule.GIVEN:
        return plain_policy(format)
    return _saturating(format, level.rounding, level.underflow)


def plain_policy(format: NumberFormat) -> EncodePolicy:
    """How offsets are encoded, and scales that the caller gives."""
    return _saturating(format, Rounding.NEAREST_EVEN, Underflow.ZERO)


def _saturating(format: NumberFormat, rounding: Rounding, underflow: Underflow) -> EncodePolicy:
    """Values beyond the largest saturate; NaN stays NaN where the format has one."""
    changes = {
        "rounding": rounding,
        "underflow": underflow,
        "overflow": Overflow.SATURATE,
        "inf_input": InfInput.SATURATE,
        "nan_input": NanInput.MAX if format.element.nan_code is None else NanInput.NAN,
        "zero_input": ZeroInput.MIN,
        "negative_input": NegativeInput.CLAMP,
        "flush_inputs": False,
        "via": Via.EXACT,
    }
    return format.encode.model_copy(update=changes)


def element_policy(format: BlockFormat) -> EncodePolicy:
    """How elements are encoded: Inf saturates, and NaN needs no handling where no quotient is NaN."""
    update: dict[str, object] = {"inf_input": InfInput.SATURATE}
    if meets_no_nan(format):
        update["nan_input"] = NanInput.ERROR
    return format.element.encode.model_copy(update=update)


def meets_no_nan(format: BlockFormat) -> bool:
    """Whether no quotient is NaN unless its scale is 0 or NaN: 0 × Inf and Inf / Inf do not arise."""
    anchor = format.anchor
    is_plain = anchor.apply is Apply.DIVIDE and anchor.quotient is Quotient.ROUNDED and format.offset is None
    return is_plain and anchor.nonfinite is Nonfinite.NAN_BLOCK
