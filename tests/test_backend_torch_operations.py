"""The torch backend's operations, one by one and compiled, beside the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from checking import array_of
from inputs import random_bits
from torch_compiled import WARNINGS, together
from word_plans import FLOAT_OPS, WORD_OPS, X, of_two_streams

from statqat_sim.backends.torch_ops.affine import Affine
from statqat_sim.backends.torch_ops.kernel import TorchKernel
from statqat_sim.backends.torch_ops.printer import printed
from statqat_sim.plan.block_scale import is_nan
from statqat_sim.plan.builder import Builder, Word
from statqat_sim.plan.layout import MAGNITUDE, SIGN
from statqat_sim.plan.program import CodecPlan, PlanShape, Storage, Stream
from statqat_sim.plan.step import Op, Step
from statqat_sim.reference.interpret import interpret
from statqat_sim.testing import assert_bit_exact

Array = Any

pytestmark = WARNINGS

ENDS = np.array(
    [0, 1, 31, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7F80_0001, 0xFFC1_2345]
    + [0x3F80_0000, 0x0040_0000, 0x2000_0001, 0x1F80_0003, 0x7F7F_FFFF, 0x0080_0000],
    np.uint32,
)
"""Among them NaN that signal, with payloads, and of both signs; subnormals and what they come from."""


CHOICES = (0, 0x8000_0000, 1, 0x8000_0001, 0x7F7F_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7F80_0001, 0xFFC0_0001)
"""Zeros, subnormals, Inf and NaN, which are chosen as integers."""


def plans_of_choices() -> list[CodecPlan]:
    """Between constants, between what was chosen so, and between that and a word."""
    plans = []
    for first, second in zip(CHOICES, (*CHOICES[1:], 0), strict=True):
        steps = [Step(Op.LT, (0, 1)), Step(Op.CONST, (), first), Step(Op.CONST, (), second)]
        steps += [Step(Op.SELECT, (2, 3, 4)), Step(Op.SELECT, (0, 4, 5)), Step(Op.SELECT, (1, 6, 0))]
        plans += [of_two_streams(*steps[:count]) for count in (4, 5, 6)]
        plans.append(of_two_streams(*steps[:5], Step(Op.XOR, (6, 0))))
    return plans


def plans_of_numbers() -> list[CodecPlan]:
    """Floats, one of them no NaN by its steps: a number up to Inf, or up to the largest, with a sign of its own."""
    plans = []
    for bound in (0x7F80_0000, 0x7F7F_FFFF, 0x7F80_0001):
        masks = Step(Op.CONST, (), 0x7FFF_FFFF), Step(Op.CONST, (), 0x8000_0000), Step(Op.CONST, (), bound)
        number = Step(Op.AND, (0, 2)), Step(Op.MIN, (5, 4)), Step(Op.AND, (1, 3)), Step(Op.OR, (6, 7))
        plans += [of_two_streams(*masks, *number, Step(op, args)) for op in FLOAT_OPS for args in ((8, 1), (1, 8))]
        plans += [of_two_streams(*masks, *number, Step(op, (8, 8))) for op in FLOAT_OPS]
    return plans


def plans_of_every_operation() -> list[CodecPlan]:
    """Each on two variables, and with a constant on either side."""
    plans = [of_two_streams(Step(op, (0, 1))) for op in (*WORD_OPS, *FLOAT_OPS)]
    low = Step(Op.CONST, (), 31), Step(Op.AND, (1, 2))
    plans += [of_two_streams(*low, Step(op, (0, 3))) for op in (Op.SHL, Op.SHR)]
    for constant in (0, 0x8000_0000, 0x3F80_0000, 0xFFC0_0001):
        fixed = Step(Op.CONST, (), constant)
        for op in WORD_OPS if constant == 0xFFC0_0001 else (*WORD_OPS, *FLOAT_OPS):
            plans += [of_two_streams(fixed, Step(op, args)) for args in ((0, 2), (2, 0))]
        plans += [of_two_streams(fixed, Step(Op.SELECT, args)) for args in ((0, 2, 1), (0, 1, 2), (0, 2, 2), (2, 0, 1))]
    for places in (0, 1, 31):
        plans += [of_two_streams(Step(Op.CONST, (), places), Step(op, (0, 2))) for op in (Op.SHL, Op.SHR)]
    plans += [of_two_streams(*low, Step(Op.CONST, (), 0xF000_0001), Step(op, (4, 3))) for op in (Op.SHL, Op.SHR)]
    plans += plans_of_choices() + plans_of_numbers()
    truths = Step(Op.LT, (0, 1)), Step(Op.EQ, (0, 1))
    plans += [of_two_streams(*truths, Step(op, (2, 3))) for op in (Op.AND, Op.OR, Op.XOR, Op.ADD, Op.EQ, Op.MIN)]
    return [*plans, of_two_streams(*truths, Step(Op.SELECT, (2, 0, 1))), of_two_streams(truths[0])]


def plans_of_signs_and_scales() -> list[CodecPlan]:
    """Signs where bool is expected, sums that are or may be NaN by their bounds, and products with NaN left out."""
    results: list[Callable[[Word, Word], Word]] = [
        lambda x, y: (x >> 31).where(x, y),
        lambda x, y: ((x >> 31) & x.lt(y)).where(x, y),
        lambda x, y: ((x >> 31) | y.eq(x)) + ((x & SIGN) >> 31),
        lambda x, y: (x >> 31) ^ (y >> 31),
        lambda x, y: (x & 1) - y.eq(x),
        lambda x, y: is_nan(y).where(0, x.fmul(y)),
        lambda x, y: is_nan(y).where(0, x.fmul(y)) ^ x.fmul(y),
        lambda x, y: is_nan(y).where(x.fmul(y), 0),
        lambda x, y: is_nan(x).where(0, x.fmul(y)),
        lambda x, y: x.fmul(x.fmul(y)),
    ]
    for bound in (0x4100_0000, 0x7F00_0000, 0x7F7F_FFFF, 0x7F80_0000):
        for number in (0x4B00_0000, 1, 0):
            results.append(lambda x, y, b=bound, n=number: ((x & MAGNITUDE).min(b).fadd(n_of(x, n)) - x.eq(y)).fmul(y))
            results.append(lambda x, y, b=bound, n=number: ((x & MAGNITUDE).min(b).fadd(n_of(x, n)) + x.eq(y)).fmul(y))
    return [plan_of(result) for result in results]


def n_of(word: Word, number: int) -> Word:
    return word.builder.const(number)


def plan_of(result: Callable[[Word, Word], Word]) -> CodecPlan:
    builder = Builder()
    x, y = builder.input("x", Storage.FLOAT32), builder.input("scale", Storage.FLOAT32)
    return builder.finish(result(x, y), Storage.UINT32)


OPERATIONS = plans_of_every_operation() + plans_of_signs_and_scales()


def operands() -> tuple[Array, Array]:
    random = random_bits(1000, 1), random_bits(1000, 2)
    pairs = np.repeat(ENDS, len(ENDS)), np.tile(ENDS, len(ENDS))
    return np.concatenate([random[0], pairs[0]]), np.concatenate([random[1], pairs[1]])


def test_every_operation_gives_what_the_interpreter_gives() -> None:
    a, b = operands()
    for plan in OPERATIONS:
        result = TorchKernel(plan)(a.view(np.float32), scale=b.view(np.float32))
        np.testing.assert_array_equal(result, interpret(plan, [a, b]), err_msg=printed(plan))


@pytest.mark.long
def test_every_operation_gives_the_same_compiled() -> None:
    a, b = operands()
    x, y = (torch.from_numpy(each.view(np.float32)) for each in (a, b))
    kernels = [TorchKernel(plan) for plan in OPERATIONS]
    results = together(*[lambda kernel=kernel: kernel(x, scale=y) for kernel in kernels])
    for plan, result in zip(OPERATIONS, results, strict=True):
        np.testing.assert_array_equal(result.numpy(), interpret(plan, [a, b]), err_msg=printed(plan))


def test_products_are_not_guarded_where_a_nan_scale_is_not_read() -> None:
    guarded = ["unless_nan" in printed(plan) for plan in plans_of_signs_and_scales()[5:10]]
    assert guarded == [False, True, True, True, True]


def test_tables_are_read_and_known_steps_are_not_printed() -> None:
    mask, parity = Step(Op.CONST, (), 255), Step(Op.PARAM)
    steps = [Step(Op.INPUT), mask, Step(Op.AND, (0, 1)), Step(Op.TABLE, (2,)), Step(Op.TABLE, (2,), 1), parity]
    steps += [Step(Op.MUL, (1, 5)), Step(Op.AND, (0, 6)), Step(Op.SELECT, (7, 3, 4))]
    tables = [np.random.default_rng(seed).integers(0, 1 << 32, 256, dtype=np.uint32).tobytes() for seed in (0, 1)]
    shape = PlanShape(tuple(steps), (X,), ("one bit",), ("a", "b"), Storage.UINT32, (8,))
    plan, x = CodecPlan(shape, (0x100,), tuple(tables)), random_bits(3000)
    assert "v6" not in printed(plan)
    assert_bit_exact(TorchKernel(plan)(x.view(np.float32)), interpret(plan, [x]))


EVEN: dict[str, tuple[list[float], Affine | None]] = {
    "whole numbers": ([0, 1, 2, 3], Affine(0, 1.0, 0.0, 0x4040_0000)),
    "an offset": ([-8, -7.5, -7], Affine(0, 0.5, -8.0, 0x4100_0000)),
    "downwards": ([3, 2, 1], Affine(0, -1.0, 3.0, 0x4040_0000)),
    "two's complement": ([0, 1, 2, 3, -4, -3, -2, -1], Affine(4, 1.0, -4.0, 0x4080_0000)),
    "its one bit": ([0, -1], Affine(1, 1.0, -1.0, 0x3F80_0000)),  # 0 * -1 would be -0
    "subnormals": ([0, 1e-45, 2.8e-45], Affine(0, float(np.float32(1e-45)), 0.0, 2)),
    "uneven": ([0, 1, 3], None),
    "rounded": ([0, 0.1, 0.2, 0.3], None),
    "-0": ([-0.0, 1, 2], None),
    "Inf": ([0, 1, np.inf], None),
    "a step beyond the largest": ([-3e38, 3e38], None),
    "one": ([1], None),
}


@pytest.mark.parametrize("case", EVEN)
def test_tables_of_evenly_spaced_numbers_are_computed(case: str) -> None:
    values, affine = EVEN[case]
    table, limit = np.array(values, np.float32), len(values) - 1
    assert Affine.of(table.tobytes(), limit) == affine
    steps = Step(Op.INPUT), Step(Op.CONST, (), limit), Step(Op.MIN, (0, 1)), Step(Op.TABLE, (2,))
    plan = CodecPlan(PlanShape(steps, (X,), (), ("values",), Storage.FLOAT32, (3,)), (), (table.tobytes(),))
    assert ("look_up" in printed(plan)) == (affine is None and limit > 0)  # one number needs no table
    index = np.arange(len(values), dtype=np.uint32)
    assert_bit_exact(TorchKernel(plan)(index.view(np.float32)), table)


def test_a_table_that_is_read_at_one_place_is_a_constant() -> None:
    steps = Step(Op.INPUT), Step(Op.CONST, (), 1), Step(Op.TABLE, (1,)), Step(Op.ADD, (0, 2))
    table = np.array([7, 9], np.uint32).tobytes()
    plan = CodecPlan(PlanShape(steps, (X,), (), ("words",), Storage.UINT32, (3,)), (), (table,))
    assert_bit_exact(TorchKernel(plan)(np.zeros(3, np.float32)), np.full(3, 9, np.uint32))


@pytest.mark.parametrize("storage", [storage for storage in Storage if storage.bits <= 32])
def test_words_of_every_width_are_read_and_written(storage: Storage) -> None:
    widened = PlanShape((Step(Op.INPUT),), (Stream("x", storage),), (), (), Storage.UINT32, (0,))
    cut = PlanShape((Step(Op.INPUT),), (Stream("x", Storage.UINT32),), (), (), storage, (0,))
    x = np.arange(1 << 16, dtype=np.uint32) * np.uint32(0x0101_0101)
    kept = x & np.uint32((1 << storage.bits) - 1)
    assert_bit_exact(TorchKernel(CodecPlan(widened))(array_of(kept, storage)), kept)
    if storage not in (Storage.FLOAT16, Storage.BFLOAT16):  # of which no plan is a result
        assert_bit_exact(TorchKernel(CodecPlan(cut))(x), array_of(kept, storage))


@pytest.mark.parametrize("result", [Storage.UINT64, Storage.FLOAT64])
def test_wide_words_are_read_and_written_in_halves(result: Storage) -> None:
    x = np.arange(1, 1001, dtype=np.uint64) * np.uint64(0x0123_4567_89AB_CDEF)
    builder = Builder()
    high, low = builder.input_pair("x", Storage.UINT64)
    kernel = TorchKernel(builder.finish((high, low), result))
    assert_bit_exact(kernel(x), array_of(x << np.uint64(32) | x >> np.uint64(32), result))
