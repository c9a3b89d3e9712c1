"""Encoders and decoders against other people's software, where it says what the format files claim."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import gfloat
import ml_dtypes
import numpy as np
import pytest
from inputs import edges, random_bits
from numpy.typing import NDArray
from oracles import Oracle, is_run, resolve
from profile_exceptions import E8M0_GAP, EXCEPTIONS

from statqat_sim.codec import Codec
from statqat_sim.reference.prove import prove
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.number import NumberFormat

Bits = Any
Floats: TypeAlias = NDArray[Any]

SLOW = ("gfloat", "bitstring")
"""Libraries that work element by element."""

ENTRIES = [(name, entry) for name in formats(kind="number") for entry in load_format(name).oracle if is_run(entry)]
PROFILES = [(name, entry) for name, entry in ENTRIES if "==" in entry]
PROVEN = [
    (name, entry) for name, entry in PROFILES if re.match(r"(ml_dtypes|torch==2.13|onnx)", entry) and "int" not in name
]
"""Those of fast libraries at hand, of formats that do not wrap."""

TIES_UP = [("float8_e8m0fnu", f"{library}:float8_e8m0fnu") for library in ("ml_dtypes", "torch")]
"""They round E8M0's ties up; their profiles say so."""


def casts_alike(name: str, entry: str) -> bool:
    oracle = resolve(entry)
    return oracle.encode is not None and (name, entry) not in TIES_UP and not (oracle.truncates and not oracle.release)


CASTS = [entry for entry in ENTRIES if casts_alike(*entry)]
DECODED = [entry for entry in ENTRIES if resolve(entry[1]).decode is not None]


class Case(NamedTuple):
    """A format and an oracle of it, of the release that the format file names."""

    format: NumberFormat
    oracle: Oracle

    def ours(self, bits: Bits) -> Bits:
        return Codec(self.format).encode(bits.view(np.float32))

    def theirs(self, bits: Bits) -> Bits:
        return self.their_codes(bits.view(np.float32))

    def their_codes(self, x: Floats) -> Any:
        assert self.oracle.encode is not None
        return self.oracle.encode(x)


@cache
def case(name: str, entry: str) -> Case:
    oracle = resolve(entry)
    if not oracle.installed():
        pytest.skip(f"another release than {entry} is installed")
    return Case(load_format(name), oracle)


def decoded(entry: str) -> Floats:
    decode = resolve(entry).decode
    assert decode is not None
    return decode()


def comparable(case: Case, x: Floats) -> Any:
    """Where the two agree: everywhere in a named release, up to `EXCEPTIONS`; otherwise inside the format's range."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        exact, x = x.astype(np.float64), as_float32(x)
    if case.oracle.release:
        exception = EXCEPTIONS.get(case.format.name)
        return np.ones(x.shape, bool) if exception is None else ~(exception(x) | exception(exact))
    with np.errstate(over="ignore"):  # ends beyond float32
        inside = (x >= np.float32(case.format.min)) & (x <= np.float32(case.format.max))
    if case.format.name == "ue4m3":  # the non-negative half of the library's type
        inside &= ~np.signbit(x)
    return inside


def as_float32(x: Floats) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):  # signalling NaN
        return x.astype(np.float32)


def compared(case: Case) -> Bits:
    slow = case.oracle.library in SLOW
    bits = np.concatenate([edges(case.format, 500 if slow else None), random_bits(5000 if slow else 10**6)])
    return bits[comparable(case, bits.view(np.float32))]


def halves(dtype: Any) -> Floats:
    """Every value of a type of 16 bits."""
    return np.arange(1 << 16, dtype=np.uint16).view(dtype)


def float64s(format: NumberFormat, most: int) -> Floats:
    """Values and midpoints of a format, and what lies closer to them than float32 can tell."""
    x = edges(format, most).view(np.float32)
    x = x[~np.isnan(x)].astype(np.float64)
    closer = [x * (1 + sign * 2.0**-shift) for sign in (-1, 1) for shift in (26, 40, 52)]
    rng = np.random.default_rng(0)
    return np.concatenate([x, *closer, rng.choice((-1.0, 1.0), 10_000) * np.exp2(rng.uniform(-160, 160, 10_000))])


def assert_same(ours: Any, theirs: Any, x: Floats) -> None:
    wrong = np.flatnonzero(ours != theirs)
    shown = [f"{float(x[i]).hex()}: {ours[i]:#x}, the library {theirs[i]:#x}" for i in wrong[:5]]
    assert not len(wrong), "\n".join([f"{len(wrong)} of {len(x)} inputs", *shown])


@pytest.mark.parametrize(("name", "entry"), CASTS)
def test_inputs_become_the_same_codes(name: str, entry: str) -> None:
    this = case(name, entry)
    bits = compared(this)
    assert len(bits) > 300
    assert_same(this.ours(bits), this.theirs(bits), bits.view(np.float32))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(("name", "entry"), CASTS)
def test_every_value_of_a_half_becomes_the_same_code(name: str, entry: str, dtype: Any) -> None:
    """NaN of the format's own type is left out: such a cast moves nothing, and keeps the payload."""
    this = case(name, entry)
    x = halves(dtype)
    if this.oracle.library in SLOW:
        x = x[::7]
    x = x[comparable(this, x) & ~(np.isnan(as_float32(x)) & (this.oracle.name == x.dtype.name))]
    ours = Codec(this.format, "reference").encode(x)
    assert_same(ours, this.their_codes(x), x)


