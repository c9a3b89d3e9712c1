"""Instructions that LLVM does not choose by itself: 16-word tables in registers, and narrowing by permutations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from statqat_sim.plan.program import SMALL_TABLE

I32 = ir.IntType(32)


@dataclass(frozen=True, slots=True)
class Permutation:
    """An instruction that permutes a register of `width` words."""

    intrinsic: str
    width: int


PERMUTATIONS = {
    "avx512f": Permutation("llvm.x86.avx512.permvar.si.512", 16),
    "avx2": Permutation("llvm.x86.avx2.permd", 8),
}
"""The permutation of each processor feature, widest first."""


@dataclass(frozen=True, slots=True)
class Processor:
    """Emits code that depends on the processor's features."""

    permutation: Permutation | None
    narrows_slowly: bool

    @classmethod
    def of_features(cls, features: str) -> Processor:
        """From LLVM's feature string, "+sse2,-avx2,…"."""
        present = set(features.split(","))
        found = (permutation for name, permutation in PERMUTATIONS.items() if f"+{name}" in present)
        return cls(next(found, None), "+avx512bw" in present)

    def table(self, b: Any, address: Any) -> list[Any]:
        """Load a table of 16 words into registers; empty if the processor has no permutation for it."""
        if self.permutation is None:
            return []
        kind = ir.VectorType(I32, self.permutation.width)
        first = b.inttoptr(address, kind.as_pointer())
        places = range(SMALL_TABLE // kind.count)
        return [b.load(b.gep(first, [ir.Constant(I32, place)]), align=4) for place in places]

    def look_up(self, b: Any, table: list[Any], index: Any) -> Any:
        """The table's words at these indices: low bits permute each register, high bits select among the results."""
        options = [self._permuted(b, register, index) for register in table]
        bit = SMALL_TABLE // len(table)
        while len(options) > 1:
            upper = b.icmp_unsigned("!=", b.and_(index, splat(index.type, bit)), splat(index.type, 0))
            options = [b.select(upper, high, low) for low, high in zip(options[::2], options[1::2], strict=True)]
            bit <<= 1
        return options[0]

    def narrow(self, b: Any, words: Any, bits: int) -> Any:
        """The low 8 or 16 bits of each word; where truncation is slow, words are packed in pairs and permuted once."""
        if not self.narrows_slowly:
            return b.trunc(words, ir.VectorType(ir.IntType(bits), words.type.count))
        order, value = list(range(words.type.count)), words
        for width in (16, 8)[: 32 // bits // 2]:
            half = value.type.count // 2
            low, high = (_lanes(b, value, range(start, start + half)) for start in (0, half))
            both = b.or_(b.and_(low, splat(low.type, (1 << width) - 1)), b.shl(high, splat(high.type, width)))
            value = b.bitcast(both, ir.VectorType(ir.IntType(width), 2 * half))
            order = [place for pair in zip(order[:half], order[half:], strict=True) for place in pair]
        return _lanes(b, value, sorted(range(len(order)), key=order.__getitem__))

    def _permuted(self, b: Any, register: Any, index: Any) -> Any:
        assert self.permutation is not None
        kind, width = register.type, self.permutation.width
        instruction = b.module.declare_intrinsic(self.permutation.intrinsic, (), ir.FunctionType(kind, [kind, kind]))
        pieces = [
            b.call(instruction, [register, _lanes(b, index, range(start, start + width))])
            for start in range(0, index.type.count, width)
        ]
        while len(pieces) > 1:
            order = _order(range(2 * pieces[0].type.count))
            pieces = [b.shuffle_vector(*pair, order) for pair in zip(pieces[::2], pieces[1::2], strict=True)]
        return pieces[0]


def _lanes(b: Any, vector: Any, lanes: Iterable[int]) -> Any:
    """The vector of the given lanes, in that order."""
    return b.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), _order(lanes))


def _order(lanes: Iterable[int]) -> Any:
    places = list(lanes)
    return ir.Constant(ir.VectorType(I32, len(places)), places)


def splat(kind: Any, value: int) -> Any:
    """The vector constant with this value in every lane."""
    return ir.Constant(kind, [value] * kind.count)
