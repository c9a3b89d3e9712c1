"""Elements whose leading bits decide how many exponent and mantissa bits follow (HiFloat8)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field

from statqat_sim.spec.base import MAX_TABLE_BITS, KeyProblem, Spec, Worded
from statqat_sim.spec.listed import ListedElement

MAX_EXPONENT_BITS = 10
"""The most exponent bits: D bits reach exponents of ±(2^D - 1), and float64 ends at 2^1024."""

MAX_REGIMES = MAX_EXPONENT_BITS + 2
"""The most regimes: one for each exponent width, and that of zero."""

LEAST_EXPONENT = -1074
"""The exponent of float64's smallest subnormal."""


class TaperedNan(StrEnum):
    """Which codes are NaN."""

    NONE = "none"
    NEGATIVE_ZERO = "negative_zero"


class TaperedInf(StrEnum):
    """Which codes are infinite; `max_code`: what would be the largest magnitude, with both signs."""

    NONE = "none"
    MAX_CODE = "max_code"


class Regime(Spec):
    """The codes that begin, after the sign bit, with `prefix`.

    With `exponent_bits` = D: a D-bit exponent in sign and magnitude whose leading one is implicit (D = 0: exponent 0),
    then `mantissa_bits`. With `subnormal_exponent` = s: value 2^(s + M), and 0 for M = 0.
    """

    prefix: Annotated[str, Field(pattern="^[01]+$", examples=["01"])]
    mantissa_bits: Annotated[int, Field(ge=1, le=MAX_TABLE_BITS - 2)]
    exponent_bits: Annotated[int, Field(ge=0, le=MAX_EXPONENT_BITS)] | None = None
    subnormal_exponent: Annotated[int, Field(ge=LEAST_EXPONENT - 1, le=-2)] | None = None

    @property
    def bits(self) -> int:
        """Bits of a magnitude, prefix included."""
        return len(self.prefix) + (self.exponent_bits or 0) + self.mantissa_bits

    @property
    def first(self) -> int:
        """The least magnitude that begins with the prefix."""
        return int(self.prefix, 2) << (self.bits - len(self.prefix))

    @property
    def top(self) -> int:
        """The magnitude of the largest value: exponent sign 0, then ones."""
        exponent = (1 << max((self.exponent_bits or 0) - 1, 0)) - 1
        return self.first | (exponent << self.mantissa_bits) | ((1 << self.mantissa_bits) - 1)

    @property
    def top_exponent(self) -> int:
        """The exponent of the largest value; that of the smallest normal value is its negative."""
        return (1 << (self.exponent_bits or 0)) - 1

    def value(self, magnitude: int) -> float:
        """Exact value of a magnitude that begins with the prefix."""
        field, mantissa = divmod(magnitude - self.first, 1 << self.mantissa_bits)
        if self.subnormal_exponent is not None:
            return math.ldexp(1.0, self.subnormal_exponent + mantissa) if mantissa else 0.0
        significand = math.ldexp(mantissa, -self.mantissa_bits) + 1
        return math.ldexp(significand, self._exponent(field))

    def _exponent(self, field: int) -> int:
        if not self.exponent_bits:
            return 0
        leading_one = 1 << (self.exponent_bits - 1)
        magnitude = field | leading_one  # the leading one replaces the sign bit
        return -magnitude if field & leading_one else magnitude


