"""The exact error of a number format under a prior."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias, overload

import numpy as np

from statqat_sim.errors import did_you_mean, shown
from statqat_sim.prior import Prior, checked_prior
from statqat_sim.spec.block import BlockFormat
from statqat_sim.spec.encode import NegativeInput
from statqat_sim.spec.format import Format
from statqat_sim.spec.number import NumberFormat, checked_format
from statqat_sim.theory.blocks import ExpectedBlockError, expected_block_error
from statqat_sim.theory.cells import Floats
from statqat_sim.theory.codes import code_probabilities, lost, rate
from statqat_sim.theory.integrals import errors_by_range
from statqat_sim.theory.optimum import local_minima
from statqat_sim.theory.pieces import Pieces, pieces

Numbers: TypeAlias = "float | Floats"
"""A float for one scale; for an array of scales an array of its shape."""

SCALES = 2.0**-126, 2.0**127
"""What float32 holds in full precision."""

NEAR = 2.0**32
"""Formats that span more are not scaled further than this."""


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """The error of inputs of a prior that are divided by a scale, encoded, decoded, and multiplied by the scale.

    Inputs that become Inf or NaN, or that are wrapped, have no error to average: they count as clipped to the end of
    the format, and `overflow` says how many they are.

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
    def probabilities(self) -> Floats:
        """Of every code, shape `(…, 2**bits)`; scales come first. Overflow counts with the ends."""
        flat = np.ravel(self.scale)
        found = np.stack([code_probabilities(self.format, self.prior, float(scale)) for scale in flat])
        return found.reshape(*np.shape(self.scale), -1)

    @property
    def entropy(self) -> Numbers:
        """Of the codes, in bits."""
        p = self.probabilities
        return _number(-np.sum(p * np.log2(np.where(p > 0, p, 1.0)), axis=-1) + 0.0)

    @property
    def overflow(self) -> Numbers:
        """The probability of inputs that become Inf or NaN, or are wrapped."""
        return _each(lambda scale: lost(self.format, self.prior, scale), self.scale)

    @property
    def rho(self) -> Numbers:
        """By what the alternating method multiplies the distance to a fixed point here, at each of its steps.

        Its step s ← Σ x·c / Σ c² slows down as this approaches 1. NaN where codes are random.
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
def expected_error(
    format: Format, *, prior: Prior | str, scale: Any = "optimal", random_phase: bool = False
) -> ExpectedError | ExpectedBlockError:
    """The exact error of a format of at most 16 bits under a prior.

    Args:
        format: a number format; its random bits are taken as unlimited. Or a block format of independent inputs, whose
            blocks find their own scales; that is exact to about 0.005 dB.
        prior: a prior, or the name of one.
        scale: what decoded values are multiplied by, a number or an array of numbers above zero; "optimal": the one of
            least error, where there are several local minima the best. Where the error falls towards an end of what
            float32 or the format makes sense of, it is that end.
        random_phase: of block formats, whether the error is the mean over where powers of two lie.

    Raises:
        TypeError: unless format and prior are what they should be.
        LookupError: for an unknown prior.
        ValueError: for a scale that is not finite and above zero, for any scale of a block format, and for the phase of
            a number format.
        UnsupportedError: for formats of more than 16 bits, and block formats that search, have offsets or nest scales.

    >>> import statqat_sim as sqs
    >>> from statqat_sim.theory import expected_error
    >>> theory = expected_error(sqs.load_format("int4_narrow"), prior="laplace", scale="optimal")
    >>> round(theory.scale, 4), round(theory.sqnr_db, 2)
    (0.4869, 15.62)
    """
    if isinstance(format, BlockFormat):
        if not _is_optimal(scale):
            raise ValueError(f"{format.name} finds its own scales; allowed: no scale")
        return expected_block_error(format, checked_prior(prior), random_phase)
    if random_phase:
        name = checked_format(format, "a NumberFormat or a BlockFormat").name
        raise ValueError(f"random_phase is about blocks, and {name} has none; allowed: block formats")
    if _is_optimal(scale):
        return _kept(checked_format(format, "a NumberFormat or a BlockFormat"), checked_prior(prior))
    return _at(checked_format(format, "a NumberFormat or a BlockFormat"), checked_prior(prior), scale)


def _is_optimal(scale: Any) -> bool:
    if isinstance(scale, str) and scale != "optimal":
        hint = did_you_mean(scale, ["optimal"])
        raise ValueError(f"scale is {shown(scale)}{hint}; allowed: 'optimal', or numbers above zero")
    return isinstance(scale, str)


def _at(format: NumberFormat, prior: Prior, scale: Any) -> ExpectedError:
    """At given scales."""
    scales = np.asarray(scale, np.float64)
    wrong = ~(np.isfinite(scales) & (scales > 0))
    if wrong.any():
        raise ValueError(f"a scale is {scales[wrong][0]}; allowed: finite numbers above zero")
    found = np.array([_errors(format, prior, float(s)) for s in scales.flat]).reshape(*scales.shape, 2)
    return ExpectedError(format, prior, _number(scales), _number(found[..., 0]), _number(found[..., 1]))


@lru_cache(maxsize=1024)
def _kept(format: NumberFormat, prior: Prior) -> ExpectedError:
    """At the best scale."""
    return _at(format, prior, _best_scale(pieces(format), prior))


@lru_cache(maxsize=1024)
def _best_scale(pieces: Pieces, prior: Prior) -> float:
    """The best of the local minima, by their exact errors; of errors that agree to 7 digits, the first one.

    From where nearly all inputs are clipped to the largest value, to where the smallest one flushes them.
    """
    sizes = np.abs(pieces.first)
    smallest, largest = float(sizes[sizes > 0].min()), float(sizes.max())
    unit = math.sqrt(prior.second_moment)
    low, high = np.clip((unit / 8 / largest, 8 * unit / smallest), *SCALES).tolist()
    if low < unit * NEAR and unit / NEAR < high:  # a plateau, and the rest of it is no better
        low, high = max(low, unit / NEAR), min(high, unit * NEAR)
    minima = local_minima(pieces, prior, low, high)
    errors = [errors_by_range(pieces, prior, scale)[0] for scale in minima]
    return next(scale for scale, error in zip(minima, errors, strict=True) if error <= min(errors) * (1 + 1e-7))


def _errors(format: NumberFormat, prior: Prior, scale: float) -> tuple[float, float]:
    """The mean squared error, and the part of it from beyond the ends."""
    low, high = _range(format)
    return errors_by_range(pieces(format), prior, scale, (scale * low, scale * high))


def _range(format: NumberFormat) -> tuple[float, float]:
    """Outside of it, inputs at scale 1 are clipped."""
    is_mirrored = not format.element.has_negative and format.encode.negative_input is NegativeInput.ABS
    return (-format.max if is_mirrored else format.min), format.max


def _each(function: Callable[[float], float], scale: Numbers) -> Numbers:
    """The function of each scale."""
    found = [function(float(s)) for s in np.ravel(scale)]
    return _number(np.array(found).reshape(np.shape(scale)))


def _number(array: Any) -> Numbers:
    """A float, where there is one number only."""
    return float(array) if np.ndim(array) == 0 else np.asarray(array)
