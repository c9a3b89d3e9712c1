"""Kernels on arrays that fill blocks of threads, compiled by g++ behind a shim, and by nvcc, whose PTX then runs.

The latter is nearer to a GPU: the options, the instructions that the text names, and all that the compiler changed are
part of what runs. See `cuda_on_cpu.ptx_meaning`. The interpreter is the measure. The normal run takes about 40 seconds;
`long` has every number format and more blocks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from block_kinds import drawing, format_of, mx, text, values
from cuda_block_texts import block_texts
from cuda_on_cpu import GccLauncher
from cuda_on_cpu.backend import LAUNCHER
from cuda_on_cpu.ptx_launcher import PtxLauncher
from inputs import SPECIALS, around, random_bits
from nvcc import NVCC
from reduction_cases import PLANS, in_dtype, wide_range
from stochastic import drawn
from word_plans import FLOAT_OPS, NANS, of_two_streams, pairs

from statqat_sim.arrays import CPU
from statqat_sim.backends.cupy_gpu.block_kernel import CudaBlockKernel
from statqat_sim.backends.cupy_gpu.elementwise import Feed, elementwise
from statqat_sim.backends.cupy_gpu.kernel import CudaKernel
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.reduction_kernel import CudaReduction
from statqat_sim.backends.cupy_gpu.reduction_text import reduction_kernel
from statqat_sim.backends.cupy_gpu.steps import never_nan
from statqat_sim.geometry import Geometry
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import CodecPlan, Packed, Storage
from statqat_sim.plan.step import Op, Step
from statqat_sim.reference.backend import ReferenceKernel, ReferenceReduction
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats, load_format
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

PTX = PtxLauncher()
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


def some(names: Iterable[str]) -> Any:
    """Parameters `name`; those that are not usual are for long runs."""
    listed = [name if name in USUAL else pytest.param(name, marks=pytest.mark.long) for name in names]
    return pytest.mark.parametrize("name", listed)


both = pytest.mark.parametrize("launcher", [LAUNCHER, pytest.param(PTX, marks=needs_nvcc)], ids=["text", "ptx"])

MANY = 2 * 4096 + 37
"""Elements: two blocks of threads that look once for ends, and one that looks at each chunk."""

ROWS = (3, 4096 + 64)
"""Blocks of threads that lie in one row, and others that do not."""

USUAL = ("float8_e4m3fn", "int3", "takum16", "mxfp4", "nvfp4", "mxfp4.mse", "of 13 in 6 bits")
BLOCKS = {name: name for name in ("mxfp4", "nvfp4", "nvfp4_2d", "mxfp4.mse", "gguf_q4_k", "mx9", "hif4")} | {
    "of 13 in 6 bits": mx("float6_e2m3fn", 13),
    "stochastic": text("float4_e2m1fn", "block: 32, format: float8_e8m0fnu, rule: floor", further=drawing(16)),
}


def words() -> Any:
    """Random ones, and special ones far apart, so that most threads meet no NaN."""
    found = random_bits(MANY)
    finite = np.abs(found.view(np.float32)) < np.inf
    found = np.where(finite, found, np.uint32(0x4048_F5C3))
    found[np.linspace(17, MANY - 1, len(SPECIALS), dtype=int)] = SPECIALS
    return found


def as_input(words: Any, plan: CodecPlan) -> Any:
    """Words as the first stream of a plan has them."""
    storage = plan.shape.streams[0].storage
    if isinstance(storage, Packed):
        return words.view(np.uint8)
    if storage is Storage.FLOAT32:
        return words.view(np.float32)
    return (words & np.uint32(max_code(plan))).astype(storage.value)


def max_code(plan: CodecPlan) -> int:
    storage = plan.shape.streams[0].storage
    assert isinstance(storage, Storage)
    return (1 << storage.bits) - 1


def check(launcher: GccLauncher, plan: CodecPlan, x: Any, **further: Any) -> None:
    assert_bit_exact(CudaKernel(plan, launcher, CPU)(x, **further), ReferenceKernel(plan)(x, **further))


@both
def test_float_operations_on_special_values(launcher: GccLauncher) -> None:
    """NaN are the processor's, which no GPU gives; subnormals are kept, whatever the compiler is told."""
    special = np.unique(np.concatenate([SPECIALS, np.array(NANS, np.uint32), np.float32([1, -1, 3]).view("u4")]))
    a, b = (np.resize(side, max(MANY, side.size)).view(np.float32) for side in pairs(special))
    functions = {Op.FADD: np.add, Op.FSUB: np.subtract, Op.FMUL: np.multiply, Op.FDIV: np.divide}
    plans = {op: of_two_streams(Step(op, (0, 1))) for op in FLOAT_OPS}
    launcher.prepare(elementwise(plan.shape, (Feed.ARRAY, Feed.ARRAY)).text for plan in plans.values())
    for op, plan in plans.items():
        with np.errstate(all="ignore"):
            expected = functions[op](a, b).view(np.uint32)
        assert_bit_exact(CudaKernel(plan, launcher, CPU)(a, scale=b), expected)


