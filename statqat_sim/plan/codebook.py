"""Codebooks: an encoder that counts thresholds or looks them up, and a decoder that is a table."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from statqat_sim.plan.builder import Word
from statqat_sim.plan.float32 import INFINITY, QUIET_NAN, SIGN, ceil_magnitude, floor_magnitude, nearest_bits
from statqat_sim.plan.program import WORD
from statqat_sim.plan.rounding import boundary, boundary_around_zero
from statqat_sim.plan.source import nan_instead, take_apart
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.encode import EncodePolicy, InfInput, NanInput, NegativeInput, Underflow, ZeroInput

SMALL_TABLE_BITS: Final = 4
"""Up to 2^4 words are chosen by selects; longer tables are read."""

MIN_CELL_BITS: Final = 16
MAX_CELL_BITS: Final = 20
"""How many top bits of a key may choose a cell: tables of 256 KiB to 4 MiB, of which data touches a small part."""

POSITIVE_ZERO: Final = SIGN
"""The key of +0.0; keys order float32 words as numbers, -0.0 just below +0.0."""


def encode_codebook(word: Word, element: CodebookElement, policy: EncodePolicy) -> Word:
    """The code of a float32 word."""
    return _encode(word, element, policy, lambda code: code)


def has_value_shortcut(element: CodebookElement, policy: EncodePolicy) -> bool:
    """Whether `round_to_level` may be used: values few enough to be selected, and no NaN told by its code."""
    return element.bits <= SMALL_TABLE_BITS and isinstance(policy.nan_input, NanInput)


def round_to_level(word: Word, element: CodebookElement, policy: EncodePolicy) -> Word:
    """decode(encode(word)) without the code between, where `has_value_shortcut`."""
    return _encode(word, element, policy, _words(element).__getitem__)


def decode_codebook(code: Word, element: CodebookElement) -> Word:
    """The float32 word of a code."""
    words = _words(element)
    if element.bits <= SMALL_TABLE_BITS:
        options = [code.builder.param(f"value {index}", word) for index, word in enumerate(words)]
        return _choose([code & (1 << place) for place in reversed(range(element.bits))], options)
    return _look_up("values", words, code & code.builder.param("code mask", len(words) - 1))


def _words(element: CodebookElement) -> list[int]:
    """The float32 word of every code."""
    return [*map(nearest_bits, element.values), *[QUIET_NAN] * element.nan_count]


def _encode(word: Word, element: CodebookElement, policy: EncodePolicy, told: Callable[[int], int]) -> Word:
    """A code, or what `told` makes of it."""
    source, builder = take_apart(word, element, policy), word.builder
    key = (source.sign | source.magnitude) ^ ((builder.const(0) - source.negative) | SIGN)
    keys, codes = _steps(element, policy)
    result = _search(key, keys, [told(code) for code in codes])

    def nan_if(condition: Word, otherwise: Word) -> Word:
        assert element.nan_code is not None, "the spec's rules have proven that NaN exists"
        return condition.where(builder.param("NaN", told(element.nan_code)), otherwise)

    if policy.inf_input is InfInput.NAN:
        result = nan_if(source.magnitude.eq(INFINITY), result)
    if policy.zero_input is ZeroInput.NAN:
        result = nan_if(source.magnitude.eq(0), result)
    if source.below_zero is not None and policy.negative_input is NegativeInput.NAN:
        result = nan_if(source.below_zero, result)
    elif source.below_zero is not None:
        smallest = builder.param("smallest", told(element.level_code(element.lowest)))
        result = source.below_zero.where(smallest, result)
    if policy.nan_input is NanInput.NAN:
        return nan_if(source.is_nan, result)
    instead = element.zero_code if policy.nan_input is NanInput.ZERO else element.level_code(element.highest)
    return nan_instead(result, source, element, policy, told(instead))


def _steps(element: CodebookElement, policy: EncodePolicy) -> tuple[list[int], list[int]]:
    """The encoder as a step function over keys: codes[0] below keys[0], then codes[i + 1] from keys[i] on."""
    lowest = {value: code for code, value in reversed(tuple(enumerate(element.values)))}
    levels = element.levels
    keys = [_first_key(*_turn(policy, *pair, odd=bool(index & 1))) for index, pair in enumerate(pairwise(levels))]
    codes = [lowest[level] for level in levels]
    if element.has_zero:
        zero = levels.index(0.0)
        codes[zero] = element.level_code(0.0, negative_zero=True)
        positive = element.level_code(0.0)
        if positive != codes[zero]:
            keys.insert(zero, POSITIVE_ZERO)
            codes.insert(zero + 1, positive)
    return keys, codes


def _turn(policy: EncodePolicy, low: float, high: float, odd: bool) -> tuple[Fraction, bool]:
    """Where the real line passes from level `low` to `high`, and whether that value itself does; `odd`: low's index."""
    if policy.underflow is Underflow.MIN and 0.0 in (low, high):
        return Fraction(0), high == 0
    below, above, mode = Fraction(low), Fraction(high), policy.rounding
    if low >= 0:
        turn = boundary(mode, below, above, odd, negative=False)
        return turn.value, turn.included
    if high <= 0:
        turn = boundary(mode, -above, -below, not odd, negative=True)
        return -turn.value, not turn.included
    return boundary_around_zero(mode, below, above, odd)


