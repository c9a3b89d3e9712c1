"""The torch backend on block formats: in eager and compiled, what the interpreter gives, bit for bit."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from block_checking import check
from block_strategies import BlockCase, block_cases
from hypothesis import given, settings
from torch_compiled import WARNINGS, together

from statqat_sim.backends.torch_ops.block_kernel import TorchBlockKernel
from statqat_sim.backends.torch_ops.largest import Among, largest
from statqat_sim.codec import Codec
from statqat_sim.geometry import Geometry
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import Packed
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.testing import assert_bit_exact

Array = Any
BLOCKS = formats(kind="block")
COMPILED = ("mxfp4", "nvfp4", "nf4_block64", "gguf_q4_k", "nvfp4_2d", "mxfp8_e5m2.even", "msfp12", "hif4")
STOCHASTIC = """
name: drawn
element: {kind: int, bits: 4}
encode: {rounding: stochastic_a, random_bits: 8}
scales: [{format: float8_e8m0fnu, block: 8}]
"""

pytestmark = WARNINGS


def block_format(name: str) -> BlockFormat:
    format = load_format(name)
    assert isinstance(format, BlockFormat)
    return format


def data(*shape: int, seed: int = 0) -> Array:
    """Numbers of many magnitudes, zeros, and in the first rows NaN, Inf and subnormals."""
    random = np.random.default_rng(seed)
    x = np.array(random.standard_normal(shape) * np.exp2(random.integers(-6, 6, shape)), np.float32)
    x[random.random(shape) < 0.1] = 0
    flat = x.reshape(-1)
    flat[: min(6, x.size)] = np.float32([np.nan, -np.inf, 1e-40, -0.0, 3e38, np.inf])[: min(6, x.size)]
    return x


def layouts(format: BlockFormat) -> list[tuple[tuple[int, ...], int]]:
    """Shapes and axes, with blocks that end ragged."""
    if any(isinstance(level.block, tuple) for level in format.scales):
        return [((37, 70), -1), ((2, 20, 33), -1)]
    return [((3, 300), -1), ((300, 3), 0), ((2, 40, 5), 1), ((), -1), ((0, 7), -1)]


def kernels(format: BlockFormat, shape: tuple[int, ...], axis: int) -> tuple[TorchBlockKernel, Any, Geometry]:
    """Ours, the interpreter's, and where blocks lie."""
    plan = lower_block(format)
    return TorchBlockKernel(plan), ReferenceBlockKernel(plan), Geometry.of(shape, axis, format)


def same(ours: tuple[Any, tuple[Any, ...]], theirs: tuple[Array, tuple[Array, ...]]) -> None:
    """The same codes, and the same stored with them."""
    for one, other in zip((ours[0], *ours[1]), (theirs[0], *theirs[1]), strict=True):
        assert_bit_exact(np.asarray(one), other)


@pytest.mark.parametrize("name", [name for name in BLOCKS if not block_format(name).needs_scale])
def test_the_catalog_gives_what_the_interpreter_gives(name: str) -> None:
    format = block_format(name)
    for shape, axis in layouts(format):
        x = data(*shape)
        ours, theirs, geometry = kernels(format, shape, axis)
        codes, stored = theirs.quantize(x, geometry)
        same(ours.quantize(torch.from_numpy(x), geometry), (codes, stored))
        values = theirs.fake_quantize(x, geometry)
        assert_bit_exact(ours.fake_quantize(x, geometry), values)
        assert_bit_exact(ours.dequantize(codes, stored, geometry), theirs.dequantize(codes, stored, geometry))


@settings(max_examples=60)
@given(case=block_cases())
def test_random_block_formats(case: BlockCase) -> None:
    check("torch", case)


CROSSED = """
name: crossed
element: {kind: int, bits: 4}
scales:
  - {format: uint8, block: 36}
  - {format: {element: uint4, scales: [{format: float32, block: 8}]}, block: 3}
"""


def test_blocks_that_do_not_contain_each_other() -> None:
    """3 × 8 elements share a scale of scales, and 36 do not hold whole ones of them."""
    format = parse_format(CROSSED)
    assert isinstance(format, BlockFormat)
    for shape, axis in layouts(format):
        ours, theirs, geometry = kernels(format, shape, axis)
        x = data(*shape)
        found = theirs.quantize(x, geometry)
        same(ours.quantize(torch.from_numpy(x), geometry), found)
        assert_bit_exact(ours.dequantize(*found, geometry), theirs.dequantize(*found, geometry))


