"""Likelihoods of data in pieces against full matrices, and against the same data in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmeta import kernel
from bayesmeta.kernel.gathering import Centre, gathered, look_at, piece_statistics
from bayesmeta.kernel.partitioned import PartitionedStatistics
from tests.support import dense
from tests.support.dense import FloatArray, IntArray, Model
from tests.support.kernel_calls import assert_close, statistics
from tests.support.random_models import models, random_model

seeds = st.integers(0, 2**32 - 1)
either = st.booleans()


@dataclass(frozen=True)
class Here:
    """Pieces in a list, added one after the other."""

    stats: list[kernel.Statistics]

    def totals(self, work: Callable[..., tuple[FloatArray, ...]], *arguments: Any) -> tuple[FloatArray, ...]:
        return tuple(sum(parts) for parts in zip(*(work(s, *arguments) for s in self.stats), strict=True))


def arguments(model: Model) -> tuple[Any, ...]:
    groups = [np.unique(g, return_inverse=True)[1] for g in model.groups]
    return model.y, model.X, model.Z, groups, dense.triplet(model.S)


def in_pieces(model: Model, piece_of_group: IntArray) -> PartitionedStatistics:
    """piece_of_group : piece of every outer group; a piece may be empty."""
    piece = piece_of_group[model.groups[0]]
    parts = [arguments(model.rows(np.flatnonzero(piece == p))) for p in np.unique(piece)]

    def reduced(centre: Centre) -> Here:
        return Here([piece_statistics(*part, centre) for part in parts])

    return gathered([look_at(*part) for part in parts], reduced)


def divided(model: Model, seed: int) -> PartitionedStatistics:
    rng = np.random.default_rng(seed)
    n_groups = int(model.groups[0].max()) + 1
    return in_pieces(model, rng.integers(0, rng.integers(1, n_groups + 2), n_groups))


@settings(max_examples=20)
@given(models(), either, seeds)
def test_the_likelihood_of_pieces_is_that_of_full_matrices(model: Model, restricted: bool, seed: int) -> None:
    fit = kernel.likelihood(divided(model, seed), model.psi, restricted, gradient=True)
    assert fit.loglik == pytest.approx(dense.loglik(model, restricted), rel=1e-9)
    assert_close(fit.beta, dense.coefficients(model))
    assert_close(fit.beta_cov, dense.coefficient_covariance(model))
    for score, expected in zip(fit.scores, dense.scores(model, restricted), strict=True):
        assert_close(score, expected, 1e-8)


@settings(max_examples=20)
@given(models(), either, seeds)
def test_second_derivatives_of_pieces_add_up(model: Model, restricted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    roots = [rng.normal(size=(*psi.shape, 2 if psi.size else 0)) for psi in model.psi]
    along = [root + root.swapaxes(0, 1) for root in roots]
    whole, pieces = (
        kernel.likelihood(stats, model.psi, restricted, directions=along)
        for stats in (statistics(model), divided(model, seed))
    )
    for name in ("average", "expected"):
        assert_close(getattr(pieces.information, name), getattr(whole.information, name))
    for score, expected in zip(pieces.scores, whole.scores, strict=True):
        assert_close(score, expected, 1e-9)


@settings(max_examples=20)
@given(models(), either, seeds)
def test_what_a_search_begins_with_is_that_of_one_place(model: Model, restricted: bool, seed: int) -> None:
    whole, pieces = statistics(model), divided(model, seed)
    assert pieces.n_groups == whole.n_groups
    assert (pieces.n_obs, pieces.n_coef, pieces.dims, pieces.depth) == (
        whole.n_obs,
        whole.n_coef,
        whole.dims,
        whole.depth,
    )
    assert_close(pieces.Q, whole.Q)
    assert_close(pieces.beta_fixed, whole.beta_fixed)
    for of_pieces, of_whole in zip(pieces.typical, whole.typical, strict=True):
        assert_close(of_pieces, of_whole)
    psi = [np.stack([s * p for s in (0.0, 0.1, 1.0, 25.0)]) for p in model.psi]
    np.testing.assert_allclose(
        kernel.likelihood(pieces, psi, restricted).loglik, kernel.likelihood(whole, psi, restricted).loglik, rtol=1e-11
    )


@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_digits_are_kept_where_data_are_heterogeneous_or_far_from_zero(scale: float) -> None:
    model = random_model(3, n_levels=2, n_outcomes=1, errors="inside", psi="full", n_units=40)
    far = model.at(y=1e6 + scale * model.y, psi=[scale**2 * psi for psi in model.psi])
    whole, pieces = (kernel.likelihood(s, far.psi, True) for s in (statistics(far), divided(far, 5)))
    assert pieces.loglik == pytest.approx(float(whole.loglik), rel=1e-12)
    assert (np.abs(pieces.beta - whole.beta) < 1e-6 * np.sqrt(np.diag(whole.beta_cov))).all()


def test_pieces_whose_rows_do_not_have_every_predictor() -> None:
    """Every piece is one group, of fewer rows than coefficients, or with an indicator that is zero in all of them."""
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(12), rng.integers(1, 4, 12))
    X = np.column_stack([np.ones(len(group)), group % 3 == 1, group % 3 == 2, rng.normal(size=len(group))]).astype(
        float
    )
    y, S = rng.normal(size=len(group)), np.diag(rng.uniform(0.1, 1.0, len(group)))
    model = Model(y, X, [np.ones((len(y), 1))], [group], S, [np.array([[0.3]])])
    fit = kernel.likelihood(in_pieces(model, np.arange(12)), model.psi, True)
    assert fit.loglik == pytest.approx(dense.loglik(model, True), rel=1e-12)
    assert_close(fit.beta, dense.coefficients(model))
