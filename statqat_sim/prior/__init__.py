"""Distributions of inputs: densities and partial moments. One file each; those created by name are in `PRIORS`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from statqat_sim.errors import did_you_mean, of_type, shown
from statqat_sim.prior.base import Prior
from statqat_sim.prior.empirical import Empirical
from statqat_sim.prior.gelu import Gelu
from statqat_sim.prior.generalised_normal import GeneralisedNormal
from statqat_sim.prior.half_normal import HalfNormal
from statqat_sim.prior.laplace import Laplace
from statqat_sim.prior.logistic import Logistic
from statqat_sim.prior.mixture import Mixture
from statqat_sim.prior.normal import Normal
from statqat_sim.prior.scaled import Scaled
from statqat_sim.prior.student_t import StudentT
from statqat_sim.prior.uniform import Uniform

__all__ = [
    "ALIASES",
    "PRIORS",
    "Empirical",
    "Gelu",
    "GeneralisedNormal",
    "HalfNormal",
    "Laplace",
    "Logistic",
    "Mixture",
    "Normal",
    "Prior",
    "Scaled",
    "StudentT",
    "Uniform",
    "checked_prior",
    "prior_named",
]

PRIORS: Mapping[str, Callable[..., Prior]] = {
    "normal": Normal,
    "laplace": Laplace,
    "student_t": StudentT,
    "logistic": Logistic,
    "uniform": Uniform,
    "generalised_normal": GeneralisedNormal,
    "half_normal": HalfNormal,
    "gelu": Gelu,
}
"""Priors by name; those in `PARAMETERS` also take a number in parentheses."""

ALIASES: Mapping[str, str] = {
    "gaussian": "normal",
    "t": "student_t",
    "generalized_normal": "generalised_normal",
    "relu": "half_normal",
}

PARAMETERS: Mapping[str, str] = {"student_t": "5", "generalised_normal": "1.5"}
"""The priors with a parameter, each with an example of it."""


def prior_named(name: str) -> Prior:
    """The prior of this name, such as `laplace` or `student_t(5)`.

    Raises:
        LookupError: if there is none; the message suggests the nearest.
        ValueError: if its parameter is missing, unexpected, not a number, or out of range.
    """
    parts = re.fullmatch(r"\s*([^()\s]*)\s*(?:\(([^()]*)\))?\s*", name)
    word = parts[1].lower() if parts else name
    word = ALIASES.get(word, word)
    if parts is None or word not in PRIORS:
        hint = did_you_mean(word, [*PRIORS, *ALIASES])
        allowed = ", ".join(f"{key}({PARAMETERS[key]})" if key in PARAMETERS else key for key in PRIORS)
        raise LookupError(f"no prior is named {shown(name)}{hint} (allowed: {allowed})")
    return PRIORS[word](*_parameters(word, parts[2]))


def checked_prior(prior: Prior | str) -> Prior:
    """The prior itself, or the one of this name.

    Raises:
        TypeError: if it is neither.
        LookupError: see `prior_named`.
        ValueError: see `prior_named`.
    """
    if isinstance(prior, str):
        return prior_named(prior)
    if not isinstance(prior, Prior):
        raise TypeError(f"prior is {of_type(prior)}; allowed: a Prior, or the name of one")
    return prior


def _parameters(word: str, written: str | None) -> list[float]:
    """The text in parentheses as the arguments of a prior."""
    if word not in PARAMETERS:
        if written is None:
            return []
        raise ValueError(f"prior {word} has no parameter, but was given {shown(written)}; allowed: {word}")
    example = f"{word}({PARAMETERS[word]})"
    if written is None:
        raise ValueError(f"prior {word} needs a parameter; allowed: as in {example}")
    try:
        return [float(written)]
    except ValueError:
        raise ValueError(f"prior {word}: {shown(written)} is not a number; allowed: as in {example}") from None
