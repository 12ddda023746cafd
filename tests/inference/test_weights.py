"""Weights by generalised least squares, against full matrices and published ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.inference.weights import covariances, gls_weights, marginal_variances
from tests.support.posteriors import make_posterior, stacked


def berkey() -> bm.Spec:
    return bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"])


def school() -> bm.Spec:
    return bm.specify("effect ~ year", bm.datasets.load("school"), S="var", random="1 | district/study")


def shuffled() -> bm.Spec:
    """Groups whose members are not neighbours, with sampling errors that depend on each other."""
    data = bm.datasets.load("school").sample(frac=1, random_state=3).reset_index(drop=True)
    S = {
        str(name): 0.3 * np.sqrt(np.outer(own["var"], own["var"])) + 0.7 * np.diag(own["var"])
        for name, own in data.groupby("district")
    }
    return bm.specify("effect ~ 1", data, S=S, random="1 + year | district")


def dense(spec: bm.Spec, psi: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sigma and (X' Sigma^-1 X)^-1 X' Sigma^-1 by full matrices."""
    Sigma = np.zeros((len(spec.y), len(spec.y)))
    Sigma[spec.S.row, spec.S.col] = Sigma[spec.S.col, spec.S.row] = spec.S.value
    for level, own in zip(spec.levels, psi, strict=True):
        Sigma += (level.Z @ own @ level.Z.T) * (level.index[:, None] == level.index)
    inverse = np.linalg.inv(Sigma)
    return Sigma, np.linalg.inv(spec.X.T @ inverse @ spec.X) @ spec.X.T @ inverse


@pytest.mark.parametrize("make", [berkey, school, shuffled])
def test_weights_of_a_fit_are_those_of_full_matrices(make: Callable[[], bm.Spec]) -> None:
    spec = make()
    tree = bm.fit(spec)
    psi = covariances(tree, spec)
    Sigma, W = dense(spec, psi.mean)
    assert np.abs(gls_weights(spec, psi) - W).max() < 1e-10 * np.abs(W).max()
    assert marginal_variances(spec, psi) == pytest.approx(np.diag(Sigma), rel=1e-12)
    assert gls_weights(spec, psi) @ spec.y == pytest.approx(tree["estimate/beta"].values, rel=1e-9)


def test_weights_of_a_posterior_are_means_over_draws() -> None:
    spec = berkey()
    tree = make_posterior(spec, draws=300)  # more than are worked through at a time
    psi = stacked(tree, "derived", "psi_unit")
    expected = np.mean([dense(spec, [own])[1] for own in psi], axis=0)
    assert gls_weights(spec, covariances(tree, spec)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("make", [school, berkey])
def test_weights_of_an_exact_posterior_are_those_of_many_draws(make: Callable[[], bm.Spec]) -> None:
    spec = make()
    priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))
    tree = bm.sample(spec, priors, draws=250, random_seed=1)
    exact, drawn = covariances(tree, spec), [stacked(tree, "derived", f"psi_{v.name}") for v in spec.levels]
    by_draw = np.array([dense(spec, list(psi))[1] for psi in zip(*drawn, strict=True)])
    error = by_draw.std(axis=0) / np.sqrt(len(by_draw))
    assert (np.abs(gls_weights(spec, exact) - by_draw.mean(0)) < 5 * error + 1e-12).all()
    for level, own, draws in zip(spec.levels, exact.mean, drawn, strict=True):
        known = tree["marginals"][f"psi_{level.name}_mean"].values
        np.testing.assert_allclose(own, known, rtol=1e-9)
        assert (np.abs(own - draws.mean(0)) < 5 * draws.std(axis=0) / np.sqrt(len(draws))).all()


def test_weights_of_bcg_are_those_of_metafor(reference: Callable[[str], Any]) -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    weights = 100 * gls_weights(spec, covariances(bm.fit(spec), spec))[0]
    expected = reference("metafor/blup_influence_bcg")["influence"]["weight_percent"]
    assert weights == pytest.approx(expected, rel=1e-5)
