"""Keys of an instruction that nothing would consult: what its sum, or its formats, make superfluous."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from statqat_sim.spec.accelerator import Float64, Instruction
from statqat_sim.spec.accelerator_dot import Dot, Flush, Order, Special, Sum
from statqat_sim.spec.base import KeyProblem

OF_INTEGERS: Final = frozenset({"overflow"})
OF_FLOAT64: Final = frozenset({"nan"})
"""The keys of `special` that have a meaning there."""


def idle_problems(instruction: Instruction, dot: Dot) -> Iterator[KeyProblem]:
    """The key and message of each."""
    special, is_integer = instruction.special, dot.sum is Sum.INTEGER
    if is_integer:
        if instruction.model_fields_set & {"mode", "to"}:
            yield "round", "integers are summed exactly, and nothing is rounded; allowed: no 'round'"
        yield from _of_special(special, OF_INTEGERS, "integers have no NaN, no -0 and no subnormals")
    elif isinstance(instruction.d, Float64):
        yield from _of_special(special, OF_FLOAT64, "float64 is computed as in IEEE 754")
    if "flushed" in special.model_fields_set and special.flush not in (Flush.INPUTS, Flush.BOTH):
        yield "special.flushed", "it is for inputs that 'flush' makes zeros; allowed: beside 'flush: inputs' or 'both'"
    if dot.order is not Order.ASCENDING and dot.sum not in (Sum.CHAIN, Sum.PAIRWISE):
        yield "dot.order", f"'sum: {dot.sum}' has no order; allowed: beside 'sum: chain' or 'pairwise'"
    step = instruction.step
    if step is not None and dot.split > step:
        yield "dot.split", f"{dot.split} parts of a step of {step} leave some without a product; allowed: up to {step}"


def _of_special(special: Special, allowed: frozenset[str], told: str) -> Iterator[KeyProblem]:
    for key in sorted(special.model_fields_set - allowed):
        yield f"special.{key}", f"{told}; allowed: {', '.join(allowed)}"
