"""Models against dense algebra, and what must not matter: order of rows, choice of reference, unit of dose, stages."""

import re
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta import dose_response
from bayesmeta.errors import AssumptionWarning

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.errors.BayesmetaWarning")
COUNTS = {"study": "study", "cases": "cases", "person_years": "years"}
BASES = [
    "dose",
    "dose + I(dose**2)",
    "ns(dose, knots=[3, 6])",
    "rcs(dose, knots=[1, 4, 8])",
    "fp(dose, 0, 1, shift=1)",
    "bs(dose, knots=[4], degree=2)",
    "cr(dose, knots=[1, 4, 8])",
]


def cohorts(seed: int, n: int = 6, zero: bool = False) -> pd.DataFrame:
    """Crude cohorts of 4 to 6 doses; references of 0, or of the lowest dose of each."""
    rng = np.random.default_rng(seed)
    parts = []
    for study in range(n):
        dose = np.sort(rng.choice(np.arange(2, 19), rng.integers(4, 7), replace=False) / 2)
        if study == 0:
            dose = np.r_[0.5, dose, 9.5]  # so that knots are always within the doses
        if zero:
            dose = np.append(0.0, dose)
        rate = 0.01 * np.exp(0.05 * dose - 0.004 * dose**2 + rng.normal(scale=0.05) * dose)
        years = rng.uniform(2e3, 2e4, len(dose)).round()
        parts.append(
            pd.DataFrame({"study": study, "dose": dose, "years": years, "cases": rng.poisson(rate * years) + 1})
        )
    return pd.concat(parts, ignore_index=True)


def dense(spec: bm.Spec) -> np.ndarray:
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    return S


def at(tree, *doses, reference=2.0, **options) -> np.ndarray:
    made = dose_response.curve(tree, list(doses), reference, scale="model", **options)
    return np.array([made[name].to_numpy() for name in ("mean", "lower", "upper")])


@pytest.mark.parametrize("basis", BASES)
def test_common_effect_is_dense_generalised_least_squares(basis):
    """Columns b(x) - b(x0), S of the counts, coefficients and curve, all by plain algebra."""
    data = cohorts(1)
    spec = dose_response.specify(data, basis=basis, **COUNTS)
    functions = {
        BASES[0]: [lambda x: x],
        BASES[1]: [lambda x: x, lambda x: x**2],
        BASES[4]: [lambda x: np.log(x + 1), lambda x: x + 1],
    }
    rows, y, S = [], [], np.zeros((0, 0))
    for _, own in data.groupby("study"):
        A, N, x = (own[name].to_numpy(float) for name in ("cases", "years", "dose"))
        y += list(np.log(A[1:] / N[1:] * N[0] / A[0]))
        block = np.diag(1 / A[1:]) + 1 / A[0]
        S = np.block([[S, np.zeros((len(S), len(block)))], [np.zeros((len(block), len(S))), block]])
        if basis in functions:
            rows += [[f(v) - f(x[0]) for f in functions[basis]] for v in x[1:]]
    np.testing.assert_allclose(spec.y, y, atol=1e-12)
    np.testing.assert_allclose(dense(spec), S, atol=1e-12)
    X = np.array(rows) if rows else spec.X
    np.testing.assert_allclose(spec.X, X, atol=1e-12)
    tree = bm.fit(spec, "fixed")
    W = np.linalg.inv(S)
    cov = np.linalg.inv(X.T @ W @ X)
    np.testing.assert_allclose(tree["estimate"]["beta"], cov @ X.T @ W @ np.array(y), rtol=1e-8)
    if basis in functions:
        L = np.array([[f(7.0) - f(2.0) for f in functions[basis]]])
        mean, lower, upper = at(tree, 7.0, df="z")[:, 0]
        assert mean == pytest.approx((L @ cov @ X.T @ W @ y).item(), rel=1e-8)
        assert (upper - lower) / 2 / 1.959963984540054 == pytest.approx(np.sqrt((L @ cov @ L.T).item()), rel=1e-8)


