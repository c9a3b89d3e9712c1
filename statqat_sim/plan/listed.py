"""Encoders of listed formats (codebooks, posits, …): they search the boundaries between levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import isqrt

from statqat_sim.plan.builder import Word
from statqat_sim.plan.decode_by_table import float32_words
from statqat_sim.plan.layout import FLOAT32, FLOAT64, Layout, floor_log2, power_of_two, scaled_by_power
from statqat_sim.plan.rounding import boundary, boundary_around_zero, stops_at_end
from statqat_sim.plan.search import SMALL_TABLE_BITS, search, shortcut_of
from statqat_sim.plan.source import Source, nan_instead
from statqat_sim.spec.encode import (
    EncodePolicy,
    InfInput,
    NanInput,
    NegativeInput,
    Overflow,
    Rounding,
    Underflow,
    ZeroInput,
)
from statqat_sim.spec.listed import ListedElement, Tie


def encode_listed(source: Source, element: ListedElement, policy: EncodePolicy) -> Word:
    """The code of an input."""
    return _encode(source, element, policy, lambda code: code)


def has_value_shortcut(element: ListedElement, policy: EncodePolicy) -> bool:
    """Whether `round_to_level` may be used: values that `search` can find, and no user-defined code for NaN."""
    if not isinstance(policy.nan_input, NanInput):
        return False
    if element.bits <= SMALL_TABLE_BITS:
        return True
    keys, codes = steps(element, policy, FLOAT32)
    words = float32_words(element)
    return shortcut_of(keys, tuple(words[code] for code in codes)) is not None


def round_to_level(source: Source, element: ListedElement, policy: EncodePolicy) -> Word:
    """decode(encode(input)) without computing the code; requires `has_value_shortcut`."""
    return _encode(source, element, policy, float32_words(element).__getitem__)


def _encode(source: Source, element: ListedElement, policy: EncodePolicy, result_of: Callable[[int], int]) -> Word:
    """The code of the input, mapped through `result_of` (identity, or decode)."""
    builder = source.sign.builder
    keys, codes = steps(element, policy, source.layout)
    result = search(source, keys, tuple(result_of(code) for code in codes))

    def nan_if(condition: Word, otherwise: Word) -> Word:
        return condition.where(
            builder.param("NaN", result_of(_special(element, Overflow.NAN, negative=False))), otherwise
        )

    at_infinity = {negative: _infinite(element, policy, negative) for negative in source.signs}
    if any(code != codes[0 if negative else -1] for negative, code in at_infinity.items()):
        instead = source.per_sign("for Inf", lambda negative: result_of(at_infinity[negative]))
        result = source.is_infinite.where(instead, result)
    if policy.zero_input is ZeroInput.NAN:
        result = nan_if(source.nonzero.eq(0), result)
    if source.below_zero is not None and policy.negative_input is NegativeInput.NAN:
        result = nan_if(source.below_zero, result)
    elif source.below_zero is not None:
        smallest = builder.param("smallest", result_of(element.level_code(element.lowest)))
        result = source.below_zero.where(smallest, result)
    if policy.nan_input is NanInput.NAN:
        return nan_if(source.is_nan, result)
    instead_of_nan = element.zero_code if policy.nan_input is NanInput.ZERO else element.level_code(element.highest)
    return nan_instead(result, source, element, policy, result_of(instead_of_nan))


def _infinite(element: ListedElement, policy: EncodePolicy, negative: bool) -> int:
    """The code of ±Inf; `overflow` ignores the rounding direction here."""
    rule = policy.overflow if policy.inf_input is InfInput.OVERFLOW else Overflow(policy.inf_input.value)
    if rule is Overflow.SATURATE:
        return element.level_code(element.lowest if negative else element.highest)
    return _special(element, rule, negative)


def _special(element: ListedElement, rule: Overflow, negative: bool) -> int:
    """The code of Inf or NaN; the spec's rules guarantee that it exists."""
    code = element.inf_code if rule is Overflow.INF else element.nan_code
    assert code is not None, rule
    return code | element.sign_bit if negative and rule is Overflow.INF else code


# --- the encoder as a step function ----------------------------------------------------------------------------


def fits_float32(element: ListedElement, policy: EncodePolicy) -> bool:
    """Whether every boundary between two results, except 0, is a normal float32 with an even last bit.

    Then a float64 may first be rounded to float32, to odd: it stays on its side of every boundary.
    """
    keys, _ = steps(element, policy, FLOAT64)
    sign, spare = 1 << 63, (1 << FLOAT64.mantissa_bits - FLOAT32.mantissa_bits + 1) - 1
    least, most = (FLOAT64.pattern(2.0**exponent) for exponent in (FLOAT32.emin, FLOAT32.bias))
    for key in keys:  # a boundary lies between two neighbouring magnitudes
        upper = key - sign if key >= sign else sign - key
        even = upper if upper & spare == 0 else upper - 1
        if upper > 1 and not (even & spare == 0 and least <= even <= most):
            return False
    return True


