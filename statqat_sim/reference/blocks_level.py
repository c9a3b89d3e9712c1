"""One block of a level: what determines its scale, in order of precedence (22 to 24, 27, 30)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from statqat_sim.reference import blocks_mse, blocks_rules, blocks_scale
from statqat_sim.reference.blocks_float32 import is_finite, over, real
from statqat_sim.reference.blocks_offset import minmax
from statqat_sim.reference.blocks_rules import Outside
from statqat_sim.reference.blocks_tiling import Cells, Index
from statqat_sim.reference.grid import Number, Special
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Combine, Nonfinite, Rule, ScaleLevel


@dataclass(frozen=True, slots=True)
class Member:
    """One block of a level, with everything that determines its scale.

    `given` is the caller's scale; `extremes` are lo and hi of `rule: minmax`.
    """

    level: ScaleLevel
    is_anchor: bool
    cells: Cells
    weights: dict[Index, Fraction]
    outside: Outside
    given: Number | None
    extremes: tuple[Fraction, Fraction] | None

    @property
    def values(self) -> list[Fraction]:
        """The finite elements."""
        return finite(self.cells)

    @property
    def amax(self) -> Fraction:
        return blocks_rules.amax_of(self.values)

    @property
    def is_all_zero(self) -> bool:
        """Whether the block has no finite nonzero element; under `minmax`, whether hi = lo."""
        if self.given is not None:
            return False
        return self.extremes[0] == self.extremes[1] if self.extremes else self.amax == 0

    @property
    def is_nan(self) -> bool:
        """Whether NaN or Inf makes the anchor's scale NaN: unless it saturates or its format has no NaN (24)."""
        if not self.is_anchor or self.level.nonfinite is Nonfinite.SATURATE:
            return False
        format = self.level.format
        has_nan = isinstance(format, NumberFormat) and blocks_scale.nan_code(format) is not None
        return has_nan and not all(map(is_finite, self.cells.values()))


def number_scale(member: Member, element: NumberFormat) -> tuple[int, Number]:
    """The code and raw scale of a block whose scales are stored one by one in a number format."""
    level = member.level
    if level.combine is not Combine.MULTIPLY:
        code = blocks_rules.exponent_code(level, element, member.amax, member.outside)
        return code, blocks_scale.scale_value(level, code)
    if member.is_nan:
        return blocks_scale.known_nan_code(level), Special.NAN
    if level.rule is Rule.MSE and not member.is_all_zero and member.given is None:
        code = blocks_mse.best(candidates(member, element))
        return code, blocks_scale.scale_value(level, code)
    raw = raw_scale(member, element)
    return _code(member, raw), raw


def _code(member: Member, raw: Number) -> int:
    if member.given is not None:
        return blocks_scale.given_code(member.level, raw)
    if member.is_all_zero:
        return blocks_scale.all_zero_code(member.level)
    return blocks_scale.scale_code(member.level, raw)


def raw_scale(member: Member, element: NumberFormat) -> Number:
    """The scale of a block before encoding; for a block of zeros, the scale that `all_zero` specifies."""
    if member.given is not None:
        return member.given
    if member.is_all_zero:
        return blocks_scale.all_zero_raw(member.level)
    if member.extremes is not None:
        return over(minmax(element, *member.extremes), member.outside.scale)
    return blocks_rules.raw_scale(member.level, element, member.values, member.outside)


def candidates(member: Member, element: NumberFormat) -> list[blocks_mse.Candidate]:
    """The candidates of `rule: mse`."""
    block = [(x, member.weights[index]) for index, x in member.cells.items()]
    return blocks_mse.candidates(member.level, element, block, member.outside)


def finite(cells: Cells) -> list[Fraction]:
    """The finite numbers, in C order."""
    return [real(x) for x in cells.values() if is_finite(x)]
