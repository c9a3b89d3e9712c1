"""Launches of printed kernels: values by name, in the order and of the width that a kernel declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from statqat_sim.backends.cupy_gpu.block_text import Printed, param_name, table_name
from statqat_sim.backends.cupy_gpu.kernel_text import THREADS
from statqat_sim.backends.cupy_gpu.launcher import Argument, Launcher
from statqat_sim.plan.program import CodecPlan

MOST_BLOCKS: Final = 1 << 20
"""The most blocks of a launch; with more work, each thread takes several units."""


@dataclass(frozen=True, slots=True)
class Device:
    """A launcher, and an array on the device and of the library that is computed on."""

    launcher: Launcher
    like: Any

    def launch(self, printed: Printed, threads: int, values: Mapping[str, Any]) -> None:
        """Run a kernel on at least this many threads; 0 launches nothing."""
        if threads == 0:
            return
        arguments = [self._argument(kind, values[name]) for name, kind in printed.takes]
        blocks = min(-(-threads // THREADS), MOST_BLOCKS)
        self.launcher.load(printed.text)(blocks, THREADS, arguments, self.like)

    def _argument(self, kind: type[Argument] | None, value: Any) -> Argument:
        if isinstance(value, (np.uint32, np.uint64)):
            return value
        return self.launcher.pointer(value) if kind is None else kind(value)

    def numbers(self, plans: Iterable[CodecPlan]) -> dict[str, Any]:
        """Parameters, and addresses of tables, of a kernel's plans."""
        values: dict[str, Any] = {}
        for place, plan in enumerate(plans):
            values |= _parameters(plan, place)
            for index, table in enumerate(plan.tables):
                values[table_name(place, index)] = self.launcher.constant(table, self.like)
        return values

    def candidates(self, plans: tuple[CodecPlan, ...]) -> dict[str, Any]:
        """The parameters of plans that a kernel tries in turn."""
        words = np.array([plan.params for plan in plans], "<u4").tobytes()
        return {"candidates": len(plans), "choices": self.launcher.constant(words or bytes(4), self.like)}

    def words(self, count: int) -> Any:
        """An uninitialized array of at least one 32-bit word."""
        return self.launcher.words(max(count, 1), self.like)

    def doubles(self, count: int) -> Any:
        return self.words(2 * count)

    def zeros(self, count: int) -> Any:
        return self.launcher.zeros(max(count, 1), self.like)


@lru_cache(maxsize=1024)
def _parameters(plan: CodecPlan, place: int) -> dict[str, np.uint32]:
    """A plan's parameters by argument name; shared, so never modified."""
    return {param_name(place, index): np.uint32(word) for index, word in enumerate(plan.params)}