def test_splines_of_one_span_are_one_curve():
    """A cubic regression spline is the restricted one of its knots; a B-spline without knots is a polynomial."""
    data = cohorts(2)
    same = [("cr(dose, knots=[1, 4, 8])", "rcs(dose, knots=[1, 4, 8])"), ("bs(dose, degree=2)", "dose + I(dose**2)")]
    for bases in same:
        trees = [bm.fit(dose_response.specify(data, basis=basis, **COUNTS), "fixed") for basis in bases]
        np.testing.assert_allclose(at(trees[0], 1.0, 5.0, 9.0), at(trees[1], 1.0, 5.0, 9.0), atol=1e-7)


@settings(max_examples=6)
@given(st.integers(0, 10_000), st.sampled_from(BASES))
def test_order_of_rows_does_not_matter(seed, basis):
    data = cohorts(seed % 50)
    shuffled = data.sample(frac=1, random_state=seed)
    one, two = (bm.fit(dose_response.specify(d, basis=basis, **COUNTS), "fixed") for d in (data, shuffled))
    np.testing.assert_allclose(at(one, 1.0, 5.0, 9.0), at(two, 1.0, 5.0, 9.0), atol=1e-9)
    gofs = [dose_response.goodness_of_fit(tree) for tree in (one, two)]
    assert gofs[0]["deviance"].item() == pytest.approx(gofs[1]["deviance"].item(), rel=1e-9)
    np.testing.assert_allclose(np.sort(gofs[0]["residual"]), np.sort(gofs[1]["residual"]), atol=1e-9)


@settings(max_examples=6)
@given(st.integers(0, 10_000), st.sampled_from(BASES), st.sampled_from(["fixed", "ml", "reml"]))
def test_choice_of_the_reference_row_does_not_matter(seed, basis, method):
    """Contrasts with another dose of the study are a linear transformation of the same data, covariances included."""
    data = cohorts(seed % 50)
    rng = np.random.default_rng(seed)
    chosen = data.groupby("study").sample(1, random_state=rng.integers(1e6)).index
    marked = data.assign(ref=data.index.isin(chosen))
    one = bm.fit(dose_response.specify(data, basis=basis, **COUNTS), method)
    two = bm.fit(dose_response.specify(marked, basis=basis, reference="ref", **COUNTS), method)
    loglik = [tree["criteria"]["loglik"].item() for tree in (one, two)]
    if method != "reml":  # |X'X|, by which restricted likelihoods are scaled, depends on the contrasts
        assert loglik[0] == pytest.approx(loglik[1], abs=1e-6)
    tolerance = 1e-7 if method == "fixed" else 2e-3
    np.testing.assert_allclose(at(one, 1.0, 5.0, 9.0, df="z"), at(two, 1.0, 5.0, 9.0, df="z"), atol=tolerance)
    gofs = [dose_response.goodness_of_fit(tree)["deviance"].item() for tree in (one, two)]
    assert gofs[0] == pytest.approx(gofs[1], rel=1e-8)


@settings(max_examples=6)
@given(st.integers(0, 10_000), st.sampled_from([1e-3, 0.5, 30.0, 1e3]))
def test_unit_of_dose_does_not_matter(seed, unit):
    """At corresponding Psi, so that it is the model that is asked and not the search."""
    data = cohorts(seed % 50)
    scaled = data.assign(dose=data.dose * unit)
    basis = "dose + I(dose**2)"
    one = bm.fit(dose_response.specify(data, basis=basis, **COUNTS), "ml")
    size = np.array([unit, unit**2])
    psi = bm.structures.Fixed(one["estimate"]["psi_study"].to_numpy() / np.outer(size, size))
    two = bm.fit(dose_response.specify(scaled, basis=basis, psi=psi, **COUNTS), "ml")
    assert one["criteria"]["loglik"].item() == pytest.approx(two["criteria"]["loglik"].item(), abs=1e-6)
    here, there = at(one, 1.0, 9.0, df="z"), at(two, unit, 9 * unit, reference=2 * unit, df="z")
    np.testing.assert_allclose(here, there, atol=1e-6)


def test_the_search_does_not_depend_on_the_unit_of_dose():
    """Data of several modes, of which starts that knew the unit led to two."""
    data = cohorts(0)
    fits = (
        bm.fit(dose_response.specify(data.assign(dose=data.dose * u), basis="dose + I(dose**2)", **COUNTS), "ml")
        for u in (1e-3, 1.0, 1e3)
    )
    logliks = [fit["criteria"]["loglik"].item() for fit in fits]
    np.testing.assert_allclose(logliks, logliks[0], atol=1e-6)


