"""Formats, and what their codes and encoders must give by the Definitions alone: all worked out by hand."""

from __future__ import annotations

import math
import random
import struct
from fractions import Fraction
from functools import cache

from statqat_sim.reference.exact import Number, Special
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.encode import Rounding
from statqat_sim.spec.number import NumberFormat

E4M3FN = "kind: float, exponent_bits: 4, mantissa_bits: 3, nan: all_ones"
E5M2 = "kind: float, exponent_bits: 5, mantissa_bits: 2, nan: ieee, inf: ieee"
E4M3FNUZ = "kind: float, exponent_bits: 4, mantissa_bits: 3, bias: 8, nan: negative_zero"
E4M3B11FNUZ = "kind: float, exponent_bits: 4, mantissa_bits: 3, bias: 11, nan: negative_zero"
E5M2FNUZ = "kind: float, exponent_bits: 5, mantissa_bits: 2, bias: 16, nan: negative_zero"
E3M4 = "kind: float, exponent_bits: 3, mantissa_bits: 4, nan: ieee, inf: ieee"
E4M3 = "kind: float, exponent_bits: 4, mantissa_bits: 3, nan: ieee, inf: ieee"
P3109_8P3SE = "kind: float, exponent_bits: 5, mantissa_bits: 2, bias: 16, nan: negative_zero, inf: max_code"
P3109_8P3SF = "kind: float, exponent_bits: 5, mantissa_bits: 2, bias: 16, nan: negative_zero"
P3109_8P3UE = "kind: float, signed: false, exponent_bits: 6, mantissa_bits: 2, bias: 32, nan: all_ones, inf: max_code"
E2M1 = "kind: float, exponent_bits: 2, mantissa_bits: 1"
E2M3 = "kind: float, exponent_bits: 2, mantissa_bits: 3"
E3M2 = "kind: float, exponent_bits: 3, mantissa_bits: 2"
E3M0 = "kind: float, exponent_bits: 3, mantissa_bits: 0"
E8M0 = (
    "kind: float, signed: false, exponent_bits: 8, mantissa_bits: 0, bias: 127,"
    " subnormals: none, zero: none, nan: all_ones"
)
FLUSH = "kind: float, exponent_bits: 3, mantissa_bits: 2, subnormals: flush"
CFLOAT8 = "kind: float, exponent_bits: 4, mantissa_bits: 3, bias: 7, subnormals: raw"
NO_SUBNORMALS = "kind: float, exponent_bits: 3, mantissa_bits: 2, subnormals: none"
NO_ZERO = "kind: float, exponent_bits: 3, mantissa_bits: 1, subnormals: none, zero: none"
NO_ZERO_NAN = "kind: float, exponent_bits: 3, mantissa_bits: 1, subnormals: none, zero: none, nan: all_ones"
POSITIVE_ZERO = "kind: float, exponent_bits: 3, mantissa_bits: 2, zero: positive"
UE4M3 = "kind: float, signed: false, exponent_bits: 4, mantissa_bits: 3, nan: all_ones"
BFLOAT16 = "kind: float, exponent_bits: 8, mantissa_bits: 7, nan: ieee, inf: ieee"
FLOAT16 = "kind: float, exponent_bits: 5, mantissa_bits: 10, nan: ieee, inf: ieee"
FLOAT32 = "kind: float, exponent_bits: 8, mantissa_bits: 23, nan: ieee, inf: ieee"
WIDE = "kind: float, exponent_bits: 11, mantissa_bits: 4, nan: ieee, inf: ieee"
WIDE_RANGE = "kind: float, exponent_bits: 9, mantissa_bits: 0"
INT4 = "kind: int, bits: 4"
SYMMETRIC = "kind: int, bits: 4, min: -7"
UINT4 = "kind: int, bits: 4, encoding: unsigned"
SIGN_MAGNITUDE = "kind: int, bits: 4, encoding: sign_magnitude, fraction_bits: 2"
NONNEGATIVE = "kind: int, bits: 4, encoding: sign_magnitude, min: 0"
OFFSET4 = "kind: int, bits: 4, encoding: offset_binary"
OFFSET3 = "kind: int, bits: 4, encoding: offset_binary, offset: 3"
INT32 = "kind: int, bits: 32"
TERNARY = "kind: codebook, bits: 2, values: [0.0, 1.0, -0.0]"
NO_LEVEL_0 = "kind: codebook, bits: 3, values: [-3, 1, 3, -1, 3]"
BINARY = "kind: codebook, bits: 1, values: [-1, 1]"
BOTH_ZEROS = "kind: codebook, bits: 2, values: [0.0, -0.0, 3]"
LOPSIDED = "kind: codebook, bits: 2, values: [-2, 1, 4, 0]"
POSITIVES = "kind: codebook, bits: 2, values: [1, 2, 5]"
NEGATIVES = "kind: codebook, bits: 2, values: [-1, -2, -5, 0]"
POSIT8 = "kind: posit, bits: 8, es: 2"
POSIT8_ES0 = "kind: posit, bits: 8, es: 0"
POSIT8_ES1 = "kind: posit, bits: 8, es: 1"
POSIT2 = "kind: posit, bits: 2, es: 2"
TAKUM8 = "kind: takum, bits: 8"
TAKUM_LOG8 = "kind: takum, bits: 8, variant: logarithmic"
TAKUM2 = "kind: takum, bits: 2"
TAKUM16 = "kind: takum, bits: 16"
LNS8 = "kind: lns, bits: 8, fraction_bits: 3"
LNS4 = "kind: lns, bits: 4, fraction_bits: 0"
HIF8_REGIMES = (
    'kind: tapered, bits: 8, regimes: [{prefix: "11", exponent_bits: 4, mantissa_bits: 1},'
    ' {prefix: "10", exponent_bits: 3, mantissa_bits: 2}, {prefix: "01", exponent_bits: 2, mantissa_bits: 3},'
    ' {prefix: "001", exponent_bits: 1, mantissa_bits: 3}, {prefix: "0001", exponent_bits: 0, mantissa_bits: 3},'
    ' {prefix: "0000", subnormal_exponent: -23, mantissa_bits: 3}]'
)
HIF8 = f"{HIF8_REGIMES}, nan: negative_zero, inf: max_code"
ZERO_BETWEEN = (  # zero is not code 0, and the last regime is that of 1 and 1.5
    'kind: tapered, bits: 4, regimes: [{prefix: "0", exponent_bits: 1, mantissa_bits: 1},'
    ' {prefix: "10", subnormal_exponent: -4, mantissa_bits: 1}, {prefix: "11", exponent_bits: 0, mantissa_bits: 1}]'
)

