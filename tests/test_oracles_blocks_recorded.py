"""Block formats against software that the tests do not install: what it made of `golden/blocks/inputs.npz`.

The JSON beside each recording says which release, where it comes from and how the file was made. Nothing there was
computed by statqat_sim.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from block_compare import Array, made, nibbles, quantized, words
from block_exceptions import FLOAT16_ENDS, above_largest, below_power_of_two, largest

from statqat_sim.codec import Codec
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import load_format, parse_format

BLOCKS = Path(__file__).parent / "golden" / "blocks"
MICROXCALING = "microxcaling-1.1"
MODELOPT = "modelopt-0.47"
TRANSFORMER_ENGINE = "transformer_engine-2.20"
FOUR_OVER_SIX = "fouroversix-1.1"
COMPRESSED_TENSORS = "compressed_tensors-0.20"
GPTQMODEL = "gptqmodel-7.7"
OPTIMUM_QUANTO = "optimum_quanto-0.2"

MX_FORMATS = {
    "fp4_e2m1": "mxfp4",
    "fp6_e2m3": "mxfp6_e2m3",
    "fp6_e3m2": "mxfp6_e3m2",
    "fp8_e4m3": "mxfp8_e4m3",
    "fp8_e5m2": "mxfp8_e5m2",
    "int8": "mxint8",
}

WITHOUT_LEAST = """
name: mxint8_without_least
extends: mxint8
element: {min: -127}
"""
NVFP4_2D = """
name: nvfp4_2d_of_transformer_engine
extends: nvfp4.transformer_engine
scales:
  - {format: float32, block: tensor, target: 2688}
  - {format: float8_e4m3fn, block: [16, 16], order: encode, apply: multiply_reciprocal, all_zero: zero, underflow: zero}
"""
FP8_POWERS = """
name: fp8_block128_powers
element: float8_e4m3fn
scales: [{format: float32, block: 128, rule: rceil}]
"""


@cache
def arrays(recording: str) -> dict[str, Array]:
    with np.load(BLOCKS / f"{recording}.npz") as found:
        return dict(found)


INPUTS = arrays("inputs")
FINITE = [name for name in INPUTS if name != "corners"]


def block_format(text: str) -> BlockFormat:
    format = parse_format(text) if "\n" in text else load_format(text)
    assert isinstance(format, BlockFormat)
    return format


def ours(text: str, x: Array) -> dict[str, Array]:
    return made(quantized(block_format(text), x))


def by_element(of_blocks: Array, size: int) -> Array:
    """A bool for each element, of rows as `INPUTS` has them."""
    return np.repeat(of_blocks, size).reshape(len(INPUTS["normal"]), -1)


def is_negative_zero(x: Array) -> Array:
    return (x == 0) & np.signbit(x)


def is_settled(format: str, x: Array) -> Array:
    """Where an error of a float32's last bits changes no code: not beside a tie."""
    number = load_format(format)
    low, high = (Codec(number, "reference").encode(x * np.float32(1 + sign * 2.0**-22)) for sign in (-1, 1))
    return np.asarray(low == high)


# --- microxcaling: values only -----------------------------------------------------------------------------------


def microxcaling(call: str, data: str) -> tuple[Array, Array]:
    """Inputs, and its values of them."""
    values = arrays(MICROXCALING)[f"{call}.{data}.values"]
    return np.ascontiguousarray(INPUTS[data][:, : values.shape[1]]), values


def mx_format(element: str, ties: str) -> str:
    """Its own ties are away from zero."""
    if ties == "nearest":
        return f"{MX_FORMATS[element]}.microxcaling"
    return WITHOUT_LEAST if element == "int8" else MX_FORMATS[element]


@pytest.mark.parametrize("data", FINITE)
@pytest.mark.parametrize("ties", ["nearest", "even"])
@pytest.mark.parametrize("element", MX_FORMATS)
def test_microxcaling_gives_the_same_values(element: str, ties: str, data: str) -> None:
    """But for blocks just below a power of two. It loses -0.0, and has one where int8 has none."""
    x, theirs = microxcaling(f"{element}_{ties}", data)
    values = ours(mx_format(element, ties), x)["values"]
    right = ~by_element(below_power_of_two(x.reshape(-1, 32)), 32)
    assert right.mean() > 0.7
    assert np.array_equal(values[right], theirs[right])
    kept = right & (~is_negative_zero(x) if element != "int8" else values != 0)
    assert np.array_equal(np.signbit(values[kept]), np.signbit(theirs[kept]))


