"""Average and expected information against full matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmeta import kernel
from bayesmeta.kernel.information import MOST_MOMENTS, _traces
from tests.support import dense
from tests.support.dense import FloatArray, Model
from tests.support.kernel_calls import assert_close, statistics
from tests.support.random_models import models


def bases(model: Model, seed: int) -> list[FloatArray]:
    """Symmetric directions (a, a, 3) of every level."""
    rng = np.random.default_rng(seed)
    roots = [rng.normal(size=(z.shape[1], z.shape[1], 3 if z.shape[1] else 0)) for z in model.Z]
    return [root + root.swapaxes(0, 1) for root in roots]


def by_full_matrices(model: Model, directions: list[FloatArray], restricted: bool) -> tuple[FloatArray, FloatArray]:
    inverse = np.linalg.inv(dense.marginal_covariance(model))
    V = np.linalg.inv(model.X.T @ inverse @ model.X)
    P = inverse - inverse @ model.X @ V @ model.X.T @ inverse
    slopes = [
        Z @ D[:, :, r] @ Z.T * dense.together(group)
        for Z, group, D in zip(model.Z, model.groups, directions, strict=True)
        for r in range(D.shape[2])
    ]
    v = np.array([S @ P @ model.y for S in slopes]).reshape(len(slopes), len(P))
    W = P if restricted else inverse
    products = [W @ S for S in slopes]
    expected = np.array([[np.sum(a * b.T) / 2 for a in products] for b in products]).reshape(len(v), len(v))
    return v @ P @ v.T / 2, expected


@given(models(), st.booleans(), st.integers(0, 2**32 - 1))
def test_information(model: Model, restricted: bool, seed: int) -> None:
    directions = bases(model, seed)
    fit = kernel.likelihood(statistics(model), model.psi, restricted, directions=directions)
    assert fit.information is not None
    average, expected = by_full_matrices(model, directions, restricted)
    assert_close(fit.information.average[0], average, 1e-7)
    assert_close(fit.information.expected[0], expected, 1e-7)
    np.testing.assert_array_equal(fit.information.observed, 2 * fit.information.average - fit.information.expected)


@given(models(), st.booleans(), st.integers(0, 2**32 - 1))
def test_scores_come_along(model: Model, restricted: bool, seed: int) -> None:
    stats = statistics(model)
    both = kernel.likelihood(stats, model.psi, restricted, directions=bases(model, seed))
    alone = kernel.likelihood(stats, model.psi, restricted, gradient=True)
    assert both.loglik == alone.loglik
    for one, other in zip(both.scores, alone.scores, strict=True):
        assert_close(one, other, 1e-9)


@pytest.mark.parametrize("n_levels", [1, 3])
def test_directions_of_every_point(n_levels: int) -> None:
    from tests.support.random_models import random_model

    every_point_has_its_own_answer(random_model(7, n_levels=n_levels, psi="full"))


def every_point_has_its_own_answer(model: Model) -> None:
    """Several points of one data set, each with directions of its own, together and alone."""
    stats = statistics(model)
    directions = [np.stack([b, 2 * b], axis=3) for b in bases(model, 1)]
    psi = [np.stack([p, 1.5 * p]) for p in model.psi]
    together = kernel.likelihood(stats, psi, True, directions=directions)
    for i in range(2):
        alone = kernel.likelihood(stats, [p[i] for p in psi], True, directions=[d[..., i] for d in directions])
        assert together.loglik[i] == pytest.approx(alone.loglik, rel=1e-12)
        for name in ("average", "expected"):
            assert_close(getattr(together.information, name)[i], getattr(alone.information, name)[0], 1e-9)


@pytest.mark.parametrize("directions", [3, 20])
@pytest.mark.parametrize("batch", [1, 2])
def test_traces_of_large_blocks(directions: int, batch: int) -> None:
    """More effects than sums of all products are kept for at once: by either way the same."""
    rng = np.random.default_rng(3)
    a = MOST_MOMENTS + 2
    A, B, D = (rng.normal(size=(a, a, *shape)) for shape in [(batch, 4), (batch, 4), (directions, batch)])
    A, B, D = A + A.swapaxes(0, 1), B + B.swapaxes(0, 1), D + D.swapaxes(0, 1)
    expected = np.einsum("ijrb,jkbn,klsb,libn->rsb", D, A, D, B, optimize=True)
    np.testing.assert_allclose(_traces(D, A, B), expected, rtol=1e-9, atol=1e-9)
