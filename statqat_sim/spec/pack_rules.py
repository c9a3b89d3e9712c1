"""What the `pack` part of a block format asks of its elements and scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from statqat_sim.spec.base import KeyProblem
from statqat_sim.spec.block import BlockFormat, Stored
from statqat_sim.spec.pack import BitOrder, BlockNibbles, BlockPack, Layout, Nibbles, Pack, Swizzle

GGML: Final[Mapping[Layout, tuple[str, str]]] = {
    Layout.GGML_Q5_0: ("elements of 5 bits in blocks of 32", "5 32"),
    Layout.GGML_Q4_K: ("elements of 4 or 5 bits, and 6-bit scales and minima of 8 blocks of 32", "4 32"),
    Layout.GGML_TQ2_0: ("elements of 2 bits in blocks of 256", "2 256"),
}
"""What each layout holds; the bits of an element, and the block of its scale."""

Q4_K_SCALES: Final = ((16, 256), (6, 32), (16, 256), (6, 32))
"""Bits and block of each array but the elements."""


def pack_problems(format: BlockFormat) -> Iterator[KeyProblem]:
    """The keys that these arrays have no use for."""
    pack, arrays = format.pack, format.stored
    yield from _field_problems(pack, tuple(stored.name for stored in arrays))
    if pack.layout in GGML:
        yield from _ggml_problems(pack, arrays)
    elif pack.layout is Layout.INTERLEAVED:
        for stored in arrays:
            if not isinstance(stored.block, int):
                yield "layout", f"'interleaved' needs blocks of one axis, and {stored.name} has none; allowed: separate"
    if pack.layout not in GGML:
        yield from _nibble_problems(format)
    if pack.swizzle is Swizzle.SM100_128X4:
        yield from _swizzle_problems(format)


def _field_problems(pack: BlockPack, names: tuple[str, ...]) -> Iterator[KeyProblem]:
    if "fields" in pack.model_fields_set and sorted(pack.fields) != sorted(names):
        yield "fields", f"{', '.join(pack.fields) or 'none'} are not the fields of this format: {', '.join(names)}"


def _ggml_problems(pack: BlockPack, arrays: tuple[Stored, ...]) -> Iterator[KeyProblem]:
    what, shape = GGML[pack.layout]
    found = tuple((stored.format.bits, stored.block) for stored in arrays)
    fits = f"{found[-1][0]} {arrays[0].block}" == shape and len({stored.block for stored in arrays}) == 2
    if pack.layout is Layout.GGML_Q4_K:
        fits = found[:-1] == Q4_K_SCALES and found[-1][0] in (4, 5)
    if not fits:
        yield "layout", f"{pack.layout.value!r} holds {what}; allowed: separate, interleaved"
    for key in ("nibbles", "bit_order"):
        if key in pack.model_fields_set:
            yield key, f"layout {pack.layout.value!r} says it already; leave it out"


def _nibble_problems(format: BlockFormat) -> Iterator[KeyProblem]:
    pack, block = format.pack, format.anchor.block
    if pack.nibbles is not BlockNibbles.HALF_SPLIT:
        yield from Pack(nibbles=Nibbles(pack.nibbles.value), bit_order=pack.bit_order).problems(format.bits)
    elif format.bits != 4:
        yield "nibbles", f"'half_split' needs codes of 4 bits, not {format.bits}; allowed: low_first"
    elif not isinstance(block, int) or block % 2:
        yield "nibbles", "'half_split' needs an even number of elements in a block; allowed: low_first, high_first"
    elif pack.bit_order is BitOrder.MSB:
        yield "nibbles", "'half_split' lays no row of bits; allowed with bit_order: msb: low_first"


def _swizzle_problems(format: BlockFormat) -> Iterator[KeyProblem]:
    innermost = format.scales[-1]
    if format.pack.layout is not Layout.SEPARATE:
        yield "swizzle", "'sm100_128x4' is for layout: separate; allowed: none"
    elif innermost.format.bits != 8 or not isinstance(innermost.block, int):
        yield "swizzle", "'sm100_128x4' needs scales of 8 bits for blocks of one axis; allowed: none"
