"""The numba backend: arrays of any shape, strides and kind; overlapping memory; threads, forks and copies."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import llvmlite.binding
import ml_dtypes
import numpy as np
import pytest
import torch
from checking import array_of
from inputs import DTYPES, around, random_bits
from numba.core.ccallback import CFunc
from numpy.lib.stride_tricks import as_strided
from word_plans import (
    FLOAT_OPS,
    NARROW,
    WIDE,
    WORD_OPS,
    check_a_selection_and_two_tables,
    check_narrow_words,
    check_wide_words,
    of_two_streams,
)

from statqat_sim import set_threads
from statqat_sim.backends.numba_cpu import cache, kernel, threads
from statqat_sim.backends.numba_cpu.entries import entry
from statqat_sim.backends.numba_cpu.kernel import NumbaKernel
from statqat_sim.backends.numba_cpu.processor import Processor
from statqat_sim.backends.numba_cpu.vector import Feed, Variant
from statqat_sim.codec import Codec
from statqat_sim.plan.lower import Purpose, lower
from statqat_sim.plan.program import CodecPlan, PlanShape, Storage, Stream
from statqat_sim.plan.step import Op, Step
from statqat_sim.reference.interpret import interpret
from statqat_sim.spec.catalog import load_format, parse_format
from statqat_sim.testing import assert_bit_exact

Array = Any
E4M3 = load_format("float8_e4m3fn")
CODEC, REFERENCE = Codec(E4M3, "numba"), Codec(E4M3, "reference")
SPLIT = threads.MIN_ELEMENTS


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.fixture(autouse=True)
def _default_threads() -> Iterator[None]:
    yield
    set_threads(None)


# --- every operation, one by one ---------------------------------------------------------------------------------


def words(op: Op) -> tuple[Array, Array]:
    """Pairs of operands; numbers where NaN would be anyone's."""
    a, b = random_bits(3000, 1), random_bits(3000, 2)
    ends = np.array([0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x0040_0000, 0x2000_0001, 0x1F80_0003], np.uint32)
    a, b = (np.concatenate([random, extreme]) for random, extreme in ((a, np.repeat(ends, 8)), (b, np.tile(ends, 8))))
    if not op.value.startswith("f"):
        return a, b
    finite = np.isfinite(a.view(np.float32)) & np.isfinite(b.view(np.float32)) & (b << np.uint32(1) != 0)
    return a[finite], b[finite]


@pytest.mark.parametrize("op", [*WORD_OPS, *FLOAT_OPS])
def test_a_binary_operation(op: Op) -> None:
    plan, (a, b) = of_two_streams(Step(op, (0, 1))), words(op)
    assert_bit_exact(NumbaKernel(plan)(a.view(np.float32), scale=b.view(np.float32)), interpret(plan, [a, b]))


@pytest.mark.parametrize("op", [Op.SHL, Op.SHR])
def test_a_shift(op: Op) -> None:
    plan, (a, b) = of_two_streams(Step(Op.CONST, (), 31), Step(Op.AND, (1, 2)), Step(op, (0, 3))), words(op)
    assert_bit_exact(NumbaKernel(plan)(a.view(np.float32), scale=b.view(np.float32)), interpret(plan, [a, b]))


def test_a_selection_and_two_tables() -> None:
    check_a_selection_and_two_tables(NumbaKernel)


@pytest.mark.parametrize("storage", NARROW)
def test_words_of_every_width_are_read_and_written(storage: Storage) -> None:
    check_narrow_words(NumbaKernel, storage, 1 << 16)


@pytest.mark.parametrize("result", WIDE)
@pytest.mark.parametrize("storage", WIDE)
def test_wide_words_are_read_and_written_in_halves(storage: Storage, result: Storage) -> None:
    check_wide_words(NumbaKernel, storage, result)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_plan_may_have_words_of_its_own(count: int) -> None:
    """Generators of random bits do: element for element, word for word."""
    steps = (Step(Op.INPUT), *[Step(Op.MUL, (0, index)) for index in range(3)])
    shape = PlanShape(steps, (Stream("x", Storage.UINT32),), (), (), Storage.UINT32, tuple(range(count)))
    loop, enter = cache.compiled(shape, Variant((Feed.ARRAY,))), entry(Storage.UINT32, Storage.UINT32)
    x, out = random_bits(333), np.zeros((400, count), np.uint32)
    enter(x, kernel.NO_SCALE, out.reshape(-1), 1, len(x), 0, 0, 0, 0, 0, 0, loop)
    assert_bit_exact(out[: len(x)].reshape(-1), interpret(CodecPlan(shape), [x]).reshape(-1))
    assert not out[len(x) :].any()


PROCESSORS = ["", "+avx2", "+avx512f", "+avx512f,+avx512bw"]


