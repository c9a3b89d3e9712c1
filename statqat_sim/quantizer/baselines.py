"""Published rules for scales, unguarded: their error may be larger than MinMax's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

import numpy as np

from statqat_sim.arrays import Floats
from statqat_sim.errors import UnsupportedError
from statqat_sim.histogram import Tail
from statqat_sim.prior import Normal
from statqat_sim.quantizer.chooser import Chooser
from statqat_sim.quantizer.levels import Levels
from statqat_sim.quantizer.options import check_choice, check_count
from statqat_sim.quantizer.task import Task
from statqat_sim.spec.number import NumberFormat

AciqPrior: TypeAlias = Literal["laplace", "normal"]


def _mean(magnitudes: Tail) -> float:
    """E|x|."""
    return magnitudes.total / magnitudes.count


def _rms(magnitudes: Tail) -> float:
    """√E[x²]."""
    return math.sqrt(magnitudes.power / magnitudes.count)


def _representable(task: Task, scale: float) -> float:
    """The nearest float32, or MinMax's scale if a rule's scale is not finite and above zero."""
    return float(task.scales.near(np.array([scale]))[0]) if 0 < scale < math.inf else task.minmax


@dataclass(frozen=True, slots=True, repr=False)
class OCTAV(Chooser):
    """Optimally clipped tensors: Newton's iteration for the clipping point of a uniform grid of B bits.

    c ← E[|x|; |x| > c] / (4^-B / 3 · P(0 < |x| <= c) + P(|x| > c)), from c = E|x| over nonzero elements; unsigned
    formats have 4^-B / 12. The largest magnitude of the format represents c.

    Args:
        steps: the number of iterations.

    Source: Sakr et al., Optimal Clipping and Magnitude-aware Differentiation for Improved Quantization-aware Training,
    ICML 2022, equation 6 and section 3.
    """

    steps: int = 20

    def __post_init__(self) -> None:
        check_count("steps", self.steps)

    def _choice(self, task: Task) -> float:
        magnitudes = task.magnitudes
        (nonzero,), (total,) = magnitudes.beyond(np.zeros(1))
        noise = 4.0**-task.format.bits / (3 if task.format.min < 0 else 12)
        clip = total / nonzero
        for _ in range(self.steps):
            (above,), (outer,) = magnitudes.beyond(np.array([clip]))
            clip = outer / (noise * (nonzero - above) + above)
            if not clip > 0:
                break
        return _representable(task, float(clip) / task.levels.largest)


@dataclass(frozen=True, slots=True, repr=False)
class ACIQ(Chooser):
    """Analytical clipping for integer quantization: the clipping point of least modelled error at B bits.

    For Laplace with b = E|x| the error is 2·b²·exp(-α/b) + α²/(3·4^B), for a normal distribution with σ² = E[x²] it is
    (α² + σ²)·(1 - erf(α/√2σ)) + α²/(3·4^B) - √2·α·σ·exp(-α²/2σ²)/√π. The mean, which the source subtracts first, is
    assumed to be zero. The largest magnitude of the format represents α.

    Args:
        prior: the distribution that the data are assumed to have.

    Source: Banner et al., Post-training 4-bit quantization of convolution networks for rapid-deployment, NeurIPS 2019,
    sections 3 and 4.
    """

    prior: AciqPrior = "laplace"

    def __post_init__(self) -> None:
        check_choice("prior", self.prior, get_args(AciqPrior))

    def _choice(self, task: Task) -> float:
        unit = _mean(task.magnitudes) if self.prior == "laplace" else _rms(task.magnitudes)
        return _representable(task, unit * aciq_clip(task.format.bits, self.prior) / task.levels.largest)


@lru_cache(maxsize=64)
def aciq_clip(bits: int, prior: AciqPrior) -> float:
    """ACIQ's α, in units of b or σ: the root of the derivative of its error."""

    def rise(a: float) -> float:
        noise = 2 * a / (3 * 4.0**bits)
        if prior == "laplace":
            return noise - 2 * math.exp(-a)
        return noise + 2 * a * math.erfc(a / math.sqrt(2)) - 2 * math.sqrt(2 / math.pi) * math.exp(-a * a / 2)

    low, high = 0.0, 60.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if rise(middle) < 0 else (low, middle)
    return high


SAWB_COEFFICIENTS = {2: (3.12, 2.064), 3: (7.509, 6.892), 4: (12.68, 12.80), 5: (17.74, 18.64), 8: (31.76, 35.04)}
"""c1 and c2 by width in bits."""