INF, NAN = math.inf, math.nan

DETERMINISTIC = [mode for mode in Rounding if not mode.is_stochastic]
STOCHASTIC = [mode for mode in Rounding if mode.is_stochastic]


@cache
def make(element: str, encode: str = "") -> NumberFormat:
    return parse_format(f"name: probe\nelement: {{{element}}}\nencode: {{{encode}}}\n")


def bits_of(x: float) -> int:
    return int.from_bytes(struct.pack("<f", x), "little")


def float_of(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def as_float(number: Number) -> float:
    return float(number) if isinstance(number, Fraction) else float(number.value)


def is_finite(number: Number) -> bool:
    return isinstance(number, Fraction) or number is Special.NEGATIVE_ZERO


def real(number: Number) -> Fraction:
    """The finite number, without the sign of zero."""
    assert is_finite(number)
    return number if isinstance(number, Fraction) else Fraction(0)


def same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


def random_bits(count: int, seed: int = 0) -> list[int]:
    """Half over all patterns, half of moderate size."""
    source = random.Random(seed)
    moderate = [bits_of(source.choice((-1, 1)) * 2.0 ** source.uniform(-20, 17)) for _ in range(count // 2)]
    return [source.getrandbits(32) for _ in range(count - len(moderate))] + moderate


MEANINGS = [
    (E4M3FN, {0: 0, 1: 2**-9, 7: 7 * 2**-9, 8: 2**-6, 0x38: 1, 0x7E: 448, 0x7F: NAN, 0xFE: -448, 0x80: -0.0}),
    (E5M2, {0x7B: 57344, 0x7C: INF, 0x7D: NAN, 0x7F: NAN, 0xFC: -INF, 1: 2**-16}),
    (E4M3FNUZ, {0x80: NAN, 0x7F: 240, 0xFF: -240, 1: 2**-10}),
    (P3109_8P3SE, {0x7E: 49152, 0x7F: INF, 0xFF: -INF, 0x80: NAN, 0x40: 1}),
    (P3109_8P3UE, {0xFF: NAN, 0xFE: INF, 0xFD: 1.25 * 2.0**31}),
    (E8M0, {0: 2.0**-127, 127: 1, 254: 2.0**127, 255: NAN}),
    (E3M0, {0: 0, 1: 0.25, 7: 16, 8: -0.0, 15: -16}),
    (FLUSH, {0: 0, 3: 0, 4: 0.25, 0x23: -0.0, 0x24: -0.25}),
    (CFLOAT8, {1: 2**-10, 7: 7 * 2**-10, 8: 2**-6}),
    (NO_SUBNORMALS, {0: 0, 1: 1.25 * 2**-3, 3: 1.75 * 2**-3, 4: 0.25, 0x20: -0.0}),
    (NO_ZERO, {0: 2**-3, 1: 1.5 * 2**-3, 0x10: -(2**-3)}),
    (POSITIVE_ZERO, {0: 0.0, 0x20: 0.0, 0x21: -(2**-4)}),
    (INT4, {0: 0, 7: 7, 8: -8, 15: -1}),
    (SYMMETRIC, {8: -8}),
    (SIGN_MAGNITUDE, {0: 0, 8: -0.0, 9: -0.25, 15: -1.75}),
    (OFFSET4, {0: -8, 8: 0, 15: 7}),
    (OFFSET3, {0: -3, 3: 0, 15: 12}),
    (TERNARY, {0: 0.0, 1: 1, 2: -0.0, 3: NAN}),
    # 0x7D is 0 111110 1: the regime of 16^4, and 1 of 2 exponent bits, so 2^2
    (POSIT8, {0: 0, 0x40: 1, 0x44: 1.5, 0x41: 1.125, 0x48: 2, 0x50: 4, 0x58: 8, 0x60: 16, 0x70: 256, 0x78: 4096}),
    (POSIT8, {0x7C: 2**16, 0x7D: 2**18, 0x7E: 2**20, 0x7F: 2**24, 1: 2**-24, 2: 2**-20, 3: 2**-18, 0x38: 0.5}),
    (POSIT8, {0x80: NAN, 0xC0: -1, 0xBC: -1.5, 0xB8: -2, 0xFF: -(2**-24), 0x81: -(2**24), 0xFD: -(2**-18)}),
    (POSIT8_ES0, {0: 0, 1: 2**-6, 0x20: 0.5, 0x30: 0.75, 0x40: 1, 0x50: 1.5, 0x60: 2, 0x7F: 64, 0x80: NAN, 0xC0: -1}),
    (POSIT8_ES1, {0x44: 1.25, 0x50: 2, 0x60: 4, 0x7F: 4096, 1: 2**-12}),
    (POSIT2, {0: 0, 1: 1, 2: NAN, 3: -1}),
    # 0x4C is 0 1 001 1 00: direction 1, r = 1, so c = 2^1 - 1 + 1; 0x30 is 0 0 110 0 00: r = 7 - 6, c = -2^2 + 1
    (TAKUM8, {0: 0, 0x40: 1, 0x44: 1.5, 0x48: 2, 0x4C: 4, 0x38: 0.5, 0x34: 0.25, 0x30: 0.125, 0x70: 2.0**63}),
    (TAKUM8, {0x7F: 2.0**239, 1: 2.0**-239, 0x80: NAN, 0xC0: -1, 0xBC: -1.5, 0xB8: -2, 0x81: -(2.0**239)}),
    (TAKUM16, {0x7FFF: (2 - 2**-4) * 2.0**254, 0x8001: -(2 - 2**-4) * 2.0**254, 1: (1 + 2**-4) * 2.0**-255}),
    (TAKUM2, {0: 0, 1: 1, 2: NAN, 3: -1}),
    (TAKUM_LOG8, {0: 0, 0x40: 1, 0x44: 1.2840254166877414, 0x48: 1.6487212707001282, 0x4C: 2.718281828459045}),
    (TAKUM_LOG8, {0x38: 0.6065306597126334, 0xC0: -1, 0xB8: -1.6487212707001282, 0x80: NAN}),
    (LNS8, {0: 1, 1: 1.0905077326652577, 4: 1.4142135623730951, 8: 2, 0x3F: 234.75303506039583, 0x40: 0, 0xC0: NAN}),
    (LNS8, {0x41: 0.004259795830723663, 0x78: 0.5, 0x7F: 0.9170040432046712, 0x80: -1, 0xBF: -234.75303506039583}),
    (LNS4, {0: 1, 3: 8, 4: 0, 5: 0.125, 7: 0.5, 8: -1, 12: NAN, 15: -0.5}),
    # 0x30 is 0 01 10 000: two exponent bits, the first a sign, the other after an implicit one: -2
    (
        HIF8,
        {0: 0, 1: 2**-22, 7: 2**-16, 8: 1, 0x0C: 1.5, 0x10: 2, 0x18: 0.5, 0x20: 4, 0x28: 8, 0x30: 0.25, 0x38: 0.125},
    ),
    (HIF8, {0x40: 16, 0x5F: 1.75 * 2**-7, 0x60: 256, 0x61: 384, 0x70: 2**-8, 0x7E: 2**-15, 0x7F: 1.5 * 2**-15}),
    (HIF8, {0x6E: 2.0**15, 0xEE: -(2.0**15), 0x6F: INF, 0xEF: -INF, 0x80: NAN, 0x88: -1}),
    (HIF8_REGIMES, {0x6F: 1.5 * 2**15, 0xEF: -1.5 * 2**15, 0x80: -0.0}),
    (ZERO_BETWEEN, {0: 2, 1: 3, 2: 0.5, 3: 0.75, 4: 0, 5: 2**-3, 6: 1, 7: 1.5, 8: -2, 12: -0.0, 13: -(2**-3)}),
]

UP, DOWN, CUT, ODD = (
    "rounding: toward_positive",
    "rounding: toward_negative",
    "rounding: toward_zero",
    "rounding: to_odd",
)
AWAY, TO_ZERO, TIES_UP = "rounding: nearest_away", "rounding: nearest_zero", "rounding: nearest_up"

ENCODED = [
    # no mantissa: parity is the exponent field's lowest bit; values 0.25, 0.5, 1, ... are codes 1, 2, 3, ...
    (E3M0, "", {1.5: 4, 3: 4, 6: 6, 0.125: 0, 0.126: 1, -1.5: 12, 24: 7, -INF: 15, NAN: 7, -0.1: 8}),
    (E3M0, ODD, {1.5: 3, 3: 5, 1: 3, 2: 4, 20: 7}),
    # 464 is the tie between 448 and the successor 480
    (E4M3FN, "overflow: nan", {464: 0x7E, 464.01: 0x7F, -464.01: 0xFF, 1e9: 0x7F, INF: 0x7F, -INF: 0xFF, NAN: 0x7F}),
    (E4M3FN, "overflow: nan, rounding: nearest_away", {464: 0x7F, 463.9: 0x7E, -464: 0xFF}),
    (E4M3FN, "overflow: nan, rounding: nearest_up", {464: 0x7F, -464: 0xFE, 1.0625: 0x39, -1.0625: 0xB8}),
    (E4M3FN, "", {464.01: 0x7E, INF: 0x7E, -INF: 0xFE, -NAN: 0xFF, 1.0625: 0x38, 1.1875: 0x3A, 1.0626: 0x39}),
    (E4M3FN, f"overflow: nan, {CUT}", {1e9: 0x7E, -1e9: 0xFE, INF: 0x7F, -INF: 0xFF}),
    (
        E4M3FN,
        f"overflow: nan, {UP}",
        {449: 0x7F, 1e9: 0x7F, -1e9: 0xFE, -449: 0xFE, -INF: 0xFF, 2.0**-40: 1, -(2.0**-40): 0x80},
    ),
    (E4M3FN, f"overflow: nan, {DOWN}", {449: 0x7E, 1e9: 0x7E, -449: 0xFF, -1e9: 0xFF, INF: 0x7F, -(2.0**-40): 0x81}),
    (E4M3FN, f"overflow: nan, {ODD}", {449: 0x7F, 1e9: 0x7F, 1e-9: 1}),  # 0x7E is even
    (E4M3FN, f"overflow: nan, inf_input: saturate, {TO_ZERO}", {464: 0x7E, 464.01: 0x7F, INF: 0x7E, 1.1875: 0x39}),
    (E4M3FN, "nan_input: 0x11", {NAN: 0x11, -NAN: 0x91}),
    (E4M3FN, "nan_input: zero", {NAN: 0, -NAN: 0}),
    (E4M3FN, "nan_input: max", {NAN: 0x7E, -NAN: 0x7E}),
    (E4M3FN, "underflow: min", {1e-9: 1, -1e-9: 0x81, 0.0: 0, "-0": 0x80}),
    (E4M3FN, "flush_inputs: true, underflow: min", {2.0**-127: 0, -(2.0**-127): 0x80, 2.0**-126: 1}),
    (
        E4M3FN,
        "overflow: nan, via: bfloat16",
        {464.01: 0x7E, 465: 0x7E, 465.01: 0x7F, 1.0625 + 2**-9: 0x38, 1.0625 + 2**-8: 0x38},
    ),
    (E5M2, "overflow: inf", {57344: 0x7B, 61439: 0x7B, 61440: 0x7C, -61440: 0xFC, NAN: 0x7E, -NAN: 0xFE, INF: 0x7C}),
    (E5M2, f"overflow: inf, {ODD}", {61440: 0x7B, 1e9: 0x7B, -1e9: 0xFB, INF: 0x7C}),  # 0x7B is odd
    (E5M2, f"overflow: inf, inf_input: nan, {CUT}", {1e9: 0x7B, INF: 0x7E, -INF: 0xFE}),
    (E5M2, "overflow: saturate", {1e9: 0x7B, INF: 0x7B}),
    (E5M2, "overflow: saturate, inf_input: inf", {1e9: 0x7B, INF: 0x7C}),
    (E4M3FNUZ, "overflow: nan", {"-0": 0, -1e-9: 0, 1e9: 0x80, -1e9: 0x80, -NAN: 0x80, 248: 0x80, 247.9: 0x7F}),
    (E4M3FNUZ, "underflow: min", {-1e-9: 0x81, "-0": 0}),
    (P3109_8P3SE, "overflow: inf", {53248: 0x7E, 53249: 0x7F, -53249: 0xFF, INF: 0x7F, -INF: 0xFF, NAN: 0x80, "-0": 0}),
    (
        E8M0,
        "",
        {1.5: 128, 3: 128, 6: 130, 0.0: 0, "-0": 0, -1: 0, -INF: 0, NAN: 255, -NAN: 255, INF: 254, 2.0**-130: 0},
    ),
    (
        E8M0,
        "zero_input: nan, negative_input: nan, overflow: nan",
        {0.0: 255, "-0": 255, -1: 255, INF: 255, 2.0**-140: 0},
    ),
    (E8M0, "negative_input: abs", {-1.5: 128, -(2.0**-140): 0, -INF: 254}),
    # 0.125 is the tie between 0 and the smallest normal, both even
    (FLUSH, "", {0.125: 0, 0.126: 4, 0.2: 4, -0.125: 0x20, -0.126: 0x24}),
    (FLUSH, ODD, {1e-9: 4, 0.2: 4, -0.2: 0x24, 0.26: 5}),
    (FLUSH, "underflow: min", {1e-9: 4, -1e-9: 0x24}),
    # the gap of `raw`: 7·2^-10 and 2^-6, with the tie 11.5·2^-10
    (CFLOAT8, "", {11.5 * 2**-10: 8, 11.4 * 2**-10: 7}),
    (CFLOAT8, TO_ZERO, {11.5 * 2**-10: 7}),
    (NO_SUBNORMALS, "", {1.25 * 2**-4: 0, 1.26 * 2**-4: 1, -1e-9: 0x20}),
    (NO_ZERO, "", {0.0: 0, "-0": 0, 1e-9: 0, -1e-9: 0x10, 0.15: 0, 0.16: 1}),
    (NO_ZERO, DOWN, {1e-9: 0, -1e-9: 0x10, -0.126: 0x11}),
    (NO_ZERO_NAN, "zero_input: nan", {"-0": 0x0F, -NAN: 0x1F, -1e-9: 0x10}),
    (POSITIVE_ZERO, "", {-1e-9: 0, "-0": 0}),
    (UE4M3, "", {-1: 0, -INF: 0, "-0": 0, -1e-9: 0, -NAN: 0x7F}),
    (UE4M3, "underflow: min", {-1e-9: 0, 1e-9: 1}),
    (UE4M3, "negative_input: nan, flush_inputs: true", {-1e-9: 0x7F, "-0": 0, -(2.0**-127): 0, -INF: 0x7F}),
    (UE4M3, "negative_input: abs", {-1: 0x38, -INF: 0x7E, -1e-9: 0}),
    (UE4M3, "nan_input: 5", {-NAN: 5}),
    (INT4, "", {0.5: 0, 1.5: 2, 2.5: 2, -0.5: 0, -8.5: 8, 100: 7, -100: 8, INF: 7, -INF: 8, NAN: 7, "-0": 0}),
    (INT4, AWAY, {0.5: 1, -0.5: 15, 2.5: 3, 7.5: 7}),
    (INT4, TIES_UP, {0.5: 1, -0.5: 0, -1.5: 15}),
    (INT4, ODD, {0.5: 1, 1.5: 1, 2.1: 3, -0.1: 15, 2: 2}),
    (INT4, "overflow: wrap", {7.5: 8, 8: 8, 17: 1, -9: 7, 1e6: 0, INF: 7, -INF: 8}),
    (INT4, f"overflow: wrap, {CUT}", {7.9: 7, 8.9: 8, -8.9: 8}),
    (INT4, "nan_input: 3", {NAN: 3, -NAN: 11}),
    (INT4, "underflow: min", {0.1: 1, -0.1: 15, 0.0: 0, "-0": 0}),
    (SYMMETRIC, "", {-8: 9, -INF: 9, -7.5: 9}),
    (UINT4, "nan_input: 3, underflow: min", {-NAN: 3, -0.2: 0, 0.2: 1, 15.5: 15}),
    (SIGN_MAGNITUDE, "", {"-0": 8, -0.1: 8, 0.1: 0, -0.375: 10, 0.625: 2, -9: 15, -NAN: 7}),
    (NONNEGATIVE, "", {"-0": 0, -0.1: 0, -5: 0}),
    (OFFSET4, "", {-8: 0, 7: 15, 0: 8, "-0": 8, 2.5: 10}),
    (OFFSET3, "overflow: wrap", {12.6: 0, -4: 15, 0: 3}),
    (TERNARY, "", {0.2: 0, "-0": 2, -5: 2, 0.5: 0, NAN: 3}),
    (NO_LEVEL_0, "", {0: 1, "-0": 1, 0.1: 1, -0.1: 3, 2: 1, -2: 0, 9: 2, NAN: 5}),
    (NO_LEVEL_0, ODD, {0: 3, 0.9: 3, 1.1: 2, 1: 1}),
    (NO_LEVEL_0, CUT, {-0.5: 1, 0: 1, -1.5: 3}),
    (BINARY, "", {0: 0, "-0": 0, 0.1: 1, 9: 1, -INF: 0}),
    (BINARY, AWAY, {0: 1}),
    (BINARY, TO_ZERO, {0: 1}),
    (BINARY, TIES_UP, {"-0": 1}),
    (BINARY, CUT, {0: 1, -0.9: 1, -1: 0}),
    (BINARY, DOWN, {0: 0, 0.9: 0}),
    (NO_LEVEL_0, "zero_input: nan", {0: 5, "-0": 5, 0.1: 1}),
    (LOPSIDED, "underflow: min", {0.1: 1, -0.1: 0, "-0": 3}),
    (LOPSIDED, "nan_input: 1", {NAN: 1, -NAN: 3}),
    (NEGATIVES, "underflow: min", {0.1: 3, -0.1: 0, 7: 3}),
    (POSITIVES, "", {0: 0, -3: 0, -INF: 0, 1.5: 0, 3.5: 2, NAN: 3, INF: 2}),
    (POSITIVES, "negative_input: abs", {-3: 1, -4: 2}),
    (POSITIVES, "negative_input: nan", {-3: 3, "-0": 0}),
    (BOTH_ZEROS, "", {-3: 1, "-0": 1, 0: 0, -INF: 1}),
    # between 2^20 and 2^24 lies the 9-bit posit 2^22, between 2^-24 and 2^-20 the 9-bit posit 2^-22
    (POSIT8, "", {1.0625: 0x40, 1.07: 0x41, 2.0**22: 0x7E, 1.001 * 2**22: 0x7F, 1e30: 0x7F, -(2.0**22): 0x82}),
    (POSIT8, "", {-1.001 * 2**22: 0x81, 1e-30: 1, -1e-30: 0xFF, 2.0**-22: 2, 0.999 * 2**-22: 1, "-0": 0, 0.0: 0}),
    (POSIT8, "", {INF: 0x80, -INF: 0x80, NAN: 0x80, -NAN: 0x80, -1.0625: 0xC0, -1.07: 0xBF}),
    (POSIT8, "tie_domain: arithmetic", {2.0**22: 0x7E, 8912896: 0x7E, 8912897: 0x7F, 1e-30: 1}),
    (POSIT8, "underflow: zero, inf_input: saturate", {2.0**-28: 0, 1.001 * 2**-28: 1, -1e-30: 0, -INF: 0x81}),
    (POSIT8, "underflow: zero, tie_domain: arithmetic", {2.0**-25: 0, 1.001 * 2**-25: 1, -1.001 * 2**-25: 0xFF}),
    (POSIT8, AWAY, {1.0625: 0x41, -1.0625: 0xBF, 2.0**22: 0x7F}),
    (POSIT8, TIES_UP, {1.0625: 0x41, -1.0625: 0xC0}),
    (POSIT8, TO_ZERO, {1.1875: 0x41, -1.1875: 0xBF}),
    (POSIT8, ODD, {1.0001: 0x41, 1.13: 0x41, -1.0001: 0xBF, 1e30: 0x7F, 1e-30: 1}),
    (POSIT8, CUT, {1.124: 0x40, -1.124: 0xC0, 1e-30: 1, -1e-30: 0xFF, 1e30: 0x7F}),
    (POSIT8, UP, {1.001: 0x41, -1.124: 0xC0, -1e30: 0x81, -1e-30: 0xFF}),
    # c = 63, 71 of the codes 0x70, 0x71, and 67 of the 9-bit code between; -127 of the code 8, -159 of 6
    (TAKUM8, "tie_domain: bitstring", {2.0**67: 0x70, 1.001 * 2**67: 0x71, -1.001 * 2**67: 0x8F, INF: 0x7F}),
    (
        TAKUM8,
        "",
        {2.0**70: 0x70, 1.01 * 2**70: 0x71, -1.01 * 2**70: 0x8F, 1e-38: 8, 1e-45: 6, "-0": 0, NAN: 0x80},
    ),
    (TAKUM_LOG8, "tie_domain: bitstring", {1.0317: 0x40, 1.0318: 0x41, -1.0317: 0xC0, -1.0318: 0xBF}),
    # 2^(1/16) is 1.04427, the arithmetic midpoint 1.04525; 2^(-63/8 - 1/16) is 0.0040792, half the least value 0.00213
    (LNS8, "tie_domain: log", {1.0442: 0, 1.0443: 1, 0.00407: 0x40, 0.00409: 0x41, -0.00409: 0xC1, -0.00407: 0x40}),
    (LNS8, "tie_domain: log", {INF: 0x3F, -INF: 0xBF, NAN: 0xC0, "-0": 0x40, 1e9: 0x3F, -1.0443: 0x81}),
    (LNS8, "tie_domain: log, underflow: min", {1e-9: 0x41, -1e-9: 0xC1}),
    (LNS8, "", {1.0452: 0, 1.0453: 1, 0.00212: 0x40, 0.00214: 0x41}),
    (LNS4, "", {0.75: 0, 1.5: 0, 3: 2, 6: 2, 0.0625: 4, -0.75: 8, 0.375: 6}),
    (LNS4, ODD, {0.75: 7, 1.5: 1, 0.01: 5, -1.5: 9}),
    (
        HIF8,
        "overflow: inf",
        {40960: 0x6E, 40961: 0x6F, -40961: 0xEF, INF: 0x6F, -INF: 0xEF, NAN: 0x80, -1e-9: 0, "-0": 0},
    ),
    (HIF8, f"overflow: inf, {AWAY}", {40960: 0x6F, 2.0**-23: 1, 0.999 * 2**-23: 0, -(2.0**-23): 0x81}),
    (HIF8, f"overflow: inf, {CUT}", {1e9: 0x6E, INF: 0x6F}),
    (HIF8, f"overflow: nan, {ODD}", {32769: 0x80, -INF: 0x80, 2.5 * 2**-16: 0x7F, 1.5 * 2**-16: 7}),
    (HIF8, "", {1e9: 0x6E, -INF: 0xEE, 2.0**-23: 0, 1.5 * 2**-22: 2, 1.5 * 2**-16: 0x7E, 320: 0x60, 448: 0x62}),
    (HIF8_REGIMES, "", {-1e-9: 0x80, 1e9: 0x6F, NAN: 0x6F}),
    (ZERO_BETWEEN, "", {0.0: 4, "-0": 12, 0.01: 4, -0.01: 12, 2**-4: 4, 0.3125: 2, 0.875: 6, 1.75: 0, -1.75: 8, 9: 1}),
    (INT32, "", {2.0**31: 2**31 - 1, -(2.0**31): 2**31, 16777216: 16777216}),
    (FLOAT32, "overflow: inf", {1.1: bits_of(1.1), 1e-45: 1, -3e38: bits_of(-3e38)}),
]
