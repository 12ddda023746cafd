"""Predictions from posteriors without chains: against dense brute force, many draws, and each other."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, ndtr, ndtri

import bayesmeta as bm
from bayesmeta import kernel
from bayesmeta._typing import FloatArray
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.importance import integrate
from bayesmeta.bayes.integration_points import exact_posterior, integration_group
from bayesmeta.priors.defaults import resolve
from bayesmeta.report.sections.opening import effects_in_words
from bayesmeta.report.sections.results import estimates as side_by_side
from bayesmeta.tree.posterior_draws import b_draws, beta_draws, psi_draws
from tests.bayes.test_quadrature import CASES, HALF, bcg, berkey98, normal, school
from tests.support.awkward import awkward_spec
from tests.support.brute_force import Answers
from tests.support.edited import unhashed

PRIORS = bm.Priors(beta=normal(1), tau=HALF)
PROBS = [0.5, 0.95, 0.99]


def exact_of(case: str) -> tuple[xr.DataTree, Answers]:
    make, dense, *_ = CASES[case]
    spec = make()
    return bm.sample(spec, PRIORS, draws=10, random_seed=1), dense(spec).answers()


@pytest.fixture(scope="module", params=["one", "two"])
def known(request: pytest.FixtureRequest) -> tuple[xr.DataTree, Answers]:
    return exact_of(request.param)


def check(found: xr.Dataset, mean: FloatArray, sd: FloatArray, weight: FloatArray, prob: float, tol: float) -> None:
    """Statistics of one quantity against a mixture by brute force: bounds by the probability below them."""
    centre = weight @ mean
    spread = np.sqrt(weight @ (sd**2 + (mean - centre) ** 2))
    assert float(found["mean"]) == pytest.approx(centre, abs=tol * spread)
    assert float(found["se"]) == pytest.approx(spread, rel=tol)
    for end, p in (("lower", (1 - prob) / 2), ("upper", (1 + prob) / 2)):
        below = weight @ ndtr((float(found[end]) - mean) / sd)
        assert ndtri(below) == pytest.approx(ndtri(p), abs=3 * tol)


@pytest.mark.parametrize("prob", PROBS)
def test_means_and_new_effects_are_those_of_brute_force(known: tuple[xr.DataTree, Answers], prob: float) -> None:
    tree, exact = known
    mean, own = exact.beta[:, 0], exact.cov[:, 0, 0]
    check(bm.predict(tree, {}, prob=prob).squeeze(), mean, np.sqrt(own), exact.weight, prob, 1e-4)
    variances = exact.x**2
    for level, depth in zip(bm.Spec.from_tree(tree).levels, range(1, 3), strict=False):
        new = bm.predict(tree, {}, "prediction", prob, level=level.name).squeeze()
        check(new, mean, np.sqrt(own + variances[:, :depth].sum(1)), exact.weight, prob, 1e-4)


def effects_by_brute_force(exact: Answers, depth: int, fixed: bool) -> tuple[FloatArray, FloatArray]:
    """Means and SDs (nodes, rows) of x beta + effects of the first levels, by full matrices at every node."""
    dense = exact.dense
    spec, n = dense.spec, len(dense.spec.y)
    prior, r = spec.X @ np.diag(dense.variance) @ spec.X.T, spec.y - spec.offset - spec.X @ dense.mean
    mean, sd = np.empty((2, len(exact.x), n))
    for i, psis in enumerate(zip(*dense.psi(exact.x), strict=True)):
        parts = [s * (v.Z @ p @ v.Z.T) for v, s, p in zip(spec.levels, dense.same, psis, strict=True)]
        total, own = dense.S + prior + sum(parts), fixed * prior + sum(parts[:depth])
        gain = np.linalg.solve(total, own).T
        mean[i] = fixed * (spec.X @ dense.mean + spec.offset) + gain @ r
        sd[i] = np.sqrt(np.diag(own - gain @ own))
    return mean, sd


@pytest.mark.parametrize("kind", ["outcome", "residual"])
def test_shrunken_effects_are_those_of_brute_force(known: tuple[xr.DataTree, Answers], kind: Any) -> None:
    tree, exact = known
    heavy = exact.weight > 1e-12
    exact = Answers(exact.dense, 0.0, exact.x[heavy], exact.weight[heavy], exact.beta[heavy], exact.cov[heavy])
    for depth, level in enumerate(bm.Spec.from_tree(tree).levels, 1):
        found = bm.blup(tree, level.name, kind=kind, prob=0.9).squeeze("outcome")
        mean, sd = effects_by_brute_force(exact, depth, kind == "outcome")
        for row in range(0, mean.shape[1], 5):
            check(found.isel(row=row), mean[:, row], sd[:, row], exact.weight, 0.9, 2e-4)


def test_ratios_have_the_means_of_log_normal_distributions() -> None:
    tree, exact = exact_of("one")
    mean, variance = exact.beta[:, 0], exact.cov[:, 0, 0]
    pooled, new = (exact.weight @ np.exp(mean + v / 2) for v in (variance, variance + exact.x[:, 0] ** 2))
    assert bm.predict(tree, {}, scale="response")["mean"].item() == pytest.approx(pooled, rel=1e-6)
    assert bm.predict(tree, {}, "prediction", scale="response")["mean"].item() == pytest.approx(new, rel=1e-5)
    bounds = bm.predict(tree, {}, "prediction"), bm.predict(tree, {}, "prediction", scale="response")
    for end in ("lower", "upper"):
        assert bounds[1][end].item() == pytest.approx(np.exp(bounds[0][end].item()), rel=1e-12)
    # the same number wherever it stands
    assert bm.estimates(tree, scale="response")["estimate"].iloc[0] == pytest.approx(pooled, rel=1e-6)
    assert bm.compare(tree, scale="response").dataset["estimate"].values[0, 0] == pytest.approx(pooled, rel=1e-6)
    shown = f"{pooled:.3f}"
    assert shown in str(bm.summary(tree))
    assert shown in effects_in_words(tree, 0.95)
    assert any(shown in str(block.rows) for block in side_by_side({"Bayes": tree}, 0.95)[1:])


def test_means_on_scales_that_are_not_of_ratios() -> None:
    """Proportions of logits, by a fine sum over the mixture."""
    y, v = np.array([-1.2, 0.3, -0.5, 0.9, -2.0]), np.array([0.1, 0.2, 0.1, 0.3, 0.2])
    spec = bm.specify("y ~ 1", {"y": y, "v": v}, S="v", measure="logit")
    tree = bm.sample(spec, PRIORS, draws=10, random_seed=1)
    points = exact_posterior(tree)
    weight, at = points.main
    sd = np.sqrt((at.root[:, 0] ** 2).sum(1) + points.psi[0][0, 0])
    z = np.linspace(-9, 9, 4001)
    by_point = expit(at.beta + sd[:, None] * z) @ np.exp(-(z**2) / 2) * (z[1] - z[0]) / np.sqrt(2 * np.pi)
    found = bm.predict(tree, {}, "prediction", scale="response")
    assert found["mean"].item() == pytest.approx(weight @ by_point, abs=1e-8)


def test_a_mean_of_ratios_that_does_not_exist_is_infinite() -> None:
    """The density of tau falls as a power, and that of exp(theta) given tau has the mean exp(tau^2 / 2)."""
    spec = bm.specify("y ~ 1", {"y": [0.1, 0.5, -0.3], "v": [0.04, 0.09, 0.1]}, S="v", measure="logor")
    tree = bm.sample(spec, bm.Priors(beta=normal(1), tau=bm.priors.half_cauchy(1.0)), draws=10, random_seed=1)
    new = bm.predict(tree, {}, "prediction", scale="response")
    assert np.isinf(new["mean"].item())
    assert np.isfinite([new["lower"].item(), new["upper"].item()]).all()
    assert np.isfinite(bm.predict(tree, {}, scale="response")["mean"].item())


@pytest.mark.parametrize("side", ["below", "above"])
def test_probabilities_of_new_effects_are_those_of_brute_force(known: tuple[xr.DataTree, Answers], side: str) -> None:
    tree, exact = known
    found = bm.exceedance(tree, prob=0.9, **{side: 0.1})
    sign = -1 if side == "below" else 1
    between = (exact.x**2).sum(1)
    mean, error = sign * (exact.beta[:, 0] - 0.1), np.sqrt(exact.cov[:, 0, 0])
    assert found["mean"].item() == pytest.approx(exact.weight @ ndtr(mean / np.sqrt(error**2 + between)), abs=1e-5)
    for end, p in (("lower", 0.05), ("upper", 0.95)):
        below = exact.weight @ ndtr((ndtri(found[end].item()) * np.sqrt(between) - mean) / error)
        assert below == pytest.approx(p, abs=1e-4)


def test_shares_of_variance_are_those_of_brute_force(known: tuple[xr.DataTree, Answers]) -> None:
    tree, exact = known
    typical = bm.variance_partition(bm.fit(bm.Spec.from_tree(tree)))["variance"].values[0, -1]
    relative = (exact.x**2).sum(1) / typical
    I2 = 100 * relative / (1 + relative)
    assert bm.heterogeneity(tree)["I2_tau2"].item() == pytest.approx(exact.weight @ I2, abs=1e-3)
    assert bm.heterogeneity(tree)["H2_tau2"].item() == pytest.approx(exact.weight @ (1 + relative), rel=1e-4)
    cells = {row[0]: row[1:] for block in bm.summary(tree, 0.9).blocks() for row in getattr(block, "rows", ())}
    mean, _, lower, upper = map(float, cells["I2 (%, from tau2)"])
    assert mean == pytest.approx(exact.weight @ I2, abs=0.006)
    drawn = bm.sample(bm.Spec.from_tree(tree), PRIORS, draws=25_000, random_seed=3, random_effects=False)
    squares = sum(psi_draws(drawn, level.name)[:, 0, 0] for level in bm.Spec.from_tree(tree).levels) / typical
    for end, p in ((lower, 0.05), (upper, 0.95)):
        assert np.mean(100 * squares / (1 + squares) < end) == pytest.approx(p, abs=0.003)


def test_means_and_covariances_of_combinations_by_full_matrices() -> None:
    """Two levels with slopes, offset, a spline, missing outcomes: at many points at once, beta random or known."""
    spec = awkward_spec()
    rng, stats, P = np.random.default_rng(3), awkward_spec().statistics, len(spec.coef)
    B, q = 4, 30
    psi = []
    for level in spec.levels:
        root = rng.normal(size=(B, level.dim, level.dim)) * rng.uniform(0, 1, (B, 1, level.dim))
        psi.append(np.moveaxis(root @ root.mT, 0, -1))
    psi[0][..., 0] = 0.0
    beta, root = rng.normal(size=(B, P)), 0.3 * rng.normal(size=(B, P, 3))
    root[1] = 0.0
    X, Z = rng.normal(size=(q, P)), [rng.normal(size=(q, level.dim)) for level in spec.levels]
    lab = rng.integers(0, spec.levels[1].n_groups, q)
    outer = np.array([spec.levels[0].index[np.flatnonzero(spec.levels[1].index == g)[0]] for g in lab])
    mean, sd = kernel.combinations_given(stats, psi, beta, root, X, Z, [outer, lab])
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    for b in range(B):
        Sigma, cross = S.copy(), np.zeros((q, len(spec.y)))
        own = np.zeros((q, q))
        for level, z, code, p in zip(spec.levels, Z, (outer, lab), psi, strict=True):
            Sigma += level.Z @ p[..., b] @ level.Z.T * (level.index[:, None] == level.index)
            cross += z @ p[..., b] @ level.Z.T * (code[:, None] == level.index)
            own += z @ p[..., b] @ z.T * (code[:, None] == code)
        gain = np.linalg.solve(Sigma, cross.T).T
        expected = X @ beta[b] + gain @ (spec.y - spec.offset - spec.X @ beta[b])
        error = np.diag(own - gain @ cross.T) + (((X - gain @ spec.X) @ root[b]) ** 2).sum(1)
        np.testing.assert_allclose(mean[b], expected, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(sd[b], np.sqrt(error), rtol=1e-7, atol=1e-9)


def slopes() -> bm.Spec:
    data = bm.datasets.load("school").assign(decade=lambda d: (d["year"] - 1990) / 10)
    return bm.specify("effect ~ decade", data, S="var", random="1 + decade | district/study")


@pytest.mark.parametrize("make", [berkey98, slopes])
def test_many_draws_say_the_same(make: Any) -> None:
    """Three and more parameters, also by importance sampling: within five Monte Carlo errors of 40,000 draws."""
    spec = make()
    tree = bm.sample(
        spec, bm.Priors(beta=normal(2), tau=HALF), draws=10_000 if make is berkey98 else 5_000, random_seed=1
    )
    beta, b = beta_draws(tree), b_draws(tree, spec)
    true = beta @ spec.X.T + spec.offset
    for level, own in zip(spec.levels, b, strict=True):
        true += np.einsum("na,bna->bn", level.Z, own[:, level.index])
    expected = {"mean": true.mean(0), "lower": np.quantile(true, 0.1, axis=0), "upper": np.quantile(true, 0.9, axis=0)}
    blup, sd = bm.blup(tree, prob=0.8), true.std(0)
    worth = len(true) if tree.attrs["sampler"] == "quadrature" else min(float(tree["criteria"]["effective_size"]), 4e4)
    for name, values in expected.items():
        far = (blup[name].values[spec.row, spec.outcome_index] - values) / sd * np.sqrt(worth)
        assert np.abs(far).max() < 5 * (1 if name == "mean" else 1.8), name
    own = bm.ranef(tree, prob=0.8)[spec.levels[0].name]
    for name, values in (("mean", b[0].mean(0)), ("upper", np.quantile(b[0], 0.9, axis=0))):
        assert np.nanmax(np.abs(own[name].values - values) / b[0].std(0)) * np.sqrt(worth) < 9, name


def test_importance_and_quadrature_predict_the_same() -> None:
    spec = berkey98()
    tree = bm.sample(spec, PRIORS, draws=10, random_seed=1)
    weighted = integrate(Evaluator(spec, resolve(spec, PRIORS)), 1)
    other = tree.copy()
    other["integration"] = xr.DataTree(integration_group(weighted))
    other = unhashed(other)
    assert "step" not in other["integration"]
    for interval in ("confidence", "prediction"):
        one, two = (bm.predict(each, {}, interval).squeeze() for each in (tree, other))
        for name in ("mean", "lower", "upper"):
            np.testing.assert_allclose(two[name], one[name], atol=0.03 * float(one["se"].max()))
        np.testing.assert_allclose(two["se"], one["se"], rtol=0.02)


def test_files_and_seeds_change_nothing(tmp_path: Any) -> None:
    tree = bm.sample(school(), PRIORS, draws=10, random_seed=1)
    tree.to_netcdf(tmp_path / "tree.nc")
    again = xr.open_datatree(tmp_path / "tree.nc")
    other = bm.sample(school(), PRIORS, draws=20, random_seed=2)
    for each in (again, other):
        for question in (bm.predict, bm.blup, lambda t: bm.exceedance(t, below=0)):
            xr.testing.assert_allclose(question(tree), question(each), rtol=1e-9)
        assert str(bm.summary(tree)).partition("draws)")[2] == str(bm.summary(each)).partition("draws)")[2]
    again.close()


def test_trees_of_earlier_versions_are_answered_from_their_draws() -> None:
    tree = bm.sample(bcg(), PRIORS, draws=2000, random_seed=1)
    old = unhashed(tree.copy())
    del old["integration"]
    assert exact_posterior(old) is None
    for interval in ("confidence", "prediction"):
        one, two = bm.predict(tree, {}, interval), bm.predict(old, {}, interval)
        assert two["lower"].item() == pytest.approx(one["lower"].item(), abs=0.12)
        assert two["lower"].item() != one["lower"].item()
    assert psi_draws(old, "unit").shape == (8000, 1, 1)


def test_points_of_another_model_are_refused() -> None:
    one, other = bm.sample(bcg(), PRIORS, draws=10, random_seed=1), bm.sample(school(), PRIORS, draws=10, random_seed=1)
    mixed = one.copy()
    mixed["integration"] = other["integration"].copy()
    with pytest.raises(bm.SpecError, match=r"/integration is of .*district.* this tree has \['tau\[unit"):
        bm.predict(unhashed(mixed), {})
    broken = one.copy()
    broken["integration"] = xr.DataTree(one["integration"].to_dataset().drop_vars("log_weight"))
    with pytest.raises(bm.SpecError, match="/integration log_weight is missing"):
        bm.predict(unhashed(broken), {})


def test_without_random_effects_new_effects_are_the_means_of_a_conjugate_normal() -> None:
    data = pd.DataFrame({"y": [0.3, 0.1, 0.8, 0.5], "x": [0.0, 1, 2, 4], "v": 0.04, "g": list("aabb")})
    spec = bm.specify("y ~ x", data, S="v", random="0 | g")
    with pytest.warns(bm.AssumptionWarning, match="common-effect model"):
        tree = bm.sample(spec, bm.Priors(beta=normal(1)), draws=10, random_seed=1)
    at = {"x": [0.0, 3.0]}
    V = np.linalg.inv(spec.X.T @ spec.X / 0.04 + np.eye(2))
    rows = np.array([[1, 0.0], [1, 3]])
    covariance = rows @ V @ rows.T
    for interval in ("confidence", "prediction"):
        own = bm.predict(tree, at, interval, covariance=True)
        np.testing.assert_allclose(own["mean"].values.ravel(), rows @ V @ spec.X.T @ spec.y / 0.04, rtol=1e-8)
        np.testing.assert_allclose(own["se"].values.ravel() ** 2, np.diag(covariance), rtol=1e-8)
        np.testing.assert_allclose(own["covariance"].values.ravel(), np.diag(covariance), rtol=1e-8)
