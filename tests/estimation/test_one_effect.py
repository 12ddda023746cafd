"""Many data sets of one outcome with one random effect a row: compiled code against single fits, and a dense grid."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import AssumptionWarning, DataError, SpecError
from bayesmeta.estimation import fit_likelihood
from bayesmeta.estimation.methods import REGISTER, method_named
from bayesmeta.estimation.tau2 import MANY
from bayesmeta.kernel import one_variance

MOMENTS = [name for name, method in REGISTER.items() if method.one_variance and not method.searches]


def model(rng: np.random.Generator, rows: int, predictors: int, unequal: float) -> tuple[bm.Spec, np.ndarray]:
    """A meta-regression whose variances differ by exp(normal * unequal), and six data sets of it, some without tau2."""
    v = 0.05 * np.exp(rng.normal(0, unequal, rows))
    X = rng.normal(size=(rows, predictors))
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(predictors)]).assign(y=0.0, v=v)
    spec = bm.specify("y ~ " + " + ".join(["1", *frame.columns[:predictors]]), frame, S="v")
    Y = rng.normal(100.0, np.sqrt(v + rng.choice([0.0, 0.01, 0.3], (6, 1))), (6, rows))
    return spec, Y


def models(seed: int, n: int) -> list[tuple[bm.Spec, np.ndarray]]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        predictors = int(rng.choice([0, 0, 1, 2]))
        rows = predictors + int(rng.choice([2, 3, 6, 20]))
        made.append(model(rng, rows, predictors, rng.choice([0.1, 1.0, 3.0])))
    return made


def logliks(y: np.ndarray, X: np.ndarray, v: np.ndarray, tau2: np.ndarray, restricted: bool) -> np.ndarray:
    """Log-likelihoods (t,) by the textbook formula at every tau2."""
    w = 1 / (v + tau2[:, None])
    F = np.einsum("ni,tn,nj->tij", X, w, X)
    beta = np.linalg.solve(F, np.einsum("ni,tn,n->ti", X, w, y)[..., None])[..., 0]
    total = (w * (y - beta @ X.T) ** 2).sum(1) - np.log(w).sum(1)
    n = len(y)
    if restricted:
        total += np.linalg.slogdet(F)[1] - np.linalg.slogdet(X.T @ X)[1]
        n -= X.shape[1]
    return np.asarray(-0.5 * (n * np.log(2 * np.pi) + total))


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_no_tau2_is_likelier(method: str) -> None:
    """Of 240 data sets, from as many rows as coefficients and one more to unequal variances with two maxima."""
    for spec, Y in models(3, 40):
        found = bm.fit_many(spec, Y, method=method)
        v, X = spec.S.variances, np.array(spec.X)
        assert found["converged"].all()
        for i, y in enumerate(Y - 100.0):  # less a constant, that the naive formula keeps its digits
            tau2 = found["psi_unit"].values[i].ravel()
            grid = np.concatenate([[0.0], np.geomspace(1e-5, 1e4, 500) * v.min(), tau2])
            loglik = logliks(y, X, v, grid, method == "reml")
            assert found["loglik"].values[i] == pytest.approx(loglik[-1], abs=1e-8)
            assert found["loglik"].values[i] >= loglik.max() - 1e-8


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_it_equals_single_fits(method: str) -> None:
    for spec, Y in models(4, 8):
        found = bm.fit_many(spec, Y[:3], method=method)
        for i in range(3):
            alone = fit_likelihood(replace(spec, y=Y[i]), method == "reml")
            assert found["loglik"].values[i] >= alone.loglik - 1e-9
            if found["loglik"].values[i] > alone.loglik + 1e-6:
                continue  # the search of one data set may miss a mode
            np.testing.assert_allclose(found["beta"][i], alone.beta, rtol=1e-7)
            np.testing.assert_allclose(found["beta_se"][i], np.sqrt(np.diag(alone.beta_cov)), rtol=1e-6)
            np.testing.assert_allclose(found["xi"][i], np.abs(alone.xi), atol=1e-6)


@pytest.mark.parametrize("method", MOMENTS)
def test_moments_equal_single_fits(method: str) -> None:
    for spec, Y in models(5, 12):
        found = bm.fit_many(spec, Y[:3], method=method)
        for i in range(3):
            alone = method_named(method).estimate(replace(spec, y=Y[i]))
            scale = spec.S.variances.max()
            np.testing.assert_allclose(found["psi_unit"].values[i].ravel(), alone.psi[0].ravel(), 1e-10, 1e-10 * scale)
            np.testing.assert_allclose(found["beta"][i], alone.beta, rtol=1e-10)
            np.testing.assert_allclose(found["beta_se"][i], np.sqrt(np.diag(alone.beta_cov)), rtol=1e-10)
            np.testing.assert_allclose(found["loglik"][i], alone.loglik, rtol=1e-10)


@pytest.mark.parametrize("method", ["reml", "ml", "pmm", "he", "fixed"])
def test_what_is_missing_is_as_if_it_were_not_there(method: str) -> None:
    """Other rows in every data set, whose variances may be missing too; with sampling variances of their own."""
    rng = np.random.default_rng(6)
    spec, Y = model(rng, 9, 1, 0.5)
    S = spec.S.variances * rng.uniform(0.5, 2.0, Y.shape)
    gaps = rng.random(Y.shape) < 0.3
    Y[gaps], S[gaps] = np.nan, np.nan
    found = bm.fit_many(spec, Y, S, method)
    assert found["n_obs"].values.tolist() == (~gaps).sum(1).tolist()
    for i, seen in enumerate(~gaps):
        frame = spec.data[seen].assign(y=Y[i, seen], v=S[i, seen])
        alone = method_named(method).estimate(bm.specify("y ~ x0", frame, S="v"))
        np.testing.assert_allclose(found["psi_unit"].values[i], alone.psi[0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found["beta"][i], alone.beta, rtol=1e-8)
        np.testing.assert_allclose(found["loglik"][i], alone.loglik, rtol=1e-9)


def test_a_data_set_with_too_little_is_missing_and_named() -> None:
    spec, Y = model(np.random.default_rng(7), 6, 1, 0.5)
    Y[2, 2:], Y[4, 1:] = np.nan, np.nan
    with pytest.warns(AssumptionWarning, match="2 of 6 data sets do not identify .* data sets 2, 4"):
        found = bm.fit_many(spec, Y, method="dl", df="knapp-hartung")
    empty = [2, 4]
    assert np.isnan(found[["beta", "beta_se", "psi_unit", "lower"]].isel(dataset=empty).to_array()).all()
    assert np.isnan(found["I2"][empty]).all()
    assert not found["converged"][empty].any()
    assert np.isfinite(found[["beta", "lower"]].drop_isel(dataset=empty).to_array()).all()


@pytest.mark.parametrize("df", ["z", "residual", "knapp-hartung", "knapp-hartung-adhoc"])
def test_tests_are_those_of_one_fit(df: Any) -> None:
    spec, Y = model(np.random.default_rng(8), 7, 1, 0.5)
    found = bm.fit_many(spec, Y, df=df, prob=0.9)
    for i in range(2):
        tree = bm.fit(replace(spec, y=Y[i]))
        alone = bm.estimates(tree, df=df, prob=0.9)
        for ours, theirs in (("se", "se"), ("pvalue", "pvalue"), ("lower", "lower"), ("upper", "upper")):
            expected = alone[theirs].to_numpy(float)[:2]
            np.testing.assert_allclose(found[ours].values[i], expected, rtol=1e-6, atol=1e-12)
        Q = bm.heterogeneity(tree)
        for ours, theirs in (("Q", "Q"), ("Q_df", "df"), ("Q_pvalue", "pvalue"), ("I2", "I2")):
            assert found[ours].values[i] == pytest.approx(Q[theirs].item(), rel=1e-9, abs=1e-9)


def test_maps_come_back_in_their_shape() -> None:
    """A brain of 4 x 3 x 2 voxels and ten studies, of which every voxel lacks another."""
    rng = np.random.default_rng(9)
    shape, v = (4, 3, 2), rng.uniform(0.05, 0.5, 10)
    effects = rng.normal(0.2, np.sqrt(0.1 + v), (*shape, 10))
    effects[..., 3][rng.random(shape) < 0.5] = np.nan
    spec = bm.specify("y ~ 1", pd.DataFrame({"y": 0.0, "v": v}), S="v")
    found = bm.fit_many(spec, effects.reshape(-1, 10), df="knapp-hartung")
    mean, tau2 = (found[name].to_numpy().reshape(shape) for name in ("beta", "psi_unit"))
    at = (2, 1, 1)
    seen = np.isfinite(effects[at])
    alone = bm.fit(bm.specify("y ~ 1", pd.DataFrame({"y": effects[at][seen], "v": v[seen]}), S="v"))
    assert mean[at] == pytest.approx(alone["estimate"]["beta"].item(), abs=1e-8)
    assert tau2[at] == pytest.approx(alone["estimate"]["psi_unit"].item(), abs=1e-7)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, Y = model(np.random.default_rng(10), 8, 1, 0.5)
    whole = bm.fit_many(spec, Y, df="z")
    monkeypatch.setattr("bayesmeta.estimation.fit_many.BLOCK", 16)
    monkeypatch.setattr("bayesmeta.estimation.parallel.one_thread", lambda work, piece: work(piece))
    assert bm.fit_many(spec, Y, df="z", progress=True).identical(whole)


def test_what_does_not_fit_is_refused() -> None:
    spec, Y = model(np.random.default_rng(11), 8, 1, 0.5)
    with pytest.raises(DataError, match="no finite value in 1 places"):
        bm.fit_many(spec, np.where(np.arange(8) == 3, np.inf, Y)[:1])
    with pytest.raises(DataError, match="all values are missing in data set 1"):
        bm.fit_many(spec, np.where(np.arange(6)[:, None] == 1, np.nan, Y))
    with pytest.raises(DataError, match="the variance is nan"):
        bm.fit_many(spec, Y, np.where(np.arange(8) == 3, np.nan, np.ones_like(Y)))
    with pytest.raises(SpecError, match="did you mean 'knapp-hartung'"):
        bm.fit_many(spec, Y, df="knap-hartung")  # type: ignore[arg-type]
    grouped = bm.specify("y ~ 1", spec.data.assign(g=[0, 0, 1, 1, 2, 2, 3, 3]), S="v", random="1 | g")
    with pytest.raises(SpecError, match='take df="z" or "residual"'):
        bm.fit_many(grouped, Y, df="knapp-hartung")
    with pytest.raises(DataError, match="others may be missing too"):
        bm.fit_many(grouped, np.where(np.arange(8) == 3, np.nan, Y))


def test_the_page_on_many_data_sets_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs/speed.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(code, names)
    assert f"\n    {capsys.readouterr().out.strip()}\n" in page
    assert names["maps"]["upper"].shape == names["shape"]
    assert f"grows by a factor of {one_variance.RATIO};" in page.replace("\n", " ")


@pytest.mark.parametrize("formula", ["y ~ 1", "y ~ 0 + x"])
@pytest.mark.parametrize("method", MOMENTS)
def test_compiled_sums_are_those_of_single_fits_to_the_last_bit(formula: str, method: str) -> None:
    """From as many data sets on as are compiled: of shared and of own variances, whole and with gaps, one row left."""
    rng = np.random.default_rng(12)
    for rows, own, gaps in ((2, False, False), (13, False, True), (13, True, False), (7, True, True)):
        B = MANY + 6
        v = 0.05 * np.exp(rng.normal(0, 1.5, (B if own else 1, rows)))
        frame = pd.DataFrame({"x": rng.normal(size=rows), "y": 0.0, "v": v[0]})
        Y = rng.normal(10.0, np.sqrt(v + rng.choice([0.0, 0.3], (B, 1))))
        Y[(rng.random(Y.shape) < 0.3) & (np.arange(rows) > 1) & gaps] = np.nan
        found = bm.fit_many(bm.specify(formula, frame, S="v"), Y, v if own else None, method)
        for i in range(0, B, 23):
            seen = np.isfinite(Y[i])
            data = frame[seen].assign(y=Y[i, seen], v=v[i if own else 0, seen])
            alone = method_named(method).estimate(bm.specify(formula, data, S="v"))
            assert found["psi_unit"].values[i] == alone.psi[0]
            assert found["beta"].values[i] == alone.beta
            assert found["beta_se"].values[i] == np.sqrt(alone.beta_cov[0, 0])
