"""Block formats against the software that their files name: scales, codes and bytes, bit for bit."""

from __future__ import annotations

import importlib.util
import re
from functools import cache

import block_libraries as libraries
import numpy as np
import pytest
from block_compare import Array, block_of, dequantized, differing, made, quantized, words
from block_data import FINITE, drawn
from block_exceptions import excepted, largest

from statqat_sim.quantized import QuantizedTensor
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.pack import Layout

ENTRIES = [
    (name, entry)
    for name in formats(kind="block")
    for entry in load_format(name).oracle
    if libraries.library(entry) in libraries.QUANTIZE
]
MX = [(name, entry) for name, entry in ENTRIES if "to_mx" in entry]
GFLOAT = [(name, entry) for name, entry in ENTRIES if libraries.library(entry) == "gfloat"]

ONE_LEVEL = """
name: nvfp4_one_level
element: float4_e2m1fn
scales: [{format: float8_e4m3fn, block: 16, clamp: [0.015625, 448], apply: multiply_reciprocal}]
"""
"""torchao's nvfp4_quantize without the scale of the whole array."""


@cache
def block_format(name: str) -> BlockFormat:
    format = parse_format(ONE_LEVEL) if name == "nvfp4_one_level" else load_format(name)
    assert isinstance(format, BlockFormat)
    return format


def asked(entry: str) -> str:
    """The entry, where its library is at hand."""
    if not libraries.is_installed(entry):
        pytest.skip(f"{entry}: this release is not installed")
    return entry


def theirs_of(name: str, entry: str, x: Array) -> dict[str, Array]:
    """What the library gives; values in place of bytes that `pack` has no word for."""
    format = block_format(name)
    theirs = libraries.quantize(asked(entry), format.element.name, x)
    if "bytes" in theirs and format.pack.layout is Layout.SEPARATE:
        return {"values": libraries.dequantize(entry, theirs["bytes"])}
    if name == "fp4_bnb_block64":
        theirs.pop("elements")  # small negative numbers become code 8 there, a second zero
    return theirs


def encodes(entry: str) -> bool:
    """Whether the library quantizes, not only back. Without gguf, its tests are there to be skipped."""
    is_gguf = libraries.library(entry) == "gguf" and importlib.util.find_spec("gguf") is not None
    return not is_gguf or libraries.gguf_quantizes(entry)


ENCODED = [(name, entry) for name, entry in ENTRIES if encodes(entry)]
ENCODED += [("nvfp4_one_level", "torchao==0.18:nvfp4_quantize.one_level")]


@pytest.mark.parametrize("data", FINITE)
@pytest.mark.parametrize(("name", "entry"), ENCODED)
def test_blocks_become_the_same(name: str, entry: str, data: str) -> None:
    x, format = drawn(data), block_format(name)
    blocks = x.reshape(-1, block_of(format, x))
    theirs = theirs_of(name, entry, x)
    outside = excepted(name, entry, blocks)
    wrong = np.flatnonzero(differing(made(quantized(format, x)), theirs, len(blocks)) & ~outside)
    assert outside.mean() < 0.9
    assert not len(wrong), f"{len(wrong)} of {len(blocks)} blocks, the first: {blocks[wrong[0]].tolist()}"


@pytest.mark.parametrize(
    ("name", "entry"), [*MX, *GFLOAT, *(entry for entry in ENTRIES if re.search("MXFP4|nf4|:fp4", entry[1]))]
)
def test_blocks_of_every_binade_become_the_same(name: str, entry: str) -> None:
    """Down to where a library knows no subnormal scales; torchao divides by the wrong one, and stores the right one."""
    x, format = drawn("binades"), block_format(name)
    theirs, ours = theirs_of(name, entry, x), made(quantized(format, x))
    blocks = x.reshape(-1, block_of(format, x))
    below = {
        "torchao": ours["scale"].reshape(-1) == 0,
        "gguf": largest(blocks) < 2.0**-125,
        "bitsandbytes": largest(blocks) < 1e-38,
        "gfloat": np.zeros(len(blocks), bool),
    }[libraries.library(entry)]
    assert not (differing(ours, theirs, len(blocks)) & ~below).any()
    if (name, entry) in MX:
        assert np.array_equal(words(ours["scale"]), words(theirs["scale"]))


