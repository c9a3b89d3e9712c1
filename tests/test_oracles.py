"""Encoders and decoders against other people's libraries, where these say what the format files claim."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import gfloat
import ml_dtypes
import numpy as np
import pytest
from inputs import edges, exact_codes, random_bits
from oracles import Oracle, is_run, resolve

from statqat_sim.codec import Codec
from statqat_sim.reference.prove import prove
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.number import NumberFormat

Bits = Any
SLOW = ("gfloat",)
"""Libraries that work element by element."""

E8M0_GAP = np.float32([2.0**-127, 1.5 * 2.0**-127])
"""Between these, ml_dtypes and torch round everything up."""

ENTRIES = [(name, entry) for name in formats() for entry in load_format(name).oracle if is_run(entry)]
TIES_UP = [("float8_e8m0fnu", f"{library}:float8_e8m0fnu") for library in ("ml_dtypes", "torch")]
"""They round E8M0's ties up; their profiles say so."""

CASTS = [entry for entry in ENTRIES if entry not in TIES_UP and resolve(entry[1]).encode is not None]


class Case(NamedTuple):
    """A format and an oracle of it, of the release that the format file names."""

    format: NumberFormat
    oracle: Oracle

    def ours(self, bits: Bits) -> Bits:
        return Codec(self.format).encode(bits.view(np.float32))

    def theirs(self, bits: Bits) -> Bits:
        assert self.oracle.encode is not None
        return self.oracle.encode(bits.view(np.float32))


@cache
def case(name: str, entry: str) -> Case:
    oracle = resolve(entry)
    if not oracle.installed():
        pytest.skip(f"another release than {entry} is installed")
    return Case(load_format(name), oracle)


def compared(case: Case) -> Bits:
    """Inputs on which the two agree: all of a named release; otherwise those inside the format's range."""
    slow = case.oracle.library in SLOW
    bits = np.concatenate([edges(case.format, 500 if slow else None), random_bits(5000 if slow else 10**6)])
    x = bits.view(np.float32)
    if case.oracle.release:
        in_gap = (np.abs(x) > E8M0_GAP[0]) & (np.abs(x) < E8M0_GAP[1])
        return bits[~in_gap] if case.format.name.startswith("float8_e8m0fnu") else bits
    inside = (x >= case.format.min) & (x <= case.format.max)
    if case.format.name == "ue4m3":  # the non-negative half of the library's type
        inside &= ~np.signbit(x)
    return bits[inside]


def assert_same(ours: Any, theirs: Any, bits: Bits) -> None:
    wrong = np.flatnonzero(ours != theirs)
    shown = [f"{bits[i]:#010x}: {ours[i]:#x}, the library {theirs[i]:#x}" for i in wrong[:5]]
    assert not len(wrong), "\n".join([f"{len(wrong)} of {len(bits)} inputs", *shown])


@pytest.mark.parametrize(("name", "entry"), CASTS)
def test_inputs_become_the_same_codes(name: str, entry: str) -> None:
    this = case(name, entry)
    bits = compared(this)
    assert len(bits) > 300
    assert_same(this.ours(bits), this.theirs(bits), bits)


@pytest.mark.parametrize(("name", "entry"), ENTRIES)
def test_codes_decode_to_the_same_values(name: str, entry: str) -> None:
    codec = Codec(load_format(name))
    with np.errstate(invalid="ignore"):  # signalling NaN
        theirs = resolve(entry).decode().astype(np.float32)
    codes = np.arange(len(theirs), dtype=codec.encode(np.float32([0])).dtype)
    if name == "ue4m3":  # the non-negative half of the library's type
        codes, theirs = codes[:128], theirs[:128]
    ours = codec.decode(codes)
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    numbers = ~np.isnan(ours)
    assert ours[numbers].view(np.uint32).tolist() == theirs[numbers].view(np.uint32).tolist()


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in formats() if name.endswith((".torch", ".ml_dtypes"))])
def test_profiles_are_proven(name: str) -> None:
    """Over all inputs, except where the profile itself names an exception."""
    (entry,) = load_format(name).oracle
    this = case(name, entry)
    proof = prove(this.format, lambda x, *, out: this.oracle.encode(x))
    gap = int(E8M0_GAP[1:].view(np.uint32)[0] - E8M0_GAP[:1].view(np.uint32)[0]) - 1
    signs = {"float8_e8m0fnu.torch": 2, "float8_e8m0fnu.ml_dtypes": 1}
    assert proof.wrong == gap * signs.get(name, 0), "\n".join(map(str, proof.mismatches))


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


def test_numpy_float16_agrees_on_every_input_that_is_not_nan() -> None:
    this = case("float16", "numpy:float16")
    bits = np.concatenate([edges(this.format), random_bits(10**6)])
    bits = bits[~np.isnan(bits.view(np.float32))]
    assert_same(this.ours(bits), this.theirs(bits), bits)


@pytest.mark.parametrize("name", ["nf4", "bnb_fp4"])
def test_codebooks_choose_the_nearest_value_of_the_table_of_bitsandbytes(name: str) -> None:
    (entry,) = [entry for entry in load_format(name).oracle if entry.startswith("bitsandbytes")]
    values = resolve(entry).decode().astype(np.float64)
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


def test_float64_is_not_rounded_twice_by_accident() -> None:
    """1.0625 + 2^-40 is above a tie of E4M3; through float32 it lies on it. Until float64 is read, it is refused."""
    x = np.array([1.0625 + 2.0**-40])
    assert x.astype(ml_dtypes.float8_e4m3fn).view(np.uint8).tolist() == [0x38]
    with pytest.raises(TypeError, match="float64"):
        Codec(load_format("float8_e4m3fn")).encode(x)
    assert exact_codes(load_format("float8_e4m3fn"), x.astype(np.float32).view(np.uint32)).tolist() == [0x38]
