"""Prints the kernels of matrix instructions: each thread computes one element of D, adjacent threads adjacent columns.

A kernel depends on a plan's form only; the plan's numbers are arguments, gathered in structs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

import numpy as np

from statqat_sim.backends.cupy_gpu.block_text import Printed, Signature
from statqat_sim.backends.cupy_gpu.bodies import block
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS
from statqat_sim.backends.cupy_gpu.launcher import Argument
from statqat_sim.backends.cupy_gpu.mma_exact_text import EXACT
from statqat_sim.backends.cupy_gpu.mma_lanes_text import ALIGNED, GROUPS, LOW, OPERANDS
from statqat_sim.backends.cupy_gpu.mma_rounding_text import ROUNDING
from statqat_sim.backends.cupy_gpu.mma_steps_text import FUSED, INTEGERS, STEPS
from statqat_sim.plan.mma import CUTS, MmaPlan, Unit
from statqat_sim.plan.step import WORD

COLUMNS: Final = 32
"""Columns of D that a warp computes; its lanes read consecutive words of B."""

ROWS: Final = THREADS // COLUMNS
"""Rows of D that a block computes."""


class Struct(NamedTuple):
    """A C struct of related numbers: `kind` is its type, `name` the variable."""

    kind: str
    name: str
    fields: Mapping[str, str]
    """C types by field name: int, u32, double or u64."""

    @property
    def definition(self) -> str:
        return f"struct {self.kind} {{ {' '.join(f'{type} {field};' for field, type in self.fields.items())} }};"

    def declared(self, signature: Signature) -> str:
        """Declare the fields as kernel arguments; returns the statement that builds the struct from them."""
        values = []
        for field, type in self.fields.items():
            name = signature.number(f"{self.name}_{field}", "u64" if type in ("double", "u64") else "u32")
            values.append(f"of_bits({name})" if type == "double" else f"({type}){name}")
        return f"const {self.kind} {self.name} = {{{', '.join(values)}}};"

    def arguments(self, numbers: Mapping[str, float]) -> dict[str, Argument]:
        """The values of the fields, by argument name."""
        return {f"{self.name}_{field}": _argument(numbers[field], type) for field, type in self.fields.items()}


def _argument(number: float, type: str) -> Argument:
    if type == "double":
        return np.float64(number).view(np.uint64)
    return np.uint64(number) if type == "u64" else np.uint32(int(number) & WORD)


def _ints(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "int")


RESULT: Final = Struct(
    "Result",
    "to",
    _ints("mode", "mantissa_bits", "emin", "saturates", "is_positive", "keeps_zeros")
    | dict.fromkeys(("largest", "least"), "double"),
)
START: Final = Struct(
    "Start",
    "start",
    _ints("emin", "later_emin", "is_positive") | dict.fromkeys(("least", "later_least"), "double"),
)
"""How C is read, in the first step and in later ones: exponent of subnormals, least value not flushed; which zero."""

LEFT, RIGHT = (Struct("Factor", name, _ints("emin", "least", "is_positive")) for name in ("of_a", "of_b"))
"""How A and B are read; `least` is the bits of a float32."""

_ALIGNED: Final = Struct(
    "Aligned",
    "plan",
    _ints("enter", "fraction", "zero", "dot_bits", "c_bits", "kept_bits", "reach", "join_mode")
    | {"parts": "u32", "limit": "double"},
)
_GROUPED: Final = Struct("Grouped", "plan", _ints("fraction", "zero", "scale_emin") | {"group": "u32"})
_STEPS: Final = Struct("Steps", "plan", _ints("enter", "is_pairwise") | {"parts": "u32", "places": "u64"})
_EXACT: Final = Struct("Exact", "plan", _ints("enter", "is_aligned", "fraction", "mode", "per_sum", "zero"))
_INTEGERS: Final = Struct("Integers", "plan", _ints("enter", "low", "high"))

PLANS: Final = {
    Unit.NARROW: _ALIGNED,
    Unit.BROAD: _ALIGNED,
    Unit.GROUPS: _GROUPED,
    Unit.STEPS: _STEPS,
    Unit.FUSED: _STEPS,
    Unit.EXACT: _EXACT,
    Unit.INTEGER: _INTEGERS,
}
_FUNCTIONS: Final = {
    Unit.NARROW: OPERANDS + LOW + ALIGNED,
    Unit.BROAD: OPERANDS + LOW + ALIGNED,
    Unit.GROUPS: OPERANDS + LOW + GROUPS,
    Unit.STEPS: OPERANDS + STEPS,
    Unit.FUSED: FUSED,
    Unit.EXACT: OPERANDS + EXACT,
    Unit.INTEGER: INTEGERS,
}
_CUTS: Final = ("trunc", "rint", "ceil", "floor")
"""The C function that rounds a term to an integer, indexed by rounding mode."""

_SIDE: Final = """
/* Elements of one row of A or column of B, and what scales their blocks. */
struct Side {
    const Word *words;
    u64 stride;
    const u32 *scales;
    u64 scale_stride, block;
    Factor factor;
};
"""


class MmaForm(NamedTuple):
    """What a kernel is compiled for: everything but a plan's numbers."""

    unit: Unit
    cut: int
    """The rounding mode of terms, if the kernel rounds them by one instruction."""
    is_scaled: bool

    @classmethod
    def of(cls, plan: MmaPlan) -> MmaForm:
        cuts = plan.alignment is not None and plan.unit in (Unit.BROAD, Unit.GROUPS)
        return cls(plan.unit, plan.alignment.mode if plan.alignment and cuts else 0, plan.block is not None)

    @classmethod
    def every(cls) -> list[MmaForm]:
        """Every form that a plan can have."""
        modes = range(len(CUTS))
        with_cuts = [cls(Unit.BROAD, mode, scaled) for mode in modes for scaled in (False, True)]
        with_cuts += [cls(Unit.GROUPS, mode, True) for mode in modes]
        return with_cuts + [cls(unit, 0, False) for unit in Unit if unit not in (Unit.BROAD, Unit.GROUPS)]


