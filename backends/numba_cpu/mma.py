"""Compiled matrix instructions: one source text per way of summing; the numbers of a plan are run-time arguments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import typeof

from statqat_sim.arrays import Array
from statqat_sim.backends.numba_cpu.cache import Generated, digest, kept
from statqat_sim.backends.numba_cpu.mma_numbers import LANES, NOTHING, Span, numbers
from statqat_sim.backends.numba_cpu.mma_panels import Operand, columns, flushed, masks, operand, panels, special, zeros
from statqat_sim.backends.numba_cpu.threads import run_in_pieces
from statqat_sim.plan.mma import FLOAT32_BITS, MmaPlan, Unit

LONGEST: Final = 1 << 13
"""The largest K computed at once; plans with steps split a longer K into slabs."""

_HERE = Path(__file__).parent
_TEXTS: Final = {
    Unit.NARROW: "mma_lanes_loops.py",
    Unit.BROAD: "mma_lanes_loops.py",
    Unit.GROUPS: "mma_groups_loops.py",
    Unit.STEPS: "mma_steps_loops.py",
    Unit.EXACT: "mma_exact_loops.py",
    Unit.INTEGER: "mma_integer_loops.py",
    Unit.FUSED: "mma_fused_loops.py",
}
_SHARED: Final = ("decorators.py", "float_mode.py", "mma_numbers.py", "mma_rounding_loops.py")
"""Texts that other texts import."""

_NUMBERS: Final = "FLOAT, INTEGER, LARGEST_UNIT = np.float64, np.float64, 1000"
_NARROW: Final = "FLOAT, INTEGER, LARGEST_UNIT = np.float32, np.int32, 127"
_SINGLE: Final = "FLOAT = np.float32\n"
_CUTS: Final = ("np.trunc(x)", "np.rint(x)", "np.ceil(x)", "np.floor(x)")
"""How a term is rounded to an integer, indexed by rounding mode."""

_CUT_PRODUCT: Final = f"return {_CUTS[0]}  # of a product"
_NARROW_CUT: Final = "return np.int32(x)"
"""Conversion to int32 truncates."""


class NumbaMma:
    """See `runtime.MmaKernel`."""

    def __init__(self, plan: MmaPlan) -> None:
        self.plan, self._numbers = plan, numbers(plan)

    def __call__(self, a: Array, b: Array, c: Array, *, a_scale: Any = None, b_scale: Any = None) -> Array:
        """See `runtime.MmaKernel`."""
        plan, (rows, size), count = self.plan, a.shape, b.shape[1]
        if not rows or not count or not size:
            return c.copy()
        if plan.step is not None and size > max(LONGEST, plan.step * (plan.block or 1)):
            return self._in_slabs(a, b, c, a_scale, b_scale)
        lanes = 1 if plan.unit is Unit.EXACT else LANES
        wide = panels(c.astype(np.int64 if plan.unit is Unit.INTEGER else np.float64), lanes=lanes)
        run = {
            Unit.NARROW: self._lanes,
            Unit.BROAD: self._lanes,
            Unit.GROUPS: self._groups,
            Unit.STEPS: self._steps,
            Unit.FUSED: self._steps,
            Unit.EXACT: self._exact,
            Unit.INTEGER: self._integers,
        }[plan.unit]
        with np.errstate(over="ignore"):
            run(a, b, wide, a_scale, b_scale)
            return np.ascontiguousarray(columns(wide, count).astype(c.dtype))

    def _in_slabs(self, a: Array, b: Array, c: Array, a_scale: Any, b_scale: Any) -> Array:
        """Compute slabs of K in whole steps and blocks, D of one as C of the next: panels of B take less memory."""
        plan, block = self.plan, self.plan.block or 1
        assert plan.step is not None
        unit = plan.step * block
        every = max(LONGEST // unit, 1) * unit
        later = NumbaMma(replace(plan, c=replace(plan.c, emin=plan.emin, least=plan.later_least)))
        for first in range(0, a.shape[1], every):
            places, blocks = slice(first, first + every), slice(first // block, (first + every) // block)
            scales = {} if a_scale is None else {"a_scale": a_scale[:, blocks], "b_scale": b_scale[blocks]}
            kernel = later if first else self
            c = kernel(np.ascontiguousarray(a[:, places]), b[places], c, **scales)
        return c

    def _spread(self, a: tuple[Array, ...], b: tuple[Array, ...], c: Array, *places: Array) -> None:
        """Run on all threads, split by rows of A, or by panels of B if there are more of these."""
        many, rows = c.shape[:2]
        work = a[0].shape[1] * c.shape[2]
        rest = *places, *self._numbers
        run = _compiled(self.plan, (a, b, c), (*rest, Span(0, many, 0, rows)))

        def by_rows(first: int, last: int) -> None:
            run(a, b, c, *rest, Span(0, many, first, last))

        def by_panels(first: int, last: int) -> None:
            run(a, b, c, *rest, Span(first, last, 0, rows))

        if rows >= many:
            run_in_pieces(rows, work * many, by_rows)
        else:
            run_in_pieces(many, work * rows, by_panels)

    # --- each way of summing ---------------------------------------------------------------------------------------

    def _operands(self, a: Array, b: Array, a_scale: Any, b_scale: Any) -> tuple[Operand, Operand]:
        """Both operands with their exponents; block scales are repeated to one per element."""
        block = self.plan.block
        if block is None:
            return operand(a, self.plan.a), operand(b, self.plan.b)
        a_spread = np.repeat(a_scale, block, axis=1)[:, : a.shape[1]]
        b_spread = np.repeat(b_scale, block, axis=0)[: b.shape[0]]
        return operand(a, self.plan.a, a_spread), operand(b, self.plan.b, b_spread)

    def _lanes(self, a: Array, b: Array, c: Array, a_scale: Any, b_scale: Any) -> None:
        plan = self.plan
        assert plan.step is not None
        left, right = self._operands(a, b, a_scale, b_scale)
        kind = np.float32 if plan.unit is Unit.NARROW else np.float64
        x, y = left.values.astype(kind), panels(right.values.astype(kind))
        y_exponents = panels(right.exponents, NOTHING)
        sides = (
            (x, left.exponents, zeros(left.exponents, plan.step, plan.parts), special(x, plan.step)),
            (y, y_exponents, zeros(y_exponents, plan.step, plan.parts), special(y, plan.step)),
        )
        self._spread(*sides, c)

    def _groups(self, a: Array, b: Array, c: Array, a_scale: Any, b_scale: Any) -> None:
        plan = self.plan
        assert plan.block is not None
        each, groups = plan.block // plan.group, a.shape[1] // plan.group
        a_scale, b_scale = np.repeat(a_scale, each, axis=1)[:, :groups], np.repeat(b_scale, each, axis=0)[:groups]
        left = self._grouped(flushed(a, plan.a), a_scale)
        *of_b, is_special = self._grouped(np.ascontiguousarray(flushed(b, plan.b).T), np.ascontiguousarray(b_scale.T))
        right = [panels(np.moveaxis(each, 0, -1).reshape(-1, each.shape[0])) for each in of_b]
        right[1] = right[1].reshape(len(right[1]), groups, -1, LANES)
        any_special: Array = np.any(panels(is_special.T), axis=2)
        self._spread(left, (*right, any_special), c)

    def _grouped(self, values: Array, scales: Array) -> tuple[Array, ...]:
        """(values, masks of nonzero values, scale significands, scale exponents, whether each step has Inf or NaN)."""
        plan, step = self.plan, self.plan.step
        assert step is not None
        kind = np.float64 if plan.group_bits > FLOAT32_BITS else np.float32
        significands, exponents = _significands(scales, plan.scale_emin)
        found = masks(values != 0, plan.group)
        found[significands == 0] = 0
        is_special = special(values, step) | special(scales, step // plan.group)
        return np.ascontiguousarray(values.astype(kind, copy=False)), found, significands, exponents, is_special

    def _steps(self, a: Array, b: Array, c: Array, a_scale: Any, b_scale: Any) -> None:
        plan = self.plan
        places = np.arange(plan.step or a.shape[1]) if plan.places is None else np.array(plan.places)
        if plan.unit is Unit.FUSED:
            self._spread((a,), (panels(b),), c, places.astype(np.int64))
            return
        x, y = (side.values.astype(np.float64) for side in self._operands(a, b, None, None))
        self._spread((x,), (panels(y),), c, places.astype(np.int64))

    def _exact(self, a: Array, b: Array, c: Array, a_scale: Any, b_scale: Any) -> None:
        left, right = self._operands(a, b, None, None)
        y, y_exponents = (np.ascontiguousarray(each.T)[:, None] for each in (right.values, right.exponents))
        sides = (left.values.astype(np.float64), left.exponents), (y.astype(np.float64), y_exponents)
        self._spread(*sides, c)

    def _integers(self, a: Array, b: Array, c: Array, a_scale: Any, b_scale: Any) -> None:
        self._spread((a.astype(np.int32),), (panels(b.astype(np.int32)),), c)


def _significands(scales: Array, emin: int) -> tuple[Array, Array]:
    """Split scales into float32 significands below 2 and int64 exponents."""
    exponents = np.maximum((scales.view(np.int32) >> 23 & 255) - 127, emin)
    with np.errstate(invalid="ignore"):
        significands = np.ldexp(scales.astype(np.float64), -exponents).astype(np.float32)
    return significands, exponents.astype(np.int64)


def _text(unit: Unit, cut: int, *, is_wide: bool) -> str:
    """The source text of a unit.

    Args:
        unit: the way of summing.
        cut: the rounding mode of terms, an index of `_CUTS`.
        is_wide: whether sums of groups need float64.
    """
    text = (_HERE / _TEXTS[unit]).read_text("utf-8")
    if unit is Unit.NARROW:
        return text.replace(_NUMBERS, _NARROW).replace(_CUT_PRODUCT, _NARROW_CUT)
    text = text.replace(_SINGLE, _SINGLE.replace("32", "64")) if is_wide else text
    return text.replace(_CUTS[0], _CUTS[cut])


def _compiled(plan: MmaPlan, arrays: tuple[Any, ...], rest: tuple[Any, ...]) -> Any:
    """The compiled loops of a plan's unit for A, B and C of these types; the unit tells the types of the rest."""
    cut = plan.alignment.mode if plan.alignment and plan.unit in (Unit.BROAD, Unit.GROUPS) else 0
    is_wide = plan.group_bits > FLOAT32_BITS
    return kept(
        ("mma", plan.unit, cut, is_wide, *map(_kind, arrays)),
        lambda: _generated(plan.unit, _text(plan.unit, cut, is_wide=is_wide), tuple(map(typeof, (*arrays, *rest)))),
    )


def _kind(argument: Any) -> Any:
    """A key that determines numba's type of an argument, and is cheaper to compute."""
    if isinstance(argument, tuple):
        return tuple(map(_kind, argument))
    flags = argument.flags
    return argument.dtype.char, argument.ndim, flags.c_contiguous, flags.f_contiguous, flags.writeable, flags.aligned


def _generated(unit: Unit, text: str, signature: tuple[Any, ...]) -> Generated:
    """The module of a text, to be compiled for these argument types."""
    shared = [(_HERE / name).read_text("utf-8") for name in _SHARED]
    return Generated(
        f"statqat_sim_mma_{unit}_{digest((text, *shared, signature))}",
        lambda on_disk: text.replace("@kernel()", f"@kernel(signature, cache={on_disk})"),
        {"signature": signature},
    )