@pytest.mark.parametrize("basis", BASES[:3])
@pytest.mark.parametrize("method", ["fixed", "ml", "reml"])
def test_two_stages_are_one_where_every_study_has_its_curve(basis, method):
    data = cohorts(3, n=8)
    one, two = (bm.fit(dose_response.specify(data, basis=basis, stages=s, **COUNTS), method) for s in (1, 2))
    options = {"df": "z"}
    np.testing.assert_allclose(at(one, 1.0, 5.0, 9.0, **options), at(two, 1.0, 5.0, 9.0, **options), atol=1e-5)
    wide = {"df": "z", "interval": "prediction"}
    np.testing.assert_allclose(at(one, 1.0, 9.0, **wide), at(two, 1.0, 9.0, **wide), atol=1e-4)
    for of in (dose_response.goodness_of_fit(one), dose_response.goodness_of_fit(two)):
        assert of["deviance"].item() == pytest.approx(dose_response.goodness_of_fit(one)["deviance"].item(), rel=1e-9)
    if basis != "dose":
        tests = [dose_response.nonlinearity(tree, df="z")["pvalue"].item() for tree in (one, two)]
        assert tests[0] == pytest.approx(tests[1], rel=1e-3)


def test_nonlinearity_is_the_test_of_all_but_the_first():
    data = cohorts(4)
    for basis, q in (("dose + I(dose**2) + I(dose**3)", 2), ("rcs(dose, 4)", 2), ("ns(dose, knots=[3, 6])", 2)):
        tree = bm.fit(dose_response.specify(data, basis=basis, **COUNTS), "ml")
        ours = dose_response.nonlinearity(tree)
        assert ours["df1"].item() == q
        if not basis.startswith("ns"):
            wald = bm.wald_test(tree, contrast=np.eye(3)[1:])
            assert ours["statistic"].item() == pytest.approx(wald["statistic"].item(), rel=1e-6)
    # the span of a natural spline with these outer knots is that of the restricted one
    knots = data.dose.min(), 4.0, data.dose.max()
    same = [f"rcs(dose, knots={[float(k) for k in knots]})", "ns(dose, knots=[4])"]
    trees = [bm.fit(dose_response.specify(data, basis=basis, **COUNTS), "fixed") for basis in same]
    np.testing.assert_allclose(at(trees[0], 1.0, 9.0), at(trees[1], 1.0, 9.0), atol=1e-8)
    p = [dose_response.nonlinearity(tree)["pvalue"].item() for tree in trees]
    assert p[0] == pytest.approx(p[1], rel=1e-6)


def test_a_basis_that_a_line_is_not_in_or_is_all_of():
    data = cohorts(5)
    for basis, words in (("dose", "nothing to test"), ("log(dose + 1)", "no curve of the basis")):
        with pytest.raises(bm.SpecError, match=words):
            dose_response.nonlinearity(bm.fit(dose_response.specify(data, basis=basis, **COUNTS)))


def test_a_curve_that_depends_on_a_column():
    data = cohorts(6).assign(region=lambda d: np.where(d.study % 2, "north", "south"))
    tree = bm.fit(dose_response.specify(data, basis="dose + dose:region", random="dose", **COUNTS))
    north, south = (at(tree, 6.0, others={"region": name})[0, 0] for name in ("north", "south"))
    beta = tree["estimate"]["beta"].to_numpy()
    assert {round(north - south, 9), round(south - north, 9)} & {round(4.0 * beta[1], 9)}
    with pytest.raises(bm.SpecError, match="depends on region"):
        dose_response.curve(tree, [1.0])