@pytest.mark.parametrize("features", PROCESSORS)
def test_every_kind_of_processor_gives_the_same_bits(
    features: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = llvmlite.binding.get_host_cpu_features()
    if not all(host.get(feature) for feature in features.replace("+", "").split(",") if feature):
        pytest.skip(f"this processor lacks some of {features}")
    processor = Processor.of_features(features)
    monkeypatch.setattr(Processor, "of_features", lambda _: processor)
    monkeypatch.setenv("STATQAT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "_loaded", {})
    x, codes = random_bits(3000), np.arange(256, dtype=np.uint8)
    for name in ("float4_e2m1fn", "nf4", "bfloat16"):
        format = load_format(name)
        encode, decode = (lower(format, purpose) for purpose in (Purpose.ENCODE, Purpose.DECODE))
        assert_bit_exact(
            NumbaKernel(encode)(x.view(np.float32)), interpret(encode, [x]).astype(encode.shape.result.value)
        )
        if format.bits <= 8:
            assert_bit_exact(NumbaKernel(decode)(codes), interpret(decode, [codes]).view(np.float32))


# --- sizes, shapes, strides --------------------------------------------------------------------------------------


@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("purpose", ["encode", "fake_quantize"])
def test_every_small_size_writes_its_elements_and_no_others(purpose: str, floats: str) -> None:
    x = array_of(around(E4M3, floats)[:200], Storage(floats))
    expected = getattr(REFERENCE, purpose)(x)
    for size in range(201):
        padded = np.full(size + 64, 99, expected.dtype)
        getattr(CODEC, purpose)(x[:size], out=padded[:size])
        assert_bit_exact(padded[:size], expected[:size])
        assert (padded[size:] == 99).all()
        assert_bit_exact(getattr(CODEC, purpose)(x[:size].copy()), expected[:size])


@pytest.mark.parametrize(
    ("count", "floats"), [(1, "float32"), (2, "float32"), (3, "float32"), (3, "bfloat16"), (3, "float64")]
)
def test_sizes_around_the_split_into_threads(count: int, floats: str) -> None:
    set_threads(count)
    x = of_type(normal(5 * SPLIT), floats)
    expected = REFERENCE.encode(x)
    pieces = [count * piece * threads.ALIGNMENT for piece in (1, 65, 80)]
    for size in (SPLIT - 1, SPLIT, SPLIT + 1, SPLIT + 63, 2 * SPLIT + 4097, *(SPLIT + size for size in pieces), len(x)):
        padded = np.full(size + 64, 0xAA, np.uint8)
        CODEC.encode(x[:size], out=padded[:size])
        assert_bit_exact(padded[:size], expected[:size])
        assert (padded[size:] == 0xAA).all()


def views(x: Array) -> dict[str, Array]:
    """Arrays that lie in memory in every possible way."""
    return {
        "plain": x,
        "transposed": x.T,
        "permuted": x.transpose(2, 0, 1),
        "reversed": x[::-1, ::-1, ::-1],
        "every other": x[::2, :, ::3],
        "inner part": x[1:-1, :, 5:-5],
        "broadcast": np.broadcast_to(x[:, :1], x.shape),
        "one value": np.broadcast_to(x[3, 2, 1], (7, 5)),
        "new axes": x[:, np.newaxis, :, :, np.newaxis],
        "0-d": x[1, 2, 3],
        "0-d array": x[1, 2, 3, ...],
        "empty": x[:0],
        "empty inside": x[:, :0, :],
        "Fortran order": np.asfortranarray(x),
        "misaligned": misaligned(x),
        "a subclass": np.ascontiguousarray(x).view(np.memmap),
    }


def misaligned(x: Array) -> Array:
    memory = np.empty(x.nbytes + 1, np.uint8)
    array = np.ndarray(x.shape, x.dtype, buffer=memory[1:])
    array[...] = x
    return array


def of_type(x: Array, floats: str) -> Array:
    """The array in another type, its NaN and beyond kept as they come."""
    with np.errstate(all="ignore"):
        return x.astype(DTYPES[floats])


VIEWS = {floats: views(of_type(normal(8, 6, 40) * 100, floats)) for floats in DTYPES}


@pytest.mark.parametrize("floats", DTYPES)
@pytest.mark.parametrize("kind", VIEWS["float32"])
def test_any_view_is_read(kind: str, floats: str) -> None:
    x = VIEWS[floats][kind]
    plain = np.array(x)
    for purpose in ("encode", "fake_quantize"):
        assert_bit_exact(getattr(CODEC, purpose)(x), getattr(REFERENCE, purpose)(plain))
    codes = CODEC.encode(x)
    assert codes.shape == x.shape
    for values in ("float32", "float64"):
        assert_bit_exact(CODEC.decode(codes, dtype=values), REFERENCE.decode(codes, dtype=values))


@pytest.mark.parametrize("kind", [kind for kind in VIEWS["float32"] if kind not in ("broadcast", "one value", "0-d")])
@pytest.mark.parametrize("floats", ["float32", "float64"])
def test_any_view_is_written(kind: str, floats: str) -> None:
    base = np.zeros((8, 6, 40), floats)
    out = views(base)[kind]
    x = normal(*out.shape, seed=1).astype(floats)
    untouched = np.array(base)
    assert CODEC.fake_quantize(x, out=out) is out
    assert_bit_exact(np.array(out), REFERENCE.fake_quantize(x))
    if np.shares_memory(base, out):
        views(untouched)[kind][...] = np.array(out)
        assert_bit_exact(base, untouched)


@pytest.mark.parametrize("floats", DTYPES)
def test_read_only_inputs_are_read(floats: str) -> None:
    x = of_type(normal(100), floats)
    x.flags.writeable = False
    scale = np.full(100, 0.5, np.float32)
    scale.flags.writeable = False
    assert_bit_exact(CODEC.encode(x), REFERENCE.encode(x))
    assert_bit_exact(CODEC.fake_quantize(x, scale=scale), REFERENCE.fake_quantize(x, scale=scale))
    assert_bit_exact(CODEC.encode(np.frombuffer(x.tobytes(), DTYPES[floats])), REFERENCE.encode(x))


# --- out ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros(10, np.int8), TypeError, "out is int8; allowed: uint8"),
        (np.zeros(10, np.float32), TypeError, "out is float32; allowed: uint8"),
        (np.zeros(10, np.uint16), TypeError, "out is uint16; allowed: uint8"),
        ([0] * 10, TypeError, "out is of type list; allowed: a uint8 array"),
        (np.zeros(9, np.uint8), ValueError, r"out has shape \(9,\); allowed: \(10,\)"),
        (np.zeros((10, 1), np.uint8), ValueError, r"out has shape \(10, 1\)"),
        (np.zeros((), np.uint8), ValueError, r"out has shape \(\)"),
        (np.frombuffer(bytes(10), np.uint8), ValueError, "out is read-only"),
        (np.broadcast_to(np.uint8(0), 10), ValueError, "out is read-only"),
        (torch.zeros(10), TypeError, "out is float32; allowed: uint8"),
    ],
)
def test_an_unfit_out_is_refused(out: Any, error: type[Exception], message: str) -> None:
    for codec in (CODEC, REFERENCE):
        with pytest.raises(error, match=message):
            codec.encode(normal(10), out=out)


