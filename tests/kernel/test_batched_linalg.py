"""Algebra of many small matrices, against NumPy on each of them."""

import numpy as np
import pytest

from bayesmeta.kernel import batched_linalg


def batch(rng: np.random.Generator, a: int, n: int, data_sets: int = 1) -> np.ndarray:
    root = rng.normal(size=(data_sets, n, a, a))
    return np.moveaxis(root @ root.mT + np.eye(a), (0, 1), (2, 3))


@pytest.mark.parametrize("a", [1, 2, 5, batched_linalg.UNROLL + 1])
@pytest.mark.parametrize("n", [1, batched_linalg.FEW + 6])
def test_cholesky_and_solve(a: int, n: int) -> None:
    rng = np.random.default_rng(a)
    A, B = batch(rng, a, n, 2), rng.normal(size=(a, 3, 2, n))
    L = batched_linalg.cholesky(A)
    X = batched_linalg.solve_lower(L, B)
    for d in range(2):
        for g in range(n):
            np.testing.assert_allclose(L[..., d, g], np.linalg.cholesky(A[..., d, g]), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(L[..., d, g] @ X[..., d, g], B[..., d, g], rtol=1e-10, atol=1e-12)
            assert batched_linalg.log_diagonal(L)[d, g] == pytest.approx(
                np.linalg.slogdet(A[..., d, g])[1] / 2, abs=1e-12
            )


@pytest.mark.parametrize("sd", [(1.0, 1.0, 1.0), (1e6, 1.0, 1e-6), (2.0, 0.0, 1.0)])
def test_factor_of_a_singular_matrix_keeps_digits_of_every_size(sd: tuple[float, ...]) -> None:
    R = np.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
    Psi = R * np.outer(sd, sd)
    F = batched_linalg.psd_factor(Psi[:, :, None, None])[..., 0, 0]
    np.testing.assert_allclose(F @ F.T, Psi, rtol=1e-13, atol=1e-300)


def test_triangularised_columns_keep_their_products() -> None:
    rng = np.random.default_rng(0)
    W = rng.normal(size=(7, 5, 2, 4))
    V = batched_linalg.triangularise(W.copy(), 3)
    for d in range(2):
        for g in range(4):
            np.testing.assert_allclose(V[..., d, g].T @ V[..., d, g], W[..., d, g].T @ W[..., d, g], rtol=1e-12)
            assert not np.tril(V[:, :3, d, g], -1).any()


@pytest.mark.parametrize("size", [3, batched_linalg.WIDE + 5])
def test_inverses_of_triangular_matrices(size: int) -> None:
    A = np.random.default_rng(1).normal(size=(2, size, 2 * size))
    L = np.linalg.cholesky(A @ A.mT)
    inverse = batched_linalg.inverse_lower(L)
    np.testing.assert_allclose(inverse @ L, np.broadcast_to(np.eye(size), L.shape), atol=1e-12)
    np.testing.assert_array_equal(np.triu(inverse, 1), 0.0)
