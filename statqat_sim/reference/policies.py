"""How a format's policies encode special inputs, and ranks outside the grid (9 to 12, 18).

A validated spec never needs an Inf, NaN or zero that its format lacks; here that is an UnsupportedError.
"""

from __future__ import annotations

from statqat_sim.errors import UnsupportedError
from statqat_sim.reference.grid import Grid
from statqat_sim.reference.int_grid import IntGrid
from statqat_sim.spec.encode import (
    EncodePolicy,
    InfInput,
    NanInput,
    NegativeInput,
    Overflow,
    Rounding,
    Underflow,
)


def code_of_rank(target: Grid, policy: EncodePolicy, rank: int, negative: bool) -> int:
    """Code of the rank that a nonzero x of this sign rounded to: underflow, then overflow.

    Underflow to the smallest value happens if the policy requests it, and always in a format with signs and magnitudes
    but without zero (12), whose rank 0 exists only for the search. On a side without values zero stays zero.
    """
    if rank == target.zero and (policy.underflow is Underflow.MIN or not target.has_zero):
        step = rank - 1 if negative else rank + 1
        rank = step if target.lowest <= step <= target.highest else rank
    if target.lowest <= rank <= target.highest:
        return target.code(rank, negative)
    return _overflow(target, policy, rank, negative)


def _overflow(target: Grid, policy: EncodePolicy, rank: int, negative: bool) -> int:
    """The code of a rank outside the grid (18), with the exceptions for directed modes, which stay at the end."""
    if policy.overflow is Overflow.WRAP and isinstance(target, IntGrid):
        return target.wrapped(rank)
    end = target.lowest if negative else target.highest
    match policy.rounding:
        case Rounding.TOWARD_ZERO:
            back = True
        case Rounding.TOWARD_NEGATIVE:
            back = not negative
        case Rounding.TOWARD_POSITIVE:
            back = negative
        case Rounding.TO_ODD:
            back = target.parity(end) == 1
        case _:
            back = False
    if back or policy.overflow is Overflow.SATURATE:
        return largest(target, negative)
    return inf(target, negative) if policy.overflow is Overflow.INF else nan(target, negative)


def nan_input(target: Grid, policy: EncodePolicy, negative: bool) -> int:
    """The code of NaN (9). An integer `nan_input` is a code; its top bit flips for a negative NaN in signed formats.

    Raises:
        ValueError: for `nan_input: error`.
    """
    rule = policy.nan_input
    if rule is None:
        rule = NanInput.MAX if target.nan is None else NanInput.NAN
    match rule:
        case NanInput.NAN:
            return nan(target, negative)
        case NanInput.MAX:
            return target.code(target.highest, False)
        case NanInput.ZERO:
            return target.code(_known(target.zero, "zero"), False)
        case NanInput.ERROR:
            raise ValueError("NaN in the input, which nan_input: error refuses")
        case int():
            return rule ^ (1 << (target.bits - 1)) if negative and target.has_negative else rule


def negative_input(target: Grid, policy: EncodePolicy) -> int:
    """The code of a negative input in a format without negative values (10).

    `clamp` is final: `underflow` does not lift it. If the smallest value is zero and a codebook lists both zeros, the
    input's sign bit picks -0.0.
    """
    if policy.negative_input is NegativeInput.NAN:
        return nan(target, negative=False)
    return target.code(target.lowest, True)


def inf_input(target: Grid, policy: EncodePolicy, negative: bool) -> int:
    """The code of ±Inf (11): `overflow` without its exceptions for directed modes; under `wrap`, Inf saturates."""
    rule = policy.inf_input.value
    if policy.inf_input is InfInput.OVERFLOW:
        rule = policy.overflow.value
    match rule:
        case "inf":
            return inf(target, negative)
        case "nan":
            return nan(target, negative)
        case _:
            return largest(target, negative)


def zero(target: Grid, negative: bool) -> int:
    """Code of the zero with this sign, or of the only zero."""
    return target.code(_known(target.zero, "zero"), negative)


def nan(target: Grid, negative: bool) -> int:
    """Code of the NaN with this sign, or of the only NaN."""
    code = _known(target.nan, "NaN")
    return code | target.sign if negative and target.signed_nan else code


def inf(target: Grid, negative: bool) -> int:
    """Code of ±Inf."""
    code = _known(target.inf, "Inf")
    return code | target.sign if negative else code


def largest(target: Grid, negative: bool) -> int:
    """Code of the largest value of this sign."""
    return target.code(target.lowest if negative else target.highest, negative)


def _known(code: int | None, what: str) -> int:
    if code is None:
        raise UnsupportedError(f"the format has no {what}")
    return code
