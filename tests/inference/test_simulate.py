"""Simulated data sets have the moments of the model, its missing pattern, and depend on the seed alone."""

import re
from typing import Any

import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.errors import SpecError
from tests.support import dense
from tests.support.awkward import awkward_spec

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")


@pytest.fixture(scope="module")
def spec() -> bm.Spec:
    return awkward_spec()


def truth(spec: bm.Spec) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(4)
    root = {level.name: rng.normal(size=(level.dim, level.dim)) for level in spec.levels}
    return rng.normal(size=len(spec.coef)), {name: F @ F.T for name, F in root.items()}


def test_moments_are_those_of_the_model(spec: bm.Spec) -> None:
    beta, psi = truth(spec)
    n = 20_000
    Y = bm.simulate(spec, n, random_seed=1, beta=beta, psi=psi)[:, spec.row, spec.outcome_index]
    S = np.zeros((len(spec.y),) * 2)
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    Z, groups = [np.array(v.Z) for v in spec.levels], [np.array(v.index) for v in spec.levels]
    model = dense.Model(np.array(spec.y), np.array(spec.X), Z, groups, S, [psi[v.name] for v in spec.levels])
    Sigma = dense.marginal_covariance(model)
    sd = np.sqrt(np.diag(Sigma))
    assert np.abs((Y.mean(axis=0) - spec.offset - spec.X @ beta) / sd).max() < 5 / np.sqrt(n)
    off = (np.cov(Y.T) - Sigma) / np.outer(sd, sd)
    assert np.abs(off).max() < 8 / np.sqrt(n)


def test_errors_across_rows_are_correlated() -> None:
    frame = bm.datasets.load("dbs").head(4).assign(one="all")
    S = {"all": np.array([[2.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0.5, 1]])}
    column = frame.select_dtypes("number").columns[-1]
    spec = bm.specify(f"{column} ~ 1", frame, S=S, groups="one")
    Y = bm.simulate(spec, 20_000, 1, beta=[0.0], psi={})[:, spec.row, 0]
    np.testing.assert_allclose(np.cov(Y.T), S["all"], atol=0.08)


def test_missing_pattern_is_kept(spec: bm.Spec) -> None:
    beta, psi = truth(spec)
    seen = ~np.isnan(bm.simulate(spec, 3, random_seed=1, beta=beta, psi=psi))
    assert (seen.sum(axis=(1, 2)) == len(spec.y)).all()
    assert seen[:, spec.row, spec.outcome_index].all()


def test_a_data_set_depends_on_the_seed_and_its_place_alone(spec: bm.Spec) -> None:
    beta, psi = truth(spec)
    few, many, other = (bm.simulate(spec, n, seed, beta, psi) for n, seed in ((3, 1), (7, 1), (3, 2)))
    np.testing.assert_array_equal(few, many[:3])
    assert not np.array_equal(few, other, equal_nan=True)


def test_blocks_and_jobs_change_no_digit(spec: bm.Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    beta, psi = truth(spec)
    together = bm.simulate(spec, 7, [3, 1], beta, psi)
    monkeypatch.setattr("bayesmeta.inference.simulate.BLOCK", 2 * len(spec.y))
    for where in ({}, {"n_jobs": 2, "backend": "threading"}):
        np.testing.assert_array_equal(bm.simulate(spec, 7, [3, 1], beta, psi, **where), together)


def test_from_a_fit() -> None:
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    spec = bm.Spec.from_tree(fit)
    values = fit["estimate"]["beta"].values, fit["estimate"]["psi_unit"].values
    np.testing.assert_array_equal(bm.simulate(fit, 4, 1), bm.simulate(spec, 4, 1, *values))
    np.testing.assert_array_equal(bm.simulate(fit, 4, 1, psi=0.0), bm.simulate(spec, 4, 1, values[0], 0.0))


def test_from_a_posterior_every_data_set_has_a_draw() -> None:
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    posterior = fit.copy()
    del posterior["estimate"]
    dims = ("chain", "draw")
    beta = 1000.0 * np.arange(20).reshape(2, 10, 1)
    posterior["posterior"] = xr.DataTree(xr.Dataset({"beta": ((*dims, "coef"), beta)}))
    psi = np.zeros((2, 10, 1, 1))
    posterior["derived"] = xr.DataTree(xr.Dataset({"psi_unit": ((*dims, "effect_unit", "effect_unit_bis"), psi)}))
    means = np.round(bm.simulate(posterior, 20, 1).mean(axis=(1, 2)) / 1000)
    assert sorted(means) == list(range(20))
    assert len(bm.simulate(posterior, 45, 1)) == 45


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "has no true values: give beta= and psi="),
        ({"beta": [0.0]}, r"beta has shape \(1,\); give \d+ finite numbers"),
        ({"psi": 1.0}, r"has several levels \(region, lab\); give psi as a dict"),
        ({"psi": {"region": np.eye(2)}}, "psi has no matrix for level lab"),
        ({"psi": {"regions": np.eye(2)}}, "names a level 'regions'; did you mean 'region'"),
        ({"psi": {"region": np.eye(3), "lab": np.eye(4)}}, r"level 'region' has shape \(3, 3\); give a finite 2 x 2"),
        (
            {"psi": {"region": [[1, 2], [2, 1]], "lab": np.eye(4)}},
            "level 'region' is not positive semi-definite: .* -1",
        ),
        ({"psi": {"region": [[1, 2], [0, 9]], "lab": np.eye(4)}}, "level 'region' is not symmetric"),
        ({"n": 0}, "n is 0; it must be a whole number"),
    ],
)
def test_bad_values_are_refused(spec: bm.Spec, given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        bm.simulate(spec, **({"n": 2, "random_seed": 1} | given))
    assert re.search(message, str(caught.value))
