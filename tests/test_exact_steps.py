"""The oracle's step functions against its encoder, at every boundary."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import exact_cases as cases
import numpy as np
import pytest
from exact_cases import ENCODED, bits_of, float_of, make, random_bits
from hypothesis import assume, given, settings
from strategies import number_specs

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.exact import encode
from statqat_sim.reference.steps import Boundary, first_pattern, thresholds
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.encode import Overflow, Rounding
from statqat_sim.spec.number import NumberFormat


@pytest.mark.parametrize(
    ("element", "policy"),
    sorted({(e, p) for e, p, _ in ENCODED if "wrap" not in p and "bits: 32" not in e and e != cases.FLOAT32}),
)
def test_thresholds_are_where_the_code_changes(element: str, policy: str) -> None:
    check_steps(make(element, policy), 200)


@pytest.mark.parametrize("mode", cases.DETERMINISTIC)
@pytest.mark.parametrize("via", ["exact", "bfloat16"])
@pytest.mark.parametrize(
    ("element", "policy"),
    [
        *[(element, "") for element in (cases.E4M3FN, cases.FLUSH, cases.NO_ZERO, cases.OFFSET3, cases.LOPSIDED)],
        *[(element, "") for element in (cases.WIDE_RANGE, cases.ZERO_BETWEEN, cases.LNS4, cases.POSIT8_ES0)],
        (cases.HIF8, "overflow: inf"),
        (cases.POSIT8, "tie_domain: bitstring, underflow: zero"),
        (cases.TAKUM_LOG8, "tie_domain: bitstring, underflow: min"),
        (cases.LNS8, "tie_domain: log"),
    ],
)
def test_thresholds_of_every_mode(element: str, policy: str, via: str, mode: Rounding) -> None:
    flush = str(via == "exact").lower()
    words = [f"rounding: {mode.value}, via: {via}, flush_inputs: {flush}", policy]
    check_steps(make(element, ", ".join(filter(None, words))), 100)


@pytest.mark.parametrize("policy", ["overflow: inf", "overflow: inf, rounding: to_odd, via: bfloat16"])
def test_thresholds_of_12_bits(policy: str) -> None:
    check_steps(make("kind: float, exponent_bits: 6, mantissa_bits: 5, nan: ieee, inf: ieee", policy), 500, every=7)


@pytest.mark.parametrize(
    ("element", "policy"),
    [
        (cases.FLOAT16, "overflow: inf"),
        ("kind: posit, bits: 16, es: 2", ""),
        ("kind: takum, bits: 16, variant: logarithmic", "tie_domain: bitstring, rounding: nearest_away"),
        ("kind: lns, bits: 16, fraction_bits: 8", "tie_domain: log"),
    ],
)
def test_thresholds_of_16_bits(element: str, policy: str) -> None:
    check_steps(make(element, policy), 500, every=97)


@settings(max_examples=60, deadline=None)
@given(text=number_specs())
def test_thresholds_of_any_format(text: str) -> None:
    format = parse_format(text)
    assume(format.bits <= 12 and format.encode.overflow is not Overflow.WRAP)
    check_steps(format, 50, every=1 + (1 << format.bits) // 64)


def check_steps(format: NumberFormat, count: int, every: int = 1) -> None:
    """Around every boundary, at the ends, and at random, `thresholds` and `encode` agree."""
    steps = thresholds(format)
    for sign, found in ((0, steps.positive), (0x8000_0000, steps.negative)):
        assert found[0].first == sign
        assert all(a.first < b.first and a.code != b.code for a, b in itertools.pairwise(found))
        edges = {step.first + near for step in found[::every] for near in (-1, 0, 1)}
        edges |= {
            sign + end for end in (1, 0x007F_FFFF, 0x0080_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7F80_0001, 0x7FFF_FFFF)
        }
        for bits in edges - {-1}:
            assert steps.code(bits) == code_or_none(format, bits), hex(bits)
    for bits in random_bits(count):
        assert steps.code(bits) == code_or_none(format, bits), hex(bits)


def code_or_none(format: NumberFormat, bits: int) -> int | None:
    try:
        return encode(format, bits)
    except ValueError:
        return None


def test_thresholds_by_hand() -> None:
    """E2M1 0, 0.5, 1, 1.5, 2, 3, 4, 6: ties go to even codes, and 1 ulp beyond the tie where the lower code is even."""
    steps = thresholds(make(cases.E2M1)).positive
    ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]
    assert [step.code for step in steps] == list(range(8))
    assert [step.first for step in steps] == [0, *(bits_of(tie) + (code % 2 == 0) for code, tie in enumerate(ties))]


def test_thresholds_of_other_midpoints_by_hand() -> None:
    """lns of 2^0 … 2^3 and 2^-3 …: arithmetically 1.5, 3, 6; by logarithm √2, √8, √32."""
    for domain, ties in {"arithmetic": [1.5, 3.0, 6.0], "log": [2**0.5, 2**1.5, 2**2.5]}.items():
        steps = thresholds(make(cases.LNS4, f"tie_domain: {domain}, rounding: nearest_zero")).positive
        firsts = {step.code: float_of(step.first) for step in steps}
        for code, tie in enumerate(ties, start=1):
            below = float(np.nextafter(np.float32(firsts[code]), np.float32(0)))
            assert below <= tie < firsts[code]


def test_first_pattern_is_the_least_float32() -> None:
    least = Fraction(1, 2**149)
    assert [first_pattern(Boundary(Fraction(0), inclusive)) for inclusive in (True, False)] == [0, 1]
    boundaries = [Boundary(least / 2, True), Boundary(least, True), Boundary(least, False)]
    assert list(map(first_pattern, boundaries)) == [1, 1, 2]
    assert first_pattern(Boundary(Fraction(1), True)) == bits_of(1)
    assert first_pattern(Boundary(Fraction(1) - Fraction(1, 2**30), True)) == bits_of(1)
    assert [first_pattern(Boundary(Fraction(2**power), True)) for power in (128, 999)] == [0x7F80_0000] * 2


def test_first_pattern_of_a_root_is_the_least_float32() -> None:
    """The float32 nearest to the root of 2, 0x3fb504f3, lies below it."""
    for square, inclusive, pattern in [
        (Fraction(2), True, 0x3FB5_04F4),
        (Fraction(9, 4), True, bits_of(1.5)),
        (Fraction(9, 4), False, bits_of(1.5) + 1),
        (Fraction(1, 4**149), True, 1),
        (Fraction(1, 4**149), False, 2),
        (Fraction(1, 2**299), True, 1),
        (Fraction(2**255), True, first_pattern(Boundary(Fraction(float(2**0.5 * 2**127)), True))),
        (Fraction(2**256), True, 0x7F80_0000),
    ]:
        assert first_pattern(Boundary(square, inclusive, is_square=True)) == pattern
    source = random.Random(0)
    for _ in range(300):
        square = Fraction(source.getrandbits(60) + 1) * Fraction(2) ** source.randint(-200, 150)
        first = first_pattern(Boundary(square, True, is_square=True))
        assert Fraction(float_of(first - 1)) ** 2 < square <= Fraction(float_of(first)) ** 2


@pytest.mark.parametrize(
    ("element", "policy"), [(cases.INT4, "overflow: wrap"), (cases.INT32, ""), (cases.FLOAT32, "")]
)
def test_thresholds_refuse_what_is_not_stepwise(element: str, policy: str) -> None:
    with pytest.raises(UnsupportedError):
        thresholds(make(element, policy))
