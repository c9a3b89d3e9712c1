"""Block formats on the GPU backend, whose kernels run on the CPU here: they give what the interpreter gives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_kinds import (
    CHOOSING,
    E2M1,
    E4M3,
    E8M0,
    FORMATS,
    SHAPES,
    Array,
    drawing,
    format_of,
    mx,
    text,
    values,
)
from block_strategies import BlockCase, block_cases
from cuda_block_texts import block_texts
from cuda_on_cpu import GccLauncher
from cuda_on_cpu.backend import LAUNCHER
from hypothesis import given, settings
from nvcc import ARCHITECTURES, NVCC, QUICK, UNIT, compiled, require

from statqat_sim.arrays import CPU
from statqat_sim.backends.cupy_gpu import block_device, block_fusing, block_kernel
from statqat_sim.backends.cupy_gpu.block_kernel import CudaBlockKernel
from statqat_sim.backends.cupy_gpu.kernel_text import KernelText
from statqat_sim.backends.cupy_gpu.launcher import Argument
from statqat_sim.geometry import Geometry
from statqat_sim.plan.block import BlockPlan
from statqat_sim.plan.lower_block import lower_block
from statqat_sim.plan.program import Packed
from statqat_sim.reference.block_backend import ReferenceBlockKernel
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.catalog import formats, load_format
from statqat_sim.testing import assert_bit_exact

MANY = (
    ["mxfp4", "mxfp4.rceil", "mxfp6_e2m3", "mxfp6_e3m2.even", "mxfp8_e4m3", "mxfp8_e5m2.ceil", "mxint8", "mxfp4.mse"]
    + ["nvfp4", "nvfp4.torchao", "nvfp4.four_over_six", "nvfp4_2d", "nf4_block64", "mx9", "hif4", "bfp16_amd"]
    + ["gguf_q4_0", "gguf_q5_1", "gguf_q4_k", "gguf_q6_k", "gguf_iq4_xs", "fp8_block128x128_deepseek"]
)
"""Formats that meet random values, of every kind of scale."""


def kernel_of(plan: BlockPlan, launcher: Any = LAUNCHER) -> CudaBlockKernel:
    return CudaBlockKernel(plan, launcher, CPU)


def assert_same(format: BlockFormat, x: Array, axis: int, **further: Any) -> None:
    """Codes, scales and values, there and back."""
    plan, geometry = lower_block(format), Geometry.of(x.shape, axis, format)
    kernel, reference = kernel_of(plan), ReferenceBlockKernel(plan)
    (codes, stored), (expected, scales) = (one.quantize(x, geometry, **further) for one in (kernel, reference))
    for found, scale in zip(stored, scales, strict=True):
        assert_bit_exact(found, scale)
    assert_bit_exact(codes, expected)
    assert_bit_exact(kernel.fake_quantize(x, geometry, **further), reference.fake_quantize(x, geometry, **further))
    back = reference.dequantize(expected, scales, geometry)
    assert_bit_exact(kernel.dequantize(codes, stored, geometry), back)


def prepare(format: BlockFormat, places: Iterable[tuple[tuple[int, ...], int]]) -> None:
    """Compile together what arrays of these shapes need: it takes half as long."""
    LAUNCHER.prepare(kernel for shape, axis in places for kernel in block_texts(format, shape, axis))


def is_flat(format: BlockFormat) -> bool:
    return not any(isinstance(level.block, tuple) for level in format.scales)


def named(name: str) -> BlockFormat:
    format = load_format(name)
    assert isinstance(format, BlockFormat)
    return format


def strange(shape: tuple[int, int]) -> Array:
    """Numbers with lines of zeros, of subnormal numbers, of huge ones, and of one NaN or Inf each."""
    x = values(shape, special=False)
    x[0], x[1] = 0, -0.0
    x[2] *= np.float32(2**-140)
    with np.errstate(over="ignore"):
        x[3] *= np.float32(2**127)
    x[4, 3::40], x[5, 3::40], x[6, 3::40] = np.nan, np.inf, -np.inf
    x[4, 20] = np.float32(-np.nan)
    return x


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages are found one by one."""
    fused = block_fusing.fused
    monkeypatch.setattr(block_kernel, "fused", lambda job: fused(job, len(job.stages)))


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_block_in_every_kind_of_array(name: str) -> None:
    format = format_of(FORMATS[name])
    places = [(shape, axis) for shape, axis in SHAPES if is_flat(format) or (len(shape) > 1 and axis >= len(shape) - 2)]
    prepare(format, places)
    for shape, axis in places:
        assert_same(format, values(shape), axis)


