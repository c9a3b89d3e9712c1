"""What every code means, by Definitions 1 to 5 of `formats/LANGUAGE.md`, in exact arithmetic on the keys of a spec.

Written from the standards, for the tests alone: nothing of the code that they test is imported.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any


def exact_value(spec: dict[str, Any], code: int) -> Fraction | str:
    """The meaning of a code by Definitions 1 to 5 of the language: a fraction, or the name of what it is."""
    return EXACT[spec["kind"]](spec, code)


def exact_float(spec: dict[str, Any], code: int) -> Fraction | str:
    e, m, nan, inf = spec["exponent_bits"], spec["mantissa_bits"], spec.get("nan", "none"), spec.get("inf", "none")
    ones = 2 ** (e + m) - 1
    negative, magnitude = divmod(code, ones + 1)
    field, mantissa = divmod(magnitude, 2**m)
    sign = "-" if negative else "+"
    if nan == "negative_zero" and negative and magnitude == 0:
        return "nan"
    if nan == "ieee" and field == 2**e - 1:
        return "nan" if mantissa else f"{sign}inf"
    if nan == "all_ones" and magnitude == ones:
        return "nan"
    if inf == "max_code" and magnitude == ones - (nan == "all_ones"):
        return f"{sign}inf"
    bias = spec.get("bias", 2 ** (e - 1) - 1)
    subnormals = spec.get("subnormals", "gradual")
    has_signed_zero = spec.get("zero", "signed" if spec.get("signed", True) and nan != "negative_zero" else "positive")
    is_zero_code = magnitude == 0 and has_signed_zero != "none"
    if field or (subnormals == "none" and not is_zero_code):
        value = (2**m + mantissa) * Fraction(2) ** (field - bias - m)
    else:
        value = {
            "gradual": mantissa * Fraction(2) ** (1 - bias - m),
            "flush": Fraction(0),
            "none": Fraction(0),
            "raw": mantissa * Fraction(2) ** (-bias - m),
        }[subnormals]
    if value == 0:
        return f"{sign if has_signed_zero == 'signed' else '+'}0"
    return -value if negative else value


def exact_int(spec: dict[str, Any], code: int) -> Fraction | str:
    bits, encoding = spec["bits"], spec.get("encoding", "twos_complement")
    half = 2 ** (bits - 1)
    n = {
        "twos_complement": code if code < half else code - 2 * half,
        "unsigned": code,
        "offset_binary": code - spec.get("offset", half),
        "sign_magnitude": code if code < half else half - code,
    }[encoding]
    if n == 0:
        return "-0" if code and encoding == "sign_magnitude" else "+0"
    return n / Fraction(2) ** spec.get("fraction_bits", 0)


def exact_entry(spec: dict[str, Any], code: int) -> Fraction | str:
    if code >= len(spec["values"]):
        return "nan"
    value = spec["values"][code]
    return Fraction(value) if value else f"{'-' if math.copysign(1, value) < 0 else '+'}0"


def split(bits: str, *widths: int) -> list[int]:
    """Bit fields from the left; what a short code lacks are zeros, the last field is all the rest."""
    padded = bits.ljust(sum(widths), "0")
    starts = [sum(widths[:index]) for index in range(len(widths) + 1)]
    return [int(padded[start : start + width] or "0", 2) for start, width in zip(starts, widths, strict=False)]


def negated(spec: dict[str, Any], code: int) -> str | None:
    """Sign and bits of a positive posit or takum: a negative code is the two's complement of its magnitude's."""
    full = 1 << spec["bits"]
    return f"{full - code:0{spec['bits']}b}" if code > full // 2 else None


def exact_bitstring(spec: dict[str, Any], code: int) -> Fraction | str:
    """Posits and takums: 0, NaR, and the mirror image of the positive codes."""
    if code == 0:
        return "+0"
    if code == 1 << (spec["bits"] - 1):
        return "nan"
    magnitude = {"posit": exact_posit, "takum": exact_takum}[spec["kind"]]
    if mirrored := negated(spec, code):
        return -magnitude(spec, mirrored)
    return magnitude(spec, f"{code:0{spec['bits']}b}")


def exact_posit(spec: dict[str, Any], bits: str) -> Fraction:
    """Posit Standard (2022), section 3.2, of a positive posit: ((1 + f)·2^e)·useed^k."""
    body, es = bits[1:], spec["es"]
    run = len(body) - len(body.lstrip(body[0]))
    k = run - 1 if body[0] == "1" else -run
    rest = body[run + 1 :]
    (exponent,) = split(rest, es)
    fraction = rest[es:]
    significand = 1 + Fraction(int(fraction or "0", 2), 1 << len(fraction))
    return significand * Fraction(2) ** (exponent + k * (1 << es))


def exact_takum(spec: dict[str, Any], bits: str) -> Fraction:
    """Takum Arithmetic (arXiv 2404.18603), definition 2, of a positive takum; for the logarithm, 60 digits rounded."""
    direction, field = split(bits[1:], 1, 3)
    width = field if direction else 7 - field
    (characteristic,) = split(bits[5:], width)
    mantissa = bits[5 + width :]
    c = (1 << width) - 1 + characteristic if direction else -(1 << (width + 1)) + 1 + characteristic
    m = Fraction(int(mantissa or "0", 2), 1 << len(mantissa))
    if spec.get("variant") == "logarithmic":
        half = (c + m) / 2
        return Fraction(float(LONG.exp(LONG.divide(Decimal(half.numerator), Decimal(half.denominator)))))
    return (1 + m) * Fraction(2) ** c


LONG = Context(prec=60)


def exact_lns(spec: dict[str, Any], code: int) -> Fraction | str:
    bits, steps = spec["bits"], 1 << spec["fraction_bits"]
    negative, n = code >> (bits - 1), code % (1 << (bits - 1))
    n -= (n >> (bits - 2)) << (bits - 1)
    if n == -(1 << (bits - 2)):
        return "nan" if negative else "+0"
    power = Fraction(float(LONG.power(Decimal(2), LONG.divide(Decimal(n), Decimal(steps)))))
    return -power if negative else power


def exact_tapered(spec: dict[str, Any], code: int) -> Fraction | str:
    """HiFloat8, arXiv 2409.16626, tables 2 and 3, with regimes, NaN and Inf as declared."""
    bits = f"{code:0{spec['bits']}b}"
    sign, magnitude = "-" if bits[0] == "1" else "+", bits[1:]
    if spec.get("nan") == "negative_zero" and sign == "-" and "1" not in magnitude:
        return "nan"
    if spec.get("inf") == "max_code" and tapered_magnitude(spec, magnitude) == largest_tapered(spec):
        return f"{sign}inf"
    value = tapered_magnitude(spec, magnitude)
    if value == 0:
        return f"{sign}0"
    return -value if sign == "-" else value


def tapered_magnitude(spec: dict[str, Any], bits: str) -> Fraction:
    (regime,) = (regime for regime in spec["regimes"] if bits.startswith(regime["prefix"]))
    fields, width = bits[len(regime["prefix"]) :], regime.get("exponent_bits", 0)
    mantissa = Fraction(int(fields[width:], 2), 1 << regime["mantissa_bits"])
    if "subnormal_exponent" in regime:
        steps = int(fields, 2)
        return Fraction(2) ** (regime["subnormal_exponent"] + steps) if steps else Fraction(0)
    exponent = int("1" + fields[1:width], 2) if width else 0
    return (1 + mantissa) * Fraction(2) ** (-exponent if fields[:width].startswith("1") else exponent)


def largest_tapered(spec: dict[str, Any]) -> Fraction:
    width = spec["bits"] - 1
    return max(tapered_magnitude(spec, f"{code:0{width}b}") for code in range(1 << width))


EXACT = {
    "float": exact_float,
    "int": exact_int,
    "codebook": exact_entry,
    "posit": exact_bitstring,
    "takum": exact_bitstring,
    "lns": exact_lns,
    "tapered": exact_tapered,
}


def described(value: float) -> Fraction | str:
    """A float64 in the words of `exact_value`."""
    if math.isnan(value):
        return "nan"
    sign = "-" if math.copysign(1, value) < 0 else "+"
    if math.isinf(value):
        return f"{sign}inf"
    return Fraction(value) if value else f"{sign}0"
