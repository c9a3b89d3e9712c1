"""Chains of the processor's float64 fused multiply-adds. This text is compiled as a generated module: see `mma`."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from statqat_sim.backends.numba_cpu.decorators import kernel
from statqat_sim.backends.numba_cpu.float_mode import restore_mode, set_default_mode
from statqat_sim.backends.numba_cpu.mma_numbers import LANES, LAST, NO_C, Span, Steps


@intrinsic
def fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, rounded once."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(a, b, c), generate


@kernel()
def run(a: Any, b: Any, c: Any, places: Any, plan: Steps, span: Span) -> Any:
    """Replace C by D, for the panels and rows of `span`.

    a: values `(rows, K)`; b: `(panels, K, LANES)`; c: `(panels, rows, LANES)`. places: the order of a step's products.
    """
    (av,), (bv,) = a, b
    parts, comes_last, ignores_c = plan.parts, plan.enter == LAST, plan.enter == NO_C
    lanes = np.empty((parts, LANES))
    mode = set_default_mode()
    for p in range(span.first_panel, span.end_panel):
        for i in range(span.first_row, span.end_row):
            row = c[p, i]
            for k0 in range(0, av.shape[1], places.size):
                lanes[:] = 0.0
                if not comes_last and not ignores_c:
                    lanes[0] = row
                for at in range(places.size):
                    x, panel, lane = av[i, k0 + places[at]], bv[p, k0 + places[at]], lanes[at % parts]
                    for j in range(LANES):
                        lane[j] = fused(x, panel[j], lane[j])  # type: ignore[call-arg]  # the typing context is numba's
                for g in range(1, parts):
                    for j in range(LANES):
                        lanes[0, j] = lanes[0, j] + lanes[g, j]
                for j in range(LANES):
                    row[j] = row[j] + lanes[0, j] if comes_last else lanes[0, j]
    restore_mode(mode)
