"""What options of quantizers may be, told when one is made."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np

from statqat_sim.errors import shown


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither true nor false.

    Raises:
        TypeError: if it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {shown(value)}; allowed: True or False")


def check_count(name: str, value: object) -> None:
    """Refuse what is no number of things.

    Raises:
        ValueError: unless it is a whole number of at least 1.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} is {shown(value)}; allowed: whole numbers, at least 1")


def check_between(name: str, value: object, low: float, high: float, allowed: str) -> None:
    """Refuse what is no number between two others.

    Raises:
        ValueError: if it is something else, or one of them.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low < float(value) < high:
        raise ValueError(f"{name} is {shown(value)}; allowed: {allowed}")
