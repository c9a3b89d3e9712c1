"""Inputs that find mistakes: special patterns, a format's values, ties and their neighbours; unusual specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import isqrt
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import KINDS, ROUNDINGS, number_mappings, to_yaml

from statqat_sim.errors import SpecError
from statqat_sim.reference import exact
from statqat_sim.reference.grid import Grid
from statqat_sim.reference.ieee import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from statqat_sim.reference.ties import Tie, tie_between
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.encode import NanInput
from statqat_sim.spec.number import NumberFormat

Words: TypeAlias = NDArray[Any]

LAYOUTS = {"float16": FLOAT16, "bfloat16": BFLOAT16, "float32": FLOAT32, "float64": FLOAT64}
DTYPES = {name: np.dtype(getattr(ml_dtypes if name == "bfloat16" else np, name)) for name in LAYOUTS}


# --- patterns ----------------------------------------------------------------------------------------------------


def words_of(floats: str, patterns: Any) -> Words:
    """Bit patterns as unsigned integers of that type's width."""
    return np.array(patterns, f"u{DTYPES[floats].itemsize}")


def both_signs(floats: str, magnitudes: Any) -> Words:
    return np.unique(words_of(floats, [sign | word for word in magnitudes for sign in (0, LAYOUTS[floats].sign)]))


def specials(floats: str) -> Words:
    """Zeros, Inf, NaN with payloads low and high; the ends of this type's range and of all other types', and beside."""
    layout = LAYOUTS[floats]
    magnitudes = {0, 1, layout.inf, layout.inf + 1, layout.nan, layout.sign - 1}
    for other in LAYOUTS.values():
        quantum = other.number(1)
        last, before = (other.number(other.inf - place) for place in (1, 2))
        ends = [quantum / 2, quantum, other.number(other.min_normal), last, last + (last - before) / 2]
        for pattern in (layout.nearest(end) for end in [*ends, 2 * last - before]):
            magnitudes |= {max(pattern - 1, 0), pattern, min(pattern + 1, layout.inf)}
    return both_signs(floats, magnitudes)


SPECIALS = specials("float32")


def random_bits(count: int, seed: int = 0, floats: str = "float32") -> Words:
    """Half over all patterns, half within 2^±20."""
    rng = np.random.default_rng(seed)
    anywhere = rng.integers(0, LAYOUTS[floats].sign * 2, count - count // 2, dtype=f"u{DTYPES[floats].itemsize}")
    moderate = rng.choice((-1.0, 1.0), count // 2) * np.exp2(rng.uniform(-20, 20, count // 2))
    with np.errstate(all="ignore"):
        return np.concatenate([anywhere, moderate.astype(DTYPES[floats]).view(anywhere.dtype)])


NEAR = {
    "float16": (0, 1, 2),
    "bfloat16": (0, 1),
    "float32": (0, 1, 1 << 15),
    "float64": (0, 1, 1 << 12, *((1 << half) + step for half in (28, 44) for step in (-1, 0, 1)), 1 << 29),
}
"""Steps of a type to either side of a boundary: the next one, and half a step of the types that `via` goes through."""


def around(format: NumberFormat, floats: str = "float32", most: int = 12, seed: int = 0) -> Words:
    """Values, ties and what lies close by, of both signs; special patterns; random ones."""
    layout = LAYOUTS[floats]
    centres = {layout.nearest(abs(mark)) for mark in marks(format, most, seed)}
    near = {centre + step for centre in centres for step in (*NEAR[floats], *(-step for step in NEAR[floats]))}
    beside = both_signs(floats, {min(max(word, 0), layout.inf) for word in near})
    return np.unique(np.concatenate([beside, specials(floats), random_bits(60, seed, floats)]))


def marks(format: NumberFormat, most: int, seed: int = 0) -> set[Fraction]:
    """Values of a format and the ties above them: both ends, around zero, and others up to `most` more."""
    grid = exact.grid_of(format.element)
    first, last = grid.lowest - grid.has_successor, grid.highest + grid.has_successor
    middle = grid.neighbours(Fraction(0))[0]
    ranks = {first, first + 1, last - 2, last - 1, last, *range(middle - 2, middle + 3)}
    ranks |= set(np.random.default_rng(seed).integers(first, last, most, endpoint=True).tolist())
    inside = [rank for rank in ranks if first <= rank <= last]
    ties = [
        middle_of(tie_between(grid, format.encode.tie_domain, rank, rank + 1)) for rank in inside if has_tie(grid, rank)
    ]
    return {grid.value(rank) for rank in inside} | set(ties)


def has_tie(grid: Grid, rank: int) -> bool:
    return rank < grid.highest + grid.has_successor


def middle_of(tie: Tie) -> Fraction:
    """The tie, or of a root a rational so near that no float lies between."""
    places = 1300
    return Fraction(isqrt(int(abs(tie.value) * 4**places)), 2**places) if tie.is_square else tie.value


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


def accepted(format: NumberFormat, bits: Words, floats: str = "float32") -> Words:
    """Those that the format does not refuse."""
    if format.encode.nan_input is not NanInput.ERROR:
        return bits
    layout = LAYOUTS[floats]
    return bits[bits & bits.dtype.type(layout.sign - 1) <= layout.inf]


def some_codes(format: NumberFormat, most: int = 256) -> Words:
    """Every code, or some of many."""
    if 1 << format.bits <= most:
        return np.arange(1 << format.bits, dtype=np.uint32)
    return np.random.default_rng(0).integers(0, 1 << format.bits, most, dtype=np.uint32)


# --- what the oracle says ----------------------------------------------------------------------------------------


def exact_codes(format: NumberFormat, bits: Words, floats: str = "float32", random: Any = None) -> Words:
    """The oracle's codes of the inputs with these bits; `random`: an R for each."""
    layout, draws = LAYOUTS[floats], [None] * len(bits) if random is None else random
    codes = [exact.encode(format, word, layout, random=r) for word, r in zip(bits.tolist(), draws, strict=True)]
    return np.array(codes, np.uint32)


def exact_values(format: NumberFormat, codes: Any, floats: str = "float32") -> Words:
    """The bits of the values that the oracle gives these codes, as float32 or float64."""
    decode = exact.decode_float64 if floats == "float64" else exact.decode_float32
    values = {code: decode(format, code) for code in set(codes.tolist())}
    return words_of(floats, [values[code] for code in codes.tolist()])


# --- specs -------------------------------------------------------------------------------------------------------

RARE: dict[str, tuple[str | bool, ...]] = {
    "overflow": ("inf", "nan", "wrap"),
    "inf_input": ("inf", "nan", "saturate"),
    "nan_input": ("nan", "max", "zero"),
    "zero_input": ("nan",),
    "underflow": ("min",),
    "negative_input": ("nan", "abs"),
    "flush_inputs": (True,),
    "via": ("bfloat16", "float32"),
    "tie_domain": ("bitstring", "log"),
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
