"""Predictions from posterior draws, against the draws themselves."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.inference import posterior_predict
from bayesmeta.inference.reference import asked
from bayesmeta.structures import REGISTER
from tests.support.awkward import awkward_data, awkward_new_data, awkward_spec
from tests.support.edited import unhashed
from tests.support.posteriors import make_posterior, stacked
from tests.tree.test_posterior_draws import no_effects, smoking

STATISTICS = ("mean", "se", "lower", "upper")


@pytest.fixture(scope="module")
def awkward() -> xr.DataTree:
    return make_posterior(awkward_spec(), draws=60)


def statistics(draws: np.ndarray, prob: float = 0.95) -> dict[str, np.ndarray]:
    """Of draws (B, ...)."""
    lower, upper = np.quantile(draws, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    return {"mean": draws.mean(0), "se": draws.std(0, ddof=1), "lower": lower, "upper": upper}


def observed(tree: xr.DataTree, level: str | None = None, kind: str = "outcome") -> np.ndarray:
    """Draws (B, n_obs) of what lies behind the observations."""
    spec, total = bm.Spec.from_tree(tree), 0.0
    if kind == "outcome":
        total = stacked(tree, "posterior", "beta") @ spec.X.T + spec.offset
    for each in spec.levels:
        if each.dim:
            b = stacked(tree, "random_effects", f"b_{each.name}")
            total = total + np.einsum("na,bna->bn", each.Z, b[:, each.index])
        if each.name == level:
            break
    return total


def at_observations(tree: xr.DataTree, found: xr.Dataset, name: str) -> np.ndarray:
    spec = bm.Spec.from_tree(tree)
    return found[name].values[spec.row, spec.outcome_index]


@pytest.mark.parametrize("interval", [None, "confidence"])
def test_the_mean_of_the_rows_of_the_data(awkward: xr.DataTree, interval: str | None):
    spec, found = bm.Spec.from_tree(awkward), bm.predict(awkward, interval=interval, prob=0.9)
    assert list(found.data_vars) == list(STATISTICS[: 4 if interval else 2])
    expected = statistics(stacked(awkward, "posterior", "beta") @ spec.X.T + spec.offset, prob=0.9)
    for name in found.data_vars:
        np.testing.assert_allclose(at_observations(awkward, found, name), expected[name], rtol=1e-9, atol=1e-12)
    missing = found["mean"].isnull().any("outcome")
    assert set(found["row"].values[missing]) == {"r3"}  # r7 has its predictors
    assert found["mean"].sel(row="r20").notnull().all()


def test_a_new_effect_has_the_spread_of_psi_and_beta(awkward: xr.DataTree):
    new, spec = awkward_new_data(), bm.Spec.from_tree(awkward)
    found, mean = bm.predict(awkward, new, interval="prediction"), bm.predict(awkward, new)
    np.testing.assert_array_equal(found["mean"], mean["mean"])
    psi = {level: stacked(awkward, "derived", f"psi_{level}").mean(0) for level in ("region", "lab")}
    Z = {level: spec.design.random(level, new) for level in psi}
    extra = sum(np.einsum("nka,ab,nkb->nk", Z[level], psi[level], Z[level]) for level in psi)
    np.testing.assert_allclose(found["se"] ** 2, mean["se"] ** 2 + extra, rtol=1e-10)
    assert found.sel(row="z").isnull().all().to_array().all()
    assert found.attrs["interval"] == "prediction"
    assert found.attrs["prob"] == 0.95
    assert "new unit in a new group" in found.attrs["se"]
    xr.testing.assert_identical(found, bm.predict(awkward, new, interval="prediction"))


def test_new_effects_do_not_repeat_the_numbers_of_a_sampler_with_the_same_seed():
    psi = np.broadcast_to(np.eye(1), (100, 1, 1))
    for seed in (0, 1, 7):
        tree = make_posterior(no_effects(), draws=50, seed=seed)
        assert int(tree.attrs["seed"]) == seed
        own = posterior_predict.normal_draws(psi, np.random.default_rng([posterior_predict._STREAM, 0, seed]))
        others = posterior_predict.normal_draws(psi, np.random.default_rng(seed))
        assert abs(np.corrcoef(own[:, 0], others[:, 0])[0, 1]) < 0.4


def test_quantiles_of_a_new_effect_are_those_of_the_mixture():
    tree = make_posterior(smoking("unstr"), draws=20_000, chains=1)
    found = bm.predict(tree, pd.DataFrame(index=["new"]), interval="prediction", prob=0.8)
    psi, beta = stacked(tree, "derived", "psi_unit"), stacked(tree, "posterior", "beta")
    rng = np.random.default_rng(99)
    for j in range(3):
        direct = beta[:, j] + np.sqrt(psi[:, j, j]) * rng.normal(size=len(beta))
        cell = found.isel(row=0, outcome=j)
        for name, q in (("lower", 0.1), ("upper", 0.9)):
            assert cell[name].item() == pytest.approx(np.quantile(direct, q), abs=0.03)
        assert cell["se"].item() == pytest.approx(direct.std(), rel=0.03)


@pytest.mark.parametrize("level", ["region", "lab", None])
@pytest.mark.parametrize("kind", ["outcome", "residual"])
def test_blup_is_that_of_the_draws(awkward: xr.DataTree, level: str | None, kind: str):
    found, expected = bm.blup(awkward, level=level, kind=kind), statistics(observed(awkward, level, kind))
    for name in STATISTICS:
        np.testing.assert_allclose(at_observations(awkward, found, name), expected[name], rtol=1e-9, atol=1e-12)
    assert found.attrs == {"level": level or "lab", "kind": kind, "se": "exact", "prob": 0.95}
    missing = found["mean"].isnull().any("outcome")
    assert set(found["row"].values[missing]) == {"r3", "r7"}


@pytest.mark.parametrize("structure", sorted(REGISTER))
def test_every_structure_predicts(structure: str):
    tree = make_posterior(smoking(structure), draws=30)
    found, expected = bm.blup(tree), statistics(observed(tree))
    for name in STATISTICS:
        np.testing.assert_allclose(at_observations(tree, found, name), expected[name], rtol=1e-10)
    assert found.notnull().all().to_array().all()
    wide = bm.predict(tree, interval="prediction")
    assert (wide["se"] > bm.predict(tree)["se"]).all()


def test_ranef_is_that_of_the_draws(awkward: xr.DataTree):
    found = bm.ranef(awkward, prob=0.5)
    assert list(found.children) == ["region", "lab"]
    for level, table in found.children.items():
        assert table["mean"].dims == (f"group_{level}", f"effect_{level}")
        expected = statistics(stacked(awkward, "random_effects", f"b_{level}"), prob=0.5)
        for name in STATISTICS:
            np.testing.assert_allclose(table[name], expected[name], rtol=1e-12)
    fit = bm.ranef(bm.fit(awkward_spec()))
    for level in fit.children:
        for dim in fit[level].dims:
            assert list(fit[level][dim].values) == list(found[level][dim].values)


def test_one_level_fixed():
    school = bm.datasets.load("school")
    psi = {"district": bm.structures.Fixed([[0.05]]), "study": "unstr"}
    tree = make_posterior(bm.specify("effect ~ 1", school, S="var", random="1 | district/study", psi=psi))
    expected = statistics(observed(tree))
    found = bm.blup(tree)
    np.testing.assert_allclose(at_observations(tree, found, "se"), expected["se"], rtol=1e-10)
    variance = bm.predict(tree)["se"] ** 2 + 0.05 + stacked(tree, "derived", "psi_study").mean()
    np.testing.assert_allclose(bm.predict(tree, interval="prediction")["se"] ** 2, variance, rtol=1e-10)


def test_a_level_without_effects():
    tree = make_posterior(no_effects())
    xr.testing.assert_allclose(bm.blup(tree)[["mean", "se"]], bm.predict(tree)[["mean", "se"]])
    np.testing.assert_array_equal(bm.blup(tree, kind="residual")["upper"], 0)
    assert bm.ranef(tree)["g"]["mean"].shape == (2, 0)
    xr.testing.assert_allclose(bm.predict(tree, interval="prediction"), bm.predict(tree, interval="confidence"))


def test_chunks_do_not_show(awkward: xr.DataTree, monkeypatch: pytest.MonkeyPatch):
    new = pd.concat([awkward_data()] * 3, ignore_index=True)
    asked = [lambda: bm.predict(awkward, new, interval="prediction"), lambda: bm.blup(awkward)]
    whole = [ask() for ask in asked]
    monkeypatch.setattr(posterior_predict, "_MOST_VALUES", 1000)
    for ask, expected in zip(asked, whole, strict=True):
        xr.testing.assert_allclose(ask(), expected, rtol=1e-12)


def test_no_rows(awkward: xr.DataTree):
    with pytest.raises(bm.DataError, match="newdata has no rows"):
        bm.predict(awkward, awkward_new_data().iloc[:0], interval="prediction")


def test_with_psi_known_a_posterior_predicts_as_a_fit():
    """Under flat priors of beta, its posterior given Psi is the sampling distribution of the GLS estimate."""
    spec = awkward_spec()
    fit, tree = bm.fit(spec), unhashed(make_posterior(spec, draws=5000, store_b=False))
    estimate, derived = fit["estimate"].to_dataset(), tree["derived"].to_dataset()
    psi = {name: xr.broadcast(estimate[name], derived[name])[0].transpose(*derived[name].dims) for name in derived}
    rng = np.random.default_rng(3)
    beta = rng.multivariate_normal(estimate["beta"], estimate["beta_cov"], (2, 5000))
    tree["derived"] = xr.DataTree(derived.assign({name: (psi[name].dims, psi[name].values) for name in psi}))
    posterior = tree["posterior"].to_dataset()
    tree["posterior"] = xr.DataTree(posterior.assign(beta=(posterior["beta"].dims, beta)))
    for ask in (bm.blup, lambda tree: bm.predict(tree, interval="prediction")):
        with asked(df="z"):
            found, expected = ask(tree), ask(fit)
        error = ((found["mean"] - expected["mean"]) / expected["se"]).values
        assert np.nanmax(np.abs(error)) < 0.06  # four standard errors of a mean of 10,000 draws
        np.testing.assert_allclose(found["se"], expected["se"], rtol=0.04)
        for bound in ("lower", "upper"):
            assert np.nanmax(np.abs(((found[bound] - expected[bound]) / expected["se"]).values)) < 0.12
    for level, table in bm.ranef(fit).children.items():
        np.testing.assert_allclose(bm.ranef(tree)[level]["se"], table["se"], rtol=0.04)


def test_arguments_are_checked_as_for_fits(awkward: xr.DataTree):
    with pytest.raises(bm.SpecError, match="se='paper' is a formula for fits, this tree holds a posterior"):
        bm.blup(awkward, se="paper")
    with pytest.raises(bm.SpecError, match="se is 'robust'"):
        bm.blup(awkward, se="robust")
    with pytest.raises(bm.SpecError, match="no level 'regio'"):
        bm.blup(awkward, level="regio")
    for ask in (bm.predict, bm.blup, bm.ranef):
        with pytest.raises(bm.SpecError, match="prob is 95"):
            ask(awkward, prob=95)
    with pytest.raises(bm.DataError, match="kind"):
        bm.predict(awkward, awkward_new_data().drop(columns="kind"))


def test_a_mean_that_is_a_coefficient_has_its_exact_distribution() -> None:
    """Where the posterior was computed without chains: the same numbers as those of the coefficient."""
    priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))
    data = bm.datasets.load("bcg").assign(shift=0.25)
    spec = bm.specify("logor ~ 0 + alloc", data, S="logorvar", measure="logor", offset="shift")
    post = bm.sample(spec, priors, draws=50, random_seed=1)
    for scale in ("model", "response"):
        own = bm.predict(post, data.drop_duplicates("alloc"), scale=scale)
        if scale == "model":
            beta = bm.estimates(post).query("kind == 'beta'")
            of = [beta.loc[f"beta[alloc[{name}]]"] for name in data["alloc"].drop_duplicates()]
            for name, column in (("mean", "estimate"), ("se", "se"), ("lower", "lower"), ("upper", "upper")):
                shift = 0.0 if name == "se" else 0.25
                np.testing.assert_allclose(own[name].values.ravel(), [row[column] + shift for row in of], rtol=1e-6)
        else:
            bounds = bm.predict(post, data.drop_duplicates("alloc"))
            np.testing.assert_allclose(own["lower"], np.exp(bounds["lower"]), rtol=1e-12)
            assert (own["mean"] > np.exp(bounds["mean"])).all()  # the mean of a convex function
    new = bm.predict(post, data.drop_duplicates("alloc"), interval="prediction")
    np.testing.assert_allclose(new["mean"], bounds["mean"], rtol=1e-12)
    assert (new["upper"] > bounds["upper"]).all()