@pytest.mark.parametrize(("name", "entry"), GFLOAT)
def test_gfloat_gives_all_codes_the_same_values(name: str, entry: str) -> None:
    """Scales of which no product is subnormal, and NaN: gfloat multiplies in float64."""
    format, rng = block_format(name), np.random.default_rng(0)
    scales = np.append(np.arange(40, 216), 255).astype(np.uint8)
    codes = rng.integers(0, 1 << format.bits, (len(scales), 32), dtype=np.uint8)
    theirs = libraries.gfloat_values(asked(entry).partition(":")[2], scales, codes)
    assert np.array_equal(words(dequantized(QuantizedTensor(codes, (scales[:, None],), format))), words(theirs))


@pytest.mark.parametrize("shape", [(128, 4), (130, 5), (1, 1), (300, 17)])
def test_scales_are_swizzled_alike(shape: tuple[int, int]) -> None:
    text = "name: s\nelement: float8_e4m3fn\nscales: [{format: float8_e8m0fnu, block: 2, rule: floor, target: emax}]\n"
    format = parse_format(text + "pack: {swizzle: sm100_128x4}\n")
    asked("torchao==0.18:to_blocked")
    scales = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    q = QuantizedTensor(np.zeros((shape[0], 2 * shape[1]), np.uint8), (scales,), format)
    theirs = libraries.to_blocked(scales)
    assert np.array_equal(np.ravel(q.fields()["scale"]), theirs)
    assert q.pack()[: theirs.size] == theirs.tobytes()


# --- where they differ -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "entry"), MX)
def test_torchao_keeps_signs_under_a_nan_scale(name: str, entry: str) -> None:
    """Scales are alike, and every value is NaN; the codes under a NaN scale are 0 here."""
    x, format = drawn("nan"), block_format(name)
    theirs, ours = theirs_of(name, entry, x), made(quantized(format, x))
    assert np.array_equal(ours["scale"], theirs["scale"].reshape(ours["scale"].shape))
    is_nan = np.isnan(x.reshape(-1, 32)).any(axis=-1)
    assert np.array_equal(ours["scale"].reshape(-1) == 0xFF, is_nan)
    assert np.array_equal(differing(ours, theirs, len(is_nan)), is_nan)


@pytest.mark.parametrize(("name", "entry"), MX)
def test_torchao_finds_a_scale_for_inf(name: str, entry: str) -> None:
    """The largest one: every finite element is lost. OCP leaves it open; here the block is NaN, as the scale says."""
    x, format = drawn("inf"), block_format(name)
    theirs, ours = theirs_of(name, entry, x), made(quantized(format, x))
    has_inf = np.isinf(x.reshape(-1, 32)).any(axis=-1)
    assert np.array_equal(ours["scale"].reshape(-1) == 0xFF, has_inf)
    assert (theirs["scale"].reshape(-1)[has_inf] < 0xFF).all()
    assert np.array_equal(differing(ours, theirs, len(has_inf)), has_inf)


@pytest.mark.parametrize(("name", "entry"), [entry for entry in MX if entry[0].endswith("rceil")])
def test_torchao_takes_too_small_a_scale_just_above_its_largest(name: str, entry: str) -> None:
    """Its float32 log2(amax / max) is 7 there; the element overflows, which `rceil` is there to prevent."""
    format = block_format(name)
    most = np.float32(128 * format.element.max)
    x = np.zeros((1, 32), np.float32)
    x[0, 0] = np.nextafter(most, np.float32(np.inf))
    assert theirs_of(name, entry, x)["scale"].item() == 134
    assert made(quantized(format, x))["scale"].item() == 135
    x[0, 0] = most
    assert theirs_of(name, entry, x)["scale"].item() == made(quantized(format, x))["scale"].item() == 134


@pytest.mark.parametrize(("name", "entry"), [entry for entry in MX if entry[0] == "mxfp4"])
def test_torchao_divides_by_twice_its_least_scale(name: str, entry: str) -> None:
    """Scale 2^-127 is stored, and the elements are divided by 2^-126, the least float32 that is normal."""
    x = np.zeros((1, 32), np.float32)
    x[0, 0] = 2.0**-127
    theirs, ours = theirs_of(name, entry, x), made(quantized(block_format(name), x))
    assert theirs["scale"].item() == ours["scale"].item() == 0
    assert (theirs["elements"].flat[0], ours["elements"].flat[0]) == (0x1, 0x2)  # 0.5 and 1


