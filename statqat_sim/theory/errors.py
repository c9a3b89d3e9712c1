"""The exact error of a number format under a prior."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias, overload

import numpy as np

from statqat_sim.arrays import Floats, left_out
from statqat_sim.errors import UnsupportedError, shown
from statqat_sim.prior import Prior, checked_prior
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.encode import NegativeInput, Overflow
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat, checked_format
from statqat_sim.theory.blocks import ExpectedBlockError, expected_block_error
from statqat_sim.theory.codes import code_probabilities, lost, rate
from statqat_sim.theory.integrals import errors_by_range
from statqat_sim.theory.optimum import local_minima
from statqat_sim.theory.pieces import Pieces, pieces

Numbers: TypeAlias = "float | Floats"
"""A float for one scale; an array of the same shape for an array of scales."""

SCALES = 2.0**-126, 2.0**127
"""The range of scales that float32 holds in full precision."""

NEAR = 2.0**32
"""The bound on scales, relative to the prior's RMS and either way, of formats with a range that spans more."""


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """The error of inputs of a prior that are divided by a scale, encoded, decoded, and multiplied by the scale.

    Inputs that become Inf or NaN count as clipped to the end of the format; `overflow` is their probability.

    Args:
        format: the format.
        prior: the distribution of the inputs.
        scale: one scale, or an array of them.
        mse: mean of the squared error.
        overload: the part of `mse` from inputs outside scale · [min, max] of the format.
    """

    format: NumberFormat
    prior: Prior
    scale: Numbers
    mse: Numbers
    overload: Numbers

    @property
    def granular(self) -> Numbers:
        """The part of `mse` from inputs within the range of the format."""
        return self.mse - self.overload

    @property
    def sqnr_db(self) -> Numbers:
        """10·log10(mean of x² / mse), in dB."""
        with np.errstate(divide="ignore"):
            return _number(10 * np.log10(self.prior.second_moment / np.asarray(self.mse)))

    @cached_property
    @np.errstate(under="ignore")
    def probabilities(self) -> Floats:
        """The probability of every code, shape `(*scale.shape, 2**bits)`; inputs that overflow count as clipped.

        Read-only: errors at the best scale are cached.
        """
        flat = np.ravel(self.scale)
        found = np.stack([code_probabilities(self.format, self.prior, float(scale)) for scale in flat])
        found = found.reshape(*np.shape(self.scale), -1)
        found.flags.writeable = False
        return found

    @property
    @np.errstate(under="ignore")
    def entropy(self) -> Numbers:
        """The entropy of the codes, in bits."""
        p = self.probabilities
        return _number(-np.sum(p * np.log2(np.where(p > 0, p, 1.0)), axis=-1) + 0.0)

    @property
    def overflow(self) -> Numbers:
        """The probability of inputs that become Inf or NaN."""
        return _each(lambda scale: lost(self.format, self.prior, scale), self.scale)

    @property
    def rho(self) -> Numbers:
        """The factor by which each step of the alternating method multiplies the distance to a fixed point here.

        Its step s ← Σ x·c / Σ c² slows down as this approaches 1. NaN for stochastic rounding.
        """
        return _each(lambda scale: rate(self.format, self.prior, scale), self.scale)


@overload
def expected_error(
    format: NumberFormat, *, prior: Prior | str, scale: Any = "optimal", random_phase: bool = False
) -> ExpectedError: ...
@overload
def expected_error(
    format: BlockFormat, *, prior: Prior | str, scale: Any = "optimal", random_phase: bool = False
) -> ExpectedBlockError: ...
@left_out
@np.errstate(under="ignore")
def expected_error(
    format: Format, *, prior: Prior | str, scale: Any = "optimal", random_phase: bool = False
) -> ExpectedError | ExpectedBlockError:
    """The exact error of a format of at most 16 bits under a prior.

    Args:
        format: a number format; stochastic rounding is modelled with unlimited random bits. Or a block format, whose
            blocks find their own scales; its inputs are independent, and its error is exact to about 0.005 dB.
        prior: a prior, or the name of one.
        scale: the factor of decoded values, a number or an array of numbers above zero; "optimal": the scale of least
            error, the best of all local minima. If the error decreases towards an end of the range of scales that
            float32 and the format allow, it is that end.
        random_phase: for block formats, whether each block is multiplied by 2^u, u uniform in [0, 1).

    Raises:
        TypeError: if format or prior has the wrong type.
        LookupError: for an unknown prior.
        ValueError: for a scale that is not finite and above zero, for any scale with a block format, and for
            `random_phase` with a number format.
        UnsupportedError: for formats of more than 16 bits, those with `overflow: wrap`, and block formats that search,
            have offsets or nest scales.

    >>> import statqat_sim as sqs
    >>> from statqat_sim.theory import expected_error
    >>> theory = expected_error(sqs.load_format("int4_narrow"), prior="laplace", scale="optimal")
    >>> round(theory.scale, 4), round(theory.sqnr_db, 2)
    (0.4869, 15.62)
    """
    if isinstance(format, BlockFormat):
        if not _is_optimal(scale):
            raise ValueError(f"{format.name} finds its own scales; allowed: no scale")
        _refuse_wrapping(format.element, format.name)
        return expected_block_error(format, checked_prior(prior), random_phase)
    number = checked_format(format, "a NumberFormat or a BlockFormat")
    _refuse_wrapping(number, number.name)
    if random_phase:
        raise ValueError(f"random_phase is about blocks, and {number.name} has none; allowed: block formats")
    if _is_optimal(scale):
        return _kept(number, checked_prior(prior))
    return _at(number, checked_prior(prior), scale)