@pytest.mark.parametrize("method", ["fixed", "ml", "reml"])
def test_covariates_by_arm_are_dense_generalised_least_squares(method):
    """A number and a category that differ between the doses of a study: columns, S, estimates and curve by algebra."""
    data, rng = cohorts(21, n=8), np.random.default_rng(8)
    data = data.assign(age=rng.normal(50, 5, len(data)).round(1), sex=rng.choice(["f", "m"], len(data)))
    assert data.groupby("study").age.nunique().min() > 1
    spec = dose_response.specify(data, basis="dose + dose:age + dose:sex", random="dose", **COUNTS)
    first = ~data.study.duplicated()
    x0 = data.study.map(data[first].set_index("study").dose)
    away, male = (data.dose - x0)[~first].to_numpy(), (data.sex == "m")[~first].to_numpy(float)
    X = np.column_stack([away, away * data.age[~first], away * male])
    space = np.linalg.lstsq(X, spec.X)[0]  # the coding of categories is formulaic's
    np.testing.assert_allclose(X @ space, spec.X, atol=1e-8)
    rates = np.log(data.cases / data.years)
    y = (rates - data.study.map(rates[first].set_axis(data.study[first])))[~first].to_numpy()
    inner = (data.study.to_numpy()[:, None] == data.study.to_numpy())[np.ix_(~first, ~first)]
    at_reference = 1 / data.study.map(data[first].set_index("study").cases)[~first].to_numpy(float)
    S = inner * at_reference + np.diag(1 / data.cases[~first])
    tree = bm.fit(spec, method)
    psi = 0.0 if method == "fixed" else tree["estimate"]["psi_study"].item()
    W = np.linalg.inv(S + psi * inner * np.outer(away, away))
    cov = np.linalg.inv(spec.X.T @ W @ spec.X)
    beta = cov @ spec.X.T @ W @ y
    np.testing.assert_allclose(tree["estimate"]["beta"], beta, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(tree["estimate"]["beta_cov"], cov, rtol=1e-6, atol=1e-12)
    L = 5.0 * np.linalg.lstsq(X, spec.X)[0].T @ [1.0, 60.0, 1.0]
    mean, lower, upper = at(tree, 7.0, df="z", others={"age": 60.0, "sex": "m"})[:, 0]
    assert mean == pytest.approx(L @ beta, rel=1e-6)
    assert (upper - lower) / 2 / 1.959963984540054 == pytest.approx(np.sqrt(L @ cov @ L), rel=1e-6)


def test_several_exposures():
    data = cohorts(7)
    data = data.assign(tea=np.random.default_rng(1).uniform(0, 3, len(data)).round(2), ref=~data.study.duplicated())
    spec = dose_response.specify(
        data, dose=["dose", "tea"], basis="dose + tea + I(dose * tea)", reference="ref", **COUNTS
    )
    x0 = data[data.ref].set_index("study")
    rows = data[~data.ref].merge(x0[["dose", "tea"]], left_on="study", right_index=True, suffixes=("", "0"))
    np.testing.assert_allclose(spec.X[:, 2], rows.dose * rows.tea - rows.dose0 * rows.tea0, atol=1e-12)
    tree = bm.fit(spec, "fixed")
    beta = tree["estimate"]["beta"].to_numpy()
    made = dose_response.curve(tree, {"dose": [4.0], "tea": [2.0]}, {"dose": 1.0, "tea": 0.5}, scale="model")
    assert made["mean"].item() == pytest.approx(beta @ [3.0, 1.5, 8.0 - 0.5])


def test_means_and_standardised_means():
    data = pd.DataFrame({"study": ["a"] * 3 + ["b"] * 2, "dose": [0, 10, 20, 0, 15.0]})
    data = data.assign(m=[5.0, 4.2, 3.6, 6.0, 5.1], s=[2.0, 2.1, 1.8, 1.5, 1.6], n=[40, 38, 42, 30, 31])
    raw = dose_response.specify(data, study="study", mean="m", sd="s", n="n", type="md")
    v = data.s**2 / data.n
    np.testing.assert_allclose(raw.y, [-0.8, -1.4, -0.9], atol=1e-12)
    np.testing.assert_allclose(dense(raw)[:2, :2], [[v[0] + v[1], v[0]], [v[0], v[0] + v[2]]], rtol=1e-12)
    std = dose_response.specify(data, study="study", mean="m", sd="s", n="n", type="smd")
    assert (raw.measure, std.measure) == ("md", "smd")
    d, D = std.y, dense(std)
    assert D[0, 1] == pytest.approx(1 / 40 + d[0] * d[1] / (2 * 120))
    assert D[2, 2] == pytest.approx(1 / 30 + 1 / 31 + d[2] ** 2 / (2 * 61))
    slope = bm.fit(raw, "fixed")
    assert dose_response.curve(slope, [10.0]).attrs.get("scale") is None


def test_printed_ratios_are_read_like_their_logarithms():
    data = cohorts(8)
    crude = dose_response.specify(data, **COUNTS)
    se = np.sqrt(crude.S.variances)
    printed = data.assign(rr=1.0, low=np.nan, high=np.nan, y=0.0, se=np.nan)
    others = printed.index.difference(printed.groupby("study").head(1).index)
    printed.loc[others, ["rr", "low", "high"]] = np.exp(
        np.column_stack([crude.y, crude.y - 1.959963984540054 * se, crude.y + 1.959963984540054 * se])
    )
    printed.loc[others, ["y", "se"]] = np.column_stack([crude.y, se])
    one = dose_response.specify(printed, y="rr", interval=("low", "high"), scale="response", **COUNTS)
    two = dose_response.specify(printed, y="y", se="se", **COUNTS)
    for spec in (one, two):  # crude effects and their counts: the covariances are those of the counts
        np.testing.assert_allclose(spec.y, crude.y, atol=1e-9)
        np.testing.assert_allclose(dense(spec), dense(crude), rtol=1e-6)


def test_the_posterior_of_a_line_is_exact_and_its_curve_goes_through_the_reference():
    """By quadrature: against normal theory, where Psi is known to be nothing and the prior of the slope is flat."""
    data = cohorts(9)
    spec = dose_response.specify(data, random=False, **COUNTS)
    fit = bm.fit(spec, "fixed")
    tree = bm.sample(spec, priors=bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=100)), random_seed=1)
    ours, theirs = at(tree, 0.5, 2.0, 8.0), at(fit, 0.5, 2.0, 8.0, df="z")
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert (ours[:, 1] == 0).all()


