"""Kinds whose codes are listed one by one: their levels, codes, parities and ties, and how exact their values are."""

from __future__ import annotations

import copy
import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from definitions import described, exact_bitstring, exact_takum, largest_tapered
from hypothesis import given, settings
from strategies import number_mappings, to_yaml

from statqat_sim.spec.catalog import load_format, parse_format
from statqat_sim.spec.listed import Tie, TieDomain

LISTED_KINDS = ["codebook", "posit", "takum", "lns", "tapered"]
HIF8 = load_format("hif8").element


@settings(deadline=None)
@given(spec=number_mappings(LISTED_KINDS, max_bits=9))
def test_levels_are_the_finite_values_in_order(spec: dict[str, Any]) -> None:
    element = parse_format(to_yaml(spec)).element
    values = [element.value(code) for code in range(2**element.bits)]
    assert list(map(described, element.values_by_code)) == list(map(described, values))
    assert element.levels == tuple(sorted({value + 0.0 for value in values if math.isfinite(value)}))
    for level in element.levels:
        assert element.level_code(level) == first_code(values, level)
        assert element.level_code(level, negative_zero=True) == first_code(values, -0.0 if level == 0 else level)


def element_of(text: str) -> Any:
    return parse_format(f"name: x\nelement: {text}\n").element


def first_code(values: list[float], wanted: float) -> int:
    """The first code of this value; of a zero whose sign does not exist, of the other one."""
    same = [code for code, value in enumerate(values) if value == wanted]
    return next((code for code in same if math.copysign(1, values[code]) == math.copysign(1, wanted)), same[0])


@settings(deadline=None)
@given(spec=number_mappings(LISTED_KINDS, max_bits=9))
def test_of_two_neighbouring_levels_one_is_odd(spec: dict[str, Any]) -> None:
    element = parse_format(to_yaml(spec)).element
    parities = [element.is_odd(index) for index in range(len(element.levels))]
    assert all(one != other for one, other in pairwise(parities))
    if spec["element"]["kind"] != "codebook":
        assert parities == [bool(element.level_code(level) & 1) for level in element.levels]
    if element.successor is not None:
        assert bool(element.inf_code & 1) != parities[-1]


@settings(deadline=None)
@given(spec=number_mappings(["tapered"], max_bits=9))
def test_the_ranges_of_tapered_floats_follow_from_their_codes(spec: dict[str, Any]) -> None:
    element = parse_format(to_yaml(spec)).element
    bits, regimes = element.bits, spec["element"]["regimes"]
    (subnormal,) = (regime["prefix"] for regime in regimes if "subnormal_exponent" in regime)
    positive = {f"{code:0{bits - 1}b}": element.value(code) for code in range(2 ** (bits - 1))}
    is_subnormal = {value: text.startswith(subnormal) for text, value in positive.items()}
    assert element.min_subnormal == min(value for value in positive.values() if value > 0)
    assert element.min_normal == min(value for value, is_one in is_subnormal.items() if not is_one)
    assert (math.inf in is_subnormal) == (element.successor is not None)
    if element.successor is not None:
        assert described(element.successor) == largest_tapered(spec["element"])
        assert element.value(element.inf_code) == math.inf


def test_hif8_reads_its_inf_as_one_and_a_half_binades() -> None:
    assert (HIF8.inf_code, HIF8.successor, HIF8.highest) == (0x6F, 1.5 * 2**15, 2.0**15)
    assert HIF8.tie(HIF8.highest, HIF8.successor, TieDomain.ARITHMETIC) == Tie(Fraction(5, 4) * 2**15)


@settings(deadline=None)
@given(spec=number_mappings(LISTED_KINDS, max_bits=9))
def test_an_arithmetic_tie_is_the_middle(spec: dict[str, Any]) -> None:
    element = parse_format(to_yaml(spec)).element
    for low, high in pairwise(element.levels):
        if low * high >= 0:
            middle = abs(Fraction(low) + Fraction(high)) / 2
            assert element.tie(low, high, TieDomain.ARITHMETIC) == Tie(middle)


@settings(deadline=None)
@given(spec=number_mappings(["posit", "takum"], max_bits=9))
def test_a_tie_of_bitstrings_is_the_value_of_one_more_bit(spec: dict[str, Any]) -> None:
    element = parse_format(to_yaml(spec)).element
    longer = spec["element"] | {"bits": element.bits + 1}
    gaps = range(2 ** (element.bits - 1) - 1)
    assert element.tie_values(TieDomain.BITSTRING) == [float(exact_bitstring(longer, 2 * code + 1)) for code in gaps]
    for code in gaps:
        low, high = element.value(code), element.value(code + 1)
        between = Tie(exact_bitstring(longer, 2 * code + 1))
        assert low < between.value < high
        assert element.tie(low, high, TieDomain.BITSTRING) == between
        assert element.tie(-high, -low, TieDomain.BITSTRING) == between


