"""Wild bootstrap of Wald tests with a sandwich, against full matrices fitted again for every arrangement."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.inference.reference import reference_of_fit
from bayesmeta.inference.wild_bootstrap import wild_bootstrap
from bayesmeta.kernel.wild import MULTIPLIERS, multipliers, wild_statistics
from tests.support.dense_corrections import Robust, dense_model

SQUARE = "effect ~ I(year - 1990) + I((year - 1990)**2)"


def school(formula=SQUARE):
    """The first six of its districts, whose 64 arrangements can be counted."""
    data = bm.datasets.load("school")
    data = data[data["district"].isin(data["district"].unique()[:6])]
    return bm.fit(bm.specify(formula, data, S="var", random="1 | district/study"))


def berkey():
    data = bm.datasets.load("berkey98")
    return bm.fit(bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"]))


def dense_statistic(model, code, kind, L, null):
    """Wald statistic of a data set whose weights are those of the model."""
    robust = Robust(model, code)
    beta = robust.Phi @ model.X.T @ np.linalg.solve(robust.Sigma, model.y)
    away = L @ beta - null
    return away @ np.linalg.solve(L @ robust.covariance(kind) @ L.T, away)


def dense_statistics(fit, kind, L, null, arrangements):
    """Of the data and of every arrangement, each a data set of its own with a restricted fit as its mean."""
    spec = bm.Spec.from_tree(fit)
    model = dense_model(spec, [fit["estimate"][f"psi_{level.name}"].to_numpy() for level in spec.levels])
    code = np.unique(spec.levels[0].index, return_inverse=True)[1]
    robust = Robust(model, code)
    weighted = np.linalg.solve(robust.Sigma, model.X)
    q, P = L.shape
    equations = np.block([[model.X.T @ weighted, L.T], [L, np.zeros((q, q))]])
    restricted = np.linalg.solve(equations, np.r_[weighted.T @ model.y, null])[:P]
    mean, residual = model.X @ restricted, model.y - model.X @ restricted
    sets = [replace(model, y=mean + np.array(eta)[code] * residual) for eta in arrangements]
    return dense_statistic(model, code, kind, L, null), [dense_statistic(s, code, kind, L, null) for s in sets]


@pytest.mark.filterwarnings("ignore:bootstrap. the 32 arrangements")
@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2", "CR3"])
@pytest.mark.parametrize(
    ("make", "L", "null"),
    [
        (school, [[0, 1, 0]], [0.0]),
        (school, [[0, 1, 0], [0, 0, 1]], [0.0, 0.001]),
        (berkey, [[1, -1]], [0.5]),
        (berkey, [[1, 0], [0, 1]], [0.3, -0.3]),
    ],
)
def test_all_arrangements_as_full_matrices_have_them(kind, make, L, null):
    fit, L, null = make(), np.array(L, float), np.array(null)
    m = len(set(bm.Spec.from_tree(fit).levels[0].index.tolist()))
    observed, expected = dense_statistics(fit, kind, L, null, product((-1, 1), repeat=m))
    wild = wild_bootstrap(reference_of_fit(fit, kind, None, "a test"), "rademacher", 1000, None)
    own = wild_statistics(wild.bounded.made, L.T, L @ wild.used.beta - null, wild.eta)
    np.testing.assert_allclose(own, expected, rtol=1e-7)
    assert wild.enumerated
    assert wild.pvalue(L, null) == np.mean(np.array(expected) >= observed * (1 - 1e-7))
    assert own[-1] == pytest.approx(observed, rel=1e-7)


def test_what_is_printed_is_counted_over_all_arrangements():
    fit = school()
    test = bm.wald_test(fit, vcov="CR2", bootstrap="rademacher")
    plain = bm.wald_test(fit, vcov="CR2")
    L = np.eye(3)[1:]
    observed, expected = dense_statistics(fit, "CR2", L, np.zeros(2), product((-1, 1), repeat=6))
    assert test["pvalue"] == np.mean(np.array(expected) >= observed * (1 - 1e-7))
    for row, own in zip(L, test["contrast_pvalue"].values, strict=True):
        observed, expected = dense_statistics(fit, "CR2", row[None], np.zeros(1), product((-1, 1), repeat=6))
        assert own == np.mean(np.array(expected) >= observed * (1 - 1e-7))
    assert (test.attrs["bootstrap"], test.attrs["draws"], test.attrs["enumerated"]) == ("rademacher", 64, True)
    for name in ("statistic", "df1", "df2", "lower", "upper"):
        np.testing.assert_array_equal(test[name], plain[name])


def test_draws_come_near_to_all_arrangements():
    fit = school()
    every = bm.wald_test(fit, vcov="CR2", bootstrap="webb", draws=6**6)
    some = bm.wald_test(fit, vcov="CR2", bootstrap="webb", draws=4999, random_seed=1)
    again = bm.wald_test(fit, vcov="CR2", bootstrap="webb", draws=4999, random_seed=1)
    assert every.attrs["enumerated"]
    assert not some.attrs["enumerated"]
    p = float(every["pvalue"])
    assert some["pvalue"] == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 4999))
    assert some.identical(again)


def test_multipliers_have_mean_zero_and_variance_one():
    for kind, values in MULTIPLIERS.items():
        assert np.mean(values) == pytest.approx(0, abs=1e-15)
        assert np.mean(values**2) == pytest.approx(1, rel=1e-15)
        all_of_two = multipliers(kind, 2, 36, np.random.default_rng(1))
        assert len(np.unique(all_of_two.round(9), axis=0)) == len(values) ** 2


def test_few_clusters_take_six_values():
    data = bm.datasets.load("bcg")
    for n, kind in ((10, "webb"), (11, "rademacher")):
        fit = bm.fit(bm.specify("logor ~ ablat", data[:n], S="logorvar"))
        assert bm.wald_test(fit, vcov="CR1", bootstrap="wild", draws=99, random_seed=1).attrs["bootstrap"] == kind


WRONG = [
    ({}, 'bootstrap="wild" is for the tests of a sandwich'),
    ({"df": "satterthwaite"}, 'add vcov="CR2"'),
    ({"vcov": "CR2", "df": "z"}, "leave df out"),
    ({"vcov": "CR2", "bootstrap": "wyld"}, "bootstrap is 'wyld'; did you mean 'wild'?"),
    ({"vcov": "CR2", "draws": 0}, "draws is 0"),
    ({"vcov": "CR2", "random_seed": -1}, "random_seed is -1"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(bm.SpecError, match=re.escape(message)):
        bm.wald_test(school(), **{"bootstrap": "wild", **arguments})


def test_too_few_arrangements_are_said():
    data = bm.datasets.load("bcg")
    fit = bm.fit(bm.specify("logor ~ ablat", data[:5], S="logorvar"))
    with pytest.warns(bm.AssumptionWarning, match="32 arrangements of 2 values over 5 clusters have no p value below"):
        test = bm.wald_test(fit, vcov="CR2", bootstrap="rademacher")
    assert test["pvalue"] >= 1 / 16
    with pytest.warns(bm.AssumptionWarning, match="10 draws have no p value below"):
        bm.wald_test(fit, vcov="CR2", bootstrap="webb", draws=10)


@pytest.mark.filterwarnings("ignore:bootstrap. the 36 arrangements")
@pytest.mark.parametrize("df", ["z", "satterthwaite", "residual"])
def test_without_enough_clusters_there_is_no_test(df):
    data = bm.datasets.load("bcg").assign(half=lambda d: d["trial"] <= 6)
    fit = bm.fit(bm.specify("logor ~ ablat + year", data, S="logorvar"))
    with pytest.warns(bm.BoundaryWarning, match="no test: 2 clusters are too few for 2 contrasts"):
        test = bm.wald_test(
            fit, vcov={"kind": "CR0", "cluster": "half"}, df=df, bootstrap=None if df == "z" else "webb"
        )
    assert np.isnan(test["pvalue"])


def test_a_coefficient_of_one_cluster_alone_has_no_test():
    data = bm.datasets.load("bcg").assign(first=lambda d: (d["trial"] == 1) * 1.0)
    fit = bm.fit(bm.specify("logor ~ first + ablat", data, S="logorvar"))
    with pytest.warns(bm.BoundaryWarning, match="one cluster determines a coefficient alone"):
        test = bm.wald_test(fit, vcov="CR2", bootstrap="wild")
    assert np.isnan(test["pvalue"])
    assert np.isfinite(test["contrast_pvalue"][1])