# --- compiled ----------------------------------------------------------------------------------------------------


def filled(format: BlockFormat) -> tuple[int, int]:
    """A shape that blocks fill evenly, so that loops over it may be split where they end."""
    return (128, 256) if any(isinstance(level.block, tuple) for level in format.scales) else (5, 512)


def check_compiled(names: Sequence[str], *, evenly: bool = False) -> None:
    calls, wanted = [], []
    for name in names:
        format = block_format(name)
        shape, axis = (filled(format), -1) if evenly else layouts(format)[0]
        x = data(*shape)
        ours, theirs, geometry = kernels(format, shape, axis)
        codes, stored = theirs.quantize(x, geometry)
        tensors = [torch.from_numpy(array) for array in (x, codes, *stored)]
        calls += [
            lambda ours=ours, g=geometry, t=tensors: ours.quantize(t[0], g),
            lambda ours=ours, g=geometry, t=tensors: ours.fake_quantize(t[0], g),
            lambda ours=ours, g=geometry, t=tensors: ours.dequantize(t[1], tuple(t[2:]), g),
        ]
        values = theirs.fake_quantize(x, geometry), theirs.dequantize(codes, stored, geometry)
        wanted += [(codes, stored), *[(each, ()) for each in values]]
    for result, each in zip(together(*calls), wanted, strict=True):
        same(result if isinstance(result, tuple) else (result, ()), each)


@pytest.mark.long
@pytest.mark.parametrize("evenly", [False, True])
def test_compiled_formats_give_what_the_interpreter_gives(*, evenly: bool) -> None:
    check_compiled(COMPILED, evenly=evenly)


@pytest.mark.long
@pytest.mark.parametrize("evenly", [False, True])
@pytest.mark.parametrize("name", [name for name in BLOCKS if not block_format(name).needs_scale])
def test_every_compiled_format_gives_what_the_interpreter_gives(name: str, *, evenly: bool) -> None:
    check_compiled([name], evenly=evenly)


@pytest.mark.parametrize(
    ("name", "columns"), [("mxfp4", 100), ("mxfp4", 128), pytest.param("nvfp4", 100, marks=pytest.mark.long)]
)
def test_codecs_are_traced_whole(name: str, columns: int) -> None:
    x, codec = data(4, columns), Codec(load_format(name), "torch")
    torch.compiler.reset()
    compiled = torch.compile(codec.fake_quantize, fullgraph=True)
    assert_bit_exact(compiled(torch.from_numpy(x)).numpy(), Codec(load_format(name), "reference").fake_quantize(x))
    out = torch.zeros(columns, 4).T
    compiled(torch.from_numpy(x), out=out)
    assert_bit_exact(out.numpy(), Codec(load_format(name), "reference").fake_quantize(x))


@pytest.mark.parametrize("columns", [320, pytest.param(310, marks=pytest.mark.long)])
def test_results_are_cut_in_compiled_code(columns: int) -> None:
    """Where a slice ends inside of a block."""
    codec, x = Codec(load_format("nvfp4"), "torch"), torch.from_numpy(data(16, columns))
    torch.compiler.reset()
    found = torch.compile(lambda: codec.fake_quantize(x)[:, :300] * 1.0, fullgraph=True)()
    assert_bit_exact(found, codec.fake_quantize(x)[:, :300])


@pytest.mark.long
def test_a_candidate_is_chosen_in_compiled_code() -> None:
    """Errors are added in the one order, without fused products."""
    text = "{name: chosen, element: {kind: int, bits: 3}, scales: [{format: ue4m3, block: 8, rule: mse}]}"
    format = parse_format(text)
    assert isinstance(format, BlockFormat)
    ours, theirs, geometry = kernels(format, (5, 43), -1)
    x, weights = data(5, 43), np.random.default_rng(1).random(43)
    tensors = torch.from_numpy(x), torch.from_numpy(weights)
    (result,) = together(lambda: ours.quantize(tensors[0], geometry, weights=tensors[1]))
    same(result, theirs.quantize(x, geometry, weights=weights))


