"""One choice from each of several lists, at the least total cost within a total size; exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

HALVINGS = 60


class Choice(NamedTuple):
    """What one choice takes, and what it costs."""

    size: int
    cost: float


class Chosen(NamedTuple):
    """A partial solution: what the lists so far take and cost, and the last list's choice after those before it."""

    size: int
    cost: float
    last: int
    before: Chosen | None


def cheapest(lists: Sequence[Sequence[Choice]], room: int) -> tuple[int, ...] | None:
    """The index of the choice from each list, of least Σ cost with Σ size <= room; None where nothing fits.

    Partial solutions that another one beats in both are dropped, and so are those that even at the best price for
    room (a Lagrange multiplier, which bounds the rest from below) cannot beat a solution that is known. Of equal costs
    the one that takes less room wins.
    """
    if sum(min(choice.size for choice in choices) for choices in lists) > room:
        return None
    price = _price(lists, room)
    least = [min(choice.cost + price * choice.size for choice in choices) for choices in lists]
    rest = sum(least)
    known = _cost(lists, _at_price(lists, price))  # `_price` ends where it fits
    tolerance = 1e-9 * (abs(known) + sum(abs(choice.cost) for choices in lists for choice in choices) + 1e-300)
    states = [Chosen(0, 0.0, -1, None)]
    tails = [
        sum(min(choice.size for choice in choices) for choices in lists[index + 1 :]) for index in range(len(lists))
    ]
    for choices, own, tail in zip(lists, least, tails, strict=True):
        rest -= own
        grown = (
            Chosen(state.size + choice.size, state.cost + choice.cost, index, state)
            for state in states
            for index, choice in enumerate(choices)
        )
        bound = known + tolerance + price * room - rest
        states = _front([new for new in grown if new.size + tail <= room and new.cost + price * new.size <= bound])
    return _path(min(states, key=lambda state: (state.cost, state.size)))


def _front(states: list[Chosen]) -> list[Chosen]:
    """Those that no other beats in both size and cost."""
    best, kept = math.inf, []
    for state in sorted(states, key=lambda state: (state.size, state.cost)):
        if state.cost < best:
            best = state.cost
            kept.append(state)
    return kept


def _price(lists: Sequence[Sequence[Choice]], room: int) -> float:
    """The least price of room, within a factor of 2^-60, at which the best choice of each list fits."""
    if _size(lists, _at_price(lists, 0.0)) <= room:
        return 0.0
    low, high = 0.0, 1e-30
    while _size(lists, _at_price(lists, high)) > room:
        low, high = high, 4 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _size(lists, _at_price(lists, middle)) <= room else (middle, high)
    return high


def _at_price(lists: Sequence[Sequence[Choice]], price: float) -> list[int]:
    """The best choice of each list by itself; of equal ones the smallest."""
    return [
        min(
            range(len(choices)),
            key=lambda index: (choices[index].cost + price * choices[index].size, choices[index].size),
        )
        for choices in lists
    ]


def _size(lists: Sequence[Sequence[Choice]], chosen: Sequence[int]) -> int:
    return sum(choices[index].size for choices, index in zip(lists, chosen, strict=True))


def _cost(lists: Sequence[Sequence[Choice]], chosen: Sequence[int]) -> float:
    return math.fsum(choices[index].cost for choices, index in zip(lists, chosen, strict=True))


def _path(state: Chosen) -> tuple[int, ...]:
    indices: list[int] = []
    while state.before is not None:
        indices.append(state.last)
        state = state.before
    return tuple(reversed(indices))