@pytest.mark.parametrize(("name", "entry"), [entry for entry in CASTS if entry in PROFILES])
def test_float64_becomes_the_same_code(name: str, entry: str) -> None:
    """A profile says whether its library rounds twice."""
    this = case(name, entry)
    x = float64s(this.format, 300)
    x = np.concatenate([x[comparable(this, x)], [0.0, -0.0]])
    assert_same(Codec(this.format, "reference").encode(x), this.their_codes(x), x)


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_a_library_differs_where_its_profile_says_so_and_nowhere_else(name: str) -> None:
    """Elsewhere: the tests above."""
    (entry,) = load_format(name).oracle
    this = case(name, entry)
    near = np.concatenate([E8M0_GAP, np.nextafter(E8M0_GAP, E8M0_GAP[::-1])])
    bits = np.concatenate([edges(this.format), random_bits(10**5), near.view(np.uint32), (-near).view(np.uint32)])
    bits = bits[EXCEPTIONS[name](bits.view(np.float32))]
    assert (this.ours(bits) != this.theirs(bits)).any()


@pytest.mark.parametrize(("name", "entry"), DECODED)
def test_codes_decode_to_the_same_values(name: str, entry: str) -> None:
    codec = Codec(load_format(name))
    with np.errstate(invalid="ignore", over="ignore"):  # signalling NaN, what float32 cannot hold
        theirs = decoded(entry).astype(np.float32)
    codes = np.arange(len(theirs), dtype=codec.encode(np.float32([0])).dtype)
    if name == "ue4m3":  # the non-negative half of the library's type
        codes, theirs = codes[:128], theirs[:128]
    if name == "ue4m3.ggml":  # it reads NaN as 0
        codes, theirs = codes[:127], theirs[:127]
    ours = codec.decode(codes)
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    numbers = ~np.isnan(ours)
    assert ours[numbers].view(np.uint32).tolist() == theirs[numbers].view(np.uint32).tolist()


@pytest.mark.long
@pytest.mark.parametrize(("name", "entry"), PROVEN)
def test_profiles_are_proven(name: str, entry: str) -> None:
    """Over all inputs, except where the profile itself names an exception."""
    this = case(name, entry)

    def encode(x: NDArray[np.float32], *, out: Any) -> Any:
        codes = this.their_codes(x)
        return np.where(EXCEPTIONS[name](x), Codec(this.format).encode(x), codes) if name in EXCEPTIONS else codes

    proof = prove(this.format, encode)
    assert proof.holds, "\n".join(map(str, proof.mismatches))


# --- where libraries differ, on purpose or not -------------------------------------------------------------------


