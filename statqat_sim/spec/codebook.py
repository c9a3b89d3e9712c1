"""Elements that are a list of values: the value of code 0, of code 1, and so on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from statqat_sim.errors import shown
from statqat_sim.spec.base import KeyProblem
from statqat_sim.spec.listed import ListedElement


class CodebookElement(ListedElement):
    """At most 2^bits finite values, in any order. Codes beyond the list read NaN and are the format's NaN."""

    kind: Literal["codebook"]
    values: Annotated[tuple[float, ...], Field(min_length=1, strict=False)]

    def __eq__(self, other: object) -> bool:
        """Equality of what the codes mean: 0.0 and -0.0 differ."""
        return isinstance(other, CodebookElement) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @cached_property
    def _identity(self) -> tuple[int, tuple[str, ...]]:
        return self.bits, tuple(map(float.hex, self.values))

    def value(self, code: int) -> float:
        """The listed value, or NaN for an unused code."""
        return self.values[code] if code < len(self.values) else math.nan

    def is_odd(self, index: int) -> bool:
        """The parity of `levels[index]`: of its index."""
        return bool(index & 1)

    @property
    def nan_code(self) -> int | None:
        """The lowest unused code."""
        return len(self.values) if self.nan_count else None

    @property
    def has_zero(self) -> bool:
        return 0.0 in self.values

    @property
    def has_negative(self) -> bool:
        return min(self.values) < 0

    @property
    def nan_count(self) -> int:
        return (1 << self.bits) - len(self.values)

    def produces(self, code: int) -> bool:
        return code < len(self.values)

    def problems(self) -> Iterator[KeyProblem]:
        """Impossible combinations of keys."""
        if len(self.values) > 1 << self.bits:
            yield "values", f"{len(self.values)} values for {self.bits} bits; allowed: at most {1 << self.bits}"
        for index, value in enumerate(self.values):
            if not math.isfinite(value):
                yield f"values.{index}", f"{shown(value)} is not finite; codes beyond the list read NaN"
        if not any(self.values):
            yield "values", "no value other than zero is left"