def test_posteriors_agree_with_the_likelihood_and_between_stages():
    data = cohorts(10, n=10)
    specs = [dose_response.specify(data, basis="dose + I(dose**2)", stages=s, psi="diag", **COUNTS) for s in (1, 2)]
    priors = bm.Priors(tau=bm.Prior("HalfNormal", sigma=0.1))
    trees = [bm.sample(spec, priors=priors, random_seed=1) for spec in specs]
    one, two = (at(tree, 1.0, 5.0, 9.0) for tree in trees)
    np.testing.assert_allclose(one, two, atol=0.02)
    wide = at(trees[0], 9.0, interval="prediction")[:, 0]
    assert wide[1] < one[1, 2]
    assert wide[2] > one[2, 2]


def test_results_keep_what_questions_need_through_files(tmp_path):
    data = cohorts(11)
    for stages in (1, 2):
        tree = bm.fit(dose_response.specify(data, basis="rcs(dose, 3)", stages=stages, **COUNTS))
        bm.save(tree, tmp_path / f"{stages}.nc")
        again = bm.load(tmp_path / f"{stages}.nc")
        np.testing.assert_array_equal(at(tree, 1.0, 9.0), at(again, 1.0, 9.0))
        assert dose_response.goodness_of_fit(again).equals(dose_response.goodness_of_fit(tree))


def test_the_machinery_of_all_models():
    """Robust variance, comparison, tables and predictions by name."""
    data = cohorts(12, n=10)
    specs = {b: dose_response.specify(data, basis=b, **COUNTS) for b in BASES[:2]}
    fits = {name: bm.fit(spec, "ml") for name, spec in specs.items()}
    assert "aic" in str(bm.compare(fits)).lower()
    robust = dose_response.curve(fits["dose"], [8.0], 2.0, vcov="CR2")
    assert robust.attrs["vcov"] == "CR2"
    plain = dose_response.curve(fits["dose"], [8.0], 2.0)
    assert robust["mean"].item() == plain["mean"].item()
    assert robust["upper"].item() != plain["upper"].item()
    predicted = bm.predict(fits["dose"], {"dose": 8.0, "dose_reference": 2.0}, scale="response")
    assert predicted["mean"].item() == pytest.approx(plain["mean"].item())
    assert "8" in bm.table(plain).to_markdown()


