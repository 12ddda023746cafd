"""The contract of every structure in the register: a covariance matrix and a member of its family at every xi."""

import numpy as np
import pytensor.tensor as pt
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pytensor.compile.mode import Mode

from bayesmeta import structures
from bayesmeta.errors import SpecError
from bayesmeta.structures import REGISTER
from bayesmeta.structures.base import Structure

NEEDS_MATRIX = {"prop", "cor", "fixed"}
NEEDS_POSITIONS = {"car1", "hcar1"}
NEEDS_TWO = {"cs", "hcs", "ar1", "har1"} | NEEDS_POSITIONS


def make(name: str, dim: int, seed: int) -> Structure:
    if name in NEEDS_POSITIONS:  # as uneven as times are, in any unit
        rng = np.random.default_rng(seed)
        at = np.cumsum(rng.gamma(0.5, 1.0, dim) + 0.01) * 10 ** rng.uniform(-1, 2)
        return REGISTER[name](positions=at)  # type: ignore[call-arg]
    if name not in NEEDS_MATRIX:
        return structures.resolve(name)
    root = np.random.default_rng(seed).normal(size=(dim, dim + 1))
    return REGISTER[name](root @ root.T)  # type: ignore[call-arg]


def off_diagonal(M: np.ndarray) -> np.ndarray:
    return M[~np.eye(len(M), dtype=bool)]


def correlation(Psi: np.ndarray) -> np.ndarray:
    sd = np.sqrt(np.diag(Psi))
    return Psi / np.outer(sd, sd)


def same_variance(Psi: np.ndarray) -> bool:
    return bool(np.allclose(np.diag(Psi), Psi[0, 0], rtol=1e-12, atol=0))


def exchangeable(Psi: np.ndarray) -> bool:
    R = off_diagonal(correlation(Psi))
    return bool(np.allclose(R, R[0], rtol=0, atol=1e-12)) and -1 / (len(Psi) - 1) - 1e-12 <= R[0] <= 1 + 1e-12


def autoregressive(Psi: np.ndarray) -> bool:
    R = correlation(Psi)
    lag = np.abs(np.subtract.outer(np.arange(len(R)), np.arange(len(R))))
    return bool(np.allclose(R, R[0, 1] ** lag, rtol=0, atol=1e-12))


def continuous(Psi: np.ndarray, positions: np.ndarray) -> bool:
    R = correlation(Psi)
    lag = np.abs(np.subtract.outer(positions, positions))
    first, second = np.triu_indices(len(R), 1)
    nearest = np.argmin(lag[first, second])
    rho = R[first[nearest], second[nearest]] ** (1 / lag[first[nearest], second[nearest]])
    return bool(np.allclose(R, rho**lag, rtol=0, atol=1e-9)) and 0 <= rho <= 1


MEMBER = {
    "unstr": lambda Psi, s: True,
    "diag": lambda Psi, s: not off_diagonal(Psi).any(),
    "id": lambda Psi, s: not off_diagonal(Psi).any() and same_variance(Psi),
    "cs": lambda Psi, s: same_variance(Psi) and exchangeable(Psi),
    "hcs": lambda Psi, s: exchangeable(Psi),
    "ar1": lambda Psi, s: same_variance(Psi) and autoregressive(Psi),
    "har1": lambda Psi, s: autoregressive(Psi),
    "car1": lambda Psi, s: same_variance(Psi) and continuous(Psi, s.positions),
    "hcar1": lambda Psi, s: continuous(Psi, s.positions),
    "prop": lambda Psi, s: np.allclose(Psi, Psi[0, 0] / s.known[0, 0] * s.known, rtol=1e-12, atol=0),
    "cor": lambda Psi, s: np.allclose(correlation(Psi), correlation(s.known), rtol=0, atol=1e-12),
    "fixed": lambda Psi, s: np.array_equal(Psi, s.known),
}

cases = st.tuples(st.sampled_from(sorted(REGISTER)), st.integers(1, 5), st.integers(0, 2**32 - 1))


def draw(case: tuple[str, int, int]) -> tuple[Structure, int, np.ndarray]:
    name, dim, seed = case
    assume(dim > 1 or name not in NEEDS_TWO)
    structure = make(name, dim, seed)
    xi = np.random.default_rng(seed).normal(0, 2, structure.n_free(dim))
    assume((np.abs(xi) > 1e-3).all())
    return structure, dim, xi


