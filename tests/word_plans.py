"""Small plans and words that each backend's kernels are tried on, and what all of them must do with words."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from checking import array_of
from inputs import random_bits

from statqat_sim.arrays import HALVES
from statqat_sim.plan.builder import Builder
from statqat_sim.plan.program import CodecPlan, PlanShape, Storage, Stream
from statqat_sim.plan.step import Op, Step
from statqat_sim.reference.interpret import interpret
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.number import NumberFormat
from statqat_sim.testing import assert_bit_exact

Array = Any
KernelOf: TypeAlias = Callable[[CodecPlan], Callable[..., Array]]

X, Y = Stream("x", Storage.FLOAT32), Stream("scale", Storage.FLOAT32)
WORD_OPS = [Op.ADD, Op.SUB, Op.MUL, Op.MULHI, Op.AND, Op.OR, Op.XOR, Op.MIN, Op.MAX, Op.EQ, Op.LT]
FLOAT_OPS = [Op.FADD, Op.FSUB, Op.FMUL, Op.FDIV]
NARROW = [storage for storage in Storage if storage.bits <= 32]
WIDE = [Storage.UINT64, Storage.FLOAT64]
NANS = [0x7FC0_0000, 0x7F80_0001, 0x7FAB_CDEF, 0x7FFF_FFFF, 0xFFC0_0000, 0xFF80_0001, 0xFFFF_FFFF, 0xFFC1_2345]


def of_two_streams(*steps: Step) -> CodecPlan:
    steps = (Step(Op.INPUT), Step(Op.INPUT, (), 1), *steps)
    return CodecPlan(PlanShape(steps, (X, Y), (), (), Storage.UINT32, (len(steps) - 1,)))


def pairs(words: Any) -> tuple[Array, Array]:
    words = np.asarray(words, np.uint32)
    return np.repeat(words, len(words)), np.tile(words, len(words))


@cache
def whole_numbers(bits: int, order: str) -> NumberFormat:
    element = f"{{kind: int, encoding: unsigned, bits: {bits}}}"
    return parse_format(f"name: dense{bits}\nelement: {element}\npack: {{bit_order: {order}}}\n")


def check_a_selection_and_two_tables(kernel_of: KernelOf) -> None:
    mask, parity = Step(Op.CONST, (), 255), Step(Op.PARAM)
    steps = [Step(Op.INPUT), mask, Step(Op.AND, (0, 1)), Step(Op.TABLE, (2,)), Step(Op.TABLE, (2,), 1), parity]
    steps += [Step(Op.AND, (0, 5)), Step(Op.SELECT, (6, 3, 4))]
    tables = [np.random.default_rng(seed).integers(0, 1 << 32, 256, dtype=np.uint32).tobytes() for seed in (0, 1)]
    shape = PlanShape(tuple(steps), (X,), ("one bit",), ("a", "b"), Storage.UINT32, (7,))
    plan, x = CodecPlan(shape, (0x100,), tuple(tables)), random_bits(3000)
    assert_bit_exact(kernel_of(plan)(x.view(np.float32)), interpret(plan, [x]))


def check_narrow_words(kernel_of: KernelOf, storage: Storage, count: int) -> None:
    """They are widened where they are read, and cut where they are written."""
    widened = PlanShape((Step(Op.INPUT),), (Stream("x", storage),), (), (), Storage.UINT32, (0,))
    cut = PlanShape((Step(Op.INPUT),), (Stream("x", Storage.UINT32),), (), (), storage, (0,))
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x0101_0101)
    kept = x & np.uint32((1 << storage.bits) - 1)
    assert_bit_exact(kernel_of(CodecPlan(widened))(array_of(kept, storage)), kept)
    if storage not in HALVES:  # of which no plan is a result
        assert_bit_exact(kernel_of(CodecPlan(cut))(x), array_of(kept, storage))


def check_wide_words(kernel_of: KernelOf, storage: Storage, result: Storage) -> None:
    """Their halves change places, so that none can be taken for the other."""
    x = np.arange(1, 1001, dtype=np.uint64) * np.uint64(0x0123_4567_89AB_CDEF)
    builder = Builder()
    high, low = builder.input_pair("x", storage)
    swap = kernel_of(builder.finish((high, low), result))
    swapped = x << np.uint64(32) | x >> np.uint64(32)
    for size in (0, 1, 5, 63, 64, 65, 1000):
        assert_bit_exact(swap(array_of(x[:size], storage)), array_of(swapped[:size], result))
