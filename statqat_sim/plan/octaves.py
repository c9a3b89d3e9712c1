"""Step functions of float32 that repeat from octave to octave, as logarithmic numbers do: no table is read."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from statqat_sim.plan.builder import Word
from statqat_sim.plan.layout import HIDDEN_BIT as OCTAVE
from statqat_sim.plan.layout import INFINITY, SIGN

MOST_STEPS: Final = 16
"""The most steps in an octave; more are found faster in a table."""


@dataclass(frozen=True, slots=True)
class Octaves:
    """A step function f to float32 with f(2x) = 2 f(x) between its ends, and f(-x) = -f(x) except near zero.

    All numbers are float32 words, in which an octave is `OCTAVE` long.
    """

    least: int
    """The smallest magnitude that is not near zero."""

    last: int
    """The largest magnitude with a step."""

    steps: tuple[int, ...]
    """The magnitudes where the steps of the first octave lie; the first of them may be below `least`."""

    results: tuple[int, ...]
    """The results from each of these steps on."""

    near_zero: tuple[int, int]
    """The results below `least`: of positive inputs, and of negative ones."""

    @classmethod
    def of(cls, keys: tuple[int, ...], results: tuple[int, ...]) -> Octaves | None:
        """The function with these steps, see `search`; None if it is not such a function."""
        below, above = bisect_left(keys, SIGN), bisect_left(keys, SIGN + 1)
        places, values = [key - SIGN for key in keys[above:]], results[above + 1 :]
        if places != [SIGN - key for key in reversed(keys[:below])] or len(places) < 2 or max(values) >= INFINITY:
            return None
        if tuple(value | SIGN for value in values) != results[:below][::-1]:
            return None
        count = bisect_left(places, places[1] + OCTAVE) - 1
        steps, firsts = (places[count] - OCTAVE, *places[1:count]), values[:count]
        if count > MOST_STEPS or steps[0] <= 0:
            return None
        octaves = range(0, OCTAVE * len(places), OCTAVE)
        if any(place != steps[i % count] + octaves[i // count] for i, place in enumerate(places) if i):
            return None
        if any(value != firsts[i % count] + octaves[i // count] for i, value in enumerate(values)):
            return None
        return cls(places[0], places[-1], steps, firsts, (results[above], results[below]))

    def result(self, sign: Word, magnitude: Word) -> Word:
        """The result for a float32."""
        builder = sign.builder
        first = builder.param("first step", self.steps[0])
        place = magnitude.min(builder.param("last step", self.last)).above(first)
        inside, value = place & (OCTAVE - 1), builder.param("value 0", self.results[0])
        for index, (step, result) in enumerate(zip(self.steps[1:], self.results[1:], strict=True), 1):
            is_below = inside.lt(builder.param(f"step {index}", step - self.steps[0]))
            value = is_below.where(value, builder.param(f"value {index}", result))
        positive, negative = self.near_zero
        near_zero = builder.param("near zero", positive)
        if negative != positive:
            near_zero = (sign >> 31).where(builder.param("near zero (negative)", negative), near_zero)
        is_near_zero = magnitude.lt(builder.param("least", self.least))
        return is_near_zero.where(near_zero, (value + (place - inside)) | sign)
