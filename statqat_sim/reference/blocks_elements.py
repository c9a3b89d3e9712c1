"""From an element to its code and back, once the scales of its block are known (25 to 27)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from statqat_sim.reference import exact
from statqat_sim.reference.blocks_float32 import (
    ZERO,
    fl,
    is_nan,
    is_zero,
    minus,
    nearest_integer,
    over,
    plus,
    product,
    reciprocal,
    times,
)
from statqat_sim.reference.grid import Number
from statqat_sim.reference.ieee import FLOAT32
from statqat_sim.spec.encode import InfInput
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.scale import Apply, Quotient


@dataclass(frozen=True, slots=True)
class Minimum:
    """O, and the value that the encoder subtracts instead of it (`quotient: unrounded`)."""

    value: Number
    subtracted: Number


@dataclass(frozen=True, slots=True)
class ZeroPoint:
    """Z, and whether it is added to the rounded quotient."""

    value: Number
    after_rounding: bool = False


Added: TypeAlias = Minimum | ZeroPoint | None


@dataclass(frozen=True, slots=True)
class Scaling:
    """The scales of a block's elements.

    `factors` are the decoded scales, outermost first; `divisors` are those that the encoder uses instead
    (`quotient: unrounded`).
    """

    factors: tuple[Number, ...]
    divisors: tuple[Number, ...]
    apply: Apply
    quotient: Quotient = Quotient.ROUNDED
    added: Added = None

    @property
    def scale(self) -> Number:
        return product(self.factors)

    @property
    def has_quotient(self) -> bool:
        """Whether elements are divided at all (25)."""
        if self.quotient is Quotient.ROUNDED:
            return not is_zero(self.scale)
        if self.apply is Apply.DIVIDE:
            divisor = product(self.divisors)
            return not (is_zero(divisor) or is_nan(divisor))  # 0 × Inf, if a scale before rounding is Inf
        return not (any(map(is_zero, self.divisors)) or is_nan(reciprocal(self.divisors)))


def element_code(element: NumberFormat, x: Number, scaling: Scaling) -> int:
    """The code of one element.

    A NaN scale gives code 0, whatever that code means; a scale of 0 gives the code of +0. A NaN element is encoded with
    its sign, and is not divided by the scale.
    """
    if is_nan(scaling.scale):
        return 0
    if not scaling.has_quotient:
        return encoded(element, ZERO)
    if is_nan(x):
        return encoded(element, x)
    return encoded(element, _quotient(x, scaling))


def encoded(element: NumberFormat, q: Number) -> int:
    """The code of a quotient; Inf saturates under every `inf_input`."""
    return exact.encode(_saturating(element), FLOAT32.nearest(q))


def element_value(element: NumberFormat, code: int) -> Number:
    """The value of a code, as float32 (6)."""
    return fl(exact.decode(element, code))


def restored(value: Number, scaling: Scaling) -> Number:
    """The decoded element (26, 27)."""
    match scaling.added:
        case ZeroPoint(z, _):
            return times(minus(value, z), scaling.scale)
        case Minimum(o):
            return plus(times(value, scaling.scale), o)
        case None:
            return times(value, scaling.scale)


def _quotient(x: Number, scaling: Scaling) -> Number:
    """X in units of the elements (25, 27)."""
    match scaling.added:
        case Minimum(_, subtracted):
            return divided(minus(x, subtracted), scaling)
        case ZeroPoint(z, after_rounding):
            q = divided(x, scaling)
            return plus(nearest_integer(q) if after_rounding else q, z)
        case None:
            return divided(x, scaling)


def divided(x: Number, scaling: Scaling) -> Number:
    """The quotient (25)."""
    match scaling.apply:
        case Apply.DIVIDE:
            return over(x, product(scaling.divisors))
        case Apply.MULTIPLY_RECIPROCAL:
            return times(x, reciprocal(scaling.divisors))


@lru_cache(maxsize=64)
def _saturating(element: NumberFormat) -> NumberFormat:
    policy = element.encode.model_copy(update={"inf_input": InfInput.SATURATE})
    return element.model_copy(update={"encode": policy})
