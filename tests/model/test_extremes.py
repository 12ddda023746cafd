"""Numbers outside the ranges in which results have the digits stated are refused with words, in every place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import AssumptionWarning, DataError, SpecError

ROW = 4


def data(**changes: float) -> pd.DataFrame:
    """Ten rows in five groups; a column of each name, with the value at `ROW`, or times a factor throughout."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": list("aabbccddee"), "y": rng.normal(size=10), "x": rng.normal(size=10)})
    frame = frame.assign(v=rng.uniform(0.1, 0.5, 10), y2=rng.normal(size=10), v2=0.2, o=rng.normal(size=10))
    for name, value in changes.items():
        frame[name] = frame[name].where(frame.index != ROW, value)
    return frame


def specified(frame: pd.DataFrame, formula: str = "y ~ x", **options: Any) -> bm.Spec:
    return bm.specify(formula, frame, **({"S": "v", "random": "1 | g"} | options))


@pytest.mark.parametrize("v", [1e-300, 5e-324, 1e300, 1e-101, 1e101])
def test_sampling_variances_beyond_numbers(v: float) -> None:
    with pytest.raises(DataError, match=r"^sampling variance is .* in row 4 \(column v\); it must be at"):
        specified(data(v=v))


@pytest.mark.parametrize("v", [0.9e-12, 2e12, 1e-40, 1e60])
def test_sampling_variances_far_from_their_median(v: float) -> None:
    with pytest.raises(DataError, match=r"^sampling variance is .* in row 4 \(column v\), .* of the median 0.2"):
        specified(data(v=0.2).assign(v=lambda d: np.where(d.index == ROW, 0.2 * v, 0.2)))


@pytest.mark.parametrize("v", [1.0e-12, 1.0e12])
def test_sampling_variances_at_the_ends_of_the_range(v: float) -> None:
    frame = data().assign(v=lambda d: np.where(d.index == ROW, v, 1.0))
    assert bm.fit(specified(frame), "fixed")["estimate"]["beta"].notnull().all()


@pytest.mark.parametrize("factor", [1e-60, 1e-30, 1e30])
def test_outcomes_in_different_units_are_not_unequal(factor: float) -> None:
    frame = data().assign(y2=lambda d: d["y2"] * factor, v2=lambda d: d["v2"] * factor**2)
    if factor**2 < 1e-100:
        with pytest.raises(DataError, match="y2 in row 0"):
            specified(frame, "y + y2 ~ x", S=["v", "v2"], S_correlation=0.5)
    else:
        specified(frame, "y + y2 ~ x", S=["v", "v2"], S_correlation=0.5)


@pytest.mark.parametrize("size", [1e51, -1e200, 1e308])
@pytest.mark.parametrize(
    ("name", "message", "formula", "options"),
    [
        ("y", "outcome 'y'", "y ~ x", {}),
        ("y2", "the outcome", "y + y2 ~ x", {"S": ["v", "v2"], "S_correlation": 0.5}),
        ("x", "predictor 'x'", "y ~ x", {}),
        ("o", "the offset", "y ~ x + offset(o)", {}),
        ("o", "the offset", "y ~ x", {"offset": "o"}),
        ("x", "the design of the random effect 'x' of level 'g'", "y ~ 1", {"random": "1 + x | g"}),
    ],
)
def test_numbers_too_large(name: str, message: str, formula: str, options: dict[str, Any], size: float) -> None:
    with pytest.raises(
        DataError, match=rf"^{message} is {size:.6g} in .*row 4; its size must be at most".replace("+", r"\+")
    ):
        specified(data(**{name: size}), formula, **options)


@pytest.mark.parametrize("factor", [1e-60, 1e-300, 1e-310])
def test_columns_too_small(factor: float) -> None:
    frame = data().assign(x=lambda d: d["x"] * factor)
    with pytest.raises(
        DataError, match=r"^predictor 'x' is at most .* \(in row \d\); its largest value must be at least"
    ):
        specified(frame)
    with pytest.raises(DataError, match="random effect 'x' of level 'g'"):
        specified(frame, "y ~ 1", random="1 + x | g")


def test_single_tiny_values_do_no_harm() -> None:
    specified(data(x=1e-300, y=1e-300, o=5e-324), "y ~ x + offset(o)", random="1 + x | g")


def test_outcomes_whose_last_digit_exceeds_their_error() -> None:
    with pytest.raises(DataError, match=r"^outcome 'y' is 1e\+14 in row 4, .* of its standard error"):
        specified(data(y=1e14))


@pytest.mark.parametrize(
    ("structure", "size"),
    [
        (bm.structures.Fixed, 1e308),
        (bm.structures.Fixed, 1e-320),
        (bm.structures.Proportional, 1e308),
        (bm.structures.Proportional, 1e-320),
        (bm.structures.KnownCorrelation, 1e308),
        (bm.structures.KnownCorrelation, 1e-320),
    ],
)
def test_matrices_beyond_numbers(structure: Callable[[Any], Any], size: float) -> None:
    with pytest.raises(SpecError, match="largest entry"):
        structure(size * np.eye(2))


