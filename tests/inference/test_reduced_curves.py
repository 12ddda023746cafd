"""Curves, minima and attributable cases beside loops, and covariances of predictions beside full matrices."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm

RNG = np.random.default_rng(20)
N, K = 14, 3
POINTS = (-0.3, -0.1, -0.2, -0.5, 0.1, 0.2)
TEMPERATURES = np.linspace(-5.0, 30.0, 71)
BASIS = bm.basis("ns(x, knots=[5, 18], boundary_knots=[-5, 30])", {"x": TEMPERATURES})


@pytest.fixture(scope="module")
def fit():
    roots = RNG.normal(size=(N, K, K)) * 0.1
    V = roots @ roots.transpose(0, 2, 1) + 0.02 * np.eye(K)
    theta = np.array([-0.4, 0.2, 0.6]) + RNG.normal(size=(N, K)) * 0.2
    results = {f"city {i}": (theta[i] + np.linalg.cholesky(V[i]) @ RNG.normal(size=K), V[i]) for i in range(N)}
    places = pd.DataFrame({"mean": RNG.normal(size=N), "country": list("aabbbbccccccdd")}, index=list(results))
    data, S = bm.from_first_stage(results, data=places)
    return bm.fit(bm.specify("coef1 + coef2 + coef3 ~ mean", data, S=S, random="1 | country/place"))


@pytest.mark.parametrize("ask", [{}, {"df": "satterthwaite"}, {"vcov": "CR2"}], ids=str)
def test_covariances_of_predictions(fit, ask):
    for interval in ("confidence", "prediction"):
        predicted = bm.predict(fit, {"mean": [0.0, 1.3]}, interval=interval, covariance=True, **ask)
        own = np.diagonal(predicted["covariance"], axis1=1, axis2=2)
        np.testing.assert_allclose(np.sqrt(own), predicted["se"], rtol=1e-12)
    blup = bm.blup(fit, covariance=True, **ask)
    np.testing.assert_allclose(np.sqrt(np.diagonal(blup["covariance"], axis1=1, axis2=2)), blup["se"], rtol=1e-12)


def errors_of_blups(fit):
    """(n, n) covariance of the prediction errors of all observations, by full matrices."""
    spec = bm.Spec.from_tree(fit)
    n = len(spec.y)
    S = np.zeros((n, n))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    C = np.zeros((n, n))  # of the random part
    for level in spec.levels:
        same = level.index[:, None] == level.index[None, :]
        C += level.Z @ fit["estimate"][f"psi_{level.name}"].to_numpy() @ level.Z.T * same
    W = np.linalg.inv(C + S)
    G = np.linalg.inv(spec.X.T @ W @ spec.X)
    A = C @ W
    D = spec.X - A @ spec.X
    return C - A @ C + D @ G @ D.T


def test_covariances_of_blups_beside_full_matrices(fit):
    errors = errors_of_blups(fit)
    blup = bm.blup(fit, covariance="joint")
    for i in range(N):
        block = slice(K * i, K * (i + 1))
        np.testing.assert_allclose(blup["covariance"][i], errors[block, block], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(blup["joint"].to_numpy().reshape(N * K, -1), errors, rtol=1e-8, atol=1e-12)


def test_blups_of_known_places_at_other_predictors(fit):
    """The fixed part moves, the random effects stay; the error of the difference is that of the coefficients alone."""
    spec = bm.Spec.from_tree(fit)
    own = spec.data[["country", "place", "mean"]]
    here, again = bm.blup(fit, covariance="joint"), bm.blup(fit, covariance="joint", newdata=own)
    for name in here:
        np.testing.assert_allclose(again[name], here[name], rtol=1e-12, atol=1e-15)
    assert again["name"].values.tolist() == own["place"].tolist()
    two = pd.concat([own.iloc[[3]], own.iloc[[3]].assign(mean=lambda d: d["mean"] + 2)])
    moved = bm.blup(fit, covariance="joint", newdata=two)
    slope = fit["estimate"]["beta"].sel(coef=[name for name in spec.coef if name.endswith("mean")])
    np.testing.assert_allclose(moved["mean"][1] - moved["mean"][0], 2 * slope, rtol=1e-10)
    D = np.hstack([-np.eye(K), np.eye(K)])
    at = [i for i, name in enumerate(spec.coef) if name.endswith("mean")]
    of_slope = fit["estimate"]["beta_cov"].to_numpy()[np.ix_(at, at)]
    np.testing.assert_allclose(D @ moved["joint"].to_numpy().reshape(2 * K, -1) @ D.T, 4 * of_slope, rtol=1e-8)
    country = bm.blup(fit, level="country", newdata={"country": "b", "mean": 0.0})
    fixed = bm.predict(fit, {"mean": 0.0})["mean"].to_numpy()[0]
    effect = bm.ranef(fit)["country"]["mean"].sel(group_country="b").to_numpy()
    np.testing.assert_allclose(country["mean"][0], fixed + effect, rtol=1e-10)
    for newdata, message in (
        ({"country": "a", "mean": 0.0}, "newdata has no column 'place'"),
        ({"country": "a", "place": "city 9", "mean": 0.0}, "the data have no country a, place city 9 \\(row 0\\)"),
        ({"country": "a", "place": "city 1"}, "no column 'mean'"),
    ):
        with pytest.raises(bm.DataError, match=message):
            bm.blup(fit, newdata=newdata)


def test_joint_covariances_of_predictions(fit):
    X = bm.Spec.from_tree(fit).design.fixed(pd.DataFrame({"mean": [0.0, 1.3]})).reshape(2 * K, -1)
    predicted = bm.predict(fit, {"mean": [0.0, 1.3]}, covariance="joint")
    expected = X @ fit["estimate"]["beta_cov"].to_numpy() @ X.T
    np.testing.assert_allclose(predicted["joint"].to_numpy().reshape(2 * K, -1), expected, rtol=1e-9, atol=1e-15)


def test_weighted_means_of_places(fit):
    """Equal weights are the mean of all curves; its variance is that of a mean of correlated errors."""
    blup = bm.blup(fit, covariance="joint")
    names = blup["name"].values.tolist()
    weights = dict(zip(names, np.arange(1.0, N + 1), strict=True)) | {names[2]: 0.0}
    w = np.array([weights[name] for name in names]) / sum(weights.values())
    made = bm.curve(blup, BASIS, TEMPERATURES, 17.0, weights=weights, random_seed=1)
    each = bm.curve(blup, BASIS, TEMPERATURES, 17.0, random_seed=1)
    np.testing.assert_allclose(made["mean"][0], np.einsum("r,ra->a", w, each["mean"]), atol=1e-12)
    J = blup["joint"].to_numpy()
    V = np.einsum("r,rksl,s->kl", w, J, w)
    b = BASIS(TEMPERATURES) - BASIS([17.0])
    np.testing.assert_allclose(made["se"][0], np.sqrt(np.einsum("ak,kl,al->a", b, V, b)), rtol=1e-9, atol=1e-12)
    for bad, message in ((3, "must be a mapping"), (dict.fromkeys(names, 0), "not all 0"), ({"a": 1}, "weights has")):
        with pytest.raises((bm.SpecError, bm.DataError), match=message):
            bm.curve(blup, BASIS, TEMPERATURES, 17.0, weights=bad)
    with pytest.raises(bm.SpecError, match="weights need the covariance of the rows"):
        bm.curve(blup.drop_vars("joint"), BASIS, TEMPERATURES, 17.0, weights=weights)


@pytest.mark.filterwarnings("ignore:errors of different rows")
def test_totals_over_places_have_the_error_that_places_share(fit):
    """With small effects the number is linear in the coefficients, and its variance that of a sum."""
    blup = bm.blup(fit, covariance="joint")
    for name in ("joint", "covariance"):
        blup[name] = blup[name] * 1e-8
    labels, days = blup["row"].values.tolist(), np.array([-5.0, 3.0, 9.0, 28.0])
    exposure, cases = dict.fromkeys(labels, days), dict.fromkeys(labels, np.array([10.0, 20.0, 30.0, 5.0]))
    b = BASIS(days) - BASIS([17.0])
    gradient = [np.array([10.0, 20.0, 30.0, 5.0]) * np.exp(-(b @ theta)) @ b for theta in blup["mean"].to_numpy()]
    d = np.concatenate(gradient)
    joint = blup["joint"].to_numpy().reshape(N * K, -1)
    apart = joint * np.kron(np.eye(N), np.ones((K, K)))
    for coefficients, V in ((blup, joint), (blup.drop_vars("joint"), apart)):
        made = bm.attributable(coefficients, BASIS, exposure, cases, 17.0, draws=20_000, random_seed=4)
        half = float(made["number_upper"][-1] - made["number_lower"][-1]) / 2 / 1.959964
        assert half == pytest.approx(np.sqrt(d @ V @ d), rel=0.03)
    with pytest.warns(bm.errors.AssumptionWarning, match="drawn independently"):
        bm.attributable(blup.drop_vars("joint"), BASIS, exposure, cases, 17.0, draws=10, random_seed=4)
    with pytest.raises(bm.SpecError, match="their joint covariance is of others"):
        bm.attributable(blup.isel(row=[0]), BASIS, exposure, cases, 17.0)


def test_curves_beside_loops(fit):
    blup = bm.blup(fit, covariance=True)
    curves = bm.curve(blup, BASIS, TEMPERATURES, reference=17.0, random_seed=1)
    origin = BASIS([17.0])[0]
    for i in range(N):
        theta, V = blup["mean"].to_numpy()[i], blup["covariance"].to_numpy()[i]
        for a, x in enumerate(TEMPERATURES[::10]):
            b = BASIS([x])[0] - origin
            np.testing.assert_allclose(curves["mean"][i, 10 * a], b @ theta, atol=1e-12)
            np.testing.assert_allclose(curves["se"][i, 10 * a], np.sqrt(b @ V @ b), atol=1e-12)
    assert (curves["mean"].sel(at=17.0) == 0).all()
    assert (curves["se"].sel(at=17.0) == 0).all()
    assert curves["name"].values[0] == blup["name"].values[0] if "name" in blup.coords else True
    ratio = bm.curve(blup, BASIS, TEMPERATURES, reference=17.0, scale="ratio", random_seed=1)
    np.testing.assert_allclose(ratio["upper"], np.exp(curves["upper"]))
    assert "se" not in ratio


def test_a_matrix_is_as_good_as_a_function(fit):
    pooled = bm.predict(fit, {"mean": 0.0}, covariance=True)
    one, other = (
        bm.curve(pooled, basis, TEMPERATURES, reference=17.0, random_seed=1) for basis in (BASIS, BASIS(TEMPERATURES))
    )
    np.testing.assert_allclose(one["mean"], other["mean"])
    with pytest.raises(bm.SpecError, match="reference must be one of the values of at"):
        bm.curve(pooled, BASIS(TEMPERATURES), TEMPERATURES, reference=17.03)


def test_against_the_minimum_no_curve_is_negative(fit):
    curves = bm.curve(bm.blup(fit, covariance=True), BASIS, TEMPERATURES, random_seed=1)
    assert float(curves["mean"].min()) == 0.0
    assert (curves["reference"] == curves["minimum"]).all()
    assert (curves["minimum_lower"] <= curves["minimum_upper"]).all()
    inside = bm.curve(bm.blup(fit, covariance=True), BASIS, TEMPERATURES, within=(10, 20), random_seed=1)
    assert ((inside["minimum"] >= 10) & (inside["minimum"] <= 20)).all()


def test_the_minimum_of_a_parabola_has_the_distribution_of_a_ratio():
    """Of theta1 x + theta2 x^2 it is -theta1 / (2 theta2); with theta2 known, normal."""
    data, S = bm.from_first_stage({p: ([-2.0, 1.0], [[0.04, 0], [0, 1e-10]]) for p in "abcd"})
    pooled = bm.predict(bm.fit(bm.specify("coef1 + coef2 ~ 1", data, S=S), "fixed"), {}, covariance=True)
    grid = np.linspace(0, 2, 20001)
    lowest = bm.curve(pooled, lambda x: np.stack([x, x**2], 1), grid, draws=20000, random_seed=3)
    assert float(lowest["minimum"][0]) == pytest.approx(1.0, abs=1e-4)
    half = 1.959964 * 0.1 / 2
    assert float(lowest["minimum_lower"][0]) == pytest.approx(1 - half, abs=0.003)
    assert float(lowest["minimum_upper"][0]) == pytest.approx(1 + half, abs=0.003)


def test_relative_risks_beyond_numbers_are_refused() -> None:
    data, S = bm.from_first_stage({"a": (100.0, 0.001), "b": (100.3, 0.002), "c": (99.9, 0.001)})
    pooled = bm.predict(bm.fit(bm.specify("coef1 ~ 1", data, S=S)), {}, covariance=True)
    with pytest.raises(bm.DataError, match=r"against reference 95 the relative risk .* beyond all numbers"):
        bm.attributable(pooled, lambda x: x[:, None], [0, 1, 2], [10, 10, 10], reference=95, random_seed=1)


def test_attributable_cases_beside_loops(fit):
    blup = bm.blup(fit, covariance="joint").isel(row=[0, 3], row_bis=[0, 3])
    labels = blup["row"].values.tolist()
    exposure = {r: RNG.uniform(-5, 30, 200) for r in labels}
    cases = {r: RNG.poisson(20, 200).astype(float) for r in labels}
    exposure[labels[0]][5] = np.nan
    made = bm.attributable(blup, BASIS, exposure, cases, reference=17.0, between=(-50, 17), random_seed=2)
    total = 0.0
    for i, r in enumerate(labels):
        number = 0.0
        for x, n in zip(exposure[r], cases[r], strict=True):
            if np.isfinite(x) and x <= 17.0:
                number += n * (1 - np.exp(-(BASIS([x])[0] - BASIS([17.0])[0]) @ blup["mean"].to_numpy()[i]))
        assert float(made["number"][i]) == pytest.approx(number)
        total += number
    assert made["row"].values.tolist() == [*labels, "all"]
    assert float(made["number"][-1]) == pytest.approx(total)
    assert float(made["cases"][0]) == np.sum(cases[labels[0]]) - cases[labels[0]][5]
    np.testing.assert_allclose(made["fraction"], made["number"] / made["cases"])
    curves = bm.curve(blup, BASIS, TEMPERATURES, random_seed=1)
    own = bm.attributable(blup, BASIS, exposure, cases, reference=curves["reference"], random_seed=2)
    assert (own["number"] > 0).all()


def test_rows_have_bases_and_ranges_of_their_own(fit):
    blup = bm.blup(fit, covariance="joint").isel(row=[0, 3], row_bis=[0, 3])
    labels, x, n = blup["row"].values.tolist(), np.linspace(-4, 29, 150), np.arange(1.0, 151.0)
    other = bm.basis("ns(x, knots=[8, 15], boundary_knots=[-5, 30])", {"x": TEMPERATURES})
    bases, zero = dict(zip(labels, (BASIS, other), strict=True)), dict(zip(labels, (17.0, 12.5), strict=True))
    series = dict.fromkeys(labels, x), dict.fromkeys(labels, n)
    ranges = {"below": (-np.inf, 0), "above": (0, np.inf), None: (-np.inf, np.inf)}
    made = {}
    for between in ranges:
        made[between] = bm.attributable(blup, bases, *series, zero, between, draws=20, random_seed=1)["number"]
        for i, row in enumerate(labels):
            low, high = (zero[row] + end for end in ranges[between])
            inside = (x >= low) & (x <= high)
            b = bases[row](x[inside]) - bases[row]([zero[row]])
            number = n[inside] @ -np.expm1(-b @ blup["mean"].to_numpy()[i])
            assert float(made[between][i]) == pytest.approx(number, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(made["below"] + made["above"], made[None], rtol=1e-12, atol=1e-9)
    pairs = {row: (-50.0, zero[row]) for row in labels}
    again = bm.attributable(blup, bases, *series, zero, pairs, draws=20, random_seed=1)["number"]
    np.testing.assert_array_equal(again, made["below"])
    with pytest.raises(bm.DataError, match="basis has nothing for row"):
        bm.attributable(blup, {labels[0]: BASIS}, *series, zero)
    with pytest.raises(bm.SpecError, match="basis must be a function"):
        bm.attributable(blup, dict.fromkeys(labels, 3), *series, zero)
    with pytest.raises(bm.SpecError, match=r"between of row .* it must be .lowest, highest"):
        bm.attributable(blup, BASIS, *series, zero, dict.fromkeys(labels, (3, 1)))
    with pytest.raises(bm.SpecError, match="between"):
        bm.attributable(blup, BASIS, *series, zero, "beneath")
    with pytest.raises(bm.SpecError, match="curves on one grid have one basis"):
        bm.curve(blup, bases, TEMPERATURES)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.001, 0.5), st.integers(1, 50), st.floats(0.1, 30.0))
def test_a_constant_excess_is_its_own_fraction(log_ratio, days, count):
    data, S = bm.from_first_stage(dict.fromkeys("abc", (log_ratio, 1e-12)))
    pooled = bm.predict(bm.fit(bm.specify("coef1 ~ 1", data, S=S[:, 0, 0]), "fixed"), {}, covariance=True)
    made = bm.attributable(pooled, lambda x: x[:, None], np.ones(days), np.full(days, count), 0.0, random_seed=1)
    assert float(made["fraction"][0]) == pytest.approx(1 - np.exp(-log_ratio), rel=1e-6)
    assert float(made["fraction_lower"][0]) == pytest.approx(1 - np.exp(-log_ratio), abs=3e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coefficients": 3}, "coefficients"),
        ({"basis": lambda x: x[:, None]}, "a column for each coefficient"),
        ({"basis": np.ones((3, 2))}, "basis has shape"),
        ({"basis": lambda x: np.full((len(x), K), np.nan)}, "basis is not finite"),
        ({"at": []}, "at is"),
        ({"at": [0.0, np.nan]}, "at is"),
        ({"reference": "lowest"}, "reference is 'lowest'; it must be a finite number, or 'min'"),
        ({"within": (40, 50)}, "within: no value of at"),
        ({"within": (5, 1)}, "within is"),
        ({"scale": "response"}, "scale"),
        ({"draws": 0}, "draws"),
        ({"prob": 1.0}, "prob"),
    ],
)
def test_what_makes_no_curve(fit, change, message):
    arguments = {"coefficients": bm.predict(fit, {"mean": 0.0}, covariance=True), "basis": BASIS, "at": TEMPERATURES}
    with pytest.raises(bm.BayesmetaError, match=message):
        bm.curve(**(arguments | change))


def test_predictions_need_their_covariances(fit):
    with pytest.raises(bm.SpecError, match="has no covariances; write"):
        bm.curve(bm.predict(fit, {"mean": 0.0}), BASIS, TEMPERATURES)
    logs = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    with pytest.raises(bm.SpecError, match="covariance=True is of the scale"):
        bm.predict(logs, {}, covariance=True, scale="response")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"basis": BASIS(TEMPERATURES)}, "basis must be a function"),
        ({"cases": [1.0, 2.0]}, "exposures and"),
        ({"cases": [1.0, -2.0, 3.0]}, "0 or more"),
        ({"cases": [0.0, 0.0, 0.0]}, "not all 0"),
        ({"exposure": {"nowhere": [1.0]}}, "exposure has nothing for row"),
        ({"reference": "min"}, "reference of row"),
        ({"between": (3,)}, "between is"),
    ],
)
def test_what_attributes_no_cases(fit, change, message):
    arguments = {
        "coefficients": bm.predict(fit, {"mean": 0.0}, covariance=True),
        "basis": BASIS,
        "exposure": [1.0, 5.0, 20.0],
        "cases": [3.0, 2.0, 1.0],
        "reference": 17.0,
    }
    with pytest.raises(bm.BayesmetaError, match=message):
        bm.attributable(**(arguments | change))


def test_the_page_runs():
    page = (Path(__file__).parents[2] / "docs/two_stage.md").read_text(encoding="utf-8")
    space: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(code, space)
    assert float(space["pooled"]["minimum"][0]) == pytest.approx(15, abs=1.5)
    assert space["heat"]["row"].values.tolist()[-1] == "all"
    assert float(space["heat"]["number"][-1]) > 0


def test_curves_are_drawn_in_panels(fit):
    table = bm.curve(bm.blup(fit, covariance=True), BASIS, TEMPERATURES, reference=10.0, scale="ratio", random_seed=1)
    names = table["name"].values.tolist() if "name" in table.coords else table["row"].values.tolist()
    panels = bm.plots.curves(table, exposure=TEMPERATURES, xlabel="Temperature")
    assert [ax.get_title() for ax in panels] == names
    drawn = panels[2].get_lines()[1]
    np.testing.assert_allclose(drawn.get_ydata(), table["mean"][2])
    two = bm.plots.curves(table, places=names[3:5])
    assert [ax.get_title() for ax in two] == names[3:5]
    with pytest.raises(bm.SpecError, match="places: no row 'Atlantis'"):
        bm.plots.curves(table, places="Atlantis")
    with pytest.raises(bm.SpecError, match="table holds no curves"):
        bm.plots.curves(bm.blup(fit))
    many = table.isel(row=np.arange(70) % N)
    with pytest.raises(bm.SpecError, match="70 curves; at most 60"):
        bm.plots.curves(many)


@pytest.fixture(scope="module")
def posteriors():
    data, S = bm.from_first_stage(
        {p: ([b, 0.4 - b], [[0.02, 0.01], [0.01, 0.03]]) for p, b in zip("abcdef", POINTS, strict=True)}
    )
    spec = bm.specify("coef1 + coef2 ~ 1", data, S=S)
    priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))
    exact = bm.sample(spec, priors, random_seed=1, draws=4000)
    drawn = exact.copy()
    for name in ("integration", "marginals"):
        del drawn[name]
    del drawn.attrs["group_hashes"]  # as trees that hold draws alone
    return exact, drawn


@pytest.mark.parametrize("which", [0, 1], ids=["exact", "draws"])
def test_covariances_of_posteriors(posteriors, which):
    exact = posteriors[0]
    for ask in (
        lambda tree: bm.predict(tree, {}, covariance=True),
        lambda tree: bm.predict(tree, {}, interval="prediction", covariance=True),
        lambda tree: bm.blup(tree, covariance=True),
    ):
        made = ask(posteriors[which])
        own = np.diagonal(made["covariance"], axis1=1, axis2=2)
        np.testing.assert_allclose(np.sqrt(own), made["se"], rtol=1e-6)
        np.testing.assert_allclose(made["covariance"], ask(exact)["covariance"], atol=0.15 * float(own.max()))
        np.testing.assert_allclose(made["covariance"], made["covariance"].to_numpy().transpose(0, 2, 1))


def test_curves_of_posteriors(posteriors):
    pooled = bm.predict(posteriors[0], {}, covariance=True)
    curves = bm.curve(pooled, lambda x: np.stack([x, x**2], 1), [0.0, 1.0, 2.0], reference=0.0, random_seed=1)
    one = pooled["covariance"].to_numpy()[0]
    assert float(curves["se"].sel(at=1.0)[0]) == pytest.approx(np.sqrt(one.sum()))
