"""Factors of designs with many indicator columns are those of a dense factorisation."""

import numpy as np
import pytest

from bayesmeta.kernel.orthogonal import disjoint, leverages, log_determinant, logdet_gram, orthonormal, solve

ROWS = 400


def indicators(rng: np.random.Generator, values: int, kind: str) -> np.ndarray:
    """A design with a column for every value of a factor, and others."""
    code = np.concatenate([np.arange(values), rng.integers(0, values, ROWS - values)])
    cells, x = (code[:, None] == np.arange(values)).astype(float), rng.normal(size=(ROWS, 2))
    columns = {
        "treatment": [np.ones(ROWS), cells[:, 1:], x],
        "means": [cells],
        "sums": [np.ones(ROWS), (cells - cells[:, -1:])[:, :-1]],
        "slopes": [np.ones(ROWS), cells[:, 1:], x[:, 0], cells[:, 1:] * x[:, :1]],
        "shuffled": [np.column_stack([x, cells])[:, rng.permutation(values + 2)]],
        "dense": [rng.normal(size=(ROWS, values))],
    }[kind]
    return np.column_stack(columns) * rng.uniform(0.5, 3.0, (ROWS, 1))


@pytest.mark.parametrize("kind", ["treatment", "means", "sums", "slopes", "shuffled", "dense"])
def test_the_same_factors_as_of_a_dense_design(kind: str):
    X = indicators(np.random.default_rng(4), 60, kind)
    X = X if np.linalg.matrix_rank(X) == X.shape[1] else X[:, :-1]
    Q, R = (M[0] for M in orthonormal(X[None]))
    dense_Q, dense_R = np.linalg.qr(X)
    np.testing.assert_allclose(Q.T @ Q, np.eye(X.shape[1]), atol=1e-14)
    np.testing.assert_allclose(Q @ R, X, atol=1e-13)
    factor = R[None]
    np.testing.assert_allclose(solve(factor, np.eye(X.shape[1])[None])[0], np.linalg.inv(R), atol=1e-12)
    np.testing.assert_allclose(log_determinant(factor)[0], np.log(np.abs(np.diag(dense_R))).sum(), rtol=1e-12)
    assert bool(np.tril(R, -1).any()) == (kind in ("treatment", "means", "shuffled"))
    if kind in ("treatment", "means", "shuffled"):
        assert (Q == 0).mean() > 0.9
    np.testing.assert_allclose(leverages(X), (dense_Q**2).sum(1), rtol=1e-12)
    np.testing.assert_allclose(logdet_gram(X), np.linalg.slogdet(X.T @ X)[1], rtol=1e-12)


@pytest.mark.parametrize("triangular", [True, False])
def test_factors_whose_columns_are_in_no_triangular_order_are_solved_as_well(triangular: bool):
    rng = np.random.default_rng(7)
    R = rng.normal(size=(2, 60, 60)) + 9 * np.eye(60)
    R = np.triu(R)[:, :, rng.permutation(60)] if triangular else R
    B = rng.normal(size=(2, 60, 3))
    np.testing.assert_allclose(R @ solve(R, B), B, atol=1e-11)
    np.testing.assert_allclose(log_determinant(R), np.linalg.slogdet(R)[1], rtol=1e-12)


def test_indicators_are_set_apart_where_they_are_most_of_the_columns():
    rng = np.random.default_rng(5)
    assert len(disjoint(indicators(rng, 60, "treatment")).order) == 62
    assert disjoint(indicators(rng, 60, "dense")) is None
    assert disjoint(indicators(rng, 20, "treatment")) is None  # too few to be worth it


def test_columns_that_nearly_follow_from_indicators_are_left_to_the_dense_factorisation():
    rng = np.random.default_rng(6)
    X = indicators(rng, 60, "means")
    near = np.column_stack([X, X.sum(1) + 1e-15 * rng.normal(size=ROWS)])
    parts = disjoint(near)
    assert parts is None or np.abs(parts.Q.T @ parts.Q - np.eye(61)).max() < 1e-13
