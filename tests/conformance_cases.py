"""What every backend is tried on: the catalog, corners that random specs rarely meet, scales of many shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from checking import Run, check
from inputs import around, random_bits
from strategies import to_yaml

from statqat_sim.spec.catalog import formats, parse_format

CATALOG = formats(kind="number")
WITH_MANY_INPUTS = [
    *("float8_e4m3fn", "float8_e5m2.ml_dtypes", "float4_e3m0fn", "cfloat8_143", "float8_e8m0fnu"),
    *("bfloat16", "float16", "dlfloat16", "nf4", "int8", "q4_offset8", "ue4m3", "p3109_binary8p3se"),
    *("posit8", "posit16", "takum8", "takum_log16", "lns8", "hif8", "fp24_amd", "tf32"),
]

Arrays = Any


def check_random(text: str, run: Run, seed: int) -> None:
    format = parse_format(text)
    check(format, run, np.concatenate([around(format, most=16, seed=seed), random_bits(40, seed)]))


def codebook(values: Any, mode: str = "nearest_even") -> str:
    bits = max(1, (len(values) - 1).bit_length())
    element = {"kind": "codebook", "bits": bits, "values": [float(value) for value in values]}
    return to_yaml({"name": "corner", "element": element, "encode": {"rounding": mode}})


def floats(first: int, step: int, count: int) -> Any:
    """Floats whose bits are so far apart."""
    return np.arange(first, first + step * count, step, dtype=np.uint32)[:count].view(np.float32)


LISTED_CORNERS = [
    *(
        (f"posit{bits} es {es}", f"kind: posit, bits: {bits}, es: {es}", ties)
        for bits, es in ((2, 0), (2, 8), (3, 8), (4, 8), (5, 6), (8, 7), (12, 0))
        for ties in ("arithmetic", "bitstring")
    ),
    *(
        (f"{variant} takum{bits}", f"kind: takum, bits: {bits}, variant: {variant}", ties)
        for bits in (2, 3, 5, 12)
        for variant in ("linear", "logarithmic")
        for ties in ("arithmetic", "bitstring")
    ),
    *(
        (f"lns{bits} with {fraction}", f"kind: lns, bits: {bits}, fraction_bits: {fraction}", ties)
        for bits, fraction in ((3, 0), (3, 1), (12, 1), (12, 0), (10, 8))
        for ties in ("arithmetic", "log")
    ),
]
REGIMES = """
  - {prefix: "1", exponent_bits: 2, mantissa_bits: 3}
  - {prefix: "01", exponent_bits: 1, mantissa_bits: 3}
  - {prefix: "001", exponent_bits: 0, mantissa_bits: 3}
  - {prefix: "000", subnormal_exponent: -14, mantissa_bits: 3}
"""


def tapered(specials: str, overflow: str) -> str:
    regimes = ", ".join(line.strip(" -") for line in REGIMES.strip().splitlines())
    element = f"{{kind: tapered, bits: 7, regimes: [{regimes}]{specials}}}"
    return f"name: corner\nelement: {element}\nencode: {{overflow: {overflow}}}\n"


CORNERS = {
    "tapered, no specials": tapered("", "saturate"),
    "tapered, NaN": tapered(", nan: negative_zero", "saturate"),
    "tapered, Inf": tapered(", inf: max_code", "saturate"),
    "tapered, overflow to Inf": tapered(", inf: max_code", "inf"),
    "tapered, both": tapered(", nan: negative_zero, inf: max_code", "inf"),
    "tapered, overflow to NaN": tapered(", nan: negative_zero, inf: max_code", "nan"),
    **{
        f"int{bits} that wraps": f"name: corner\nelement: {{kind: int, bits: {bits}}}\nencode: {{overflow: wrap}}\n"
        for bits in (1, 8, 24, 31, 32)
    },
    "thresholds on the last key of a cell": codebook(floats(0x3F80_FFFF, 0x10000, 40), "toward_zero"),
    "thresholds on the first key of a cell": codebook(floats(0x3F80_FFFF, 0x10000, 40), "toward_positive"),
    "thresholds too dense for cells": codebook(floats(0x3F80_0000, 100, 40)),
    "more codes than a byte holds": codebook(floats(0x3000_0000, 0x50000, 300)),
    "more codes than a byte holds, dense": codebook(floats(0xBF80_0000, 9, 300)),
    "levels of single subnormals": codebook(np.concatenate([floats(1, 1, 40), floats(0x8000_0000, 3, 40)])),
    "levels of single subnormals, many": codebook(np.concatenate([floats(0, 2, 200), floats(0x8000_0001, 1, 200)])),
    "more subnormals than have cells": codebook(floats(0x0001_0000, 300, 300)),
    "17 values": codebook(np.arange(-8, 9) / 4),
    "1 value": codebook([3.0]),
    **{
        f"{kind}, {ties}": f"name: corner\nelement: {{{element}}}\nencode: {{tie_domain: {ties}}}\n"
        for kind, element, ties in LISTED_CORNERS
    },
}

SHAPE = (6, 5, 300)
SCALE_SHAPES = {
    "0-d": (),
    "one element": (1,),
    "per row": (6, 5, 1),
    "first axis": (6, 1, 1),
    "middle axis": (5, 1),
    "last axis": (300,),
    "first and last axis": (6, 1, 300),
    "every element": SHAPE,
}
SCALED = [
    "float8_e4m3fn",
    "float8_e5m2",
    "int4",
    "nf4",
    "float8_e8m0fnu",
    "float4_e3m0fn",
    "p3109_binary8p3se",
    "ue4m3",
]


def scales(shape: tuple[int, ...], seed: int = 0) -> Arrays:
    """Ordinary scales with a few extreme ones among them."""
    rng = np.random.default_rng(seed)
    scale = np.exp2(rng.uniform(-8, 8, shape)).astype(np.float32)
    extreme = np.float32([0.0, -0.0, 1e-45, 1e-38, 3e38, -1.5, np.inf, 1.0])
    return np.where(rng.random(shape) < 0.3, rng.choice(extreme, shape), scale).astype(np.float32)
