"""Block formats of every kind, and arrays for them: what the tests of compiled backends share."""

from __future__ import annotations

from typing import Any

import numpy as np

from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import parse_format

Array = Any
E8M0, E4M3, E2M1 = "float8_e8m0fnu", "float8_e4m3fn", "float4_e2m1fn"
NESTED = "{element: uint6, scales: [{block: %s, format: float16}]}"


def text(element: str, *levels: str, further: str = "") -> str:
    scales = "".join(f"  - {{{level}}}\n" for level in levels)
    return f"name: probe\nelement: {element}\n{further}scales:\n{scales}"


def mx(element: str, block: int | str = 32, rule: str = "floor") -> str:
    return text(element, f"block: {block}, format: {E8M0}, rule: {rule}")


def nested(inner: int, outer: int | str) -> str:
    """As k-quants are: scales and minima of 6 bits."""
    format = NESTED % outer
    offset = f"offset: {{kind: minimum, sign: -1, scales: [{{block: {inner}, format: {format}}}]}}\n"
    return text("uint4", f"block: {inner}, rule: minmax, format: {format}", further=offset)


def drawing(bits: int) -> str:
    return f"encode: {{rounding: stochastic_a, random_bits: {bits}}}\n"


FORMATS = {
    "mxfp4": mx(E2M1),
    "mxfp8 of 64": mx(E4M3, 64, "rceil"),
    "of 2": mx(E2M1, 2),
    "of 5": text(E2M1, f"block: 5, format: {E4M3}"),
    "of 24": text("int4", "block: tensor, format: float32", f"block: 24, format: {E4M3}"),
    "of 1000": mx(E2M1, 1000),
    "nvfp4": text(E2M1, "block: tensor, format: float32", f"block: 16, format: {E4M3}"),
    "16 × 16": mx(E4M3, "[16, 16]"),
    "128 × 128": text(E4M3, "block: [128, 128], format: float32"),
    "5 × 3": mx("int8", "[5, 3]"),
    "channel": text("int8", "block: channel, format: float32"),
    "tensor": text("int8", "block: tensor, format: float32"),
    "signed of 17": text(E2M1, "block: 17, format: float16, rule: signed_absmax"),
    "signed of 4 × 6": text(E2M1, "block: [4, 6], format: float16, rule: signed_absmax"),
    "signed channel": text("int8", "block: channel, format: float32, rule: signed_absmax"),
    "codebook": text("nf4", "block: 64, format: float32"),
    "codebook of 24": text("nf4", "block: 24, format: float32"),
    "signed of 13": text("nf4", "block: 13, format: float16, rule: signed_absmax"),
    "minimum": text(
        "uint4",
        "block: 32, format: float16, rule: minmax",
        further="offset: {kind: minimum, scales: [{block: 32, format: float16}]}\n",
    ),
    "zero point": text(
        "uint4", "block: 100, format: float32, rule: minmax", further="offset: {kind: zero_point, format: uint4}\n"
    ),
    "zero point after rounding": text(
        "int4",
        "block: 32, format: float16, rule: minmax, quotient: unrounded",
        further="offset: {kind: zero_point, format: int8, added: after_rounding}\n",
    ),
    "k-quant": nested(32, 8),
    "k-quant of 12": nested(12, 3),
    "nested to the channel": text(E2M1, "block: 12, format: " + NESTED % "channel"),
    "micro-exponents": text(
        E2M1,
        "block: channel, format: float32",
        f"block: 96, format: {E4M3}",
        "block: 12, format: uint2, combine: exponent_subtract, rule: floor",
    ),
    "four levels": text(
        "int8",
        "block: tensor, format: float32",
        "block: [30, 60], format: float32",
        f"block: [5, 20], format: {E4M3}",
        "block: [1, 4], format: uint1, combine: exponent_subtract, rule: floor",
    ),
}
CHOOSING = {
    "of 16": text(E2M1, "block: tensor, format: float32", f"block: 16, format: {E4M3}, rule: mse"),
    "of 32": mx(E2M1, 32, "mse"),
    "of 24": mx("int4", 24, "mse"),
    "of 13": mx("int4", 13, "mse"),
    "of 100": mx("int4", 100, "mse"),
    "of 5 × 3": text(E2M1, f"block: [5, 3], format: {E4M3}, rule: mse, candidates: [0, 1, -1]"),
    "of a channel": mx("int8", "channel", "mse"),
}
SHAPES = [((), 0), ((0,), 0), ((1,), 0), ((33,), 0), ((5000,), 0), ((0, 5), 1), ((5, 0), 1), ((70, 200), 1)]
SHAPES += [((70, 200), 0), ((3, 70, 45), 1), ((2, 3, 40, 1), 2), ((130, 260), 1)]


def format_of(written: str) -> BlockFormat:
    format = parse_format(written)
    assert isinstance(format, BlockFormat)
    return format


def values(shape: tuple[int, ...], *, special: bool = True) -> Array:
    """Of many magnitudes; among them zeros, Inf, NaN and a subnormal, in some blocks."""
    rng = np.random.default_rng(sum(shape))
    x = np.asarray(rng.standard_normal(shape, np.float32) * np.exp(2 * rng.standard_normal(shape, np.float32)))
    flat = x.reshape(-1)
    if special and flat.size > 50:
        flat[::37], flat[5], flat[40], flat[9], flat[32:48] = 0, np.inf, np.nan, 1e-42, -0.0
    return x