class TaperedElement(ListedElement):
    """A sign bit, then a code of one of the regimes, which share all bits out among them (arXiv 2409.16626)."""

    kind: Literal["tapered"]
    bits: Annotated[int, Field(ge=3, le=MAX_TABLE_BITS)]
    regimes: Annotated[tuple[Regime, ...], Field(min_length=2, max_length=MAX_REGIMES, strict=False)]
    nan: Worded[TaperedNan] = TaperedNan.NONE
    inf: Worded[TaperedInf] = TaperedInf.NONE

    def magnitude_value(self, magnitude: int) -> float:
        """Exact value of a code without its sign, read as finite."""
        prefixed = format(magnitude, f"0{self.bits - 1}b")
        return next(regime for regime in self.regimes if prefixed.startswith(regime.prefix)).value(magnitude)

    def value(self, code: int) -> float:
        magnitude, is_negative = code & ~self.sign_bit, bool(code & self.sign_bit)
        if code == self.nan_code:
            return math.nan
        value = math.inf if magnitude == self.inf_code else self.magnitude_value(magnitude)
        return -value if is_negative else value

    @property
    def _widest(self) -> Regime:
        """The regime with the largest values."""
        return max(self.regimes, key=lambda regime: -1 if regime.exponent_bits is None else regime.exponent_bits)

    @property
    def _subnormal(self) -> Regime:
        """The regime of zero."""
        return next(regime for regime in self.regimes if regime.subnormal_exponent is not None)

    @property
    def sign_bit(self) -> int:
        return 1 << (self.bits - 1)

    @property
    def inf_code(self) -> int | None:
        """Code of +Inf."""
        return self._widest.top if self.inf is TaperedInf.MAX_CODE else None

    @property
    def nan_code(self) -> int | None:
        return self.sign_bit if self.nan is TaperedNan.NEGATIVE_ZERO else None

    @property
    def zero_code(self) -> int:
        return self._subnormal.first

    @property
    def successor(self) -> float | None:
        """The Inf code, read as finite; None if the format has no Inf."""
        return None if self.inf_code is None else self.magnitude_value(self.inf_code)

    @property
    def highest(self) -> float:
        return self.magnitude_value(self._widest.top - (self.inf_code is not None))

    @property
    def lowest(self) -> float:
        return -self.highest

    @property
    def smallest(self) -> float:
        return self.magnitude_value(self.zero_code + 1)

    @property
    def min_normal(self) -> float:
        return math.ldexp(1.0, -self._widest.top_exponent)

    @property
    def min_subnormal(self) -> float:
        return self.smallest

    def problems(self) -> Iterator[KeyProblem]:
        """Impossible combinations of keys."""
        yield from [*self._keys()] or [*self._widths()] or [*self._prefixes(), *self._meanings()] or [*self._range()]

    def _keys(self) -> Iterator[KeyProblem]:
        for index, regime in enumerate(self.regimes):
            if regime.exponent_bits is None and regime.subnormal_exponent is None:
                yield f"regimes.{index}", "required key 'exponent_bits' or 'subnormal_exponent' is missing"
            elif regime.exponent_bits is not None and regime.subnormal_exponent is not None:
                yield f"regimes.{index}.subnormal_exponent", "stands beside exponent_bits; allowed: one of the two"

    def _widths(self) -> Iterator[KeyProblem]:
        for index, regime in enumerate(self.regimes):
            if regime.bits != self.bits - 1:
                what = (
                    f"prefix, exponent and mantissa have {regime.bits} bits; allowed: {self.bits - 1}, all but the sign"
                )
                yield f"regimes.{index}.mantissa_bits", what

    def _prefixes(self) -> Iterator[KeyProblem]:
        """Check that each code begins with exactly one prefix (Kraft's sum is then 1)."""
        prefixes = [regime.prefix for regime in self.regimes]
        for (_, one), (index, other) in combinations(enumerate(prefixes), 2):
            if one.startswith(other) or other.startswith(one):
                yield (
                    f"regimes.{index}.prefix",
                    f"{other!r} and {one!r} begin alike; codes would mean two values",
                )
                return
        longest = max(map(len, prefixes))
        missing = (1 << longest) - sum(1 << (longest - len(prefix)) for prefix in prefixes)
        if missing:
            example = next(
                text for code in range(1 << longest) if not (text := f"{code:0{longest}b}").startswith(tuple(prefixes))
            )
            yield "regimes", f"codes that begin with {example} belong to no regime; the prefixes must cover all codes"

    def _meanings(self) -> Iterator[KeyProblem]:
        """Check that each exponent belongs to exactly one regime, and so does zero."""
        subnormal = [index for index, regime in enumerate(self.regimes) if regime.subnormal_exponent is not None]
        if not subnormal:
            yield "regimes", "no code is zero; one regime needs subnormal_exponent"
        for index in subnormal[1:]:
            yield (
                f"regimes.{index}.subnormal_exponent",
                "zero has a regime already; allowed: one such regime",
            )
        widths = [regime.exponent_bits for regime in self.regimes]
        for index, width in enumerate(widths):
            if width is not None and width in widths[:index]:
                yield f"regimes.{index}.exponent_bits", f"{width} stands in two regimes, whose values would be the same"
        if subnormal and self.nan is TaperedNan.NEGATIVE_ZERO and self.zero_code:
            yield "nan", "'negative_zero' needs the zero at code 0: the prefix of subnormal_exponent must be zeros"

    def _range(self) -> Iterator[KeyProblem]:
        """Check that subnormal values are exact in float64, and below all others."""
        index, regime = next((i, r) for i, r in enumerate(self.regimes) if r is self._subnormal)
        normal = -self._widest.top_exponent
        least, most = LEAST_EXPONENT - 1, normal - (1 << regime.mantissa_bits)
        if not least <= (regime.subnormal_exponent or 0) <= most:
            what = f"subnormal values lie between 2^{LEAST_EXPONENT} and the least normal one, 2^{normal}"
            allowed = f"allowed: {least} to {most}" if least <= most else "use fewer mantissa_bits"
            yield f"regimes.{index}.subnormal_exponent", f"{regime.subnormal_exponent}: {what}; {allowed}"
