"""Steps of the climbs: the trust region's subproblem, bounds, saddles and points without a likelihood."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta._typing import FloatArray
from bayesmeta.estimation.climb import NEARLY, Local, Race, climb, local, trust_region
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.objective import Objective
from bayesmeta.estimation.search import UNSEEN, resumed, unseen, winners

seeds = st.integers(0, 2**32 - 1)


def objective(psi: str, restricted: bool = True) -> Objective:
    data = bm.datasets.load("berkey98")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi=psi)
    return Objective(spec.statistics, Free(spec, spec.statistics.typical), restricted)


def model(seed: int, hard: bool) -> tuple[Local, FloatArray]:
    rng = np.random.default_rng(seed)
    curved = np.sort(rng.normal(1.0, 2.0, (3, 4)), axis=1)
    slope = rng.normal(size=(3, 4))
    if hard:
        curved[:, 0], slope[:, 0] = -1.0, 0.0
    ones = np.ones((3, 4))
    flat = np.zeros((3, 4), bool)
    return Local(ones, flat, curved, np.tile(np.eye(4), (3, 1, 1)), slope, flat), rng.uniform(0.3, 3.0, 3)


@given(seeds, st.booleans())
def test_no_point_of_the_region_promises_more(seed: int, hard: bool) -> None:
    at, radius = model(seed, hard)
    step, gain = trust_region(at, radius)
    length = np.linalg.norm(step, axis=1)
    assert (length <= 1.11 * radius).all()
    np.testing.assert_allclose(gain, (at.slope * step - at.curved * step**2 / 2).sum(1))
    others = np.random.default_rng(seed).normal(size=(200, 3, 4))
    others *= (0.85 * radius / np.linalg.norm(others, axis=2))[:, :, None]
    assert ((at.slope * others - at.curved * others**2 / 2).sum(2).max(0) <= gain + 1e-9).all()


@pytest.mark.parametrize("psi", ["unstr", "hcs", "cs", "diag"])
@pytest.mark.parametrize("restricted", [True, False])
def test_second_derivatives_of_the_objective(psi: str, restricted: bool) -> None:
    one, h = objective(psi, restricted), 1e-5
    z = np.random.default_rng(1).uniform(0.4, 1.4, (2, one.free.size))
    points = one(z)
    for i, step in enumerate(h * np.eye(one.free.size)):
        ahead, behind = one(z + step), one(z - step)
        np.testing.assert_allclose(
            points.gradient[:, i], (ahead.loglik - behind.loglik) / (2 * h), rtol=1e-6, atol=1e-7
        )
        np.testing.assert_allclose(points.H[:, i], (behind.gradient - ahead.gradient) / (2 * h), rtol=1e-6, atol=1e-6)


def test_a_climb_leaves_zero_where_the_likelihood_rises() -> None:
    """At SDs of zero the gradient is zero too: only the curvature shows the way."""
    one = objective("diag")
    ends = climb(one, np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert ends.arrived.all()
    np.testing.assert_allclose(ends.points.loglik[0], ends.points.loglik[1], atol=1e-9)


def test_a_bounded_sd_leaves_zero_by_its_slope() -> None:
    one = objective("hcs")
    ends = climb(one, np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]))
    assert ends.arrived.all()
    assert (ends.points.z[:, :2] >= 0).all()


def test_a_point_without_a_likelihood_is_minus_infinity_and_the_others_are_kept() -> None:
    one = objective("unstr")
    z = np.array([[1.0, 0.2, 1.0], [1e200, 1.0, 1.0], [0.5, 0.1, 0.4]])
    points = one(z)
    assert points.loglik[1] == -np.inf
    np.testing.assert_allclose(points.loglik[[0, 2]], one(z[[0, 2]]).loglik, rtol=1e-12)
    assert one.loglik(z)[1] == -np.inf


def test_held_parameters_do_not_move() -> None:
    one = objective("hcs")
    points = one(np.array([[0.0, 0.5, 1.0]]))
    points.gradient[0] = [-1.0, 0.3, 0.1]
    here = local(points, one.free.lower)
    assert here.held.tolist() == [[True, False, False]]


def test_ends_that_differ_by_rounding_go_to_the_one_that_arrived() -> None:
    """Where Psi is large, log-likelihoods are rounded by more than a climb still gains: the highest may not arrive."""
    ends = climb(objective("diag"), np.array([[1.0, 1.0], [2.0, 2.0]]))
    ends.points.loglik[:] = [-10.0, -10.0 + 5e-9]
    ends.arrived[:] = [True, False]
    assert winners(ends, np.zeros(2, np.int64)).tolist() == [0]
    ends.points.loglik[:] = [-2000.0, -2000.0 - 1e-9]
    ends.evaluations[:] = [9, 3]
    assert winners(ends, np.zeros(2, np.int64)).tolist() == [0]
    ends.points.loglik[:] = [-10.0, -9.9]
    assert winners(ends, np.zeros(2, np.int64)).tolist() == [1]


@pytest.mark.parametrize(
    ("n_modes", "n_climbs", "more"), [(1, 16, False), (2, 16, False), (3, 16, True), (3, 32, False)]
)
def test_many_maxima_after_few_climbs_leave_some_unseen(n_modes: int, n_climbs: int, more: bool) -> None:
    """Of every data set apart; the second has one maximum."""
    ends = climb(objective("diag"), np.ones((2 * n_climbs, 2)))
    ends.points.loglik[:] = np.append(np.arange(n_climbs) % n_modes, np.zeros(n_climbs))
    owner = np.repeat([0, 1], n_climbs)
    assert (unseen(ends, owner, 2) >= UNSEEN).tolist() == [more, False]


@pytest.mark.parametrize("psi", ["unstr", "diag", "hcs"])
@pytest.mark.parametrize("method", ["ml", "reml"])
def test_estimates_stand_still(psi: str, method: str) -> None:
    """One Newton step more moves nothing by 1e-8 of its standard error."""
    data = bm.datasets.load("berkey98")
    data["year"] = data["pubyear"] - 1983
    spec = bm.specify("PD + AL ~ year", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi=psi)
    fit = bm.fit(spec, method=method)
    free = Free(spec, spec.statistics.typical)
    at = Objective(spec.statistics, free, method == "reml")(fit["estimate"]["xi"].to_numpy()[None] / free.units)
    assert fit["optimizer"]["evaluations"].item() == fit["optimizer"].sizes["iteration"]
    inside = np.flatnonzero(~fit["optimizer"]["at_boundary"].to_numpy())
    H, gradient = at.H[0][np.ix_(inside, inside)], at.gradient[0, inside]
    assert gradient @ np.linalg.solve(H, gradient) < 1e-16


def test_a_climb_below_another_ends_next_to_its_maximum_and_no_sooner() -> None:
    one = objective("unstr")
    starts = np.random.default_rng(1).uniform(0.1, 3.0, (6, 3))
    owner = np.zeros(6, np.int64)
    alone, racing = climb(one, starts), climb(one, starts, race=Race(owner, np.array([-np.inf])))
    assert alone.arrived.all()
    assert not alone.overtaken.any()
    assert racing.overtaken.any()
    assert (racing.arrived != racing.overtaken).all()
    assert racing.arrived[winners(racing, owner)].all()
    assert racing.evaluations.sum() < alone.evaluations.sum()
    np.testing.assert_allclose(racing.points.loglik, alone.points.loglik, atol=NEARLY)
    below = climb(one, starts, race=Race(owner, alone.points.loglik[:1] + 1.0))
    assert below.overtaken.all()


def test_climbs_of_other_data_sets_are_no_rivals() -> None:
    one = objective("unstr")
    starts = np.random.default_rng(2).uniform(0.1, 3.0, (4, 3))
    assert climb(one, starts, race=Race(np.arange(4), np.full(4, -np.inf))).arrived.all()


def test_the_first_of_equal_climbs_leads() -> None:
    race = Race(np.array([0, 0, 1, 1, 1]), np.array([-np.inf, 2.0]))
    assert race.behind(np.array([1.0, 1.0, 1.0, 3.0, 2.0])).tolist() == [False, True, True, False, True]


def test_overtaken_climbs_go_on_where_the_winner_stalls() -> None:
    one, owner = objective("unstr"), np.zeros(3, np.int64)
    ends = climb(one, np.random.default_rng(3).uniform(0.1, 3.0, (3, 3)), race=Race(owner, np.array([-np.inf])))
    best = winners(ends, owner)
    before, steps = ends.evaluations.copy(), len(ends.path)
    ends.arrived[best] = False
    after = resumed(one, ends, owner, best, 200, 1e-12)
    rest = ends.overtaken
    assert after.arrived[rest].all()
    assert (after.evaluations[rest] > before[rest]).all()
    assert len(after.path) >= steps
    np.testing.assert_array_equal(after.path[-1], after.points.loglik)
    assert after.evaluations[best] == before[best]
