"""Elements that are a list of values: the value of code 0, of code 1, and so on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from statqat_sim.errors import shown
from statqat_sim.spec.base import MAX_TABLE_BITS, KeyProblem, Spec


class CodebookElement(Spec):
    """At most 2^bits finite values, in any order. Codes beyond the list read NaN and are the format's NaN."""

    kind: Literal["codebook"]
    bits: Annotated[int, Field(ge=1, le=MAX_TABLE_BITS)]
    values: Annotated[tuple[float, ...], Field(min_length=1, strict=False)]

    def __eq__(self, other: object) -> bool:
        """Equality of what the codes mean: 0.0 and -0.0 differ."""
        return isinstance(other, CodebookElement) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @cached_property
    def _identity(self) -> tuple[int, tuple[str, ...]]:
        return self.bits, tuple(map(float.hex, self.values))

    @property
    def sign_bit(self) -> int:
        return 0

    def value(self, code: int) -> float:
        """The listed value, or NaN for an unused code."""
        return self.values[code] if code < len(self.values) else math.nan

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """The distinct values in ascending order; -0.0 and 0.0 are one level."""
        return tuple(sorted({value + 0.0 for value in self.values}))

    def level_code(self, level: float, *, negative_zero: bool = False) -> int:
        """The lowest code of a level; of level 0 the lowest code of -0.0 or of 0.0, where both exist."""
        codes = [code for code, value in enumerate(self.values) if value == level]
        if level == 0:
            sign = -1.0 if negative_zero else 1.0
            codes = [code for code in codes if math.copysign(1.0, self.values[code]) == sign] or codes
        return codes[0]

    @property
    def inf_code(self) -> None:
        return None

    @property
    def nan_code(self) -> int | None:
        """The lowest unused code."""
        return len(self.values) if self.nan_count else None

    @property
    def signed_nan(self) -> bool:
        return False

    @property
    def zero_code(self) -> int:
        """Code of +0, where the format has one."""
        return self.level_code(0.0)

    @property
    def has_zero(self) -> bool:
        return 0.0 in self.values

    @property
    def has_negative(self) -> bool:
        return self.lowest < 0

    @property
    def highest(self) -> float:
        return self.levels[-1]

    @property
    def lowest(self) -> float:
        return self.levels[0]

    @property
    def smallest(self) -> float:
        """The smallest value above zero; of a codebook without one, the least magnitude but zero."""
        positive = [level for level in self.levels if level > 0]
        return positive[0] if positive else max((level for level in self.levels if level < 0), default=0.0)

    @property
    def min_normal(self) -> float:
        return self.smallest

    @property
    def min_subnormal(self) -> None:
        return None

    @property
    def ulp_at_one(self) -> float | None:
        """Distance from 1 to the next larger value, if both exist."""
        above = [level for level in self.levels if level > 1]
        return above[0] - 1 if above and 1.0 in self.levels else None

    @property
    def nan_count(self) -> int:
        return (1 << self.bits) - len(self.values)

    @property
    def inf_count(self) -> int:
        return 0

    def produces(self, code: int) -> bool:
        return code < len(self.values)

    def problems(self) -> Iterator[KeyProblem]:
        """The keys that are impossible together."""
        if len(self.values) > 1 << self.bits:
            yield "values", f"{len(self.values)} values for {self.bits} bits; allowed: at most {1 << self.bits}"
        for index, value in enumerate(self.values):
            if not math.isfinite(value):
                yield f"values.{index}", f"{shown(value)} is not finite; codes beyond the list read NaN"
        if not any(self.values):
            yield "values", "no value other than zero is left"
