"""Prints how consecutive elements draw their random fields."""

from __future__ import annotations

from statqat_sim.backends.cupy_gpu.bodies import unrolled
from statqat_sim.backends.cupy_gpu.steps import statements
from statqat_sim.plan.philox import BLOCK_BITS, philox


def drawn(bits: int, most: int, left: str) -> list[str]:
    """Fill `drawn` with the dense fields of `left` elements (in C), at most so many, from `place` of `row` on.

    Where the first begins inside of a block of fields, they lie in one more.
    """
    fields = BLOCK_BITS // bits
    blocks = (most + fields - 2) // fields + 1
    return [
        f"const u64 index = offset + row * length + place, block = index / {fields};",
        f"const u32 skipped = (u32)(index % {fields});",
        f"u32 drawn[{4 * blocks}] = {{0}};",
        *unrolled("b", blocks, [f"if (b * {fields} >= skipped + {left}) break;", *_block()]),
        f"if (skipped) drop_bits(drawn, skipped * {bits});",
    ]


def _block() -> list[str]:
    """The four words of block `b`."""
    counter = ("(u32)(block + b)", "(u32)(block + b >> 32)"), ("(u32)seed", "(u32)(seed >> 32)")
    lines, outputs = statements(philox().shape, counter, "r", (), ())
    return [*lines, *(f"drawn[4 * b + {index}] = {output};" for index, output in enumerate(outputs))]
