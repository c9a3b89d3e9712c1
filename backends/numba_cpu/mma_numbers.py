"""The numbers of plans as the kernels of matrix instructions read them: by name, gathered in tuples of constants."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from statqat_sim.plan import mma
from statqat_sim.plan.mma import MmaPlan, Unit

LANES: Final = 64
"""Columns of D that are computed together."""

NOTHING: Final = -16000
"""The exponent of operands that are zero, Inf or NaN; a sum of two fits int16."""

UNLIMITED: Final = 1 << 30

ZERO, NEAREST_EVEN, POSITIVE, NEGATIVE, NEAREST_AWAY, NEAREST_ZERO, NEAREST_UP, ODD = range(8)
"""Rounding modes, numbered as in `plan.mma.MODES`."""

TERM, JOIN, LAST, NO_C, FIRST = range(5)
"""How C enters, numbered as in `plan.mma.ENTERS`."""


class Span(NamedTuple):
    """What a call computes of D; ends are excluded."""

    first_panel: int
    end_panel: int
    first_row: int
    end_row: int


class Start(NamedTuple):
    """How C is read, in the first step and in later ones, where it has D's format."""

    emin: int
    later_emin: int
    least: float
    """Smaller magnitudes are flushed to zero."""
    later_least: float
    is_positive: bool
    """Whether they are flushed to +0 instead of a zero of their sign."""

    @classmethod
    def of(cls, plan: MmaPlan) -> Start:
        """Those of a plan."""
        return cls(plan.c.emin, plan.emin, plan.c.least, plan.later_least, plan.c.is_positive)


class Result(NamedTuple):
    """How a sum is rounded to D: see `plan.mma.Result`."""

    mode: int
    mantissa_bits: int
    emin: int
    largest: float
    saturates: bool
    is_positive: bool
    keeps_zeros: bool
    least: float

    @classmethod
    def of(cls, plan: MmaPlan) -> Result:
        """Those of a plan."""
        return cls(*(getattr(plan.result, field) for field in cls._fields))


class Aligned(NamedTuple):
    """Sums of aligned products; `dot_bits` to `join_mode` are those of `plan.mma.Junction`."""

    step: int
    parts: int
    enter: int
    fraction: int
    """Bits kept below the largest exponent."""
    zero: int
    """The exponent of zeros."""
    most_terms: int
    """Terms summed at a time."""
    limit: float
    """The least product that is infinite."""
    dot_bits: int
    c_bits: int
    kept_bits: int
    """Negative: all."""
    reach: int
    join_mode: int

    @classmethod
    def of(cls, plan: MmaPlan) -> Aligned:
        """Those of a plan."""
        alignment, junction = plan.alignment, plan.junction or mma.Junction(0, 0, None, None, 0)
        assert alignment is not None
        assert plan.step is not None
        return cls(
            step=plan.step,
            parts=plan.parts,
            enter=plan.enter_number,
            fraction=alignment.fraction_bits,
            zero=alignment.zero_number,
            most_terms=plan.most_terms if plan.unit is Unit.NARROW else UNLIMITED,
            limit=float(np.inf if plan.product_limit is None else np.ldexp(1.0, plan.product_limit)),
            dot_bits=junction.dot_bits,
            c_bits=junction.c_bits,
            kept_bits=-1 if junction.kept_bits is None else junction.kept_bits,
            reach=UNLIMITED if junction.reach is None else junction.reach,
            join_mode=junction.mode,
        )


class Grouped(NamedTuple):
    """Sums of groups of products times their block scales."""

    step: int
    group: int
    fraction: int
    """Bits kept below the largest exponent."""
    zero: int
    """The exponent of zeros."""

    @classmethod
    def of(cls, plan: MmaPlan) -> Grouped:
        """Those of a plan."""
        alignment = plan.alignment
        assert alignment is not None
        assert plan.step is not None
        return cls(plan.step, plan.group, alignment.fraction_bits, alignment.zero_number)


class Steps(NamedTuple):
    """Sums with a rounding after each addition."""

    parts: int
    """Chains of a step."""
    is_pairwise: bool
    enter: int

    @classmethod
    def of(cls, plan: MmaPlan) -> Steps:
        """Those of a plan."""
        return cls(plan.parts, plan.is_pairwise, plan.enter_number)


class Exact(NamedTuple):
    """Exact sums; `fraction` to `zero` count where terms are aligned."""

    step: int
    """0: all of K."""
    enter: int
    is_aligned: bool
    fraction: int
    """Bits kept below the largest exponent."""
    mode: int
    """Their rounding."""
    per_sum: bool
    """Whether the sum is rounded, not each term."""
    zero: int
    """The exponent of zeros."""

    @classmethod
    def of(cls, plan: MmaPlan) -> Exact:
        """Those of a plan."""
        alignment = plan.alignment or mma.Alignment(0, 0, per_sum=False, zero_exponent=0)
        return cls(
            step=plan.step or 0,
            enter=plan.enter_number,
            is_aligned=plan.alignment is not None,
            fraction=alignment.fraction_bits,
            mode=alignment.mode,
            per_sum=alignment.per_sum,
            zero=alignment.zero_number,
        )


class Integers(NamedTuple):
    """Sums of integer products."""

    step: int
    """0: all of K."""
    enter: int
    low: int
    """The smallest result."""
    high: int
    saturates: bool

    @classmethod
    def of(cls, plan: MmaPlan) -> Integers:
        """Those of a plan."""
        half = 1 << plan.bits - 1
        return cls(plan.step or 0, plan.enter_number, -half, half - 1, plan.result.saturates)


def numbers(plan: MmaPlan) -> tuple[tuple[Any, ...], ...]:
    """What the kernel of a plan's unit receives, `Span` aside."""
    if plan.unit is Unit.INTEGER:
        return (Integers.of(plan),)
    if plan.unit is Unit.FUSED:
        return (Steps.of(plan),)
    kind: Any = {Unit.STEPS: Steps, Unit.EXACT: Exact, Unit.GROUPS: Grouped}.get(plan.unit, Aligned)
    return kind.of(plan), Result.of(plan), Start.of(plan)
