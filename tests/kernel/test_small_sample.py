"""Corrections for small samples against full matrices, on random models: nested, several outcomes, all structures."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.kernel.sandwich import ABSORBED, KINDS, Clusters, sandwich
from bayesmeta.kernel.small_sample import small_sample
from bayesmeta.kernel.weighting import Weighting, weighting
from tests.benchmarks.search import problems
from tests.support.dense import FloatArray, marginal_covariance
from tests.support.dense_corrections import Corrections, Robust, dense_model
from tests.support.random_members import random_psi

WELL_CONDITIONED = 1e6  # beyond it the full matrices lose the digits that are compared
HARDLY_IDENTIFIED = 1e3  # a corrected variance so many times the plain one: the information is a matter of rounding


class Case(NamedTuple):
    """A random model with members of its families as Psi."""

    name: str
    structures: set[str]
    spec: bm.Spec
    psi: list[FloatArray]
    xi: list[FloatArray]
    slopes: list[FloatArray]
    bends: list[FloatArray]
    weighted: Weighting
    rng: np.random.Generator


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    made = []
    for number, problem in enumerate(problems(400, 11)):
        if problem.method == "reml":
            spec, rng = problem.spec(), np.random.default_rng([11, number])
            psi, xi, slopes, bends = random_psi(spec, rng)
            S = (spec.S.value, spec.S.row, spec.S.col)
            weighted = weighting([v.Z for v in spec.levels], [v.index for v in spec.levels], S, psi)
            structures = set(problem.structures.split())
            made.append(Case(problem.name, structures, spec, psi, xi, slopes, bends, weighted, rng))
    return made


def test_products_with_the_inverse_covariance(cases):
    for case in cases:
        Sigma = marginal_covariance(dense_model(case.spec, case.psi))
        Y = case.rng.normal(size=(len(Sigma), 3))
        error = 1e-12 * max(1e2, np.linalg.cond(Sigma))
        assert np.abs(Sigma @ case.weighted(Y) - Y).max() < error * np.abs(Y).max(), case.name
        np.testing.assert_allclose(case.weighted.covariance_times(Y), Sigma @ Y, rtol=1e-11, atol=1e-12 * Sigma.max())


def scale_of(dense):
    return np.sqrt(np.outer(np.diag(dense.Phi), np.diag(dense.Phi)))


def well_determined(own, dense):
    """Whether the corrections are more than rounding: not those of levels with the same groups, whose sum counts."""
    if not own.slopes.size or not own.identified(np.eye(len(dense.Phi))):
        return False
    size = np.sqrt(np.diag(dense.information))
    if size.min() == 0 or np.linalg.cond(dense.information / np.outer(size, size)) > WELL_CONDITIONED:
        return False
    return np.abs(dense.adjusted / scale_of(dense)).max() <= HARDLY_IDENTIFIED


def test_kenward_roger_and_satterthwaite(cases):
    seen, checked = Counter(), 0
    for case in cases:
        dense = Corrections(dense_model(case.spec, case.psi), case.slopes)
        own = small_sample(case.spec.X, case.spec.statistics, case.weighted, dense.Phi, case.slopes)
        if not well_determined(own, dense):
            continue
        scale = scale_of(dense)
        assert np.abs((own.adjusted - dense.adjusted) / scale).max() < 1e-8, case.name
        c = case.rng.normal(size=len(dense.Phi))
        moved = own.changes(c[:, None])[:, 0, 0]
        assert 2 * (c @ own.cov @ c) ** 2 / (moved @ own.theta_cov @ moved) == pytest.approx(
            dense.satterthwaite(c), rel=1e-8
        ), case.name
        seen.update(case.structures)
        checked += 1
    assert checked > 120
    assert set(seen) >= {"unstr", "diag", "id", "cs", "hcs", "ar1", "har1", "prop", "cor"}


def test_kenward_roger_with_second_derivatives(cases):
    """The term that they add, from full matrices whose second derivatives are differences of Psi."""
    checked = Counter()
    for case in cases:
        dense = Corrections(dense_model(case.spec, case.psi), case.slopes)
        nonlinear = {level.structure.name for level in case.spec.levels if level.dim > 1} & {*CURVED}
        if not nonlinear or smallest_sd(case) < 1e-3:
            continue
        arguments = (case.spec.X, case.spec.statistics, case.weighted, dense.Phi, case.slopes)
        plain, full = small_sample(*arguments), small_sample(*arguments, case.bends)
        if not well_determined(plain, dense):
            continue
        expected = dense.of_second_derivatives(
            [numerical_bends(v, x) for v, x in zip(case.spec.levels, case.xi, strict=True)]
        )
        scale = scale_of(dense)
        assert np.abs(expected / scale).max() > 0
        relative = max(1.0, np.abs(expected / scale).max())
        assert np.abs((full.adjusted - plain.adjusted - expected) / scale).max() < 1e-6 * relative, case.name
        checked.update(nonlinear)
    assert set(checked) == {*CURVED}
    assert min(checked.values()) >= 4, checked


CURVED = ("hcs", "ar1", "har1", "cor")


def smallest_sd(case):
    return min(np.sqrt(np.diag(p)).min() for p in case.psi if len(p))


def numerical_bends(level, xi):
    """(a, a, K, K) second derivatives of Psi by variances and a correlation, by central differences."""
    structure, dim = level.structure, level.dim
    if not dim or structure.name not in CURVED or dim == 1:
        K = structure.variance_slopes(xi, dim).shape[2] if dim else 0
        return np.zeros((dim, dim, K, K))
    n = structure.n_tau(dim)
    theta = np.r_[xi[:n] ** 2, structure.rho_of(xi, dim)]
    step = 1e-4 * np.r_[theta[:n], np.full(len(theta) - n, 0.3)]

    def psi(theta):
        return structure.compose(np.sqrt(theta[:n]), theta[n:], dim)

    bends = np.zeros((dim, dim, len(theta), len(theta)))
    for r, one in enumerate(np.diag(step)):
        for s, other in enumerate(np.diag(step)):
            corners = psi(theta + one + other) - psi(theta + one - other) - psi(theta - one + other)
            bends[:, :, r, s] = (corners + psi(theta - one - other)) / (4 * step[r] * step[s])
    return bends


def test_sandwich_covariances(cases):
    checked = Counter()
    for case in cases:
        code = outer_or_joined(case)
        if code.max() < case.spec.X.shape[1]:
            continue
        dense = Robust(dense_model(case.spec, case.psi), code)
        residual = dense.model.y - dense.hat @ dense.model.y
        of = Clusters(case.spec.X, residual, code, case.weighted, dense.Phi)
        shares = of.shares()
        if ((shares > 1 - 1e-4) & (shares < 1 - 1e-12)).any() or np.linalg.cond(dense.Sigma) > WELL_CONDITIONED:
            continue  # whether a cluster determines a coefficient alone is a matter of rounding
        L = case.rng.normal(size=(len(dense.Phi), int(case.rng.integers(1, len(dense.Phi) + 1))))
        for kind in KINDS:
            if kind != "CR3" or shares.max() < 1 - ABSORBED:
                lost = 1e-15 * np.linalg.cond(dense.Sigma) ** 2 / (1 - shares[shares < 1 - ABSORBED].max())
                compare(sandwich(of, kind), dense, kind, L, case.name, max(1e-8, lost * (kind == "CR2")))
                checked[kind] += 1
    assert min(checked[kind] for kind in KINDS) > 40, checked
    assert checked["CR2"] > 100, checked


def compare(own, dense, kind, L, name, tolerance):
    """tolerance: to the root of CR2 both bring rounding errors that grow as the square of the condition."""
    expected = dense.covariance(kind)
    # a coefficient that one cluster determines has a variance of zero, which says nothing of its size
    size = np.sqrt(np.maximum(np.diag(expected), 1e-4 * np.diag(dense.Phi)))
    assert (np.abs(own.cov - expected) / np.outer(size, size)).max() < tolerance, (name, kind)
    assert own.satterthwaite(L[:, 0]) == pytest.approx(dense.satterthwaite(kind, L[:, 0]), rel=tolerance), (name, kind)
    eta = own.hotelling(L)
    if np.isfinite(eta):
        assert eta == pytest.approx(dense.hotelling(kind, L), rel=10 * tolerance), (name, kind)


def outer_or_joined(case):
    """Codes of the outer groups, or of unions of them."""
    outer = np.array(case.spec.levels[0].index)
    if case.rng.random() < 0.6:
        return outer
    joined = case.rng.integers(0, max(2, outer.max()), outer.max() + 1)[outer]
    return np.unique(joined, return_inverse=True)[1]
