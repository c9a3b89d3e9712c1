"""Prints C that draws the random fields of consecutive elements."""

from __future__ import annotations

from statqat_sim.backends.cupy_gpu.bodies import unrolled
from statqat_sim.backends.cupy_gpu.steps import statements
from statqat_sim.plan.philox import BLOCK_BITS, philox


def drawn(bits: int, most: int, left: str) -> list[str]:
    """Fill `drawn` with the dense fields of `left` elements (a C expression, at most `most`) from `place` of `row` on.

    If the first field is not at the start of a Philox block, the fields may reach into one more block.
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
    """Compute the four words of Philox block `b`."""
    counter = ("(u32)(block + b)", "(u32)(block + b >> 32)"), ("(u32)seed", "(u32)(seed >> 32)")
    lines, outputs = statements(philox().shape, counter, "r", (), ())
    return [*lines, *(f"drawn[4 * b + {index}] = {output};" for index, output in enumerate(outputs))]
