"""Stochastic rounding of the oracle: its random bits, and how often which neighbour is chosen."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import exact_cases as cases
import gfloat
import gfloat.formats
import pytest
from exact_cases import as_float, float_of, make, random_bits, real, same
from stochastic import KNOWN_ANSWERS

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.exact import decode, encode, encode_integer, encode_number
from statqat_sim.reference.philox import philox4x32, random_field
from statqat_sim.reference.steps import thresholds
from statqat_sim.spec.encode import Rounding

# --- random bits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    assert philox4x32(counter, key) == words


def test_fields_are_taken_from_low_to_high() -> None:
    """The first block of seed 0 is 6627e8d5 e169c58d bc57ac4c 9b00dbd8."""
    assert [random_field(0, i, 32) for i in range(4)] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert [random_field(0, i, 16) for i in range(8)] == [
        *(0xE8D5, 0x6627, 0xC58D, 0xE169),
        *(0xAC4C, 0xBC57, 0xDBD8, 0x9B00),
    ]
    assert [random_field(0, i, 8) for i in (0, 1, 2, 3, 4, 15)] == [0xD5, 0xE8, 0x27, 0x66, 0x8D, 0x9B]


@pytest.mark.parametrize("random_bits", range(1, 33))
def test_a_field_gives_its_top_bits(random_bits: int) -> None:
    width = 8 if random_bits <= 8 else 16 if random_bits <= 16 else 32
    for index in (0, 5, 1000):
        assert random_field(7, index, random_bits) == random_field(7, index, width) >> width - random_bits


def test_the_counter_is_the_index_and_the_key_the_seed() -> None:
    seed, block = 0x0123_4567_89AB_CDEF, 0x5_4321_0FED
    words = philox4x32((0x4321_0FED, 5, 0, 0), (0x89AB_CDEF, 0x0123_4567))
    assert [random_field(seed, 4 * block + place, 32) for place in range(4)] == list(words)
    assert random_field(seed, 16 * block + 2, 8) == words[0] >> 16 & 0xFF


# --- rounding --------------------------------------------------------------------------------------------------


def carried(mode: Rounding, share: Fraction, random_bits: int) -> int:
    """V, the share of the 2^random_bits words that carry: cut, half up, half to even."""
    exact = share * 2**random_bits
    match mode:
        case Rounding.STOCHASTIC_A:
            return math.floor(exact)
        case Rounding.STOCHASTIC_B:
            return math.floor(exact + Fraction(1, 2))
        case _:
            return round(exact)


@pytest.mark.parametrize("mode", cases.STOCHASTIC)
@pytest.mark.parametrize("random_bits", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("element", "near", "far"),
    [
        (cases.E4M3FN, Fraction(1), Fraction(9, 8)),
        (cases.E4M3FN, Fraction(-3, 512), Fraction(-4, 512)),
        (cases.E4M3FN, Fraction(0), Fraction(-1, 512)),
        (cases.FLUSH, Fraction(0), Fraction(1, 4)),
        (cases.E3M0, Fraction(2), Fraction(4)),
        (cases.INT4, Fraction(-2), Fraction(-3)),
        (cases.OFFSET3, Fraction(0), Fraction(1)),
    ],
)
def test_every_random_word_counts(
    mode: Rounding, random_bits: int, element: str, near: Fraction, far: Fraction
) -> None:
    """V of the 2^N words choose the neighbour away from zero."""
    format = make(element, f"rounding: {mode.value}, random_bits: {random_bits}")
    farther = encode_number(format, far, random=0)
    shares = [Fraction(k, 4 << random_bits) for k in range(4 << random_bits)]
    for share in random.Random(random_bits).sample(shares, min(len(shares), 40)) + [Fraction(1, 3)]:
        x = near + share * (far - near)
        if x == 0:
            continue
        codes = [encode_number(format, x, random=word) for word in range(1 << random_bits)]
        assert codes.count(farther) == carried(mode, share, random_bits), share
        assert {real(decode(format, code)) for code in codes} <= {near, far}
        assert codes == sorted(codes, key=lambda code: code == farther), "the larger words carry"


GFLOAT_MODES = {
    "stochastic_a": gfloat.RoundMode.StochasticFastest,
    "stochastic_b": gfloat.RoundMode.StochasticFast,
    "stochastic_c": gfloat.RoundMode.Stochastic,
}
GFLOAT = [
    (cases.E4M3FN, "nan", gfloat.formats.format_info_ocp_e4m3),
    (cases.E4M3FN, "saturate", gfloat.formats.format_info_ocp_e4m3),
    (cases.E5M2, "inf", gfloat.formats.format_info_ocp_e5m2),
    (cases.E2M1, "saturate", gfloat.formats.format_info_ocp_e2m1),
    (cases.E3M2, "saturate", gfloat.formats.format_info_ocp_e3m2),
    (cases.BFLOAT16, "inf", gfloat.formats.format_info_bfloat16),
    (cases.P3109_8P3SE, "inf", gfloat.formats.format_info_p3109(8, 3)),
    (cases.P3109_8P3UE, "inf", gfloat.formats.format_info_p3109(8, 3, gfloat.Signedness.Unsigned)),
]


@pytest.mark.parametrize("mode", GFLOAT_MODES)
@pytest.mark.parametrize("random_bits_", [1, 4, 16])
@pytest.mark.parametrize(("element", "overflow", "info"), GFLOAT)
def test_rounding_is_that_of_gfloat(
    element: str, overflow: str, info: gfloat.FormatInfo, random_bits_: int, mode: str
) -> None:
    format = make(element, f"rounding: {mode}, random_bits: {random_bits_}, overflow: {overflow}")
    source = random.Random(random_bits_)
    top = float(format.max)
    beyond = [cases.bits_of(top * source.uniform(0.9, 1.3)) for _ in range(30) if top < 1e38]
    for bits in [*random_bits(100), *beyond]:
        x, word = float_of(bits), source.getrandbits(random_bits_)
        if math.isnan(x) or (math.copysign(1, x) < 0 and not info.is_signed):
            continue
        expected = gfloat.round_float(info, x, GFLOAT_MODES[mode], overflow == "saturate", word, random_bits_)
        assert same(as_float(decode(format, encode(format, bits, random=word))), expected), (x, word)


@pytest.mark.parametrize("mode", cases.STOCHASTIC)
def test_overflow_is_the_successor_chosen(mode: Rounding) -> None:
    """Half way from 448 to the successor 480, the larger half of the words overflow; from 480 on, all."""
    for overflow, beyond in (("nan", 0x7F), ("saturate", 0x7E)):
        format = make(cases.E4M3FN, f"rounding: {mode.value}, random_bits: 4, overflow: {overflow}")
        assert [encode_number(format, Fraction(464), random=word) for word in (7, 8)] == [0x7E, beyond]
        assert [encode_number(format, Fraction(x), random=0) for x in (480, 10**6, 448)] == [beyond, beyond, 0x7E]
    format = make(cases.INT4, f"rounding: {mode.value}, random_bits: 1, overflow: wrap")
    assert [encode_number(format, Fraction(15, 2), random=word) for word in (0, 1)] == [7, 8]


def test_values_stay_whatever_the_word() -> None:
    format = make(cases.E4M3FN, "rounding: stochastic_b, random_bits: 3")
    assert {encode(format, cases.bits_of(1.125), random=word) for word in range(8)} == {0x39}
    assert {encode(format, cases.bits_of(-0.0), random=word) for word in range(8)} == {0x80}


def test_underflow_follows_rounding() -> None:
    format = make(cases.E4M3FN, "rounding: stochastic_a, random_bits: 1, underflow: min")
    assert {encode_number(format, Fraction(-1, 1024), random=word) for word in (0, 1)} == {0x81}
    format = make(cases.E8M0, "rounding: stochastic_a, random_bits: 1")
    assert {encode_number(format, Fraction(1, 2**128), random=word) for word in (0, 1)} == {0}


def test_random_bits_are_16_by_default() -> None:
    format = make(cases.E4M3FN, "rounding: stochastic_a")
    x = 1 + Fraction(1, 8 << 16)
    assert [encode_number(format, x, random=word) for word in (0xFFFE, 0xFFFF)] == [0x38, 0x39]


@pytest.mark.parametrize("word", [None, -1, 16])
def test_a_word_that_does_not_fit_is_refused(word: int | None) -> None:
    format = make(cases.INT4, "rounding: stochastic_c, random_bits: 4")
    with pytest.raises(ValueError, match="needs 4 bits"):
        encode_integer(format, 3, random=word)
    with pytest.raises(ValueError, match="needs 4 bits"):
        encode(format, cases.bits_of(0.5), random=word)


def test_other_modes_ask_for_no_word() -> None:
    format = make(cases.E4M3FN, "random_bits: 2")
    assert encode(format, cases.bits_of(1.06)) == encode(format, cases.bits_of(1.06), random=99) == 0x38


@pytest.mark.parametrize("mode", cases.STOCHASTIC)
def test_no_step_function_is_stochastic(mode: Rounding) -> None:
    with pytest.raises(UnsupportedError, match=f"rounding: {mode.value}; allowed: nearest_even, .*to_odd"):
        thresholds(make(cases.E4M3FN, f"rounding: {mode.value}"))