def test_out_is_returned() -> None:
    x, out = normal(10), np.empty(10, np.uint8)
    assert CODEC.encode(x, out=out) is out
    assert CODEC.encode(x[::-1], out=out) is out
    tensor = torch.empty(10, dtype=torch.uint8)
    assert CODEC.encode(x, out=tensor) is tensor
    assert tensor.numpy().tolist() == REFERENCE.encode(x).tolist()


# --- memory that overlaps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("floats", ["float32", "float64"])
@pytest.mark.parametrize("size", [10, 1000, SPLIT + 5000])
def test_fake_quantize_in_place(size: int, floats: str) -> None:
    for scale in (None, 0.3, normal(size, seed=3) + 5):
        x = normal(size).astype(floats)
        expected = REFERENCE.fake_quantize(x, scale=scale)
        assert CODEC.fake_quantize(x, scale=scale, out=x) is x
        assert_bit_exact(x, expected)


@pytest.mark.parametrize("shift", [-65, -1, 1, 3, 64])
@pytest.mark.parametrize("size", [500, SPLIT + 5000])
@pytest.mark.parametrize("floats", ["float32", "float64"])
def test_shifted_overlap(size: int, shift: int, floats: str) -> None:
    memory = normal(size + abs(shift)).astype(floats)
    x, out = (memory[:size], memory[shift:]) if shift > 0 else (memory[-shift:], memory[:size])
    expected = REFERENCE.fake_quantize(x.copy())
    CODEC.fake_quantize(x, out=out)
    assert_bit_exact(out, expected)


@pytest.mark.parametrize("size", [300, SPLIT + 5000])
@pytest.mark.parametrize("floats", DTYPES)
def test_codes_over_the_floats_that_they_are_of(floats: str, size: int) -> None:
    """`out` starts where x does, with elements of another width; for halves and float16's codes with the same one."""
    for name in ("float8_e4m3fn", "float16"):
        codec, memory = Codec(load_format(name), "numba"), of_type(normal(size), floats)
        expected = Codec(load_format(name), "reference").encode(memory.copy())
        codes = memory.view(expected.dtype)[:size]
        codec.encode(memory, out=codes)
        assert_bit_exact(codes, expected)


@pytest.mark.parametrize("size", [300, SPLIT + 5000])
def test_values_over_wider_and_narrower_inputs(size: int) -> None:
    for floats in ("float16", "bfloat16"):  # fill half of the memory that their values take
        memory = np.zeros(size, np.float32)
        x = memory.view(DTYPES[floats])[size:]
        x[:] = of_type(normal(size), floats)
        expected = REFERENCE.fake_quantize(x.copy())
        assert_bit_exact(CODEC.fake_quantize(x, out=memory), expected)
    memory = np.zeros(2 * size, np.float32)
    codes = memory.view(np.uint8)[3 * size : 4 * size]
    codes[:] = np.arange(size) & 0xFF
    expected = REFERENCE.decode(codes.copy(), dtype="float64")
    assert_bit_exact(CODEC.decode(codes, dtype="float64", out=memory.view(np.float64)), expected)


