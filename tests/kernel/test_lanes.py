"""The compiled sweeps of many groups side by side, against full matrices and against those of NumPy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bayesmeta import kernel
from bayesmeta.kernel import Likelihood, Statistics, one_column, partitioned
from bayesmeta.kernel.lane_sweeps import LaneSweeps, compiled
from bayesmeta.kernel.lanes import LANES
from bayesmeta.kernel.likelihood import as_batch
from bayesmeta.kernel.partitioned import Sweeps, sweeps
from bayesmeta.kernel.statistics import WORTH_LOADING, small_enough
from tests.kernel.test_information import bases, by_full_matrices
from tests.support import dense
from tests.support.dense import FloatArray, Model
from tests.support.kernel_calls import assert_close, statistics
from tests.support.random_models import models, random_model

seeds = st.integers(0, 2**32 - 1)


def side_by_side(model: Model) -> Statistics:
    """The statistics of a model, however small, of which compiled code takes the sweeps."""
    stats = statistics(model)
    assume(small_enough(stats.chunks, stats.dims[: len(stats.nodes)]))
    return replace(stats, side_by_side=True)


def by_numpy(stats: Statistics) -> Statistics:
    return replace(stats, side_by_side=False)


def numbers(fit: Likelihood) -> list[FloatArray]:
    assert fit.information is not None
    assert fit.scores is not None
    return [fit.loglik, fit.beta, fit.beta_cov, *fit.scores, fit.information.average, fit.information.expected]


@given(models(), st.booleans(), seeds)
def test_full_matrices_agree(model: Model, restricted: bool, seed: int) -> None:
    directions = bases(model, seed)
    fit = kernel.likelihood(side_by_side(model), model.psi, restricted, directions=directions)
    assert fit.information is not None
    assert fit.loglik == pytest.approx(dense.loglik(model, restricted), rel=1e-9, abs=1e-9)
    average, expected = by_full_matrices(model, directions, restricted)
    assert_close(fit.information.average[0], average, 1e-7)
    assert_close(fit.information.expected[0], expected, 1e-7)


@given(models(), st.booleans(), seeds)
def test_numpy_agrees(model: Model, restricted: bool, seed: int) -> None:
    stats, directions = side_by_side(model), bases(model, seed)
    here, there = (kernel.likelihood(s, model.psi, restricted, directions=directions) for s in (stats, by_numpy(stats)))
    for one, other in zip(numbers(here), numbers(there), strict=True):
        assert_close(one, other, 1e-9)
    scores = kernel.likelihood(stats, model.psi, restricted, gradient=True).scores
    assert scores is not None
    for one, other in zip(scores, here.scores or (), strict=True):
        assert_close(one, other, 1e-12)


def many_groups(outer: int = LANES + 5) -> Model:
    """Two outcomes in `outer` groups of three groups of one row: more groups of either level than fit side by side."""
    rng, n = np.random.default_rng(outer), 3 * outer
    S = np.zeros((2 * n, 2 * n))
    for i, sd in enumerate(rng.uniform(0.5, 2, (n, 2))):
        S[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = np.outer(sd, sd) * [[1, 0.5], [0.5, 1]]
    X, inner = np.tile(np.eye(2), (n, 1)), np.repeat(np.arange(n), 2)
    psi = [np.array([[1.0, 0.3], [0.3, 0.5]]), np.array([[0.7, -0.2], [-0.2, 0.9]])]
    return Model(rng.normal(size=2 * n), X, [X, X], [inner // 3, inner], S, psi)


def test_more_groups_than_lanes() -> None:
    model = many_groups()
    stats, directions = statistics(model), bases(model, 1)
    here, there = (
        kernel.likelihood(replace(stats, side_by_side=flag), model.psi, True, directions=directions)
        for flag in (True, False)
    )
    assert len(stats.nodes[0].group) > LANES
    for one, other in zip(numbers(here), numbers(there), strict=True):
        assert_close(one, other, 1e-10)


def test_a_data_set_does_not_depend_on_those_beside_it() -> None:
    """To the last bit: of several points of one data set, and each alone."""
    model = many_groups()
    stats = replace(statistics(model), side_by_side=True)
    psi = [np.stack([p, 1.7 * p, 0.3 * p]) for p in model.psi]
    directions = [np.stack([b, 2 * b, -b], axis=3) for b in bases(model, 1)]
    together = kernel.likelihood(stats, psi, False, directions=directions)
    assert together.information is not None
    for i in range(3):
        alone = kernel.likelihood(stats, [p[[i]] for p in psi], False, directions=[d[..., [i]] for d in directions])
        assert alone.information is not None
        assert alone.loglik[0] == together.loglik[i]
        assert np.array_equal(alone.information.average[0], together.information.average[i])
        assert np.array_equal(alone.information.expected[0], together.information.expected[i])


@pytest.mark.parametrize("factor", [1e4, 1e8, 1e10])
def test_psi_far_larger_than_the_sampling_errors(factor: float) -> None:
    model = random_model(11, n_levels=1, psi="full")
    stats, psi = statistics(model), [factor * p for p in model.psi]
    here, there = (
        kernel.likelihood(replace(stats, side_by_side=flag), psi, True, gradient=True) for flag in (True, False)
    )
    assert here.loglik == pytest.approx(there.loglik, rel=1e-10)


def test_a_psi_without_a_likelihood_has_none_here_either() -> None:
    model = many_groups(5)
    stats = replace(statistics(model), side_by_side=True)
    psi = [model.psi[0], -1e6 * model.psi[1]]
    with np.errstate(all="ignore"):
        try:
            loglik = float(kernel.likelihood(stats, psi, True).loglik)
        except np.linalg.LinAlgError:
            return
    assert not np.isfinite(loglik)


def test_small_data_do_not_load_the_compiler() -> None:
    work = [sum(c.a * c.EA.shape[1] ** 2 * c.EA[0, 0].size for c in statistics(many_groups(n)).chunks) for n in (5, 90)]
    small, large = statistics(many_groups(5)), repeated(many_groups(5), 1 + WORTH_LOADING // work[0])
    assert work[0] < work[1] < WORTH_LOADING
    assert [small.side_by_side, large.side_by_side] == [False, True]


def repeated(model: Model, n: int) -> Statistics:
    """Many data sets of one design."""
    lower = np.tril(model.S)
    row, col = np.nonzero(lower)
    return kernel.statistics(np.tile(model.y, (n, 1)), model.X, model.Z, model.groups, (lower[row, col], row, col))


def test_numpy_serves_where_nothing_can_be_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    def nowhere(**options: bool) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    stats = replace(statistics(many_groups(5)), side_by_side=True)
    assert type(sweeps(stats, as_batch(stats, many_groups(5).psi))) is LaneSweeps
    monkeypatch.setattr(numba, "njit", nowhere)
    assert compiled.__wrapped__() is None
    monkeypatch.setattr(partitioned, "compiled", lambda: None)
    assert type(sweeps(stats, as_batch(stats, many_groups(5).psi))) is Sweeps


@pytest.mark.parametrize("compile_", [compiled, one_column._compiled])
def test_threads_that_ask_at_once_compile_the_same_functions(compile_) -> None:
    """The second comes upon functions that the first has replaced."""
    first = compile_()
    again = compile_.__wrapped__()
    names = [each.__name__ for each in first] if isinstance(first, tuple) else list(vars(first))
    assert names == ([each.__name__ for each in again] if isinstance(again, tuple) else list(vars(again)))