@cache
def mma_kernel(form: MmaForm) -> Printed:
    """The kernel of all plans of this form; it computes D in tiles."""
    signature = Signature()
    word = "u64" if form.unit is Unit.FUSED else "u32"
    for name in ("a", "b", "c"):
        signature.source(name, word)
    signature.target("d", word)
    for name in ("a_scale", "b_scale"):
        signature.source(name, "u32")
    for name in ("rows", "columns", "size", "step", "block", "blocks", "tiles", "across"):
        signature.number(name)
    structs = [LEFT, RIGHT, START, PLANS[form.unit], RESULT]
    lines = [struct.declared(signature) for struct in structs]
    body = [*lines, *block("for (u64 tile = blockIdx.x; tile < tiles; tile += gridDim.x)", _element(form.unit))]
    return signature.printed(f"mma_{form.unit}", body, functions=_functions(form, word))


def _element(unit: Unit) -> list[str]:
    """Statements that compute a thread's element of a tile of D."""
    values = {Unit.FUSED: ("double", "of_bits", "bits_of"), Unit.INTEGER: ("long long", "(int)", "(u32)")}
    value, read, write = values.get(unit, ("double", "single_of", "word_of"))
    return [
        "const u64 down = quotient(tile, across);",
        f"const u64 row = down * {ROWS} + threadIdx.x / {COLUMNS};",
        f"const u64 column = (tile - down * across) * {COLUMNS} + threadIdx.x % {COLUMNS};",
        "if (row >= rows || column >= columns) continue;",
        "const Side left = {a + row * size, 1, a_scale + row * blocks, 1, block, of_a};",
        "const Side right = {b + column, columns, b_scale + column, columns, block, of_b};",
        f"{value} x = {read}(c[row * columns + column]);",
        "for (u64 first = 0; first < size; first += step) x = next(left, right, first, step, x, start, plan, to);",
        f"d[row * columns + column] = {write}(x);",
    ]


def _functions(form: MmaForm, word: str) -> str:
    """The structs, and the functions that kernels of this form call."""
    structs = dict.fromkeys(struct.definition for struct in (LEFT, START, PLANS[form.unit], RESULT))
    functions = _FUNCTIONS[form.unit].replace("CUT(", f"{_CUTS[form.cut]}(")
    for name, holds in (("IS_NARROW", form.unit is Unit.NARROW), ("IS_SCALED", form.is_scaled)):
        functions = functions.replace(name, str(holds).lower())
    return "\n".join([f"typedef {word} Word;", *structs, _SIDE, ROUNDING, functions])