# --- options -----------------------------------------------------------------------------------------------------


def test_random_bits() -> None:
    format = parse_format(STOCHASTIC)
    assert isinstance(format, BlockFormat)
    for shape, axis in layouts(format):
        ours, theirs, geometry = kernels(format, shape, axis)
        x = data(*shape)
        for draws in ({"seed": 1}, {"seed": 2**64 - 1, "offset": 2**40 + 3}):
            same(ours.quantize(torch.from_numpy(x), geometry, **draws), theirs.quantize(x, geometry, **draws))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("name", ["mxfp4", "mxfp6_e2m3"])
def test_packed_codes(name: str, big_endian: bool) -> None:
    ours, theirs, geometry = kernels(block_format(name), (3, 77), -1)
    packed = Packed(block_format(name).element.bits, big_endian)
    x = data(3, 77)
    same(ours.quantize(torch.from_numpy(x), geometry, packed=packed), theirs.quantize(x, geometry, packed=packed))


def test_given_scales_and_weights() -> None:
    format, scale = load_format("mxfp4"), torch.rand(3, 1)
    x = data(3, 77)
    ours, theirs = Codec(format, "torch"), Codec(format, "reference")
    for each in (0.3, scale):
        assert_bit_exact(
            ours.fake_quantize(torch.from_numpy(x), scale=each), theirs.fake_quantize(x, scale=np.float32(each))
        )
    weights = np.random.default_rng(1).random(77)
    ours, theirs = (Codec(load_format("mxfp4.mse"), name) for name in ("torch", "reference"))
    assert_bit_exact(ours.fake_quantize(torch.from_numpy(x), weights=weights), theirs.fake_quantize(x, weights=weights))


def test_values_are_written_to_out() -> None:
    x = data(4, 70)
    ours, theirs, geometry = kernels(block_format("nvfp4"), (4, 70), -1)
    wanted, tensor = theirs.fake_quantize(x, geometry), torch.from_numpy(x.copy())
    assert ours.fake_quantize(tensor, geometry, out=tensor) is tensor
    assert_bit_exact(tensor, wanted)
    out = np.zeros_like(x)
    assert ours.fake_quantize(x, geometry, out=out) is out
    assert_bit_exact(out, wanted)


def test_results_carry_no_gradients() -> None:
    x = torch.from_numpy(np.ones((2, 64), np.float32)).requires_grad_()
    assert not Codec(load_format("mxfp4"), "torch").fake_quantize(x).requires_grad


def test_a_copy_stands_on_its_own() -> None:
    codec, x = Codec(load_format("nvfp4"), "torch"), torch.from_numpy(data(2, 64))
    assert_bit_exact(pickle.loads(pickle.dumps(codec)).fake_quantize(x), codec.fake_quantize(x))


@pytest.mark.parametrize("among", [Among.BELOW_SIGN, Among.WORDS])
def test_the_largest_word(among: Among) -> None:
    """All that is near the turns of the order of float32."""
    turns = np.array([0, 1, 1 << 29, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1], np.int64)
    limit = (1 << (31 if among is Among.BELOW_SIGN else 32)) - 1
    check_largest(np.unique(np.clip(np.add.outer(turns, np.arange(-3, 4)).reshape(-1), 0, limit)), among)


def test_the_largest_key_of_finite_floats() -> None:
    """Zeros of both signs, the numbers nearest to them and the largest, and the key of none."""
    magnitudes = np.array([0, 1, 2, 0x007F_FFFF, 0x0080_0000, 0x3F80_0000, 0x7F7F_FFFE, 0x7F7F_FFFF], np.int64)
    check_largest(np.unique([0, *(magnitudes + (1 << 31)), *((1 << 31) - 1 - magnitudes)]), Among.FINITE)


def check_largest(near: Any, among: Among) -> None:
    first, second = (each.reshape(-1).astype(np.uint32) for each in np.meshgrid(near, near))
    pairs = torch.from_numpy(np.stack([first, second], axis=-1).view(np.int32))
    np.testing.assert_array_equal(largest(pairs, [1], among)[:, 0].numpy().view(np.uint32), np.maximum(first, second))
