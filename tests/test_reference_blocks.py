"""The interpreter of block plans: hand-made plans against plain Python, and formats against the exact oracle."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from block_specs import SPECS, SQUARES, block_format

import statqat_sim as sqs
from statqat_sim.geometry import Geometry
from statqat_sim.plan.block import BlockPlan, Stage, Statistic, Stored
from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.program import CodecPlan, Packed, Storage
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.reference.blocks import quantize_exactly
from statqat_sim.reference.dense import pack
from statqat_sim.reference.philox import random_field
from statqat_sim.spec.scale import Block, Whole

Array = Any
MAGNITUDE = 0x7FFF_FFFF
SHAPES = [(7,), (3, 10), (2, 3, 9), (2, 4, 6), (0, 5), (5, 0), ()]


# --- plans made by hand ------------------------------------------------------------------------------------------


def plan(make: Callable[..., Word | tuple[Word, ...]], *streams: str, result: Storage = Storage.UINT32) -> CodecPlan:
    """The plan that `make` gives for streams of words of these names."""
    builder = Builder()
    return builder.finish(make(*(builder.input(name, Storage.UINT32) for name in streams)), result)


def constant(value: int) -> CodecPlan:
    builder = Builder()
    return builder.finish(builder.const(value), Storage.UINT32)


SAME = plan(lambda word: word, "x")
LARGEST = Statistic("amax", "x", plan(lambda x: x & MAGNITUDE, "x"))
"""Of magnitudes; of blocks without elements 0."""


def kept(name: str, block: Block) -> Stored:
    return Stored(name, Storage.UINT32, block)


def block_plan(
    *stages: Stage, stored: tuple[Stored, ...], encode: CodecPlan = SAME, fake_quantize: CodecPlan = SAME
) -> BlockPlan:
    """A plan whose codes are `encode`, and whose decoding adds what is stored last to them."""
    name = stored[-1].result
    decoding = Stage(stored[-1].block, (), (plan(lambda word: word, name),), ("word",))
    decode = plan(lambda code, word: code + word, "codes", "word")
    return BlockPlan(stages, stored, (), encode, fake_quantize, decoding, decode)


def words(*shape: int, seed: int = 0) -> Array:
    """Floats of all bits."""
    return np.random.default_rng(seed).integers(0, 1 << 32, shape, np.uint32).view(np.float32)


def geometry(shape: tuple[int, ...], axis: int, block: Block) -> Geometry:
    squares = sqs.parse_format(
        f"name: t\nelement: int4\nscales: [{{format: float32, block: {_written(block)}, rule: absmax}}]\n"
    )
    return Geometry.of(shape, axis, squares)


def _written(block: Block) -> str:
    return str(list(block)) if isinstance(block, tuple) else str(block)


def members(shape: tuple[int, ...], axis: int, block: Block) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Every element's index, and that of its scale."""
    for index in itertools.product(*map(range, shape)):
        scale = list(index)
        match block if shape else Whole.TENSOR:
            case Whole.TENSOR:
                scale = [0] * len(scale)
            case Whole.CHANNEL:
                scale[axis] = 0
            case int():
                scale[axis] //= block
            case (rows, columns):
                scale[-2:] = [scale[-2] // rows, scale[-1] // columns]
        yield index, tuple(scale)


BLOCKS: list[Block] = [1, 2, 4, 100, (2, 4), (1, 3), Whole.CHANNEL, Whole.TENSOR]
TILED = [
    (shape, axis, block)
    for shape, block in itertools.product(SHAPES, BLOCKS)
    for axis in range(len(shape) or 1)
    if not isinstance(block, tuple) or (len(shape) > 1 and axis > len(shape) - 3)
]


@pytest.mark.parametrize(("shape", "axis", "block"), TILED)
def test_a_stage_sees_each_block_once(shape: tuple[int, ...], axis: int, block: Block) -> None:
    x = np.asarray(words(*shape))
    magnitudes = x.view(np.uint32) & MAGNITUDE
    where = geometry(shape, axis, block)
    stage = Stage(block, (LARGEST,), (plan(lambda amax: amax, "amax"),), ("scale",))
    mixed = plan(lambda x, scale: x ^ scale, "x", "scale")
    kernel = ReferenceBlockKernel(block_plan(stage, stored=(kept("scale", block),), encode=mixed))
    codes, (scale,) = kernel.quantize(x, where)
    expected = np.zeros(where.scale_shape(block), np.uint32)
    for index, of in members(shape, axis, block):
        expected[of] = max(expected[of], magnitudes[index])
    assert scale.dtype == codes.dtype == np.uint32
    assert np.array_equal(scale, expected)
    values = kernel.dequantize(codes, (scale,), where).view(np.uint32)
    for index, of in members(shape, axis, block):
        assert codes[index] == x.view(np.uint32)[index] ^ expected[of]
        assert values[index] == (int(codes[index]) + int(expected[of])) & 0xFFFF_FFFF


@pytest.mark.parametrize("block", [4, (2, 3), Whole.CHANNEL, Whole.TENSOR])
def test_places_count_in_c_order(block: Block) -> None:
    """A second statistic reads the first, and where an element lies: the first place of the largest magnitude."""
    x = words(4, 10)
    x[:, 5:] = -x[:, :5]
    first = Statistic(
        "place", "x", plan(lambda x, amax, place: (x & MAGNITUDE).eq(amax).where(place ^ 0xFF, 0), "x", "amax", "index")
    )
    stage = Stage(block, (LARGEST, first), (plan(lambda place: place ^ 0xFF, "place"),), ("place",))
    _, (places,) = ReferenceBlockKernel(block_plan(stage, stored=(kept("place", block),))).quantize(
        x, geometry((4, 10), -1, block)
    )
    rows, columns = {4: (1, 4), Whole.CHANNEL: (1, 10), Whole.TENSOR: (4, 10)}.get(block, block)  # type: ignore[call-overload]
    magnitudes = x.view(np.uint32) & MAGNITUDE
    for (r, c), place in np.ndenumerate(places):
        part = magnitudes[r * rows : (r + 1) * rows, c * columns : (c + 1) * columns]
        row, column = np.unravel_index(part.argmax(), part.shape)
        assert place == row * columns + column


def test_a_larger_block_may_look_at_smaller_ones() -> None:
    """The nested scale: 3 places in a block of 6 elements, the last of them short, and not of missing elements."""
    x = np.array([[1, 2, 3, 4, 5, 6, 7, 8, 9]], np.uint32).view(np.float32)
    small = Stage(2, (LARGEST,), (plan(lambda amax: (amax + 10, amax), "amax"),), ("raw", "small"))
    key = plan(lambda raw, small, place: raw * 100 + small + place, "raw", "small", "index")
    large = Stage(6, (Statistic("most", "raw", key),), (plan(lambda most: most, "most"),), ("large",))
    again = Stage(2, (), (plan(lambda small, large: small + large, "small", "large"),), ("both",))
    stored = (kept("large", 6), kept("both", 2))
    _, (outer, inner) = ReferenceBlockKernel(block_plan(small, large, again, stored=stored)).quantize(
        x, geometry((1, 9), -1, 2)
    )
    assert outer.tolist() == [[1608, 1910]]
    assert inner.tolist() == [[1610, 1612, 1614, 1918, 1919]]


def test_given_scales_reach_the_stage_that_reads_them() -> None:
    outer = Stage(Whole.TENSOR, (LARGEST,), (plan(lambda amax: amax, "amax"),), ("outer",))
    inner = Stage(2, (), (plan(lambda given: given, "given"),), ("inner",))
    stored = (kept("outer", Whole.TENSOR), Stored("inner", Storage.FLOAT32, 2))
    given = np.array([[1.5], [2.5]], np.float32)
    _, (_, scales) = ReferenceBlockKernel(block_plan(outer, inner, stored=stored)).quantize(
        words(2, 2), geometry((2, 2), -1, 2), given=given
    )
    assert scales.dtype == np.float32
    assert np.array_equal(scales, given)


def test_stored_halves_are_floats() -> None:
    stage = Stage(2, (), (constant(0x3C00),), ("scale",))
    kernel = ReferenceBlockKernel(block_plan(stage, stored=(Stored("scale", Storage.FLOAT16, 2),)))
    _, (scale,) = kernel.quantize(words(3, 5), geometry((3, 5), -1, 2))
    assert scale.dtype == np.float16
    assert np.array_equal(scale, np.ones((3, 3)))


def test_random_bits_go_by_the_place_in_the_array() -> None:
    builder = Builder()
    encode = builder.finish(builder.input("random", Storage.UINT16), Storage.UINT16)
    stage = Stage(2, (), (constant(1),), ("scale",))
    kernel = ReferenceBlockKernel(block_plan(stage, stored=(kept("scale", 2),), encode=encode))
    codes, _ = kernel.quantize(words(4, 3), geometry((4, 3), 0, 2), seed=9, offset=40)
    assert codes.reshape(-1).tolist() == [random_field(9, 40 + index, 16) for index in range(12)]


@pytest.mark.parametrize("packed", [Packed(5), Packed(3, big_endian=True)])
def test_dense_codes_are_rows_of_bits(packed: Packed) -> None:
    stage = Stage(2, (), (constant(1),), ("scale",))
    low = plan(lambda x: x & ((1 << packed.bits) - 1), "x", result=Storage.UINT8)
    kernel = ReferenceBlockKernel(block_plan(stage, stored=(kept("scale", 2),), encode=low))
    x = words(2, 3, 7)
    codes, _ = kernel.quantize(x, geometry((2, 3, 7), -1, 2))
    dense, _ = kernel.quantize(x, geometry((2, 3, 7), -1, 2), packed=packed)
    assert np.array_equal(dense, pack(codes, packed))


# --- candidates --------------------------------------------------------------------------------------------------


def bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def chosen(x: Array, *candidates: float, weights: Array | None = None, block: Block = 4, axis: int = -1) -> Array:
    """The candidate that every block takes, where an element becomes the candidate itself."""
    stage = Stage(block, (), tuple(constant(bits(each)) for each in candidates), ("scale",))
    stored = (Stored("scale", Storage.FLOAT32, block),)
    kernel = ReferenceBlockKernel(block_plan(stage, stored=stored, fake_quantize=plan(lambda s: s, "scale")))
    array = np.asarray(x, np.float32)
    _, (scale,) = kernel.quantize(array, geometry(array.shape, axis, block), weights=weights)
    values = kernel.fake_quantize(array, geometry(array.shape, axis, block), weights=weights)
    for index, of in members(array.shape, axis % array.ndim, block):
        assert values[index] == scale[of]
    return scale


def test_the_least_error_wins() -> None:
    x = [[1, 1, 1, 2, 5, 5, 5, 5, -3]]
    assert chosen(x, 1, 2, 5, -3).tolist() == [[1, 5, -3]]
    assert chosen([[1, 4], [4, 4]], 0, 2, 4, block=(2, 2)).tolist() == [[4]]
    assert chosen([[1, 1], [1, 4], [4, 4]], 1, 4, block=2, axis=0).tolist() == [[1, 1], [4, 4]]


def test_the_first_of_equals_wins() -> None:
    assert chosen([1, 3], 1, 3, block=2).tolist() == [1]
    assert chosen([1, 3], 3, 1, block=2).tolist() == [3]


def test_nonfinite_elements_count_nothing() -> None:
    assert chosen([np.nan, np.inf, -np.inf, 3], 1, 3).tolist() == [3]


def test_weights_belong_to_places_along_the_axis() -> None:
    x = np.array([[1, 3, 3], [3, 1, 1]], np.float32)
    weights = np.array([4.0, 1.0, 1.0])
    assert chosen(x, 1, 3, block=3).tolist() == [[3], [1]]
    assert chosen(x, 1, 3, block=3, weights=weights).tolist() == [[1], [3]]
    assert chosen(x.T, 1, 3, block=3, axis=0, weights=weights).tolist() == [[1, 3]]
    assert chosen(x.T, 1, 3, block=(3, 1), axis=0, weights=weights).tolist() == [[1, 3]]


def test_errors_are_added_by_halves() -> None:
    """1 + e + e + e for e = 2^-53: one after the other 1, by halves (1 + e) + (e + e), which is more."""
    weights = np.array([1, 2.0**-55, 2.0**-55, 2.0**-55])
    assert chosen([1, 2, 2, 2], 0, 2, weights=weights).tolist() == [2]
    shorter = np.array([2.0**-55, 1, 2.0**-55])  # padded to four: (e + e) + 1, and one after the other 1
    assert chosen([2, 1, 2], 0, 2, block=3, weights=shorter).tolist() == [2]


# --- formats -----------------------------------------------------------------------------------------------------


def arrays(*shape: int) -> Iterator[Array]:
    rng = np.random.default_rng(len(shape))
    yield rng.standard_normal(shape).astype(np.float32) * np.float32(3)
    yield words(*shape, seed=1)
    yield np.zeros(shape, np.float32)
    yield rng.standard_normal(shape).astype(np.float32) * np.float32(1e-41)


@pytest.mark.parametrize("name", sorted(set(SPECS) - {"stochastic"}))
def test_formats_give_what_the_oracle_gives(name: str) -> None:
    format = block_format(name)
    codec = sqs.Codec(format, backend="reference")
    scale = np.float32(0.75) if format.needs_scale else None
    for shape, axis in [((3, 70), -1), ((9, 5), -1 if name in SQUARES else 0)]:
        for x in arrays(*shape):
            q, expected = (quantize(x, axis=axis, scale=scale) for quantize in (codec.quantize, exactly(format)))
            assert np.array_equal(q.codes, expected.codes)
            offsets = () if q.offset is None else (*q.offset_scales, q.offset)
            exact_offsets = () if expected.offset is None else (*expected.offset_scales, expected.offset)
            for ours, theirs in zip((*q.scales, *offsets), (*expected.scales, *exact_offsets), strict=True):
                assert np.array_equal(ours.view(f"u{ours.itemsize}"), theirs)


def exactly(format: Any) -> Callable[..., Any]:
    return lambda x, **options: quantize_exactly(format, x, **options)
