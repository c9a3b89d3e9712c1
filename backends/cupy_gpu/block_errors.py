"""Prints the kernels that choose among candidates for blocks of any kind: errors, their sums, and the choice.

Of a block's places, padded to a power of two, each of `spread` threads adds every `spread`-th. What they find are the
terms of the next sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from statqat_sim.backends.cupy_gpu.block_group import Elements, Source, Trial
from statqat_sim.backends.cupy_gpu.block_memory import draw_fields
from statqat_sim.backends.cupy_gpu.block_places import Site
from statqat_sim.backends.cupy_gpu.block_text import Numbers, Printed, Signature, c_type, each_thread, printed_plan
from statqat_sim.backends.cupy_gpu.block_trial import comparable, sum_in_turn, term
from statqat_sim.backends.cupy_gpu.bodies import block
from statqat_sim.geometry import Weighted
from statqat_sim.plan.philox import RANDOM
from statqat_sim.plan.program import Packed


class ErrorsShape(NamedTuple):
    """What is printed of a trial."""

    elements: Elements
    sources: tuple[Source, ...]
    trial: Trial
    site: Site
    """The blocks, in elements."""


@cache
def errors_kernel(shape: ErrorsShape) -> Printed:
    """The kernel that finds `spread` sums of errors of each block."""
    signature = Signature()
    for name in ("threads", "length", "height", "rows", "down", "across", "high", "wide", "spread", "terms"):
        signature.number(name)
    error = block("if (exists)", [*_error(shape, signature), "found = term;"])
    lines = [
        "const u64 owner = quotient(thread, spread), share = thread - owner * spread;",
        *_owner(shape.site),
        *sum_in_turn("terms", [*_unit(shape.site), "double found = 0;", *error]),
        f"{signature.target('sums', 'double')}[thread] = sum;",
    ]
    return signature.printed("block_errors", each_thread("threads", lines))


def _owner(site: Site) -> Iterator[str]:
    """Where a block lies."""
    if not site.shared:
        yield "const u64 strip = quotient(owner, across), block_column = owner - strip * across;"
        yield "const u64 matrix = quotient(strip, down), block_row = strip - matrix * down;"


def _unit(site: Site) -> Iterator[str]:
    """The element at a place of a block: whether it exists, its `row` and its `place` in that."""
    yield "const u64 inside = turn_place * spread + share;"
    if site.shared:
        yield "const u64 row = quotient(inside, length), place = inside - row * length;"
        yield "const bool exists = row < rows;"
        return
    yield "const u64 down_inside = quotient(inside, wide), line = block_row * high + down_inside;"
    yield "const u64 place = block_column * wide + inside - down_inside * wide, row = matrix * height + line;"
    yield "const bool exists = down_inside < high && line < height && place < length;"


def _error(shape: ErrorsShape, signature: Signature) -> Iterator[str]:
    """Declare `term`, the error of an element that exists."""
    kind = c_type(shape.elements.storage)
    words = {shape.elements.name: f"{signature.source('elements', kind)}[row * length + place]"}
    for index, source in enumerate(shape.sources):
        array = signature.source(f"from{index}", c_type(source.storage))
        words[source.name] = f"{array}[{'owner' if source.site == shape.site else source.site.word('place')}]"
    drawn = next((stream.storage for stream in shape.trial.plan.streams if stream.name == RANDOM), None)
    if drawn is not None:
        assert not isinstance(drawn, Packed)
        for name in ("seed", "offset"):
            signature.number(name)
        yield "const u32 left = 1;"
        yield from draw_fields("random", drawn, 1)
        words[RANDOM] = "random[0]"
    numbers = Numbers.declared(signature, 0, shape.trial.plan)
    plan = shape.trial.plan
    lines, (value,) = printed_plan(plan, [words[stream.name] for stream in plan.streams], "v", numbers)
    weight = None if shape.trial.weighted is None else _weight(shape.trial.weighted, signature)
    yield f"const u32 x = {words[shape.elements.name]};"
    yield from (*lines, *term("x", value, weight))


def _weight(weighted: Weighted, signature: Signature) -> str:
    weights = signature.source("weights", "double")
    return f"{weights}[{'place' if weighted is Weighted.COLUMN else 'row - quotient(row, height) * height'}]"


@cache
def sums_kernel() -> Printed:
    """The kernel that adds `terms` numbers for each of `threads`, of which `spread` share a block."""
    signature = Signature()
    for name in ("threads", "spread", "terms"):
        signature.number(name)
    source, target = signature.source("terms_of", "double"), signature.target("sums", "double")
    first = "quotient(thread, spread) * spread * terms + thread % spread"
    lines = [
        f"const double *first = {source} + {first};",
        *sum_in_turn("terms", ["const double found = first[turn_place * spread];"]),
        f"{target}[thread] = sum;",
    ]
    return signature.printed("block_sums", each_thread("threads", lines))


@cache
def choice_kernel(results: int) -> Printed:
    """The kernel that keeps the results of a candidate where it is the first, or better than all before."""
    signature = Signature()
    signature.number("threads")
    signature.number("is_first", "u32")
    errors, least = signature.source("errors", "double"), signature.target("least", "double")
    pairs = [(signature.target(f"best{k}", "u32"), signature.source(f"tried{k}", "u32")) for k in range(results)]
    replaced = [f"{best}[thread] = {tried}[thread];" for best, tried in pairs]
    lines = [
        f"const double found = {errors}[thread], error = {comparable('found')};",
        *block(f"if (is_first || error < {least}[thread])", [f"{least}[thread] = error;", *replaced]),
    ]
    return signature.printed("block_choice", each_thread("threads", lines))