@pytest.mark.parametrize("view", [lambda a: a[::-1], lambda a: a.T, lambda a: a[:, ::-1]])
def test_reversed_and_transposed_overlap(view: Callable[[Array], Array]) -> None:
    memory = normal(70, 70)
    expected = REFERENCE.fake_quantize(view(memory).copy())
    CODEC.fake_quantize(view(memory), out=memory)
    assert_bit_exact(memory, expected)


@pytest.mark.parametrize("codec", [CODEC, Codec(load_format("mxfp4"), "numba")], ids=["number", "blocks"])
def test_elements_of_out_have_a_place_each(codec: Codec) -> None:
    x = normal(4, 64)
    windows = np.lib.stride_tricks.as_strided(np.zeros(256, np.float32), (4, 64), (32, 4))
    for out in (torch.zeros(1, 64).expand(4, 64), windows):
        with pytest.raises(
            ValueError, match="elements of out may share memory; allowed: arrays whose strides keep them apart"
        ):
            codec.fake_quantize(torch.from_numpy(x) if isinstance(out, torch.Tensor) else x, out=out)
    memory = np.zeros((8, 4, 200), np.float32)
    for out in (memory[0, :, ::3][:, :64], memory[::-2, 1, :64], memory[:4, 0, 64:0:-1], memory[0, :, :64][:, ::-1]):
        assert_bit_exact(codec.fake_quantize(x, out=out), codec.fake_quantize(x))


@pytest.mark.parametrize("size", [500, SPLIT + 5000])
def test_out_over_the_scales(size: int) -> None:
    x, scales = normal(size), np.abs(normal(size, seed=2)) + 1
    expected = REFERENCE.fake_quantize(x, scale=scales)
    for scale_at, out_at in ((0, 0), (0, 1), (1, 0), (64, 0)):
        memory = np.zeros(size + 64, np.float32)
        scale, out = memory[scale_at : scale_at + size], memory[out_at : out_at + size]
        scale[:] = scales
        assert_bit_exact(CODEC.fake_quantize(x, scale=scale, out=out), expected)
    memory[0] = scales[0]
    expected = REFERENCE.fake_quantize(x, scale=scales[:1])
    assert_bit_exact(CODEC.fake_quantize(x, scale=memory[:1], out=memory[:size]), expected)


# --- scales ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "scale_shape"),
    [((0,), (0,)), ((0, 300), (0, 1)), ((3, 0), (3, 1)), ((0, 3, 300), (3, 1)), ((0,), (1,)), ((0,), ())],
)
def test_empty_arrays_take_scales(shape: tuple[int, ...], scale_shape: tuple[int, ...]) -> None:
    result = CODEC.fake_quantize(np.zeros(shape, np.float32), scale=np.ones(scale_shape, np.float32))
    assert (result.shape, result.dtype) == (shape, np.float32)


def test_scales_may_lie_anywhere() -> None:
    x, some = normal(4, 64), np.abs(normal(8, 4, 128)) + 1
    unaligned = np.frombuffer(b"x" + some[0, :, :64].tobytes(), np.float32, offset=1).reshape(4, 64)
    number = np.broadcast_to(np.float32(0.5), (4, 64))
    views = (some[0, :, ::2], some[::2, :, :1][:, 0], some[0, :, 63::-1], some[0, ::-1, 7:8], unaligned, number)
    for scale in (*views, unaligned[:, :1], unaligned[0]):
        expected = REFERENCE.fake_quantize(x, scale=scale.copy())
        assert_bit_exact(CODEC.fake_quantize(x, scale=scale), expected)
    assert_bit_exact(
        CODEC.fake_quantize(x[0], scale=some[0, 0, 63::-1]),
        REFERENCE.fake_quantize(x[0], scale=some[0, 0, 63::-1].copy()),
    )


