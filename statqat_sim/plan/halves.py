"""Step functions of float32 by one look-up of a word's top half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import MAGNITUDE, SIGN
from statqat_sim.plan.step import WORD
from statqat_sim.plan.tables import Integers, look_up

HALF_BITS: Final = 16
HALF: Final = (1 << HALF_BITS) - 1


@dataclass(frozen=True, slots=True)
class Halves:
    """A step function of float32 that depends on the top half of a word, and on whether the bottom half is 0.

    Words below 2^16 without their sign may each have a result of their own.
    """

    words: Integers
    """One for each top half: its result where the bottom half is 0, and in the upper 16 bits that elsewhere.

    Then, if `are_tiny_apart`, the results of tiny positive words and of tiny negative words.
    """

    are_whole: bool
    """Whether results are words whose bottom half is 0; else they are below 2^16."""

    are_tiny_apart: bool

    @classmethod
    def of(cls, keys: tuple[int, ...], results: tuple[int, ...]) -> Halves | None:
        """The function with these steps, see `search`; None if it is not such a function."""
        turns, outcomes = np.array(keys, np.int64), np.array(results, np.int64)
        distances = np.abs(turns - SIGN)  # the least magnitude on the far side of each step
        is_regular = (distances & HALF) <= 1  # at a top half, or just above it
        if not np.all(is_regular | (distances <= HALF)):
            return None

        def outcome(words: Integers) -> Integers:
            ordered = np.where(words & SIGN, words ^ WORD, words | SIGN)
            return outcomes[np.searchsorted(turns, ordered, side="right")]

        tops, tiny = np.arange(1 << HALF_BITS) << HALF_BITS, np.arange(1 << HALF_BITS)
        at, beyond = outcome(tops), outcome(tops | 1)
        are_tiny_apart = not bool(np.all(is_regular))
        if are_tiny_apart:
            at, beyond = (np.where(tops & MAGNITUDE, half, 0) for half in (at, beyond))
        are_whole = bool(max(results) > HALF)
        if are_whole and np.any((at | beyond) & HALF):
            return None
        words = beyond | at >> HALF_BITS if are_whole else beyond << HALF_BITS | at
        parts = [outcome(tiny), outcome(tiny | SIGN)] if are_tiny_apart else []
        return cls(np.concatenate((words, *parts)), are_whole, are_tiny_apart)

    def result(self, sign: Word, magnitude: Word) -> Word:
        """The result for a float32."""
        bottom, index = magnitude & HALF, (sign | magnitude) >> HALF_BITS
        is_tiny = magnitude.lt(1 << HALF_BITS) if self.are_tiny_apart else None
        if is_tiny is not None:
            index = is_tiny.where(bottom + (((sign >> 31) + 1) << HALF_BITS), index)
        entry, is_zero = look_up("results of halves", self.words, index), bottom.eq(0)
        if self.are_whole:
            found = is_zero.where(entry << HALF_BITS, entry & (WORD ^ HALF))
            return found if is_tiny is None else is_tiny.where(entry, found)
        is_low = is_zero if is_tiny is None else is_zero | is_tiny
        return is_low.where(entry, entry >> HALF_BITS) & HALF