@pytest.mark.parametrize("name", formats(kind="block"))
def test_every_format_of_the_catalog(name: str) -> None:
    format, shapes = named(name), [(9, 291), (13, 512)]
    turned = [shape[::-1] for shape in shapes] if is_flat(format) else []
    prepare(format, [*((shape, 1) for shape in shapes), *((shape, 0) for shape in turned)])
    for shape in shapes:
        assert_same(format, strange(shape), 1)
        if turned:
            assert_same(format, np.ascontiguousarray(strange(shape).T), 0)


@given(case=block_cases())
@settings(max_examples=20)  # each is compiled
def test_random_block_formats(case: BlockCase) -> None:
    format = format_of(case.text)
    further = {}
    if case.scale is not None:
        blocks = next(level.block for level in format.scales if level.rule == "given")
        shape = Geometry.of(case.x.shape, case.axis, format).scale_shape(blocks)
        further["given"] = np.full(shape, case.scale, np.float32)
    assert_same(format, case.x, case.axis, **further)


@pytest.mark.parametrize("name", MANY)
def test_random_values(name: str) -> None:
    check_random_values(name, 200)


@pytest.mark.parametrize("name", MANY)
def test_random_values_block_by_block(name: str, general: None) -> None:
    check_random_values(name, 200)


@pytest.mark.long
@pytest.mark.parametrize("name", MANY)
def test_many_random_values(name: str) -> None:
    check_random_values(name, 10_000)


def check_random_values(name: str, rows: int) -> None:
    assert_same(named(name), values((rows, 1024)), 1)


@pytest.mark.parametrize("route", ["fused", "general"])
@pytest.mark.parametrize("name", CHOOSING)
def test_candidates(name: str, route: str, request: pytest.FixtureRequest) -> None:
    if route == "general":
        request.getfixturevalue("general")
    format = format_of(CHOOSING[name])
    for shape, axis in [((70, 45), 1), ((70, 45), 0), ((3, 40, 1), 1), ((0, 5), 1)]:
        assert_same(format, values(shape), axis)
        assert_same(format, values(shape), axis, weights=np.random.default_rng(0).random(shape[axis]))


@pytest.mark.parametrize(("shape", "axis"), [((33,), -1), ((40, 50), -1), ((3, 7, 30), 1), ((2, 70_000), -1)])
def test_the_scale_of_a_whole_array_is_chosen_for_all_of_it(shape: tuple[int, ...], axis: int) -> None:
    format = format_of(text("{kind: int, bits: 3}", "format: ue4m3, block: tensor, rule: mse"))
    assert_same(format, values(shape), axis)
    assert_same(format, values(shape), axis, weights=np.random.default_rng(0).random(shape[axis]))


def test_weights_of_blocks_of_two_axes_belong_to_either() -> None:
    format = format_of(CHOOSING["of 5 × 3"])
    for axis in (-1, -2):
        x = values((3, 20, 33))
        assert_same(format, x, axis, weights=np.random.default_rng(0).random(x.shape[axis]))


@pytest.mark.parametrize("rule", ["floor", "mse"])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_random_bits_are_those_of_an_element_s_index(bits: int, rule: str) -> None:
    format = format_of(text(E2M1, f"block: 32, format: {E8M0}, rule: {rule}", further=drawing(bits)))
    for shape, axis in [((5000,), 0), ((7, 33, 5), 1), ((7, 33), 1)]:
        assert_same(format, values(shape), axis, seed=1 << 63 | 5, offset=3)
        assert_same(format, values(shape), axis, seed=7, offset=(1 << 36) + 1)