def test_microxcaling_doubles_the_scale_just_below_a_power_of_two() -> None:
    """[7.9999995, 0.3, -0.0] is [6, 0.5, -0.0] in scale 1. Its float32 log2 finds scale 2: [8, 0, 0]."""
    x, theirs = microxcaling("fp4_e2m1_even", "corners")
    (row,) = np.flatnonzero(x[:, 0] == np.nextafter(np.float32(8), np.float32(0)))
    values = ours("mxfp4", x)["values"]
    assert values[row, :3].tolist() == [6, 0.5, 0]
    assert theirs[row, :3].tolist() == [8, 0, 0]


def test_microxcaling_loses_negative_zero() -> None:
    x, theirs = microxcaling("fp4_e2m1_even", "zeros")
    zeros = is_negative_zero(x)
    assert zeros.sum() > 100
    assert not np.signbit(theirs[zeros]).any()
    assert np.signbit(ours("mxfp4", x)["values"][zeros]).all()


# --- ModelOpt ----------------------------------------------------------------------------------------------------


def recorded(recording: str, call: str, data: str) -> dict[str, Array]:
    """Its arrays, with 4-bit codes in place of bytes."""
    prefix = f"{call}.{data}."
    found = {name.removeprefix(prefix): array for name, array in arrays(recording).items() if name.startswith(prefix)}
    if "elements" in found:
        found["codes"] = nibbles(found.pop("elements"))
    return found


@pytest.mark.parametrize("data", INPUTS)
def test_modelopt_gives_the_same_nvfp4(data: str) -> None:
    """-0.0 becomes 0, and scales that underflow in float32 are 1 there."""
    x, theirs = INPUTS[data], recorded(MODELOPT, "nvfp4", data)
    mine = ours("nvfp4.modelopt", x)
    raw = largest(x.reshape(-1, 16)) / (np.float32(6) * mine["scale0"].item())
    right = (raw > 0) | (largest(x.reshape(-1, 16)) == 0)
    assert right.mean() > 0.1
    assert mine["scale0"].item() == theirs["scale0"].item()
    assert np.array_equal(mine["scale1"].reshape(-1)[right], theirs["scale1"].reshape(-1)[right])
    assert (theirs["scale1"].reshape(-1)[~right] == 0x38).all()
    same = by_element(right, 16) & ~is_negative_zero(x)
    assert np.array_equal(mine["codes"][same], theirs["codes"][same])
    assert not theirs["codes"][is_negative_zero(x)].any()


@pytest.mark.parametrize("data", INPUTS)
def test_modelopt_gives_the_same_mxfp4(data: str) -> None:
    """Zeros are -0 there, and its scales just above 6 times a power of two too small."""
    x, theirs = INPUTS[data], recorded(MODELOPT, "mxfp4", data)
    mine = ours("mxfp4.modelopt", x)
    right = ~above_largest(6)(x.reshape(-1, 32))
    assert np.array_equal(mine["scale"].reshape(-1)[right], theirs["scale"].reshape(-1)[right])
    same = by_element(right, 32) & (x != 0)
    assert np.array_equal(mine["codes"][same], theirs["codes"][same])
    assert (theirs["codes"][x == 0] == 0x8).all()


@pytest.mark.parametrize("data", INPUTS)
def test_modelopt_gives_the_same_mxfp8(data: str) -> None:
    x, theirs = INPUTS[data], recorded(MODELOPT, "mxfp8", data)
    mine = ours("mxfp8_e4m3.rceil", x)
    right = ~above_largest(448)(x.reshape(-1, 32))
    assert np.array_equal(mine["scale"].reshape(-1)[right], theirs["scale"].reshape(-1)[right])
    same = by_element(right, 32)
    assert np.array_equal(mine["codes"][same], theirs["codes"][same])


# --- TransformerEngine: the references that its tests compare its kernels with -------------------------------------


def by_rows(of_blocks: Array, rows: int) -> Array:
    """For each element, of blocks of so many rows and 16 columns."""
    return np.repeat(np.repeat(of_blocks, 16, axis=1), rows, axis=0)


def scale_values(codes: Array) -> Array:
    return np.asarray(Codec(load_format("float8_e4m3fn"), "reference").decode(codes))