def test_intervals_of_dose_have_their_middles():
    data = cohorts(13, n=2, zero=True)
    ends = data.groupby("study").dose.shift(-1)
    cut = data.assign(low=data.dose, high=ends).drop(columns="dose")
    with pytest.warns(AssumptionWarning, match="'high' is open in rows"):
        spec = dose_response.specify(cut, bounds=("low", "high"), **COUNTS)
    middle = (data.dose + ends) / 2
    first = data[data.study == 0].index
    doses = spec.data.loc[spec.data.study == 0, "dose"].to_numpy()
    np.testing.assert_allclose(doses[:-1], middle[first[1:-1]])
    width = ends[first[-2]] - data.dose[first[-2]]
    assert doses[-1] == pytest.approx(data.dose[first[-1]] + width / 2)


def test_the_page_runs_and_names_every_function(tmp_path, monkeypatch):
    """Its printed table to a figure is fifteen lines, and has dosresmeta's slope for that table."""
    page = (Path(__file__).parents[2] / "docs/dose_response.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    first, posterior, printed = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    shared, names = {}, {}
    exec(first, shared)
    exec(posterior, shared)
    exec(printed, names)
    assert len([line for line in printed.splitlines() if line]) <= 15
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]
    row = bm.estimates(names["fit"], df="z").iloc[0]
    np.testing.assert_allclose([row["estimate"], row["se"]], [0.0454, 0.0207], atol=5e-5)
    assert {name for name in dir(dose_response) if f"{name}" not in page} == set()
    (example,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    parsed = tomllib.loads(example)["model"]["spline"]["dose_response"]
    assert len(dose_response.specify(bm.datasets.load("alcohol"), **parsed).coef) == 3


def test_numbers_of_the_page():
    """AIC of the paper's models, as printed and held to 1 at no alcohol."""
    page = (Path(__file__).parents[2] / "docs/dose_response.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith(("| L", "| NL"))
    ]
    models = bm.load_analysis("alcohol").models
    assert [row[0] for row in rows] == list(models)
    for name, printed, as_it_is, held in rows:
        arguments = dict(models[name].settings["dose_response"])
        assert printed == as_it_is
        for centered, written in ((False, as_it_is), (True, held)):
            spec = dose_response.specify(bm.datasets.load("alcohol"), **(arguments | {"center": centered}))
            assert f"{bm.fit(spec, 'ml')['criteria']['aic'].item():.2f}" == written, name


def test_given_covariances_follow_their_rows():
    """S over the rows of the data, in whatever order these are; the same model as by counts."""
    data = cohorts(14)
    crude = dose_response.specify(data, **COUNTS)
    reported = data.assign(y=0.0, se=np.nan)
    others = reported.index.difference(reported.groupby("study").head(1).index)
    reported.loc[others, ["y", "se"]] = np.column_stack([crude.y, np.sqrt(crude.S.variances)])
    whole = pd.DataFrame(dense(crude), others, others)
    shuffled = reported.sample(frac=1, random_state=3)
    own = {s: [row for row in shuffled.index[shuffled.study == s] if row in others] for s in shuffled.study.unique()}
    S = {study: whole.loc[at, at].to_numpy() for study, at in own.items()}
    for options in ({"se": "se"}, {}):  # standard errors are those of S
        marked = shuffled.assign(ref=~shuffled.index.isin(others))
        spec = dose_response.specify(marked, study="study", y="y", S=S, measure="logirr", reference="ref", **options)
        tree, known = bm.fit(spec, "fixed"), bm.fit(crude, "fixed")
        np.testing.assert_allclose(at(tree, 1.0, 9.0), at(known, 1.0, 9.0), atol=1e-9)
        gof = [dose_response.goodness_of_fit(t)["deviance"].item() for t in (tree, known)]
        assert gof[0] == pytest.approx(gof[1], rel=1e-9)


def test_limits_of_categories():
    table = pd.DataFrame({"study": "a", "from": [-np.inf, 10, 30], "to": [10, 30, np.inf], "cases": 50, "years": 1e3})
    spec = dose_response.specify(table, bounds=("from", "to"), **COUNTS)
    np.testing.assert_array_equal(spec.data["dose"], [20, 40])
    assert spec.analysis["reference_of"]["dose"] == {"a": 5.0}
    for change, words in (
        ({"to": [10, np.nan, np.inf], "from": [0, np.nan, 30]}, "neither column 'from' nor 'to' has a limit in row 1"),
        ({"to": [10, 5, np.inf]}, "'to' is below 'from' in row 1"),
    ):
        with pytest.raises(bm.DataError, match=words):
            dose_response.specify(table.assign(**change), bounds=("from", "to"), **COUNTS)
    alone = table.assign(**{"from": [0, 10, 50]})  # no category ends where the open one begins
    assert dose_response.specify(alone, bounds=("from", "to"), **COUNTS).data["dose"].iloc[-1] == 60


def test_categories_stand_as_text_as_papers_print_them() -> None:
    texts = ["0", "0.1-11.9", "12 \N{EN DASH} 23.9", "24 to 35.9", "36+", "<1", "1-10", "11-<20", ">=20"]
    table = pd.DataFrame({"study": ["a"] * 5 + ["b"] * 4, "grams": texts, "cases": 50, "years": 1e3})
    columns = {"study": "study", "cases": "cases", "person_years": "years", "dose": "grams"}
    table["first"] = table["grams"].isin(["0", "<1"])
    with pytest.warns(AssumptionWarning) as caught:
        spec = dose_response.specify(table, reference="first", center=False, **columns)
    np.testing.assert_allclose(spec.X[:, 0], [6, 17.95, 29.95, 41.95, 5.5, 15.5, 24.5])
    said = " ".join(str(each.message) for each in caught)
    assert "row 4: 36 and more as 41.95, as wide as 24 to 35.9" in said
    limits = pd.DataFrame(
        {"from": [0, 0.1, 12, 24, 36, np.nan, 1, 11, 20], "to": [0, 11.9, 23.9, 35.9, np.nan, 1, 10, 20, np.nan]}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        same = dose_response.specify(
            pd.concat([table.drop(columns="grams"), limits], axis=1),
            bounds=("from", "to"),
            reference="first",
            center=False,
            **columns,
        )
    np.testing.assert_array_equal(spec.X, same.X)
    assert not [name for name in spec.data.columns if "limit" in name]
    with pytest.raises(bm.DataError, match=r"column 'grams' is missing in row 3; every row needs its dose"):
        dose_response.specify(table.assign(grams=[*texts[:3], None, *texts[4:]]), reference="first", **columns)
    with pytest.raises(bm.DataError, match=r"is open in row 4, and nothing tells how far above 0 the category goes"):
        dose_response.specify(table.assign(grams=["0", "0", "0", "0", ">0", *texts[5:]]), reference="first", **columns)
    for bad in ("none", "5--10", "", "10-20 g"):
        with pytest.raises(bm.DataError, match=r"^column 'grams' holds .* in row 3, which is no category of dose"):
            dose_response.specify(table.assign(grams=[*texts[:3], bad, *texts[4:]]), reference="first", **columns)


def test_bends_of_posteriors_are_tested_by_the_names_of_their_coefficients() -> None:
    data = cohorts(13, n=4, zero=True)
    spec = dose_response.specify(data, basis="rcs(dose, 3)", **COUNTS)
    post = bm.sample(spec, random_seed=1)
    bend = float(bm.bayes_factor(post, f"{spec.coef[1]} = 0")["log_bayes_factor"])
    assert bend == pytest.approx(float(bm.bayes_factor(post, f"beta[{spec.coef[1]}] = 0")["log_bayes_factor"]))
    both = float(bm.bayes_factor(post, f"{spec.coef[0]} = 0, {spec.coef[1]} = 0")["log_bayes_factor"])
    assert both == pytest.approx(float(bm.bayes_factor(post, [f"{c} = 0" for c in spec.coef])["log_bayes_factor"]))
    with pytest.raises(bm.SpecError, match="held at zero together"):
        bm.bayes_factor(post, f"tau[study, {spec.coef[1]}] = 0")
    with pytest.raises(bm.SpecError, match=r"bm\.bayes_factor compares"):
        dose_response.nonlinearity(post)
    table = bm.table(dose_response.curve(post, [0.0, 2.0, 8.0])).paper()[0]
    assert [label for section in table.sections for label, *_ in section.rows] == ["0", "2", "8"]
    assert any("Interval: credible" in note for note in table.notes)
