"""Rules between the levels of a block format, and between levels and offset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from statqat_sim.spec.base import KeyProblem
from statqat_sim.spec.block import AddedWhen, Offset, OffsetKind
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.level_rules import LevelRules, nested_problems
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Block, Rule, ScaleLevel, Whole

MAX_LEVELS: Final = 4
MAX_ZERO_POINT_BITS: Final = 24
"""Integers of up to this many bits are exact in float32."""


def resolved(element: NumberFormat, levels: Sequence[ScaleLevel]) -> tuple[ScaleLevel, ...]:
    """The levels with defaults that depend on formats filled in."""
    anchor = anchor_of(levels)
    return tuple(level.resolved(element, is_anchor=level is anchor) for level in levels)


def anchor_of(levels: Sequence[ScaleLevel]) -> ScaleLevel | None:
    """The innermost level that multiplies."""
    return next((level for level in reversed(levels) if level.multiplies), None)


def scale_problems(element: NumberFormat, levels: Sequence[ScaleLevel], *, has_offset: bool) -> Iterator[KeyProblem]:
    """Impossible combinations of keys, below `scales`."""
    if not 1 <= len(levels) <= MAX_LEVELS:
        yield "", f"{len(levels)} levels of scales; allowed: 1 to {MAX_LEVELS}"
        return
    anchor = anchor_of(levels)
    if anchor is None or not levels[0].multiplies:
        yield "0.combine", f"{levels[0].combine.value!r} needs an outer scale; allowed for the outermost: multiply"
        return
    for index, level in enumerate(levels):
        rules = LevelRules(level, element, tuple(levels[:index]), anchor)
        yield from ((f"{index}.{key}", message) for key, message in rules.problems())
    yield from _combination_problems(levels)
    yield from _block_problems(levels)
    yield from _rule_problems(levels, has_offset=has_offset)


def _combination_problems(levels: Sequence[ScaleLevel]) -> Iterator[KeyProblem]:
    for index, (outer, inner) in enumerate(pairwise(levels), 1):
        if inner.multiplies and not outer.multiplies:
            yield f"{index}.combine", f"'multiply' inside of {outer.combine.value!r}; scales that multiply come first"


def _block_problems(levels: Sequence[ScaleLevel]) -> Iterator[KeyProblem]:
    for index, (outer, inner) in enumerate(pairwise(levels), 1):
        if why := _not_inside(inner.block, outer.block):
            yield f"{index}.block", why


def _not_inside(inner: Block, outer: Block) -> str | None:
    """Why inner blocks do not divide the outer ones; None if they do."""
    shown = f"{_shown(inner)} does not divide the block outside of it, {_shown(outer)}"
    match inner, outer:
        case _, Whole.TENSOR:
            return None
        case (int() | Whole.CHANNEL, Whole.CHANNEL):
            return None
        case (int(), int()):
            return None if outer % inner == 0 else f"{shown}; levels are listed outermost first"
        case ((rows, columns), (outer_rows, outer_columns)):
            inside = outer_rows % rows == 0 and outer_columns % columns == 0
            return None if inside else f"{shown}; levels are listed outermost first"
        case ((_, _), _) | (_, (_, _)):
            return f"{_shown(inner)} inside of {_shown(outer)}: blocks of one axis and of two do not mix"
    return f"{_shown(inner)} is larger than the block outside of it, {_shown(outer)}; levels are listed outermost first"


def _shown(block: Block) -> str:
    return block.value if isinstance(block, Whole) else str(list(block) if isinstance(block, tuple) else block)


def _rule_problems(levels: Sequence[ScaleLevel], *, has_offset: bool) -> Iterator[KeyProblem]:
    given = [index for index, level in enumerate(levels) if level.rule is Rule.GIVEN and level.multiplies]
    for index in given[1:]:
        yield f"{index}.rule", "'given' a second time; the caller gives one scale"
    for index, level in enumerate(levels):
        is_last = index == len(levels) - 1
        if level.rule is Rule.MINMAX and not has_offset:
            yield f"{index}.rule", "'minmax' needs an 'offset'"
        elif level.rule is Rule.MINMAX and len(levels) > 1:
            yield f"{index}.rule", "'minmax' needs to be the only level; its format may be a block format"
        if level.rule is Rule.MSE and not is_last and level.multiplies:
            yield f"{index}.rule", "only the innermost scale may be found by 'mse'"
        if has_offset and is_last and level.rule is not Rule.MINMAX:
            yield f"{index}.rule", f"an 'offset' needs rule minmax, not {level.rule.value!r}"


# --- offset ----------------------------------------------------------------------------------------------------


def offset_problems(element: NumberFormat, offset: Offset, levels: Sequence[ScaleLevel]) -> Iterator[KeyProblem]:
    """Impossible combinations of keys, below `offset`."""
    if offset.kind is OffsetKind.MINIMUM:
        yield from _minimum_problems(offset, levels)
    else:
        yield from _zero_point_problems(offset)
    if offset.added is AddedWhen.AFTER_ROUNDING:
        yield from _added_problems(element)


def _minimum_problems(offset: Offset, levels: Sequence[ScaleLevel]) -> Iterator[KeyProblem]:
    if offset.format is not None:
        yield "format", "kind: minimum has 'scales'; only zero_point has a 'format'"
    if "added" in offset.model_fields_set:
        yield "added", "only kind: zero_point is added before or after rounding"
    if offset.sign == 0:
        yield "sign", "expected 1 or -1, got 0"
    if len(offset.scales) != 1:
        yield "scales", f"{len(offset.scales)} levels; allowed: 1, whose format may be a block format"
        return
    level = offset.scales[0]
    if levels and level.block != levels[-1].block:
        yield (
            "scales.0.block",
            f"{_shown(level.block)} differs from the block of the scales, {_shown(levels[-1].block)}",
        )
    for key in sorted(level.model_fields_set - {"format", "block"}):
        yield f"scales.0.{key}", "a minimum has no use for it; allowed: format, block"
    if isinstance(level.format, NumberFormat):
        element = level.format.element
    else:
        element = level.format.element.element
        yield from ((f"scales.0.{key}", message) for key, message in nested_problems(level.format))
    if offset.sign == 1 and not element.has_negative:
        yield "sign", f"1 needs a format with negative values, not {level.format.name}; allowed: -1"


def _zero_point_problems(offset: Offset) -> Iterator[KeyProblem]:
    if offset.scales:
        yield "scales", "kind: zero_point has a 'format'; only minimum has 'scales'"
    if "sign" in offset.model_fields_set:
        yield "sign", "only kind: minimum has a sign"
    element = offset.format.element if offset.format else None
    if element is None:
        yield "", "required key 'format' is missing"
    elif not isinstance(element, IntElement) or element.fraction_bits or element.bits > MAX_ZERO_POINT_BITS:
        what = f"a zero-point is an integer of up to {MAX_ZERO_POINT_BITS} bits, without fraction"
        yield "format", f"{what}; allowed: a format of kind int"


def _added_problems(element: NumberFormat) -> Iterator[KeyProblem]:
    if not isinstance(element.element, IntElement) or element.element.fraction_bits:
        yield "added", "'after_rounding' needs elements that are integers; allowed: kind int without fraction_bits"
    elif element.encode.rounding is not Rounding.NEAREST_EVEN:
        told = f"'after_rounding' rounds to nearest even, not {element.encode.rounding.value!r}"
        yield "added", f"{told}; allowed: encode without 'rounding'"