@pytest.mark.parametrize("data", INPUTS)
@pytest.mark.parametrize(
    ("call", "text", "rows"), [("nvfp4", "nvfp4.transformer_engine", 1), ("nvfp4_2d", NVFP4_2D, 16)]
)
def test_transformer_engine_gives_the_same_nvfp4(call: str, text: str, rows: int, data: str) -> None:
    """Under a scale of 0 its elements overflow; here they are 0. -0.0 becomes 0, a quotient that underflows too.

    Its divisor 1 / (s * (1 / G)) may differ in the last bit.
    """
    x, theirs = INPUTS[data], recorded(TRANSFORMER_ENGINE, call, data)
    mine = ours(NVFP4_2D if rows > 1 else "nvfp4.transformer_engine", x)
    scales = mine["scale1"]
    assert np.array_equal(scales, theirs["scale1"].reshape(scales.shape))
    nonzero = by_rows(scales != 0, rows)
    divisors = by_rows(scale_values(scales) * mine["scale0"].item(), rows)
    right = nonzero & is_settled("float4_e2m1fn", np.divide(x, divisors, out=np.zeros_like(x), where=nonzero))
    assert right[nonzero].mean() > 0.85
    assert np.array_equal(mine["codes"][right] & 7, theirs["codes"][right] & 7)
    signed = right & (np.abs(x) > 2.0**-60 * mine["scale0"].item())
    assert np.array_equal(mine["codes"][signed], theirs["codes"][signed])
    assert not mine["codes"][~nonzero].any()


@pytest.mark.parametrize("data", INPUTS)
def test_transformer_engine_gives_the_same_fp8_blocks(data: str) -> None:
    """Its scale is 1 / (448 / amax), which may differ from amax / 448 in the last bit; its codes do not."""
    x, theirs = INPUTS[data], recorded(TRANSFORMER_ENGINE, "fp8_block128", data)
    mine = ours("fp8_block128_deepseek", x)
    assert np.array_equal(mine["codes"], theirs["codes"])
    steps = mine["scale"].view(np.uint32).reshape(-1).astype(int) - theirs["scale"].view(np.uint32).reshape(-1)
    assert np.abs(steps).max() <= 1
    with np.errstate(divide="ignore"):
        inverse = np.float32(1) / (np.float32(448) / largest(x.reshape(-1, 128)))
    inverse[inverse == 0] = 1
    assert np.array_equal(theirs["scale"].reshape(-1), inverse)


@pytest.mark.parametrize("data", INPUTS)
def test_transformer_engine_gives_the_same_fp8_blocks_with_powers_of_two(data: str) -> None:
    x, theirs = INPUTS[data], recorded(TRANSFORMER_ENGINE, "fp8_block128_pow2", data)
    mine = ours(FP8_POWERS, x)
    assert np.array_equal(words(mine["scale"]), words(theirs["scale"]))
    assert np.array_equal(mine["codes"], theirs["codes"])


# --- fouroversix -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [name for name in FINITE if name != "scales"])  # their errors underflow in float32
def test_fouroversix_chooses_alike_between_six_and_four(data: str) -> None:
    """Where the scales differ, the errors are alike but for float32. Small scales, and those of zeros, are 0 there.

    Under a subnormal scale that is rounded down, an element above 7 becomes 8 there, in code 8, which is -0.
    """
    x, theirs = INPUTS[data], recorded(FOUR_OVER_SIX, "nvfp4_mse", data)
    mine = ours("nvfp4.four_over_six", x)
    scales, their_scales = mine["scale1"].reshape(-1), theirs["scale1"].reshape(-1)
    wrapped = largest(x.reshape(-1, 16)) > 7 * scale_values(their_scales) * mine["scale0"].item()
    kept = (their_scales != 0) & ~wrapped
    assert (scales[(their_scales == 0) & (largest(x.reshape(-1, 16)) > 0)] == 1).all()
    same = by_element(kept & (scales == their_scales), 16) & ~is_negative_zero(x)
    assert kept.mean() > 0.7
    assert np.array_equal(mine["codes"][same] & 7, theirs["codes"][same] & 7)
    values = scale_values(theirs["scale1"]).repeat(16).reshape(x.shape) * mine["scale0"] * elements(theirs["codes"])
    error, their_error = (squared(x - each) for each in (mine["values"], values))
    raw = largest(x.reshape(-1, 16)) / mine["scale0"].item()
    settled = kept & is_settled("float8_e4m3fn", raw / 6) & is_settled("float8_e4m3fn", raw / 4)
    assert np.allclose(error[settled], their_error[settled], rtol=1e-5, atol=0)
    assert (scales == their_scales)[settled].mean() > 0.98
    if data == "steps":
        at_most = np.abs(x) == by_element(largest(x.reshape(-1, 16)), 16)
        assert (theirs["codes"][by_element(wrapped & (their_scales != 0), 16) & at_most] == 0x8).any()