@settings(deadline=None)
@given(spec=number_mappings(["lns"], max_bits=9))
def test_a_tie_of_logarithms_is_the_geometric_mean(spec: dict[str, Any]) -> None:
    element = parse_format(to_yaml(spec)).element
    positive = [level for level in element.levels if level > 0]
    below = Fraction(2) ** Fraction(-(2 ** (element.bits - 2)), 2**element.fraction_bits).__floor__()
    zero = element.tie(0.0, positive[0], TieDomain.LOG)
    assert zero == element.tie(-positive[0], 0.0, TieDomain.LOG) == Tie(below * Fraction(positive[0]), squared=True)
    for low, high in pairwise(positive):
        tie = element.tie(low, high, TieDomain.LOG)
        assert tie == element.tie(-high, -low, TieDomain.LOG) == Tie(Fraction(low) * Fraction(high), squared=True)
        assert (tie.compare(Fraction(low)), tie.compare(Fraction(high))) == (-1, 1)
    first, *ties = element.tie_values(TieDomain.LOG)
    assert first == pytest.approx(math.sqrt(below) * math.sqrt(positive[0]))
    assert ties == pytest.approx([math.sqrt(low) * math.sqrt(high) for low, high in pairwise(positive)], rel=1e-15)


def test_ties_order_what_lies_around_them() -> None:
    four = [Tie(Fraction(4)), Tie(Fraction(16), squared=True)]
    assert [[tie.compare(Fraction(x, 2)) for x in (7, 8, 9)] for tie in four] == [[-1, 0, 1]] * 2


@pytest.mark.parametrize(("kind", "domain"), [("posit, es: 0", "log"), ("lns, fraction_bits: 1", "bitstring")])
def test_a_tie_in_a_domain_that_a_kind_lacks_is_refused(kind: str, domain: str) -> None:
    with pytest.raises(ValueError, match=f"{domain} midpoints: not in this kind"):
        element_of(f"{{kind: {kind}, bits: 4}}").tie(0.0, 1.0, TieDomain(domain))
    with pytest.raises(ValueError, match=f"{domain} midpoints: not in this kind"):
        element_of(f"{{kind: {kind}, bits: 4}}").tie_values(TieDomain(domain))


def half_a_step(value: float) -> Fraction:
    return Fraction(math.ulp(value)) / 2


@pytest.mark.parametrize(("bits", "fraction_bits"), [(5, 0), (8, 3), (8, 6), (12, 0), (12, 5)])
def test_values_of_lns_are_the_nearest_float64_by_integers_alone(bits: int, fraction_bits: int) -> None:
    """v is nearest to 2^(n/s) where (v - half a step)^s < 2^n < (v + half a step)^s."""
    lns, steps = element_of(f"{{kind: lns, bits: {bits}, fraction_bits: {fraction_bits}}}"), 2**fraction_bits
    for n in range(1 - 2 ** (bits - 2), 2 ** (bits - 2)):
        value = lns.value(n % 2 ** (bits - 1))
        low, high = Fraction(value) - half_a_step(value), Fraction(value) + half_a_step(value)
        assert low**steps < Fraction(2) ** n < high**steps


def bounds_of_exp(x: Fraction, terms: int = 60) -> tuple[Fraction, Fraction]:
    """Around e^x, for 0 <= x <= 1: Taylor's sum, and that plus its next term twice."""
    term = total = Fraction(1)
    for index in range(1, terms):
        term *= x / index
        total += term
    return total, total + 2 * term


@pytest.mark.parametrize("bits", [2, 5, 8, 11])
def test_values_of_logarithmic_takums_are_the_nearest_float64_by_rational_bounds(bits: int) -> None:
    """e^(l/2) = (e^(l/512))^256, where l/512 lies between -1 and 1."""
    takum = element_of(f"{{kind: takum, bits: {bits}, variant: logarithmic}}")
    for code in range(1, 2 ** (bits - 1)):
        value, power = takum.value(code), exponent_of_takum(f"{code:0{bits}b}") / 512
        low, high = (bound**256 for bound in bounds_of_exp(abs(power)))
        low, high = (low, high) if power >= 0 else (1 / high, 1 / low)
        assert Fraction(value) - half_a_step(value) <= low <= high <= Fraction(value) + half_a_step(value)


def exponent_of_takum(bits: str) -> Fraction:
    """c + m: that of the linear takum, whose binade it is, plus its fraction."""
    linear = exact_takum({}, bits)
    c = math.frexp(float(linear))[1] - 1
    return c + linear / Fraction(2) ** c - 1


@pytest.mark.parametrize(
    "text",
    [
        "{kind: posit, bits: 16, es: 2}",
        "{kind: takum, bits: 16}",
        "{kind: takum, bits: 16, variant: logarithmic}",
        "{kind: lns, bits: 16, fraction_bits: 7}",
        "{kind: codebook, bits: 16, values: [-1.0, 0.0, 1.0]}",
    ],
)
def test_values_are_computed_when_they_are_asked_for(text: str) -> None:
    format = parse_format(f"name: x\nelement: {text}\nencode: {{underflow: min}}\n")
    assert format == copy.copy(format)
    assert hash(format)
    assert not {"values_by_code", "levels"} & format.element.__dict__.keys()
    assert len(format.table()) == 65536
    assert format.grid().tolist() == list(format.element.levels)
