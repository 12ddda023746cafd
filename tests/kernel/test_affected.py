"""What parts of the data lack of sums over all of it, against full matrices."""

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.estimation.methods import method_named
from bayesmeta.estimation.parts import Whole, _foreseen, covariance_terms, fit_parts
from bayesmeta.kernel.affected import affected_blocks, changes


def model(seed: int) -> bm.Spec:
    """Two correlated outcomes with random slopes of groups, and rows within them."""
    rng = np.random.default_rng(seed)
    n = 24
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": rng.integers(0, 6, n), "r": range(n)})
    frame[["a", "b"]] = rng.normal(size=(n, 2))
    frame.loc[3, "b"] = np.nan
    S = np.array([[0.2, 0.1], [0.1, 0.3]]) * rng.uniform(0.5, 2.0, (n, 1, 1))
    psi = {"g": "diag", "r": "cs"}
    return bm.specify("a + b ~ x", frame, S=S, random={"g": "1", "r": "1"}, psi=psi)


def marginal(spec: bm.Spec, psi: list[np.ndarray]) -> np.ndarray:
    n = len(spec.y)
    Sigma = np.zeros((n, n))
    Sigma[spec.S.row, spec.S.col] = Sigma[spec.S.col, spec.S.row] = spec.S.value
    for level, own in zip(spec.levels, psi, strict=True):
        Sigma += level.Z @ own @ level.Z.T * (level.index[:, None] == level.index)
    return Sigma


def loglik(spec: bm.Spec, psi: list[np.ndarray], keep: np.ndarray, residual: np.ndarray) -> float:
    Sigma = marginal(spec, psi)[np.ix_(keep, keep)]
    r = residual[keep]
    return float(-(np.linalg.slogdet(Sigma)[1] + r @ np.linalg.solve(Sigma, r)) / 2)


@pytest.mark.parametrize("by", ["rows", "groups"])
def test_changes_are_those_of_full_matrices(by: str) -> None:
    spec = model(1)
    code = spec.row if by == "rows" else spec.levels[0].index
    keep = code != np.unique(code)[:, None]
    rng, B = np.random.default_rng(2), len(keep)
    psi = [np.stack([(A := rng.normal(size=(v.dim, v.dim))) @ A.T for _ in range(B)]) for v in spec.levels]
    residual, terms = rng.normal(size=len(spec.y)), covariance_terms(spec)
    affected = affected_blocks(*terms, keep)
    assert affected is not None
    made = changes(affected, spec.X, *terms, psi, residual)
    everything = np.ones(len(spec.y), bool)
    for i in range(0, B, 5):
        own = [p[i] for p in psi]
        information = [
            spec.X[k].T @ np.linalg.solve(marginal(spec, own)[np.ix_(k, k)], spec.X[k]) for k in (keep[i], everything)
        ]
        assert made.information[i] == pytest.approx(information[0] - information[1], rel=1e-8, abs=1e-10)
        for level, score in enumerate(made.scores):
            step = np.zeros_like(own[level])
            step[0, 0] = 1e-5
            up, down = ([p + sign * step if at == level else p for at, p in enumerate(own)] for sign in (1, -1))
            slopes = [
                (loglik(spec, up, k, residual) - loglik(spec, down, k, residual)) / 2e-5 for k in (keep[i], everything)
            ]
            assert score[i, 0, 0] == pytest.approx(slopes[0] - slopes[1], rel=1e-5, abs=1e-6)


def test_climbs_begin_next_to_their_maxima() -> None:
    """Nearer than the estimates from all rows by an order of magnitude, so that one step leads there."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(200), 3)
    v = rng.uniform(0.01, 0.2, len(g))
    y = rng.normal(0, 0.3, 200)[g] + rng.normal(0, np.sqrt(0.04 + v))
    spec = bm.specify("y ~ 1", pd.DataFrame({"y": y, "v": v, "g": g, "r": range(len(g))}), S="v", random="1 | g/r")
    whole = Whole(spec, method_named("reml"), bm.fit(spec)["estimate"]["xi"].to_numpy())
    keep = spec.levels[0].index != np.arange(200)[:, None]
    begin = np.broadcast_to(whole.xi / whole.free.units, (200, 2))
    exact = fit_parts(whole, keep).xi / whole.free.units
    ahead = np.abs(_foreseen(whole, keep, begin) - exact).mean()
    assert ahead < 0.1 * np.abs(begin - exact).mean()


def test_many_or_large_blocks_are_no_saving() -> None:
    frame = pd.DataFrame({"y": np.linspace(0, 1, 40), "v": 0.1, "g": np.arange(40) // 20, "r": range(40)})
    spec = bm.specify("y ~ 1", frame, S="v", random="1 | g/r")
    assert affected_blocks(*covariance_terms(spec), np.eye(40, dtype=bool)) is None


def test_ill_conditioned_blocks_are_noted() -> None:
    spec, terms = model(1), covariance_terms(model(1))
    keep = spec.levels[0].index != np.arange(3)[:, None]
    affected = affected_blocks(*terms, keep)
    assert affected is not None
    for size, precise in ((1.0, True), (1e6, False)):
        psi = [np.broadcast_to(scale * np.eye(2), (3, 2, 2)) for scale in (size, 1.0)]
        assert changes(affected, spec.X, *terms, psi).precise is precise
