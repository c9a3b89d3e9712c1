"""The GPU backend's elementwise kernels and host code, compiled by g++: see `cuda_on_cpu`.

The interpreter is the measure: that it says what the exact oracle says, and numba too, is in `test_conformance`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import chain, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from checking import FIRST, Draws, array_of, assert_same, check, on_backend
from conformance_cases import CATALOG, CORNERS, SCALE_SHAPES, SCALED, SHAPE, WITH_MANY_INPUTS, check_random, scales
from cuda_on_cpu import CudaOnCpu, GccLauncher
from cuda_on_cpu.backend import LAUNCHER
from cuda_on_cpu.stand_in import Array as OnGpu
from cuda_on_cpu.stand_in import Foreign, cupy_replaced, memory
from cuda_on_cpu.stand_in import Stream as GpuStream
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import DTYPES, SPECIALS, accepted, around, edges, random_bits, some_codes, specs
from numpy.lib.stride_tricks import sliding_window_view
from stochastic import drawn, fields_themselves
from strategies import STOCHASTIC
from word_plans import (
    FLOAT_OPS,
    NANS,
    NARROW,
    WIDE,
    WORD_OPS,
    check_a_selection_and_two_tables,
    check_narrow_words,
    check_wide_words,
    of_two_streams,
    pairs,
    whole_numbers,
)

from statqat_sim import runtime
from statqat_sim.arrays import CPU
from statqat_sim.arrays.tensors import TENSORS
from statqat_sim.backends.cupy_gpu import driver, kernel
from statqat_sim.backends.cupy_gpu.backend import CupyBackend
from statqat_sim.backends.cupy_gpu.elementwise import Feed, elementwise
from statqat_sim.backends.cupy_gpu.kernel import CudaKernel
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS, KernelText
from statqat_sim.backends.cupy_gpu.steps import never_nan
from statqat_sim.codec import Codec
from statqat_sim.errors import UnsupportedError
from statqat_sim.histogram import Histogram
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.program import CodecPlan, PlanShape, Storage, Stream
from statqat_sim.plan.step import Op, Step
from statqat_sim.reference.interpret import interpret
from statqat_sim.reference.philox import random_field
from statqat_sim.scale import Scale
from statqat_sim.spec.catalog import load_format, parse_format
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")

Array = Any
CUDA = CudaOnCpu.name
E4M3 = load_format("float8_e4m3fn")
UNIT = 16
"""Kernels that g++ compiles at once."""


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtime.backends(), CUDA, CudaOnCpu())  # type: ignore[arg-type]  # a dict that nobody changes


@cache
def codec(name: str = "float8_e4m3fn", backend: str = CUDA) -> Codec:
    return Codec(load_format(name), backend)


reference = partial(codec, backend="reference")


def cuda(plan: CodecPlan) -> CudaKernel:
    return CudaKernel(plan, LAUNCHER, CPU)


def compile_together(plans: list[CodecPlan], feeds: tuple[Feed, ...] = (Feed.ARRAY,)) -> None:
    texts = list(dict.fromkeys(elementwise(plan.shape, feeds, never_nan(plan)).text for plan in plans))
    for start in range(0, len(texts), UNIT):
        LAUNCHER.prepare(texts[start : start + UNIT])


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def of_type(x: Array, floats: str) -> Array:
    with np.errstate(all="ignore"):
        return x.astype(DTYPES[floats])


# --- every operation, one by one ---------------------------------------------------------------------------------


ENDS = [0, 1, 31, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x0040_0000, 0x2000_0001, 0x1F80_0003]


def on_pairs(plan: CodecPlan, a: Array, b: Array) -> Array:
    return cuda(plan)(a.view(np.float32), scale=b.view(np.float32))


@pytest.mark.parametrize("op", FLOAT_OPS)
def test_a_float_operation_on_all_pairs_of_special_values(op: Op) -> None:
    """NaN included: numpy's are those of the processor, the kernels' follow a rule, and the shim's have other bits."""
    function = {Op.FADD: np.add, Op.FSUB: np.subtract, Op.FMUL: np.multiply, Op.FDIV: np.divide}[op]
    a, b = pairs(np.unique(np.concatenate([SPECIALS, np.array(NANS, np.uint32), np.float32([1, -1, 3]).view("u4")])))
    with np.errstate(all="ignore"):
        expected = function(a.view(np.float32), b.view(np.float32)).view(np.uint32)
    assert_bit_exact(on_pairs(of_two_streams(Step(op, (0, 1))), a, b), expected)


def test_the_shim_gives_the_nan_of_a_gpu() -> None:
    body = "out[0] = __float_as_uint(__fadd_rn(__uint_as_float(0x7f800000u), __uint_as_float(0xff800000u)));"
    out = np.zeros(1, np.uint32)
    LAUNCHER.load(KernelText("nan", ("u32 *out",), body))(1, 1, [LAUNCHER.pointer(out)], out)
    assert out[0] == 0x7FFF_FFFF


@pytest.mark.parametrize("op", FLOAT_OPS)
@pytest.mark.parametrize("limits", [(0x7F80_0000, 0x7F80_0000), (0x7F80_0000, 0x7F7F_FFFF), (0x7F7F_FFFF, 0x7F80_0000)])
def test_nan_are_left_out_only_where_there_are_none(op: Op, limits: tuple[int, int]) -> None:
    """Of words up to a limit: zeros, the limits themselves, and infinities among them."""
    first, second = (Step(Op.CONST, (), limit) for limit in limits)
    steps = [first, Step(Op.MIN, (0, 2)), second, Step(Op.MIN, (1, 4)), Step(op, (3, 5))]
    plan, (a, b) = of_two_streams(*steps), pairs([0, 1, 0x3F80_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7FC0_0000])
    expected = interpret(plan, [a, b])
    assert_bit_exact(on_pairs(plan, a, b), expected)
    has_nan = np.isnan(expected.view(np.float32)).any()
    assert bool(never_nan(plan)) is (not has_nan and op is not Op.FDIV)


