"""Matrix instructions in exact rational arithmetic: the oracle of the kernels.

It reads only the declared fields of a spec, and derives everything else from the meanings in the spec's docstrings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from statqat_sim.reference.dot_numbers import (
    ZERO,
    Term,
    Value,
    added,
    floored_exponent,
    kept,
    product,
    quantum,
    total_of,
    value_of,
)
from statqat_sim.reference.dot_round import Rounder
from statqat_sim.spec.accelerator import Apply, Instruction, OperandFormat
from statqat_sim.spec.accelerator_dot import Aligned, Beyond, Dot, Enter, Merge, Per, Sum, ordered
from statqat_sim.spec.integer import IntElement
from statqat_sim.spec.number import NumberFormat


@dataclass(frozen=True, slots=True)
class Codes:
    """One row of A or column of B: its codes, its format, and the codes of its scales along K."""

    codes: Sequence[int]
    format: OperandFormat
    scales: Sequence[int] = ()


def result_code(instruction: Instruction, a: Codes, b: Codes, c: int = 0) -> int:
    """The code of one element of D; `c`: the code of C. K is padded with zeros to a multiple of the instruction's K."""
    if instruction.dot is not None and instruction.dot.sum is Sum.INTEGER:
        return _integer(instruction, a, b, c)
    rounder = Rounder.of(instruction)
    d = rounder.flushed_input(value_of(instruction.c, c))
    return rounder.code(accumulated(instruction, a, b, d))


def accumulated(instruction: Instruction, a: Codes, b: Codes, c: Value) -> Value:
    """The accumulator C after all products have been added, step by step."""
    dot, rounder = instruction.dot, Rounder.of(instruction)
    assert dot is not None
    terms = _products(instruction, a, b)
    step = _step_of(instruction, dot, len(terms))
    for first in range(0, len(terms), step):
        c = rounder.flushed_input(c)
        scales = _scales(instruction, a, b, first, step)
        c = _Step(dot, rounder, instruction.special.product_limit).run(terms[first : first + step], c, scales)
    return c


def _step_of(instruction: Instruction, dot: Dot, count: int) -> int:
    """The number of products summed at a time: the unit's step, limited by the instruction's K."""
    return min(dot.step or max(count, 1), instruction.k or max(count, 1))


