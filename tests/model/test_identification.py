"""Aliased coefficients and variances that the data cannot identify: named when certain, never when not."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.model.identification import check_rank

HELD = "REML holds it at 0, by ML the likelihood rises until it is 0"


def table() -> pd.DataFrame:
    """40 rows in 20 groups g of two; h numbers the rows, s the rows of a group."""
    rng = np.random.default_rng(11)
    n = 40
    data = pd.DataFrame(rng.normal(size=(n, 3)), columns=["y", "z", "x"])
    data["g"], data["h"], data["s"] = np.arange(n) // 2, np.arange(n), np.arange(n) % 2
    data["all"], data["zero_one"], data["year"] = 1, data.g % 2, rng.integers(1998, 2003, n)
    data["even"], data["odd"] = data.y.where(data.s == 0), data.z.where(data.s == 1)
    return data.assign(v=0.1, w=0.2)


def reservations(formula="y ~ 1", S="v", data=None, **options) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bm.specify(formula, table() if data is None else data, S=S, **options)
    return [str(w.message) for w in caught if issubclass(w.category, bm.BoundaryWarning)]


TWO = {"formula": "y + z ~ 1", "S": np.tile([0.1, 0.02, 0.2], (40, 1))}
APART = {"formula": "even + odd ~ 1", "S": np.tile([0.1, 0.02, 0.2], (40, 1))}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"random": "1 | g/h"},
        {"random": "1 | g/s"},
        {"random": "1 + x | g"},
        {"random": "1 + x | h"},
        {"random": "1 + year | g"},
        {"random": "1 + year + I(year**2) | g"},
        {"random": "1 + x | g/h"},
        {"random": "1 + zero_one | g", "psi": "diag"},
        {"random": {"h": "1", "s": "1"}, "psi": {"h": "unstr", "s": bm.structures.Fixed([[0.1]])}},
        {"random": {"all": "0", "g": "1"}},
        {"formula": "y ~ C(zero_one)", "random": "1 | g"},
        {**TWO},
        {**TWO, "psi": "cs"},
        {**TWO, "psi": "ar1", "random": "1 | g/h"},
        {**TWO, "psi": bm.structures.Proportional(np.array([[2.0, 1.0], [1.0, 3.0]]))},
        {**APART, "psi": "diag"},
        {**APART, "psi": "id"},
        {**APART, "random": "1 | g"},
    ],
    ids=str,
)
def test_what_can_be_identified_gives_no_warning(options):
    assert reservations(**options) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"random": "1 | h/s"}, ["variance of Intercept (h)", "variance of Intercept (s)"]),
        ({"random": {"h": "1 + x", "s": "1"}}, ["variance of Intercept (h)", "variance of Intercept (s)"]),
        (
            {"random": {"h": "1", "s": "1 + x"}, "psi": {"h": "unstr", "s": "diag"}},
            ["variance of Intercept (h)", "variance of Intercept (s)"],
        ),
        ({"random": "1 + zero_one | g"}, ["covariance of Intercept and zero_one (g)", "variance of zero_one (g)"]),
        ({"random": "1 + all | g", "psi": "diag"}, ["variance of Intercept (g)", "variance of all (g)"]),
        ({**APART}, ["covariance of even and odd (unit)"]),
        ({**APART, "psi": "cs"}, ["covariance of even and odd (unit)"]),
        (
            {**TWO, "random": "1 | h/s", "psi": "diag"},
            ["variance of y (h)", "variance of z (h)", "variance of y (s)", "variance of z (s)"],
        ),
        (
            {**TWO, "random": "1 | h/s", "psi": "cs"},
            [
                *("variance of y (h)", "covariance of y and z (h)", "variance of z (h)"),
                *("variance of y (s)", "covariance of y and z (s)", "variance of z (s)"),
            ],
        ),
    ],
    ids=str,
)
def test_what_cannot_be_told_apart_is_named_and_nothing_else(options, named):
    (sentence,) = reservations(**options)
    first, _, remedy = sentence.partition("\n")
    assert first == "the data cannot identify, or tell apart, " + ", ".join(f"the {entry}" for entry in named)
    nested = "1 | h/s" in str(options) or {"h", "s"} <= {*options.get("random", ())}
    assert (remedy != "") == nested
    assert nested == ("every group of 'h' has one group of 's'" in remedy)


def test_units_of_a_predictor_do_not_matter():
    for unit in (1e-6, 1.0, 1e6):
        data = table()
        data["x"] *= unit
        assert reservations(data=data, random="1 + x | g") == []
        (sentence,) = reservations(data=data, random={"h": "1 + x", "s": "x"}, psi="diag")
        for entry in ("Intercept (h)", "Intercept (s)", "x (h)", "x (s)"):
            assert f"the variance of {entry}" in sentence


def test_one_group_has_no_variance():
    assert reservations(random="1 | all/g") == [
        "the data cannot identify the variance of level 'all', which has one group; " + HELD
    ]
    assert reservations(random="1 | all", psi=bm.structures.Fixed([[0.2]])) == []
    one = pd.DataFrame({"y": [1.0], "v": [0.1]})
    (sentence,) = reservations(data=one)
    assert sentence == "the data cannot identify the variance of level 'unit', which has one group; " + HELD


def test_fixed_effects_of_every_group_take_up_its_variance():
    sentence = (
        "the data cannot identify the variance of level 'g', since the fixed part has an effect for each of its "
        "groups; " + HELD
    )
    assert reservations("y ~ C(g)", random="1 | g/h") == [sentence]
    assert reservations("y ~ 0 + C(g)", random="1 | g") == [sentence]


def test_an_observation_that_the_fixed_part_fits_exactly_says_nothing():
    data = table()
    once = data.assign(z=data.z.where(data.h == 0), d=(data.h == 3).astype(float))
    taken = "the data cannot identify the variance of z (unit), which has one group; " + HELD
    for psi in ("diag", "unstr", "hcs"):
        assert reservations("y + z ~ 1", ["v", "w"], once, psi=psi) == [taken]
    assert reservations("y + z ~ 1", ["v", "w"], once, psi="id") == []
    assert "the variance of d (g)" in reservations("y ~ d", data=once, random="d | g")[0]
    assert reservations("y ~ 1", data=once, random="d | g", psi="diag") == []


# ---- the fixed part


def test_rank_does_not_depend_on_units_or_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4))
    check_rank(X * [1e-8, 1.0, 1e8, 1e15], "abcd")
    X[:, 3] = X[:, 0] - 2 * X[:, 2]
    for rows in (slice(None), rng.permutation(30)):
        with pytest.raises(SpecError, match="'d' follows from a, c\n"):
            check_rank(X[rows] * [1e-8, 1.0, 1e8, 1e15], "abcd")


def test_every_aliased_column_is_named():
    X = np.random.default_rng(0).normal(size=(30, 5))
    X[:, 2] = X[:, 0] + X[:, 1]
    X[:, 4] = 2 * X[:, 3]
    with pytest.raises(
        SpecError, match="aliased columns: 'c' follows from a, b; 'e' follows from d\n  5 coefficients, rank 3"
    ):
        check_rank(X, "abcde")