def test_every_structure_has_a_membership_test() -> None:
    assert set(MEMBER) == set(REGISTER)


@given(cases)
def test_psi_is_a_covariance_matrix_of_its_family(case: tuple[str, int, int]) -> None:
    structure, dim, xi = draw(case)
    Psi = structure.psi(xi, dim)
    assert Psi.shape == (dim, dim)
    np.testing.assert_array_equal(Psi, Psi.T)
    assert np.linalg.eigvalsh(Psi)[0] >= -1e-13 * np.abs(Psi).max()
    if dim > 1:
        assert MEMBER[structure.name](Psi, structure)


@given(cases, st.integers(0, 2**32 - 1))
def test_pullback_is_the_derivative(case: tuple[str, int, int], seed: int) -> None:
    structure, dim, xi = draw(case)
    weight = np.random.default_rng(seed).normal(size=(dim, dim))
    weight = weight + weight.T
    h = 1e-6

    def slope(i: int) -> float:
        step = np.zeros(len(xi))
        step[i] = h * max(1.0, abs(xi[i]))
        change = structure.psi(xi + step, dim) - structure.psi(xi - step, dim)
        return float((weight * change).sum() / (2 * step[i]))

    expected = np.array([slope(i) for i in range(len(xi))])
    scale = np.abs(weight).max() * np.abs(structure.psi(xi, dim)).max()
    np.testing.assert_allclose(structure.pullback(xi, weight, dim), expected, rtol=1e-6, atol=1e-7 * scale)


@given(cases, st.integers(1, 4))
def test_a_data_set_axis_changes_nothing(case: tuple[str, int, int], n: int) -> None:
    structure, dim, xi = draw(case)
    several = np.stack([xi * (1 + i / 7) for i in range(n)], axis=-1)
    Psi = np.broadcast_to(structure.psi(several, dim), (dim, dim, n))
    weight = np.eye(dim)[..., None] + np.zeros(n)
    slope = structure.pullback(several, weight, dim)
    for i in range(n):
        np.testing.assert_allclose(Psi[..., i], structure.psi(several[:, i], dim), rtol=1e-14)
        np.testing.assert_allclose(slope[:, i], structure.pullback(several[:, i], np.eye(dim), dim), rtol=1e-13)


@given(cases)
def test_start_is_near_the_moments_and_not_singular(case: tuple[str, int, int]) -> None:
    structure, dim, xi = draw(case)
    if structure.name == "fixed":
        return
    member = structure.psi(np.abs(xi), dim) if structure.name != "unstr" else structure.psi(xi, dim)
    started = structure.psi(structure.start(member), dim)
    assert np.linalg.eigvalsh(started + 0.0)[-1] > 0
    np.testing.assert_allclose(np.trace(started), np.trace(member), rtol=0.05)


@pytest.mark.parametrize("name", sorted(set(REGISTER) - NEEDS_TWO))
def test_the_parameter_of_one_effect_is_proportional_to_its_sd(name: str) -> None:
    """As the searches of many data sets take it, which start together."""
    structure = make(name, 1, seed=4)
    if structure.n_free(1) == 1:
        one, four = (structure.start(np.full((1, 1), moment)) for moment in (1.0, 4.0))
        np.testing.assert_allclose(four, 2 * one, rtol=1e-15)


@given(cases)
def test_one_label_and_one_unit_per_parameter(case: tuple[str, int, int]) -> None:
    structure, dim, xi = draw(case)
    effects = [f"e{i}" for i in range(dim)]
    assert len(structure.labels(effects)) == len(set(structure.labels(effects))) == len(xi)
    assert len(structure.units(np.full(dim, 2.0))) == len(structure.lower(dim)) == len(xi)


@given(cases)
def test_plain_form_round_trip(case: tuple[str, int, int]) -> None:
    structure, dim, xi = draw(case)
    again = structures.from_json(structure.to_json())
    assert again == structure
    np.testing.assert_array_equal(again.psi(xi, dim), structure.psi(xi, dim))


