"""Block formats -> stages and element plans. Arithmetic: `formats/LANGUAGE.md`, Definitions 20 to 30."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from statqat_sim.plan.block import CODES, ELEMENTS, BlockPlan, Stage
from statqat_sim.plan.block_divisor import is_dead, nearest_integer, quotient, zero_if_nan_scale
from statqat_sim.plan.block_levels import LOWEST_ELEMENT, Levels, Stages, decoded_in, encoded_in, nested_code, stored_as
from statqat_sim.plan.block_policies import element_policy, meets_no_nan, plain_policy
from statqat_sim.plan.block_scale import OuterScales, PlanWriter, canonical, is_nan
from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import FLOAT32, INFINITY, SIGN
from statqat_sim.plan.lower import Encoder, Lowering, code_storage, drawn
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.scale_rules import EXPONENT_OFFSET, power_of_two
from statqat_sim.plan.source import Real
from statqat_sim.spec.block import BlockFormat, Offset, OffsetKind
from statqat_sim.spec.encode import Overflow
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Combine, Quotient, ScaleLevel

OFFSET: Final = "offset word"
"""The minimum that is added to a value, or the zero-point that is subtracted in steps of the scale."""

MINIMUM: Final = "minimum"
"""The value that an offset stores: the lowest element, times the offset's sign."""

CENTRE: Final = "centre"
"""The value subtracted from an element before it is divided."""


@lru_cache(maxsize=256)
def lower_block(format: BlockFormat, lowering: Lowering = Lowering.FASTEST) -> BlockPlan:
    """All plans of a block format; `lowering` says how its elements and scales are rounded."""
    out = Stages(lowering, iter([stored.name for stored in format.stored]))
    outer = Levels(format, ELEMENTS, out).lower()
    scales = len(out.stored)
    if format.offset is not None:
        _add_offset(format, format.offset, outer, out)
    elements = _Elements(format, outer, lowering)
    return BlockPlan(
        stages=tuple(out.stages),
        scales=tuple(out.stored[:scales]),
        offsets=tuple(out.stored[scales:]),
        encode=elements.encode(),
        fake_quantize=elements.fake_quantize(),
        decoding=_decoding(format, str(outer.product), out),
        decode=elements.decode(),
    )


def _add_offset(format: BlockFormat, offset: Offset, outer: OuterScales, out: Stages) -> None:
    """Add the stages that compute and store an offset. Definition 27."""
    block = format.scales[-1].block
    if offset.kind is OffsetKind.ZERO_POINT:
        assert offset.format is not None
        words, name = out.writer(), out.keep(offset.format, block)
        code, point = _zero_point(words, format, offset.format, outer, out.lowering)
        out.add(block, (), (words, {name: code, OFFSET: point}))
        return
    (level,) = offset.scales
    negative = SIGN if offset.sign < 0 else 0
    words = out.writer()
    minimum = (words[LOWEST_ELEMENT] ^ negative).fadd(words.number("zero", 0.0))  # never -0
    if isinstance(level.format, NumberFormat):
        name = out.keep(level.format, block)
        code = encoded_in(words, "code", minimum, level.format, plain_policy(level.format), out.lowering)
        value = decoded_in(words, "value", code, level.format)
    else:
        out.add(block, (), (words, {MINIMUM: minimum}))
        chain = Levels(level.format, MINIMUM, out, block).lower()
        words, name = out.writer(), out.keep(level.format.element, block)
        code, value = nested_code(words, MINIMUM, level.format, chain, out.lowering)
    added = value ^ negative
    centre = words[LOWEST_ELEMENT] if format.anchor.quotient is Quotient.UNROUNDED else added
    out.add(block, (), (words, {name: code, OFFSET: added, CENTRE: centre}))


def _zero_point(
    words: PlanWriter, format: BlockFormat, stored: NumberFormat, outer: OuterScales, lowering: Lowering
) -> tuple[Word, Word]:
    """The code and value of Z = RNE(v_min - low / S), clamped; low / S counts as 0 if S is 0 or NaN.

    A zero-point that is added to integers is v_min minus the one that the lowest element is rounded to.
    """
    low = words[LOWEST_ELEMENT]
    if format.adds_after_rounding:
        steps = nearest_integer(words, quotient(words, low, format, outer))
    else:
        steps = low.fdiv(words[str(outer.product)])
    steps = is_nan(words[str(outer.divisor)]).where(0, steps)
    point = words.number("lowest value", format.element.min).fsub(steps)
    code = encoded_in(words, "code", point, stored, plain_policy(stored), lowering)
    return code, decoded_in(words, "value", code, stored)


