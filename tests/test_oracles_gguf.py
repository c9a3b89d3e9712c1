"""Every GGUF format of the catalog, from random bytes: the values that gguf gives them, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import block_libraries as libraries
import numpy as np
import pytest
from block_compare import Array, dequantized, words
from ggml_bytes import NAN_SCALE, random_blocks, written_blocks
from inputs import random_bits

from statqat_sim.codec import Codec
from statqat_sim.quantized import QuantizedTensor, unpack
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats, load_format

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


def blocks_of(name: str, made: Callable[[str, int, int], Array]) -> Array:
    _, size = libraries.gguf_block(entry_of(name))
    return made(name, BLOCKS, size)


def tensor(name: str, octets: Array) -> QuantizedTensor:
    elements, _ = libraries.gguf_block(entry_of(name))
    return unpack(octets, FORMATS[name], (len(octets), elements))


@pytest.mark.parametrize("name", FORMATS)
def test_random_bytes_have_the_same_values(name: str) -> None:
    octets = blocks_of(name, random_blocks)
    theirs = libraries.dequantize(entry_of(name), octets)
    wrong = np.flatnonzero(words(dequantized(tensor(name, octets))) != words(theirs))
    assert not len(wrong), f"{len(wrong)} of {theirs.size}, the first at {wrong[0]} of {theirs.shape}"


@pytest.mark.parametrize("name", FORMATS)
def test_written_bytes_are_packed_as_they_were(name: str) -> None:
    octets = blocks_of(name, written_blocks)
    assert tensor(name, octets).pack() == octets.tobytes()


@pytest.mark.parametrize("name", FORMATS)
def test_packing_any_bytes_keeps_their_values(name: str) -> None:
    q = tensor(name, blocks_of(name, random_blocks))
    assert tensor(name, np.frombuffer(q.pack(), np.uint8).reshape(BLOCKS, -1)) == q


@pytest.mark.parametrize("name", ["gguf_tq1_0", "gguf_tq2_0"])
def test_ternary_weights_become_the_same_bytes(name: str) -> None:
    """So many that every digit meets every other one in a byte."""
    weights = np.random.default_rng(0).integers(-1, 2, (BLOCKS, 512)).astype(np.float32) * np.float32(0.37)
    theirs = libraries.quantize(entry_of(name), FORMATS[name].element.name, weights)["bytes"]
    assert name != "gguf_tq1_0" or len(np.unique(theirs.reshape(-1, 54)[:, :48])) == 243
    assert Codec(FORMATS[name], "reference").pack(weights) == theirs.tobytes()


def test_gguf_reads_a_nan_scale_as_zero() -> None:
    octets = blocks_of("gguf_nvfp4", written_blocks)
    octets[:, 0] = NAN_SCALE
    assert not libraries.dequantize(entry_of("gguf_nvfp4"), octets)[:, :16].any()
    assert np.isnan(dequantized(tensor("gguf_nvfp4", octets))[:, :16]).all()


def test_gguf_reads_the_largest_scale_of_mxfp4_as_half_of_it() -> None:
    """And twice the elements; 2^128 is no float32, and so Inf."""
    octets = np.full((1, 17), 0x21, np.uint8)  # elements 0.5 and 1
    octets[:, 0] = 0xFF
    theirs = libraries.dequantize(entry_of("gguf_mxfp4"), octets)
    assert theirs[0, [0, 16]].tolist() == [2.0**127, np.inf]
    assert np.isinf(dequantized(tensor("gguf_mxfp4", octets))).all()


def test_bfloat16_becomes_the_same_codes() -> None:
    """All but NaN, whose payload gguf keeps."""
    entry_of("gguf_q4_0")
    x = random_bits(10_000).view(np.float32)
    x = x[~np.isnan(x)][:8192]
    theirs = libraries.quantize("gguf==0.19:BF16", "bfloat16", x[None])["bytes"].view(np.uint16)
    assert np.array_equal(Codec(load_format("bfloat16"), "reference").encode(x), theirs.reshape(-1))
