"""Sums of integer products that wrap or saturate after each step. This text is compiled as a generated module."""

from typing import Any

import numpy as np
from numba import njit

from statqat_sim.backends.numba_cpu.float_mode import restore_mode, set_default_mode
from statqat_sim.backends.numba_cpu.mma_rounding_loops import W


@njit(nogil=True)
def run(a: Any, b: Any, c: Any, plan: Any, span: Any) -> Any:
    """Replace C by D, for panels `span[0]` to `span[1]` and rows `span[2]` to `span[3]`, ends excluded.

    a: values `(rows, K)`; b: `(panels, K, W)`; c: `(panels, rows, W)`, int64. plan: step, whether C is ignored, the
    smallest and the largest result, whether results saturate.
    """
    mode = set_default_mode()
    (av,), (bv,) = a, b
    step, ignores_c, low, high, clamps = plan[0], plan[1], plan[2], plan[3], plan[4]
    width = high - low + 1
    total = np.empty(W, np.int64)
    for p in range(span[0], span[1]):
        for i in range(span[2], span[3]):
            row = c[p, i]
            for k0 in range(0, av.shape[1], step):
                for j in range(W):
                    total[j] = 0 if ignores_c else row[j]
                for k in range(k0, min(k0 + step, av.shape[1])):
                    x, panel = np.int64(av[i, k]), bv[p, k]
                    for j in range(W):
                        total[j] += x * np.int64(panel[j])
                for j in range(W):
                    row[j] = min(max(total[j], low), high) if clamps else ((total[j] - low) & (width - 1)) + low
    restore_mode(mode)