def _products(instruction: Instruction, a: Codes, b: Codes) -> list[Term]:
    """All products, including those of the zeros that pad the last instruction."""
    size, count = instruction.k or 1, len(a.codes)
    rounder = Rounder.of(instruction)
    x, y = ([value_of(side.format, code) for code in side.codes] for side in (a, b))
    x, y = ([rounder.flushed_input(value) for value in values] for values in (x, y))
    padding = -count % size
    x, y = (values + [value_of(side.format, 0)] * padding for values, side in ((x, a), (y, b)))
    limit, scale = instruction.special.product_limit, instruction.scale
    terms = [product(u, v, limit) for u, v in zip(x, y, strict=True)]
    if scale is None or scale.apply is not Apply.EXPONENT:
        return terms
    return [_shifted(term, instruction, a, b, k // scale.block) for k, term in enumerate(terms)]


def _shifted(term: Term, instruction: Instruction, a: Codes, b: Codes, block: int) -> Term:
    """A product times the scales of its block, which are powers of two."""
    for side in (a, b):
        term = term.scaled(_scale(instruction, side, block))
    return term


def _scale(instruction: Instruction, side: Codes, block: int) -> Value:
    """The scale of a block; 1 for padding blocks, whose products are zeros."""
    assert instruction.scale is not None
    format = instruction.scale.format
    return value_of(format, side.scales[block] if block < len(side.scales) else _one(format))


@cache
def _one(format: NumberFormat) -> int:
    """The lowest code of 1."""
    return next(code for code in range(1 << format.bits) if value_of(format, code).exact == 1)


def _scales(instruction: Instruction, a: Codes, b: Codes, first: int, step: int) -> list[Term]:
    """The product of the scales of A and B, for each group of a step."""
    scale, dot = instruction.scale, instruction.dot
    if scale is None or scale.apply is not Apply.GROUP or dot is None:
        return []
    blocks = [k // scale.block for k in range(first, first + step, dot.group)]
    return [product(_scale(instruction, a, block), _scale(instruction, b, block), None) for block in blocks]


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a unit."""

    dot: Dot
    rounder: Rounder
    limit: int | None

    def run(self, terms: list[Term], c: Value, scales: list[Term]) -> Value:
        dot = self.dot
        if dot.sum in (Sum.CHAIN, Sum.PAIRWISE):
            terms = [terms[place] for place in ordered(dot.order, len(terms))]
        match dot.sum:
            case Sum.CHAIN:
                return self._chains(terms, c)
            case Sum.PAIRWISE:
                return self._joined(self._pairwise([self.rounder.rounded(term.value) for term in terms]), c)
            case Sum.EXACT:
                return self._fused([*terms, *self._c_term(c)], c)
            case Sum.ALIGNED if dot.c is Enter.JOIN:
                assert dot.aligned is not None
                assert dot.merge is not None
                return self._merged(terms, c, dot.aligned, dot.merge)
            case _:
                assert dot.aligned is not None
                grouped = _grouped(terms, scales, dot.group) if scales else terms
                everything = [*grouped, *self._c_term(c)]
                return self._with_last(self.rounder.rounded(_aligned(everything, dot.aligned)[0]), c)

    def _c_term(self, c: Value) -> list[Term]:
        return [Term(c, c.exponent)] if self.dot.c is Enter.TERM else []

    def _fused(self, terms: list[Term], c: Value) -> Value:
        return self._with_last(self.rounder.rounded(total_of([term.value for term in terms])), c)

    def _with_last(self, dot: Value, c: Value) -> Value:
        return self._joined(dot, c) if self.dot.c is Enter.LAST else dot

    def _joined(self, dot: Value, c: Value) -> Value:
        """The sum of products and C, rounded; the sum itself if C does not enter."""
        if self.dot.c is Enter.NONE:
            return dot
        return self.rounder.rounded(added(c, dot))

    def _chains(self, terms: list[Term], c: Value) -> Value:
        """Chains of fused multiply-adds; several chains start at +0 and are added one by one."""
        if self.dot.c is Enter.FIRST:
            return self._chain(terms, c)
        chains = [self._chain(terms[part :: self.dot.split], ZERO) for part in range(self.dot.split)]
        dot = chains[0]
        for chain in chains[1:]:
            dot = self.rounder.rounded(added(dot, chain))
        return self._joined(dot, c)

    def _chain(self, terms: list[Term], start: Value) -> Value:
        for term in terms:
            start = self.rounder.rounded(added(start, term.value))
        return start

    def _pairwise(self, values: list[Value]) -> Value:
        """Pairwise sums of neighbours, repeated; an odd one out passes to the next level unchanged."""
        while len(values) > 1:
            pairs = [values[at : at + 2] for at in range(0, len(values), 2)]
            values = [self.rounder.rounded(added(*pair)) if len(pair) > 1 else pair[0] for pair in pairs]
        return values[0]

    def _merged(self, terms: list[Term], c: Value, aligned: Aligned, merge: Merge) -> Value:
        parts = [_aligned(terms[part :: self.dot.split], aligned) for part in range(self.dot.split)]
        specials = total_of([*(value for value, _ in parts), c])
        if specials.exact is None:
            return self.rounder.rounded(specials)
        exponents = [exponent for _, exponent in parts if exponent is not None]
        total = Fraction(0)
        for value, exponent in parts:
            assert value.exact is not None
            if exponent is not None:
                unit = quantum(max(exponents) - aligned.fraction_bits)
                total += kept(value.exact, unit, merge.round)
        assert c.exact is not None
        top = max([*exponents, c.exponent])
        far = merge.c_reach is not None and c.exponent < top - merge.c_reach
        total = kept(total, quantum(top - merge.dot_fraction_bits), merge.round)
        total += 0 if far else kept(c.exact, quantum(top - merge.c_fraction_bits), merge.round)
        if merge.normalised_bits is not None and total:
            lowest = max(floored_exponent(total), self.rounder.stored_emin)
            total = kept(total, quantum(lowest - merge.normalised_bits), merge.round)
        return self.rounder.rounded(Value.of(total, negative=specials.exact == 0 and specials.negative))


def _aligned(terms: list[Term], aligned: Aligned) -> tuple[Value, int | None]:
    """The sum of the rounded terms, and the exponent they were aligned to; None if all are zero."""
    specials = total_of([term.value for term in terms])
    if specials.exact is None:
        return specials, None
    exponents = [each for term in terms if (each := _exponent(term, aligned)) is not None]
    if not exponents:
        return specials, None
    unit = quantum(max(exponents) - aligned.fraction_bits)
    exact = [term.value.exact for term in terms if term.value.exact is not None]
    if aligned.per is Per.SUM:
        total = kept(sum(exact, Fraction(0)), unit, aligned.round)
    else:
        total = sum((kept(each, unit, aligned.round) for each in exact), Fraction(0))
    is_negative_zero = not total and specials.exact == 0 and specials.negative
    return Value.of(total, negative=is_negative_zero), max(exponents)


def _exponent(term: Term, aligned: Aligned) -> int | None:
    """The exponent of a term; None for zeros that do not take part in the alignment."""
    if not term.is_zero:
        return term.exponent
    return aligned.zero_exponent if isinstance(aligned.zero_exponent, int) else None


def _grouped(terms: list[Term], scales: list[Term], group: int) -> list[Term]:
    """Exact sums of groups times their scales, with the scales' exponents, except for groups of only zeros."""
    grouped = []
    for index, scale in enumerate(scales):
        inside = terms[index * group : (index + 1) * group]
        total = total_of([term.value for term in inside])
        value = product(total, scale.value, None).value
        is_zero = scale.is_zero or all(term.is_zero for term in inside)
        grouped.append(Term(value, scale.exponent, is_zero))
    return grouped


def _integer(instruction: Instruction, a: Codes, b: Codes, c: int) -> int:
    """The integer result: each step's sum wraps or saturates."""
    x, y = ([_integer_of(side.format, code) for code in side.codes] for side in (a, b))
    products = [u * v for u, v in zip(x, y, strict=True)]
    products += [0] * (-len(products) % (instruction.k or 1))
    assert instruction.dot is not None
    bits, step = instruction.d.bits, _step_of(instruction, instruction.dot, len(products))
    total = _integer_of(instruction.c, c) if instruction.dot.c is not Enter.NONE else 0
    for first in range(0, len(products), step):
        if instruction.dot.c is Enter.NONE:
            total = 0
        total += sum(products[first : first + step])
        low, high = -(1 << bits - 1), (1 << bits - 1) - 1
        clamps = instruction.special.overflow is Beyond.SATURATE
        total = min(max(total, low), high) if clamps else (total - low) % (1 << bits) + low
    return total % (1 << bits)


def _integer_of(format: OperandFormat, code: int) -> int:
    assert isinstance(format, NumberFormat)
    assert isinstance(format.element, IntElement)
    return format.element.integer(code)
