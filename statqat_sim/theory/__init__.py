"""The exact error of a format under a distribution, and the scale that minimizes it."""

from __future__ import annotations

from statqat_sim.theory.blocks import ExpectedBlockError
from statqat_sim.theory.cells import Cells, cells, nearest
from statqat_sim.theory.errors import ExpectedError, expected_error

__all__ = ["Cells", "ExpectedBlockError", "ExpectedError", "cells", "expected_error", "nearest"]