@dataclass(frozen=True, slots=True)
class _Level:
    """A value that inputs round to; for the successor of either end, `code` is the code of its overflow."""

    value: float
    code: int
    odd: bool


@lru_cache(maxsize=8)  # other plans of the format reuse them
def steps(element: ListedElement, policy: EncodePolicy, layout: Layout) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """codes[0] below keys[0], then codes[i + 1] from keys[i] on: keys order finite inputs, -0.0 just below +0.0."""
    levels, sign = _levels(element, policy), 1 << (layout.exponent_bits + layout.mantissa_bits)
    zero = next((index for index, level in enumerate(levels) if level.value == 0), None)
    first = zero if zero is not None and _is_symmetric(levels, policy) else 0
    keys = [_first_key(*_threshold(element, policy, *pair), layout, sign) for pair in pairwise(levels[first:])]
    if first:  # keys sign + m and sign - m separate magnitudes below m from those from m on
        keys = [2 * sign - key for key in reversed(keys)] + keys
    codes = [level.code for level in levels]
    if zero is not None:
        negative_zero = element.level_code(0.0, negative_zero=True)
        if negative_zero != codes[zero]:
            keys.insert(zero, sign)
            codes.insert(zero, negative_zero)
    last_of_key = dict(zip(keys, codes[1:], strict=True))  # no input lies between equal keys
    finite = {key: code for key, code in last_of_key.items() if abs(key - sign) < layout.infinity}
    before = [codes[0], *(code for key, code in last_of_key.items() if key <= sign - layout.infinity)]
    return tuple(finite), (before[-1], *finite.values())


def _is_symmetric(levels: list[_Level], policy: EncodePolicy) -> bool:
    """Whether the levels of both signs have the same thresholds."""
    directed = (Rounding.NEAREST_UP, Rounding.TOWARD_POSITIVE, Rounding.TOWARD_NEGATIVE)
    mirrored = zip(levels, reversed(levels), strict=True)
    return policy.rounding not in directed and all((a.value, a.odd) == (-b.value, b.odd) for a, b in mirrored)


def _levels(element: ListedElement, policy: EncodePolicy) -> list[_Level]:
    levels = [
        _Level(value, element.level_code(value), element.is_odd(index)) for index, value in enumerate(element.levels)
    ]
    if element.successor is None or policy.overflow is Overflow.SATURATE:
        return levels
    below, above = (
        [] if stops_at_end(policy.rounding, end.odd, negative) else [_beyond(element, policy, negative)]
        for end, negative in ((levels[0], True), (levels[-1], False))
    )
    return [*below, *levels, *above]


def _beyond(element: ListedElement, policy: EncodePolicy, negative: bool) -> _Level:
    assert element.successor is not None
    value = -element.successor if negative else element.successor
    return _Level(value, _special(element, policy.overflow, negative), odd=False)


def _threshold(element: ListedElement, policy: EncodePolicy, low: _Level, high: _Level) -> tuple[Fraction, bool]:
    """The threshold between two levels, and whether the threshold itself rounds up."""
    if policy.underflow is Underflow.MIN and 0.0 in (low.value, high.value):
        return Fraction(0), high.value == 0
    mode, negative = policy.rounding, low.value < 0
    if negative and high.value > 0:
        return boundary_around_zero(mode, Fraction(low.value), Fraction(high.value), low.odd)
    near, far = map(Fraction, (-high.value, -low.value) if negative else (low.value, high.value))
    middle = _rational(element.tie(low.value, high.value, policy.tie_domain))
    turn = boundary(mode, near, far, high.odd if negative else low.odd, negative, middle)
    return (-turn.value, not turn.included) if negative else (turn.value, turn.included)


def _rational(tie: Tie) -> Fraction:
    """A rational that compares with every float64 as the tie does."""
    if not tie.squared:
        return tie.value
    places = 2 * FLOAT64.mantissa_bits - floor_log2(tie.value) // 2
    numerator, denominator = scaled_by_power(tie.value, 2 * places)
    root = isqrt(numerator // denominator)
    is_above = root * root * denominator != numerator
    return (2 * root + is_above) * power_of_two(-places - 1)


def _first_key(value: Fraction, included: bool, layout: Layout, sign: int) -> int:
    """The key of the first float above `value`, or at it if `included`."""
    if value.numerator > 0 or (value.numerator == 0 and not included):
        return sign + (layout.ceil_magnitude(value) if included else layout.floor_magnitude(value) + 1)
    return sign - 1 - (layout.floor_magnitude(-value) if included else layout.ceil_magnitude(-value) - 1)
