"""Built-in instructions beside the exact oracle, whichever backend computes."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from mma_cases import assert_same, bits_of, distinct, drawn, exact, families_of, loaded, random_codes

import statqat_sim as sqs
from statqat_sim.matmul import Accelerator
from statqat_sim.spec.accelerator import Instruction, OperandFormat
from statqat_sim.spec.accelerator_dot import Sum

CASES = [
    (name, instruction.name, a.name, b.name)
    for name in sqs.accelerators()
    for instruction in loaded(name).instructions.values()
    if not instruction.recipe
    for a, b in zip(instruction.a, instruction.b * len(instruction.a), strict=False)
]
"""Device, instruction, format of A, format of B."""

DISTINCT = distinct(CASES)


def chosen(case: tuple[str, ...]) -> tuple[Accelerator, Instruction, tuple[OperandFormat, OperandFormat]]:
    """What a case names."""
    accelerator = loaded(case[0])
    instruction = accelerator.instructions[case[1]]
    operands = zip((instruction.a, instruction.b), case[2:], strict=True)
    a, b = (next(each for each in formats if each.name == name) for formats, name in operands)
    return accelerator, instruction, (a, b)


def arguments(case: tuple[str, ...], family: str, shape: tuple[int, int]) -> dict[str, Any]:
    """Of `Accelerator.matmul`, for D of this shape: codes, and two steps of which the last is not full."""
    rng = np.random.default_rng(zlib.crc32(f"{case} {family}".encode()))
    _, instruction, formats = chosen(case)
    (rows, columns), length = shape, (instruction.k or 7) * 2 - 1
    a, b, c = drawn(family, rng, (rows, length, columns), (*formats, instruction.c))
    given = {"a": a, "b": b, "c": c, "instruction": instruction.name}
    given |= {"a_format": formats[0].name, "b_format": formats[1].name}
    if instruction.scale is None:
        return given
    blocks = -(-length // instruction.scale.block)
    scales = [random_codes(rng, instruction.scale.format, each) for each in ((rows, blocks), (blocks, columns))]
    scales = scales if family == "bits" else [each % 96 + 24 for each in scales]
    return given | {"a_scale": scales[0], "b_scale": scales[1]}


def compare(case: tuple[str, ...], family: str, size: int) -> None:
    """Kernel and oracle on `size` rows and columns."""
    accelerator, instruction, formats = chosen(case)
    given = arguments(case, family, (size, size))
    scales = [given[name] for name in ("a_scale", "b_scale") if name in given]
    d = accelerator.matmul(**given)
    expected = exact(instruction, given["a"], given["b"], given["c"], formats, *scales)
    assert_same(bits_of(d), expected, f"{instruction}, {family}")


def families(case: tuple[str, ...], many: int) -> list[str]:
    """Some families that a case can have."""
    dot = chosen(case)[1].dot
    return ["bits"] if dot is not None and dot.sum is Sum.INTEGER else families_of(case, many)
