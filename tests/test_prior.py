"""Distributions: moments against quadrature, tails, masses at 0, fits, and names."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from scipy.special import log_ndtr

from statqat_sim.prior import (
    ALIASES,
    PARAMETERS,
    PRIORS,
    Empirical,
    Gelu,
    GeneralisedNormal,
    HalfNormal,
    Laplace,
    Logistic,
    Mixture,
    Normal,
    Prior,
    Scaled,
    StudentT,
    Uniform,
    checked_prior,
    prior_named,
)

EMPIRICAL = Empirical(np.array([-2.0, -0.5, 0.0, 0.25, 3.0]), np.array([0.1, 0.2, 0.3, 0.15]), 0.25)
MIXTURE = Mixture((0.999, 0.001), (Normal(), Scaled(Normal(), 30)))
ALL: list[Prior] = [
    Normal(),
    Laplace(),
    StudentT(3),
    StudentT(5),
    StudentT(2.2),
    Logistic(),
    Uniform(),
    GeneralisedNormal(0.7),
    GeneralisedNormal(4),
    HalfNormal(),
    Gelu(),
    MIXTURE,
    Mixture((0.5, 0.5), (HalfNormal(), Scaled(Laplace(), 2))),
    Scaled(Laplace(), 0.01),
    EMPIRICAL,
]
STANDARD = ALL[:9]
REFERENCES = {
    "normal": stats.norm(),
    "laplace": stats.laplace(scale=math.sqrt(0.5)),
    "student_t(3)": stats.t(3, scale=math.sqrt(1 / 3)),
    "student_t(5)": stats.t(5, scale=math.sqrt(3 / 5)),
    "logistic": stats.logistic(scale=math.sqrt(3) / math.pi),
    "uniform": stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
}


def ident(prior: object) -> str:
    return prior.name if isinstance(prior, Prior) else ""


def integral(prior: Prior, order: int, a: float, b: float) -> float:
    inside = [x for x in {0.0, *prior.breaks} if a < x < b]
    if isinstance(prior, Empirical):
        inside = [x for x in prior.edges.tolist() if a < x < b]
    ends = [a, *sorted(inside), b]
    pieces = (
        quad(lambda x: x**order * float(prior.pdf(x)), *pair, epsabs=0, epsrel=1e-13, limit=200)
        for pair in zip(ends, ends[1:], strict=False)
    )
    return math.fsum(value for value, _ in pieces)


@pytest.mark.parametrize("prior", ALL, ids=ident)
@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
def test_cells_have_the_moments_of_their_density(prior: Prior) -> None:
    unit = math.sqrt(prior.second_moment)
    edges = unit * np.array([-3, -2.9, -1, -0.5, -0.1, -0.09, 0.05, 0.3, 0.31, 1, 2, 2.4])
    moments = prior.cell_moments(edges)
    for order, found in enumerate(moments):
        expected = [integral(prior, order, a, b) for a, b in zip(edges, edges[1:], strict=False)]
        # the density of GELU has a pole where GELU turns
        rtol = 1e-7 if isinstance(prior, Gelu) else 1e-10
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-14 * unit**order)


@pytest.mark.parametrize("prior", ALL, ids=ident)
def test_totals(prior: Prior) -> None:
    edges = np.array([-math.inf, -1.0, 0.1, math.inf])
    m0, m1, m2 = prior.cell_moments(edges)
    assert m0.sum() + prior.mass_at_zero == pytest.approx(1, abs=1e-14)
    assert m2.sum() == pytest.approx(prior.second_moment, rel=1e-13)
    for order, moments in enumerate((m0, m1, m2)):
        both = prior.lower(order, 0.4) + prior.upper(order, 0.4)  # type: ignore[arg-type]
        assert both == pytest.approx(moments.sum(), abs=1e-14 * max(prior.second_moment, 1))
    assert prior.cdf(math.inf) == pytest.approx(1)
    assert prior.cdf(-math.inf) == pytest.approx(0, abs=1e-15)
    jump = float(prior.cdf(0.0) - prior.cdf(-1e-300))
    assert jump == pytest.approx(prior.mass_at_zero, abs=1e-12)


@pytest.mark.parametrize("prior", STANDARD, ids=ident)
def test_named_priors_have_mean_0_and_variance_1(prior: Prior) -> None:
    assert prior.second_moment == 1
    assert float(prior.lower(1, math.inf)) == pytest.approx(0, abs=1e-15)
    assert float(prior.lower(2, math.inf)) == pytest.approx(1, rel=1e-13)
    assert prior.partial_moment(2, 0.0) == pytest.approx(0.5)


@pytest.mark.parametrize("name", REFERENCES)
def test_densities_and_tails_of_scipy(name: str) -> None:
    prior, reference = prior_named(name), REFERENCES[name]
    x = np.array([-1.7, -0.3, 0.0, 0.2, 1.1, 1.72])
    np.testing.assert_allclose(prior.pdf(x), reference.pdf(x), rtol=1e-12)
    np.testing.assert_allclose(prior.cdf(x), reference.cdf(x), rtol=1e-12)
    far = np.array([3.0, 8.0, 20.0])
    np.testing.assert_allclose(prior.upper(0, far), reference.sf(far), rtol=1e-11)


def test_tails_keep_their_digits() -> None:
    assert math.log(Normal().upper(0, 35.0)) == pytest.approx(float(log_ndtr(-35)), rel=1e-12)
    cell = np.array([12.0, 12.5])
    for prior in (Normal(), Laplace(), Logistic(), StudentT(3), GeneralisedNormal(1.3)):
        for edges in (cell, -cell[::-1]):
            for order, found in enumerate(prior.cell_moments(edges)):
                assert found[0] == pytest.approx(integral(prior, order, edges[0], edges[1]), rel=1e-10)


def test_nothing_overflows_far_out() -> None:
    far = np.array([-math.inf, -1e300, -1e160, 1e160, 1e300, math.inf])
    for prior in ALL:
        moments = np.stack(prior.cell_moments(far))
        assert np.isfinite(moments).all()
        assert moments[2].sum() == pytest.approx(prior.second_moment, rel=1e-6)
        assert np.isfinite(prior.pdf(far)).all()


NORMAL_ENOUGH = {1e6: 1e-5, 1e9: 1e-8, 1e12: 1e-10, 1e16: 1e-10, 1e300: 1e-10}
"""Degrees of freedom of t distributions, and how closely they are normal up to 5 standard deviations."""


@pytest.mark.parametrize("nu", NORMAL_ENOUGH)
def test_student_t_of_many_degrees_of_freedom_is_normal(nu: float) -> None:
    x, rtol = np.array([0.0, 0.5, 2.0, 5.0]), 40 * NORMAL_ENOUGH[nu]
    prior, normal = StudentT(nu), Normal()
    np.testing.assert_allclose(prior.pdf(x), normal.pdf(x), rtol=rtol)
    np.testing.assert_allclose(prior.cdf(-x), normal.cdf(-x), rtol=rtol)
    for order in (0, 1, 2):
        np.testing.assert_allclose(prior.upper(order, x), normal.upper(order, x), rtol=rtol)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "prior",
    [
        *(PRIORS[name]() for name in PRIORS if name not in PARAMETERS),
        *(StudentT(nu) for nu in (2.42, 3, 5, 12, 30, 55, 60, 100, 1000, 1e6, 1e16)),
        *(GeneralisedNormal(beta) for beta in (0.1, 0.5, 1, 2, 4, 20, 100)),
        MIXTURE,
        EMPIRICAL,
    ],
    ids=ident,
)
def test_hardly_any_power_is_out_of_reach(prior: Prior) -> None:
    beyond = float(prior.upper(2, prior.reach) + prior.lower(2, -prior.reach))
    assert beyond < 1e-24 * prior.second_moment


@given(st.floats(0.2, 8), st.floats(2.05, 60), st.lists(st.floats(-50, 50), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_moments_are_those_of_a_measure(beta: float, nu: float, points: list[float]) -> None:
    edges = np.array([-math.inf, *sorted(points), math.inf])
    for prior in (GeneralisedNormal(beta), StudentT(nu)):
        m0, m1, m2 = prior.cell_moments(edges)
        assert (m0 >= 0).all()
        assert (m2 >= -1e-15).all()
        assert (m1 * m1 <= m0 * m2 * (1 + 1e-6) + 1e-12).all()  # Cauchy and Schwarz
        assert m0.sum() == pytest.approx(1)


# --- masses and shapes -------------------------------------------------------------------------------------------


def test_half_normal_is_relu_of_normal() -> None:
    prior = HalfNormal()
    assert (prior.mass_at_zero, prior.second_moment) == (0.5, 0.5)
    assert float(prior.lower(1, math.inf)) == pytest.approx(1 / math.sqrt(2 * math.pi))
    assert prior.cdf([-1e-9, 0.0]).tolist() == [0, 0.5]
    assert prior.cell_moments(np.array([-2.0, -1.0]))[0].tolist() == [0]


def test_gelu_is_gelu_of_normal() -> None:
    x = stats.norm.ppf((np.arange(1 << 18) + 0.5) / (1 << 18))
    y = x * stats.norm.cdf(x)
    prior = Gelu()
    assert prior.second_moment == pytest.approx(float(np.mean(y * y)), rel=1e-4)
    for point in (-0.169, -0.1, -1e-4, 0.0, 0.3, 2.0):
        assert float(prior.cdf(point)) == pytest.approx(float(np.mean(y <= point)), abs=2e-5)
        assert float(prior.partial_moment(1, point)) == pytest.approx(float(np.mean(y * (y <= point))), abs=2e-5)
    assert prior.pdf([-0.2, -0.17]).tolist() == [0, 0] < [float(prior.pdf(-0.1699))]
    assert prior.cdf(-0.17) == 0


def test_empirical_is_its_histogram() -> None:
    assert EMPIRICAL.pdf([-3, -1, -0.1, 0.1, 1, 3.1]).tolist() == pytest.approx([0, 0.2 / 3, 0.4, 1.2, 0.15 / 2.75, 0])
    assert EMPIRICAL.second_moment == pytest.approx(sum(integral(EMPIRICAL, 2, a, a + 1) for a in range(-2, 3)))
    rng = np.random.default_rng(0)
    data = np.append(rng.standard_normal(200_000), np.zeros(50_000))
    prior = Empirical.of(data)
    assert prior.mass_at_zero == 0.2
    assert prior.second_moment == pytest.approx(float(np.mean(data**2)), rel=1e-4)
    for point in (-1.3, -0.01, 0.0, 0.4, 2.5):
        assert float(prior.cdf(point)) == pytest.approx(float(np.mean(data <= point)), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0.5, 0.5]), "one more, ascending"),
        (([0, 0, 1], [0.5, 0.5]), "ascending"),
        (([0, 1, 2], [0.5, 0.6]), "1 in all"),
        (([0, 1, 2], [1.5, -0.5]), "1 in all"),
    ],
)
def test_histograms_that_are_none(arguments: tuple[list[float], list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Empirical(np.array(arguments[0], float), np.array(arguments[1]))


def test_mixtures_and_stretched_priors() -> None:
    assert MIXTURE.second_moment == pytest.approx(0.999 + 0.9)
    assert MIXTURE.cdf(1.0) == pytest.approx(0.999 * stats.norm.cdf(1) + 0.001 * stats.norm.cdf(1 / 30))
    assert Scaled(Laplace(), 3).breaks == (0,)
    assert Scaled(HalfNormal(), 3).mass_at_zero == 0.5
    with pytest.raises(ValueError, match="add up to 1"):
        Mixture((0.5, 0.6), (Normal(), Laplace()))
    with pytest.raises(ValueError, match="one for each"):
        Mixture((1.0,), (Normal(), Laplace()))
    with pytest.raises(ValueError, match="finite numbers above zero"):
        Scaled(Normal(), 0)


# --- fits --------------------------------------------------------------------------------------------------------


FITS: list[tuple[Literal["normal", "laplace", "t", "logistic", "uniform", "relu"], Prior]] = [
    ("normal", Normal()),
    ("laplace", Laplace()),
    ("t", StudentT(4)),
    ("logistic", Logistic()),
    ("uniform", Uniform()),
    ("relu", HalfNormal()),
]


@pytest.mark.parametrize(("source", "prior"), FITS)
def test_fits_find_what_made_the_data(source: str, prior: Prior) -> None:
    rng, count = np.random.default_rng(4), 100_000
    normal = rng.standard_normal(count)
    data = {
        "normal": normal,
        "laplace": rng.laplace(0, math.sqrt(0.5), count),
        "t": rng.standard_t(4, count) * math.sqrt(0.5),
        "logistic": rng.logistic(0, math.sqrt(3) / math.pi, count),
        "uniform": rng.uniform(-math.sqrt(3), math.sqrt(3), count),
        "relu": np.maximum(normal, 0),
    }[source]
    fitted = type(prior).fit(np.append(0.03 * data, math.nan).reshape(-1, 1))  # type: ignore[attr-defined]
    assert type(fitted.prior) is type(prior)
    assert fitted.factor == pytest.approx(0.03, rel=0.03)
    if isinstance(fitted.prior, StudentT):
        assert fitted.prior.nu == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("beta", [0.6, 1, 2, 5])
def test_generalised_normals_are_fitted_by_moments(beta: float) -> None:
    rng = np.random.default_rng(1)
    data = stats.gennorm(beta).rvs(200_000, random_state=rng)
    fitted = GeneralisedNormal.fit(data)
    assert isinstance(fitted.prior, GeneralisedNormal)
    assert fitted.prior.beta == pytest.approx(beta, rel=0.05)
    assert fitted.second_moment == pytest.approx(float(np.mean(data**2)))


def test_gelu_is_fitted_by_its_power() -> None:
    assert Gelu.fit([3.0, -3.0]).second_moment == pytest.approx(9)


def test_shapes_beyond_the_range_of_the_fit() -> None:
    assert GeneralisedNormal.fit([1.0, -1.0]).prior == GeneralisedNormal(20)
    assert GeneralisedNormal.fit([0.0] * 10_000 + [1.0]).prior == GeneralisedNormal(0.2)


@pytest.mark.parametrize("fit", [Normal.fit, Laplace.fit, StudentT.fit, Logistic.fit, HalfNormal.fit, Empirical.of])
def test_data_without_width(fit: object) -> None:
    assert callable(fit)
    with pytest.raises(ValueError, match="all zero"):
        fit(np.zeros(3))
    with pytest.raises(ValueError, match="none of them finite"):
        fit([math.nan, math.inf])


# --- names -------------------------------------------------------------------------------------------------------


def test_names_are_read_back() -> None:
    for prior in STANDARD:
        assert prior_named(prior.name) == prior
        assert hash(prior_named(prior.name)) == hash(prior)
    assert prior_named(" T( 5 ) ") == StudentT(5)
    assert set(ALIASES.values()) <= set(PRIORS)
    assert checked_prior("relu") == HalfNormal()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("lapalce", LookupError, r"no prior is named 'lapalce'; did you mean 'laplace'\? \(allowed: normal, laplace, "),
        ("student_t(5", LookupError, r"allowed: .*student_t\(5\)"),
        ("", LookupError, "no prior is named ''"),
        ("student_t", ValueError, r"needs a parameter; allowed: as in student_t\(5\)"),
        ("student_t(five)", ValueError, "'five' is not a number"),
        ("student_t(2)", ValueError, "nu is 2.0; allowed: finite numbers above 2"),
        ("student_t(nan)", ValueError, "nu is nan"),
        ("generalised_normal(0)", ValueError, "beta is 0.0; allowed: 0.1 to 100"),
        ("normal(2)", ValueError, "prior normal has no parameter, but was given '2'"),
    ],
)
def test_names_of_no_prior(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        prior_named(name)


def test_what_is_no_prior() -> None:
    with pytest.raises(TypeError, match="prior is of type float; allowed: a Prior, or the name of one"):
        checked_prior(1.0)  # type: ignore[arg-type]


def test_mixtures_of_lists_are_values() -> None:
    mixture = Mixture([0.5, 0.5], [Normal(), Laplace()])
    assert mixture == Mixture((0.5, 0.5), (Normal(), Laplace()))
    assert hash(mixture) == hash(Mixture((0.5, 0.5), (Normal(), Laplace())))


def test_an_empirical_prior_does_not_change() -> None:
    edges, masses = np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.5])
    prior = Empirical(edges, masses)
    edges[:] = masses[:] = 0
    assert prior.edges.tolist() == [0, 1, 2]
    assert prior.masses.tolist() == [0.5, 0.5]
    for each in (prior, copy.deepcopy(prior), pickle.loads(pickle.dumps(prior))):
        for array in (each.edges, each.masses):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
