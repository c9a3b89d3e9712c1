"""The GPU backend on a GPU. Skipped where there is none, with the reason; what needs none is in `test_backend_cuda`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from checking import FIRST, Draws, array_of, assert_same, check
from conformance_cases import CATALOG, SCALE_SHAPES, SCALED, SHAPE, scales
from inputs import DTYPES, SPECIALS, Words, accepted, around, edges, random_bits, some_codes
from reduction_cases import PLANS
from stochastic import drawn
from strategies import STOCHASTIC
from word_plans import FLOAT_OPS, NANS, of_two_streams, pairs, whole_numbers

from statqat_sim.backends.cupy_gpu.backend import CupyBackend
from statqat_sim.codec import Codec
from statqat_sim.histogram import Counter, Histogram
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.plan.step import Op, Step
from statqat_sim.quantizer import MinMax
from statqat_sim.reference.interpret import interpret
from statqat_sim.reference.prove import prove
from statqat_sim.runtime import backend_for, backend_named
from statqat_sim.spec.catalog import formats, load_format, parse_format
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

REASON = CupyBackend().available()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"backend 'cupy': {REASON}")

if REASON is None:
    import cupy

Array = Any
E4M3 = load_format("float8_e4m3fn")
PROVEN = [
    *("float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "float6_e3m2fn", "float8_e8m0fnu"),
    *("bfloat16", "int8", "nf4", "posit8", "lns8"),
]


def on_gpu(x: Array, library: str = "cupy") -> Any:
    """A copy on the GPU."""
    if library == "torch":
        bits = (
            torch.from_numpy(np.ascontiguousarray(x).view(np.int16)) if x.itemsize == 2 else torch.from_numpy(x.copy())
        )
        named = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(x.dtype.name)
        return (bits.view(named) if named else bits).reshape(x.shape).cuda()
    return cupy.asarray(x)


def back(result: Any) -> Array:
    return result.cpu().numpy() if isinstance(result, torch.Tensor) else cupy.asnumpy(result)


def by_gpu(plan: CodecPlan, words: Words, draws: Draws = FIRST) -> Words:
    storage = plan.shape.streams[0].storage
    assert isinstance(storage, Storage)
    kernel = CupyBackend().compile(plan)
    result = back(kernel(on_gpu(array_of(words, storage)), seed=draws.seed, offset=draws.offset))
    bits = result.view(f"u{result.itemsize}")
    return bits if bits.itemsize == 8 else bits.astype(np.uint32)


@cache
def reference(name: str = "float8_e4m3fn") -> Codec:
    return Codec(load_format(name), "reference")


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


# --- the same bits as everywhere ---------------------------------------------------------------------------------


@pytest.mark.parametrize("op", FLOAT_OPS)
def test_float_operations_on_special_values(op: Op) -> None:
    """Subnormals are kept, and NaN have the bits that a CPU gives them."""
    plan, (a, b) = of_two_streams(Step(op, (0, 1))), pairs(np.concatenate([SPECIALS, np.array(NANS, np.uint32)]))
    result = CupyBackend().compile(plan)(on_gpu(a.view(np.float32)), scale=on_gpu(b.view(np.float32)))
    assert_bit_exact(back(result), interpret(plan, [a, b]))


@pytest.mark.parametrize("name", CATALOG)
def test_the_catalog(name: str) -> None:
    format = load_format(name)
    bits = accepted(format, np.unique(np.concatenate([edges(format, 400), around(format), random_bits(10**5)])))
    for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE):
        plan = lower(format, purpose)
        assert_same(by_gpu(plan, bits), interpret(plan, [bits]), format, bits)
    plan, codes = lower(format, Purpose.DECODE), some_codes(format, 1 << 16)
    assert_same(by_gpu(plan, codes), interpret(plan, [codes]), format, codes)


@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float4_e2m1fn", "bfloat16", "int8", "nf4", "posit8", "lns8"])
def test_every_type_of_floats_against_the_oracle(name: str, floats: str) -> None:
    check(load_format(name), by_gpu, around(load_format(name), floats), floats)


@pytest.mark.parametrize("mode", STOCHASTIC)
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_stochastic_rounding(mode: str, bits: int) -> None:
    format = drawn("float8_e5m2", mode, bits)
    check(format, by_gpu, around(format), draws=Draws(seed=3, offset=7))


@pytest.mark.parametrize("kind", SCALE_SHAPES)
def test_scales_of_every_shape(kind: str) -> None:
    x, scale = normal(*SHAPE, seed=1), scales(SCALE_SHAPES[kind])
    for name in SCALED:
        plan = lower(load_format(name), Purpose.FAKE_QUANTIZE_SCALED)
        kernel, expected = CupyBackend().compile(plan), backend_named("reference").compile(plan)(x, scale=scale)
        for library in ("cupy", "torch"):
            result = kernel(on_gpu(x, library), scale=on_gpu(np.array(scale), library))
            assert_bit_exact(back(result), expected)


@pytest.mark.parametrize("order", ["lsb", "msb"])
@pytest.mark.parametrize("bits", range(1, 8))
def test_dense_codes(bits: int, order: str) -> None:
    format = whole_numbers(bits, order)
    pack, unpack = (lower(format, purpose) for purpose in (Purpose.PACK, Purpose.UNPACK))
    for shape in ((1,), (7, 33), (64, 128), (3, 1001)):
        x = np.random.default_rng(0).integers(0, 1 << bits, shape).astype(np.float32)
        expected = backend_named("reference").compile(pack)(x)
        packed = CupyBackend().compile(pack)(on_gpu(x))
        assert_bit_exact(back(packed), expected)
        assert_bit_exact(back(CupyBackend().compile(unpack)(packed, shape=shape)), x)


@pytest.mark.parametrize("size", [1, 3, 255, 4099])
def test_misaligned_arrays(size: int) -> None:
    x = on_gpu(normal(size + 3))
    out = cupy.full(size + 8, 99, np.uint8)
    kernel = CupyBackend().compile(lower(E4M3, Purpose.ENCODE))
    for first in range(4):
        kernel(x[first : first + size], out=out[1 : 1 + size])
        assert_bit_exact(back(out[1 : 1 + size]), reference().encode(back(x[first : first + size])))
        assert bool((out[1 + size :] == 99).all())


# --- block formats -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["cupy", "torch"])
@pytest.mark.parametrize("name", formats(kind="block"))
def test_block_formats(name: str, library: str) -> None:
    """Codes, scales and values, along both axes, with ragged ends, zeros and what is not finite."""
    format = load_format(name)
    x = normal(67, 520, seed=2) * np.exp2(np.random.default_rng(3).integers(-9, 9, (67, 520))).astype(np.float32)
    x[3], x[4, 7], x[5, 300], x[6, 1] = 0, np.inf, -np.nan, 1e-42
    ours, expected = Codec(format), Codec(format, "reference")
    for axis in (-1, 0) if not any(isinstance(level.block, tuple) for level in format.scales) else (-1,):
        theirs, given = expected.quantize(x, axis=axis, seed=5), on_gpu(x, library)
        q = ours.quantize(given, axis=axis, seed=5)
        assert type(q.codes) is type(given)
        assert q.cpu() == theirs
        for values in (ours.dequantize(q), ours.fake_quantize(given, axis=axis, seed=5)):
            assert_bit_exact(back(values), expected.dequantize(theirs))


def test_blocks_are_queued_on_torchs_current_stream() -> None:
    x, stream = on_gpu(normal(1 << 10, 1 << 10), "torch"), torch.cuda.Stream()
    codec = Codec(load_format("nvfp4"))
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        y = codec.fake_quantize(x)
    stream.synchronize()
    assert_bit_exact(back(y), reference("nvfp4").fake_quantize(back(x)))


def test_a_graph_with_temporaries_is_captured_and_replayed() -> None:
    """The amax of the whole tensor lies in memory that belongs to the graph."""
    x, codec = torch.zeros(100, 256, device="cuda"), Codec(load_format("nvfp4"))
    codec.fake_quantize(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = codec.fake_quantize(x)
    for seed in (1, 2):
        x.copy_(torch.from_numpy(normal(100, 256, seed=seed)))
        graph.replay()
        assert_bit_exact(back(y), reference("nvfp4").fake_quantize(normal(100, 256, seed=seed)))


# --- reductions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("name", PLANS)
def test_reductions(name: str, floats: str) -> None:
    """Rows of every length: pieces of several blocks, ragged ends, misaligned rows, nothing."""
    plan, storage = PLANS[name](Storage(floats)), Storage(floats)
    x = np.concatenate([array_of(around(E4M3, floats), storage).reshape(-1)] * 3)
    few = np.resize(x, 300_001)
    for rows, given in ((1, x), (3, x[: len(x) // 3 * 3]), (1, few), (7, few[3:][: 7 * 40_001]), (2, x[:0])):
        found = CupyBackend().compile_reduction(plan)(on_gpu(given), rows=rows)
        expected = backend_named("reference").compile_reduction(plan)(given, rows=rows)  # type: ignore[attr-defined]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(back(ours), theirs)


@pytest.mark.parametrize("library", ["cupy", "torch"])
@pytest.mark.parametrize("channel_axis", [None, 0, 1])
def test_histograms_of_arrays_on_a_gpu(library: str, channel_axis: int | None) -> None:
    x = normal(60, 5000, seed=4) * np.float32(2.0**-120)
    x[3], x[4, 7], x[5, 300], x[6, 1] = 0, np.inf, -np.nan, 1e-42
    expected, given = Histogram.of(x, channel_axis=channel_axis), on_gpu(x, library)
    assert Histogram.of(given, channel_axis=channel_axis) == expected
    tables = Counter(channel_axis=channel_axis).count(given)
    assert type(tables.counts) is type(tables.high) is type(given)
    assert (tables + Counter(channel_axis=channel_axis).count(given)).histogram() == expected + expected
    fitted = (MinMax().fit(each, load_format("int4"), channel_axis=channel_axis) for each in (given, x))
    assert_bit_exact(*(scale.value for scale in fitted))


def test_data_that_change_are_counted_in_a_graph() -> None:
    x, counter = torch.zeros(100, 256, device="cuda"), Counter()
    counter.count(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tables = counter.count(x)
    for seed in (1, 2):
        x.copy_(torch.from_numpy(normal(100, 256, seed=seed)))
        graph.replay()
        assert tables.histogram() == Histogram.of(normal(100, 256, seed=seed))


def test_counts_of_more_than_a_window_of_equal_elements() -> None:
    """All threads raise one bin; sums leave 32 bits many times."""
    x = torch.full((1 << 26,), np.nextafter(np.float32(2), np.float32(0)).item(), device="cuda")
    histogram = Histogram.of(x, mantissa_bits=0)
    assert (histogram.counts.tolist(), histogram.sums.tolist()) == ([1 << 26], [((1 << 23) - 1) << 26])


# --- proofs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROVEN)
def test_all_float32_inputs(name: str) -> None:
    """2^32 inputs of each format, against exact arithmetic."""
    format = load_format(name)
    kernel = CupyBackend().compile(lower(format, Purpose.ENCODE))

    def encode(x: Array, *, out: Array) -> Array:
        kernel(cupy.asarray(x)).get(out=out)
        return out

    proof = prove(format, encode)
    assert proof.holds, proof.mismatches


CONVERSION = """
extern "C" __global__ void convert(const unsigned short *x, unsigned char *codes)
{
    const unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned short both;
    asm("cvt.rn.satfinite.KINDx2.f16x2 %0, %1;" : "=h"(both) : "r"((unsigned int)x[i]));
    codes[i] = (unsigned char)both;
}
"""
HARDWARE = {"float8_e4m3fn": "e4m3", "float8_e5m2": "e5m2"}


@pytest.mark.parametrize("name", HARDWARE)
def test_the_gpus_own_conversion_of_every_float16(name: str) -> None:
    if int(cupy.cuda.Device().compute_capability) < 89:
        pytest.skip("this GPU converts no float8")
    x = np.arange(1 << 16, dtype=np.uint16)
    theirs = cupy.zeros(len(x), np.uint8)
    convert = cupy.RawKernel(CONVERSION.replace("KIND", HARDWARE[name]), "convert")
    convert((256,), (256,), (cupy.asarray(x), theirs))
    ours = by_gpu(lower(saturating(name), Purpose.ENCODE, floats=Storage.FLOAT16), x)
    assert_same(*(without_nan_signs(name, codes) for codes in (ours, back(theirs))), saturating(name), x)


def saturating(name: str) -> NumberFormat:
    """As `.satfinite` has it: Inf, too, becomes the largest finite value."""
    return parse_format(f"name: hardware\nextends: {name}\nencode: {{overflow: saturate, inf_input: saturate}}\n")


def without_nan_signs(name: str, codes: Words) -> Words:
    """NaN as one code: the hardware gives no other."""
    values = load_format(name).table()[codes]
    return np.where(np.isnan(values), 0x7F, codes).astype(np.uint32)


# --- streams, graphs, large arrays -------------------------------------------------------------------------------


def test_work_is_queued_on_cupys_current_stream() -> None:
    x, stream = on_gpu(normal(1 << 20)), cupy.cuda.Stream(non_blocking=True)
    kernel = CupyBackend().compile(lower(E4M3, Purpose.ENCODE))
    cupy.cuda.get_current_stream().synchronize()
    with stream:
        codes = kernel(x)
    stream.synchronize()
    assert_bit_exact(back(codes), reference().encode(back(x)))


def test_a_graph_is_captured_and_replayed() -> None:
    x, out = on_gpu(normal(10_000)), cupy.zeros(10_000, np.float32)
    kernel = CupyBackend().compile(lower(load_format("nf4"), Purpose.FAKE_QUANTIZE))
    kernel(x, out=out)  # compiles, and copies the tables
    cupy.cuda.get_current_stream().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        kernel(x, out=out)
        graph = stream.end_capture()
        for seed in (1, 2):
            x.set(normal(10_000, seed=seed))
            graph.launch(stream)
            stream.synchronize()
            assert_bit_exact(back(out), reference("nf4").fake_quantize(normal(10_000, seed=seed)))


def test_a_graph_of_torch_is_captured_and_replayed() -> None:
    x = torch.zeros(10_000, device="cuda")
    kernel = CupyBackend().compile(lower(E4M3, Purpose.FAKE_QUANTIZE_SCALED))
    kernel(x, scale=0.5)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = kernel(x, scale=0.5)
    for seed in (1, 2):
        x.copy_(torch.from_numpy(normal(10_000, seed=seed)))
        graph.replay()
        assert_bit_exact(y.cpu(), reference().fake_quantize(normal(10_000, seed=seed), scale=0.5))


@pytest.mark.parametrize(("count", "floats"), [(1 << 30, "float32"), ((1 << 32) + 4099, "float16")])
def test_large_arrays_in_one_call(count: int, floats: str) -> None:
    free, _ = cupy.cuda.runtime.memGetInfo()
    if free < 3 * count * DTYPES[floats].itemsize:
        pytest.skip(f"{free >> 30} GiB of GPU memory are free")
    part = normal(1 << 20).astype(floats)
    x = cupy.empty(count, floats)
    for start in range(0, count, len(part)):
        x[start : start + len(part)] = cupy.asarray(part[: count - start])
    kernel = CupyBackend().compile(lower(E4M3, Purpose.ENCODE, floats=Storage(floats)))
    codes, expected = kernel(x), cupy.asarray(reference().encode(part))
    for start in range(0, count, len(part)):
        assert bool((codes[start : start + len(part)] == expected[: count - start]).all())


# --- every library's arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["cupy", "torch"])
@pytest.mark.parametrize("floats", DTYPES)
def test_results_are_in_kind(library: str, floats: str) -> None:
    x = normal(60, 50).astype(DTYPES[floats])
    given = on_gpu(x, library)
    assert backend_for(given).name == "cupy"
    codes = Codec(E4M3).encode(given.T)
    assert type(codes) is type(given)
    assert_bit_exact(back(codes), reference().encode(np.ascontiguousarray(x.T)))
    assert type(Codec(E4M3).decode(codes)) is type(given)


@pytest.mark.parametrize("library", ["cupy", "torch"])
def test_empty_arrays(library: str) -> None:
    x = on_gpu(np.zeros((0, 64), np.float32), library)
    assert tuple(Codec(E4M3).fake_quantize(x, scale=0.5).shape) == (0, 64)
    blocks = Codec(load_format("nvfp4"))
    q = blocks.quantize(x)
    assert tuple(q.codes.shape) == tuple(blocks.dequantize(q).shape) == (0, 64)
    assert Histogram.of(x).elements == 0


class Foreign:
    """An array of some library, known by dlpack alone."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __array_namespace__(self) -> Any:
        return type("Namespace", (), {"from_dlpack": staticmethod(lambda array: Foreign(array))})


def test_arrays_of_any_library_are_taken_by_dlpack() -> None:
    x = normal(1000)
    result = CupyBackend().compile(lower(E4M3, Purpose.ENCODE))(Foreign(on_gpu(x)))
    assert isinstance(result, Foreign)
    assert_bit_exact(back(result.array), reference().encode(x))


@pytest.mark.parametrize("call", [lambda run, x: run(normal(3)), lambda run, x: run(x, out=np.zeros(3, np.uint8))])
def test_arrays_of_the_cpu_are_refused(call: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(TypeError, match="is of type ndarray; allowed: a .* array on a GPU"):
        call(CupyBackend().compile(lower(E4M3, Purpose.ENCODE)), on_gpu(normal(3)))


def test_what_it_runs_on_is_said() -> None:
    assert {"cupy", "CUDA driver", "GPU"} == set(CupyBackend().versions())
    assert "cupy" in sys.modules
