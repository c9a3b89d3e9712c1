"""Step functions of an input as plan steps: by selects, by octaves, by one look-up (and compare), or by bisection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Final

import numpy as np

from statqat_sim.plan.builder import Word
from statqat_sim.plan.halves import Halves
from statqat_sim.plan.layout import SIGN
from statqat_sim.plan.octaves import Octaves
from statqat_sim.plan.source import Source
from statqat_sim.plan.step import WORD, WORD_BITS
from statqat_sim.plan.tables import Integers, look_up

SMALL_TABLE_BITS: Final = 4
"""Up to 2^4 words are chosen by selects; longer tables are read."""

MIN_CELL_BITS: Final = 16
MAX_CELL_BITS: Final = 22
"""The most top bits of a key that select a cell: tables take 256 KiB to 16 MiB, of which data touch a small part."""

MAX_NEAR_ZERO: Final = 1 << 16
"""The most keys on each side of zero with a cell of their own: thresholds are dense there."""


@dataclass(frozen=True, slots=True)
class Key:
    """An input as unsigned words in the order of its value, -0.0 just below +0.0."""

    high: Word
    low: Word | None  # of a float64

    def exceeds(self, high: Word, low: Word | None) -> Word:
        """Whether this key is above another."""
        if self.low is None or low is None:
            return high.lt(self.high)
        return high.lt(self.high) | (high.eq(self.high) & low.lt(self.low))


def key_of(source: Source) -> Key:
    """The key of an input; the bits of negative inputs are inverted."""
    ones = source.sign.builder.const(0) - source.negative
    high = (source.sign | source.magnitude) ^ (ones | SIGN)
    return Key(high, None if source.low is None else source.low ^ ones)


def search(source: Source, keys: tuple[int, ...], results: tuple[int, ...]) -> Word:
    """results[0] below keys[0], then results[i + 1] from keys[i] on.

    Args:
        source: the input.
        keys: in strictly ascending order, of the width of the input's key.
        results: words; those of more than 16 steps of float32 must be below 2^16, or have a `shortcut_of`.
    """
    if len(results) <= 1 << SMALL_TABLE_BITS:
        return _by_selects(key_of(source), keys, results)
    if source.sign.builder.lean:
        return _by_bisection(key_of(source), keys, results, cell_bits=0)
    if source.low is None and (shortcut := shortcut_of(keys, results)) is not None:
        return shortcut.result(source.sign, source.magnitude)
    key = key_of(source)
    cells = _cells(keys) if key.low is None else None
    if cells is None:
        return _by_bisection(key, keys, results, MIN_CELL_BITS)
    return _by_cell(key.high, cells, keys, results)


@lru_cache(maxsize=8)  # whether there is one is asked before it is used
def shortcut_of(keys: tuple[int, ...], results: tuple[int, ...]) -> Halves | Octaves | None:
    """The steps of float32 in a form that is found faster than by searching, if they have one."""
    return Octaves.of(keys, results) or Halves.of(keys, results)


def choose(bits: list[Word], options: list[Word]) -> Word:
    """One of 2^len(bits) words by its index, most significant bit first: faster on vectors than reading a table."""
    for bit in bits:
        half = len(options) // 2
        options = [bit.where(high, low) for low, high in zip(options[:half], options[half:], strict=True)]
    return options[0]


def _by_selects(key: Key, keys: tuple[int, ...], results: tuple[int, ...]) -> Word:
    """Bisection with the thresholds as parameters, padded to a power of two, so that formats share few shapes."""
    builder = key.high.builder
    size = 1 << len(keys).bit_length()
    lasts = [turn - 1 for turn in keys]  # keys above are in the next step
    most = WORD if key.low is None else WORD << WORD_BITS | WORD
    padded = lasts + [most] * (size - len(results))

    def params(name: str, shift: int) -> list[Word]:
        return [builder.param(f"{name} {index}", last >> shift & WORD) for index, last in enumerate(padded)]

    highs = params("threshold", 0 if key.low is None else WORD_BITS)
    lows = None if key.low is None else params("low threshold", 0)
    bits: list[Word] = []
    step = size >> 1
    while step:
        places = slice(step - 1, None, 2 * step)
        low = None if lows is None else choose(bits, lows[places])
        bits.append(key.exceeds(choose(bits, highs[places]), low))
        step >>= 1
    if results == tuple(range(len(results))):
        places_of_bits = [bit.where(size >> (index + 1), 0) for index, bit in enumerate(bits)]
        return reduce(Word.__or__, places_of_bits, builder.const(0))
    filled = results + results[-1:] * (size - len(results))
    return choose(bits, [builder.param(f"code {index}", code) for index, code in enumerate(filled)])


@dataclass(frozen=True, slots=True)
class Cells:
    """Ranges of float32 keys with at most one threshold each: of equal size, but single keys around zero.

    A cell's number is the top bits of its keys; the `near` single keys on each side of zero are numbered after these.
    """

    shift: int
    near: int

    @property
    def first_keys(self) -> Integers:
        regular = np.arange(0, 1 << WORD_BITS, 1 << self.shift, dtype=np.int64)
        return np.concatenate((regular, np.arange(SIGN - self.near, SIGN + self.near, dtype=np.int64)))

    def number(self, key: Word) -> Word:
        """The cell of a key."""
        number = key >> key.builder.param("cell shift", self.shift)
        if not self.near:
            return number
        place = (key - (SIGN - self.near)).min(2 * self.near)
        count = 1 << (WORD_BITS - self.shift)
        return place.lt(2 * self.near).where(place.min(2 * self.near - 1) + count, number)


def _cells(keys: tuple[int, ...]) -> Cells | None:
    """The largest cells with at most one threshold each; None if thresholds are too dense."""
    turns = np.array(keys, np.int64)
    for shift in range(WORD_BITS - MIN_CELL_BITS, WORD_BITS - MAX_CELL_BITS - 1, -1):
        numbers = turns >> shift
        shared = turns[1:][numbers[1:] == numbers[:-1]]
        farthest = int(np.abs(shared - SIGN).max(initial=0))
        near = (farthest >> shift) + 1 << shift if len(shared) else 0  # whole cells
        if near <= MAX_NEAR_ZERO:
            return Cells(shift, near)
    return None


def _by_cell(key: Word, cells: Cells, keys: tuple[int, ...], results: tuple[int, ...]) -> Word:
    """Look up the cell of the key's top bits and compare with its threshold; narrow results are in the same word."""
    cell = cells.number(key)
    inside = key & key.builder.param("cell mask", (1 << cells.shift) - 1)
    turn, low, high = _contents(cells, keys, results)
    if max(results) < 1 << 8:
        entry = look_up("cells", turn << 16 | high << 8 | low, cell)
        return (inside.lt(entry >> 16).where(entry, entry >> 8)) & 0xFF
    mask = (1 << max(results).bit_length()) - 1
    change = low - high + 1 & mask  # 0, 1 or 2 if neighbouring results are neighbouring codes
    if cells.shift <= 14 and change.max() <= 2:
        entry = look_up("cells", turn << 18 | change << 16 | high, cell)
        moved = entry + ((entry >> 16) & 3) - 1
        return inside.lt(entry >> 18).where(moved, entry) & key.builder.param("code mask", mask)
    pair = look_up("codes of cell", high << 16 | low, cell)
    return (inside.lt(look_up("threshold of cell", turn, cell)).where(pair, pair >> 16)) & 0xFFFF


