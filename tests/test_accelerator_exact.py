"""Every built-in instruction, and random ones, against the exact oracle."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from mma_cases import Array, bits_of, distinct, drawn, exact, families_of, random_codes

import statqat_sim as sqs
from statqat_sim.spec.accelerator_dot import Sum

CASES = [
    (name, instruction.name, a.name, b.name)
    for name in sqs.accelerators()
    for instruction in sqs.load_accelerator(name).instructions.values()
    if not instruction.recipe
    for a, b in zip(instruction.a, instruction.b * len(instruction.a), strict=False)
]
SIZE = 3


def compare(case: tuple[str, ...], family: str, size: int) -> None:
    """Kernel and oracle on `size` rows and columns, and two steps of which the last is not full."""
    accelerator, rng = sqs.load_accelerator(case[0]), np.random.default_rng(zlib.crc32(f"{case} {family}".encode()))
    instruction = accelerator.instructions[case[1]]
    operands = zip((instruction.a, instruction.b), case[2:], strict=True)
    a_format, b_format = (next(each for each in formats if each.name == name) for formats, name in operands)
    length = (instruction.k or 7) * 2 - 1
    a, b, c = drawn(family, rng, (size, length, size), (a_format, b_format, instruction.c))
    scales = []
    if instruction.scale:
        blocks = -(-length // instruction.scale.block)
        scales = [random_codes(rng, instruction.scale.format, shape) for shape in ((size, blocks), (blocks, size))]
        scales = scales if family == "bits" else [each % 96 + 24 for each in scales]
    given = dict(zip(("a_scale", "b_scale"), scales, strict=False))
    names = {"a_format": a_format.name, "b_format": b_format.name}
    d = accelerator.matmul(a, b, c, instruction=instruction.name, **names, **given)
    expected = exact(instruction, a, b, c, (a_format, b_format), *scales)
    assert_same(bits_of(d), expected, f"{instruction}, {family}")


def assert_same(actual: Array, expected: Array, what: str) -> None:
    wrong = np.argwhere(actual != expected)
    first = tuple(wrong[0]) if len(wrong) else ()
    told = f"{what}: {len(wrong)} of {actual.size} differ, at {first}"
    assert not len(wrong), f"{told}: {int(actual[first]):#x}, expected {int(expected[first]):#x}"


def families(case: tuple[str, ...], many: int) -> list[str]:
    dot = sqs.load_accelerator(case[0]).instructions[case[1]].dot
    return ["bits"] if dot is not None and dot.sum is Sum.INTEGER else families_of(case, many)


@pytest.mark.parametrize("case", distinct(CASES), ids="-".join)
def test_an_instruction_is_what_the_oracle_says(case: tuple[str, ...]) -> None:
    for family in families(case, 2):
        compare(case, family, SIZE)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_many_results_are_what_the_oracle_says(case: tuple[str, ...]) -> None:
    for family in families(case, 8):
        compare(case, family, 8)
