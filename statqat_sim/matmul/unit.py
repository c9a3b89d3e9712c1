"""One instruction, or the recipe that a compiler makes of it, run over all of K."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from statqat_sim.arrays import Array
from statqat_sim.matmul.operands import Side
from statqat_sim.plan.mma import lower_mma
from statqat_sim.runtime import MmaKernel, backend_for, mma_kernel
from statqat_sim.spec.accelerator import Add, Float64, Fused, Instruction, Operand, Start
from statqat_sim.spec.accelerator_dot import Sum
from statqat_sim.spec.accelerator_recipe import recipe_k


@dataclass(frozen=True, slots=True)
class Unit:
    """`known`: the instructions that recipes are made of."""

    instruction: Instruction
    known: Mapping[str, Instruction]

    @property
    def k(self) -> int:
        """How many products one run takes; 1 if any number."""
        return recipe_k(self.instruction, self.known)[0] or 1

    @property
    def zero(self) -> np.dtype[np.generic]:
        """The dtype of values of C and D."""
        dot = self.instruction.dot
        if isinstance(self.instruction.d, Float64):
            return np.dtype(np.float64)
        return np.dtype(np.int32 if dot is not None and dot.sum is Sum.INTEGER else np.float32)

    def run(self, a: Side, b: Side, c: Array) -> Array:
        """D of two matrices; K is filled with zeros."""
        size = a.values.shape[1]
        if size == 0:
            return c
        padding = -size % self.k
        a, b = _padded(a, padding, 1, self.instruction), _padded(b, padding, 0, self.instruction)
        if self.instruction.recipe:
            return self._cooked(a, b, c)
        return _computed(self.instruction, a, b, c)

    def _cooked(self, a: Side, b: Side, c: Array) -> Array:
        """The steps of the recipe, for one instruction's K after the other."""
        for first in range(0, a.values.shape[1], self.k):
            places = np.arange(first, first + self.k)
            so_far = np.zeros_like(c)
            for step in self.instruction.recipe:
                so_far = self._step(step, a, b, c, so_far, places)
            c = so_far
        return c

    def _step(self, step: Fused | Add, a: Side, b: Side, c: Array, so_far: Array, places: Array) -> Array:
        if isinstance(step, Add):
            return added(self.instruction, c, so_far)
        inner = self.known[step.instruction]
        if step.k is not None:
            places = places[np.isin(places % step.k.modulus, step.k.residues)]
        start = {Start.ZERO: np.zeros_like(c), Start.PREVIOUS: so_far, Start.GIVEN: c}[step.c]
        left = Side(np.ascontiguousarray(a.values[:, places]), inner.a[0])
        right = Side(np.ascontiguousarray(b.values[places]), inner.b[0])
        return Unit(inner, self.known).run(left, right, start)


def added(instruction: Instruction, x: Array, y: Array) -> Array:
    """Sums rounded to D, to nearest even; integers wrap."""
    with np.errstate(all="ignore"):
        total = x + y
        if not isinstance(instruction.d, Float64) and instruction.d.name == "float16":
            return total.astype(np.float16).astype(np.float32)  # float32 is wide enough to round twice
    return total


def _padded(side: Side, padding: int, axis: int, instruction: Instruction) -> Side:
    """K filled with zeros, and with scales of 1."""
    if not padding:
        return side
    scale = side.scale
    if scale is not None and instruction.scale is not None:
        count = -(-(side.values.shape[axis] + padding) // instruction.scale.block)
        scale = np.pad(scale, _ends(count - scale.shape[axis], axis), constant_values=1)
    return Side(np.pad(side.values, _ends(padding, axis)), side.format, scale, side.factor)


def _ends(padding: int, axis: int) -> list[tuple[int, int]]:
    return [(0, padding if each == axis else 0) for each in range(2)]


def _computed(instruction: Instruction, a: Side, b: Side, c: Array) -> Array:
    x, y = np.ascontiguousarray(a.values), np.ascontiguousarray(b.values)
    d: Array = _kernel(instruction, a.format, b.format)(x, y, c, a_scale=a.scale, b_scale=b.scale)
    return d


@lru_cache(maxsize=256)
def _kernel(instruction: Instruction, a: Operand, b: Operand) -> MmaKernel:
    return mma_kernel(backend_for(np.empty(0)), lower_mma(instruction, a, b))