@pytest.mark.parametrize("length", [1, 2, kernel.MIN_ROW - 1, kernel.MIN_ROW, kernel.MIN_ROW + 1, 1000])
def test_rows_of_every_length_have_scales_of_their_own(length: int) -> None:
    x, scale = normal(9, 4, length), np.exp2(normal(9, 4, 1, seed=1))
    for s in (scale, scale[:1], scale[:, :1], np.broadcast_to(scale, x.shape), scale[::-1]):
        assert_bit_exact(CODEC.fake_quantize(x, scale=s), REFERENCE.fake_quantize(x, scale=s))
        assert_bit_exact(CODEC.fake_quantize(x.T, scale=s.T), REFERENCE.fake_quantize(x.T, scale=s.T))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_many_rows_are_split_between_threads(count: int) -> None:
    set_threads(count)
    for shape in ((5, SPLIT // 4), (700, 400), (SPLIT + 100, 1), (2, SPLIT)):
        x, scale = normal(*shape), np.exp2(normal(shape[0], 1, seed=1))
        assert_bit_exact(CODEC.fake_quantize(x, scale=scale), REFERENCE.fake_quantize(x, scale=scale))


# --- large outputs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floats", ["float32", "float64"])
@pytest.mark.parametrize("first", [0, 1, 15, 16, 63])
def test_large_outputs_are_streamed_from_any_address(first: int, floats: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streaming stores need 64-byte alignment, which `out` rarely has."""
    monkeypatch.setattr(kernel, "STREAMING_BYTES", 1)
    x = normal(SPLIT + 9000).astype(floats)
    for size in (0, 1, 5, 64, 65, 200, 5000, SPLIT + 8000):
        for purpose in ("encode", "fake_quantize"):
            expected = getattr(REFERENCE, purpose)(x[:size])
            padded = np.full(first + size + 64, 99, expected.dtype)
            getattr(CODEC, purpose)(x[:size], out=padded[first : first + size])
            assert_bit_exact(padded[first : first + size], expected)
            assert (padded[:first] == 99).all()
            assert (padded[first + size :] == 99).all()


def test_an_array_larger_than_the_cache() -> None:
    x = np.tile(normal(1 << 16), 2 + kernel.STREAMING_BYTES // (1 << 18))
    expected = np.tile(REFERENCE.fake_quantize(x[: 1 << 16]), len(x) >> 16)
    assert_bit_exact(CODEC.fake_quantize(x), expected)
    CODEC.fake_quantize(x, out=x)
    assert_bit_exact(x, expected)


# --- threads, forks, copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("floats", DTYPES)
def test_the_number_of_threads_changes_no_bit(floats: str) -> None:
    x = array_of(around(load_format("bfloat16"), floats, 2000), Storage(floats))
    x = np.tile(x, 1 + 2 * SPLIT // len(x))
    expected = REFERENCE.encode(x)
    for count in (1, 2, 3, 7):
        set_threads(count)
        assert_bit_exact(CODEC.encode(x), expected)


def test_pieces_cover_everything_once() -> None:
    for workers in (1, 2, 3, 5):
        set_threads(workers)
        for count, unit in (
            (1, SPLIT),
            (2, SPLIT),
            (5, SPLIT),
            (SPLIT, 1),
            (SPLIT + 1, 1),
            (3 * SPLIT + 5, 1),
            (10, 1),
        ):
            seen = []
            threads.run_in_pieces(count, unit, lambda start, stop, seen=seen: seen.append((start, stop)))
            seen.sort()
            assert seen[0][0] == 0
            assert seen[-1][1] == count
            assert all(a[1] == b[0] < b[1] for a, b in zip(seen, seen[1:], strict=False))
            assert len(seen) <= workers


def test_an_error_in_a_piece_is_raised() -> None:
    def fail(start: int, stop: int) -> None:
        if start:
            raise MemoryError("in a thread")

    set_threads(2)
    with pytest.raises(MemoryError, match="in a thread"):
        threads.run_in_pieces(4 * SPLIT, 1, fail)


def test_no_piece_outlives_an_interrupt() -> None:
    """Pieces write to memory that belongs to nobody when the caller is gone."""
    ended = threading.Event()

    def run(start: int, stop: int) -> None:
        if start == 0:
            raise KeyboardInterrupt
        time.sleep(0.1)
        ended.set()

    set_threads(2)
    with pytest.raises(KeyboardInterrupt):
        threads.run_in_pieces(4 * SPLIT, 1, run)
    assert ended.is_set()


def test_no_piece_outlives_one_that_fails() -> None:
    ended = threading.Event()

    def run(start: int, stop: int) -> None:
        if stop == 4 * SPLIT:
            time.sleep(0.1)
            ended.set()
        elif start:
            raise MemoryError("in a thread")

    set_threads(4)
    with pytest.raises(MemoryError, match="in a thread"):
        threads.run_in_pieces(4 * SPLIT, 1, run)
    assert ended.is_set()


def test_no_piece_outlives_an_interrupt_while_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, waits = threading.Event(), iter((KeyboardInterrupt(), None))

    def interrupted(pieces: list[Future[None]]) -> None:
        if error := next(waits):
            raise error
        wait(pieces)

    def run(start: int, stop: int) -> None:
        if start:
            time.sleep(0.1)
            ended.set()

    monkeypatch.setattr(threads, "wait", interrupted)
    set_threads(2)
    with pytest.raises(KeyboardInterrupt):
        threads.run_in_pieces(4 * SPLIT, 1, run)
    assert ended.is_set()


def test_several_threads_at_once() -> None:
    """One codec, arrays small and large, first compilations included."""
    formats = [load_format(name) for name in ("float6_e3m2fn", "float8_e5m2", "int5", "nf4")]
    codecs = [Codec(format, "numba") for format in formats]
    x = normal(SPLIT + 1000)
    expected = [Codec(format, "reference").fake_quantize(x) for format in formats]

    def work(turn: int) -> bool:
        which, size = turn % len(codecs), len(x) if turn % 3 else 500
        return bool(np.array_equal(codecs[which].fake_quantize(x[:size]), expected[which][:size]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(96)))


FORKED = """
import multiprocessing, numpy as np, statqat_sim as sqs
codec = sqs.Codec(sqs.load_format("float8_e4m3fn"), "numba")
text = "{name: drawn, element: {kind: int, bits: 4}, encode: {rounding: stochastic_a}}"
random = sqs.Codec(sqs.parse_format(text), "numba")
x = np.random.default_rng(0).standard_normal(1 << 20, np.float32)
expected = codec.encode(x)  # starts the pool of threads
drawn = random.encode(x.astype(np.float64), seed=1, packed=True)

def work(queue):
    other = sqs.Codec(sqs.load_format("float4_e2m1fn"), "numba")  # loads a kernel in the child
    same = np.array_equal(random.encode(x.astype(np.float64), seed=1, packed=True), drawn)
    queue.put((np.array_equal(codec.encode(x), expected), same, int(other.encode(x[:10]).max()) < 16))

context = multiprocessing.get_context("fork")
queue = context.Queue()
workers = [context.Process(target=work, args=(queue,)) for _ in range(2)]
for worker in workers:
    worker.start()
assert [queue.get(timeout=60) for _ in workers] == [(True, True, True)] * 2
for worker in workers:
    worker.join(60)
    assert worker.exitcode == 0
assert np.array_equal(codec.encode(x), expected)
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_computes_the_same() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=180)


FIRST_USE = """
import threading
import numpy as np, statqat_sim as sqs
x, barrier, done = np.ones((4, 64), np.float32), threading.Barrier(2), []
codecs = [sqs.Codec(sqs.load_format(name)) for name in ("int4", "mxfp4")]
def use(codec):
    barrier.wait()
    done.append(codec.fake_quantize(x))
threads = [threading.Thread(target=use, args=(codec,)) for codec in codecs]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(done) == 2
"""


def test_the_first_use_may_be_from_two_threads() -> None:
    """They import different modules of numba, which import each other."""
    subprocess.run([sys.executable, "-c", FIRST_USE], check=True, timeout=180)


CROWD = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np, statqat_sim as sqs
text = "{name: drawn, element: {kind: int, bits: 4}, encode: {rounding: stochastic_a}}"
codec, x = sqs.Codec(sqs.parse_format(text), "numba"), np.random.default_rng(0).standard_normal(30_000, np.float32)
expected = [codec.encode(x, seed=seed) for seed in range(400)]
with ThreadPoolExecutor(96) as pool:
    for _ in range(2):
        found = pool.map(lambda seed: codec.encode(x, seed=seed), range(400))
        assert all(map(np.array_equal, found, expected))
"""


def test_random_bits_of_many_threads_lie_apart() -> None:
    """Also where all threads allocate from the same memory, which glibc keeps apart for a few threads."""
    environment = {"MALLOC_ARENA_MAX": "1", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    subprocess.run([sys.executable, "-c", CROWD], check=True, timeout=180, env={**os.environ, **environment})


LAST_USE = """
import atexit, threading
import numpy as np, statqat_sim as sqs
sqs.set_threads(2)
codec, x = sqs.Codec(sqs.load_format("float8_e4m3fn"), "numba"), np.arange(1 << 20, dtype=np.float32)
expected = codec.encode(x)
def use(name):
    print(name, np.array_equal(codec.encode(x), expected))
def after_the_main_thread():
    threading.main_thread().join()
    use("thread")
atexit.register(use, "exit")
threading.Thread(target=after_the_main_thread).start()
"""


def test_large_arrays_are_taken_while_the_interpreter_exits() -> None:
    """Pools of threads then take no more work."""
    call = [sys.executable, "-c", LAST_USE]
    done = subprocess.run(call, check=True, timeout=180, capture_output=True, text=True)
    assert done.stdout.split() == ["thread", "True", "exit", "True"], done.stderr


def test_a_copy_stands_on_its_own() -> None:
    """A kernel holds addresses: neither a copy nor its original may read the other's numbers."""
    x = normal(1000)
    for name in ("nf4", "float8_e4m3fn", "p3109_binary8p3se"):
        codec = Codec(load_format(name), "numba")
        expected = codec.encode(x)
        twins = [copy.deepcopy(codec), copy.copy(codec), pickle.loads(pickle.dumps(codec))]
        (its,) = vars(codec._compiled).values()
        (deep,) = vars(twins[0]._compiled).values()
        assert its.numbers[0] == its._params.ctypes.data
        assert deep.numbers[0] == deep._params.ctypes.data != its._params.ctypes.data
        del codec, its
        gc.collect()
        for twin in twins:
            assert_bit_exact(twin.encode(x), expected)


def test_a_codec_is_sent_to_another_process(tmp_path: Path) -> None:
    x, codec = normal(1000), Codec(load_format("nf4"), "numba")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "codes.npy", codec.encode(x))
    (tmp_path / "codec.pickle").write_bytes(pickle.dumps(codec))
    code = (
        "import pickle, numpy as np, pathlib; here = pathlib.Path()\n"
        "codec = pickle.loads((here / 'codec.pickle').read_bytes())\n"
        "assert np.array_equal(codec.encode(np.load('x.npy')), np.load('codes.npy'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=180)


# --- kernels are shared ------------------------------------------------------------------------------------------


NEW = "name: new\nelement: {kind: float, exponent_bits: 2, mantissa_bits: 5, bias: 3, nan: all_ones}\n"


def test_a_new_format_of_a_known_shape_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, scale = normal(100), normal(100, seed=1)
    for purpose in (Purpose.ENCODE, Purpose.DECODE, Purpose.FAKE_QUANTIZE, Purpose.FAKE_QUANTIZE_SCALED):
        NumbaKernel(lower(E4M3, purpose))
    CODEC.fake_quantize(x, scale=scale)
    loaded = dict(cache._loaded)
    monkeypatch.setattr(cache, "_load", lambda *_: pytest.fail("compiled"))
    new = parse_format(NEW)
    codec, reference = Codec(new, "numba"), Codec(new, "reference")
    assert_bit_exact(codec.encode(x), reference.encode(x))
    assert_bit_exact(codec.decode(codec.encode(x)), reference.fake_quantize(x))
    assert_bit_exact(codec.fake_quantize(x), reference.fake_quantize(x))
    assert_bit_exact(codec.fake_quantize(x, scale=scale), reference.fake_quantize(x, scale=scale))
    assert loaded == cache._loaded
    entered = [run for run in loaded.values() if not isinstance(run, CFunc)]
    assert entered
    assert all(len(run.signatures) == 1 for run in entered)  # nor did numba, for other types


def test_an_unknown_shape_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_loaded", {})
    monkeypatch.setattr(cache, "_load", lambda *_: pytest.fail("compiled"))
    with pytest.raises(pytest.fail.Exception, match="compiled"):
        Codec(E4M3, "numba").encode(normal(10))


# --- tensors -----------------------------------------------------------------------------------------------------


def test_tensors_come_back_as_tensors() -> None:
    x = torch.from_numpy(normal(20, 30))
    codes = CODEC.encode(x)
    assert (type(codes), codes.dtype, codes.shape) == (torch.Tensor, torch.uint8, x.shape)
    assert_bit_exact(codes, REFERENCE.encode(x.numpy()))
    assert_bit_exact(CODEC.decode(codes), REFERENCE.decode(codes.numpy()))
    assert_bit_exact(CODEC.fake_quantize(x, scale=torch.full((20, 1), 0.3)), CODEC.fake_quantize(x.numpy(), scale=0.3))
    assert Codec(E4M3, "reference").encode(x).equal(codes)


@pytest.mark.parametrize("name", ["bfloat16", "int16", "float8_e4m3fn"])
def test_codes_of_every_width_are_tensors(name: str) -> None:
    codec, x = Codec(load_format(name)), torch.from_numpy(normal(100))
    codes = codec.encode(x)
    assert codes.dtype == getattr(torch, f"uint{8 if codec.format.bits <= 8 else 16}")
    assert_bit_exact(codec.decode(codes), codec.fake_quantize(x))


def test_tensors_of_any_strides() -> None:
    x = torch.from_numpy(normal(6, 8, 10))
    for view in (x.mT, x[::2, 1:], x.permute(2, 0, 1), x[:, :1].expand(6, 8, 10), x[0, 0, 0], x[:0], x.flip(0)):
        assert_bit_exact(CODEC.encode(view), REFERENCE.encode(view.numpy()))
    out = torch.zeros(10, 8, 6, dtype=torch.uint8)
    assert CODEC.encode(x, out=out.permute(2, 1, 0)).shape == x.shape
    assert_bit_exact(out, REFERENCE.encode(x.numpy().T))


def test_a_tensor_that_requires_a_gradient_is_read_without_one() -> None:
    x = torch.nn.Parameter(torch.from_numpy(normal(50)))
    y = CODEC.fake_quantize(x)
    assert not y.requires_grad
    assert_bit_exact(y, REFERENCE.fake_quantize(x.detach().numpy()))
    z = (x * 2).tanh()
    assert_bit_exact(CODEC.encode(z), REFERENCE.encode(z.detach().numpy()))


def test_tensors_in_place() -> None:
    x = torch.from_numpy(normal(50).copy())
    expected = REFERENCE.fake_quantize(x.numpy())
    assert CODEC.fake_quantize(x, out=x) is x
    assert_bit_exact(x, expected)


def test_a_tensors_storage_can_still_be_resized() -> None:
    x, out = torch.randn(50), torch.empty(50)
    CODEC.fake_quantize(x, out=out)
    codes = CODEC.encode(x)
    for tensor in (x, out):
        tensor.untyped_storage().resize_(4 * 100)
        tensor.untyped_storage().resize_(0)
    gc.collect()
    assert codes.shape == (50,)


# --- what is refused ---------------------------------------------------------------------------------------------


ALLOWED = "allowed: an array of float16, bfloat16, float32, float64, integers"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(3, np.longdouble), f"x is {np.dtype(np.longdouble)}; {ALLOWED}"),
        (np.zeros(3, np.complex64), f"x is complex64; {ALLOWED}"),
        (np.zeros(3, bool), f"x is bool; {ALLOWED}"),
        (np.zeros(3, object), f"x is object; {ALLOWED}"),
        (np.array(["1"]), f"x is <U1; {ALLOWED}"),
        (np.zeros(3, "M8[s]"), rf"x is datetime64\[s\]; {ALLOWED}"),
        (np.zeros(3, ml_dtypes.float8_e4m3fn), f"x is float8_e4m3fn; {ALLOWED}"),
        (np.zeros(3, ml_dtypes.int4), f"x is int4; {ALLOWED}"),
        (torch.zeros(3, dtype=torch.bool), f"x is bool; {ALLOWED}"),
        (torch.zeros(3, dtype=torch.complex64), f"x is complex64; {ALLOWED}"),
        (torch.zeros(3, dtype=torch.float8_e4m3fn), f"x is float8_e4m3fn; {ALLOWED}"),
        (torch.zeros(3).to_sparse(), "x is a tensor of float32, which numpy cannot see: "),
        ([1.0, 2.0], f"x is list; {ALLOWED}"),
        (1.0, f"x is float; {ALLOWED}"),
        (None, f"x is NoneType; {ALLOWED}"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("codec", [CODEC, REFERENCE], ids=["numba", "reference"])
def test_other_inputs_are_refused(codec: Codec, x: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        codec.encode(x)
    with pytest.raises(TypeError, match=message):
        codec.fake_quantize(x, scale=1.0)


@pytest.mark.parametrize(
    ("codes", "view"),
    [(torch.zeros(3, dtype=torch.float8_e4m3fn), "torch"), (np.zeros(3, ml_dtypes.float8_e4m3fn), "np")],
    ids=["torch", "ml_dtypes"],
)
def test_bytes_of_other_dtypes_are_shown_to_be_codes(codes: Any, view: str) -> None:
    with pytest.raises(TypeError, match=rf"codes is .*; its bits: codes\.view\({view}\.uint8\)"):
        CODEC.decode(codes)


@pytest.mark.parametrize("codes", [np.zeros(3, np.float32), np.zeros(3, np.int64), np.zeros(3, np.uint16), [1]])
def test_other_codes_are_refused(codes: Any) -> None:
    with pytest.raises(TypeError, match="codes is .*; allowed: "):
        CODEC.decode(codes)


def test_codes_beyond_the_width_of_the_format_are_cut() -> None:
    codec = Codec(load_format("float4_e2m1fn"), "numba")
    codes = np.arange(256, dtype=np.uint8)
    assert_bit_exact(codec.decode(codes), codec.decode(codes & 15))


def test_memory_that_is_its_own_neighbour_can_be_read() -> None:
    x = normal(20)
    windows = as_strided(x, (16, 5), (4, 4))
    assert_bit_exact(CODEC.encode(windows), REFERENCE.encode(windows.copy()))


@pytest.mark.parametrize("floats", ["float32", "float64"])
@pytest.mark.parametrize("size", [1000, (1 << 22) + 5])  # the second is streamed past the caches
@pytest.mark.parametrize("place", ["x", "out", "both"])
def test_misaligned_arrays(size: int, place: str, floats: str) -> None:
    def array(misaligned: bool) -> Array:
        width = np.dtype(floats).itemsize
        room = np.zeros(width * size + 1, np.uint8)
        return room[int(misaligned) :][: width * size].view(floats)

    x, out = array(place != "out"), array(place != "x")
    x[:] = np.linspace(-9, 9, size, dtype=floats)
    codec = Codec(load_format("float8_e4m3fn"), "numba")
    expected = codec.fake_quantize(x.copy())
    assert np.array_equal(codec.fake_quantize(x, out=out), expected)
    assert np.array_equal(out, expected)


def test_a_fork_waits_for_a_kernel_that_is_being_compiled() -> None:
    """The child gets the lock free, whatever another thread of the parent does at that moment."""
    held, release = threading.Event(), threading.Event()

    def compile_slowly() -> None:
        with cache._lock:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    held.wait(10)
    threading.Timer(0.2, release.set).start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads, from Python 3.12 on
        child = os.fork()
    if child == 0:
        os._exit(0 if cache._lock.acquire(timeout=5) else 1)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_negated_view_is_read_with_its_sign_and_not_written_to() -> None:
    z = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert z.is_neg()
    assert CODEC.fake_quantize(z).tolist() == [-2.0, 4.0]
    with pytest.raises(TypeError, match="out is a negated view"):
        CODEC.fake_quantize(torch.ones(2), out=z)


def test_a_tensor_without_memory_is_refused() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.ones(4))
    with pytest.raises(TypeError, match="x is of type FakeTensor, which has no memory"):
        CODEC.encode(fake)
