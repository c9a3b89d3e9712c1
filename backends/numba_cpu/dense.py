"""Dense codes in LLVM vectors: `lanes` codes of w bits fill lanes·w/8 bytes, in groups that fill whole bytes.

A group of g codes is packed into an integer of 8·g bits by joining halves: bytes to pairs, pairs to fours, …
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from llvmlite import ir

from statqat_sim.backends.numba_cpu.processor import splat
from statqat_sim.plan.program import Packed


@dataclass(frozen=True, slots=True)
class Dense:
    """Reads and writes vectors of bytes, one code in each, at addresses of dense codes."""

    packed: Packed
    lanes: int

    @property
    def group(self) -> int:
        """How many codes fill whole bytes: 1, 2, 4 or 8."""
        return next(group for group in (1, 2, 4, 8) if group * self.packed.bits % 8 == 0)

    @property
    def group_bytes(self) -> int:
        return self.group * self.packed.bits // 8

    @property
    def is_plain(self) -> bool:
        """Whether each group is one byte, so that a vector is loaded and stored at once, not group by group."""
        return self.group_bytes == 1

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """(offset, size) in bytes of the loads that cover exactly one group; sizes are powers of two."""
        sizes = [size for size in (4, 2, 1) if self.group_bytes & size]
        return [(sum(sizes[:index]), size) for index, size in enumerate(sizes)]

    def load(self, b: Any, address: Any) -> Any:
        """A vector of bytes from the dense codes at an address."""
        return self._split(b, self._swapped(b, self._load_groups(b, address), loaded=True))

    def store(self, b: Any, codes: Any, address: Any) -> Any:
        """Write a vector of bytes, zero above the codes' width, as dense codes. Returns the last store instruction."""
        groups = self._swapped(b, self._joined(b, codes), loaded=False)
        count = self.lanes // self.group
        if self.is_plain:
            narrow = b.trunc(groups, ir.VectorType(ir.IntType(8), count))
            return b.store(narrow, _pointer(b, address, narrow.type), align=1)
        last = None
        for index, (offset, size) in product(range(count), self.pieces):
            word = b.extract_element(groups, ir.Constant(ir.IntType(32), index))
            piece = b.trunc(b.lshr(word, ir.Constant(word.type, 8 * offset)), ir.IntType(8 * size))
            last = b.store(piece, _pointer(b, self._at(b, address, index, offset), piece.type), align=1)
        return last

    def clear_padding(self, b: Any, address: Any, count: Any) -> None:
        """Zero the unused bits of the last byte of `count` codes, or the byte behind them if they fill whole bytes."""
        kind, byte = ir.IntType(64), ir.IntType(8)
        bits = b.mul(count, ir.Constant(kind, self.packed.bits))
        used = b.trunc(b.and_(bits, ir.Constant(kind, 7)), byte)
        ones = ir.Constant(byte, 0xFF)
        left_over = b.lshr(ones, used) if self.packed.big_endian else b.shl(ones, used)
        pointer = _pointer(b, b.add(address, b.lshr(bits, ir.Constant(kind, 3))), byte)
        b.store(b.and_(b.load(pointer), b.not_(left_over)), pointer)

    def _load_groups(self, b: Any, address: Any) -> Any:
        count, word = self.lanes // self.group, ir.IntType(8 * self.group)
        wide = ir.VectorType(word, count)
        if self.is_plain:
            narrow = ir.VectorType(ir.IntType(8), count)
            loaded = b.load(_pointer(b, address, narrow), align=1)
            return loaded if self.group == 1 else b.zext(loaded, wide)
        groups = ir.Constant(wide, ir.Undefined)
        for index in range(count):
            group = ir.Constant(word, 0)
            for offset, size in self.pieces:
                place = _pointer(b, self._at(b, address, index, offset), ir.IntType(8 * size))
                piece = b.zext(b.load(place, align=1), word)
                group = b.or_(group, b.shl(piece, ir.Constant(word, 8 * offset)))
            groups = b.insert_element(groups, group, ir.Constant(ir.IntType(32), index))
        return groups

    def _at(self, b: Any, address: Any, index: int, offset: int) -> Any:
        return b.add(address, ir.Constant(ir.IntType(64), index * self.group_bytes + offset))

    def _swapped(self, b: Any, groups: Any, *, loaded: bool) -> Any:
        """Groups with their bytes reversed if the format is big-endian; bytes that hold no codes are shifted out."""
        if not self.packed.big_endian or self.is_plain:
            return groups
        kind, spare = groups.type, 8 * (self.group - self.group_bytes)
        name = f"llvm.bswap.v{kind.count}i{kind.element.width}"
        bswap = b.module.declare_intrinsic(name, (), ir.FunctionType(kind, [kind]))
        places = splat(kind, spare)
        return b.lshr(b.call(bswap, [groups]), places) if loaded else b.call(bswap, [b.shl(groups, places)])

    def _split(self, b: Any, groups: Any) -> Any:
        codes = self.group
        while codes > 1:
            half = codes // 2
            kind, low_bits = groups.type, half * self.packed.bits
            low = b.and_(groups, splat(kind, (1 << low_bits) - 1))
            high = b.and_(b.lshr(groups, splat(kind, low_bits)), splat(kind, (1 << low_bits) - 1))
            first, second = (high, low) if self.packed.big_endian else (low, high)
            both = b.or_(first, b.shl(second, splat(kind, 8 * half)))
            groups = b.bitcast(both, ir.VectorType(ir.IntType(8 * half), kind.count * 2))
            codes = half
        return groups

    def _joined(self, b: Any, codes: Any) -> Any:
        groups, half = codes, 1
        while half < self.group:
            kind = ir.VectorType(ir.IntType(16 * half), groups.type.count // 2)
            both = b.bitcast(groups, kind)
            first = b.and_(both, splat(kind, (1 << 8 * half) - 1))
            second = b.lshr(both, splat(kind, 8 * half))
            low, high = (second, first) if self.packed.big_endian else (first, second)
            groups = b.or_(low, b.shl(high, splat(kind, half * self.packed.bits)))
            half *= 2
        return groups


def _pointer(b: Any, address: Any, kind: Any) -> Any:
    return b.inttoptr(address, kind.as_pointer())