def _refuse_wrapping(format: NumberFormat, name: str) -> None:
    """Raises UnsupportedError if inputs beyond the range may become any value, so that they do not count as clipped."""
    if format.encode.overflow is Overflow.WRAP:
        why = "inputs beyond the range are not clipped, but may become any value"
        raise UnsupportedError(
            f"{name}: expected error of overflow: wrap, where {why}; allowed: overflow: saturate, or measure on data"
        )


def _is_optimal(scale: Any) -> bool:
    """Whether the best scale is wanted; raises ValueError for other words."""
    if isinstance(scale, str) and scale != "optimal":
        raise ValueError(f"scale is {shown(scale)}; allowed: 'optimal', or numbers above zero")
    return isinstance(scale, str)


def _at(format: NumberFormat, prior: Prior, scale: Any) -> ExpectedError:
    """The error at given scales."""
    scales = np.asarray(scale, np.float64)
    wrong = ~(np.isfinite(scales) & (scales > 0))
    if wrong.any():
        raise ValueError(f"a scale is {scales[wrong][0]}; allowed: finite numbers above zero")
    found = np.array([_errors(format, prior, float(s)) for s in scales.flat]).reshape(*scales.shape, 2)
    return ExpectedError(format, prior, _number(scales), _number(found[..., 0]), _number(found[..., 1]))


@lru_cache(maxsize=1024)
def _kept(format: NumberFormat, prior: Prior) -> ExpectedError:
    """The error at the best scale, cached."""
    return _at(format, prior, _best_scale(pieces(format), prior))


@lru_cache(maxsize=1024)
def _best_scale(pieces: Pieces, prior: Prior) -> float:
    """The best local minimum by its exact error; of errors that agree to 7 digits, the first.

    The scales range from one that clips nearly all inputs to the largest value to one that flushes nearly all to zero.
    """
    sizes = np.abs(pieces.first)
    smallest, largest = float(sizes[sizes > 0].min()), float(sizes.max())
    unit = math.sqrt(prior.second_moment)
    low, high = np.clip((unit / 8 / largest, 8 * unit / smallest), *SCALES).tolist()
    if low < unit * NEAR and unit / NEAR < high:  # a plateau: scales beyond are no better
        low, high = max(low, unit / NEAR), min(high, unit * NEAR)
    minima = local_minima(pieces, prior, low, high)
    errors = [errors_by_range(pieces, prior, scale)[0] for scale in minima]
    return next(scale for scale, error in zip(minima, errors, strict=True) if error <= min(errors) * (1 + 1e-7))


def _errors(format: NumberFormat, prior: Prior, scale: float) -> tuple[float, float]:
    """The mean squared error, and the part of it from inputs beyond the ends."""
    low, high = _range(format)
    return errors_by_range(pieces(format), prior, scale, (scale * low, scale * high))


def _range(format: NumberFormat) -> tuple[float, float]:
    """The range of inputs at scale 1 outside which they are clipped."""
    is_mirrored = not format.element.has_negative and format.encode.negative_input is NegativeInput.ABS
    return (-format.max if is_mirrored else format.min), format.max


@np.errstate(under="ignore")
def _each(function: Callable[[float], float], scale: Numbers) -> Numbers:
    """The function applied to each scale."""
    found = [function(float(s)) for s in np.ravel(scale)]
    return _number(np.array(found).reshape(np.shape(scale)))


def _number(array: Any) -> Numbers:
    """A float if the array is 0-D, else the array."""
    return float(array) if np.ndim(array) == 0 else np.asarray(array)