@pytest.mark.parametrize("library", ["torch", "ml_dtypes"])
def test_e8m0_of_ml_dtypes_and_torch_rounds_everything_above_2_to_the_minus_127_up(library: str) -> None:
    (entry,) = load_format(f"float8_e8m0fnu.{library}").oracle
    this = case(f"float8_e8m0fnu.{library}", entry)
    inside = np.nextafter(E8M0_GAP, E8M0_GAP[::-1]).view(np.uint32)
    assert this.theirs(inside).tolist() == [1, 1]
    assert this.ours(inside).tolist() == [0, 0]
    assert this.ours(E8M0_GAP.view(np.uint32)).tolist() == this.theirs(E8M0_GAP.view(np.uint32)).tolist() == [0, 1]


def test_e8m0_ties_go_to_the_even_exponent_and_up_in_other_libraries() -> None:
    x = np.float32([1.5, 3, 6, 12])
    assert Codec(load_format("float8_e8m0fnu")).encode(x).tolist() == [128, 128, 130, 130]
    assert resolve("gfloat:ocp_e8m0").encode(x).tolist() == [128, 128, 130, 130]
    for library in ("torch", "ml_dtypes"):
        assert resolve(f"{library}:float8_e8m0fnu").encode(x).tolist() == [128, 129, 130, 131]


def test_gfloat_rounds_below_the_least_e8m0_value_to_numbers_that_are_none() -> None:
    x = np.float32([2.0**-128, 2.0**-149])
    assert Codec(load_format("float8_e8m0fnu")).encode(x).tolist() == [0, 0]
    info = gfloat.formats.format_info_ocp_e8m0
    assert [gfloat.round_float(info, float(v), gfloat.RoundMode.TiesToEven, True) for v in x] == x.tolist()


def test_numpy_keeps_the_payload_of_a_float16_nan() -> None:
    bits = np.array([0x7FC0_2000, 0xFFC0_2000, 0x7F80_2000], np.uint32)
    this = case("float16", "numpy:float16")
    assert this.theirs(bits).tolist() == [0x7E01, 0xFE01, 0x7C01]
    assert this.ours(bits).tolist() == [0x7E00, 0xFE00, 0x7E00]


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn"])
def test_bitstring_rounds_float64_once_too(name: str) -> None:
    (entry,) = [entry for entry in load_format(name).oracle if entry.startswith("bitstring")]
    this = case(name, entry)
    x = float64s(this.format, 300)
    assert_same(Codec(this.format).encode(x), this.their_codes(x), x)


def test_numpy_rounds_float64_to_float16_once_too() -> None:
    this = case("float16", "numpy:float16")
    x = float64s(this.format, 5000)
    assert_same(Codec(this.format).encode(x), this.their_codes(x), x)


def test_numpy_float16_agrees_on_every_input_that_is_not_nan() -> None:
    this = case("float16", "numpy:float16")
    bits = np.concatenate([edges(this.format), random_bits(10**6)])
    bits = bits[~np.isnan(bits.view(np.float32))]
    assert_same(this.ours(bits), this.theirs(bits), bits)


@pytest.mark.parametrize("name", ["nf4", "bnb_fp4"])
def test_codebooks_choose_the_nearest_value_of_the_table_of_bitsandbytes(name: str) -> None:
    (entry,) = [entry for entry in load_format(name).oracle if entry.startswith("bitsandbytes")]
    values = decoded(entry).astype(np.float64)
    x = random_bits(50_000).view(np.float32)
    x = x[np.isfinite(x)]
    codes = Codec(load_format(name)).encode(x)
    distance = np.abs(x[:, np.newaxis].astype(np.float64) - values)
    assert np.array_equal(distance[np.arange(len(x)), codes], distance.min(axis=1))


# --- mistakes that others have made ------------------------------------------------------------------------------


def fake_quantized(name: str, *x: float) -> list[float]:
    return Codec(load_format(name)).fake_quantize(np.array(x, np.float32)).tolist()


def test_float32_as_a_format_of_8_and_23_bits_keeps_every_number() -> None:
    """A peer's float_quantize(3.0, 8, 23) is -3.0."""
    float32 = parse_format(
        "name: float32\nelement: {kind: float, exponent_bits: 8, mantissa_bits: 23, nan: ieee, inf: ieee}\n"
        "encode: {overflow: inf}\n"
    )
    codec, bits = Codec(float32), random_bits(100_000)
    bits = np.concatenate([bits[~np.isnan(bits.view(np.float32))], np.float32([3.0, -3.0]).view(np.uint32)])
    assert codec.encode(bits.view(np.float32)).tolist() == bits.tolist()
    assert codec.fake_quantize(bits.view(np.float32)).view(np.uint32).tolist() == bits.tolist()


