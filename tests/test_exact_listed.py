"""The oracle's posits, takums, logarithmic and tapered numbers, against other ways to say the same."""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_right
from fractions import Fraction

import exact_cases as cases
import pytest
from exact_cases import make, random_bits, real
from hypothesis import given, settings
from strategies import number_specs

from statqat_sim.reference.exact import Special, decode, encode, encode_number
from statqat_sim.reference.powers import power_of_e, power_of_two
from statqat_sim.reference.ties import Tie
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.encode import Rounding, TieDomain, Underflow
from statqat_sim.spec.number import NumberFormat

BITSTRINGS = [
    *(f"kind: posit, bits: {bits}, es: {es}" for bits, es in [(2, 0), (3, 1), (5, 2), (6, 0), (8, 2), (9, 3), (12, 1)]),
    *(f"kind: takum, bits: {bits}" for bits in (2, 4, 7, 8, 12, 13)),
    *(f"kind: takum, bits: {bits}, variant: logarithmic" for bits in (3, 8, 12, 13)),
]


# --- what codes mean -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("element", BITSTRINGS)
def test_codes_in_twos_complement_are_in_the_order_of_their_values(element: str) -> None:
    format = make(element)
    half = 1 << format.bits - 1
    assert decode(format, half) is Special.NAN
    values = [real(decode(format, rank % (2 * half))) for rank in range(1 - half, half)]
    assert all(a < b for a, b in itertools.pairwise(values))
    assert values == [-value for value in reversed(values)]


@pytest.mark.parametrize("element", BITSTRINGS)
def test_a_zero_bit_more_keeps_the_value(element: str) -> None:
    format = make(element)
    longer = make(element.replace(f"bits: {format.bits}", f"bits: {format.bits + 1}"))
    assert all(decode(format, code) == decode(longer, 2 * code) for code in range(1 << format.bits))


@pytest.mark.parametrize(("bits", "es"), [(4, 0), (6, 1), (8, 2), (8, 3), (16, 2)])
def test_posits_by_regime(bits: int, es: int) -> None:
    """Of positive codes: 2^(bits - 2) of 1 and above, of which half have the next regime, and so on."""
    format = make(f"kind: posit, bits: {bits}, es: {es}")
    quarter = 1 << bits - 2
    for regime in range(bits - 1):
        first = 2 * quarter - (quarter >> regime)
        assert decode(format, first) == 2 ** (regime << es)
        assert decode(format, 2 * quarter - first) == Fraction(1, 2 ** (regime << es))


def test_logarithmic_takums_are_exponentials_of_the_linear_ones_fields() -> None:
    """Where the linear takum is (1 + m)·2^c, the logarithmic one is √e^(c + m)."""
    linear, logarithmic = (make(f"kind: takum, bits: 12, variant: {word}") for word in ("linear", "logarithmic"))
    for code in range(1, 1 << 11):
        value = real(decode(linear, code))
        characteristic = math.frexp(value)[1] - 1
        length = characteristic + value / Fraction(2) ** characteristic - 1
        assert float(real(decode(logarithmic, code))) == pytest.approx(math.exp(length / 2), rel=1e-13)


@pytest.mark.parametrize("fraction_bits", [0, 1, 3, 7])
def test_powers_lie_between_their_neighbours(fraction_bits: int) -> None:
    """A power is the nearest float64 if its own power, an integer one, lies between those of the half-way points."""
    root = 1 << fraction_bits
    for numerator in {*range(-2 * root, 2 * root), -67, 131}:
        power = power_of_two(numerator, fraction_bits)
        below, above = (Fraction(math.nextafter(float(power), end)) for end in (0.0, math.inf))
        exact = Fraction(2) ** numerator
        assert ((below + power) / 2) ** root <= exact <= ((power + above) / 2) ** root


def test_powers_of_e_are_those_that_are_published() -> None:
    e = "2.71828182845904523536028747135266249775724709369995"
    assert power_of_e(1, 0) == Fraction(float(e))
    assert [float(power_of_e(n, 0)) for n in (0, 2, 10, -1)] == [
        1.0,
        7.38905609893065,
        22026.465794806718,
        0.36787944117144233,
    ]
    assert float(power_of_e(1, 1)) == 1.6487212707001282
    for n in range(-1000, 1000, 7):
        assert float(power_of_e(n, 3)) == pytest.approx(math.exp(n / 8), rel=4e-16)


# --- rounding, by brute force ----------------------------------------------------------------------------------


