"""The parts of the search that a fit alone would not show."""

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.estimation import steps
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.search import interior_of
from bayesmeta.estimation.steps import Objective, Point, is_flat, residual_gradient


@pytest.fixture(scope="module")
def objective() -> Objective:
    data = bm.datasets.load("berkey98")
    spec = bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi="hcs")
    return Objective(spec.statistics, Free(spec, spec.statistics.typical), restricted=True)


def test_at_a_bound_only_an_outward_gradient_is_left_out(objective: Objective) -> None:
    z = np.array([0.0, 0.0, 0.3])
    residual = residual_gradient(objective.free, Point(z, 0.0, np.array([-2.0, 3.0, 0.5])))
    assert residual.tolist() == [0.0, 3.0, 0.5]


def test_a_correlation_needs_two_sds(objective: Objective) -> None:
    at_edge = np.array([True, False, False])
    one_zero = Point(np.array([0.0, 0.5, 0.3]), 0.0, np.zeros(3))
    assert interior_of(objective.free, one_zero, at_edge).tolist() == [1]
    both = Point(np.array([0.4, 0.5, 0.3]), 0.0, np.zeros(3))
    assert interior_of(objective.free, both, np.zeros(3, bool)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("at_once", [0, 10**6])
def test_several_points_equal_one_by_one(objective: Objective, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "AT_ONCE", at_once)
    points = np.abs(np.random.default_rng(1).normal(size=(3, 4)))
    logliks, gradients = objective.several(points)
    for i, z in enumerate(points.T):
        loglik, gradient = objective(z)
        assert logliks[i] == pytest.approx(loglik, rel=1e-12)
        np.testing.assert_allclose(gradients[:, i], gradient, rtol=1e-9, atol=1e-9)


def test_curvature_is_judged_by_relative_steps() -> None:
    assert not is_flat(np.array([[1e-9]]), np.array([1e5]))
    assert is_flat(np.array([[1e-9]]), np.array([1.0]))
    assert not is_flat(np.zeros((0, 0)), np.zeros(0))