def test_scales_of_the_caller() -> None:
    format = format_of(text(E2M1, "block: channel, format: float32, rule: given", f"block: 16, format: {E4M3}"))
    for shape, axis in [((70, 45), 1), ((70, 45), 0)]:
        geometry = Geometry.of(shape, axis, format)
        scales = np.random.default_rng(0).random(geometry.scale_shape(format.scales[0].block), np.float32)
        assert_same(format, values(shape), axis, given=scales)
    with pytest.raises(ValueError, match=r"comes from the caller: \(1, 45\)"):
        kernel_of(lower_block(format)).fake_quantize(values((70, 45)), geometry)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("element", ["int3", "int4", "float6_e2m3fn"])
@pytest.mark.parametrize("block", [13, 24, 32])
def test_dense_codes(element: str, block: int, big_endian: bool) -> None:
    format = format_of(mx(element, block))
    plan, packed = lower_block(format), Packed(format.bits, big_endian)
    for shape in [(33,), (5, 64), (3, 5, 411), (6, 13), (6, 96)]:
        geometry, x = Geometry.of(shape, -1, format), values(shape)
        codes, stored = kernel_of(plan).quantize(x, geometry, packed=packed)
        expected, scales = ReferenceBlockKernel(plan).quantize(x, geometry, packed=packed)
        assert_bit_exact(codes, expected)
        assert_bit_exact(stored[0], scales[0])


@pytest.mark.parametrize("name", ["mxfp4", "of 5", "16 × 16", "channel"])
def test_nothing_is_written_beyond_the_values(name: str) -> None:
    format = format_of(FORMATS[name])
    kernel = kernel_of(lower_block(format))
    for columns in range(1, 70):
        x, room = values((3, columns)), np.full(3 * columns + 64, 99, np.float32)
        geometry = Geometry.of(x.shape, 1, format)
        out = room[: 3 * columns].reshape(3, columns)
        assert kernel.fake_quantize(x, geometry, out=out) is out
        assert_bit_exact(out, kernel.fake_quantize(x, geometry))
        assert (room[3 * columns :] == 99).all()


@pytest.mark.parametrize("name", FORMATS)
def test_values_may_replace_their_elements(name: str) -> None:
    format = format_of(FORMATS[name])
    x = values((70, 130))
    kernel, geometry = kernel_of(lower_block(format)), Geometry.of(x.shape, -1, format)
    expected = kernel.fake_quantize(x, geometry)
    assert_bit_exact(kernel.fake_quantize(x, geometry, out=x), expected)


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "16 × 16", "k-quant"])
def test_arrays_may_begin_anywhere(name: str) -> None:
    """Loads of several words need aligned addresses."""
    format = format_of(FORMATS[name])
    for shift in (1, 2, 4):
        x = values((4 * 160 + shift,))[shift:].reshape(4, 160)
        kernel, geometry = kernel_of(lower_block(format)), Geometry.of(x.shape, 1, format)
        out = np.empty(640 + shift, np.float32)[shift:].reshape(4, 160)
        assert_bit_exact(kernel.fake_quantize(x, geometry, out=out), kernel.fake_quantize(x.copy(), geometry))


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "128 × 128", "signed channel"])
def test_few_threads_take_many_units(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_device, "MOST_BLOCKS", 1)
    format = format_of(FORMATS[name])
    assert_same(format, values((70, 291)), -1)
    assert_same(format, values((130, 256)), -1)


class LastThreads(GccLauncher):
    """A launcher of which only the last threads of a launch run: nobody waits for the others' results."""

    BLOCKS = 128

    def load(self, text: KernelText) -> Any:
        function = LAUNCHER.load(text)

        def run_last(blocks: int, threads: int, arguments: Sequence[Argument], like: Any) -> None:
            function(blocks, threads, arguments, like, first_block=max(blocks - self.BLOCKS, 0))

        return run_last

    def words(self, count: int, like: Any) -> Any:
        """With holes."""
        return self.zeros(count, like)