@given(cases)
def test_written_once_for_both_array_libraries(case: tuple[str, int, int]) -> None:
    structure, dim, xi = draw(case)
    Psi = pt.as_tensor_variable(structure.psi(pt.constant(xi), dim)).eval(mode=Mode(linker="py", optimizer=None))
    np.testing.assert_allclose(np.broadcast_to(Psi, (dim, dim)), structure.psi(xi, dim), rtol=1e-14)


@pytest.mark.parametrize("name", sorted(NEEDS_TWO - NEEDS_POSITIONS))
def test_correlation_needs_two_effects(name: str) -> None:
    with pytest.raises(SpecError, match=f"'{name}' needs at least 2"):
        structures.resolve(name).check(1)


def test_unknown_name_is_suggested() -> None:
    with pytest.raises(SpecError, match="did you mean 'unstr'"):
        structures.resolve("unstrr")


@pytest.mark.parametrize("name", sorted(NEEDS_MATRIX))
def test_matrix_must_be_given(name: str) -> None:
    with pytest.raises(SpecError, match="needs a matrix"):
        structures.resolve(name)


@pytest.mark.parametrize("name", sorted(NEEDS_MATRIX))
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], "not positive semi-definite: smallest eigenvalue -1"),
        ([[1.0, 0.5], [0.2, 1.0]], "not symmetric"),
        ("unstr", "is 'unstr'; it must be numbers"),
        ([[1.0, 0.5], [0.5]], "is ragged: position 1 has shape"),
        ([[1.0, 0.5]], r"shape \(1, 2\)"),
        ([[1.0, np.nan], [np.nan, 1.0]], "not finite"),
    ],
)
def test_matrix_is_checked(name: str, matrix: list[list[float]], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        REGISTER[name](matrix)  # type: ignore[call-arg]


def test_matrix_of_the_wrong_size() -> None:
    with pytest.raises(SpecError, match="2 x 2; the level has 3"):
        structures.Proportional(np.eye(2)).check(3)  # type: ignore[attr-defined]


def test_zero_matrices_that_leave_nothing_to_estimate() -> None:
    with pytest.raises(SpecError, match="for a level without variance"):
        structures.Proportional(np.zeros((2, 2)))  # type: ignore[attr-defined]
    with pytest.raises(SpecError, match="zero on its diagonal"):
        structures.KnownCorrelation(np.diag([1.0, 0.0]))  # type: ignore[attr-defined]


@given(cases, st.integers(0, 2**32 - 1))
def test_second_derivatives(case: tuple[str, int, int], seed: int) -> None:
    structure, dim, xi = draw(case)
    weight = np.random.default_rng(seed).normal(size=(dim, dim))
    weight = weight + weight.T
    H, h = structure.curvature(xi, weight, dim), 1e-5
    assert H.shape == (len(xi), len(xi))
    for i, step in enumerate(h * np.eye(len(xi))):
        change = structure.pullback(xi + step, weight, dim) - structure.pullback(xi - step, weight, dim)
        scale = np.abs(weight).max() * (1 + np.abs(xi).max()) ** 2
        np.testing.assert_allclose(H[i], change / (2 * h), atol=1e-6 * scale)


@given(cases, st.integers(0, 2**32 - 1))
def test_psi_moves_along_theta(case: tuple[str, int, int], seed: int) -> None:
    """dPsi/dxi = dPsi/dtheta dtheta/dxi; and second derivatives of theta."""
    structure, dim, xi = draw(case)
    if not len(xi):
        return
    D, J = structure.directions(xi, dim), structure.theta_jacobian(xi, dim)
    weight, h = np.random.default_rng(seed).normal(size=len(J)), 1e-5
    scale = (1 + np.abs(xi).max()) ** 2 * max(1.0, np.abs(D).max())
    bend = structure.theta_curvature(xi, weight, dim)
    for i, step in enumerate(h * np.eye(len(xi))):
        change = structure.psi(xi + step, dim) - structure.psi(xi - step, dim)
        np.testing.assert_allclose((D @ J)[:, :, i], change / (2 * h), atol=1e-6 * scale)
        change = structure.theta(xi + step, dim) - structure.theta(xi - step, dim)
        np.testing.assert_allclose(J[:, i], change / (2 * h), atol=1e-6 * scale)
        change = (structure.theta_jacobian(xi + step, dim) - structure.theta_jacobian(xi - step, dim)).T @ weight
        np.testing.assert_allclose(bend[i], change / (2 * h), atol=1e-5 * scale)


@given(cases)
@example(
    ("hcar1", 5, 1033)
)  # rho is zero in the range of numbers over one unit of time, not over the shortest distance
def test_variances_bend_psi_as_their_slopes_change(case: tuple[str, int, int]) -> None:
    """Slopes by (co)variances change along xi as second derivatives say, times the change of these parameters."""
    structure, dim, xi = draw(case)
    slopes, bends = structure.variance_slopes(xi, dim), structure.variance_bends(xi, dim)
    m = slopes.shape[2]
    assert bends.shape == (dim, dim, m, m)
    np.testing.assert_allclose(bends, bends.swapaxes(2, 3), atol=1e-12 * (1 + np.abs(bends).max(initial=0.0)))
    if not bends.any():
        return
    h = 1e-6
    flat = slopes.reshape(-1, m)
    for step in h * np.eye(len(xi)):
        moved = (structure.psi(xi + step, dim) - structure.psi(xi - step, dim)).ravel()
        change = np.linalg.lstsq(flat, moved, rcond=None)[0]  # of the parameters of the slopes
        by_slopes = structure.variance_slopes(xi + step, dim) - structure.variance_slopes(xi - step, dim)
        scale = 1 + np.abs(bends).max() * np.abs(change).max() / h
        np.testing.assert_allclose(bends @ change / h, by_slopes / h, atol=1e-5 * scale)


@pytest.mark.parametrize("name", ["hcs", "har1"])
def test_a_family_that_says_no_more_bends_by_xi(name: str) -> None:
    """What the base class has for families from outside: derivatives by xi itself."""
    structure, xi, dim, h = REGISTER[name](), np.array([0.4, 0.8, 0.6, 1.1]), 3, 1e-6
    bends = Structure.variance_bends(structure, xi, dim)
    for i, step in enumerate(h * np.eye(4)):
        change = structure.directions(xi + step, dim) - structure.directions(xi - step, dim)
        np.testing.assert_allclose(bends[:, :, i], change / (2 * h), atol=1e-7)


@given(cases)
def test_the_canonical_parameters_have_the_same_psi(case: tuple[str, int, int]) -> None:
    structure, dim, xi = draw(case)
    if np.isfinite(structure.lower(dim)).any():
        xi = np.where(np.isfinite(structure.lower(dim)), np.abs(xi), xi)
    same = structure.canonical(xi, dim)
    assert (same[structure.zero_positions(dim)] >= 0).all()
    size = np.abs(structure.psi(xi, dim)).max(initial=0.0)
    np.testing.assert_allclose(structure.psi(same, dim), structure.psi(xi, dim), atol=1e-12 * size)


@given(cases)
def test_scattered_members_are_finite(case: tuple[str, int, int]) -> None:
    structure, dim, xi = draw(case)
    share = np.random.default_rng(case[2]).random((len(xi), 5))
    assert np.isfinite(structure.psi(structure.scatter(share, lambda u: u, dim), dim)).all()


@pytest.mark.parametrize("name", sorted(set(REGISTER) - {"fixed"}))
@pytest.mark.parametrize("dim", [2, 3, 4])
def test_correlations_fill_the_range_that_a_structure_names(name: str, dim: int) -> None:
    structure, rng = make(name, dim, dim), np.random.default_rng(dim)
    xi = structure.scatter(rng.uniform(size=(structure.n_free(dim), 4_000)), lambda share: 0.1 + share, dim)
    Psi = np.broadcast_to(structure.psi(xi, dim), (dim, dim, 4_000))
    for first, second in zip(*np.triu_indices(dim, 1), strict=True):
        rho = Psi[first, second] / np.sqrt(Psi[first, first] * Psi[second, second])
        low, high = structure.rho_range(int(first), int(second), dim)
        assert rho.min() >= low - 1e-12
        assert rho.max() <= high + 1e-12
        assert rho.min() <= low + 0.1
        assert rho.max() >= high - 0.1
