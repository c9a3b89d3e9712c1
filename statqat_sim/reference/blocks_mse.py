"""`rule: mse` (30): the candidates for the scale of a block, and the squared error that each one leaves."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import inf

from statqat_sim.reference.blocks_elements import Scaling, element_code, element_value, restored
from statqat_sim.reference.blocks_float32 import is_finite, real
from statqat_sim.reference.blocks_rules import Outside, raw_scale
from statqat_sim.reference.blocks_scale import clamped, number_format, positive_codes, scale_code, scale_value
from statqat_sim.reference.grid import Number
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Rule, ScaleLevel

Weighted = list[tuple[Number, Fraction]]
"""The elements of a block with their weights."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A code, and Σ w·(x - y)² over the finite elements, exactly; Inf where some y is not finite."""

    code: int
    is_plain: bool
    error: Fraction | float


def candidates(level: ScaleLevel, element: NumberFormat, block: Weighted, outside: Outside) -> list[Candidate]:
    """All candidates for a block that is not all zero, each once.

    The plain rule's code is one of them only if the distance 0 is. Each is clamped as the plain rule's is, and nothing
    is unrounded: the elements are divided by the candidate.
    """
    values = [real(x) for x, _ in block if is_finite(x)]
    plain, codes = _codes(level, element, values, outside)
    return [
        Candidate(code, code == plain, _error(level, element, block, outside, code)) for code in dict.fromkeys(codes)
    ]


def best(choices: list[Candidate]) -> int:
    """The code of least error; among equals the plain rule's, then the lowest."""
    return min(choices, key=lambda choice: (choice.error, not choice.is_plain, choice.code)).code


def _codes(level: ScaleLevel, element: NumberFormat, values: list[Fraction], outside: Outside) -> tuple[int, list[int]]:
    """The plain rule's code, and those of the candidates."""
    if level.candidates.targets:
        targets = [level.model_copy(update={"target": target}) for target in level.candidates.targets]
        codes = [_plain(entry, element, values, outside) for entry in targets]
        return codes[0], codes
    plain, positive = _plain(level, element, values, outside), positive_codes(number_format(level))
    offsets = level.candidates.offsets or default_offsets(level, element)
    plain, *codes = (clamped(level, min(max(plain + offset, min(positive)), max(positive))) for offset in (0, *offsets))
    return plain, codes


def default_offsets(level: ScaleLevel, element: NumberFormat) -> range:
    """Default distances of the candidates from the plain rule's code."""
    if not has_powers_of_two_only(number_format(level)):
        return range(-2, 6)
    return range(-1 if isinstance(element.element, IntElement) else 0, 2)


def has_powers_of_two_only(format: NumberFormat) -> bool:
    """Whether the plain rule is `floor`."""
    return isinstance(format.element, FloatElement) and format.element.mantissa_bits == 0


def _plain(level: ScaleLevel, element: NumberFormat, values: list[Fraction], outside: Outside) -> int:
    rule = Rule.FLOOR if has_powers_of_two_only(number_format(level)) else Rule.ABSMAX
    plain = level.model_copy(update={"rule": rule})
    return scale_code(plain, raw_scale(plain, element, values, outside))


def _error(level: ScaleLevel, element: NumberFormat, block: Weighted, outside: Outside, code: int) -> Fraction | float:
    factors = (*outside.factors, scale_value(level, code))
    scaling = Scaling(factors, factors, level.apply)
    error = Fraction(0)
    for x, weight in block:
        if is_finite(x):
            y = restored(element_value(element, element_code(element, x, scaling)), scaling)
            if not is_finite(y):
                return inf
            error += weight * (real(x) - real(y)) ** 2
    return error
