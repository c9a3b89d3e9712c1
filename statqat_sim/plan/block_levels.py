"""The levels of scales as stages: from statistics to codes, and to the words that elements are divided by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from statqat_sim.errors import UnsupportedError
from statqat_sim.plan.block import Stage, Statistic, Stored
from statqat_sim.plan.block_divisor import Divisor, is_dead, quotient, zero_if_nan_scale
from statqat_sim.plan.block_policies import element_policy, scale_policy
from statqat_sim.plan.block_scale import OuterScales, PlanWriter, ScaleRule, canonical, choices, is_nan
from statqat_sim.plan.block_statistics import AMAX, amax, highest, lowest, peak
from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import FLOAT32, MANTISSA_BITS
from statqat_sim.plan.lower import FLOAT32_ELEMENT, Encoder, Lowering, code_storage, decoded
from statqat_sim.plan.program import Storage
from statqat_sim.plan.scale_rules import EXPONENT_OFFSET, exponent_step, power_of_two
from statqat_sim.plan.source import Real
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.encode import Element, EncodePolicy
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import AllZero, Block, Combine, Nonfinite, Order, Rule, ScaleLevel, times

FLOAT16_ELEMENT: Final = FLOAT32_ELEMENT.model_copy(update={"exponent_bits": 5, "mantissa_bits": 10, "bias": 15})

CODE_LIMIT: Final = 256
"""Larger than every code of a scale under `rule: mse`; added so that differences stay positive."""

LOWEST_ELEMENT: Final = "lowest element"
HIGHEST_ELEMENT: Final = "highest element"
FLOAT_SCALE_STORAGE: Final[Mapping[Element, Storage]] = {
    FLOAT32_ELEMENT: Storage.FLOAT32,
    FLOAT16_ELEMENT: Storage.FLOAT16,
}
"""Scales of these elements are stored as floats, not as codes."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages lowered so far."""

    lowering: Lowering
    names: Iterator[str]
    """The names of the stored arrays, in order."""

    stages: list[Stage] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)

    def keep(self, format: NumberFormat, block: Block) -> str:
        """Register the next stored array; returns its name."""
        name = next(self.names)
        self.stored.append(Stored(name, stored_as(format), block))
        return name

    def writer(self) -> PlanWriter:
        """For another plan."""
        return PlanWriter(self.lowering.builder())

    def add(
        self, block: Block, statistics: Iterable[Statistic], *candidates: tuple[PlanWriter, dict[str, Word]]
    ) -> None:
        """Add a stage with these results; several candidates have the same result names."""
        plans = tuple(words.builder.finish(tuple(results.values()), Storage.UINT32) for words, results in candidates)
        self.stages.append(Stage(block, tuple(statistics), plans, tuple(candidates[0][1])))


def stored_as(format: NumberFormat) -> Storage:
    """The storage of a scale: an unsigned integer for codes, or a float type."""
    return FLOAT_SCALE_STORAGE.get(format.element) or code_storage(format)


