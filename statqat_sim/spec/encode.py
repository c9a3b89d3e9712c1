"""How reals become codes: rounding, overflow and the policies for every special input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, TypeAlias

from pydantic import Field

from statqat_sim.spec.base import KeyProblem, Spec, Worded
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.floating import FloatElement
from statqat_sim.spec.integer import Encoding, IntElement

Element: TypeAlias = FloatElement | IntElement | CodebookElement


class Rounding(StrEnum):
    """Which of the two neighbours an input between them becomes. Ties: see `spec_language`, Definitions 14, 15."""

    NEAREST_EVEN = "nearest_even"
    NEAREST_AWAY = "nearest_away"
    NEAREST_ZERO = "nearest_zero"
    NEAREST_UP = "nearest_up"
    TOWARD_ZERO = "toward_zero"
    TOWARD_POSITIVE = "toward_positive"
    TOWARD_NEGATIVE = "toward_negative"
    TO_ODD = "to_odd"


class Overflow(StrEnum):
    """What a value beyond the largest finite one becomes."""

    SATURATE = "saturate"
    INF = "inf"
    NAN = "nan"
    WRAP = "wrap"


class InfInput(StrEnum):
    """What ±Inf becomes; `overflow`: the overflow rule, without its exceptions for directed rounding."""

    OVERFLOW = "overflow"
    SATURATE = "saturate"
    INF = "inf"
    NAN = "nan"


class NanInput(StrEnum):
    """What NaN becomes; `max`: the largest value, positive whatever the NaN's sign."""

    NAN = "nan"
    MAX = "max"
    ZERO = "zero"
    ERROR = "error"


class ZeroInput(StrEnum):
    """What zero becomes in a float format without one."""

    MIN = "min"
    NAN = "nan"


class Underflow(StrEnum):
    """What a nonzero input that rounds to zero becomes."""

    ZERO = "zero"
    MIN = "min"


class NegativeInput(StrEnum):
    """What an input below zero becomes in a format without negative values."""

    CLAMP = "clamp"
    NAN = "nan"
    ABS = "abs"


class Via(StrEnum):
    """An intermediate format that the input is rounded to first, to nearest even."""

    EXACT = "exact"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class TieDomain(StrEnum):
    """Where the midpoint between neighbours lies."""

    ARITHMETIC = "arithmetic"


class EncodePolicy(Spec):
    """The `encode` part of a spec. `nan_input` may also be a code."""

    rounding: Worded[Rounding] = Rounding.NEAREST_EVEN
    tie_domain: Worded[TieDomain] = TieDomain.ARITHMETIC
    overflow: Worded[Overflow] = Overflow.SATURATE
    inf_input: Worded[InfInput] = InfInput.OVERFLOW
    nan_input: Annotated[int, Field(ge=0)] | Worded[NanInput] | None = None
    zero_input: Worded[ZeroInput] = ZeroInput.MIN
    underflow: Worded[Underflow] = Underflow.ZERO
    negative_input: Worded[NegativeInput] = NegativeInput.CLAMP
    flush_inputs: bool = False
    via: Worded[Via] = Via.EXACT

    def resolved(self, element: Element) -> EncodePolicy:
        """The policy with the default that depends on the element filled in."""
        if self.nan_input is not None:
            return self
        default = NanInput.MAX if element.nan_code is None else NanInput.NAN
        return self.model_copy(update={"nan_input": default})

    def problems(self, element: Element) -> Iterator[KeyProblem]:
        """The keys that ask for what the element does not have."""
        for key, refused in _refusals(element).items():
            asked = getattr(self, key)
            if why := refused.get(asked):
                allowed = ", ".join(word for word in type(asked) if not refused.get(word))
                yield key, f"{why}; allowed: {allowed}{', or a code' if key == 'nan_input' else ''}"
        if type(self.nan_input) is int and self.nan_input >> element.bits:
            most = (1 << element.bits) - 1
            yield "nan_input", f"code {self.nan_input} has more than {element.bits} bits; allowed: 0 to {most}"


def _refusals(element: Element) -> Mapping[str, Mapping[StrEnum, str | None]]:
    """The words that an element may have no use for, each with the reason, or None where it is allowed."""
    nan = None if element.nan_code is not None else "'nan' needs a format with NaN"
    inf = None if element.inf_code is not None else "'inf' needs a format with Inf"
    zero = None if element.has_zero else "'zero' needs a format with a zero"
    end = "beyond the end of a codebook is its end" if isinstance(element, CodebookElement) else None
    wrap = None if _can_wrap(element) else "'wrap' needs an int without min and max, not in sign and magnitude"
    no_zero = "only a format without a zero has this choice" if element.has_zero else nan
    negative = "only a format without negative values has this choice"
    has_negative = negative if element.has_negative else None
    return {
        "overflow": {Overflow.INF: end or inf, Overflow.NAN: end or nan, Overflow.WRAP: end or wrap},
        "inf_input": {InfInput.INF: inf, InfInput.NAN: nan},
        "nan_input": {NanInput.NAN: nan, NanInput.ZERO: zero},
        "zero_input": {ZeroInput.NAN: no_zero},
        "negative_input": {NegativeInput.NAN: has_negative or nan, NegativeInput.ABS: has_negative},
    }


def _can_wrap(element: Element) -> bool:
    if not isinstance(element, IntElement) or element.encoding is Encoding.SIGN_MAGNITUDE:
        return False
    return element.min is None and element.max is None