@dataclass(frozen=True, slots=True)
class _Elements:
    """The plans of a format's elements; they read the words of the innermost blocks."""

    format: BlockFormat
    outer: OuterScales
    lowering: Lowering

    def encode(self) -> CodecPlan:
        words, format = self._writer(), self.format.element
        scaled = zero_if_nan_scale(words, self._scaled(words), self.format, self.outer)
        dead = is_dead(words, self.format, self.outer)
        code = self._encoder(words).code(Real.of(scaled), Storage.FLOAT32)
        return words.builder.finish(code if dead is None else dead.where(0, code), code_storage(format))

    def fake_quantize(self) -> CodecPlan:
        words = self._writer()
        scaled = self._scaled(words)
        if not self._forgives_nan:
            scaled = zero_if_nan_scale(words, scaled, self.format, self.outer)
        product = words[str(self.outer.product)]
        value = self._encoder(words).round_trip(Real.of(scaled), Storage.FLOAT32)
        return words.builder.finish(self._unscaled(words, value, product), Storage.FLOAT32)

    def decode(self) -> CodecPlan:
        words = self._writer()
        code = words.builder.input(CODES, code_storage(self.format.element))
        product = words[str(self.outer.product)]
        value = decoded_in(words, "element", code, self.format.element)
        return words.builder.finish(self._unscaled(words, value, product), Storage.FLOAT32)

    def _writer(self) -> PlanWriter:
        return PlanWriter(self.lowering.builder())

    @property
    def _forgives_nan(self) -> bool:
        """Whether NaN becomes a value above zero, so that its product with a scale of 0 or NaN is right."""
        format = self.format.element
        return (
            meets_no_nan(self.format)
            and isinstance(format.element, FloatElement | IntElement)
            and format.element.has_zero
            and 0 < FLOAT32.pattern(format.element.highest) < INFINITY
            and format.encode.overflow is Overflow.SATURATE
        )

    def _encoder(self, words: PlanWriter) -> Encoder:
        policy = element_policy(self.format)
        return Encoder(self.format.element.element, policy, self.lowering, drawn(words.builder, policy))

    def _scaled(self, words: PlanWriter) -> Word:
        x, offset = words[ELEMENTS], self.format.offset
        if offset is not None and offset.kind is OffsetKind.MINIMUM:
            x = x.fsub(words[CENTRE])
        scaled = quotient(words, x, self.format, self.outer)
        if self.format.adds_after_rounding:
            scaled = nearest_integer(words, scaled)
        if offset is not None and offset.kind is OffsetKind.ZERO_POINT:
            return scaled.fadd(words[OFFSET])
        return scaled

    def _unscaled(self, words: PlanWriter, value: Word, product: Word) -> Word:
        match self.format.offset:
            case None:
                return value.fmul(product)
            case Offset(kind=OffsetKind.ZERO_POINT):
                return value.fsub(words[OFFSET]).fmul(product)
        return value.fmul(product).fadd(words[OFFSET])


def _decoding(format: BlockFormat, product: str, out: Stages) -> Stage:
    """The stage that maps the stored arrays to the words that elements are decoded with."""
    words, names = out.writer(), iter([stored.name for stored in format.stored])
    results = {product: _product(words, format, names)}
    match format.offset:
        case Offset(kind=OffsetKind.ZERO_POINT, format=NumberFormat() as points):
            results[OFFSET] = _value(words, next(names), points)
        case Offset(scales=(level,), sign=sign):
            value = _level_value(words, level, names)
            results[OFFSET] = value ^ SIGN if sign < 0 else value
    plan = words.builder.finish(tuple(results.values()), Storage.UINT32)
    return Stage(format.scales[-1].block, (), (plan,), tuple(results))


def _product(words: PlanWriter, format: BlockFormat, names: Iterator[str]) -> Word:
    """The product of all scales of a format, outermost first."""
    product: Word | None = None
    for level in format.scales:
        value = _level_value(words, level, names)
        product = value if product is None else canonical(product.fmul(value))
    assert product is not None
    return product


def _level_value(words: PlanWriter, level: ScaleLevel, names: Iterator[str]) -> Word:
    """The scale of one level: a factor, a power of two, or an element of a block format."""
    if isinstance(level.format, BlockFormat):
        inner = _product(words, level.format, names)
        return _value(words, next(names), level.format.element).fmul(inner)
    if level.multiplies:
        return _value(words, next(names), level.format)
    return _shifted(words[next(names)], level)


def _value(words: PlanWriter, name: str, format: NumberFormat) -> Word:
    return decoded_in(words, name, words[name], format)


def _shifted(code: Word, level: ScaleLevel) -> Word:
    """The power of two that an exponent of this level stands for."""
    exponent = code & ((1 << level.format.bits) - 1)
    adds = level.combine is Combine.EXPONENT_ADD
    return power_of_two(exponent + EXPONENT_OFFSET if adds else code.builder.const(EXPONENT_OFFSET) - exponent)


@lru_cache(maxsize=256)
def factors(format: BlockFormat) -> tuple[CodecPlan, ...]:
    """The plan that decodes each array of scales, outermost first: codes -> float32."""
    return tuple(_factors(format))


def _factors(format: BlockFormat) -> Iterator[CodecPlan]:
    for level in format.scales:
        if isinstance(level.format, BlockFormat):
            yield from _factors(level.format)
        words = PlanWriter()
        stored = level.format.element if isinstance(level.format, BlockFormat) else level.format
        code = words.builder.input(CODES, stored_as(stored))
        value = decoded_in(words, "scale", code, stored) if level.multiplies else _shifted(code, level)
        yield words.builder.finish(value, Storage.FLOAT32)