@pytest.mark.parametrize("op", [*FLOAT_OPS, *WORD_OPS])
def test_an_operation_on_random_words(op: Op) -> None:
    a, b = random_bits(3000, 1), random_bits(3000, 2)
    ends = pairs(ENDS)
    a, b = np.concatenate([a, ends[0]]), np.concatenate([b, ends[1]])
    plan = of_two_streams(Step(op, (0, 1)))
    assert_bit_exact(on_pairs(plan, a, b), interpret(plan, [a, b]))


@pytest.mark.parametrize("op", [Op.SHL, Op.SHR])
def test_a_shift(op: Op) -> None:
    plan, (a, b) = of_two_streams(Step(Op.CONST, (), 31), Step(Op.AND, (1, 2)), Step(op, (0, 3))), pairs(ENDS)
    assert_bit_exact(on_pairs(plan, a, b), interpret(plan, [a, b]))


def test_a_selection_and_two_tables() -> None:
    check_a_selection_and_two_tables(cuda)


@pytest.mark.parametrize("storage", NARROW)
def test_words_of_every_width_are_read_and_written(storage: Storage) -> None:
    check_narrow_words(cuda, storage, 1 << 12)


@pytest.mark.parametrize("result", WIDE)
@pytest.mark.parametrize("storage", WIDE)
def test_wide_words_are_read_and_written_in_halves(storage: Storage, result: Storage) -> None:
    check_wide_words(cuda, storage, result)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_plan_may_have_words_of_its_own(count: int) -> None:
    steps = (Step(Op.INPUT), *[Step(Op.MUL, (0, index)) for index in range(3)])
    shape = PlanShape(steps, (Stream("x", Storage.UINT32),), (), (), Storage.UINT32, tuple(range(count)))
    printed, x, out = elementwise(shape, (Feed.ARRAY,)), random_bits(333), np.zeros((400, count), np.uint32)
    pointers = [LAUNCHER.pointer(x), LAUNCHER.pointer(out)]
    run = LAUNCHER.load(printed.text)
    run(printed.blocks(1, len(x)), THREADS, [*pointers, np.uint64(1), np.uint64(len(x))], x)
    assert_bit_exact(out[: len(x)].reshape(-1), interpret(CodecPlan(shape), [x]).reshape(-1))
    assert not out[len(x) :].any()


# --- the catalog -------------------------------------------------------------------------------------------------


@cache
def inputs_of(name: str) -> Array:
    format = load_format(name)
    return accepted(format, np.union1d(edges(format, None if format.bits <= 8 else 400), around(format)))


@pytest.mark.parametrize("purpose", [Purpose.ENCODE, Purpose.FAKE_QUANTIZE])
def test_the_catalog_takes_floats(purpose: Purpose) -> None:
    """At the boundaries of its formats, beside them, and at special values."""
    plans = {name: lower(load_format(name), purpose) for name in CATALOG}
    compile_together(list(plans.values()))
    for name, plan in plans.items():
        bits = inputs_of(name)
        assert_same(on_cuda(plan, bits), interpret(plan, [bits]), load_format(name), bits)


@pytest.mark.parametrize("values", [Storage.FLOAT32, Storage.FLOAT64])
def test_the_catalog_gives_floats(values: Storage) -> None:
    """Of every code; of formats beyond 16 bits, and of float64 beyond 12, of some."""
    plans = {name: lower(load_format(name), Purpose.DECODE, floats=values) for name in CATALOG}
    compile_together(list(plans.values()))
    for name, plan in plans.items():
        codes = some_codes(load_format(name), 1 << (16 if values is Storage.FLOAT32 else 12))
        expected = interpret(plan, [codes])
        words = expected.view("<u8")[..., 0] if expected.ndim > 1 else expected
        assert_same(on_cuda(plan, codes), words, load_format(name), codes)


def on_cuda(plan: CodecPlan, words: Array, draws: Draws = FIRST) -> Array:
    return on_backend(CUDA)(plan, words, draws)


@pytest.mark.parametrize("name", WITH_MANY_INPUTS)
def test_many_inputs_here_and_on_numba(name: str) -> None:
    format, bits = load_format(name), random_bits(10**6)
    for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE):
        plan = lower(format, purpose)
        assert_same(on_cuda(plan, bits), on_backend("numba")(plan, bits), format, bits)


@pytest.mark.long
@pytest.mark.parametrize("name", CATALOG)
def test_ten_million_inputs(name: str) -> None:
    format, bits = load_format(name), random_bits(10**7, seed=1)
    bits = accepted(format, bits)
    for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE):
        plan = lower(format, purpose)
        assert_same(on_cuda(plan, bits), interpret(plan, [bits]), format, bits)


@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float4_e2m1fn", "bfloat16", "int8", "nf4", "posit8", "lns8"])
def test_every_type_of_floats_against_the_oracle(name: str, floats: str) -> None:
    format = load_format(name)
    check(format, on_backend(CUDA), around(format, floats), floats)


def test_corners() -> None:
    formats = [parse_format(text) for text in CORNERS.values()]
    for purpose in (Purpose.ENCODE, Purpose.DECODE, Purpose.FAKE_QUANTIZE):
        compile_together([lower(format, purpose) for format in formats])
    for format in formats:
        bits = np.concatenate([edges(format, 200), around(format), random_bits(500)])
        for purpose, words in ((Purpose.ENCODE, bits), (Purpose.FAKE_QUANTIZE, bits), (Purpose.DECODE, _codes(format))):
            plan = lower(format, purpose)
            assert_same(on_cuda(plan, words), interpret(plan, [words]), format, words)


def _codes(format: NumberFormat) -> Array:
    return some_codes(format, 1 << 12)


def test_random_specs() -> None:
    @settings(max_examples=15)
    @given(text=specs(), seed=st.integers(0, 2**32 - 1))
    def check_spec(text: str, seed: int) -> None:
        check_random(text, on_backend(CUDA), seed)

    check_spec()