def test_just_below_a_tie_is_below_it() -> None:
    """floor(x + 0.5) is 1 for the number before 0.5."""
    away = parse_format("name: away\nelement: {kind: int, bits: 8}\nencode: {rounding: nearest_away}\n")
    x = np.nextafter(np.float32([0.5, 1.5, -0.5, 126.5]), np.float32(0))
    assert Codec(away).fake_quantize(x).tolist() == [0, 1, 0, 126]
    assert Codec(away).fake_quantize(np.float32([0.5, 1.5, -0.5, -2.5])).tolist() == [1, 2, -1, -3]


def test_an_unsigned_format_has_no_negative_values() -> None:
    for name in ("p3109_binary8p3uf", "ue4m3", "uint8"):
        assert fake_quantized(name, -1.0, -0.0, -1e9) == [0, 0, 0]


def test_ties_without_mantissa_go_by_the_exponent() -> None:
    """E3M0: a significand of one bit is always odd; 1.5 → 2, 3 → 2, 6 → 8."""
    assert fake_quantized("float4_e3m0fn", 1.5, 3, 6, 0.375, 0.75, -1.5) == [2, 2, 8, 0.5, 0.5, -2]


def test_every_code_of_e4m3_comes_back() -> None:
    codec, codes = Codec(load_format("float8_e4m3fn")), np.arange(256, dtype=np.uint8)
    assert codec.encode(codec.decode(codes)).tolist() == codes.tolist()
    codec = Codec(load_format("ue4m3"))
    assert codec.encode(codec.decode(codes[:128])).tolist() == codes[:128].tolist()


def test_below_a_power_of_two_the_exponent_is_that_of_the_binade_below() -> None:
    """float32's log2 of the number before 8 is 3."""
    x = np.nextafter(np.float32([8, 2.0**-126, 1, 2.0**100]), np.float32(0))
    down = parse_format("name: down\nextends: float8_e8m0fnu\nencode: {rounding: toward_zero}\n")
    assert Codec(down).fake_quantize(x).tolist() == [4, 2.0**-127, 0.5, 2.0**99]
    assert fake_quantized("float4_e2m1fn", *np.nextafter(np.float32([4, 2]), np.float32(0)).tolist()) == [4, 2]


def test_nan_never_becomes_a_number_where_the_format_has_nan() -> None:
    """A peer's E4M3 turns NaN into 480, another's FP4 into 1.5; E2M1 has no NaN and says what it does instead."""
    assert np.isnan(fake_quantized("float8_e4m3fn", np.nan, -np.nan)).all()
    assert fake_quantized("float4_e2m1fn", np.nan, -np.nan) == [6, 6]


def test_minus_zero_stays() -> None:
    zeros = Codec(load_format("float4_e2m1fn")).fake_quantize(np.float32([-0.0, -0.1, -1e-45]))
    assert np.signbit(zeros).all()
    assert zeros.tolist() == [0, 0, 0]


def test_the_least_e8m0_value_stays_in_every_mode() -> None:
    """A peer's rounding up moves 2^-127, which is exact."""
    for mode in ("toward_positive", "toward_negative", "toward_zero", "nearest_even", "nearest_away"):
        format = parse_format(f"name: mode\nextends: float8_e8m0fnu\nencode: {{rounding: {mode}}}\n")
        assert Codec(format).encode(E8M0_GAP[:1]).tolist() == [0]


def test_float64_is_rounded_once() -> None:
    """1.0625 + 2^-40 is above a tie of E4M3; through float32 it lies on it, and becomes the even code."""
    x = np.array([1.0625 + 2.0**-40])
    assert x.astype(ml_dtypes.float8_e4m3fn).view(np.uint8).tolist() == [0x38]
    assert Codec(load_format("float8_e4m3fn")).encode(x).tolist() == [0x39]
    assert Codec(load_format("float8_e4m3fn.ml_dtypes")).encode(x).tolist() == [0x38]
