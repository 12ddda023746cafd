"""Every estimate and variance of the stored reference, by `escalc`, and pooled counts with their tests."""

from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import gammaln, xlogy
from scipy.stats import multivariate_normal

import bayesmeta as bm
from bayesmeta import effects
from bayesmeta.effects.recipe import ALIASES, RECIPES
from tests.support.reference import read_reference

FILES = [
    *("two_by_two_bcg", "two_by_two_zero_cells", "rates_two_groups_hart", "means_two_groups_normand", "means_pooled"),
    *("means_two_groups_variances", "smd_from_d", "smd_from_t", "smd_from_p", "correlations_mcdaniel"),
    *("partial_correlations_aloe", "r_squared_aloe", "proportions_pritz", "rates_one_group", "means_one_group"),
    *("change_pre_post", "reliability_bonett"),
]
OF_ONE_STATISTIC = {"smd_from_d": "di", "smd_from_t": "ti", "smd_from_p": "pi"}
TETRACHORIC = {"RTET", "ZTET"}  # whose reference is the end of a search by function values alone
BY_GRID = "R2F"  # whose reference sums over a grid that leaves out what is near zero
DIVIDED = "ZR2F"  # whose reference has another derivative of atanh(R) by R squared than 1 / (2 R (1 - R^2))
UNBIASED = "UCOR"  # whose reference has a library's series near its edge: 8e-4 off where r = 0.05 and n = 12


def cases() -> Iterator[Any]:
    files = [(name, read_reference(f"effects/{name}")) for name in FILES]
    more = [(case["id"], case) for case in read_reference("effects/more_measures")["cases"]]
    for name, held in (*files, *more):
        for key, expected in held["expected"].items():
            yield pytest.param(name, held["data"], key, expected, id=f"{name} {key}")


def options(words: list[str]) -> dict[str, Any]:
    """`add=0.25 to=all` as arguments."""
    read = {"TRUE": True, "FALSE": False}
    pairs = [word.split("=") for word in words]
    return {name: float(value) if name == "add" else read.get(value, value) for name, value in pairs}


def numbers(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize(("name", "data", "key", "expected"), list(cases()))
def test_escalc_equals_the_reference(name, data, key, expected):
    measure, *words = key.split(" ")
    frame = pd.DataFrame({column: numbers(values) for column, values in data.items()})
    used = [OF_ONE_STATISTIC[name], "n1i", "n2i"] if name in OF_ONE_STATISTIC else list(frame)
    table = effects.escalc(measure, frame, **{column: column for column in used}, **options(words))
    y, v = numbers(expected["yi"]), numbers(expected["vi"])
    has = v > 0  # elsewhere there is no estimate
    assert (np.isnan(table["y"]) == ~has).all()
    assert has.any()
    if measure == UNBIASED:
        has &= np.abs(numbers(data["ri"])) > 0.1
    tolerance = 3e-3 if measure in TETRACHORIC else 1e-10
    of_variances = 1e-4 if measure in TETRACHORIC else 6e-4 if measure == BY_GRID else 1e-10
    if key == "UCOR vtype=AV":
        of_variances = 1e-5  # their mean has it too
    if measure == DIVIDED:
        r2 = numbers(data["r2i"])
        v = v * (1 - r2**2) ** 2 / (4 * r2 * (1 - r2) ** 2)
        of_variances = 6e-4
    np.testing.assert_allclose(table["y"][has], y[has], rtol=tolerance, atol=1e-14)
    np.testing.assert_allclose(table["v"][has], v[has], rtol=of_variances)


def test_the_reference_has_every_measure():
    held = {case.values[2].split(" ")[0] for case in cases()}
    names = {name for name, recipe in RECIPES.items() if recipe.metafor == name}
    assert names <= held | {ALIASES.get(name, name) for name in held}


@pytest.mark.parametrize(
    ("r2", "m", "n"), [(0.02, 1, 12), (0.1, 3, 40), (0.5, 2, 300), (0.0, 1, 30), (0.97, 6, 25), (0.4, 30, 80)]
)
def test_variances_of_r_squared_with_chosen_predictors_are_integrals(r2, m, n):
    """Against adaptive integration with the density of F as a mixture over a Poisson variable."""
    table = effects.escalc("R2F", pd.DataFrame({"r2": [r2]}), r2i="r2", mi=m, ni=n)
    j = np.arange(20_000 if r2 else 1)
    fixed = gammaln((n - 1) / 2 + j) - gammaln(m / 2 + j) - gammaln(j + 1) + j * np.log(r2 or 1.0)

    def moment(rho2, power):
        half = n * rho2 / (1 - rho2) / 2
        return rho2**power * np.exp(xlogy(j, half) - half + fixed - fixed.max()).sum()

    ends = {"points": [r2, (1 + r2) / 2], "epsabs": 0, "epsrel": 1e-11, "limit": 200}
    whole, first, second = (quad(moment, 0, 1, (power,), **ends)[0] for power in range(3))
    assert table["v"][0] == pytest.approx(second / whole - (first / whole) ** 2, rel=1e-7)


def test_tetrachoric_correlations_give_every_cell_its_share():
    """The likelihood cannot be higher than where the distribution has the shares of the table."""
    table = pd.DataFrame(read_reference("effects/two_by_two_bcg")["data"])
    found = effects.escalc("RTET", table, ai="ai", bi="bi", ci="ci", di="di")["y"]
    for (_, row), r in zip(table.iterrows(), found, strict=True):
        n = row.sum()
        cuts = [bm_quantile((row.ai + row.bi) / n), bm_quantile((row.ai + row.ci) / n)]
        share = multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf(cuts)
        assert share == pytest.approx(row.ai / n, rel=1e-7)


def bm_quantile(p: float) -> float:
    return float(mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1))


