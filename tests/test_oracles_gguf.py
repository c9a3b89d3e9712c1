"""Every GGUF format that the language can say, from random bytes: the values that gguf gives them, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import block_libraries as libraries
import numpy as np
import pytest
from block_compare import Array, dequantized, words
from inputs import random_bits

from statqat_sim.codec import Codec
from statqat_sim.quantized import QuantizedTensor, unpack
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats, load_format
from statqat_sim.spec.pack import Layout

Fields: TypeAlias = dict[str, Any]
"""Arguments of a QuantizedTensor."""

BLOCKS = 200

FORMATS = {
    name: format
    for name in formats(kind="block")
    if isinstance(format := load_format(name), BlockFormat) and any("gguf" in entry for entry in format.oracle)
}


def entry_of(name: str) -> str:
    entry = next(entry for entry in FORMATS[name].oracle if "gguf" in entry)
    if not libraries.is_installed(entry):
        pytest.skip(f"{entry}: this release is not installed")
    return entry


def random_blocks(name: str) -> Array:
    _, count = libraries.gguf_block(entry_of(name))
    octets = np.random.default_rng(0).integers(0, 256, (BLOCKS, count), dtype=np.uint8)
    if name == "gguf_nvfp4":
        octets[:, :4] %= 0x7F  # no NaN, and no sign
    return octets


# --- layouts that `pack` has no word for; of ggml-common.h ---------------------------------------------------------


def float16(octets: Array) -> Array:
    return np.ascontiguousarray(octets).view(np.float16)


def bits(octets: Array, width: int) -> Array:
    """The parts of each byte, lowest first: `(blocks, parts, bytes)`."""
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    return octets[:, None, :] >> shifts[:, None] & np.uint8((1 << width) - 1)


def chunks(octets: Array, size: int, width: int) -> Array:
    """Codes of bytes that hold, chunk by chunk, first the lowest part of `size` bytes, then the next: one row each."""
    parts = bits(octets.reshape(-1, size), width)
    return parts.reshape(len(octets), -1)


def q2_k(octets: Array) -> Fields:
    scales, codes, floats = np.split(octets, [16, 80], axis=-1)
    scale, minimum = np.split(float16(floats), 2, axis=-1)
    return {
        "codes": chunks(codes, 32, 2),
        "scales": (scale, scales & 15),
        "offset": scales >> 4,
        "offset_scales": (minimum,),
    }


def q3_k(octets: Array) -> Fields:
    high, low, scales, scale = np.split(octets, [32, 96, 108], axis=-1)
    top = chunks(high, 32, 1)
    sub = chunks(scales[:, :8], 8, 4) | chunks(scales[:, 8:], 4, 2) << 4
    return {"codes": chunks(low, 32, 2) | top << 2, "scales": (float16(scale), sub)}


def q6_k(octets: Array) -> Fields:
    low, high, scales, scale = np.split(octets, [128, 192, 208], axis=-1)
    return {"codes": chunks(low, 64, 4) | chunks(high, 32, 2) << 4, "scales": (float16(scale), scales)}


def iq4_xs(octets: Array) -> Fields:
    scale, high, low, codes = np.split(octets, [2, 4, 8], axis=-1)
    high = np.ascontiguousarray(high).view(np.uint16) >> np.arange(0, 16, 2, dtype=np.uint16) & 3
    low = bits(low, 4).swapaxes(1, 2).reshape(len(low), -1)
    return {"codes": chunks(codes, 16, 4), "scales": (float16(scale), low | high.astype(np.uint8) << 4)}


def tq1_0(octets: Array) -> Fields:
    """Five weights to a byte, as digits of base 3 of a fraction of 256; the last four bytes hold four each."""
    first, second, last, scale = np.split(octets, [32, 48, 52], axis=-1)
    parts = [digits(part, count) for part, count in ((first, 5), (second, 5), (last, 4))]
    return {"codes": np.hstack(parts), "scales": (float16(scale),)}


def digits(octets: Array, count: int) -> Array:
    powers = np.uint8(3) ** np.arange(count, dtype=np.uint8)
    digit = (octets[:, None, :] * powers[:, None]).astype(np.uint16) * 3 >> 8
    return digit.astype(np.uint8).reshape(len(octets), -1)


def nvfp4(octets: Array) -> Fields:
    scales, codes = np.split(octets, [4], axis=-1)
    return {"codes": chunks(codes, 8, 4), "scales": (scales,)}


LAYOUTS: dict[str, Callable[[Array], Fields]] = {
    "gguf_q2_k": q2_k,
    "gguf_q3_k": q3_k,
    "gguf_q6_k": q6_k,
    "gguf_iq4_xs": iq4_xs,
    "gguf_tq1_0": tq1_0,
    "gguf_nvfp4": nvfp4,
}


def tensor(name: str, octets: Array) -> QuantizedTensor:
    format, (elements, _) = FORMATS[name], libraries.gguf_block(entry_of(name))
    if format.pack.layout is not Layout.SEPARATE:
        return unpack(octets.tobytes(), format, (len(octets), elements))
    return QuantizedTensor(format=format, **LAYOUTS[name](octets))


@pytest.mark.parametrize("name", FORMATS)
def test_random_bytes_have_the_same_values(name: str) -> None:
    octets = random_blocks(name)
    theirs = libraries.dequantize(entry_of(name), octets)
    wrong = np.flatnonzero(words(dequantized(tensor(name, octets))) != words(theirs))
    assert not len(wrong), f"{len(wrong)} of {theirs.size}, the first at {wrong[0]} of {theirs.shape}"


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in LAYOUTS])
def test_random_bytes_are_packed_as_they_were(name: str) -> None:
    octets = random_blocks(name)
    assert tensor(name, octets).pack() == octets.tobytes()


def test_gguf_reads_a_nan_scale_as_zero() -> None:
    octets = random_blocks("gguf_nvfp4")
    octets[:, 0] = 0x7F
    assert not libraries.dequantize(entry_of("gguf_nvfp4"), octets)[:, :16].any()
    assert np.isnan(dequantized(tensor("gguf_nvfp4", octets))[:, :16]).all()


def test_bfloat16_becomes_the_same_codes() -> None:
    """All but NaN, whose payload gguf keeps."""
    entry_of("gguf_q4_0")
    x = random_bits(10_000).view(np.float32)
    x = x[~np.isnan(x)][:8192]
    theirs = libraries.quantize("gguf==0.19:BF16", "bfloat16", x[None])["bytes"].view(np.uint16)
    assert np.array_equal(Codec(load_format("bfloat16"), "reference").encode(x), theirs.reshape(-1))