@pytest.mark.parametrize("data", INPUTS)
def test_fouroversix_gives_the_same_nvfp4(data: str) -> None:
    """Where the last bit of (amax / 6) * (2688 / amax of all) decides nothing, and the scale is not 0 there."""
    x, theirs = INPUTS[data], recorded(FOUR_OVER_SIX, "nvfp4", data)
    mine = ours("nvfp4", x)
    raw = largest(x.reshape(-1, 16)) / (6 * mine["scale0"].item())
    vanished = raw <= 2.0**-10
    right = ~vanished & is_settled("float8_e4m3fn", raw)
    assert right.mean() > 0.1
    assert np.array_equal(mine["scale1"].reshape(-1)[right], theirs["scale1"].reshape(-1)[right])
    assert not theirs["scale1"].reshape(-1)[vanished].any()
    wrapped = largest(x.reshape(-1, 16)) > 7 * scale_values(theirs["scale1"].reshape(-1)) * mine["scale0"].item()
    same = by_element(right & ~wrapped, 16) & (x != 0)
    assert np.array_equal(mine["codes"][same] & 7, theirs["codes"][same] & 7)


def elements(codes: Array) -> Array:
    return np.asarray(Codec(load_format("float4_e2m1fn"), "reference").decode(codes))


def squared(error: Array) -> Array:
    """Sums over blocks of 16."""
    return np.square(error.astype(np.float64)).reshape(-1, 16).sum(axis=-1)


# --- compressed-tensors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", INPUTS)
def test_compressed_tensors_gives_the_same_nvfp4(data: str) -> None:
    """A scale that rounds to 0 is 0.125 there, far too large. -0.0 becomes 0.

    Its global scale is G = 2688 * (1 / amax), and those of blocks are (amax / 6) * G: the last bit may differ.
    """
    x, theirs = INPUTS[data], recorded(COMPRESSED_TENSORS, "nvfp4", data)
    mine = ours("nvfp4", x)
    whole = np.float32(2688) * (np.float32(1) / largest(x.reshape(1, -1)))
    assert np.array_equal(theirs["global"], whole)
    raw = largest(x.reshape(-1, 16)) / np.float32(6) * whole
    vanished = raw <= 2.0**-10
    right = ~vanished & is_settled("float8_e4m3fn", raw)
    assert right.mean() > 0.1
    assert np.array_equal(mine["scale1"].reshape(-1)[right], theirs["scale1"].reshape(-1)[right])
    assert (theirs["scale1"].reshape(-1)[vanished] == 0x20).all()
    same = by_element(right, 16) & ~is_negative_zero(x)
    assert np.array_equal(mine["codes"][same] & 7, theirs["codes"][same] & 7)


@pytest.mark.parametrize("data", INPUTS)
def test_compressed_tensors_rounds_amax_of_mxfp4_to_even(data: str) -> None:
    x, theirs = INPUTS[data], recorded(COMPRESSED_TENSORS, "mxfp4", data)
    mine, element = ours("mxfp4.even", x), block_format("mxfp4").element
    assert np.array_equal(np.exp2(mine["scale"].reshape(-1) - 127.0), theirs["factor"].reshape(-1))
    kept = ~is_negative_zero(x)
    assert np.array_equal(mine["codes"][kept], Codec(element, "reference").encode(theirs["quotients"])[kept])


@pytest.mark.parametrize("data", INPUTS)
def test_compressed_tensors_rounds_amax_of_mxfp8_as_that_of_mxfp4(data: str) -> None:
    """At 1.75, as one bit of mantissa asks for, where three ask for 1.9375."""
    x, theirs = INPUTS[data], recorded(COMPRESSED_TENSORS, "mxfp8", data)
    four, eight = (ours(f"{name}.even", x)["scale"].reshape(-1).astype(int) for name in ("mxfp4", "mxfp8_e4m3"))
    exponents = np.log2(theirs["factor"].reshape(-1)).astype(int) + 127
    is_zero = largest(x.reshape(-1, 32)) == 0
    assert np.array_equal(exponents[~is_zero], four[~is_zero] + 2 - 8)
    assert ((exponents - eight)[~is_zero] >= 0).all()
    if data == "steps":
        assert (exponents != eight).mean() > 0.1


