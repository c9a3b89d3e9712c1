"""Plans run by the interpreter or a backend, and what they must give by the exact oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from inputs import LAYOUTS, Words, accepted, exact_codes, exact_values, some_codes

from statqat_sim.plan.lower import Lowering, Purpose, lower
from statqat_sim.plan.program import CodecPlan, Packed, Storage
from statqat_sim.reference.interpret import interpret
from statqat_sim.reference.philox import random_field
from statqat_sim.runtime import backend_named, backends
from statqat_sim.spec.number import NumberFormat

BACKENDS = [name for name, backend in backends().items() if name != "cupy" and backend.available() is None]
"""Those that take numpy arrays. `test_gpu` checks cupy's, and `test_backend_cuda` its kernels without a GPU."""

COMPILED = [name for name in BACKENDS if name != "reference"]
WORDS = {"float16": "uint16", "bfloat16": "uint16", "float32": "uint32", "float64": "uint64"}


@dataclass(frozen=True)
class Draws:
    """Where an array's random bits begin."""

    seed: int = 0
    offset: int = 0

    def fields(self, count: int, bits: int) -> list[int]:
        """The oracle's: of elements from the first on, the top bits of their fields."""
        return [random_field(self.seed, self.offset + index, bits) for index in range(count)]


FIRST = Draws()

Run: TypeAlias = Callable[[CodecPlan, Words, Draws], Words]
"""Words of a plan's first stream -> words of its result."""


def by_interpreter(plan: CodecPlan, words: Words, draws: Draws = FIRST) -> Words:
    """With the oracle's random fields."""
    streams = [words.astype(np.uint64 if plan.shape.streams[0].storage.bits == 64 else np.uint32)]
    for stream in plan.shape.streams[1:]:
        assert stream.name == "random"
        streams.append(np.array(draws.fields(len(words), stream.storage.bits), np.uint32))
    result = interpret(plan, streams)
    return result.view("<u8")[..., 0] if result.ndim > words.ndim else result


def on_backend(name: str) -> Run:
    """Through a backend's kernel."""

    def run(plan: CodecPlan, words: Words, draws: Draws = FIRST) -> Words:
        storage = plan.shape.streams[0].storage
        assert isinstance(storage, Storage)
        x = array_of(words, storage)
        result = backend_named(name).compile(plan)(x, seed=draws.seed, offset=draws.offset)
        assert not isinstance(plan.shape.result, Packed)
        assert result.dtype == plan.shape.result.value
        bits = result.view(f"u{result.itemsize}")
        return bits if bits.itemsize == 8 else bits.astype(np.uint32)

    return run


def array_of(words: Words, storage: Storage) -> Any:
    """An array of the dtype that a storage names, with these bits."""
    narrow = words.astype(WORDS.get(storage.value, storage.value))
    return narrow.view(ml_dtypes.bfloat16 if storage is Storage.BFLOAT16 else storage.value)


def check(
    format: NumberFormat,
    run: Run,
    bits: Words,
    floats: str = "float32",
    draws: Draws = FIRST,
    *,
    codes: Words | None = None,
) -> None:
    """Encode, decode and fake-quantize by `run` give the oracle's words; so do both lowerings.

    Args:
        format: any number format.
        run: what is checked.
        bits: of inputs.
        floats: the inputs' type.
        draws: random bits, which only stochastic formats read.
        codes: what the oracle says of these inputs, where that is known already.
    """
    bits, storage = accepted(format, bits, floats), Storage(floats)
    if codes is None:
        policy = format.encode
        random = draws.fields(len(bits), policy.random_bits) if policy.rounding.is_stochastic else None
        codes = exact_codes(format, bits, floats, random)
    assert_same(run(lower(format, Purpose.ENCODE, floats=storage), bits, draws), codes, format, bits)
    for lowering in Lowering:
        plan = lower(format, Purpose.ENCODE, lowering, floats=storage)
        assert_same(by_interpreter(plan, bits, draws), codes, format, bits)
    values = "float64" if floats == "float64" else "float32"
    listed = some_codes(format)
    decoder = lower(format, Purpose.DECODE, floats=Storage(values))
    assert_same(run(decoder, listed, draws), exact_values(format, listed, values), format, listed)
    rounded = exact_values(format, codes, values)
    assert_same(run(lower(format, Purpose.FAKE_QUANTIZE, floats=storage), bits, draws), rounded, format, bits)


def assert_same(actual: Words, expected: Words, format: NumberFormat, inputs: Words) -> None:
    wrong = np.flatnonzero(actual != expected)
    shown = [f"{inputs[i]:#x}: {actual[i]:#x}, expected {expected[i]:#x}" for i in wrong[:5]]
    assert not len(wrong), "\n".join([f"{len(wrong)} of {len(inputs)} inputs", *shown, repr(format)])


def widened(bits: Words, floats: str) -> Words:
    """The float32 patterns of the same values as those of float16 or bfloat16; NaN keep their signs."""
    layout = LAYOUTS[floats]
    nan = bits & layout.sign - 1 > layout.inf
    with np.errstate(all="ignore"):
        wide = array_of(bits, Storage(floats)).astype(np.float32).view(np.uint32)
    signed_nan = (bits.astype(np.uint32) & layout.sign) << np.uint32(32 - layout.sign.bit_length())
    return np.where(nan, signed_nan | np.uint32(0x7FC0_0000), wide)
