"""Posits, takums, logarithmic and tapered formats against software whose casts are recorded: all inputs, all codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from inputs import random_bits
from numpy.typing import NDArray
from oracles import is_run, resolve
from profile_exceptions import EXCEPTIONS
from recorded import CASTS, Cast, recorded

from statqat_sim.codec import Codec
from statqat_sim.reference.steps import Step, thresholds
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.number import NumberFormat

LIBRARIES = ("softposit", "universal", "libtakum")
ENTRIES = [(library, name) for library in LIBRARIES for name in recorded(library, "")]
WITH_STEPS = [entry for entry in ENTRIES if recorded(entry[0], "")[entry[1]].first is not None]
WITH_VALUES = [entry for entry in ENTRIES if recorded(entry[0], "")[entry[1]].values is not None]
TOO_COARSE = [("universal", "takum6"), ("universal", "takum8")]
"""Their inputs one or two float64 from a tie are taken for it."""

IN_FLOAT64 = [
    (library, name)
    for library, name in WITH_STEPS
    if recorded(library, "")[name].first.dtype == np.uint64 and (library, name) not in TOO_COARSE
]

PROFILES = [
    (name, entry)
    for name in formats(kind="number")
    for entry in load_format(name).oracle
    if "==" in entry and is_run(entry) and resolve(entry).is_recorded
]

LIKE_POSIT = "encode: {{tie_domain: bitstring, underflow: min, inf_input: nan}}"
TEXTS = {  # what the names of the casts mean
    r"posit(\d+)_es(\d+)": "element: {{kind: posit, bits: {}, es: {}}}",
    r"takum(\d+)": "element: {{kind: takum, bits: {}}}\n" + LIKE_POSIT,
    r"takum_log(\d+)": "element: {{kind: takum, bits: {}, variant: logarithmic}}\n" + LIKE_POSIT,
    r"lns(\d+)_(\d+)": "element: {{kind: lns, bits: {}, fraction_bits: {}}}\nencode: {{tie_domain: log}}",
}

UNIVERSAL_TAKUM_LEAST = 2.0**-246
"""Below, universal's linear takums become zero."""


@cache
def format_of(name: str) -> NumberFormat:
    for pattern, text in TEXTS.items():
        if match := re.fullmatch(pattern, name):
            return parse_format(f"name: {name}\n{text.format(*match.groups())}\n")
    raise AssertionError(name)


def recorded_cast(entry: str) -> Cast:
    library, release, name = re.split("==|:", entry)
    return recorded(library, release)[name]


def cast_of(library: str, name: str) -> Cast:
    return recorded(library, "")[name]


@cache
def exact_steps(format: NumberFormat) -> list[tuple[int, int]]:
    """The exact oracle's steps over all float32 in the order of their bits."""
    steps = thresholds(format)
    assert steps.nan is not None
    assert steps.negative_nan is not None
    nan, negative_nan = Step(0x7F80_0001, steps.nan), Step(0xFF80_0001, steps.negative_nan)
    return merged([(s.first, s.code) for s in (*steps.positive, nan, *steps.negative, negative_nan)])


