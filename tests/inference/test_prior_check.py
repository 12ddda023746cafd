"""Prior-data conflict: against marginal likelihoods, simulation from the prior, and closed forms."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

import bayesmeta as bm
from bayesmeta.inference.prior_check import _Model
from tests.bayes.test_quadrature import HALF, bcg, berkey98, normal, school

PRIORS = bm.Priors(beta=normal(1), tau=HALF)


@pytest.mark.parametrize(("make", "within"), [(bcg, 1e-6), (school, 1e-3), (berkey98, 0.01)])
def test_densities_of_data_are_the_marginal_likelihoods(make: Any, within: float) -> None:
    """Of the data themselves, and of others from the prior."""
    tree = bm.sample(make(), PRIORS, draws=10, random_seed=1)
    model = _Model.of(tree)
    log = model.log_densities(model.spec.y[None])
    assert log[0] == pytest.approx(float(tree["criteria"]["log_marginal_likelihood"]), abs=within)


def test_a_model_without_differences_has_the_chi_squared_of_box() -> None:
    """Where all is normal, p(y) falls with the squared distance of y from its mean."""
    data = {"y": [0.5, 0.9, 0.1, 0.4], "v": [0.04, 0.09, 0.05, 0.2], "id": list("abcd")}
    spec = bm.specify("y ~ 1", data, S="v", random="0 | id", measure="smd")
    with pytest.warns(bm.AssumptionWarning):
        tree = bm.sample(spec, bm.Priors(beta=normal(0.3)), draws=1000, random_seed=1)
    y, cov = spec.y, np.diag(data["v"]) + 0.09
    p = chi2.sf(y @ np.linalg.solve(cov, y), 4)
    found = bm.prior_check(tree, draws=4000, random_seed=1)
    assert found["box_pvalue"].item() == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 4000))
    w = 1 / np.array(data["v"])
    sd = np.sqrt(0.09 + 1 / w.sum())
    assert found["prior_sd"].item() == pytest.approx(sd)
    assert found["pvalue"].item() == pytest.approx(2 * norm.sf(abs(w @ y / w.sum()) / sd))
    Q = found["Q"].item()
    assert pytest.approx(bm.heterogeneity(tree)["Q"].item()) == Q
    tail = 2 * min(chi2.cdf(Q, 3), chi2.sf(Q, 3))
    assert found["Q_pvalue"].item() == pytest.approx(tail, abs=0.04)


def test_p_values_are_uniform_where_prior_and_model_are_right() -> None:
    model = _Model.of(bm.sample(bcg(), PRIORS, draws=10, random_seed=1))
    y = model.drawn(400, np.random.default_rng(2))
    log = model.log_densities(y)
    Q = model.homogeneity(y)
    other = model.drawn(400, np.random.default_rng(3))
    for own, drawn in ((log, model.log_densities(other)), (Q, model.homogeneity(other))):
        assert kstest([np.mean(drawn <= value) for value in own], "uniform").pvalue > 1e-3
    A = model._estimator()
    _, mean, sd, _ = model.coefficients()
    estimates = (y @ A.T)[:, 0]
    assert estimates.mean() == pytest.approx(mean[0], abs=4 * sd[0] / 20)
    assert estimates.std() == pytest.approx(sd[0], rel=0.15)


def test_conflict_is_seen_where_it_is() -> None:
    far = bm.Priors(beta=normal(0.5, 2.0), tau=HALF)
    small = bm.Priors(beta=normal(1), tau=bm.priors.half_normal(0.02))
    one = bm.prior_check(bm.sample(bcg(), far, draws=10, random_seed=1), random_seed=1)
    two = bm.prior_check(bm.sample(bcg(), small, draws=10, random_seed=1), random_seed=1)
    right = bm.prior_check(bm.sample(bcg(), PRIORS, draws=10, random_seed=1), random_seed=1)
    assert one["pvalue"].item() < 1e-4
    assert one["Q_pvalue"].item() > 0.1
    assert two["Q_pvalue"].item() < 0.01
    assert two["box_pvalue"].item() < 0.01
    assert min(right[name].item() for name in ("pvalue", "Q_pvalue", "box_pvalue")) > 0.1


def test_priors_that_are_not_normal_and_predictors() -> None:
    spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    prior = {"Intercept": bm.Prior("StudentT", nu=4, mu=0, sigma=1), "ablat": normal(0.05)}
    tree = bm.sample(spec, bm.Priors(beta=prior, tau=HALF), draws=10, random_seed=1)
    model = _Model.of(tree)
    log = float(tree["criteria"]["log_marginal_likelihood"])
    assert model.log_densities(spec.y[None])[0] == pytest.approx(log, abs=1e-3)
    found = bm.prior_check(tree, draws=200, random_seed=1)
    assert found["prior_mean"].values == pytest.approx([0, 0], abs=0.05)
    assert found["estimate"].sel(coef="ablat").item() == pytest.approx(-0.03, abs=0.01)


def test_what_is_refused() -> None:
    with pytest.raises(bm.SpecError, match="prior_check is of a posterior, and this tree holds a fit"):
        bm.prior_check(bm.fit(bcg()))
    with pytest.warns(bm.AssumptionWarning):
        flat = bm.sample(bcg(), bm.Priors(beta=bm.Prior("Flat"), tau=HALF), draws=10, random_seed=1)
    with pytest.raises(bm.SpecError, match=r"the prior of beta\[Intercept\] is improper and predicts nothing"):
        bm.prior_check(flat)
    tree = bm.sample(bcg(), PRIORS, draws=10, random_seed=1)
    with pytest.raises(bm.SpecError, match="draws is 0"):
        bm.prior_check(tree, draws=0)
    with pytest.raises(bm.SpecError, match="random_seed is -1"):
        bm.prior_check(tree, random_seed=-1)
