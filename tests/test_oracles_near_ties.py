"""float64 on midpoints and closer to them than float32 can tell, against exact fractions: the encoder rounds once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest

from statqat_sim.codec import Codec
from statqat_sim.reference import exact
from statqat_sim.spec.catalog import load_format, parse_format
from statqat_sim.spec.number import NumberFormat

FORMATS = (
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e8m0fnu",
    "float6_e3m2fn",
    "float4_e2m1fn",
    "float4_e3m0fn",
    "p3109_binary8p1ue",
    "p3109_binary8p3se",
    "float16",
    "bfloat16",
    "cfloat8_143",
    "int8",
    "uint4",
    "q7_8",
    "nf4",
    "bnb_fp4",
    "hif8",
    "posit8",
    "posit8_es0",
    "takum8",
    "takum_log8",
    "lns8",
    "lns16",
)
DISTANCES = (0, 1, 2, 1 << 5, 1 << 20, 1 << 27)
"""From a tie, in float64 units in the last place; 2^29 are one of float32."""

FLOAT32_EXPONENTS = 120
"""Ties beyond 2^±120 are left out: float32 is coarser there, or has nothing at all."""

AT_MOST = 150
"""Ties of one format that are looked at."""


class Tie(NamedTuple):
    """Neighbouring values of a format, and where between them the nearest changes, as a fraction or its square."""

    low: float
    high: float
    boundary: Fraction
    is_squared: bool = False

    def place(self) -> float:
        """The float64 nearest to the boundary."""
        root = math.sqrt(self.boundary) if self.is_squared else float(self.boundary)
        return math.copysign(root, self.low)

    def side(self, x: float) -> int:
        """-1 for x below the boundary, 0 for x on it, 1 for x above."""
        if not self.is_squared:
            return (x > self.boundary) - (x < self.boundary)
        beyond = Fraction(x) ** 2
        return ((beyond > self.boundary) - (beyond < self.boundary)) * (1 if x > 0 else -1)


def ties(format: NumberFormat) -> list[Tie]:
    """Between neighbours of one sign."""
    values = levels(format)
    pairs = [(low, high) for low, high in zip(values, values[1:], strict=False) if low * high > 0]
    if format.encode.tie_domain.value == "bitstring":
        between = sorted(set(levels(one_bit_longer(format))) - set(values))
        found = [Tie(*pair, Fraction(next(tie for tie in between if pair[0] < tie))) for pair in pairs]
    elif format.encode.tie_domain.value == "log":
        found = [Tie(low, high, Fraction(low) * Fraction(high), is_squared=True) for low, high in pairs]
    else:
        found = [Tie(low, high, (Fraction(low) + Fraction(high)) / 2) for low, high in pairs]
    near = [tie for tie in found if abs(math.frexp(tie.low)[1]) < FLOAT32_EXPONENTS]
    return near[:: -(-len(near) // AT_MOST)]


def levels(format: NumberFormat) -> list[float]:
    """Distinct values that inputs can become, ascending."""
    codes = np.arange(1 << format.bits, dtype=np.uint8 if format.bits <= 8 else np.uint16)
    values = Codec(format).decode(codes, dtype="float64")
    return np.unique(values[np.isfinite(values)] + 0.0).tolist()


def one_bit_longer(format: NumberFormat) -> NumberFormat:
    return parse_format(f"name: longer\nextends: {format.name}\nelement: {{bits: {format.bits + 1}}}\n")


def inputs(tie: Tie) -> Iterator[float]:
    """On and next to a tie."""
    place = tie.place()
    for distance in DISTANCES:
        for sign in (-1, 1):
            yield place + sign * distance * math.ulp(place)


def is_even(format: NumberFormat, value: float) -> bool:
    """Definition 14: by the code, or in a codebook by the rank."""
    if format.element.kind == "codebook":
        return levels(format).index(value) % 2 == 0
    return int(Codec(format).encode(np.array([value]))[0]) % 2 == 0


def nearest(format: NumberFormat, tie: Tie, x: float) -> float:
    side = tie.side(x)
    if side:
        return tie.high if side > 0 else tie.low
    if format.encode.rounding.value == "nearest_away":
        return max(tie.low, tie.high, key=abs)
    return tie.low if is_even(format, tie.low) else tie.high


@pytest.mark.parametrize("name", FORMATS)
def test_float64_next_to_a_tie_becomes_the_nearest_value(name: str) -> None:
    format = load_format(name)
    codec = Codec(format)
    expected = {x: nearest(format, tie, x) for tie in ties(format) for x in inputs(tie)}
    x = np.array(list(expected))
    codes = codec.encode(x)
    values = codec.decode(codes, dtype="float64").tolist()
    wrong = [(x.hex(), value, ours) for (x, value), ours in zip(expected.items(), values, strict=True) if ours != value]
    assert not wrong, wrong[:5]
    assert codes.tolist() == [exact.encode_number(format, Fraction(v)) for v in expected]
    with np.errstate(over="ignore"):
        twice = codec.encode(x.astype(np.float32))
    assert (twice != codes).sum() >= len(x) // 20, "rounding twice would do as well"


@pytest.mark.parametrize("via", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "posit8", "nf4", "int8"])
def test_via_rounds_twice_where_it_is_asked_for(name: str, via: str) -> None:
    plain = load_format(name)
    twice = parse_format(f"name: twice\nextends: {name}\nencode: {{via: {via}}}\n")
    x = np.array([x for tie in ties(plain) for x in inputs(tie)])
    between = Codec(load_format(via)).fake_quantize(x)
    assert Codec(twice).encode(x).tolist() == Codec(plain).encode(between).tolist()
    assert Codec(twice).encode(x).tolist() != Codec(plain).encode(x).tolist()


DIRECTED = {"toward_zero": 1.0, "toward_positive": 1.125, "toward_negative": 1.0, "to_odd": 1.125}


@pytest.mark.parametrize("rounding", DIRECTED)
def test_directed_modes_see_what_float32_cannot(rounding: str) -> None:
    """1 + 2^-40 lies above 1, whose code is even; float32 takes it for 1."""
    format = parse_format(f"name: directed\nextends: float8_e4m3fn\nencode: {{rounding: {rounding}}}\n")
    x = np.array([1 + 2.0**-40, -1 - 2.0**-40, 2 - 2.0**-40])
    above, below = DIRECTED[rounding], {"toward_positive": -1.0, "toward_negative": -1.125}
    under_two = {"toward_positive": 2.0}.get(rounding, 1.875)
    codec = Codec(format)
    assert codec.fake_quantize(x).tolist() == [above, below.get(rounding, -above), under_two]
    assert codec.fake_quantize(x.astype(np.float32)).tolist() == [1, -1, 2]
