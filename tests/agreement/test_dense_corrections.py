"""The dense Kenward-Roger of the tests against pbkrtest, on linear mixed models, which estimate a residual variance."""

import numpy as np
import pytest

from tests.support.dense import Model
from tests.support.dense_corrections import Corrections
from tests.support.reference import read_reference


def corrections(data):
    """A model without sampling errors, whose residuals are the innermost level; Psi is linear in its (co)variances."""
    n = len(data["y"])
    Z = [np.array(level["Z"], float) for level in data["levels"]]
    groups = [np.array(level["group"]) for level in data["levels"]]
    psi = [np.array(level["psi"], float) for level in data["levels"]]
    model = Model(
        np.array(data["y"], float),
        np.array(data["X"], float),
        [*Z, np.ones((n, 1))],
        [*groups, np.arange(n)],
        np.zeros((n, n)),
        [*psi, np.array([[data["residual_variance"]]])],
    )
    return Corrections(model, [entries(len(p)) for p in model.psi])


def entries(a):
    """(a, a, K) derivatives of a covariance matrix by its entries."""
    slopes = []
    for i in range(a):
        for j in range(i + 1):
            slope = np.zeros((a, a))
            slope[i, j] = slope[j, i] = 1.0
            slopes.append(slope)
    return np.stack(slopes, axis=2)


@pytest.mark.parametrize("name", ["sleepstudy", "beets", "oxide"])
def test_kenward_roger_of_linear_mixed_models(name):
    of = read_reference(f"kenward_roger/{name}")
    own, expected = corrections(of["data"]), of["expected"]
    scale = np.sqrt(np.outer(np.diag(expected["cov"]), np.diag(expected["cov"])))
    assert np.abs((own.Phi - expected["cov"]) / scale).max() < 1e-6
    assert np.abs((own.adjusted - expected["adjusted"]) / scale).max() < 1e-6
    assert np.abs((own.adjusted - own.Phi) / scale).max() > 1e-5  # there is something to correct
    for c, df in zip(np.eye(len(own.Phi)), expected["df"], strict=True):
        assert own.satterthwaite(c) == pytest.approx(df, rel=1e-6)
    L = np.eye(len(own.Phi))[:, np.atleast_1d(expected["tested"])]
    m, factor = own.kenward_roger(L)
    assert (m, factor) == pytest.approx((expected["df2"], expected["scale"]), rel=1e-6)
    away = L.T @ np.array(expected["beta"])
    F = away @ np.linalg.solve(L.T @ own.adjusted @ L, away) / L.shape[1]
    assert factor * F == pytest.approx(expected["F"], rel=1e-6)
