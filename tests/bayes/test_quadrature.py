"""Posteriors by quadrature: against brute force, published numbers, finer lattices and their own draws."""

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

import bayesmeta as bm
from bayesmeta._typing import FloatArray
from bayesmeta.bayes import quadrature
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.mixtures import Normals
from bayesmeta.bayes.quadrature import Quadrature, integrate
from bayesmeta.priors.defaults import resolve
from tests.benchmarks.exact import TAU
from tests.support.brute_force import Box, Dense

PROBABILITIES = np.array([0.005, 0.025, 0.25, 0.5, 0.75, 0.975, 0.995])
TAILS = PROBABILITIES[[0, 1, 3, 5]]
HALF = bm.priors.half_normal(0.5)


def normal(sd: float, mean: float = 0.0) -> bm.Prior:
    return bm.Prior("Normal", mu=mean, sigma=sd)


def posterior(spec: bm.Spec, priors: bm.Priors) -> Quadrature:
    return integrate(Evaluator(spec, resolve(spec, priors)))


def bcg() -> bm.Spec:
    return bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")


def school() -> bm.Spec:
    data = bm.datasets.load("school")
    return bm.specify("effect ~ 1", data, S="var", random="1 | district/study", measure="smd")


def berkey98() -> bm.Spec:
    S = ["var_PD", "cov_PD_AL", "var_AL"]
    return bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=S, psi="unstr")


def log_half_normal(x: FloatArray, scale: float = 0.5) -> FloatArray:
    return stats.halfnorm(scale=scale).logpdf(x).sum(1)


def one_tau(x: FloatArray) -> list[FloatArray]:
    return [x[:, :1, None] ** 2]


def two_taus(x: FloatArray) -> list[FloatArray]:
    return [x[:, i : i + 1, None] ** 2 for i in (0, 1)]


def bivariate(x: FloatArray) -> list[FloatArray]:
    cov = x[:, 0] * x[:, 1] * x[:, 2]
    return [np.moveaxis(np.array([[x[:, 0] ** 2, cov], [cov, x[:, 1] ** 2]]), -1, 0)]


def lkj(x: FloatArray) -> FloatArray:
    return log_half_normal(x[:, :2]) + np.log(0.75 * (1 - x[:, 2] ** 2))


