"""Formats in other languages: the same plans, printed for test benches, firmware and circuits."""

from __future__ import annotations

from statqat_sim.export.c import to_c
from statqat_sim.export.systemverilog import to_systemverilog

__all__ = ["to_c", "to_systemverilog"]
