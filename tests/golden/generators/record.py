"""Prints the step functions of casts of Python libraries; `pack.py` makes golden files of them.

    python record.py softposit | python pack.py softposit-0.3.4.npz

A line `name float32 first code` reads: from the input with the bits `first` on, in the order of the bits, the code is
this, until the next line. `name value code bits`: the float64 that the library gives a code. Nothing of this repository
is imported, and each library only when it is asked for.
"""

from __future__ import annotations

import math
import random
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

INF = 0x7FF0_0000_0000_0000


def vector_steps(name: str, cast: Callable[[NDArray[Any]], NDArray[Any]], dtype: type, trials: int = 10**7) -> None:
    """Inputs all over the range are cast, then those between two whose codes differ; random inputs must agree."""
    word = np.dtype(f"u{np.dtype(dtype).itemsize}")

    def codes_of(bits: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            return cast(bits.view(dtype)).astype(np.int64)

    bits = np.concatenate([grid(dtype, word), grid(dtype, word) | word.type(1 << 8 * word.itemsize - 1)])
    codes = codes_of(bits)
    while (open := np.flatnonzero((np.diff(codes) != 0) & (np.diff(bits) > 1))).size:
        middles = bits[open] + (bits[open + 1] - bits[open]) // word.type(2)
        bits = np.insert(bits, open + 1, middles)
        codes = np.insert(codes, open + 1, codes_of(middles))
    drawn = np.random.default_rng(0).integers(0, 1 << 32, trials, dtype=np.uint32).view(np.float32)
    drawn = drawn[~np.isnan(drawn)].astype(dtype).view(word)
    if (codes_of(drawn) != codes[bits.searchsorted(drawn, side="right") - 1]).any():
        raise SystemExit(f"{name}: the steps do not hold")
    for place in np.flatnonzero(np.diff(codes, prepend=-1)):
        print(name, np.dtype(dtype).name, f"{bits[place]:0{2 * word.itemsize}x}", f"{codes[place]:x}")


def grid(dtype: type, word: np.dtype[Any]) -> NDArray[Any]:
    """Bits of every 2^12th positive float32, of Inf, of the first and the last NaN."""
    with np.errstate(all="ignore"):
        numbers = np.arange(0, 0x7F80_0001, 1 << 12, dtype=np.uint32).view(np.float32).astype(dtype).view(word)
    return np.append(numbers, [numbers[-1] + word.type(1), word.type((1 << 8 * word.itemsize - 1) - 1)])


def scalar_steps(name: str, cast: Callable[[float], int], trials: int = 1_000_000) -> None:
    """Bisection between inputs whose codes differ; random inputs must agree with the steps that it found."""
    steps: list[tuple[int, int]] = []
    for sign in (0, 1 << 63):
        steps += [(sign, cast(float_of(sign))), *between(cast, sign, sign + INF), (sign + INF + 1, cast(math.nan))]
    firsts = np.array([first for first, _ in steps], np.uint64)
    rng = random.Random(0)
    for trial in range(trials):
        x = rng.uniform(-4, 4) * 2.0 ** rng.randint(-300, 300) if trial % 2 else float_of(rng.getrandbits(64))
        place = int(firsts.searchsorted(np.uint64(bits_of(x)), side="right")) - 1
        if not math.isnan(x) and cast(x) != steps[place][1]:
            raise SystemExit(f"{name}: the steps do not hold at {x!r}")
    last = -1
    for first, code in steps:
        if code != last:
            print(name, "float64", f"{first:016x}", f"{code:x}")
        last = code


def between(cast: Callable[[float], int], low: int, high: int) -> Iterator[tuple[int, int]]:
    """The steps above `low`, up to `high`."""
    if cast(float_of(low)) == cast(float_of(high)):
        return
    if high == low + 1:
        yield high, cast(float_of(high))
        return
    middle = (low + high) // 2
    yield from between(cast, low, middle)
    yield from between(cast, middle, high)


def values(name: str, table: NDArray[Any]) -> None:
    for code, value in enumerate(table.tolist()):
        print(name, "value", f"{code:x}", f"{bits_of(value):016x}")


def float_of(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def bits_of(x: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", x))[0])


def softposit() -> None:
    """posit8 has es 0, posit16 es 1, posit_2 of any width es 2. Its NaR decodes to Inf; here it is NaN."""
    import softposit as sp

    def posit(name: str, bits: int, kind: Any, decode: Any, encode: Callable[[float], Any], unused: int = 0) -> None:
        def value(code: int) -> float:
            number = kind()
            number.v = code << unused
            return float(decode(number)) if code != 1 << (bits - 1) else math.nan

        values(name, np.array([value(code) for code in range(1 << bits)]))
        scalar_steps(name, lambda x: int(encode(x).v) >> unused)

    posit("posit8_es0", 8, sp.posit8_t, sp.convertP8ToDouble, sp.convertDoubleToP8)
    posit("posit16_es1", 16, sp.posit16_t, sp.convertP16ToDouble, sp.convertDoubleToP16)
    for bits in (4, 5, 6, 8, 10, 12, 16):
        name, unused = f"posit{bits}_es2", 32 - bits
        encode = partial(lambda width, x: sp.convertDoubleToPX2(x, width), bits)
        posit(name, bits, sp.posit_2_t, sp.convertPX2ToDouble, encode, unused)


def en_dtypes() -> None:
    """HiF8 of the experimental types in Huawei's fork of ml_dtypes."""
    import en_dtypes as en

    hif8 = np.dtype(en.hifloat8)
    values("hifloat8", np.arange(256, dtype=np.uint8).view(hif8).astype(np.float64))
    vector_steps("hifloat8", lambda x: x.astype(hif8).view(np.uint8), np.float32)


def torch() -> None:
    """E4M3 of the release at hand, on the CPU."""
    import torch as t

    values("float8_e4m3fn", t.arange(256, dtype=t.uint8).view(t.float8_e4m3fn).to(t.float64).numpy())
    vector_steps("float8_e4m3fn", lambda x: t.from_numpy(x).to(t.float8_e4m3fn).view(t.uint8).numpy(), np.float32)


def gguf() -> None:
    """ggml's scale of NVFP4. Its decoder gives half the value; here it is doubled again."""
    from gguf.quants import NVFP4

    values("ue4m3", 2 * NVFP4.ue4m3_to_fp32(np.arange(128, dtype=np.uint8)).astype(np.float64))
    vector_steps("ue4m3", NVFP4.fp32_to_ue4m3, np.float32)


def pychop() -> None:
    """Formats of P3109, `saturate="none"` and `saturate="propagate"`."""
    from pychop.p3109 import P3109Format, p3109_decode, p3109_encode

    codes = np.arange(256, dtype=np.uint8)
    for precision, domain, saturate in (
        (precision, domain, saturate)
        for precision in (3, 4)
        for domain, saturate in (("extended", "none"), ("extended", "propagate"), ("finite", "none"))
    ):
        name, format = f"binary8p{precision}s{domain[0]}_{saturate}", P3109Format(8, precision, True, domain)
        values(name, p3109_decode(codes, format))
        vector_steps(name, lambda x, f=format, s=saturate: p3109_encode(x, f, saturate=s), np.float64)


if __name__ == "__main__":
    {cast.__name__: cast for cast in (softposit, en_dtypes, torch, gguf, pychop)}[sys.argv[1]]()