@dataclass(frozen=True, slots=True, repr=False)
class SAWB(Chooser):
    """Statistics-aware weight binning: α = c1·√E[x²] - c2·E|x|, with coefficients fitted to six distributions.

    The largest magnitude of the format represents α.

    Source: Choi et al., Accurate and Efficient 2-bit Quantized Neural Networks, SysML 2019, section 3; the
    coefficients for 2, 3, 4, 5 and 8 bits as its authors' company publishes them (FMS Model Optimizer, sawb_params).

    Raises:
        UnsupportedError: for other widths, when a scale is chosen.
    """

    def _choice(self, task: Task) -> float:
        if task.format.bits not in SAWB_COEFFICIENTS:
            allowed = ", ".join(map(str, SAWB_COEFFICIENTS))
            raise UnsupportedError(f"{task.format.name}: SAWB of {task.format.bits} bits; allowed: {allowed}")
        first, second = SAWB_COEFFICIENTS[task.format.bits]
        clip = first * _rms(task.magnitudes) - second * _mean(task.magnitudes)
        return _representable(task, clip / task.levels.largest)


@dataclass(frozen=True, slots=True, repr=False)
class LSQInit(Chooser):
    """The initial value of learned step sizes: 2·E|x| / √Q_P, with the largest value of the format as Q_P.

    Source: Esser et al., Learned Step Size Quantization, ICLR 2020, section 2.1.
    """

    def _choice(self, task: Task) -> float:
        largest = max(task.format.max, task.levels.largest * 2.0**-20)
        return _representable(task, 2 * _mean(task.magnitudes) / math.sqrt(largest))


@dataclass(frozen=True, slots=True, repr=False)
class AbsMean(Chooser):
    """The scale of ternary weights in BitNet b1.58: E|x|, so that 1 stands for the mean magnitude.

    Source: Ma et al., The Era of 1-bit LLMs, arXiv:2402.17764, section 2, without its small ε.
    """

    def _choice(self, task: Task) -> float:
        return _representable(task, _mean(task.magnitudes))


@dataclass(frozen=True, slots=True, repr=False)
class PaperAnalytic(Chooser):
    """StatQAT's analytic scale: the standard deviation times a constant of the format, for normal data.

    The constant minimizes, by search, a model of the error: Σ P·Δ²/12 over the intervals of the grid, with P the
    probability of each, plus the error of clipped inputs. `Analytic` minimizes the error itself.

    Source: StatQAT, arXiv:2605.17745.
    """

    def _choice(self, task: Task) -> float:
        return _representable(task, _rms(task.magnitudes) * paper_constant(task.format, task.levels))


POINTS, ROUNDS = 400, 4
"""Scales per round of the search, and rounds, each around the best scale of the one before."""


@lru_cache(maxsize=256)
def paper_constant(format: NumberFormat, steps: Levels) -> float:
    """The scale of least modelled error for normal data of variance 1."""
    values = format.grid()
    low, high = 0.3 / steps.largest, 60 / steps.largest
    for _ in range(ROUNDS):
        grid = np.geomspace(low, high, POINTS)
        best = int(np.argmin([_modelled(values, scale) for scale in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, POINTS - 1)]
    return float(np.sqrt(low * high))


def _modelled(values: Floats, scale: float) -> float:
    """The modelled error Σ P·Δ²/12 plus the error of clipped inputs."""
    at = values * scale
    m0, m1, m2 = Normal().cell_moments(np.concatenate(([-np.inf], at, [np.inf])))
    clipped = sum(m2[i] - 2 * at[i] * m1[i] + at[i] ** 2 * m0[i] for i in (0, -1))
    return float(clipped + np.square(np.diff(at)) @ m0[1:-1] / 12)


@dataclass(frozen=True, slots=True, repr=False)
class PaperIterative(Chooser):
    """StatQAT's iterative scale: least squares given the codes, s ← Σ x·c / Σ c², `steps` times from MinMax's scale.

    Each is a descent step with a safe but far too large curvature (see `newton`): a single step per call stalls, and
    lags behind while the scale of the data drifts.

    Source: StatQAT, arXiv:2605.17745, as in its first author's code: one step for each step of training.
    """

    steps: int = 1

    def __post_init__(self) -> None:
        check_count("steps", self.steps)

    def _choice(self, task: Task) -> float:
        scale = task.minmax
        for _ in range(self.steps):
            slopes = task.score.slopes(np.array([scale]))
            if slopes.cautious[0] > 0:
                scale = _representable(task, scale - float(slopes.slope[0] / slopes.cautious[0]))
        return scale
