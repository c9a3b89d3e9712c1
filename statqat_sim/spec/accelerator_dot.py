"""One step of a dot product in a matrix unit, and the rounding of its result."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from statqat_sim.spec.base import Spec, Worded
from statqat_sim.spec.encode import Rounding

MAX_STEP = 1 << 20
MAX_FRACTION_BITS = 120
MAX_EXPONENT = 512


class Sum(StrEnum):
    """How the products of a step are summed.

    `aligned`: each is brought to the exponent of the largest and cut there; `exact`: nothing is lost; `chain`: one
    fused multiply-add after the other; `pairwise`: rounded products, then sums of neighbours; `integer`.
    """

    ALIGNED = "aligned"
    EXACT = "exact"
    CHAIN = "chain"
    PAIRWISE = "pairwise"
    INTEGER = "integer"


class Enter(StrEnum):
    """Where C enters: as one term more, aligned with the sum of the products, before or after them, or not at all."""

    TERM = "term"
    JOIN = "join"
    FIRST = "first"
    LAST = "last"
    NONE = "none"


class Order(StrEnum):
    """Which products of a step come first, where that matters: in chains and in sums of neighbours."""

    ASCENDING = "ascending"
    DESCENDING = "descending"
    EVEN_FIRST = "even_first"
    ODD_FIRST = "odd_first"
    SWAPPED_PAIRS = "swapped_pairs"


class Per(StrEnum):
    """What is cut to the fraction bits: every term, or their exact sum."""

    TERM = "term"
    SUM = "sum"


class Aligned(Spec):
    """Of `sum: aligned`: terms count in units of 2^(E - fraction_bits), E the largest exponent of a term.

    The exponent of a product is the sum of its factors' exponents; it is not renormalised, and subnormals have that of
    the smallest normal value. A term that is zero counts with `zero_exponent`.
    """

    fraction_bits: Annotated[int, Field(ge=0, le=MAX_FRACTION_BITS)]
    round: Worded[Rounding] = Rounding.TOWARD_ZERO
    per: Worded[Per] = Per.TERM
    zero_exponent: Annotated[int, Field(ge=-MAX_EXPONENT, le=MAX_EXPONENT)] | Literal["lowest"] = Field(
        "lowest", title=f"an integer from {-MAX_EXPONENT} to {MAX_EXPONENT}, or lowest"
    )


class Merge(Spec):
    """Of `c: join`: how parts of a sum, and then C, are brought together, and what is kept before the last rounding.

    Bits count from the larger exponent of the two; C has the exponent of its own field.
    """

    dot_fraction_bits: Annotated[int, Field(ge=0, le=48)]
    c_fraction_bits: Annotated[int, Field(ge=0, le=48)]
    round: Worded[Rounding] = Rounding.TOWARD_NEGATIVE
    normalised_bits: Annotated[int, Field(ge=0, le=48)] | None = None
    c_reach: Annotated[int, Field(ge=0, le=MAX_EXPONENT)] | None = None
    """How far C's exponent may lie below the larger one; C further down is dropped."""


PARTS_OF_STEP: Final[Mapping[str, int]] = {"none": 1, "even_odd": 2}
"""Words for a split."""


def _parts(written: Any) -> Any:
    return PARTS_OF_STEP.get(written, written) if isinstance(written, str) else written


class DotKeys(Spec):
    """What `dot` says, but for its parts."""

    sum: Worded[Sum]
    step: Annotated[int, Field(ge=1, le=MAX_STEP)] | None = None
    split: Annotated[int, Field(ge=1, le=64), BeforeValidator(_parts)] = Field(1, title="an integer, or even_odd")
    group: Annotated[int, Field(ge=1, le=1024)] = 1
    c: Worded[Enter] | None = None
    order: Worded[Order] | Annotated[tuple[int, ...], Field(strict=False)] = Field(
        Order.ASCENDING, title=f"one of {', '.join(Order)}, or a list of the places of a step"
    )


DEFAULT_ENTER = {
    Sum.ALIGNED: Enter.TERM,
    Sum.EXACT: Enter.TERM,
    Sum.CHAIN: Enter.FIRST,
    Sum.PAIRWISE: Enter.LAST,
    Sum.INTEGER: Enter.TERM,
}


class Dot(DotKeys):
    """One step: `step` products (None: all of K) and C become the next C.

    `split`: products k, k + split, ... are summed apart; of chains, those at these places of `order`. `group`: so many
    products are summed exactly before they become one term. `c` is never None.
    """

    aligned: Aligned | None = None
    merge: Merge | None = None


def ordered(order: Order | tuple[int, ...], step: int) -> tuple[int, ...]:
    """The places 0 to step - 1, permuted by `order`."""
    if not isinstance(order, Order):
        return order
    places = range(step)
    match order:
        case Order.ASCENDING:
            return tuple(places)
        case Order.DESCENDING:
            return tuple(reversed(places))
        case Order.EVEN_FIRST:
            return (*places[::2], *places[1::2])
        case Order.ODD_FIRST:
            return (*places[1::2], *places[::2])
        case Order.SWAPPED_PAIRS:
            return tuple(place ^ 1 if place ^ 1 < step else place for place in places)


class Flush(StrEnum):
    """Which subnormals become zeros: those of inputs, C of each step included, those of every rounded result."""

    NONE = "none"
    INPUTS = "inputs"
    OUTPUTS = "outputs"
    BOTH = "both"


class Flushed(StrEnum):
    """What `flush` makes of an input: a zero of its sign; or of every subnormal, and of -0, +0."""

    SIGNED = "signed"
    POSITIVE = "positive"


class NegativeZero(StrEnum):
    """Which results are -0: none; negative ones that round to zero; also sums of nothing but -0."""

    NEVER = "never"
    UNDERFLOW = "underflow"
    IEEE = "ieee"


class Beyond(StrEnum):
    """What a rounded result beyond the largest finite value becomes."""

    INF = "inf"
    SATURATE = "saturate"
    WRAP = "wrap"


class Special(Spec):
    """The `special` part. `nan` is the code of every NaN result; None: D's quiet NaN."""

    nan: Annotated[int, Field(ge=0)] | None = None
    negative_zero: Worded[NegativeZero] = NegativeZero.IEEE
    flush: Worded[Flush] = Flush.NONE
    flushed: Worded[Flushed] = Flushed.SIGNED
    overflow: Worded[Beyond] = Beyond.INF
    product_limit: Annotated[int, Field(ge=-MAX_EXPONENT, le=MAX_EXPONENT)] | None = None
    """Products of magnitude 2^this or more are infinite."""


class Precision(Spec):
    """A float format with IEEE 754's bias and subnormals, by its widths."""

    exponent_bits: Annotated[int, Field(ge=2, le=11)]
    mantissa_bits: Annotated[int, Field(ge=1, le=52)]

    @property
    def emax(self) -> int:
        """Exponent of the largest binade."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal value."""
        return 1 - self.emax

    @property
    def largest(self) -> float:
        """The largest finite value."""
        return float(2 ** (self.mantissa_bits + 1) - 1) * 2.0 ** (self.emax - self.mantissa_bits)