def values_of(format: NumberFormat) -> list[Fraction]:
    """The finite values, ascending, each once."""
    numbers = [decode(format, code) for code in range(1 << format.bits)]
    return sorted({number for number in numbers if isinstance(number, Fraction)})


def between(values: list[Fraction]) -> list[Fraction]:
    """Two numbers within each gap."""
    source = random.Random(len(values))
    gaps = list(itertools.pairwise(values))
    return [a + (b - a) * Fraction(source.uniform(0.001, 0.999)) for a, b in gaps + gaps]


@settings(max_examples=60, deadline=None)
@given(text=number_specs(("posit", "takum", "lns", "tapered"), max_bits=10))
def test_the_nearest_of_all_values(text: str) -> None:
    format = parse_format(text)
    policy = {"rounding": Rounding.NEAREST_EVEN, "tie_domain": TieDomain.ARITHMETIC, "underflow": Underflow.ZERO}
    format = format.model_copy(update={"encode": format.encode.model_copy(update=policy)})
    values = values_of(format)
    inputs = between(values)
    for x in random.Random(0).sample(inputs, min(len(inputs), 60)):
        y = real(decode(format, encode_number(format, x)))
        assert abs(y - x) == min(abs(value - x) for value in values), x


@pytest.mark.parametrize("element", BITSTRINGS)
def test_bitstring_rounding_is_that_of_bits(element: str) -> None:
    """The usual algorithm: cut the endless bit string of x, look at the next bit, and whether anything follows."""
    format = make(element, "tie_domain: bitstring, underflow: zero")
    longer = make(element.replace(f"bits: {format.bits}", f"bits: {format.bits + 1}"))
    magnitudes = [real(decode(longer, code)) for code in range(1 << format.bits)]
    for x in [*between(magnitudes), *magnitudes[1:], 3 * magnitudes[-1]]:
        cut = bisect_right(magnitudes, x) - 1
        code, next_bit = divmod(cut, 2)
        follows = magnitudes[cut] != x
        code += next_bit and (follows or code & 1)
        code = min(code, (1 << format.bits - 1) - 1)
        assert encode_number(format, x) == code, x
        assert encode_number(format, -x) == -code % (1 << format.bits), x


@pytest.mark.parametrize(("bits", "fraction_bits"), [(3, 0), (5, 3), (8, 3), (8, 0), (12, 6), (16, 9)])
def test_log_ties_are_those_of_logarithms(bits: int, fraction_bits: int) -> None:
    format = make(f"kind: lns, bits: {bits}, fraction_bits: {fraction_bits}", "tie_domain: log")
    half = 1 << bits - 2
    for pattern in random_bits(2000):
        x = cases.float_of(pattern)
        if not math.isfinite(x) or x == 0:
            continue
        place = math.log2(abs(x)) * 2**fraction_bits
        if abs(place % 1 - 0.5) < 1e-6:
            continue
        n = min(max(round(place), -half), half - 1)
        sign = 2 * half if x < 0 and n > -half else 0
        assert encode(format, pattern) == sign | n % (2 * half), x


def test_a_tie_of_squares_is_exact() -> None:
    tie = Tie(Fraction(9, 4), is_square=True)
    assert [tie.side(Fraction(x)) for x in (1.5, 1.4999, 1.5001, -1.5)] == [0, -1, 1, -1]
    tie = Tie(Fraction(-9, 4), is_square=True)
    assert [tie.side(Fraction(x)) for x in (-1.5, -1.4999, -1.5001, 1.5)] == [0, 1, -1, 1]


@pytest.mark.parametrize("mode", cases.DETERMINISTIC)
@pytest.mark.parametrize("element", [cases.HIF8, cases.HIF8_REGIMES, cases.ZERO_BETWEEN, cases.LNS8, cases.LNS4])
def test_signs_and_magnitudes_mirror(element: str, mode: Rounding) -> None:
    """-x becomes the code of x with the sign bit, in the mode that looks the other way; zero and NaN have their own."""
    mirrored = {
        Rounding.TOWARD_POSITIVE: Rounding.TOWARD_NEGATIVE,
        Rounding.TOWARD_NEGATIVE: Rounding.TOWARD_POSITIVE,
    }.get(mode, mode)
    one, other = (make(element, f"rounding: {word.value}") for word in (mode, mirrored))
    sign = 1 << one.bits - 1
    for x in between([value for value in values_of(one) if value > 0]):
        assert encode_number(other, -x) == sign | encode_number(one, x), x