# --- integers: compressed-tensors, GPTQModel, optimum-quanto; a row is a group of 128 ------------------------------

INTEGERS = {
    "int4_block128": (COMPRESSED_TENSORS, "int4_float16"),
    "int4_block128.compressed_tensors": (COMPRESSED_TENSORS, "int4_bfloat16"),
    "int4_block128.gptq": (GPTQMODEL, "sym"),
    "int4_block128_asym": (COMPRESSED_TENSORS, "int4_asym"),
    "int4_block128_asym.gptq": (GPTQMODEL, "asym"),
    "int4_block128_quanto": (OPTIMUM_QUANTO, "qint4"),
    "int8_channel": (OPTIMUM_QUANTO, "qint8"),
    "int8_channel.compressed_tensors": (COMPRESSED_TENSORS, "int8_channel"),
}


def weights(name: str, data: str) -> Array:
    """What the software was given, in float32."""
    x = INPUTS[data]
    return x.astype(ml_dtypes.bfloat16).astype(np.float32) if INTEGERS[name][1] == "int4_bfloat16" else x


def has_scale(name: str, x: Array) -> Array:
    """Which rows have a scale there that its rule explains: not those of zeros, and what the tests below say."""
    found, raw = (largest(x) > 0) | (name == "int4_block128_quanto"), largest(x) / np.float32(7.5)
    if name == "int4_block128":
        found &= (raw > 2.0**-25) & (raw < FLOAT16_ENDS)
    if name == "int4_block128.gptq":
        found &= (x < 0).any(axis=-1) & (raw < FLOAT16_ENDS)
    if name == "int4_block128_asym.gptq":
        found &= np.ptp(x, axis=-1) / np.float32(15) < FLOAT16_ENDS
    return found


@pytest.mark.parametrize("data", FINITE)
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_the_same(name: str, data: str) -> None:
    x, theirs = weights(name, data), recorded(*INTEGERS[name], data)
    mine, right = ours(name, x), has_scale(name, x)
    assert right.any()
    assert {"scale", "codes"} <= set(theirs)
    for array in theirs:
        rows = [each[array].reshape(len(x), -1)[right] for each in (mine, theirs)]
        assert np.array_equal(*rows), array


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("int4_block128", 2.0**-10),
        ("int4_block128.compressed_tensors", 0x3C00),
        ("int4_block128_asym", 2.0**-23),
        ("int8_channel.compressed_tensors", 2.0**-23),
        ("int8_channel", 0),
        ("int4_block128.gptq", np.float16(2 / 15)),
        ("int4_block128_asym.gptq", np.float16(2 / 15)),
    ],
)
def test_rows_of_zeros_have_some_scale_there(name: str, scale: float) -> None:
    """Of compressed-tensors the dtype's epsilon, as where a scale in float16 is 0."""
    x, theirs = INPUTS["zeros"], recorded(*INTEGERS[name], "zeros")
    zero = largest(x) == 0
    assert zero.any()
    assert (theirs["scale"].reshape(-1)[zero] == scale).all()
    values = ours(name, x)["values"][zero]
    assert not values.any()


def test_gptq_halves_the_scale_of_rows_without_a_negative_element() -> None:
    """Its lower end is 0 then, but 8 stays the code of 0: what lies above 7/15 of the largest is cut off."""
    x, theirs = INPUTS["corners"], recorded(GPTQMODEL, "sym", "corners")
    assert np.array_equal(theirs["scale"].reshape(-1), (largest(x) / np.float32(15)).astype(np.float16))
    assert (theirs["codes"].max(axis=-1) == 15).all()
    mine = ours("int4_block128.gptq", x)
    assert np.array_equal(mine["scale"].reshape(-1), (largest(x) / np.float32(7.5)).astype(np.float16))


# --- the files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(BLOCKS.glob("*.npz")), ids=lambda path: path.stem)
def test_a_recording_says_where_it_comes_from(path: Path) -> None:
    facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert all(facts[key] for key in ("software", "release", "source", "produced"))
    release = path.stem.rpartition("-")[2]
    assert path.stem == "inputs" or facts["release"].split(".")[: len(release.split("."))] == release.split(".")
    with np.load(path) as found:
        calls = {name.split(".")[0] for name in found}
    assert calls == set(facts["calls"])