def _contents(cells: Cells, keys: tuple[int, ...], results: tuple[int, ...]) -> tuple[Integers, Integers, Integers]:
    """For every cell: the offset of its threshold (0 if none), the result below it and the result from it on."""
    turns, outcomes, first = np.array(keys, np.int64), np.array(results, np.int64), cells.first_keys
    size = np.where((first >= SIGN - cells.near) & (first < SIGN + cells.near), 1, 1 << cells.shift)
    below = np.searchsorted(turns, first, side="right")
    beyond = np.searchsorted(turns, first + size - 1, side="right")
    turn = np.where(beyond > below, turns[beyond - 1] - first, 0)
    return turn, outcomes[below], outcomes[beyond]


def _by_bisection(key: Key, keys: tuple[int, ...], results: tuple[int, ...], cell_bits: int) -> Word:
    """Branch-free bisection among the thresholds of a cell of the key's top bits, or among all of them."""
    shift = WORD_BITS - cell_bits
    lasts = np.array([turn - 1 for turn in keys], np.uint64)
    highs = lasts if key.low is None else lasts >> np.uint64(WORD_BITS)
    before = np.searchsorted(highs >> np.uint64(shift), np.arange((1 << cell_bits) + 1, dtype=np.uint64))
    depth = int(np.diff(before).max()).bit_length()
    first, builder = before[:-1], key.high.builder
    place = look_up("thresholds before cell", first, key.high >> shift) if cell_bits else builder.const(0)
    spare = int(first[-1]) + (1 << depth) - len(keys)  # so that every cell has 2^depth
    padding = np.full(spare, WORD, np.uint64)
    high_table = np.concatenate((highs, padding))
    low_table = np.concatenate((lasts & np.uint64(WORD), padding))
    for step in reversed([1 << power for power in range(depth)]):
        at = place + (step - 1)
        low = None if key.low is None else look_up("low thresholds", low_table, at)
        place = place + key.exceeds(look_up("thresholds", high_table, at), low).where(step, 0)
    return look_up("codes", results + results[-1:] * (spare - 1), place)
