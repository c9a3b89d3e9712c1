"""Inputs that find mistakes: special patterns, a format's values, midpoints and their neighbours; unusual specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import KINDS, ROUNDINGS, number_mappings, to_yaml

from statqat_sim.errors import SpecError
from statqat_sim.reference import exact
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.encode import NanInput
from statqat_sim.spec.number import NumberFormat

Words: TypeAlias = NDArray[np.uint32]

_POSITIVE_SPECIALS = (
    *(0x0000_0000, 0x0000_0001, 0x0040_0000, 0x007F_FFFF, 0x0080_0000),  # zero and the subnormals
    *(0x7F7F_FFFF, 0x7F80_0000, 0x7F80_0001, 0x7FC0_0000, 0x7FFF_FFFF),  # the largest, Inf, NaN
)
SPECIALS: Words = np.array([sign | bits for sign in (0, 1 << 31) for bits in _POSITIVE_SPECIALS], np.uint32)


def random_bits(count: int, seed: int = 0) -> Words:
    """Half over all patterns, half within 2^±20."""
    rng = np.random.default_rng(seed)
    anywhere = rng.integers(0, 1 << 32, count - count // 2, dtype=np.uint32)
    moderate = rng.choice((-1.0, 1.0), count // 2) * np.exp2(rng.uniform(-20, 20, count // 2))
    return np.concatenate([anywhere, moderate.astype(np.float32).view(np.uint32)])


def edges(format: NumberFormat, most: int | None = None) -> Words:
    """Values and midpoints of a format, one float32 step to either side, both signs; `SPECIALS`.

    Args:
        format: any format; of one with more than 16 bits, values of some codes.
        most: how many of its values are enough; both ends and the middle are among them.
    """
    grid = _values(format)
    middle, last = int(np.searchsorted(grid, 0.0)), len(grid) - 1
    if most is not None and len(grid) > most:
        kept = np.linspace(0, last, most - 16).astype(int)
        places = [kept, np.arange(4), last - np.arange(4), np.clip(middle + np.arange(-4, 4), 0, last)]
        grid = grid[np.unique(np.concatenate(places))]
    with np.errstate(all="ignore"):
        grid = np.concatenate([2 * grid[:1] - grid[1:2], grid, 2 * grid[-1:] - grid[-2:-1]])  # one step beyond the ends
        x = np.concatenate([grid, (grid[1:] + grid[:-1]) / 2]).astype(np.float32)
        near = [np.nextafter(x, np.float32(end)) for end in (np.inf, -np.inf)]
    around = np.concatenate([x, *near]).view(np.uint32)
    return np.unique(np.concatenate([around, around ^ np.uint32(1 << 31), SPECIALS]))


def _values(format: NumberFormat) -> NDArray[np.float64]:
    """The values that an encoder produces, ascending; of wide formats some of them."""
    if format.bits <= 16:
        return format.grid()
    rng = np.random.default_rng(format.bits)
    codes = [0, 1, 2, *rng.integers(0, 1 << format.bits, 200).tolist(), (1 << format.bits) - 1]
    values = np.array([format.element.value(code) for code in codes])
    return np.unique(values[np.isfinite(values)] + 0.0)


def accepted(format: NumberFormat, bits: Words) -> Words:
    """Those that the format does not refuse."""
    return bits[~np.isnan(bits.view(np.float32))] if format.encode.nan_input is NanInput.ERROR else bits


def some_codes(format: NumberFormat, most: int = 256) -> Words:
    """Every code, or some of many."""
    if 1 << format.bits <= most:
        return np.arange(1 << format.bits, dtype=np.uint32)
    return np.random.default_rng(0).integers(0, 1 << format.bits, most, dtype=np.uint32)


def exact_codes(format: NumberFormat, bits: Words) -> Words:
    """The oracle's codes of the float32 inputs with these bits."""
    return np.array([exact.encode(format, word) for word in bits.tolist()], np.uint32)


def exact_values(format: NumberFormat, codes: Any) -> Words:
    """The bits of the float32 values that the oracle gives these codes."""
    return np.array([exact.decode_float32(format, code) for code in codes.tolist()], np.uint32)


# --- specs -------------------------------------------------------------------------------------------------------

RARE: dict[str, tuple[str | bool, ...]] = {
    "overflow": ("inf", "nan", "wrap"),
    "inf_input": ("inf", "nan", "saturate"),
    "nan_input": ("nan", "max", "zero"),
    "zero_input": ("nan",),
    "underflow": ("min",),
    "negative_input": ("nan", "abs"),
    "flush_inputs": (True,),
    "via": ("bfloat16",),
}


@st.composite
def specs(draw: st.DrawFn, kinds: Sequence[str] = KINDS, roundings: Sequence[str] = ROUNDINGS, **limits: Any) -> str:
    """`number_specs` where all rounding modes are equally likely, and policies that few elements allow are frequent."""
    spec = draw(number_mappings(kinds, roundings=(draw(st.sampled_from(list(roundings))),), **limits))
    for key, words in RARE.items():
        if draw(st.integers(0, 3)) == 0:
            changed = spec | {"encode": spec.get("encode", {}) | {key: draw(st.sampled_from(words))}}
            spec = changed if is_valid(changed) else spec
    return to_yaml(spec)


def is_valid(spec: Mapping[str, Any]) -> bool:
    try:
        parse_format(to_yaml(spec))
    except SpecError:
        return False
    return True