@pytest.mark.long
def test_many_random_specs() -> None:
    @settings(max_examples=500)
    @given(text=specs(), seed=st.integers(0, 2**32 - 1))
    def check_spec(text: str, seed: int) -> None:
        check_random(text, on_backend(CUDA), seed)

    check_spec()


# --- sizes, addresses, shapes ------------------------------------------------------------------------------------

SIZES = range(71)


@pytest.mark.parametrize("first", [0, 1, 3])
@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("purpose", ["encode", "fake_quantize"])
def test_every_small_size_writes_its_elements_and_no_others(purpose: str, floats: str, first: int) -> None:
    """Also where the arrays do not begin with whole vectors."""
    x = array_of(around(E4M3, floats)[:71], Storage(floats))
    expected = getattr(reference(), purpose)(x)
    memory = np.zeros(len(x) + 8, x.dtype)
    memory[first : first + len(x)] = x
    for size in SIZES:
        padded = np.full(first + size + 64, 99, expected.dtype)
        getattr(codec(), purpose)(memory[first : first + size], out=padded[first : first + size])
        assert_bit_exact(padded[first : first + size], expected[:size])
        assert (padded[:first] == 99).all()
        assert (padded[first + size :] == 99).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_codes_of_every_small_size(dtype: str) -> None:
    for name in ("float8_e4m3fn", "bfloat16", "tf32"):
        codes = some_codes(load_format(name))[:80].astype(reference(name).encode(np.float32(1)).dtype)
        for size, first in product((0, 1, 2, 3, 4, 5, 15, 16, 17, 70), (0, 1, 2)):
            part = codes[first : first + size]
            assert_bit_exact(codec(name).decode(part, dtype=dtype), reference(name).decode(part.copy(), dtype=dtype))


def test_sizes_around_a_block_of_threads() -> None:
    per_block = THREADS * 16
    x = normal(2 * per_block + 5)
    expected = reference().encode(x)
    for size in chain.from_iterable(range(whole - 2, whole + 3) for whole in (THREADS, per_block, 2 * per_block)):
        padded = np.full(size + 64, 0xAA, np.uint8)
        codec().encode(x[:size], out=padded[:size])
        assert_bit_exact(padded[:size], expected[:size])
        assert (padded[size:] == 0xAA).all()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("seeded", [False, True])
def test_indices_beyond_32_bits(seeded: bool, rows: int) -> None:
    """Of rows of almost 2^35 elements only the last ones are there; only the threads of these run."""
    format, there, length = drawn("float8_e4m3fn") if seeded else E4M3, 20_003, (1 << 35) - 4099
    plan, x, out = lower(format, Purpose.ENCODE), normal(there), np.full(there + 64, 99, np.uint8)
    printed = elementwise(plan.shape, (Feed.ARRAY, Feed.DRAWN) if seeded else (Feed.ARRAY,))
    absent, blocks = rows * length - there, printed.blocks(rows, length)
    addresses = [np.uint64(int(LAUNCHER.pointer(x)) - 4 * absent), np.uint64(int(LAUNCHER.pointer(out)) - absent)]
    numbers = [np.uint64(rows), np.uint64(length), *map(np.uint32, plan.params)]
    random = [np.uint64(7), np.uint64(9)] if seeded else []
    first = blocks - there // (printed.chunk * printed.chunks_per_block)
    run = LAUNCHER.load(printed.text)
    run(blocks, THREADS, [*addresses, *numbers, *random], x, first_block=first)
    untouched = int((out[:there] == 99).argmin())
    assert 0 < untouched < there // 2
    expected = runtime.backend_named("reference").compile(plan)(x[untouched:], seed=7, offset=9 + absent + untouched)
    assert_bit_exact(out[untouched:there], expected)
    assert (out[there:] == 99).all()


def views(x: Array) -> dict[str, Array]:
    """Arrays that lie in memory in every possible way."""
    return {
        "plain": x,
        "transposed": x.T,
        "reversed": x[::-1, ::-1, ::-1],
        "every other": x[::2, :, ::3],
        "broadcast": np.broadcast_to(x[:, :1], x.shape),
        "new axes": x[:, np.newaxis, :, :, np.newaxis],
        "0-d": x[1, 2, 3],
        "0-d array": x[1, 2, 3, ...],
        "empty": x[:0],
        "empty inside": x[:, :0, :],
        "Fortran order": np.asfortranarray(x),
    }


VIEWS = {floats: views(of_type(normal(8, 6, 40) * 100, floats)) for floats in DTYPES}


@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("kind", VIEWS["float32"])
def test_any_view_is_read(kind: str, floats: str) -> None:
    x = VIEWS[floats][kind]
    plain = np.array(x)
    for purpose in ("encode", "fake_quantize"):
        assert_bit_exact(getattr(codec(), purpose)(x), getattr(reference(), purpose)(plain))
    codes = codec().encode(x)
    assert codes.shape == x.shape
    assert_bit_exact(codec().decode(codes), reference().decode(codes))