def plans_of(format: NumberFormat) -> dict[Purpose, CodecPlan]:
    dense = {Purpose.PACK, Purpose.UNPACK}
    return {purpose: lower(format, purpose) for purpose in Purpose if format.bits <= 8 or purpose not in dense}


def kernels_of(plan: CodecPlan) -> Iterator[KernelText]:
    feeds = [(Feed.ARRAY,)]
    if any(stream.name == "scale" for stream in plan.shape.streams):
        feeds = [(Feed.ARRAY, feed) for feed in (Feed.ARRAY, Feed.ROW, Feed.NUMBER)]
    drawn = (Feed.DRAWN,) * (plan.shape.streams[-1].name == "random")
    yield from (elementwise(plan.shape, (*feed, *drawn), never_nan(plan)).text for feed in feeds)


@both
@some(formats(kind="number"))
def test_number_formats(launcher: GccLauncher, name: str) -> None:
    """Whole, from an odd address, and in rows."""
    format = load_format(name)
    plans = plans_of(format)
    launcher.prepare(kernel for plan in plans.values() for kernel in kernels_of(plan))
    near = around(format)
    x = np.concatenate([words(), near])
    del plans[Purpose.FAKE_QUANTIZE_SCALED]
    for purpose, plan in plans.items():
        source = as_input(x, plan)
        shape = {"shape": (len(source) * 8 // format.bits,)} if purpose is Purpose.UNPACK else {}
        check(launcher, plan, source, **shape)
        if not shape:
            check(launcher, plan, source[3:])


@both
@some(["float8_e4m3fn", "nf4"])
def test_scales(launcher: GccLauncher, name: str) -> None:
    """Of rows, one of them NaN; of elements; a number."""
    plan = lower(load_format(name), Purpose.FAKE_QUANTIZE_SCALED)
    launcher.prepare(kernels_of(plan))
    x = np.resize(words(), ROWS).view(np.float32)
    scales = np.abs(np.random.default_rng(1).standard_normal(ROWS, np.float32))
    scales[1, ::50] = [0, np.inf, np.nan, 1e-42] * 20 + [0] * 4
    for scale in (scales[:, :1], np.float32([[0.5], [np.nan], [0]]), scales, 0.3):
        check(launcher, plan, x, scale=scale)


@both
@pytest.mark.parametrize("bits", [pytest.param(8, marks=pytest.mark.long), 32])
def test_stochastic_rounding(launcher: GccLauncher, bits: int) -> None:
    format = drawn("float8_e4m3fn", random_bits=bits)
    plans = [lower(format, purpose) for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE_SCALED)]
    launcher.prepare(kernel for plan in plans for kernel in kernels_of(plan))
    x = words().view(np.float32)
    check(launcher, plans[0], x, seed=(5 << 60) + 1, offset=2**40 + 3)
    check(launcher, plans[1], np.resize(x, ROWS), scale=np.float32([[1], [0.5], [3]]), seed=7, offset=8)


@both
@some(BLOCKS)
def test_block_formats(launcher: GccLauncher, name: str) -> None:
    """Rows of whole blocks, which become one, and others; with NaN, Inf, zeros and subnormals in some of them."""
    format = format_of(BLOCKS[name]) if "\n" in BLOCKS[name] else load_format(BLOCKS[name])
    assert isinstance(format, BlockFormat)
    shapes = ((4, 1024), (3, 400))
    launcher.prepare(kernel for shape in shapes for kernel in block_texts(format, shape))
    plan = lower_block(format)
    ours, theirs = CudaBlockKernel(plan, launcher, CPU), ReferenceBlockKernel(plan)
    draws = {"seed": 3, "offset": 5}
    for shape, special in product(shapes, (False, True)):
        x, geometry = values(shape, special=special), Geometry.of(shape, -1, format)
        (codes, stored), (expected, scales) = (one.quantize(x, geometry, **draws) for one in (ours, theirs))
        assert_bit_exact(codes, expected)
        for found, scale in zip(stored, scales, strict=True):
            assert_bit_exact(found, scale)
        assert_bit_exact(ours.fake_quantize(x, geometry, **draws), theirs.fake_quantize(x, geometry, **draws))
        assert_bit_exact(ours.dequantize(codes, stored, geometry), theirs.dequantize(expected, scales, geometry))


@both
def test_reductions(launcher: GccLauncher) -> None:
    plans = [make(storage) for make in PLANS.values() for storage in (Storage.FLOAT32, Storage.BFLOAT16)]
    launcher.prepare(reduction_kernel(plan).text for plan in plans)
    for plan in plans:
        x = in_dtype(wide_range(3 * 1371), plan.storage.value)[3:3003]
        ours, theirs = CudaReduction(plan, launcher, CPU)(x, rows=3), ReferenceReduction(plan)(x, rows=3)
        for found, expected in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(found, expected)
