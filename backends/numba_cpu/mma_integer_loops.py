"""Sums of integer products that wrap or saturate after each step. This text is compiled as a generated module."""

from typing import Any

import numpy as np

from statqat_sim.backends.numba_cpu.decorators import kernel
from statqat_sim.backends.numba_cpu.float_mode import restore_mode, set_default_mode
from statqat_sim.backends.numba_cpu.mma_numbers import LANES, NO_C, Integers, Span


@kernel()
def run(a: Any, b: Any, c: Any, plan: Integers, span: Span) -> Any:
    """Replace C by D, for the panels and rows of `span`.

    a: values `(rows, K)`; b: `(panels, K, LANES)`; c: `(panels, rows, LANES)`, int64.
    """
    (av,), (bv,) = a, b
    step, low, high = plan.step or av.shape[1], plan.low, plan.high
    width = high - low + 1
    total = np.empty(LANES, np.int64)
    mode = set_default_mode()
    for p in range(span.first_panel, span.end_panel):
        for i in range(span.first_row, span.end_row):
            row = c[p, i]
            for k0 in range(0, av.shape[1], step):
                for j in range(LANES):
                    total[j] = 0 if plan.enter == NO_C else row[j]
                for k in range(k0, min(k0 + step, av.shape[1])):
                    x, panel = np.int64(av[i, k]), bv[p, k]
                    for j in range(LANES):
                        total[j] += x * np.int64(panel[j])
                for j in range(LANES):
                    row[j] = min(max(total[j], low), high) if plan.saturates else ((total[j] - low) & (width - 1)) + low
    restore_mode(mode)
