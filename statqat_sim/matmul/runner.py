"""One instruction, or the recipe that a compiler expands it to, run over all of K."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from statqat_sim.errors import UnsupportedError
from statqat_sim.matmul.formats import value_dtype
from statqat_sim.matmul.operands import Side
from statqat_sim.matmul.place import Place
from statqat_sim.matmul.sums import added
from statqat_sim.plan.lower_mma import lower_mma
from statqat_sim.runtime import Backend, MmaKernel, mma_kernel
from statqat_sim.spec.accelerator import Add, Fused, Instruction, OperandFormat, Start
from statqat_sim.spec.accelerator_recipe import recipe_k
from statqat_sim.spec.accelerator_rules import most_products


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs one instruction. `known`: the instructions that recipes refer to, by name; `place`: where it runs."""

    instruction: Instruction
    known: Mapping[str, Instruction]
    place: Place

    @property
    def k(self) -> int:
        """The number of products per run of the instruction; 1 if any number is possible."""
        return recipe_k(self.instruction, self.known)[0] or 1

    @property
    def dtype(self) -> str:
        """The dtype of the values of A, B, C and D."""
        return value_dtype(self.instruction)

    def zeros(self, like: Any) -> Any:
        """An accumulator of zeros, in the shape and on the device of `like`."""
        return self.place.filled(tuple(like.shape), self.dtype, like)

    def run(self, a: Side, b: Side, c: Any) -> Any:
        """D = A·B + C of two matrices; K is padded with zeros."""
        size = a.values.shape[1]
        if size == 0:
            return c
        self._check_length(size)
        padding = -size % self.k
        a, b = self._padded(a, padding, 1), self._padded(b, padding, 0)
        if self.instruction.recipe:
            return self._run_recipe(a, b, c)
        kernel = _kernel(self.place.backend, self.instruction, a.format, b.format)
        x, y, c = (self.place.in_order(values) for values in (a.values, b.values, c))
        scales = [None if side.scale is None else self.place.in_order(side.scale) for side in (a, b)]
        return kernel(x, y, c, a_scale=scales[0], b_scale=scales[1])

    def _check_length(self, size: int) -> None:
        """Raises UnsupportedError where an instruction that adds nothing to its products would run several times."""
        most = most_products(self.instruction)
        if most is not None and size > most:
            told = f"{self.instruction}: K is {size}, and it takes {most} products and no C to go on from"
            raise UnsupportedError(f"{told}; allowed: GemmPlan(promote_every={most}), which adds the parts")

    def added(self, x: Any, y: Any) -> Any:
        """The sums x + y, rounded to D's format; see `sums.added`."""
        return added(self.instruction, x, y, self.place)

    def _run_recipe(self, a: Side, b: Side, c: Any) -> Any:
        """D of the recipe's steps, run for each of the instruction's K in turn."""
        for first in range(0, a.values.shape[1], self.k):
            so_far = self.zeros(c)
            for step in self.instruction.recipe:
                so_far = self._step(step, a, b, c, so_far, range(first, first + self.k))
            c = so_far
        return c

    def _step(self, step: Fused | Add, a: Side, b: Side, c: Any, so_far: Any, span: range) -> Any:
        if isinstance(step, Add):
            return self.added(c, so_far)
        inner = Runner(self.known[step.instruction], self.known, self.place)
        places = [span]
        if step.k is not None:
            offsets = sorted((residue - span.start) % step.k.modulus for residue in step.k.residues)
            places = [range(span.start + offset, span.stop, step.k.modulus) for offset in offsets]
        start = {Start.ZERO: self.zeros(c), Start.PREVIOUS: so_far, Start.GIVEN: c}[step.c]
        left = Side(self.place.picked(a.values, places, 1, inner.dtype), inner.instruction.a[0])
        right = Side(self.place.picked(b.values, places, 0, inner.dtype), inner.instruction.b[0])
        return inner.run(left, right, start)

    def _padded(self, side: Side, padding: int, axis: int) -> Side:
        """The side with `padding` more zeros along K, and with scales of 1 for new blocks."""
        scale, place = side.scale, self.place
        if padding and scale is not None and self.instruction.scale is not None:
            count = -(-(side.values.shape[axis] + padding) // self.instruction.scale.block)
            scale = place.padded(scale, count - scale.shape[axis], axis, "float32", 1)
        return Side(place.padded(side.values, padding, axis, self.dtype), side.format, scale, side.factor)


@lru_cache(maxsize=256)
def _kernel(backend: Backend, instruction: Instruction, a: OperandFormat, b: OperandFormat) -> MmaKernel:
    return mma_kernel(backend, lower_mma(instruction, a, b))
