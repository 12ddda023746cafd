"""Designs of many columns that are mostly zeros: the answers of full matrices, whatever the shape of the leaves."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from bayesmeta import kernel
from bayesmeta.kernel import batched_linalg, mostly_zero, orthogonal
from tests.kernel.test_information import bases, by_full_matrices, every_point_has_its_own_answer
from tests.support import dense
from tests.support.dense import Model
from tests.support.kernel_calls import assert_close, predicted, statistics
from tests.support.random_models import random_model

SEEDS = range(40)


@pytest.fixture(autouse=True)
def _small_is_wide() -> Iterator[None]:
    """Every design counts as wide, however few its columns, and as mostly zeros."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (batched_linalg, mostly_zero, orthogonal):
            patch.setattr(module, "WIDE", 1)
        patch.setattr(mostly_zero, "FILLED", 2.0)
        yield


def of_a_factor(seed: int) -> Model:
    """A random model with a coefficient for every value of a factor, and perhaps a slope beside them."""
    rng = np.random.default_rng(seed)
    model = random_model(seed, n_levels=1 + seed % 3, psi=("full", "zero")[seed % 5 == 0])
    n = len(model.y)
    values = max(1, n // 4)
    cells = (rng.permutation(np.arange(n) % values)[:, None] == np.arange(values)).astype(float)
    return replace(model, X=np.column_stack([cells, rng.normal(size=(n, seed % 2))]))


def test_the_patterns_are_used_where_leaves_have_no_ancestors() -> None:
    chunks = [chunk for seed in SEEDS for chunk in statistics(of_a_factor(seed)).chunks]
    assert all((chunk.pattern is None) == bool(chunk.ancestors) for chunk in chunks if len(chunk.EA))
    assert {len(chunk.EA) for chunk in chunks if chunk.pattern is not None} >= {1, 2}
    assert any(isinstance(chunk.left, kernel.leaves.LeftRows) for chunk in chunks)


@pytest.mark.parametrize("restricted", [True, False])
def test_likelihoods_coefficients_scores_and_information(restricted: bool) -> None:
    for model in map(of_a_factor, SEEDS):
        directions = bases(model, 1)
        fit = kernel.likelihood(statistics(model), model.psi, restricted, directions=directions)
        assert fit.loglik == pytest.approx(dense.loglik(model, restricted), rel=1e-9)
        assert_close(fit.beta, dense.coefficients(model))
        assert_close(fit.beta_cov, dense.coefficient_covariance(model))
        alone = kernel.likelihood(statistics(model), model.psi, restricted, gradient=True)
        for one, other, expected in zip(fit.scores, alone.scores, dense.scores(model, restricted), strict=True):
            assert_close(one, expected, 1e-8)
            assert_close(other, expected, 1e-8)
        average, expected = by_full_matrices(model, directions, restricted)
        assert_close(fit.information.average[0], average, 1e-7)
        assert_close(fit.information.expected[0], expected, 1e-7)


def test_several_points_at_once() -> None:
    for model in map(of_a_factor, SEEDS[:12]):
        every_point_has_its_own_answer(model)


def test_predictions_and_likelihoods_of_groups() -> None:
    for model in map(of_a_factor, SEEDS):
        blups = dense.blups(model)
        effects = [level.mean for level in predicted(model).levels]
        at = 0
        for level, mean in enumerate(effects):
            for g in range(mean.shape[1]):
                assert_close(mean[:, g], blups[dense.positions(model, level, g)], 1e-8)
                at += len(mean)
        beta = dense.coefficients(model) + 0.3
        actual = kernel.loglik_per_group(statistics(model), model.psi, beta)
        np.testing.assert_allclose(actual, dense.loglik_per_group(model, beta), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("diagonal", [0, 1, 30, 60])
def test_roots_of_inverses(diagonal: int) -> None:
    rng = np.random.default_rng(diagonal)
    A = rng.normal(size=(2, 60, 60))
    F = A @ A.mT + 60 * np.eye(60)
    own = np.arange(diagonal)
    F[:, :diagonal, :diagonal] = 0
    F[:, own, own] = rng.uniform(3e3, 4e3, (2, diagonal))
    M, logdet = mostly_zero.root_of_inverse(F)
    np.testing.assert_allclose(M @ M.mT @ F, np.broadcast_to(np.eye(60), F.shape), atol=1e-12)
    np.testing.assert_allclose(logdet, np.linalg.slogdet(F)[1], rtol=1e-13)
    assert not np.tril(M, -1).any()
    F[0, 0, 0] = -1.0
    with pytest.raises(np.linalg.LinAlgError):
        mostly_zero.root_of_inverse(F)