CASES: dict[str, Any] = {  # specification, dense problem, tolerance of moments and quantiles in SDs, of the log
    "one": (
        bcg,
        lambda s: Dense(s, np.zeros(1), np.ones(1), one_tau, log_half_normal, [Box(0, 4, 0.2)], 120),
        2e-4,
        1e-6,
    ),
    "two": (
        school,
        lambda s: Dense(s, np.zeros(1), np.ones(1), two_taus, log_half_normal, [Box(0, 4, 0.15)] * 2, 45),
        2e-4,
        1e-6,
    ),
    "three": (
        berkey98,
        lambda s: Dense(s, np.zeros(2), np.ones(2), bivariate, lkj, [Box(0, 3.5, 0.1)] * 2 + [Box(-1, 1)], 34),
        1e-3,
        1e-4,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_moments_quantiles_and_marginal_likelihood_are_those_of_brute_force(case: str) -> None:
    make, dense, tolerance, of_log = CASES[case]
    spec = make()
    ours, exact = posterior(spec, bm.Priors(beta=normal(1), tau=HALF)), dense(spec).answers()
    difference = abs(ours.log_marginal_likelihood - exact.log_marginal_likelihood)
    assert difference < of_log
    assert difference < ours.error + 1e-9  # brute force has errors of its own
    mean, sd = exact.moments()
    parts = [ours.coordinate(j) for j in range(ours.evaluator.dim)]
    beta = ours.beta
    np.testing.assert_allclose((np.concatenate([*(p.mean for p in parts), beta.mean]) - mean) / sd, 0, atol=tolerance)
    np.testing.assert_allclose(np.concatenate([*(p.sd for p in parts), beta.sd]) / sd, 1, atol=tolerance)
    for j, part in enumerate(parts):
        check_quantiles(part, 0, lambda q, j=j: exact.below(j, q), tolerance)
    for j in range(len(beta.mean)):
        check_quantiles(beta, j, lambda q, j=j: exact.below_beta(j, q), tolerance)


def check_quantiles(marginal: Any, j: int, below: Any, tolerance: float) -> None:
    """That the probability below each is right, as the distance of the quantile by the density there."""
    found = marginal.quantile(TAILS)[:, j]
    density = marginal.density(np.repeat(found[:, None], len(marginal.mean), axis=1))[:, j]
    for q, p, height in zip(found, TAILS, density, strict=True):
        assert abs(below(q) - p) / height < tolerance * marginal.sd[j], p


@pytest.mark.parametrize(("scale", "expected"), [(0.5, -14.4368221483), (1.0, -15.6333061023)])
def test_marginal_likelihood_of_school(scale: float, expected: float) -> None:
    found = posterior(school(), bm.Priors(beta=normal(1), tau=bm.priors.half_normal(scale)))
    assert found.log_marginal_likelihood == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("file", ["bcg_logor", "school_univariate"])
def test_other_software_says_the_same(file: str, reference: Any, table: Any) -> None:
    """Its own grid over tau is good to some 1e-4 SD."""
    known = reference(f"bayes/{file}")
    spec = bm.specify(f"{known['y']} ~ 1", table(known["data"]), S=known["v"])
    prior = normal(known["mu_prior"]["normal_sd"], known["mu_prior"]["normal_mean"])
    p = np.array(known["probabilities"])
    for name, exact in known["tau_priors"].items():
        found = posterior(spec, bm.Priors(beta=prior, tau=TAU[name]))
        if "log_marginal_likelihood" in exact:
            assert found.log_marginal_likelihood == pytest.approx(exact["log_marginal_likelihood"], abs=2e-4)
        new = found.combination(np.ones((1, 1)), [np.ones((1, 1))])
        for quantity, ours in (("tau", found.coordinate(0)), ("mu", found.beta), ("theta_new", new)):
            check_reference(ours, exact[quantity], p)


def test_other_software_says_the_same_of_a_regression(reference: Any, table: Any) -> None:
    known = reference("bayes/bcg_metaregression")
    spec = bm.specify(known["formula"], table(known["data"]), S=known["S"])
    prior = known["beta_prior"]
    beta = {c: normal(sd, mu) for c, mu, sd in zip(spec.coef, prior["mean"], prior["sd"], strict=True)}
    found = posterior(spec, bm.Priors(beta=beta, tau=TAU[known["tau_prior"]]))
    p = np.array(known["probabilities"])
    check_reference(found.coordinate(0), known["tau"], p)
    for j, each in enumerate(known["beta"]):
        check_reference(found.combination(np.eye(len(spec.coef))[j : j + 1]), each, p)


def check_reference(ours: Any, exact: Any, p: FloatArray) -> None:
    sd = exact["sd"]
    assert ours.mean[0] == pytest.approx(exact["mean"], abs=REFERENCE * sd)
    assert ours.sd[0] == pytest.approx(sd, rel=REFERENCE)
    np.testing.assert_allclose((ours.quantile(p)[:, 0] - exact["quantiles"]) / sd, 0, atol=REFERENCE)


REFERENCE = 2e-4  # SDs


def studies(y: Any, v: Any) -> bm.Spec:
    return bm.specify("y ~ 1", {"y": list(y), "v": list(v)}, S="v", measure="logor")


def many() -> bm.Spec:
    rng = np.random.default_rng(1)
    v = rng.uniform(0.01, 0.2, 2000)
    return studies(0.3 + rng.normal(0, np.sqrt(v + 0.04)), v)


def apart() -> bm.Spec:
    """Every study has one of the two outcomes, so their correlation is never observed."""
    rng = np.random.default_rng(2)
    y = rng.normal(0.2, 0.4, (16, 2))
    y[:8, 0] = y[8:, 1] = np.nan
    frame = {"a": y[:, 0], "b": y[:, 1], "va": np.full(16, 0.04), "vb": np.full(16, 0.06)}
    return bm.specify("a + b ~ 1", frame, S=["va", "vb"], S_correlation=0.0, psi="unstr", measure="smd")


def two_modes() -> bm.Spec:
    """Precise studies that agree, and coarse ones far away."""
    return studies([0.0, 0.01, -0.01, 0.02, 3.0], [1e-4, 1e-4, 1e-4, 1e-4, 0.05])


WIDE = bm.priors.half_cauchy(100.0)
IMPROPER = pytest.mark.filterwarnings("ignore:the prior of beta.*improper")
HARD: dict[str, Any] = {
    "two studies": (lambda: studies([0.1, 0.5], [0.04, 0.09]), bm.Priors(beta=normal(1), tau=HALF)),
    "two studies, wide": (lambda: studies([0.1, 0.5], [0.04, 0.09]), bm.Priors(beta=normal(1), tau=WIDE)),
    "three studies, flat": (
        lambda: studies([0.1, 0.5, -1], [0.04, 0.1, 0.1]),
        bm.Priors(beta=bm.Prior("Flat"), tau=WIDE),
    ),
    "conflict": (bcg, bm.Priors(beta=normal(1), tau=bm.priors.half_normal(0.03))),
    "2,000 studies": (many, bm.Priors(beta=normal(1), tau=WIDE)),
    "never observed": (apart, bm.Priors(beta=normal(1), tau=HALF)),
    "no heterogeneity": (lambda: studies(np.zeros(20), np.full(20, 0.05)), bm.Priors(beta=normal(1), tau=HALF)),
    "two modes": (two_modes, bm.Priors(beta=normal(1), tau=bm.Prior("LogNormal", mu=-4, sigma=2))),
    "two levels, nothing": (lambda: flat_school(), bm.Priors(beta=normal(1), tau=HALF)),
}


def flat_school() -> bm.Spec:
    data = bm.datasets.load("school").assign(effect=0.0)
    return bm.specify("effect ~ 1", data, S="var", random="1 | district/study", measure="smd")


@IMPROPER
@pytest.mark.filterwarnings("ignore:the data cannot identify")
@pytest.mark.parametrize("case", HARD)
def test_hard_cases_against_a_lattice_four_times_as_fine(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, priors = HARD[case]
    spec = make()
    ours = posterior(spec, priors)
    step = {k: 0.25 * step if k < 3 else 0.5 * step for k, step in quadrature.STEP.items()}
    monkeypatch.setattr(quadrature, "STEP", step)
    monkeypatch.setattr(quadrature, "DEPTH", {k: depth + 6 for k, depth in quadrature.DEPTH.items()})
    fine = posterior(spec, priors)
    difference = abs(ours.log_marginal_likelihood - fine.log_marginal_likelihood)
    assert difference < 1e-3
    assert difference < ours.error + fine.error
    pairs = [(ours.coordinate(j), fine.coordinate(j)) for j in range(ours.evaluator.dim)]
    for mine, exact in [*pairs, (ours.beta, fine.beta)]:
        width = np.ptp(exact.quantile(np.array([0.16, 0.84])), axis=0) / 2  # SDs may not exist
        far = np.abs(mine.quantile(PROBABILITIES) - exact.quantile(PROBABILITIES)) / width
        assert far[1:-1].max() < 1e-2


@IMPROPER
def test_infinite_moments_are_said() -> None:
    """Of two studies under a half-Cauchy prior the density of tau falls as tau^-3."""
    found = posterior(studies([0.1, 0.5], [0.04, 0.09]), bm.Priors(beta=bm.Prior("Flat"), tau=WIDE))
    assert np.isinf(found.coordinate(0).sd)
    assert np.isinf(found.beta.sd)
    assert np.isfinite(found.coordinate(0).mean)


def test_priors_that_are_not_normal_join_the_integration() -> None:
    """Against integrals over tau and the coefficient."""
    data = bm.datasets.load("bcg")
    y, v = data["logor"].to_numpy(), data["logorvar"].to_numpy()
    t, w = Box(0, 4, 0.2).nodes(100)
    mu, wm = Box(-4, 3).nodes(400)
    loglik = stats.norm.logpdf(y, mu[:, None, None], np.sqrt(v + t[:, None] ** 2)).sum(-1)
    weight = w * stats.halfnorm(scale=0.5).pdf(t)
    laws = {
        bm.Prior("Cauchy", alpha=0, beta=0.5): stats.cauchy(0, 0.5),
        bm.Prior("StudentT", nu=3, mu=0.2, sigma=0.4): stats.t(3, 0.2, 0.4),
        bm.Prior("Laplace", mu=0, b=0.3): stats.laplace(0, 0.3),
        bm.Prior("Uniform", lower=-2, upper=1): stats.uniform(-2, 3),
    }
    for prior, law in laws.items():
        density = np.exp(loglik) * law.pdf(mu)[:, None] * wm[:, None] * weight
        found = posterior(bcg(), bm.Priors(beta=prior, tau=HALF))
        assert found.evaluator.dim == 2
        tolerance = 1e-6 if law.dist.name in ("cauchy", "t") else 1e-3  # those have corners, for both rules
        assert found.log_marginal_likelihood == pytest.approx(np.log(density.sum()), abs=tolerance)
        assert found.beta.mean[0] == pytest.approx((density.sum(1) @ mu) / density.sum(), abs=tolerance)


def test_draws_are_those_of_the_distribution() -> None:
    for spec in (bcg(), school(), berkey98()):
        found = posterior(spec, bm.Priors(beta=normal(1), tau=HALF))
        rng = np.random.default_rng(5)
        points = found.draw(4000, rng)
        p = np.linspace(0.0005, 0.9995, 400)
        columns = [(found.coordinate(j), points.u[:, j]) for j in range(found.evaluator.dim)]
        for j, (axis, u) in enumerate(columns):
            values = found.evaluator.chart.coordinates[j].prior.of_normal(u)
            ranks = np.interp(values, axis.quantile(p)[:, 0], p)
            assert stats.kstest(ranks, "uniform").pvalue > 1e-3
        beta = found.draw_beta(points, rng)
        for j in range(beta.shape[1]):
            ranks = np.interp(beta[:, j], found.beta.quantile(p)[:, j], p)
            assert stats.kstest(ranks, "uniform").pvalue > 1e-3
        assert len(np.unique(points.u[:, 0])) == 4000


def test_the_tree_says_what_was_done() -> None:
    tree = bm.sample(school(), bm.Priors(beta=normal(1), tau=HALF), random_seed=4)
    assert tree.attrs["sampler"] == "quadrature"
    assert tree.attrs["sampler_reason"].startswith("2 parameters are left to integrate numerically (tau[district")
    assert "diagnostics" not in tree.children
    assert float(tree["criteria"]["log_marginal_likelihood"]) == pytest.approx(-14.4368221483, abs=1e-8)
    assert dict(tree["posterior"].sizes) == {"chain": 4, "draw": 1000, "coef": 1}
    again = bm.sample(school(), bm.Priors(beta=normal(1), tau=HALF), random_seed=4)
    for group in ("posterior", "random_effects", "posterior_predictive", "prior"):
        assert tree[group].to_dataset().identical(again[group].to_dataset()), group
    other = bm.sample(school(), bm.Priors(beta=normal(1), tau=HALF), random_seed=5, draws=50)
    assert tree["marginals"].to_dataset().identical(other["marginals"].to_dataset())
    page = str(bm.summary(tree))
    assert page == str(bm.summary(bm.sample(school(), bm.Priors(beta=normal(1), tau=HALF), random_seed=4)))
    assert "exact, by quadrature" in page
    assert "R-hat" not in page


@pytest.mark.parametrize("prob", [0.5, 0.8, 0.89, 0.95, 0.99])
def test_tables_have_exact_intervals_at_every_probability(prob: float) -> None:
    priors = bm.Priors(beta=normal(1), tau=HALF)
    tree, exact = bm.sample(bcg(), priors, draws=5, random_seed=1), posterior(bcg(), priors)
    table = bm.estimates(tree, prob)
    ends = np.array([(1 - prob) / 2, (1 + prob) / 2])
    for label, own in (("beta[Intercept]", exact.beta), ("tau[unit, Intercept]", exact.coordinate(0))):
        np.testing.assert_allclose(
            table.loc[label, ["lower", "upper"]].to_numpy(float), own.quantile(ends)[:, 0], atol=2e-5 * own.sd[0]
        )
        assert table.loc[label, "estimate"] == pytest.approx(own.mean[0], rel=1e-9)
    squared = table.loc["tau2[unit, Intercept]"]
    assert squared["lower"] == pytest.approx(table.loc["tau[unit, Intercept]", "lower"] ** 2, rel=1e-4)
    assert squared["estimate"] == pytest.approx(exact.coordinate(0).sd[0] ** 2 + exact.coordinate(0).mean[0] ** 2)
    ratio = bm.estimates(tree, prob, scale="response").loc["beta[Intercept]"]
    assert ratio["lower"] == pytest.approx(np.exp(table.loc["beta[Intercept]", "lower"]))
    weight, points = exact.main
    mean = weight @ np.exp(points.beta[:, 0] + points.root[:, 0, 0] ** 2 / 2)
    assert ratio["estimate"] == pytest.approx(mean, rel=1e-3)


def test_what_quadrature_cannot_do_is_refused_with_what_can() -> None:
    smoking = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    with pytest.raises(bm.SpecError, match="tune is 50, a setting of Markov chains"):
        bm.sample(smoking, tune=50, sampler="quadrature")
    with pytest.raises(bm.SpecError, match="chains is 2, a setting of Markov chains"):
        bm.sample(smoking, chains=2, sampler="quadrature")
    prior = bm.Prior("Moyal", mu=0, sigma=1)
    with pytest.raises(bm.SpecError, match=r"the prior Moyal.* of beta\[Intercept\] has no quantiles in closed form"):
        bm.sample(smoking, bm.Priors(beta=prior, tau=HALF), sampler="quadrature")
    rng = np.random.default_rng(1)
    y = {name: rng.normal(0, 1, 12) for name in "abc"}
    three = bm.specify("a + b + c ~ 1", y, S=np.full((12, 3), 0.1), S_correlation=0.0, psi="unstr", measure="smd")
    with pytest.raises(bm.SpecError, match=r"at most 3 parameters, and this model has 6: tau\[unit, a\].*\n.*'auto'"):
        bm.sample(three, sampler="quadrature")


POLES = bm.Prior("Beta", alpha=1e-6, beta=1e-6)  # all mass at 0 and at 1


@pytest.mark.parametrize(
    ("beta", "tau", "message"),
    [
        (normal(1), POLES, "has cliffs, or mass at single points"),
        (normal(1), bm.Prior("Beta", alpha=1e-3, beta=1e-3), "has cliffs, or mass at single points"),
        (normal(1), bm.Prior("DiracDelta", c=0.3), "DiracDelta is discrete"),
        (normal(1), bm.Prior("Uniform", lower=0.3, upper=0.3), "has no support"),
        (normal(1), bm.Prior("TruncatedNormal", mu=0, sigma=1, lower=0.5, upper=0.5), "has no support"),
        (normal(1), bm.Prior("Uniform", lower=-2, upper=-1), "an SD cannot be negative"),
        (normal(1), bm.Prior("Uniform", lower=1e160, upper=1e170), "the likelihood is zero, in the range of numbers"),
        (normal(1), bm.Prior("LogNormal", mu=800, sigma=1), "the likelihood is zero, in the range of numbers"),
        (bm.Prior("Normal", mu=1e160, sigma=1), HALF, "the likelihood is zero, in the range of numbers"),
        (bm.Prior("Normal", mu=1e8, sigma=1e-3), HALF, "lies so far out in its prior that numbers do not reach"),
        (bm.Prior("Uniform", lower=1, upper=1), HALF, "has no support"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*rules out values of tau:bayesmeta.AssumptionWarning")
def test_priors_that_leave_nothing_are_refused(beta: bm.Prior, tau: bm.Prior, message: str) -> None:
    with pytest.raises(bm.SpecError, match=message):
        bm.sample(bcg(), bm.Priors(beta=beta, tau=tau), draws=2)


@pytest.mark.parametrize(
    ("tau", "near"),
    [
        (bm.Prior("TruncatedNormal", mu=-100, sigma=1, lower=0), 0.2055),  # an exponential of rate 100, all but
        (bm.Prior("Uniform", lower=0.5, upper=0.5000001), 0.5),
        (bm.Prior("LogNormal", mu=-900, sigma=1), 0.0),
        (bm.Prior("HalfNormal", sigma=1e300), 0.6667),  # the improper flat one, but for its scale
        (bm.Prior("TruncatedNormal", mu=0, sigma=0.1, lower=50), 50.0),
    ],
)
def test_priors_far_from_the_data_are_integrated(tau: bm.Prior, near: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.AssumptionWarning)  # that they rule out values near zero
        post = bm.sample(bcg(), bm.Priors(beta=normal(1), tau=tau), draws=2, random_seed=1)
    assert float(post["marginals"]["tau_unit_mean"]) == pytest.approx(near, abs=3e-4)


def test_models_without_free_parameters_are_normal() -> None:
    data = bm.datasets.load("bcg")
    spec = bm.specify("logor ~ 1", data, S="logorvar", random="0 | trial", measure="logor")
    with pytest.warns(bm.AssumptionWarning, match="common-effect model"):
        tree = bm.sample(spec, bm.Priors(beta=normal(2)), random_seed=1, draws=20)
    y, v = data["logor"].to_numpy(), data["logorvar"].to_numpy()
    expected = stats.multivariate_normal(np.zeros(13), np.diag(v) + 4).logpdf(y)
    assert float(tree["criteria"]["log_marginal_likelihood"]) == pytest.approx(expected, abs=1e-10)
    precision = (1 / v).sum() + 0.25
    assert float(tree["marginals"]["beta_mean"][0]) == pytest.approx((y / v).sum() / precision, abs=1e-12)
    assert float(tree["marginals"]["beta_sd"][0]) == pytest.approx(precision**-0.5, abs=1e-12)


def test_other_priors_need_no_further_elimination() -> None:
    """The points kept under one prior of the coefficients, evaluated under another."""
    from bayesmeta.bayes.chart import Chart

    spec = school()
    first, second = (Evaluator(spec, resolve(spec, bm.Priors(beta=normal(sd), tau=HALF))) for sd in (1.0, 0.3))
    u = np.random.default_rng(3).standard_normal((50, 2))
    moved = first.under(first(u), Chart.of(spec, second.priors).beta)
    np.testing.assert_allclose(moved.loglik, second(u).loglik, rtol=1e-12)
    np.testing.assert_allclose(moved.beta, second(u).beta, rtol=1e-12)


def test_quantiles_of_mixtures_are_right_to_the_last_digits() -> None:
    """Newton's method ends at the root, and does not leave it for the middle of its bracket by a rounding error."""
    prob = np.array([0.001, 0.025, 0.2, 0.5, 0.7, 0.975, 0.9995])
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 400))
        weight = rng.dirichlet(np.full(n, 0.5))
        mixture = Normals(weight, rng.standard_t(3, (n, 3)), rng.uniform(0.05, 2.0, (n, 3)))
        x, main = mixture.quantile(prob), mixture.main
        below = (main.weight[:, None, None] * ndtr((x - main.centre[:, None]) / main.spread[:, None])).sum(0)
        assert np.abs((below - prob[:, None]) / mixture.density(x) / mixture.sd).max() < 1e-10


def test_quantiles_of_points_are_points() -> None:
    """Coefficients that are coordinates of the chart have no spread given it: their distribution is a staircase."""
    rng = np.random.default_rng(1)
    weight, centre = rng.dirichlet(np.ones(50)), rng.standard_normal((50, 1))
    prob, order = np.array([0.03, 0.2, 0.51, 0.9]), np.argsort(centre[:, 0])
    steps = centre[order, 0][np.searchsorted(np.cumsum(weight[order]), prob)]
    assert np.abs(Normals(weight, centre, np.zeros((50, 1))).quantile(prob)[:, 0] - steps).max() < 1e-6
