"""How reals become codes: rounding, overflow and the policies for every special input."""

from __future__ import annotations

from collections.abc import Iterator
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
        has_nan, has_inf = element.nan_code is not None, element.inf_code is not None
        no_nan = "'nan' needs a format with NaN"
        if self.overflow is Overflow.NAN and not has_nan:
            yield "overflow", f"{no_nan}; allowed: {_overflows(element)}"
        elif self.overflow is Overflow.INF and not has_inf:
            yield "overflow", f"'inf' needs a format with Inf; allowed: {_overflows(element)}"
        elif self.overflow is not Overflow.SATURATE and isinstance(element, CodebookElement):
            yield "overflow", "beyond the end of a codebook is its end; allowed: saturate"
        elif self.overflow is Overflow.WRAP and not _can_wrap(element):
            yield "overflow", f"'wrap' needs an int without min and max, not in sign and magnitude; allowed: {_overflows(element)}"
        if self.inf_input is InfInput.NAN and not has_nan:
            yield "inf_input", f"{no_nan}; allowed: overflow, saturate"
        if self.inf_input is InfInput.INF and not has_inf:
            yield "inf_input", "'inf' needs a format with Inf; allowed: overflow, saturate"
        if self.nan_input is NanInput.NAN and not has_nan:
            yield "nan_input", f"{no_nan}; allowed: max, zero, error, or a code"
        if self.nan_input is NanInput.ZERO and not element.has_zero:
            yield "nan_input", "'zero' needs a format with a zero; allowed: nan, max, error, or a code"
        if type(self.nan_input) is int and self.nan_input >> element.bits:
            yield "nan_input", f"code {self.nan_input} has more than {element.bits} bits; allowed: 0 to {(1 << element.bits) - 1}"
        if self.zero_input is ZeroInput.NAN and (element.has_zero or not has_nan):
            yield "zero_input", "'nan' needs a format with NaN and without zero; allowed: min"
        if self.negative_input is not NegativeInput.CLAMP and element.has_negative:
            yield "negative_input", "the format has negative values; only a format without them has this choice"
        elif self.negative_input is NegativeInput.NAN and not has_nan:
            yield "negative_input", f"{no_nan}; allowed: clamp, abs"


def _can_wrap(element: Element) -> bool:
    if not isinstance(element, IntElement) or element.encoding is Encoding.SIGN_MAGNITUDE:
        return False
    return element.min is None and element.max is None


def _overflows(element: Element) -> str:
    offers = {
        "saturate": True,
        "inf": element.inf_code is not None,
        "nan": element.nan_code is not None and not isinstance(element, CodebookElement),
        "wrap": _can_wrap(element),
    }
    return ", ".join(name for name, offered in offers.items() if offered)
