"""Checks of options, made before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np

from statqat_sim.errors import none_of, shown


def check_flag(name: str, value: object) -> None:
    """Check that an option is a boolean.

    Raises:
        TypeError: if it is not.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {shown(value)}; allowed: True or False")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Check that an option is one of a few words.

    Raises:
        ValueError: if it is not; the message suggests the nearest.
    """
    if value not in allowed:
        raise ValueError(f"{name} is {shown(value)}{none_of(value, allowed)}")


def check_count(name: str, value: object) -> None:
    """Check that an option is a positive integer.

    Raises:
        ValueError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} is {shown(value)}; allowed: whole numbers, at least 1")


def check_between(name: str, value: object, low: float, high: float, allowed: str) -> None:
    """Check that an option is a real number strictly between two others.

    Raises:
        ValueError: if it is not; `allowed` describes the range.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low < float(value) < high:
        raise ValueError(f"{name} is {shown(value)}; allowed: {allowed}")
