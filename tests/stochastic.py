"""Formats that round stochastically, and plans that give their random bits."""

from __future__ import annotations

from statqat_sim.plan.builder import Builder
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.number import NumberFormat


def drawn(format: str, mode: str = "stochastic_a", random_bits: int = 16) -> NumberFormat:
    """A format of the catalog, or an element, rounded stochastically."""
    policy = f"encode: {{rounding: {mode}, random_bits: {random_bits}}}\n"
    if format.startswith("{"):
        return parse_format(f"name: drawn\nelement: {format}\n{policy}")
    return parse_format(f"name: drawn\nextends: {format}\n{policy}")


def fields_themselves(width: int) -> CodecPlan:
    """A plan whose results are the elements' random fields."""
    builder = Builder()
    builder.input("x", Storage.UINT8)
    return builder.finish(builder.input("random", Storage(f"uint{width}")), Storage(f"uint{width}"))