def _first_key(value: Fraction, included: bool) -> int:
    """The key of the first float32 above `value`, or at it if `included`."""
    if value > 0 or (value == 0 and not included):
        return SIGN + (ceil_magnitude(value) if included else floor_magnitude(value) + 1)
    return SIGN - 1 - (floor_magnitude(-value) if included else ceil_magnitude(-value) - 1)


def _search(key: Word, keys: list[int], codes: list[int]) -> Word:
    """The code at `key`: by selects, by one look-up and one compare, or by bisection in a table."""
    if len(codes) <= 1 << SMALL_TABLE_BITS:
        return _compare(key, keys, codes)
    for bits in range(MIN_CELL_BITS, MAX_CELL_BITS + 1):
        cells = np.unique(np.array(keys, np.uint32)) >> np.uint32(32 - bits)
        if len(np.unique(cells)) == len(cells):
            return _cells(key, keys, codes, 32 - bits)
    return _bisect(key, keys, codes)


def _compare(key: Word, keys: list[int], codes: list[int]) -> Word:
    """Bisection with the thresholds as parameters; padded to a power of two, so that few shapes serve all."""
    builder = key.builder
    size = 1 << len(keys).bit_length()
    lasts = [turn - 1 for turn in keys] + [WORD] * (size - len(codes))  # above them: the next level
    thresholds = [builder.param(f"threshold {index}", last) for index, last in enumerate(lasts)]
    bits: list[Word] = []
    step = size >> 1
    while step:
        bits.append(_choose(bits, thresholds[step - 1 :: 2 * step]).lt(key))
        step >>= 1
    if codes == list(range(len(codes))):
        places = [bit.where(size >> (index + 1), 0) for index, bit in enumerate(bits)]
        return reduce(Word.__or__, places, builder.const(0))
    padded = codes + codes[-1:] * (size - len(codes))
    return _choose(bits, [builder.param(f"code {index}", code) for index, code in enumerate(padded)])


def _choose(bits: list[Word], options: list[Word]) -> Word:
    """One of 2^len(bits) words by its index, most significant bit first: faster on vectors than reading a table."""
    for bit in bits:
        half = len(options) // 2
        options = [bit.where(high, low) for low, high in zip(options[:half], options[half:], strict=True)]
    return options[0]


def _cells(key: Word, keys: list[int], codes: list[int], shift: int) -> Word:
    """The top bits choose a cell that holds one threshold at most; codes of a byte share a word with it."""
    cell = key >> key.builder.param("cell shift", shift)
    first = np.arange(0, 1 << 32, 1 << shift, dtype=np.uint64)
    turns, outcomes = np.array(keys, np.uint64), np.array(codes, np.uint64)
    below = np.searchsorted(turns, first, side="right")
    beyond = np.searchsorted(turns, first + np.uint64((1 << shift) - 1), side="right")
    low, high = outcomes[below], outcomes[beyond]
    turn = np.where(beyond > below, turns[beyond - 1] - first, 0)
    inside = key & key.builder.param("cell mask", (1 << shift) - 1)
    if max(codes) < 1 << 8:
        entry = _look_up("cells", turn << np.uint64(16) | high << np.uint64(8) | low, cell)
        return (inside.lt(entry >> 16).where(entry, entry >> 8)) & 0xFF
    pair = _look_up("codes of cell", high << np.uint64(16) | low, cell)
    return (inside.lt(_look_up("threshold of cell", turn, cell)).where(pair, pair >> 16)) & 0xFFFF


def _bisect(key: Word, keys: list[int], codes: list[int]) -> Word:
    """Branch-free bisection over the sorted thresholds."""
    size = 1 << len(keys).bit_length()
    padded = keys + [WORD] * (size - len(keys))
    place = key.builder.const(0)
    step = size >> 1
    while step:
        turn = _look_up("thresholds", padded, place + (step - 1))
        place = place + key.lt(turn).where(0, step)
        step >>= 1
    return _look_up("codes", codes + [codes[-1]] * (size - len(codes)), place)


def _look_up(name: str, words: ArrayLike, index: Word) -> Word:
    return index.builder.table(name, np.asarray(words, "<u4").tobytes(), index)