@pytest.mark.parametrize(
    ("name", "shape", "axis"),
    [
        ("mxfp4", ((1 << 32) + 4096,), 0),
        ("mxfp4", (1 << 20, 4123), 1),
        ("mxfp4", (1 << 20, 4123), 0),
        ("nvfp4", (1 << 20, 4123), 1),
        ("mxfp4.mse", (1 << 20, 4123), 0),
    ],
)
def test_indices_need_more_than_32_bits(
    name: str, shape: tuple[int, ...], axis: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays are files with holes: what is not touched takes no room."""
    monkeypatch.setattr(block_device, "MOST_BLOCKS", 1 << 31)
    format, last = named(name), -32 if len(shape) > 1 else -4096
    x, out = (np.memmap(tmp_path / file, np.float32, "w+", shape=shape) for file in ("x", "out"))
    some = values(x[last:].shape)
    x[last:] = some
    kernel = kernel_of(lower_block(format), LastThreads())
    kernel.fake_quantize(x, Geometry.of(shape, axis, format), out=out)
    expected = kernel_of(lower_block(format)).fake_quantize(some, Geometry.of(some.shape, axis, format))
    assert_bit_exact(np.array(out[last:]), expected)


def test_a_format_of_small_blocks_is_one_kernel() -> None:
    for name in ("mxfp4", "mx9", "gguf_q4_k", "mxfp4.mse"):
        assert [kernel.name for kernel in block_texts(named(name))] == ["block_group"] * 3
    for name in ("mxfp4", "mx9", "gguf_q8_0", "mxfp4.mse"):
        assert [kernel.name for kernel in block_texts(named(name), (64, 96), 0)] == ["block_group"] * 3
    assert {kernel.name for kernel in block_texts(named("nvfp4"))} == {"block_group", "reduction_maxima"}


def test_formats_of_one_shape_share_their_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (format_of(text(f"{{kind: float, exponent_bits: {bits}, mantissa_bits: 2, nan: none}}",
                                    f"block: 32, format: {E4M3}")) for bits in (2, 3))  # fmt: skip
    assert_same(first, values((100, 64)), 1)
    monkeypatch.setattr(GccLauncher, "prepare", lambda *_: pytest.fail("compiled"))
    assert_same(second, values((100, 64)), 1)


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvcc_compiles_every_shape(architecture: str, tmp_path: Path) -> None:
    """With little optimization; as cupy compiles them, and blocks along columns, are under `long`."""
    require(architecture)
    texts = [kernel for name in formats(kind="block") for kernel in block_texts(named(name))]
    compiled(list(dict.fromkeys(texts)), architecture, "cubin", tmp_path, *QUICK)


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")
def test_nvcc_compiles_what_cupy_compiles(tmp_path: Path) -> None:
    """Kernels of some kinds of blocks, optimized."""
    require("sm_90a")
    texts = [kernel for name in ("mxfp4", "nvfp4_2d") for kernel in block_texts(named(name))]
    texts += [kernel for name in ("nvfp4", "gguf_q4_k") for kernel in _by_columns(name)]
    texts += block_texts(format_of(mx("float6_e2m3fn", 13)), packed=Packed(6))
    texts += block_texts(format_of(CHOOSING["of 5 × 3"]))
    texts += block_texts(format_of(text(E2M1, f"block: 32, format: {E8M0}, rule: floor", further=drawing(16))))
    compiled(list(dict.fromkeys(texts)), "sm_90a", "cubin", tmp_path)


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")
def test_no_option_changes_the_arithmetic(tmp_path: Path) -> None:
    """No contraction, no flush to zero, no approximation; and a group lies in registers."""
    require("sm_90a")
    texts = [kernel for name in ("nvfp4", "mxfp4.mse", "gguf_q4_k") for kernel in block_texts(named(name))]
    found = compiled(list(dict.fromkeys(texts)), "sm_90a", "ptx", tmp_path).read_text()
    assert "div.rn.f32" in found
    assert "shfl.sync.bfly" in found
    assert not re.findall(r"\bfma\b|\.ftz|\.approx|\.local", found)


@pytest.mark.long
@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvcc_compiles_the_catalog(architecture: str, tmp_path: Path) -> None:
    require(architecture)
    texts = [kernel for name in formats(kind="block") for kernel in block_texts(named(name))]
    texts += [kernel for name in formats(kind="block") if is_flat(named(name)) for kernel in _by_columns(name)]
    every = list(dict.fromkeys(texts))
    for first in range(0, len(every), UNIT):
        compiled(every[first : first + UNIT], architecture, "cubin", tmp_path)


def _by_columns(name: str) -> list[KernelText]:
    return block_texts(named(name), (1024, 4), 0)
