"""Rules between the `pack` part of a block format and its elements and scales."""

from __future__ import annotations

from collections.abc import Iterator

from statqat_sim.spec.base import KeyProblem
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.block_map import told
from statqat_sim.spec.ggml import MAPS
from statqat_sim.spec.pack import BitOrder, BlockNibbles, BlockPack, Layout, Nibbles, Pack, Swizzle


def pack_problems(format: BlockFormat) -> Iterator[KeyProblem]:
    """Keys of `pack` that contradict the format's arrays."""
    pack = format.pack
    if pack.layout in MAPS:
        yield from _ggml_problems(format)
    else:
        yield from _field_problems(pack, tuple(format.fields))
        yield from _block_problems(format)
        yield from _nibble_problems(format)
    if pack.swizzle is Swizzle.SM100_128X4:
        yield from _swizzle_problems(format)


def _field_problems(pack: BlockPack, names: tuple[str, ...]) -> Iterator[KeyProblem]:
    if "fields" in pack.model_fields_set and sorted(pack.fields) != sorted(names):
        yield "fields", f"{', '.join(pack.fields) or 'none'} are not the fields of this format: {', '.join(names)}"


def _ggml_problems(format: BlockFormat) -> Iterator[KeyProblem]:
    layout = format.pack.layout
    if not format.block_map:
        held = "; or ".join(told(known.fields) for known in MAPS[layout])
        yield "layout", f"{layout.value!r} holds {held}; not {told(format.fields)}; allowed: separate, interleaved"
    for key in ("fields", "nibbles", "bit_order"):
        if key in format.pack.model_fields_set:
            yield key, f"layout {layout.value!r} says it already; leave it out"


def _block_problems(format: BlockFormat) -> Iterator[KeyProblem]:
    if format.pack.layout is Layout.INTERLEAVED:
        for name, (_, block) in format.fields.items():
            if not isinstance(block, int):
                yield "layout", f"'interleaved' needs blocks of one axis, and {name} has none; allowed: separate"


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
