"""A block format: elements that share scales. Built by `reader.py` alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cached_property
from typing import Annotated, NoReturn

from pydantic import Field

from statqat_sim.errors import UnsupportedError
from statqat_sim.spec.base import Spec, Worded
from statqat_sim.spec.block_map import BlockMap, Fields
from statqat_sim.spec.ggml import MAPS
from statqat_sim.spec.number import NumberFormat
from statqat_sim.spec.pack import BlockPack
from statqat_sim.spec.scale import Block, Rule, ScaleLevel, block_size, times


class OffsetKind(StrEnum):
    """What is added on decode: a minimum of its own scales, or a zero-point in steps of the scale."""

    MINIMUM = "minimum"
    ZERO_POINT = "zero_point"


class AddedWhen(StrEnum):
    """Whether a zero-point is added to a quotient, or to the integer that this is rounded to."""

    BEFORE_ROUNDING = "before_rounding"
    AFTER_ROUNDING = "after_rounding"


class OffsetKeys(Spec):
    """What the `offset` part says, but for formats."""

    kind: Worded[OffsetKind]
    sign: Annotated[int, Field(ge=-1, le=1)] = Field(1, title="1 or -1")
    added: Worded[AddedWhen] = AddedWhen.BEFORE_ROUNDING


class Offset(OffsetKeys):
    """The `offset` part. See `formats/LANGUAGE.md`, Definition 27.

    Minima have one entry in `scales`, zero-points a `format`.
    """

    scales: tuple[ScaleLevel, ...] = ()
    format: NumberFormat | None = None


class Stored(Spec):
    """One array of codes: of the elements, of one level of scales, or of offsets."""

    name: str
    format: NumberFormat
    block: Block
    """How many elements share a code."""

    @property
    def bits_per_element(self) -> float:
        """Stored bits per element; 0 if one code serves a whole axis or array."""
        size = block_size(self.block)
        return self.format.bits / size if size else 0.0


class BlockFormat(Spec):
    """A validated block format: value = element × every scale (+ offset). Scales are listed outermost first."""

    name: str
    element: NumberFormat
    scales: tuple[ScaleLevel, ...]
    offset: Offset | None = None
    pack: BlockPack = BlockPack()
    aliases: tuple[str, ...] = ()
    title: str = ""
    source: str = ""
    oracle: tuple[str, ...] = ()

    @property
    def adds_after_rounding(self) -> bool:
        """Whether there is a zero-point that is added to integers."""
        return self.offset is not None and self.offset.added is AddedWhen.AFTER_ROUNDING

    @property
    def bits(self) -> int:
        """Bits of an element's code."""
        return self.element.bits

    @property
    def bits_per_element(self) -> float:
        """Bits per element with the scales and offsets of full blocks; those of a whole axis or array count as 0."""
        if self.block_map:
            return self.block_map.bits_per_element
        return sum(stored.bits_per_element for stored in self.stored)

    @property
    def block_map(self) -> BlockMap | None:
        """The bit layout of a block in one of ggml's layouts; None for other layouts, and if it does not fit."""
        return next((known for known in MAPS.get(self.pack.layout, ()) if known.fields == self.fields), None)

    @property
    def fields(self) -> Fields:
        """Every array of codes by name: bits of a code, and the elements that share it."""
        return {stored.name: (stored.format.bits, stored.block) for stored in self.stored}

    def grid(self) -> NoReturn:
        """Not defined; the grid of its elements is `element.grid()`.

        Raises:
            UnsupportedError: always; values of a block format depend on its scales.
        """
        raise UnsupportedError(f"{self.name}: values of a block format depend on its scales; allowed: element.grid()")

    def table(self) -> NoReturn:
        """Not defined; the table of its elements is `element.table()`.

        Raises:
            UnsupportedError: always; values of a block format depend on its scales.
        """
        raise UnsupportedError(f"{self.name}: values of a block format depend on its scales; allowed: element.table()")

    @property
    def anchor(self) -> ScaleLevel:
        """The innermost scale that multiplies. Only this scale can be NaN; its keys define how elements are divided."""
        return next(level for level in reversed(self.scales) if level.multiplies)

    @property
    def needs_scale(self) -> bool:
        """Whether the caller must give a scale."""
        return any(level.rule is Rule.GIVEN for level in self.scales)

    @cached_property
    def stored(self) -> tuple[Stored, ...]:
        """All arrays of codes, named as in `pack.fields`: scales and then offsets, outermost first, then elements.

        Scales in a block format are two or more arrays: that format's own scales, and its elements.
        """
        arrays = [*_numbered("scale", _flattened(self.scales))]
        if self.offset:
            zero_point = [(self.offset.format, self.anchor.block)] if self.offset.format else []
            arrays += _numbered("offset", [*_flattened(self.offset.scales), *zero_point])
        return (*arrays, Stored(name="elements", format=self.element, block=1))


def _flattened(levels: Iterable[ScaleLevel]) -> Iterator[tuple[NumberFormat, Block]]:
    for level in levels:
        if isinstance(level.format, NumberFormat):
            yield level.format, level.block
            continue
        for format, block in (*_flattened(level.format.scales), (level.format.element, 1)):
            yield format, times(block, level.block)


def _numbered(name: str, arrays: Iterable[tuple[NumberFormat, Block]]) -> Iterator[Stored]:
    """Arrays named `scale`, or `scale0`, `scale1`, ... if there are several."""
    listed = list(arrays)
    for index, (format, block) in enumerate(listed):
        yield Stored(name=name if len(listed) == 1 else f"{name}{index}", format=format, block=block)


ScaleLevel.model_rebuild(_types_namespace={"BlockFormat": BlockFormat, "NumberFormat": NumberFormat})
