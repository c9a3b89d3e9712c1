"""How numbers are encoded: rounding, overflow and the policies for every special input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, TypeAlias

from pydantic import Field

from statqat_sim.spec.base import KeyProblem, Spec, Worded
from statqat_sim.spec.codebook import CodebookElement
from statqat_sim.spec.floating import FloatElement, Subnormals
from statqat_sim.spec.integer import Encoding, IntElement
from statqat_sim.spec.listed import ListedElement, TwosComplementElement
from statqat_sim.spec.listed import TieDomain as TieDomain  # re-exported: its words are values of an encode key
from statqat_sim.spec.lns import LnsElement
from statqat_sim.spec.posit import PositElement
from statqat_sim.spec.takum import TakumElement
from statqat_sim.spec.tapered import TaperedElement

Element: TypeAlias = (
    FloatElement | IntElement | CodebookElement | PositElement | TakumElement | LnsElement | TaperedElement
)


class Rounding(StrEnum):
    """Which of its two neighbours an input rounds to. Ties: see `formats/LANGUAGE.md`, Definitions 14, 15."""

    NEAREST_EVEN = "nearest_even"
    NEAREST_AWAY = "nearest_away"
    NEAREST_ZERO = "nearest_zero"
    NEAREST_UP = "nearest_up"
    TOWARD_ZERO = "toward_zero"
    TOWARD_POSITIVE = "toward_positive"
    TOWARD_NEGATIVE = "toward_negative"
    TO_ODD = "to_odd"
    STOCHASTIC_A = "stochastic_a"
    STOCHASTIC_B = "stochastic_b"
    STOCHASTIC_C = "stochastic_c"

    @property
    def is_stochastic(self) -> bool:
        """Whether the result depends on random bits."""
        return self in (Rounding.STOCHASTIC_A, Rounding.STOCHASTIC_B, Rounding.STOCHASTIC_C)


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


POSIT_DEFAULTS: Mapping[str, StrEnum] = {
    "tie_domain": TieDomain.BITSTRING,
    "underflow": Underflow.MIN,
    "inf_input": InfInput.NAN,
}
"""Defaults by the Posit Standard; other kinds and other keys default to the first word of each enum."""


class EncodePolicy(Spec):
    """The `encode` part of a spec. `nan_input` may also be a code."""

    rounding: Worded[Rounding] = Rounding.NEAREST_EVEN
    random_bits: Annotated[int, Field(ge=1, le=32)] = 16
    tie_domain: Worded[TieDomain] = TieDomain.ARITHMETIC
    overflow: Worded[Overflow] = Overflow.SATURATE
    inf_input: Worded[InfInput] = InfInput.OVERFLOW
    nan_input: Annotated[int, Field(ge=0)] | Worded[NanInput] | None = None
    zero_input: Worded[ZeroInput] = ZeroInput.MIN
    underflow: Worded[Underflow] = Underflow.ZERO
    negative_input: Worded[NegativeInput] = NegativeInput.CLAMP
    flush_inputs: bool = False
    via: Worded[Via] = Via.EXACT

    @property
    def drawn_bits(self) -> int:
        """Random bits per element; 0 if the rounding is not stochastic."""
        return self.random_bits if self.rounding.is_stochastic else 0

    def resolved(self, element: Element) -> EncodePolicy:
        """The policy with the defaults that depend on the element filled in for missing keys."""
        nan_input = NanInput.MAX if element.nan_code is None else NanInput.NAN
        defaults: dict[str, StrEnum] = {"nan_input": nan_input} if self.nan_input is None else {}
        if isinstance(element, PositElement):
            defaults |= {key: word for key, word in POSIT_DEFAULTS.items() if key not in self.model_fields_set}
        return self.model_copy(update=defaults)

    def problems(self, element: Element) -> Iterator[KeyProblem]:
        """Keys that need something the element lacks."""
        for key, refused in refusals(element).items():
            asked = getattr(self, key)
            if why := refused.get(asked):
                allowed = ", ".join(word for word in type(asked) if not refused.get(word))
                yield key, f"{why}; allowed: {allowed}{', or a code' if key == 'nan_input' else ''}"
        if type(self.nan_input) is int and self.nan_input >> element.bits:
            most = (1 << element.bits) - 1
            yield "nan_input", f"code {self.nan_input} has more than {element.bits} bits; allowed: 0 to {most}"


def refusals(element: Element) -> Mapping[str, Mapping[StrEnum, str | None]]:
    """Words that do not apply to every element, each with the reason why not to this one, or None if it does."""
    nan = None if element.nan_code is not None else "'nan' needs a format with NaN"
    inf = None if element.inf_code is not None else "'inf' needs a format with Inf"
    zero = None if element.has_zero else "'zero' needs a format with a zero"
    end = _end(element)
    wrap = None if _can_wrap(element) else "'wrap' needs an int without min and max, not in sign and magnitude"
    no_zero = "only a format without a zero has this choice" if element.has_zero else nan
    negative = "only a format without negative values has this choice"
    has_negative = negative if element.has_negative else None
    stochastic = _without_random_bits(element)
    bitstring = None if isinstance(element, TwosComplementElement) else "'bitstring' needs kind posit or takum"
    log = None if isinstance(element, LnsElement) else "'log' needs kind lns"
    return {
        "rounding": {rounding: stochastic for rounding in Rounding if rounding.is_stochastic},
        "tie_domain": {TieDomain.BITSTRING: bitstring, TieDomain.LOG: log},
        "overflow": {Overflow.INF: end or inf, Overflow.NAN: end or nan, Overflow.WRAP: end or wrap},
        "inf_input": {InfInput.INF: inf, InfInput.NAN: nan},
        "nan_input": {NanInput.NAN: nan, NanInput.ZERO: zero},
        "zero_input": {ZeroInput.NAN: no_zero},
        "negative_input": {NegativeInput.NAN: has_negative or nan, NegativeInput.ABS: has_negative},
    }


def _end(element: Element) -> str | None:
    """Why nothing overflows: the largest value has no successor; None if it has one."""
    if not isinstance(element, ListedElement) or element.successor is not None:
        return None
    name = {"lns": "an lns", "tapered": "a tapered format without Inf"}.get(element.kind, f"a {element.kind}")
    return f"values beyond the largest of {name} become the largest"


def _without_random_bits(element: Element) -> str | None:
    """Why an element cannot be rounded stochastically: that is exact only if all gaps are powers of two."""
    if isinstance(element, ListedElement):
        return f"stochastic rounding needs kind float or int, not {element.kind}"
    if isinstance(element, IntElement):
        return None
    if element.subnormals is Subnormals.RAW or (element.subnormals is Subnormals.NONE and element.has_zero):
        what = f"subnormals: {element.subnormals.value}"
        return f"stochastic rounding needs gaps that are powers of two, not the one above {what}"
    return None


def _can_wrap(element: Element) -> bool:
    if not isinstance(element, IntElement) or element.encoding is Encoding.SIGN_MAGNITUDE:
        return False
    return element.min is None and element.max is None
