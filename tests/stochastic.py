"""Formats that round stochastically, plans that give their random bits, and what those are known to be."""

from __future__ import annotations

from statqat_sim.plan.builder import Builder
from statqat_sim.plan.program import CodecPlan, Storage
from statqat_sim.spec.catalog import parse_format
from statqat_sim.spec.number import NumberFormat

ONES = 0xFFFF_FFFF
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
"""Of Philox: counter, key, words. Random123, kat_vectors, philox4x32 10."""


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