def test_torchao_gives_blocks_of_zeros_its_least_scale() -> None:
    """And what its clamp makes of small blocks is in the profile."""
    x = np.zeros((1, 32), np.float32)
    x[0, 0] = 1
    scales = theirs_of("nvfp4.torchao", "torchao==0.18:nvfp4_quantize", x)["scale1"]
    ours = made(quantized(block_format("nvfp4.torchao"), x))["scale1"]
    assert scales.tolist() == [[0x7E, 0x08]]  # 448 and 2^-6
    assert ours.tolist() == [[0x7E, 0x38]]  # 448 and 1
    x[0, 16] = 1e-6
    assert theirs_of("nvfp4.torchao", "torchao==0.18:nvfp4_quantize", x)["elements"].reshape(-1)[8] == 0
    assert made(quantized(block_format("nvfp4"), x))["elements"].reshape(-1)[8] != 0


def test_gguf_takes_too_large_a_scale_just_below_a_power_of_two() -> None:
    """Its log2 is float32, and [7.9999995, 0.3, ...] has the scale of [8, 0.3, ...]."""
    x = drawn("corners")
    theirs = theirs_of("gguf_mxfp4", "gguf==0.19:MXFP4", x)["bytes"].reshape(-1, 17)[:, 0]
    ours = made(quantized(block_format("gguf_mxfp4"), x))["scale"].reshape(-1)
    assert (theirs.astype(int) - ours).min() == 0
    assert (theirs.astype(int) - ours).max() == 1
    seven = largest(x.reshape(-1, 32)) == np.nextafter(np.float32(8), np.float32(0))
    assert seven.any()
    assert (theirs[seven] == ours[seven] + 1).all()


@pytest.mark.parametrize(("name", "zero"), [("gguf_q4_0", 8), ("gguf_q5_0", 16)])
def test_gguf_rounds_a_quotient_below_a_tie_up(name: str, zero: int) -> None:
    """It adds 8.5 in float32, and 9 - 2^-24 becomes 9; the sum is float32 in C, too."""
    x = np.zeros((1, 32), np.float32)
    x[0, :2] = -zero, np.nextafter(np.float32(0.5), np.float32(0))  # scale 1
    entry = next(entry for each, entry in ENTRIES if each == name)
    theirs = theirs_of(name, entry, x)["bytes"].reshape(-1)
    ours = made(quantized(block_format(name), x))
    assert ours["codes"][0, :3].tolist() == [0, zero, zero]
    assert theirs[-15] & 0xF == (zero + 1) & 0xF
    assert excepted(name, entry, x).all()


def test_gguf_scales_beyond_float16_are_inf() -> None:
    """Here they saturate."""
    x = np.full((1, 32), 2.0**30, np.float32)
    theirs = theirs_of("gguf_q8_0", "gguf==0.19:Q8_0", x)["bytes"].reshape(-1)
    assert theirs[:2].view(np.float16)[0] == np.inf
    assert made(quantized(block_format("gguf_q8_0"), x))["scale"].item() == 65504


def test_gguf_scales_of_zeros_have_a_sign() -> None:
    theirs = theirs_of("gguf_q4_0", "gguf==0.19:Q4_0", np.zeros((1, 32), np.float32))["bytes"].reshape(-1)
    assert theirs.tobytes() == b"\x00\x80" + 16 * b"\x88"
    ours = made(quantized(block_format("gguf_q4_0"), np.zeros((1, 32), np.float32)))["bytes"]
    assert ours.tobytes() == b"\x00\x00" + 16 * b"\x88"


def test_gfloat_doubles_the_scale_just_below_a_power_of_two() -> None:
    """For arrays of float32, whose log2 is float32."""
    asked("gfloat==0.5:mxfp4_e2m1")
    x = np.zeros(32, np.float32)
    x[:2] = np.nextafter(np.float32(8), np.float32(0)), 0.3
    rounded = libraries.gfloat_float32("mxfp4_e2m1", x)
    assert rounded[:2].tolist() == [8, 0]
    assert made(quantized(block_format("mxfp4"), x))["values"][:2].tolist() == [6, 0.5]
