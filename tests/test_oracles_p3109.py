"""Formats of P3109 against the projection that the report defines, worked out in exact arithmetic.

IEEE P3109 interim report v4.0 (2026-06-26), sections 4.7.3 to 4.7.5 and the value tables' layout. Nothing of
statqat_sim's own arithmetic is used.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pytest
from inputs import edges, random_bits
from libraries import LIBRARIES

from statqat_sim.codec import Codec
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.number import NumberFormat

Real: TypeAlias = Fraction | float
"""A fraction, or ±math.inf, or math.nan."""

ROUNDINGS = {
    "NearestTiesToEven": "nearest_even",
    "NearestTiesToAway": "nearest_away",
    "TowardZero": "toward_zero",
    "TowardPositive": "toward_positive",
    "TowardNegative": "toward_negative",
    "ToOdd": "to_odd",
}
SATURATIONS = ("SatFinite", "SatPropagate", "SatNone")
FORMATS = [f"p3109_binary8p{p}{s}{d}" for p in (1, 3, 4) for s in "su" for d in "ef"]

PROFILES = {
    name: {"sat_finite": "SatFinite", "sat_propagate": "SatPropagate", "sat_none": "SatNone"}[name.partition(".")[2]]
    for name in formats(kind="number")
    if name.startswith("p3109_") and ".sat_" in name
}


class P3109(NamedTuple):
    """Binary{K}p{P}, signed or not, extended or finite."""

    width: int
    precision: int
    signed: bool
    extended: bool

    @property
    def bias(self) -> int:
        return int(2 ** (self.width - self.precision - self.signed))

    @property
    def largest_code(self) -> int:
        """Before NaN of the unsigned formats and Inf of the extended ones."""
        return int(2 ** (self.width - self.signed)) - 1 - (not self.signed) - self.extended

    def magnitude(self, code: int) -> Fraction:
        trailing = self.precision - 1
        exponent, fraction = code >> trailing, code & (1 << trailing) - 1
        significand = fraction + (1 << trailing if exponent else 0)
        return significand * Fraction(2) ** (max(exponent, 1) - self.bias - trailing)

    @property
    def highest(self) -> Fraction:
        return self.magnitude(self.largest_code)

    @property
    def lowest(self) -> Fraction:
        return -self.highest if self.signed else Fraction(0)

    def encode(self, x: Real) -> int:
        if isinstance(x, float) and math.isnan(x):
            return 1 << self.width - 1 if self.signed else (1 << self.width) - 1
        sign = 1 << self.width - 1 if x < 0 else 0
        if isinstance(x, float):
            return sign | self.largest_code + 1
        return sign | codes_of(self)[abs(x)]


@cache
def codes_of(format: P3109) -> dict[Fraction, int]:
    return {format.magnitude(code): code for code in range(format.largest_code + 1)}


def floor_log2(x: Fraction) -> int:
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    return exponent if x >= Fraction(2) ** exponent else exponent - 1


def round_to_precision(x: Fraction, precision: int, bias: int, mode: str) -> Fraction:
    """Section 4.7.4."""
    if x == 0:
        return x
    q = max(floor_log2(abs(x)), 1 - bias) - precision + 1
    exact = abs(x) / Fraction(2) ** q
    low = exact.numerator // exact.denominator
    nu = exact - low
    even = low % 2 == 0 if precision > 1 else low == 0 or (q + bias) % 2 == 0
    away = {
        "TowardZero": False,
        "TowardPositive": nu > 0 and x > 0,
        "TowardNegative": nu > 0 and x < 0,
        "NearestTiesToAway": nu >= Fraction(1, 2),
        "NearestTiesToEven": nu > Fraction(1, 2) or (nu == Fraction(1, 2) and not even),
        "ToOdd": nu > 0 and even,
    }[mode]
    return (1 if x > 0 else -1) * (low + away) * Fraction(2) ** q


def saturate(target: P3109, saturation: str, mode: str, x: Real) -> Real:
    """Section 4.7.5, its lines from the top."""
    low, high = target.lowest, target.highest
    if isinstance(x, Fraction) and low <= x <= high:
        return x
    up = x > 0
    if saturation == "SatFinite":
        return high if up else low
    if isinstance(x, float):
        if target.extended and (up or target.signed):
            return x
        if saturation == "SatNone" and not up and not target.signed:
            return math.nan
        return high if up else low
    if saturation == "SatPropagate":
        return high if up else low
    if up and (mode in ("TowardZero", "TowardNegative") or mode == "ToOdd" and not target.signed and target.extended):
        return high
    if not up and mode in ("TowardZero", "TowardPositive"):
        return low
    if not up:
        return -math.inf if target.signed and target.extended else low if target.signed else math.nan
    return math.inf if target.extended else high


def project(target: P3109, mode: str, saturation: str, x: float) -> int:
    """Section 4.7.3."""
    if math.isnan(x):
        return target.encode(x)
    rounded = x if math.isinf(x) else round_to_precision(Fraction(x), target.precision, target.bias, mode)
    return target.encode(saturate(target, saturation, mode, rounded))


def parts(name: str) -> P3109:
    width, precision = name.removeprefix("p3109_binary")[:-2].split("p")
    return P3109(int(width), int(precision), name[-2] == "s", name[-1] == "e")


def policy(target: P3109, mode: str, saturation: str) -> str:
    """The projection in the words of the specification language."""
    keys = {"rounding": ROUNDINGS[mode]} if mode != "NearestTiesToEven" else {}
    if saturation == "SatPropagate" and target.extended:
        keys["inf_input"] = "inf"
    if saturation == "SatNone" and target.extended:
        keys["overflow"] = "inf"
    if saturation == "SatNone" and not target.signed:
        keys["negative_input"] = "nan"
    return ", ".join(f"{key}: {word}" for key, word in keys.items())


def inputs(format: NumberFormat) -> Any:
    bits = np.concatenate([edges(format, 40), random_bits(100)])
    x = bits.view(np.float32)
    return x[~np.isnan(x)].astype(np.float64).tolist() + [math.nan, 0.0, 5e-324, 1e300, -1e300]


def is_left_out(target: P3109, saturation: str, mode: str, x: float) -> bool:
    """SatNone of an unsigned format: the report tests the sign after rounding, the language before."""
    if target.signed or saturation != "SatNone" or not -math.inf < x < 0:
        return False
    rounded = round_to_precision(Fraction(x), target.precision, target.bias, mode)
    return rounded == 0 or mode in ("TowardZero", "TowardPositive")


def assert_projects(codec: Codec, target: P3109, mode: str, saturation: str) -> None:
    kept = [x for x in inputs(codec.format) if not is_left_out(target, saturation, mode, x)]
    codes = codec.encode(np.array(kept)).tolist()
    wrong = [
        f"{x!r}: {code:#x}, the report {expected:#x}"
        for x, code in zip(kept, codes, strict=True)
        if (expected := project(target, mode, saturation, x)) != code
    ]
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("saturation", SATURATIONS)
@pytest.mark.parametrize("mode", ROUNDINGS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_projection_is_what_the_report_defines(name: str, mode: str, saturation: str) -> None:
    target = parts(name)
    words = policy(target, mode, saturation)
    format = parse_format(f"name: projected\nextends: {name}\nencode: {{{words}}}\n") if words else load_format(name)
    assert_projects(Codec(format, "reference"), target, mode, saturation)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_a_projection_to_nearest(name: str) -> None:
    assert_projects(Codec(load_format(name)), parts(name.partition(".")[0]), "NearestTiesToEven", PROFILES[name])


ALL = [
    P3109(width, precision, signed, extended)
    for width in (*range(3, 9), 10, 16)
    for signed in (True, False)
    for precision in range(max(1, width - 8), width + (not signed))
    for extended in (True, False)
]


def described(format: P3109) -> str:
    """The format in the specification language."""
    keys = [f"exponent_bits: {format.width - format.precision + (not format.signed)}"]
    keys += [f"mantissa_bits: {format.precision - 1}", f"bias: {format.bias}"]
    keys += ["nan: negative_zero" if format.signed else "signed: false, nan: all_ones"]
    keys += ["inf: max_code"] if format.extended else []
    return f"name: p3109\nelement: {{kind: float, {', '.join(keys)}}}\n"


@pytest.mark.parametrize("target", ALL, ids=lambda f: f"{f.width}p{f.precision}{'us'[f.signed]}{'fe'[f.extended]}")
def test_gfloat_decodes_and_rounds_alike(target: P3109) -> None:
    """Negative inputs of unsigned formats are left out: gfloat rounds -1 to -1."""
    name = f"p3109_k{target.width}p{target.precision}{'us'[target.signed]}{'fe'[target.extended]}"
    theirs, codec = LIBRARIES["gfloat"](name), Codec(parse_format(described(target)), "reference")
    assert theirs.decode is not None
    assert theirs.encode is not None
    codes = np.arange(1 << target.width, dtype=np.uint8 if target.width <= 8 else np.uint16)
    assert np.array_equal(codec.decode(codes, dtype="float64"), theirs.decode(), equal_nan=True)
    x = np.array(inputs(codec.format))
    x = x if target.signed else np.abs(x)
    assert codec.encode(x).tolist() == theirs.encode(x).tolist()


@pytest.mark.parametrize("name", ["p3109_binary8p3ue.sat_none", "p3109_binary8p4uf.sat_none"])
def test_a_negative_that_rounds_to_zero_is_zero_in_the_report_and_nan_here(name: str) -> None:
    stem = name.removesuffix(".sat_none")
    target, x = parts(stem), -(2.0**-100)
    assert project(target, "NearestTiesToEven", "SatNone", x) == 0
    assert Codec(load_format(name)).encode(np.array([x])).tolist() == [target.encode(math.nan)]


def test_the_report_does_not_ask_for_nan_beyond_a_finite_format_as_gfloat_and_pychop_give_it() -> None:
    target = parts("p3109_binary8p3sf")
    assert project(target, "NearestTiesToEven", "SatNone", 1e9) == 0x7F
    assert Codec(load_format("p3109_binary8p3sf.gfloat")).encode(np.array([1e9])).tolist() == [0x80]
