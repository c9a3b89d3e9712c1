"""Bits do not depend on the processor's floating-point mode, which `torch.set_flush_denormal` sets in a thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import statqat_sim as sqs
from statqat_sim.backends.numba_cpu import float_mode, threads
from statqat_sim.backends.numba_cpu.float_mode import IS_X86

NUMBERS = ["float8_e4m3fn", "float8_e8m0fnu", "bfloat16", "float16", "int8", "posit16", "takum8", "lns8", "nf4"]
BLOCKS = ["mxfp4", "mxfp4.mse", "nvfp4", "mxint8", "mx9", "bfp16_amd", "gguf_q4_0", "gguf_q4_k"]

pytestmark = pytest.mark.skipif(not IS_X86, reason="only x86's mode is set")


def flushes() -> bool:
    return bool(np.float32(1e-40) * np.float32(1) == 0)


@contextmanager
def flushing() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        assert flushes()
        yield
        assert flushes(), "the caller's mode is gone"
    finally:
        torch.set_flush_denormal(False)


def numbers(size: int = 4096) -> Any:
    """Zeros, subnormal numbers and normal ones, a block of each."""
    x = np.random.default_rng(0).standard_normal((size // 512, 8, 64)).astype(np.float32)
    x[:, 1] = 0
    x[:, 2:4] *= np.float32(1e-39)
    x[:, 4] *= np.float32(1e-37)
    return x


def check(run: Callable[[], Any]) -> None:
    want = run()
    with flushing():
        got = run()
    assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("name", NUMBERS)
def test_number_formats_have_the_same_bits_where_subnormal_numbers_are_flushed(name: str) -> None:
    codec, x = sqs.Codec(sqs.load_format(name)), numbers()
    with np.errstate(all="ignore"):
        inputs = [x, x.astype(np.float64) * 1e-5, (x * np.float32(1e35)).astype(np.float16)]
    for each in inputs:
        check(lambda each=each: codec.encode(each))  # type: ignore[misc]
        check(lambda each=each: codec.fake_quantize(each))  # type: ignore[misc]
    codes, scale = codec.encode(x), np.full(64, 1e-38, np.float32)
    check(lambda: codec.fake_quantize(x, scale=scale))
    check(lambda: codec.decode(codes))


@pytest.mark.parametrize("name", BLOCKS)
def test_block_formats_have_the_same_bits_where_subnormal_numbers_are_flushed(name: str) -> None:
    codec, x = sqs.Codec(sqs.load_format(name)), numbers()
    check(lambda: codec.fake_quantize(x))
    check(lambda: codec.fake_quantize(x, axis=0))
    check(lambda: np.frombuffer(codec.pack(x), np.uint8))
    quantized = codec.quantize(x)
    check(lambda: codec.dequantize(quantized))


def test_each_thread_of_the_pool_has_the_default_mode() -> None:
    codec, x = sqs.Codec(sqs.load_format("mxfp4")), numbers(4 * threads.MIN_ELEMENTS)
    try:
        sqs.set_threads(1)
        want = codec.fake_quantize(x)
        sqs.set_threads(3)
        threads._forget_pool()  # new threads begin in the mode of the one that starts them
        with flushing():
            got = codec.fake_quantize(x)
        assert got.tobytes() == want.tobytes()
    finally:
        threads._forget_pool()
        sqs.set_threads(None)


def test_matrix_instructions_have_the_same_bits_where_subnormal_numbers_are_flushed() -> None:
    device, rng = sqs.load_accelerator("nvidia_h100"), np.random.default_rng(1)
    a, b = rng.standard_normal((16, 8)) * 1e-160, rng.standard_normal((8, 8)) * 1e-155
    check(lambda: device.matmul(a, b, instruction="mma.f64.f64"))


def test_scales_of_blocks_can_be_read_where_subnormal_numbers_are_flushed() -> None:
    quantized = sqs.Codec(sqs.load_format("nvfp4")).quantize(numbers())
    with flushing():
        assert len(quantized.scale_values()) == 2


def test_loops_allocate_before_they_set_the_mode() -> None:
    """It would not be restored if memory runs out in between."""
    folder = Path(float_mode.__file__).parent
    found = 0
    for path in sorted(folder.glob("*.py")):
        for loop in path.read_text("utf-8").split("mode = set_default_mode()")[1:]:
            inside, _, _ = loop.partition("restore_mode(mode)")
            assert not re.findall(r"np\.(empty|zeros|array|full)\b", inside), path.name
            found += 1
    assert found == 9
