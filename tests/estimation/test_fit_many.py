"""Many data sets at once: the same answers as one by one, for every structure, and what is refused."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import BayesmetaWarning, DataError, SpecError
from bayesmeta.estimation import fit_likelihood
from bayesmeta.estimation.fit_many import data_sets
from bayesmeta.estimation.search import maximise
from bayesmeta.structures import REGISTER
from bayesmeta.structures.base import Structure
from tests.benchmarks.agreement import DESIGNS, LOW, differences
from tests.benchmarks.table6 import model_of, upward
from tests.support import dense
from tests.support.reference import read_table

R = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.4], [0.2, 0.4, 1.0]])
DATA_SETS = 5
pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")


def structure(name: str) -> Structure:
    cls: Any = REGISTER[name]
    if "positions" in cls.arguments:
        return cls(positions=[0.0, 1.0, 3.5])
    return cls(0.3 * R) if name in ("prop", "cor", "fixed") else cls()


def design(seed: int, psi: Any, n: int = 24) -> tuple[bm.Spec, np.ndarray]:
    """Three outcomes with sampling covariances and missing values, rows in groups; covariances for every data set."""
    rng = np.random.default_rng(seed)
    sd = rng.uniform(0.3, 1.2, (DATA_SETS, n, 3))
    S = sd[..., :, None] * (0.3 * R + 0.7 * np.eye(3)) * sd[..., None, :]
    y = rng.normal(size=(n, 3))
    y[rng.random((n, 3)) < 0.1] = np.nan
    y[rng.integers(n)] = np.nan
    frame = pd.DataFrame(y, columns=["a", "b", "c"]).assign(x=rng.normal(size=n), g=rng.integers(0, 7, n), r=range(n))
    return bm.specify("a + b + c ~ x", frame, S=S[0], random="1 | g/r", psi={"g": "diag", "r": psi}), S


@pytest.mark.parametrize("redrawn", [False, True], ids=["one S", "S redrawn"])
@pytest.mark.parametrize("name", sorted(REGISTER))
def test_it_equals_fitting_one_by_one(name: str, redrawn: bool) -> None:
    """Small true variances, so that many data sets end at the edge of the family."""
    spec, S = design(sum(map(ord, name)), structure(name))
    rng = np.random.default_rng(5)
    truth = {"g": np.diag(rng.choice([0.0, 0.3, 1.0], 3)), "r": np.outer(d := rng.choice([0.1, 0.5, 1.0], 3), d) * R}
    Y = bm.simulate(spec, DATA_SETS, 3, beta=rng.normal(size=6), psi=truth)
    method = "reml" if redrawn else "ml"
    found = bm.fit_many(spec, Y, S if redrawn else None, method)
    for i in range(DATA_SETS):
        alone = fit_likelihood(data_sets(spec, Y, S if redrawn else None).one(i), redrawn)
        assert found["loglik"][i].item() >= alone.loglik - 1e-6
        if found["loglik"][i].item() > alone.loglik + 1e-6:
            continue  # a search of one data set that stopped at a lower mode, or did not converge
        np.testing.assert_allclose(found["beta"][i], alone.beta, atol=2e-3 * np.sqrt(np.diag(alone.beta_cov)).max())
        np.testing.assert_allclose(found["beta_se"][i] ** 2, np.diag(alone.beta_cov), rtol=5e-3)
        np.testing.assert_allclose(found["psi_r"][i], alone.psi[1], atol=5e-3)
    assert found["converged"].mean() > 0.8


@pytest.mark.parametrize("name", DESIGNS)
def test_fewer_starts_lose_no_log_likelihood(name: str) -> None:
    assert (differences(name, 7) >= -LOW).all()


@pytest.mark.parametrize("method", ["fixed", "mm", "dl", "he", "hs", "sj", "pm", "eb", "pmm"])
def test_methods_without_a_search(method: str) -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    Y = bm.simulate(spec, 3, 1, beta=[-0.7], psi=0.3)
    found = bm.fit_many(spec, Y, method=method)
    for i in range(3):
        alone = bm.fit(replace(spec, y=Y[i, :, 0]), method)
        assert found["beta"][i].item() == alone["estimate"]["beta"].item()
        assert found["psi_unit"][i].item() == alone["estimate"]["psi_unit"].item()


def test_the_number_of_processes_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, S = design(1, "unstr")
    Y = bm.simulate(spec, DATA_SETS, 2, beta=np.zeros(6), psi={"g": 0.1 * np.eye(3), "r": 0.5 * R})
    monkeypatch.setattr("bayesmeta.estimation.fit_many.BLOCK", 3 * len(spec.y))
    one, two = (bm.fit_many(spec, Y, S, n_jobs=n) for n in (1, 2))
    assert one.identical(two)


def test_a_start_does_not_change_the_answer() -> None:
    spec, _ = design(1, "cs")
    Y = bm.simulate(spec, DATA_SETS, 2, beta=np.zeros(6), psi={"g": 0.5 * np.eye(3), "r": 0.5 * R})
    cold = bm.fit_many(spec, Y)
    for start in (cold["xi"].values, cold["xi"].values[0]):
        np.testing.assert_allclose(bm.fit_many(spec, Y, start=start)["loglik"], cold["loglik"], atol=1e-6)


def wrong(values: np.ndarray, where: Any, value: float) -> np.ndarray:
    changed = values.copy()
    changed[where] = value
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda Y, S: (Y[:, :, :2], None), r"Y has shape \(5, 24, 2\); the specification requires \(dataset, 24, 3\)"),
        (lambda Y, S: (Y[:0], None), r"Y has shape \(0, 24, 3\)"),
        (lambda Y, S: (wrong(Y, 4, np.nan), None), "all values are missing in data set 4 of Y"),
        (lambda Y, S: (np.where(np.isnan(Y), 1.0, Y), None), "a value that the specification does not have"),
        (lambda Y, S: (wrong(Y, ~np.isnan(Y) & (Y > 0), np.inf), None), "no finite value in"),
        (lambda Y, S: (Y, S[:3]), r"S has shape \(3, 24, 3, 3\)"),
        (lambda Y, S: (Y, wrong(S, (..., 0, 1), 9.0)), "S is not symmetric"),
        (lambda Y, S: (Y, wrong(S, (2, 4, [0, 1, 2], [0, 1, 2]), -1.0)), "not positive definite in data set 2, row 4"),
        (lambda Y, S: (Y, wrong(S, (2, 4), np.nan)), "not positive definite in data set 2, row 4"),
    ],
)
def test_bad_data_sets_are_refused(change: Any, message: str) -> None:
    spec, S = design(2, "diag")
    Y = bm.simulate(spec, DATA_SETS, 2, beta=np.zeros(6), psi={"g": np.eye(3), "r": R})
    with pytest.raises(DataError) as caught:
        bm.fit_many(spec, *change(Y, S))
    assert re.search(message, str(caught.value))


def test_bad_options_are_refused() -> None:
    spec, _ = design(2, "diag")
    Y = bm.simulate(spec, 2, 2, beta=np.zeros(6), psi={"g": np.eye(3), "r": R})
    for options, message in [
        ({"method": "remle"}, "method is 'remle'; did you mean 'reml'"),
        ({"start": [1.0]}, "start has shape"),
        ({"start": np.ones((3, 6))}, r"start has shape \(3, 6\); give \(2, 6\)"),
        ({"n_jobs": 0}, "n_jobs is 0"),
    ]:
        with pytest.raises(SpecError, match=message):
            bm.fit_many(spec, Y, **options)
    with pytest.raises(SpecError, match="takes a specification"):
        bm.fit_many(Y, Y)  # type: ignore[arg-type]


def test_searches_that_fail_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(*arguments: Any, **options: Any) -> Any:
        return maximise(*arguments, most=1, **options)

    monkeypatch.setattr("bayesmeta.estimation.ml_many.maximise", impatient)
    spec, _ = design(2, "diag")
    Y = bm.simulate(spec, 2, 2, beta=np.zeros(6), psi={"g": np.eye(3), "r": R})
    with pytest.warns(BayesmetaWarning, match="2 of 2 searches did not converge: data sets 0, 1"):
        assert not bm.fit_many(spec, Y)["converged"].any()


def test_a_maximum_just_off_a_correlations_limit_is_found() -> None:
    """Data whose likelihood is highest 5e-4 of the range from rho = 1; at the limit it is 3e-5 lower."""
    data = read_table("near_limit")
    S = data[["v1", "v2", "v3"]].to_numpy()[:, :, None] * np.eye(3)
    spec = bm.specify("y1 + y2 + y3 ~ 1", data, S=S, random="1 | outer/inner", psi="cs")
    Y = data[["y1", "y2", "y3"]].to_numpy()[None]
    found, alone = bm.fit_many(spec, Y, S[None]), bm.fit(spec)
    assert found["loglik"].item() == pytest.approx(alone["criteria"]["loglik"].item(), abs=1e-9)
    model = model_of(spec, Y[0], S, [found["psi_outer"].values[0], found["psi_inner"].values[0]])
    rho = model.psi[1][0, 1] / model.psi[1][0, 0]
    assert 0.999 < rho < 0.9999
    assert max(upward(p, score) for p, score in zip(model.psi, dense.scores(model, True), strict=True)) < 1e-6
    limit = model.at(psi=[model.psi[0], model.psi[1] + model.psi[1][0, 0] * (1 - rho) * (1 - np.eye(3))])
    assert dense.loglik(limit, True) < dense.loglik(model, True) - 1e-6


def test_a_maximum_just_off_zero_is_found() -> None:
    """Without heterogeneity some estimates of tau2 are tiny and not zero: a grid of tau2 holds no higher likelihood."""
    rng = np.random.default_rng(0)
    v = rng.uniform(0.05, 0.5, 13)
    Y = rng.normal(0.2, np.sqrt(v), (2000, 13))
    spec = bm.specify("y ~ 1", pd.DataFrame({"y": Y[0], "v": v}), S="v")
    found = bm.fit_many(spec, Y[:, :, None])
    tau2 = np.concatenate([[0.0], np.geomspace(1e-7, 1e-2, 200)])
    w = 1 / (v + tau2[:, None])  # (tau2, study)
    mean = Y @ w.T / w.sum(1)
    squares = np.einsum("ts,bst->bt", w, (Y[:, :, None] - mean[:, None]) ** 2)
    loglik = 0.5 * (np.log(w).sum(1) - np.log(w.sum(1)) - squares + np.log(len(v)) - (len(v) - 1) * np.log(2 * np.pi))
    best = loglik.max(axis=1)
    at_zero = np.sqrt(found["psi_unit"].values[:, 0, 0]) == 0
    np.testing.assert_allclose(found["loglik"].values[at_zero], loglik[at_zero, 0], rtol=0, atol=1e-10)
    assert np.all(found["loglik"].values >= best - 2e-9)
    tiny = (best > loglik[:, 0]) & (best < loglik[:, 0] + 1e-4)
    assert tiny.sum() >= 5
    alone = [bm.fit(data_sets(spec, Y[i : i + 1, :, None]).one(0)) for i in np.flatnonzero(tiny)[:5]]
    assert all(a["criteria"]["loglik"].item() >= b - 2e-9 for a, b in zip(alone, best[tiny], strict=False))


def small_model(rng: np.random.Generator) -> bm.Spec:
    """Few studies of very unequal size, in one level or two, with or without a predictor tied to their size."""
    m = int(rng.integers(3, 25))
    v = 0.05 * np.exp(rng.normal(0, rng.choice([0.1, 0.5, 1.0, 2.0, 3.0]), m))
    x = np.sqrt(v) if rng.random() < 0.4 else rng.normal(size=m)
    frame = pd.DataFrame({"y": 0.0, "v": v, "x": x, "g": np.arange(m) // 2, "r": np.arange(m)})
    formula = "y ~ x" if m > 3 and rng.random() < 0.5 else "y ~ 1"
    return bm.specify(formula, frame, S="v", random="1 | g/r" if m > 5 and rng.random() < 0.4 else None)


def test_no_mode_at_zero_is_missed_of_small_data_sets() -> None:
    """2,000 random small data sets reach the log-likelihoods of single fits."""
    rng, lower = np.random.default_rng(20), []
    for _ in range(100):
        spec = small_model(rng)
        v = spec.S.variances
        Y = rng.normal(0, np.sqrt(v + rng.choice([0.0, 0.0025, 0.04, 0.36])), (20, len(v)))[..., None]
        for i, found in enumerate(bm.fit_many(spec, Y)["loglik"].to_numpy()):
            lower.append(fit_likelihood(replace(spec, y=Y[i, :, 0]), True).loglik - found)
    assert len(lower) == 2_000
    assert max(lower) < 1e-6


def test_a_narrow_mode_at_zero_beside_a_flat_one() -> None:
    """Nineteen studies that climbs from moment estimates alone leave lower by 0.015."""
    y = [0.0034, -0.0293, 0.4454, 0.1977, -0.5864, 0.5699, 0.0427, -1.4488, 0.1369, -0.2233, -0.5415, 0.0488, -0.2725]
    y += [0.0359, -0.159, 1.0099, 0.0769, 0.0373, -0.0076]
    v = [0.01772, 0.00339, 0.97185, 0.0295, 3.23652, 1.31344, 0.04105, 4.76713, 0.01477, 0.01186, 0.03005, 0.77613]
    v += [0.19556, 0.02751, 0.03896, 0.17861, 0.13785, 0.01785, 0.00217]
    spec = bm.specify("y ~ 1", pd.DataFrame({"y": y, "v": v}), S="v")
    found = bm.fit_many(spec, np.array([y, y])[..., None])
    assert found["loglik"].to_numpy() == pytest.approx(fit_likelihood(spec, True).loglik, abs=1e-6)
    assert (found["xi"] == 0).all()
