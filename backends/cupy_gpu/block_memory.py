"""What a lane of a group kernel reads and writes. It holds the units of `row` from `place` on, `left` of them."""

from __future__ import annotations

from typing import NamedTuple

from statqat_sim.backends.cupy_gpu.block_group import GroupShape, Kept, Source
from statqat_sim.backends.cupy_gpu.block_places import Site, divided, multiplied
from statqat_sim.backends.cupy_gpu.bodies import block, unrolled
from statqat_sim.backends.cupy_gpu.draws import drawn
from statqat_sim.backends.cupy_gpu.elementwise import Layout
from statqat_sim.plan.program import Packed, Storage


class Held(NamedTuple):
    """Words in registers: one for the lane, or one for each `size` of its units."""

    name: str
    size: int = 0

    def at(self, unit: str) -> str:
        """C: the word of the unit at this place in the lane."""
        return f"{self.name}[{divided(unit, self.size)}]" if self.size else self.name


def words_of(each: int, storage: Storage | Packed) -> int:
    """The number of 32-bit words that hold a lane's elements."""
    return -(-each * storage.bits // 32)


def load_elements(array: str, name: str, shape: GroupShape, storage: Storage, *, is_whole: bool) -> list[str]:
    """Fill an array of registers with the elements of a lane; 0 where there is none."""
    each, layout, words = shape.each, Layout.of(storage), words_of(shape.each, storage)
    if shape.down:
        element = f"{array}[{shape.index('row * length + place + e')}]"
        return [f"u32 {name}[{each}];", *unrolled("e", each, [f"{name}[e] = e < left ? {element} : 0;"])]
    return [
        f"u32 {name}[{each}];",
        *block(
            "",
            [
                f"u32 words[{words}];",
                layout.moved("read", "words", layout.address(array), is_whole=is_whole),
                *unrolled("e", each, [f"{name}[e] = code_at<{storage.bits}>(words, e);"]),
            ],
        ),
    ]


def load_words(array: str, name: str, shape: GroupShape, source: Source) -> tuple[list[str], Held]:
    """The words of the blocks that a lane lies in. Places behind the last block read that block's."""
    each, site = shape.each, source.site
    if site.shared:
        return [f"const u32 {name} = {array}[0];"], Held(name)
    if site.columns % each == 0:
        return [f"const u32 {name} = {array}[{shape.index(site.word('near'))}];"], Held(name)
    count = each // site.columns
    word = f"{site.line()} + min({divided('place', site.columns)} + k, {site.in_row} - 1)"
    lines = [f"u32 {name}[{count}];", *unrolled("k", count, [f"{name}[k] = {array}[{shape.index(word)}];"])]
    return lines, Held(name, site.columns)


def store_word(array: str, shape: GroupShape, kept: Kept, held: Held, first: str) -> list[str]:
    """Write the words of blocks that begin in a lane; `first`: the lane's first unit in its group."""
    each, site, kind = shape.each, Site(1, kept.size), f"u{kept.storage.bits}"
    word = f"{site.line()} + {divided('place', kept.size)}"
    if kept.size % each == 0:
        begins = "left" if kept.size == each else f"left && {first} % {kept.size} == 0"
        return [f"if ({begins}) {array}[{shape.index(word)}] = ({kind}){held.at('0')};"]
    place = multiplied("k", kept.size)
    store = f"if ({place} < left) {array}[{shape.index(f'{word} + k')}] = ({kind}){held.at(place)};"
    return unrolled("k", each // kept.size, [store])


def store_elements(array: str, name: str, shape: GroupShape, *, is_whole: bool) -> list[str]:
    """Write one word of each unit, an array of registers."""
    storage, each = shape.result, shape.each
    layout, words = Layout.of(storage), words_of(each, storage)
    if shape.down:
        element = f"{array}[{shape.index('row * length + place + e')}]"
        return unrolled("e", each, [f"if (e < left) {element} = (u{storage.bits}){name}[e];"])
    big = layout.is_big_endian
    put = f"{'put_big_code' if big else 'put_code'}<{storage.bits}>"
    return block(
        "",
        [
            f"u32 words[{words}] = {{0}};",
            *unrolled("e", each, [f"{put}(words, e, e < left ? {name}[e] : 0);"]),
            *(["swap_bytes(words);"] if big else []),
            layout.moved("write", "words", layout.address(array), is_whole=is_whole),
        ],
    )


def draw_fields(name: str, storage: Storage, each: int) -> list[str]:
    """Fill an array of registers with the random fields of a lane's elements."""
    return [
        f"u32 {name}[{each}];",
        *block(
            "",
            [
                *drawn(storage.bits, each, "left"),
                *unrolled("e", each, [f"{name}[e] = code_at<{storage.bits}>(drawn, e);"]),
            ],
        ),
    ]