def float32_steps(cast: Cast) -> list[tuple[int, int]]:
    """Steps of a cast over all float32: each begins with the first float32 at or beyond its first input."""
    assert cast.first is not None
    assert cast.code is not None
    first = cast.first
    if first.dtype == np.uint64:
        x = first.view(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            near = x.astype(np.float32)
        short = np.abs(near.astype(np.float64)) < np.abs(x)
        nan = np.where(np.signbit(x), np.uint32(0xFF80_0001), np.uint32(0x7F80_0001))
        first = np.where(np.isnan(x), nan, near.view(np.uint32) + short)
    return merged(list(zip(first.tolist(), cast.code.tolist(), strict=True)))


def merged(steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without steps that no float32 lies on, and those that change nothing."""
    found = dict(steps)  # of several that begin together, the last
    kept: list[tuple[int, int]] = []
    for first, code in found.items():
        if not kept or kept[-1][1] != code:
            kept.append((first, code))
    return kept


@pytest.mark.parametrize(("library", "name"), WITH_STEPS)
def test_all_float32_become_the_same_codes(library: str, name: str) -> None:
    """Two step functions over the same inputs are equal if their steps are."""
    assert float32_steps(cast_of(library, name)) == exact_steps(format_of(name))


@pytest.mark.parametrize(("name", "entry"), PROFILES)
def test_profiles_are_proven(name: str, entry: str) -> None:
    """On all float32, but for what the profile itself takes out: both ends of all pieces on which neither changes."""
    theirs, format = recorded_cast(entry), load_format(name)
    starts = sorted({first for first, _ in (*float32_steps(theirs), *exact_steps(format))})
    bits = np.array([*starts, *(start - 1 for start in starts[1:]), 0xFFFF_FFFF], np.uint32)
    x = bits.view(np.float32)
    kept = ~EXCEPTIONS[name](x) if name in EXCEPTIONS else np.ones(len(x), bool)
    assert_equal(Codec(format).encode(x[kept]), theirs.encode(x[kept]), bits[kept])


@pytest.mark.parametrize(("library", "name"), WITH_STEPS)
def test_the_codec_gives_these_codes(library: str, name: str) -> None:
    cast, codec = cast_of(library, name), Codec(format_of(name))
    first = np.array([first for first, _ in float32_steps(cast)], np.uint32)
    bits = np.concatenate([first, first - np.uint32(1), first + np.uint32(1), random_bits(10**6)])
    assert_equal(codec.encode(bits.view(np.float32)), cast.encode(bits.view(np.float32)), bits)


@pytest.mark.parametrize(("library", "name"), IN_FLOAT64)
def test_float64_on_and_next_to_every_tie_becomes_the_same_code(library: str, name: str) -> None:
    cast = cast_of(library, name)
    assert cast.first is not None
    bits = np.concatenate([cast.first, cast.first - np.uint64(1), cast.first + np.uint64(1)])
    bits = np.concatenate([bits, np.random.default_rng(0).integers(0, 1 << 64, 100_000, dtype=np.uint64)])
    x = bits.view(np.float64)
    if library == "universal" and name.startswith("takum"):
        bits = bits[~(np.abs(x) < UNIVERSAL_TAKUM_LEAST) | (x == 0)]
    x = bits.view(np.float64)
    codes = Codec(format_of(name)).encode(x)
    assert_equal(codes, cast.encode(x), bits)
    with np.errstate(over="ignore", invalid="ignore"):
        assert (codes != cast.encode(x.astype(np.float32))).any(), "rounding twice would do as well"


@pytest.mark.parametrize(("library", "name"), WITH_VALUES)
def test_every_code_decodes_to_the_same_value(library: str, name: str) -> None:
    theirs = cast_of(library, name).decode()
    codes = np.arange(len(theirs), dtype=np.uint8 if len(theirs) <= 256 else np.uint16)
    ours = Codec(format_of(name)).decode(codes, dtype=theirs.dtype.name)
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.array_equal(ours, theirs, equal_nan=True)


def assert_equal(ours: Any, theirs: Any, bits: NDArray[Any]) -> None:
    wrong = np.flatnonzero(ours != theirs)
    shown = [f"{bits[i]:#x}: {ours[i]:#x}, the library {theirs[i]:#x}" for i in wrong[:5]]
    assert not len(wrong), "\n".join([f"{len(wrong)} of {len(bits)} inputs", *shown])


@pytest.mark.parametrize(
    "name",
    [
        "posit4_es2", "posit6_es2", "posit8_es0", "posit8_es1", "posit8_es2", "posit16_es1", "posit16_es2",
        "takum8", "takum16", "takum_log8", "takum_log16", "lns8_3", "lns16_5",
    ],
)  # fmt: skip
def test_the_catalog_means_these_formats(name: str) -> None:
    catalog, here = load_format(name), format_of(name)
    assert (catalog.element, catalog.encode) == (here.element, here.encode)


def test_hif8_is_that_of_en_dtypes_inside_its_range() -> None:
    """Beyond it the profile `hif8.en_dtypes` is."""
    theirs, codec = recorded("en_dtypes", "")["hifloat8"], Codec(load_format("hif8"))
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(codec.decode(codes, dtype="float64"), theirs.decode(), equal_nan=True)
    bits = random_bits(10**6)
    x = bits.view(np.float32)
    inside = np.abs(x) <= 32768
    assert_equal(codec.encode(x[inside]), theirs.encode(x[inside]), bits[inside])


# --- values that are irrational, from the formulas of the papers in 60 digits ------------------------------------


def exp(log_base: Decimal, exponents: Iterable[Fraction]) -> NDArray[np.float64]:
    """base^exponent, rounded once to float64."""
    with localcontext(prec=60):
        return np.array([float((log_base * n.numerator / n.denominator).exp()) for n in exponents])


def takum_exponent(code: int, bits: int) -> Fraction:
    """The l of a positive takum: S, D, three regime bits, r characteristic bits, the mantissa (arXiv 2404.18603)."""
    word = code << 12  # missing low bits are zeros
    width = bits + 12
    direction, regime = word >> (width - 2) & 1, word >> (width - 5) & 7
    r = regime if direction else 7 - regime
    p = width - 5 - r
    characteristic = word >> p & ((1 << r) - 1)
    characteristic += (1 << r) - 1 if direction else 1 - (1 << r + 1)
    return characteristic + Fraction(word & ((1 << p) - 1), 1 << p)


@pytest.mark.parametrize("name", ["takum_log8", "takum_log16"])
def test_logarithmic_takums_are_the_nearest_float64(name: str) -> None:
    bits = format_of(name).bits
    codes = np.arange(1, 1 << bits - 1)
    exact = exp(Decimal("0.5"), (takum_exponent(int(code), bits) for code in codes))
    codec = Codec(format_of(name))
    word = np.uint8 if bits <= 8 else np.uint16
    assert np.array_equal(codec.decode(codes.astype(word), dtype="float64"), exact)
    assert np.array_equal(codec.decode(((1 << bits) - codes).astype(word), dtype="float64"), -exact)


@pytest.mark.parametrize("name", ["lns6_2", "lns8_3", "lns16_5"])
def test_logarithmic_numbers_are_the_nearest_float64(name: str) -> None:
    bits, fraction_bits = map(int, re.findall(r"\d+", name))
    codes = np.arange(1 << bits - 1)
    exponents = np.where(codes >= 1 << bits - 2, codes - (1 << bits - 1), codes)
    with localcontext(prec=70):
        exact = exp(Decimal(2).ln(), (Fraction(int(n), 1 << fraction_bits) for n in exponents))
    exact[1 << bits - 2] = 0
    codec = Codec(format_of(name))
    word = np.uint8 if bits <= 8 else np.uint16
    assert np.array_equal(codec.decode(codes.astype(word), dtype="float64"), exact)
    negative = codec.decode((codes + (1 << bits - 1)).astype(word), dtype="float64")
    exact[1 << bits - 2] = np.nan
    assert np.array_equal(negative, -exact, equal_nan=True)


# --- the files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CASTS.glob("*.npz")), ids=lambda path: path.stem)
def test_a_recording_says_where_it_comes_from_and_names_what_it_holds(path: Any) -> None:
    facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
    library, release = path.stem.split("-")
    assert facts["release"].split(".")[: len(release.split("."))] == release.split(".")
    assert all(facts[key] for key in ("software", "source", "produced"))
    with np.load(path) as arrays:
        assert {name.rpartition(".")[0] for name in arrays} == set(facts["casts"])
    for name, cast in recorded(library, release).items():
        if cast.code is not None:
            assert int(cast.code.max()) < 1 << cast.bits, name
        if cast.values is not None:
            assert len(cast.values) == 1 << cast.bits, name


def test_a_recording_is_found_by_library_and_release() -> None:
    assert set(recorded("cuda", "13.0")) == set(recorded("cuda", ""))
    assert recorded("cuda", "12.9") == {}
    assert recorded("torch", "2.13") == {}
    assert resolve("torch==2.12:float8_e4m3fn").is_recorded
    assert not resolve("torch==2.13:float8_e4m3fn").is_recorded
    with pytest.raises(KeyError, match="posit7"):
        resolve("softposit:posit7")
    with pytest.raises(ValueError, match="allowed: library:name"):
        resolve("nobody:posit8")