@pytest.mark.parametrize("kind", [kind for kind in VIEWS["float32"] if kind not in ("broadcast", "0-d")])
def test_any_view_is_written(kind: str) -> None:
    base = np.zeros((8, 6, 40), np.float32)
    out = views(base)[kind]
    x = normal(*out.shape, seed=1)
    untouched = np.array(base)
    assert codec().fake_quantize(x, out=out) is out
    assert_bit_exact(np.array(out), reference().fake_quantize(x))
    if np.shares_memory(base, out):
        views(untouched)[kind][...] = np.array(out)
        assert_bit_exact(base, untouched)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.encode(normal(10), out=np.zeros(10, np.int8)),
        lambda c: c.encode(normal(10), out=[0] * 10),
        lambda c: c.encode(normal(10), out=np.zeros(9, np.uint8)),
        lambda c: c.encode(normal(10), out=np.frombuffer(bytes(10), np.uint8)),
        lambda c: c.encode([1.0]),
        lambda c: c.decode(np.zeros(3, np.int64)),
        lambda c: c.decode(np.zeros(3, np.uint16)),
        lambda c: c.fake_quantize(normal(3), scale=[1.0]),
        lambda c: c.fake_quantize(normal(3), scale=1e39),
        lambda c: c.fake_quantize(normal(3), scale=np.ones(2, np.float32)),
        lambda c: c.fake_quantize(normal(3), scale=np.ones(3)),
        lambda c: c.decode(np.zeros(3, np.uint8), packed=True, shape=(4,)),
    ],
)
def test_errors_are_those_of_the_reference(call: Callable[[Codec], Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as expected:
        call(reference())
    with pytest.raises(expected.type) as raised:
        call(codec())
    assert str(raised.value) == str(expected.value)


# --- memory that overlaps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("floats", ["float32", "float64"])
@pytest.mark.parametrize("size", [10, 10_000])
def test_fake_quantize_in_place(size: int, floats: str) -> None:
    for scale in (None, 0.3, normal(size, seed=3) + 5):
        x = normal(size).astype(floats)
        expected = reference().fake_quantize(x, scale=scale)
        assert codec().fake_quantize(x, scale=scale, out=x) is x
        assert_bit_exact(x, expected)


@pytest.mark.parametrize("shift", [-65, -1, 1, 3, 64])
def test_shifted_overlap(shift: int) -> None:
    memory = normal(5000 + abs(shift))
    x, out = (memory[:5000], memory[shift:]) if shift > 0 else (memory[-shift:], memory[:5000])
    expected = reference().fake_quantize(x.copy())
    codec().fake_quantize(x, out=out)
    assert_bit_exact(out, expected)


@pytest.mark.parametrize("floats", DTYPES)
def test_codes_over_the_floats_that_they_are_of(floats: str) -> None:
    for name in ("float8_e4m3fn", "float16"):
        memory = of_type(normal(5000), floats)
        expected = reference(name).encode(memory.copy())
        codes = memory.view(expected.dtype)[:5000]
        codec(name).encode(memory, out=codes)
        assert_bit_exact(codes, expected)


@pytest.mark.parametrize("count", [1, 12, 12 * 512])
def test_out_over_the_scales(count: int) -> None:
    """One scale, one for each row, one for each element."""
    x = normal(12, 512)
    values = np.abs(normal(12 * 512, seed=2)) + 1
    shape = {1: (1, 1), 12: (12, 1)}.get(count, x.shape)
    expected = reference().fake_quantize(x, scale=values[:count].reshape(shape))
    for scale_at, out_at in ((0, 0), (0, 1), (1, 0), (64, 0)):
        memory = np.zeros(x.size + 64, np.float32)
        scale = memory[scale_at : scale_at + count].reshape(shape)
        scale[...] = values[:count].reshape(shape)
        out = memory[out_at : out_at + x.size].reshape(x.shape)
        assert_bit_exact(codec().fake_quantize(x, scale=scale, out=out), expected)


# --- scales ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SCALE_SHAPES)
def test_scales_of_every_shape(kind: str) -> None:
    x, scale = normal(*SHAPE, seed=1), scales(SCALE_SHAPES[kind])
    for name in SCALED:
        assert_bit_exact(codec(name).fake_quantize(x, scale=scale), reference(name).fake_quantize(x, scale=scale))


@pytest.mark.parametrize("scale", [0.0, -0.0, 1.0, -2.0, 1e-45, 1e-40, 1.1754944e-38, 3.4028235e38, 3, np.float64(2)])
def test_numbers_are_scales(scale: float) -> None:
    for name in SCALED:
        format = load_format(name)
        x, plan = edges(format, most=100).view(np.float32), lower(format, Purpose.FAKE_QUANTIZE_SCALED)
        assert_bit_exact(cuda(plan)(x, scale=scale), runtime.backend_named("reference").compile(plan)(x, scale=scale))


@pytest.mark.parametrize("floats", DTYPES)
def test_every_type_of_floats_is_scaled(floats: str) -> None:
    x = array_of(around(E4M3, floats), Storage(floats))[:240].reshape(3, 80)
    for scale in (0.3, scales((3, 1)), scales((80,)), scales((3, 80))):
        assert_bit_exact(codec().fake_quantize(x, scale=scale), reference().fake_quantize(x, scale=scale))


@pytest.mark.parametrize("length", [1, 2, kernel.MIN_ROW - 1, kernel.MIN_ROW, kernel.MIN_ROW + 1, 1000])
def test_rows_of_every_length_have_scales_of_their_own(length: int) -> None:
    x, scale = normal(9, 4, length), np.exp2(normal(9, 4, 1, seed=1))
    for s in (scale, scale[:1], scale[:, :1], np.broadcast_to(scale, x.shape), scale[::-1]):
        assert_bit_exact(codec().fake_quantize(x, scale=s), reference().fake_quantize(x, scale=s))
        assert_bit_exact(codec().fake_quantize(x.T, scale=s.T), reference().fake_quantize(x.T, scale=s.T))


@pytest.mark.parametrize(("shape", "scale_shape"), [((0,), (0,)), ((0, 300), (0, 1)), ((3, 0), (3, 1)), ((0,), ())])
def test_empty_arrays_take_scales(shape: tuple[int, ...], scale_shape: tuple[int, ...]) -> None:
    result = codec().fake_quantize(np.zeros(shape, np.float32), scale=np.ones(scale_shape, np.float32))
    assert (result.shape, result.dtype) == (shape, np.float32)


# --- dense codes -------------------------------------------------------------------------------------------------

DENSE = [(bits, order) for bits in range(1, 8) for order in ("lsb", "msb")]


@pytest.mark.parametrize(("bits", "order"), DENSE)
def test_dense_codes_of_every_width_and_size(bits: int, order: str) -> None:
    format = whole_numbers(bits, order)
    pack, unpack = lower(format, Purpose.PACK), lower(format, Purpose.UNPACK)
    define = runtime.backend_named("reference").compile
    shapes = [(size,) for size in SIZES] + [(3, 1), (5, 7), (4, 32), (3, 65), (2, 3, 33), (0, 3), (3, 0), ()]
    for shape in shapes:
        x = np.random.default_rng(0).integers(0, 1 << bits, shape).astype(np.float32)
        expected = define(pack)(x)
        memory = np.full(expected.size + 9, 99, np.uint8)
        out = memory[1 : 1 + expected.size].reshape(expected.shape)
        assert_bit_exact(np.array(cuda(pack)(x, out=out)), expected)
        assert (memory[1 + expected.size :] == 99).all()
        assert_bit_exact(cuda(unpack)(out, shape=shape), x)
        assert_bit_exact(cuda(unpack)(expected.reshape(-1), shape=shape), x)


@pytest.mark.parametrize("order", ["lsb", "msb"])
def test_padding_is_zero_where_zeros_code_is_not(order: str) -> None:
    element = "{kind: codebook, bits: 3, values: [-3, -2, -1, 1, 2, 0, 4, 5]}"
    format = parse_format(f"name: dense\nelement: {element}\npack: {{bit_order: {order}}}\n")
    assert reference("nf4").encode(np.float32(0)) != 0
    for length, each in product(SIZES, (format, load_format("nf4"))):
        x = normal(2, length)
        assert_bit_exact(Codec(each, CUDA).encode(x, packed=True), Codec(each, "reference").encode(x, packed=True))


def test_dense_codes_are_decoded_to_float64() -> None:
    packed = np.random.default_rng(0).integers(0, 256, (7, 9), dtype=np.uint8)
    for name in ("float6_e2m3fn", "nf4"):
        shape = (7, 72 // load_format(name).bits)
        results = [
            each.decode(packed, dtype="float64", packed=True, shape=shape) for each in (codec(name), reference(name))
        ]
        assert_bit_exact(*results)


# --- random bits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [8, 16, 32])
def test_fields_are_those_of_the_oracle(width: int) -> None:
    fields = cuda(fields_themselves(width))
    for seed in (0, 1, 0xFFFF_FFFF, 1 << 32, 0x0123_4567_89AB_CDEF, 2**64 - 1):
        for offset in (0, 1, 3, 15, 2**32 - 2, 2**32 * 128 // width - 3, 2**63 + 1, 2**64 - 300):
            expected = [random_field(seed, offset + index, width) for index in range(130)]
            for size in (1, 5, 64, 130):
                assert fields(np.zeros(size, np.uint8), seed=seed, offset=offset).tolist() == expected[:size]


@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_stochastic_rounding(bits: int, floats: str) -> None:
    """Parts of an array, with offsets, get what the whole gets; rows with scales of their own, too."""
    format = drawn("float8_e4m3fn", random_bits=bits)
    here, define = Codec(format, CUDA), Codec(format, "reference")
    x = of_type(normal(3, 100), floats)
    whole = define.encode(x, seed=5, offset=3)
    assert_bit_exact(here.encode(x, seed=5, offset=3), whole)
    assert_bit_exact(here.encode(x[1], seed=5, offset=103), whole[1])
    for scale in (0.7, scales((3, 1)), scales((3, 100))):
        expected = define.fake_quantize(x, scale=scale, seed=6, offset=2**40 + 5)
        assert_bit_exact(here.fake_quantize(x, scale=scale, seed=6, offset=2**40 + 5), expected)


@pytest.mark.parametrize("mode", STOCHASTIC)
def test_stochastic_modes_against_the_oracle(mode: str) -> None:
    format = drawn("float8_e5m2", mode, 8)
    check(format, on_backend(CUDA), around(format), draws=Draws(seed=3, offset=7))


@pytest.mark.parametrize("bits", [3, 4])
def test_dense_codes_are_rounded_stochastically(bits: int) -> None:
    format = drawn(f"{{kind: int, bits: {bits}}}", random_bits=8)
    here, define = Codec(format, CUDA), Codec(format, "reference")
    for length in (1, 15, 16, 33, 70):
        x = normal(5, length)
        assert_bit_exact(
            here.encode(x, packed=True, seed=1, offset=11), define.encode(x, packed=True, seed=1, offset=11)
        )


# --- tensors -----------------------------------------------------------------------------------------------------


def of_tensors(plan: CodecPlan) -> CudaKernel:
    """The host code that CUDA tensors will use, for tensors of the CPU."""
    return CudaKernel(plan, LAUNCHER, TENSORS)


@pytest.mark.parametrize("floats", DTYPES)
def test_tensors_are_computed_on_as_tensors(floats: str) -> None:
    x = torch.from_numpy(normal(6, 5, 80)).to(getattr(torch, floats))
    plain = x if floats != "bfloat16" else x.to(torch.float32)
    for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE):
        result = of_tensors(lower(E4M3, purpose, floats=Storage(floats)))(x.transpose(0, 2))
        expected = getattr(reference(), purpose.value)(plain.transpose(0, 2).contiguous().numpy())
        assert isinstance(result, torch.Tensor)
        assert_bit_exact(result, expected)
    scaled = of_tensors(lower(E4M3, Purpose.FAKE_QUANTIZE_SCALED, floats=Storage(floats)))
    for scale in (0.5, torch.tensor(0.5), torch.rand(5, 1) + 0.5, torch.rand(80) + 0.5, torch.rand(1) + 0.5):
        bits = np.float32(scale) if isinstance(scale, float) else scale.numpy()
        assert_bit_exact(scaled(x, scale=scale), reference().fake_quantize(plain.numpy(), scale=bits))


def test_tensors_take_the_scales_that_quantizers_give() -> None:
    x, scale = torch.randn(5, 80), Scale(np.float32([[0.5], [0.3], [2], [1], [7]]))
    scaled = of_tensors(lower(E4M3, Purpose.FAKE_QUANTIZE_SCALED))
    for each in (scale, Scale(np.float32(0.3))):
        assert_bit_exact(scaled(x, scale=each), reference().fake_quantize(x.numpy(), scale=each))


def test_tensors_are_written_to() -> None:
    x, out = torch.randn(40, 30), torch.zeros(30, 40)
    of_tensors(lower(E4M3, Purpose.FAKE_QUANTIZE))(x, out=out.T)
    assert_bit_exact(out.T.contiguous(), reference().fake_quantize(x.numpy()))
    with pytest.raises(TypeError, match="out is float32; allowed: uint8"):
        of_tensors(lower(E4M3, Purpose.ENCODE))(x, out=out)


def test_autograd_knows_that_a_tensor_was_written() -> None:
    saved, weight = torch.linspace(0.1, 1, 64), torch.ones(64, requires_grad=True)
    product = weight * saved
    of_tensors(lower(E4M3, Purpose.FAKE_QUANTIZE))(saved, out=saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


# --- the backend -------------------------------------------------------------------------------------------------


def test_importing_the_backend_loads_neither_cupy_nor_torch() -> None:
    code = "import sys, statqat_sim.backends.cupy_gpu.backend; sys.exit(bool({'cupy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class OnDevice:
    """What says by dlpack where it lies."""

    def __init__(self, device: int) -> None:
        self.device = device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0


class NowhereYet:
    def __dlpack_device__(self) -> tuple[int, int]:
        raise BufferError("no memory")


def test_arrays_on_a_gpu_are_owned() -> None:
    owns = CupyBackend().owns
    assert owns(OnDevice(2))
    assert owns(OnDevice(13))
    others = (
        OnDevice(1),
        OnDevice(10),
        OnDevice,
        NowhereYet(),
        normal(3),
        torch.zeros(3),
        torch.zeros(3).to("meta"),
        3,
    )
    assert not any(map(owns, others))


@pytest.fixture
def _asked_anew() -> Iterator[None]:
    yield
    driver.why_not.cache_clear()


@pytest.mark.usefixtures("_asked_anew")
@pytest.mark.parametrize(
    ("version", "told"),
    [
        (None, "this machine has no CUDA driver"),
        (11080, r"the CUDA driver is for CUDA 11\.8; allowed: 12\.0 and later"),
        (12040, r'cupy is not installed; pip install -e "\.\[cuda12\]"'),
        (13010, r'cupy is not installed; pip install -e "\.\[cuda13\]"'),
    ],
)
def test_what_is_missing_is_said(version: int | None, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.why_not.cache_clear()
    monkeypatch.setattr(driver, "driver_version", lambda: version)
    monkeypatch.setattr(driver, "find_spec", lambda name: None)
    monkeypatch.setitem(runtime.backends(), "cupy", CupyBackend())  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match=told):
        Codec(E4M3, "cupy")


@pytest.mark.usefixtures("_asked_anew")
def test_why_cupy_does_not_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    driver.why_not.cache_clear()
    monkeypatch.setattr(driver, "driver_version", lambda: 13000)
    monkeypatch.setattr(driver, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "cupy cannot be imported: " in str(CupyBackend().available())
    driver.why_not.cache_clear()
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(__version__="13.6.0"))  # type: ignore[arg-type]
    assert CupyBackend().available() == "cupy is 13.6.0; allowed: 14 and later"


def test_the_oldest_cupy_is_that_of_the_extras() -> None:
    project = Path(__file__).parent.parent / "pyproject.toml"
    assert project.read_text("utf-8").count(f"x[ctk]>={driver.OLDEST_CUPY}") == 2


# --- cupy's side, without cupy -----------------------------------------------------------------------------------


@pytest.fixture
def _cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with cupy_replaced(monkeypatch):
        yield


@pytest.fixture
def _cupy_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codecs take it."""
    monkeypatch.setattr(driver, "driver_version", lambda: 13000)
    monkeypatch.setitem(runtime.backends(), "cupy", CupyBackend())  # type: ignore[arg-type]  # a dict that nobody changes
    monkeypatch.setattr("statqat_sim.backends.cupy_gpu.backend.why_not", lambda: None)


def on_device(plan: CodecPlan) -> Any:
    return CupyBackend().compile(plan)


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("floats", DTYPES)
def test_cupy_arrays_are_read_and_written(floats: str) -> None:
    x = of_type(normal(6, 5, 80), floats)
    for purpose in (Purpose.ENCODE, Purpose.FAKE_QUANTIZE):
        plan, expected = lower(E4M3, purpose, floats=Storage(floats)), getattr(reference(), purpose.value)(x)
        assert CupyBackend().owns(OnGpu(x))
        assert_bit_exact(memory(on_device(plan)(OnGpu(x))), expected)
        assert_bit_exact(memory(on_device(plan)(OnGpu(x.T))), expected.T)
        for out in (OnGpu(np.zeros_like(expected)), OnGpu(np.zeros_like(expected.T)).view(expected.dtype)):
            target = out if out.shape == expected.shape else OnGpu(out.on.T)
            assert on_device(plan)(OnGpu(x), out=target) is target
            assert_bit_exact(memory(target), expected)
    plan = lower(E4M3, Purpose.FAKE_QUANTIZE_SCALED, floats=Storage(floats))
    scaled, expected = on_device(plan), runtime.backend_named("reference").compile(plan)
    for scale in (0.5, np.float32(0.3), np.full((), 3.0), *map(scales, ((5, 1), (80,), (6, 5, 80), (1,), ()))):
        device_scale = OnGpu(scale) if isinstance(scale, np.ndarray) and scale.dtype == np.float32 else scale
        assert_bit_exact(memory(scaled(OnGpu(x), scale=device_scale)), expected(x, scale=scale))


@pytest.mark.usefixtures("_cupy", "_cupy_runs")
def test_empty_arrays_of_cupy_are_owned() -> None:
    x = OnGpu(np.zeros((0, 3), np.float32), device=1)
    codes = Codec(E4M3).encode(x)
    assert (codes.shape, codes.dtype, codes.device.id) == ((0, 3), np.uint8, 1)
    assert Histogram.of(x).elements == 0


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_one_number_on_a_gpu_may_be_of_any_type(dtype: str) -> None:
    x, scale = normal(5, 80), np.full((), 3, dtype)
    scaled = on_device(lower(E4M3, Purpose.FAKE_QUANTIZE_SCALED))
    assert_bit_exact(memory(scaled(OnGpu(x), scale=OnGpu(scale))), reference().fake_quantize(x, scale=3.0))


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_result_may_lie_where_its_input_does(first: int) -> None:
    """Shifted by some elements, in either direction, and backwards."""
    run, x = on_device(lower(E4M3, Purpose.FAKE_QUANTIZE)), normal(302)
    expected = reference().fake_quantize(x)
    there, back = OnGpu(x.copy()), OnGpu(x.copy())
    run(there[first : first + 300], out=there[1:301])
    assert_bit_exact(memory(there)[1:301], expected[first : first + 300])
    run(back[::-1], out=back)
    assert_bit_exact(memory(back), expected[::-1])


@pytest.mark.usefixtures("_cupy", "_cupy_runs")
@pytest.mark.parametrize("name", ["mxfp4", "nvfp4.mse", "gguf_q4_0"])
def test_blocks_of_cupy_arrays(name: str) -> None:
    """On a device that is not the current one."""
    x, ours, theirs = normal(6, 64), Codec(load_format(name), "cupy"), codec(name, "reference")
    options: list[dict[str, Any]] = [{}, {"scale": 0.25}]
    if name == "nvfp4.mse":
        weights = np.linspace(0, 3, 64).astype(DTYPES["bfloat16"])
        options += [{"weights": weights}, {"weights": OnGpu(weights, device=1)}]
    for each in options:
        expected = theirs.quantize(x, **{name: memory(option) for name, option in each.items()})
        for there in (OnGpu(x, device=1), OnGpu(np.asfortranarray(x), device=1)):
            q = ours.quantize(there, **each)
            assert q.codes.device.id == 1
            assert q.cpu() == expected
            assert ours.pack(there, **each) == expected.pack()
            assert_bit_exact(memory(ours.dequantize(q)), theirs.dequantize(expected))
            out = OnGpu(np.zeros((64, 6), np.float32).T, device=1)
            assert_bit_exact(memory(ours.dequantize(q, out=out)), theirs.dequantize(expected))


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("number", [-0.0, 0.0, 1e-45])
def test_a_number_is_copied_to_the_device_as_it_is(number: float) -> None:
    x = OnGpu(normal(3))
    copied = CupyBackend().library(x).as_scale(number, (3,), x)
    assert_bit_exact(memory(copied), np.float32(number).reshape(()))


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_on_a_gpu_are_converted(dtype: str) -> None:
    ends = np.iinfo(dtype)
    integers = np.random.default_rng(0).integers(ends.min, ends.max, 3000, dtype=dtype, endpoint=True)
    small, special = (
        integers >> integers.dtype.type(min(30, ends.bits - 2)),
        np.array([ends.min, 0, 1, ends.max], dtype),
    )
    x = np.concatenate([integers, small, special])
    floats = Storage.FLOAT32 if ends.bits < 32 else Storage.FLOAT64
    converted = CupyBackend().library(OnGpu(x)).as_native(OnGpu(x), floats, "x")
    assert_bit_exact(memory(converted), CPU.as_native(x, floats, "x"))
    for name in ("float16", "float8_e5m2"):
        plan = lower(load_format(name), Purpose.ENCODE, floats=floats)
        assert_bit_exact(memory(on_device(plan)(OnGpu(x))), reference(name).encode(x))


@pytest.mark.usefixtures("_cupy")
def test_floats_on_a_gpu_keep_subnormals_and_the_signs_of_nan() -> None:
    library = CupyBackend().library(OnGpu(np.zeros(1)))
    for floats, bits in (("float16", np.arange(1 << 16)), ("float64", around(E4M3, "float64"))):
        x = array_of(np.asarray(bits), Storage(floats))
        with np.errstate(all="ignore"):
            expected = x.astype(np.float32)
        found = memory(library.as_float32(OnGpu(x), "x"))
        nan = np.isnan(expected)
        assert_bit_exact(found[~nan], expected[~nan])
        assert np.isnan(found[nan]).all()
        assert (np.signbit(found) == np.signbit(expected)).all()
    weights = np.float32([1e-45, 1e-40, 3, 0])
    assert_bit_exact(memory(library.as_weights(OnGpu(weights), OnGpu(weights))), weights.astype(np.float64))


@pytest.mark.usefixtures("_cupy", "_cupy_runs")
def test_codecs_refuse_what_a_format_refuses() -> None:
    refusing = parse_format("name: strict\nextends: int8\nencode: {nan_input: error}\n")
    with pytest.raises(ValueError, match=r"x\[1\] is NaN, which strict refuses"):
        Codec(refusing, "cupy").encode(OnGpu(np.float32([1, np.nan]), device=1))
    numbers, subnormal = OnGpu(np.float32([1, 0, np.nan])), 1e-40
    with pytest.raises(ValueError, match=r"\(x / scale\)\[2\] is NaN, which strict refuses"):
        Codec(refusing, "cupy").fake_quantize(numbers, scale=subnormal)
    assert not memory(Codec(refusing, "cupy").fake_quantize(numbers, scale=-0.0)).any()
    x = normal(100)
    assert_bit_exact(memory(Codec(refusing, "cupy").encode(OnGpu(x))), reference("int8").encode(x))
    assert_bit_exact(memory(Codec(E4M3).fake_quantize(OnGpu(x), scale=0.3)), reference().fake_quantize(x, scale=0.3))


@pytest.mark.usefixtures("_cupy")
def test_arrays_of_other_libraries_are_taken_by_dlpack() -> None:
    x = normal(300)
    result = on_device(lower(E4M3, Purpose.ENCODE))(Foreign(x))
    assert isinstance(result, Foreign)
    assert_bit_exact(result.array.on, reference().encode(x))


@pytest.mark.usefixtures("_cupy", "_cupy_runs")
def test_a_number_that_is_no_scale_is_refused_for_arrays_of_any_library() -> None:
    with pytest.raises(ValueError, match="scale is NaN; allowed for float8_e4m3fn: numbers"):
        Codec(E4M3).fake_quantize(Foreign(normal(3)), scale=float("nan"))


@pytest.mark.usefixtures("_cupy")
@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda run, x: run(x.on), "x is of type ndarray; allowed: a float32 array on a GPU"),
        (lambda run, x: run(torch.zeros(3)), "x is a tensor on cpu; allowed: arrays on a GPU"),
        (lambda run, x: run(x.astype("float16")), r'x is float16; allowed: float32; convert it: x.astype\("float32"\)'),
        (lambda run, x: run(x, out=x.astype("float64")), "out is float64; allowed: float32"),
        (lambda run, x: run(x, out=x[:3]), r"out has shape \(3,\); allowed: \(10,\)"),
        (lambda run, x: run(x, out=OnGpu(x.on, device=1)), "out is on <CUDA Device 1>; allowed: <CUDA Device 0>"),
        (lambda run, x: run(x, out=OnGpu(np.broadcast_to(x.on[:1], 10))), "elements of out may share memory"),
        (
            lambda run, x: run(OnGpu(normal(6, 5)), out=OnGpu(sliding_window_view(x.on, 5))),
            "elements of out may share memory; allowed: arrays whose strides keep them apart",
        ),
        (lambda run, x: run(x, out=x.on), "out is of type ndarray; allowed: a float32 array on a GPU"),
        (
            lambda run, x: run(x, scale=np.ones(10, np.float32)),
            "scale is of type ndarray; allowed: a float32 array",
        ),
        (lambda run, x: run(x, scale=x[:3]), r"scale has shape \(3,\); allowed: shapes that broadcast to \(10,\)"),
        (lambda run, x: run(x, scale=OnGpu(x.on, device=1)), "scale is on <CUDA Device 1>"),
        (lambda run, x: run(x, scale=None), "scale is of type NoneType; allowed: a float32 array on a GPU"),
    ],
)
def test_what_is_not_on_the_gpu_is_refused(call: Callable[[Any, Any], Any], told: str) -> None:
    run = on_device(lower(E4M3, Purpose.FAKE_QUANTIZE_SCALED))
    with pytest.raises((TypeError, ValueError), match=told):
        call(lambda x, **options: run(x, **({"scale": 1.0} | options)), OnGpu(normal(10)))


@pytest.mark.usefixtures("_cupy")
def test_work_is_queued_on_the_current_stream_and_tables_are_copied_once() -> None:
    run, mine = on_device(lower(load_format("nf4"), Purpose.DECODE)), GpuStream(7)
    codes = OnGpu(np.arange(16, dtype=np.uint8))
    with mine:
        assert_bit_exact(memory(run(codes)), reference("nf4").decode(codes.on))
        waits = mine.waits
        run(codes)
    assert mine.launches == ["elementwise"] * 2
    assert mine.waits == waits


# --- the shim itself ---------------------------------------------------------------------------------------------


def test_lanes_of_a_warp_exchange_words() -> None:
    body = """
    __shared__ u32 most[THREADS / 32];
    u32 word = x[blockIdx.x * THREADS + threadIdx.x];
    for (int step = 16; step; step /= 2) word = max(word, __shfl_xor_sync(0xffffffffu, word, step));
    if (threadIdx.x % 32 == 0) most[threadIdx.x / 32] = word;
    __syncthreads();
    if (threadIdx.x >= 8) return;
    word = most[threadIdx.x];
    for (int step = 4; step; step /= 2) word = max(word, __shfl_xor_sync(0xffu, word, step, 8));
    if (threadIdx.x == 0) out[blockIdx.x] = word;
    """.replace("THREADS", str(THREADS))
    x, out = random_bits(10 * THREADS), np.zeros(10, np.uint32)
    run = LAUNCHER.load(KernelText("most", ("const u32 *x", "u32 *out"), body, cooperative=True))
    run(10, THREADS, [LAUNCHER.pointer(x), LAUNCHER.pointer(out)], x)
    assert_bit_exact(out, x.reshape(10, THREADS).max(axis=1))


def test_threads_that_wait_for_ever_are_told() -> None:
    body = "if (threadIdx.x % 2) __syncthreads(); else __syncwarp();"
    run = GccLauncher().load(KernelText("stuck", ("u32 *out",), body, cooperative=True))
    with pytest.raises(AssertionError, match="stuck: threads wait for ever"):
        run(1, 64, [np.uint64(0)], np.zeros(1))


def test_misaligned_words_are_told() -> None:
    run = GccLauncher().load(KernelText("shifted", ("const u32 *x", "u32 *out"), "out[0] = x[0];"))
    x, out = np.zeros(9, np.uint8), np.zeros(1, np.uint32)
    addresses = [LAUNCHER.pointer(array) for array in (x, out)]
    run(1, 1, addresses, x)
    with pytest.raises(AssertionError, match="shifted: memory is read or written by misaligned words"):
        run(1, 1, [addresses[0] + np.uint64(1), addresses[1]], x)


def test_arguments_of_the_wrong_width_are_told() -> None:
    run = GccLauncher().load(KernelText("wide", ("u64 count",), ""))
    with pytest.raises(AssertionError):
        run(1, 1, [np.uint32(0)], np.zeros(1))