@dataclass(frozen=True, slots=True)
class Levels:
    """Lowers the scales of a format; its elements are `x`, or scales that are themselves quantized in blocks."""

    format: BlockFormat
    of: str
    out: Stages
    unit: Block = 1
    """The block of the whole format's elements that each element here stands for."""

    def lower(self) -> OuterScales:
        """All levels, outermost first."""
        outer = OuterScales()
        for level in self.format.scales:
            if not level.multiplies:
                outer = self._exponent(level, outer)
            elif isinstance(level.format, NumberFormat):
                outer = self._number(level, level.format, outer)
            else:
                outer = self._nested(level, level.format, outer)
        return outer

    def _number(self, level: ScaleLevel, format: NumberFormat, outer: OuterScales) -> OuterScales:
        """A scale with a code of its own."""
        block = times(level.block, self.unit)
        name = self.out.keep(format, block)
        candidates = []
        for choice in choices(level):
            rule = ScaleRule(self.out.writer(), choice.level, self.format, outer)
            raw = rule.raw()
            value = rule.encodable()
            code = self._code(rule, value, format, choice.steps)
            scale = value if choice.steps is None and rule.is_exact else decoded_in(rule.words, "value", code, format)
            inner, results = self._applied(rule.words, level, outer, scale, rule.marked(raw), name)
            candidates.append((rule.words, {name: code} | results | self._read_later(rule, name)))
        self.out.add(block, statistics(level, self.of), *candidates)
        return inner

    def _code(self, rule: ScaleRule, value: Word, format: NumberFormat, steps: int | None) -> Word:
        """The code of a scale, or the code `steps` away from it for a candidate."""
        if rule.is_exact and steps is None and _codes_are_exponents(format.element):
            return value >> MANTISSA_BITS
        code = self._encoded(rule, "code", value, format)
        if steps is None:
            return code
        least, most = self._bounds(rule, format)
        lifted = code + rule.words.builder.param("steps", CODE_LIMIT + steps)  # one shape for all candidates
        moved = lifted.max(least + CODE_LIMIT).min(most + CODE_LIMIT) - CODE_LIMIT
        return rule.is_special().where(code, moved)

    def _bounds(self, rule: ScaleRule, format: NumberFormat) -> tuple[Word, Word]:
        """The smallest and the largest allowed code of a scale."""
        words, clamp = rule.words, rule.level.clamp
        if clamp is None:
            least, most = positive_codes(format.element)
            return words.builder.param("least code", least), words.builder.param("most code", most)
        low, high = (max(bound, format.smallest) for bound in clamp)
        least_code = self._encoded(rule, "least code", words.number("least scale", low), format)
        return least_code, self._encoded(rule, "most code", words.number("most scale", high), format)

    def _encoded(self, rule: ScaleRule, scope: str, value: Word, format: NumberFormat) -> Word:
        return encoded_in(rule.words, scope, value, format, scale_policy(rule.level, format), self.out.lowering)

    def _read_later(self, rule: ScaleRule, name: str) -> dict[str, Word]:
        """The statistics that later stages read, passed on as results."""
        if rule.level.rule is Rule.MINMAX:
            return dict(zip((LOWEST_ELEMENT, HIGHEST_ELEMENT), rule.extremes(), strict=True))
        is_read = any(other.order is Order.ENCODE for other in self.format.scales[1:])
        return {f"{name} amax": rule.words[AMAX]} if is_read and rule.level.rule is not Rule.GIVEN else {}

    def _nested(self, level: ScaleLevel, format: BlockFormat, outer: OuterScales) -> OuterScales:
        """Scales quantized by a block format of their own: raw scales, the levels of that format, then codes."""
        block, raw = times(level.block, self.unit), f"raw scale {len(self.out.stages)}"
        rule = ScaleRule(self.out.writer(), level, self.format, outer)
        results = {raw: rule.encodable()} | self._read_later(rule, raw)
        self.out.add(block, statistics(level, self.of), (rule.words, results))
        chain = Levels(format, raw, self.out, block).lower()
        words, name = self.out.writer(), self.out.keep(format.element, block)
        code, scale = nested_code(words, raw, format, chain, self.out.lowering)
        inner, results = self._applied(words, level, outer, scale, is_nan(scale).where(scale, words[raw]), name)
        self.out.add(block, (), (words, {name: code} | results))
        return inner

    def _exponent(self, level: ScaleLevel, outer: OuterScales) -> OuterScales:
        """A code that is added to the exponent of the outer scale."""
        assert isinstance(level.format, NumberFormat)
        assert outer.product is not None
        block, words = times(level.block, self.unit), self.out.writer()
        name, adds = self.out.keep(level.format, block), level.combine is Combine.EXPONENT_ADD
        code = exponent_step(words[AMAX], words[outer.product], level, self.format.element, add=adds)
        of_zeros = 0 if adds or level.all_zero is AllZero.ONE else (1 << level.format.bits) - 1
        code = (words[AMAX].eq(0) | is_nan(words[outer.product])).where(of_zeros, code)
        factor = power_of_two(code + EXPONENT_OFFSET if adds else words.builder.const(EXPONENT_OFFSET) - code)
        inner, results = self._applied(words, level, outer, factor, factor, name)
        self.out.add(block, (amax(self.of, finite=True),), (words, {name: code} | results))
        return inner

    def _applied(
        self, words: PlanWriter, level: ScaleLevel, outer: OuterScales, scale: Word, raw: Word, name: str
    ) -> tuple[OuterScales, dict[str, Word]]:
        """The product of all scales so far, and the elements' divisor or multiplier. Definition 25."""
        product = scale if outer.product is None else canonical(words[outer.product].fmul(scale))
        divisor = Divisor(words, self.format, level, outer).word(scale, raw, product)
        names = f"{name} product", f"{name} product" if divisor is product else f"{name} divisor"
        return OuterScales(*names, level, f"{name} amax"), dict(zip(names, (product, divisor), strict=True))


def encoded_in(
    words: PlanWriter, scope: str, value: Word, format: NumberFormat, policy: EncodePolicy, lowering: Lowering
) -> Word:
    """The code of a float32; `scope` prefixes the names of the format's parameters."""
    with words.builder.scope(scope):
        return Encoder(format.element, policy, lowering, None).code(Real.of(value), Storage.FLOAT32)


def decoded_in(words: PlanWriter, scope: str, code: Word, format: NumberFormat) -> Word:
    """The float32 of a code; `scope` prefixes the names of the format's parameters."""
    with words.builder.scope(scope):
        return decoded(code, format.element)


def nested_code(
    words: PlanWriter, of: str, format: BlockFormat, chain: OuterScales, lowering: Lowering
) -> tuple[Word, Word]:
    """The code of a word quantized by a block format, and the float32 that the code decodes to."""
    scaled = zero_if_nan_scale(words, quotient(words, words[of], format, chain), format, chain)
    dead = is_dead(words, format, chain)
    code = encoded_in(words, "code", scaled, format.element, element_policy(format), lowering)
    code = code if dead is None else dead.where(0, code)
    return code, decoded_in(words, "value", code, format.element).fmul(words[str(chain.product)])


def statistics(level: ScaleLevel, of: str) -> Iterator[Statistic]:
    """The statistics that a level's rule reads."""
    shows_nan = level.nonfinite is Nonfinite.NAN_BLOCK
    if shows_nan or level.rule not in (Rule.MINMAX, Rule.GIVEN):
        yield amax(of, finite=not shows_nan)
    if level.rule is Rule.SIGNED_ABSMAX:
        yield peak(of)
    if level.rule is Rule.MINMAX:
        yield from (lowest(of), highest(of))


def _codes_are_exponents(element: Element) -> bool:
    """Whether codes are float32 exponent fields, as in E8M0."""
    return (
        isinstance(element, FloatElement)
        and (element.exponent_bits, element.mantissa_bits, element.bias) == (8, 0, FLOAT32.bias)
        and not (element.signed or element.has_zero)
    )


def positive_codes(element: Element) -> tuple[int, int]:
    """The codes of the smallest and the largest positive value."""
    match element:
        case FloatElement():
            return element.min_magnitude, element.max_magnitude
        case IntElement():
            return element.code(max(element.range[0], 1)), element.code(element.range[1])
    raise UnsupportedError(f"kind {element.kind}: codes one after the other need kind float or int")