def test_given_psi_that_leaves_nothing_of_the_sampling_errors() -> None:
    with pytest.raises(DataError, match=r"^the given Psi of level 'g' is a variance of 1e\+20 in row 0"):
        specified(data(), psi=bm.structures.Fixed([[1e20]]))


def test_given_psi_of_zero_is_named() -> None:
    with pytest.warns(AssumptionWarning, match="psi of level 'g' is given as zero: nothing varies between groups"):
        spec = specified(data(), psi=bm.structures.Fixed([[0.0]]))
    assert any("given as zero" in note for note in spec.notes)


@pytest.mark.parametrize("size", [2, 6, 30])
@pytest.mark.parametrize("distance", [1e-13, 5e-13, 1e-15, 0.0])
def test_nearly_singular_blocks(size: int, distance: float) -> None:
    rng, g = np.random.default_rng(1), np.repeat(np.arange(3), size)
    n = len(g)
    S = np.where(np.eye(n) == 1, 1.0, (1 - distance) * (g[:, None] == g))
    S = np.where((g[:, None] == 2) & (g[None] == 2), S, np.eye(n))
    frame = pd.DataFrame({"y": rng.normal(size=n), "g": g})
    with pytest.raises(DataError, match=r"^sampling covariance of g 2 is (nearly singular|not positive definite) \("):
        bm.specify("y ~ 1", frame, S=S, groups="g")


@pytest.mark.parametrize("rho", [1 - 1e-13, -1 + 1e-13])
def test_nearly_singular_rows(rho: float) -> None:
    with pytest.raises(DataError, match=r"^sampling covariance of row 0 is nearly singular"):
        specified(data(), "y + y2 ~ 1", S=["v", "v2"], S_correlation=rho, random=None)


@pytest.mark.parametrize("make", [bm.within.correlated, bm.within.ar1])
def test_nearly_singular_blocks_of_constructed_covariances(make: Callable[..., Any]) -> None:
    frame = data()
    with pytest.raises(DataError, match=r"^sampling covariance of g .* is nearly singular"):
        specified(frame, S=make(frame, variance="v", rho=1 - 1e-13, group="g"))
    specified(frame, S=make(frame, variance="v", rho=1 - 1e-9, group="g"))


def many(change: Callable[[Any, Any], None], outcomes: int = 2) -> None:
    """`fit_many` of three data sets after a change of Y (dataset, row, outcome) and S, of two outcomes."""
    names = ["y", "y2"][:outcomes]
    spec = specified(data(), f"{' + '.join(names)} ~ 1", S=["v", "v2"][:outcomes], random=None, psi="diag")
    Y = np.repeat(data()[names].to_numpy()[None], 3, axis=0)
    S = np.tile(0.2 * (0.5 + 0.5 * np.eye(outcomes)), (3, 10, 1, 1))
    change(Y, S)
    bm.fit_many(spec, Y, S)


def put(array: int, place: Any, value: Any) -> Callable[[Any, Any], None]:
    def change(*arrays: Any) -> None:
        arrays[array][place] = value

    return change


@pytest.mark.filterwarnings("ignore:S holds variances only")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(0, (1, ROW, 1), 1e200), r"^Y is 1e\+200 in data set 1, row 4, outcome y2; its size must be at most"),
        (put(0, (1, ROW, 0), 1e14), r"^Y is 1e\+14 in data set 1, row 4, outcome y, .* of its standard error"),
        (
            put(1, (1, ROW, 1, 1), 0.0),
            "^S is not positive definite in data set 1, row 4, outcome y2: the variance is 0",
        ),
        (put(1, (1, ROW, 0, 0), 1e-300), "^the variance in S is 1e-300 in data set 1, row 4, outcome y; it must be at"),
        (
            put(1, (1, ROW, 0, 0), 1e-14),
            "^the variance in S is 1e-14 in data set 1, row 4, outcome y, .* of the median",
        ),
        (put(1, (1, ROW, [0, 1], [1, 0]), 0.2 - 2e-14), "^S is nearly singular in data set 1, row 4"),
        (put(1, (1, ROW, [0, 1], [1, 0]), 0.3), "^S is not positive definite in data set 1, row 4"),
    ],
)
def test_many_data_sets(change: Callable[[Any, Any], None], message: str) -> None:
    with pytest.raises(DataError, match=message):
        many(change)


@pytest.mark.filterwarnings("ignore:S holds variances only")
def test_many_data_sets_inside_the_range() -> None:
    many(put(1, (1, ROW, [0, 1], [1, 0]), 0.2 - 2e-12))
