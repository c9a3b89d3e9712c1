"""The types of formats: number formats and block formats."""

from __future__ import annotations

from typing import TypeAlias

from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.number import NumberFormat

Format: TypeAlias = NumberFormat | BlockFormat
