"""Tables of words in plans."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from statqat_sim.plan.builder import Word

Integers: TypeAlias = NDArray[Any]


def look_up(name: str, words: ArrayLike, index: Word) -> Word:
    """The word at `index` of a table fixed by the format."""
    return index.builder.table(name, np.asarray(words, "<u4").tobytes(), index)