@pytest.mark.parametrize("cells", [(40, 10, 10, 40), (4, 119, 11, 128), (3, 50, 60, 7), (500, 2, 3, 9)])
def test_the_variance_of_tetrachoric_correlations_is_the_inverse_information(cells):
    """Of the multinomial likelihood in both cuts and the correlation, by numerical derivatives."""
    n = sum(cells)
    r = effects.tetrachoric_correlation(
        dict(zip("abcd", ([cell] for cell in cells), strict=True)), ("a", "c"), no_events=("b", "d")
    )
    at = [bm_quantile((cells[0] + cells[1]) / n), bm_quantile((cells[0] + cells[2]) / n), r["y"].item()]

    def shares(h, k, rho):
        both = mpmath.quad(
            lambda x: mpmath.npdf(x) * mpmath.ncdf((k - rho * x) / mpmath.sqrt(1 - rho**2)), [-mpmath.inf, -2, h]
        )
        return [both, mpmath.ncdf(h) - both, mpmath.ncdf(k) - both, 1 - mpmath.ncdf(h) - mpmath.ncdf(k) + both]

    step = mpmath.mpf("1e-6")
    slopes = []
    for i in range(3):
        up, down = ([x + s * step * (j == i) for j, x in enumerate(map(mpmath.mpf, at))] for s in (1, -1))
        slopes.append([(a - b) / (2 * step) for a, b in zip(shares(*up), shares(*down), strict=True)])
    J = np.array(slopes, dtype=float)
    information = n * (J / (np.array(cells) / n)) @ J.T
    assert r["v"].item() == pytest.approx(np.linalg.inv(information)[2, 2], rel=1e-5)


@pytest.mark.parametrize(
    ("r", "n"), [(0.05, 12), (0.3, 6), (-0.99, 5), (0.0001, 9), (0.77, 101), (0.4, 4000), (0.05, 1000)]
)
def test_unbiased_correlations_have_the_hypergeometric_function(r, n):
    table = effects.unbiased_correlation({"r": [r], "n": [n]}, "n", r="r", variance="UB")
    with mpmath.workdps(40):
        y = r * mpmath.hyp2f1(0.5, 0.5, mpmath.mpf(n - 2) / 2, 1 - mpmath.mpf(r) ** 2)
        free = 1 - mpmath.mpf(r) ** 2
        square = 1 - mpmath.mpf(n - 3) / (n - 2) * free * mpmath.hyp2f1(1, 1, mpmath.mpf(n) / 2, free)
    if not table["y"].isna().all():
        assert table["y"].item() == pytest.approx(float(y), rel=1e-12)
        assert table["v"].item() == pytest.approx(float(y**2 - square), rel=1e-8, abs=1e-12)
    plain = effects.unbiased_correlation({"r": [r], "n": [n]}, "n", r="r")
    assert plain["y"].item() == pytest.approx(float(y), rel=1e-12)


POOLED = {"MH OR": "logor", "MH RR": "logrr", "MH RD": "rd", "MH IRR": "logirr", "MH IRD": "ird"}
TESTS = {"MH": "Cochran-Mantel-Haenszel", "BD": "Breslow-Day", "TA": "Tarone"}


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("name", ["pooled_mh_bcg", "pooled_mh_zero_cells", "pooled_mh_rates"])
def test_pooled_counts_equal_the_reference(name, reference):
    held = reference(f"effects/{name}")
    cells = {"events": ("ai", "ci"), "no_events": ("bi", "di")}
    if "x1i" in held["data"]:
        cells = {"events": ("x1i", "x2i"), "time": ("t1i", "t2i")}
    for key, expected in held["expected"].items():
        found = (
            bm.peto(held["data"], **cells)
            if key == "PETO"
            else bm.mantel_haenszel(held["data"], **cells, measure=POOLED[key])
        )
        for ours, theirs in {"estimate": "estimate", "se": "se", "lower": "lower", "upper": "upper", "Q": "Q"}.items():
            assert getattr(found, ours) == pytest.approx(expected[theirs], rel=1e-10), (key, ours)
        assert found.pvalue == pytest.approx(expected["p"], rel=1e-9)
        assert found.df == expected.get("df", found.df)
        for theirs, ours in TESTS.items():
            if expected.get(theirs) is None:
                assert ours not in found.tests
                continue
            assert found.tests[ours][0] == pytest.approx(expected[theirs], rel=1e-10)
            assert found.test_pvalue(ours) == pytest.approx(expected[f"{theirs}p"], rel=1e-8)


def test_five_numbers_equal_the_reference(reference):
    held = reference("effects/from_five_numbers")
    frame = pd.DataFrame({name: numbers(values) for name, values in held["data"].items()})
    expected = held["expected"]["luo/wan/shi"]
    with (
        pytest.warns(bm.AssumptionWarning, match="means and SDs of 5 of 5 rows were worked out from quantiles"),
        pytest.warns(bm.AssumptionWarning, match="the quantiles of rows 4 are skewed"),
    ):
        table = effects.mean_from_quantiles(frame, "n", "median", quartiles=("q1", "q3"), extremes=("min", "max"))
    np.testing.assert_allclose(table["mean"], expected["mean"], rtol=1e-12)
    np.testing.assert_allclose(table["sd"], expected["sd"], rtol=1e-9)


def test_intervals_equal_the_reference(reference):
    held = reference("effects/from_interval")
    expected = held["expected"]["log_interval"]
    table = effects.from_interval(held["data"], "or", ("lo", "hi"), measure="odds ratio")
    np.testing.assert_allclose(table["y"], expected["yi"], rtol=1e-12)
    np.testing.assert_allclose(table["v"], expected["vi"], rtol=1e-12)
