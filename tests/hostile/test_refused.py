"""Models, priors and sizes that no one can mean: refused, or said to be what they are, before work begins."""

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.bayes.samplers import start
from bayesmeta.bayes.vicinity import vicinity
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.distributions import logp
from tests.benchmarks.load import factor
from tests.hostile.world import run, world

SOON = 1.0  # second, on a busy machine; most of these end within some milliseconds


def quickly(call: Callable[[], Any], message: str, error: type[Exception] = bm.BayesmetaError) -> None:
    start = time.process_time()
    with pytest.raises(error, match=message):
        call()
    assert time.process_time() - start < SOON


# names of coefficients


@pytest.mark.parametrize("values", ["x", "f"])
@pytest.mark.parametrize("formula", ["y ~ Intercept", "y ~ x + Intercept", "y ~ x:Intercept", "y ~ 0 + Intercept"])
def test_the_name_of_the_intercept_is_reserved(values: str, formula: str):
    data = world()["D"].assign(Intercept=world()["D"][values])
    with pytest.raises(bm.SpecError, match="'Intercept' is the name of a coefficient"):
        bm.specify(formula, data, S="v")


# models in which nothing varies

ROUTES: dict[str, Callable[[bm.Spec], Any]] = {
    "reml": bm.fit,
    "start": lambda spec: bm.fit(spec, "reml", max_iterations=5),
    "many": lambda spec: bm.fit_many(spec, world()["Y"]),
    "sample": lambda spec: bm.sample(spec, draws=4),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("S", ["v", {g: 0.2 * np.eye(2) for g in "abcde"}], ids=["variances", "blocks"])
def test_a_model_without_random_effects_is_said_to_be_one(route: str, S: Any):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spec = bm.specify("y ~ 1", world()["D"], S=S, groups="g")
        ROUTES[route](spec)
    assert any("common-effect model" in str(each.message) for each in caught)
    assert any("random='1 | g'" in note for note in spec.notes)


# columns of bm.within

DOSES = {"y": "logrr", "cases": "cases", "n": "peryears", "type": "type", "group": "id", "se": "se"}
SPOILED: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "standard errors below zero": lambda d: d.assign(se=-d.se),
    "standard errors of zero": lambda d: d.assign(se=d.se * 0),
    "infinite standard errors": lambda d: d.assign(se=d.se + np.inf),
    "no groups": lambda d: d.assign(id=np.nan),
    "log relative risks of thousands": lambda d: d.assign(logrr=d.logrr * 1e4),
    "negative cases": lambda d: d.assign(cases=-d.cases),
    "infinite person-years": lambda d: d.assign(peryears=np.inf),
    "more cases than persons": lambda d: d.assign(type="ci", peryears=d.cases / 2),
    "text": lambda d: d.assign(cases=d.cases.astype(str)),
    "truth values": lambda d: d.assign(se=d.se > 0),
    "enormous counts": lambda d: d.assign(peryears=1e300),
}

COMPUTABLE = {"log relative risks of thousands", "enormous counts"}  # where an answer, if there is one, is right


@pytest.mark.parametrize("method", [bm.within.greenland_longnecker, bm.within.hamling], ids=["gl", "hamling"])
@pytest.mark.parametrize("kind", SPOILED)
def test_columns_of_doses(kind: str, method: Callable[..., Any]):
    data = SPOILED[kind](bm.datasets.load("alcohol"))
    if kind not in COMPUTABLE:
        with pytest.raises(bm.BayesmetaError):
            method(data, **DOSES)
        return
    matrices: dict[Any, np.ndarray] = {}
    with suppress(bm.BayesmetaError):
        matrices = method(data, **DOSES)
    assert all(np.linalg.eigvalsh(matrix).min() > 0 for matrix in matrices.values())


@pytest.mark.parametrize("value", [np.inf, -np.inf, 0.0, -1.0, True, "1", 1j])
@pytest.mark.parametrize("column", ["v", "position"])
def test_columns_of_correlations(column: str, value: Any):
    data = world()["D"].assign(position=range(10))
    if (column, value) in (("position", 0.0), ("position", -1.0)):
        data["position"] = value  # the same twice in a group
    cells = data[column].astype(object)
    cells.iloc[0] = value
    with pytest.raises(bm.BayesmetaError, match=column):
        bm.within.ar1(data.assign(**{column: cells}), "v", 0.5, "g", position="position")
    if column == "v":
        with pytest.raises(bm.BayesmetaError, match="v"):
            bm.within.correlated(data.assign(v=cells), "v", 0.5, "g")


def test_rows_without_a_group_are_told():
    with pytest.warns(bm.AssumptionWarning, match="no group in row 0 of column 'g'"):
        bm.within.correlated(world()["D"].assign(g=[None, *"abbccddee"]), "v", 0.5, "g")


# priors

TWICE = {
    "Gamma": {"alpha": 1, "beta": 1, "mu": 1, "sigma": 1},
    "InverseGamma": {"alpha": 3, "beta": 1, "mu": 1, "sigma": 1},
    "Beta": {"alpha": 1, "beta": 1, "mu": 0.5, "sigma": 0.1},
}


@pytest.mark.parametrize("name", TWICE)
def test_priors_parametrised_twice(name: str):
    with pytest.raises(bm.SpecError, match="is parametrised twice"):
        resolve(world()["SPEC"], bm.Priors(tau=bm.Prior(name, **TWICE[name])))


@pytest.mark.parametrize(("lower", "upper"), [(1, 1), (2, 1), (0, 0), (-1, -1)])
@pytest.mark.parametrize("name", ["Uniform", "TruncatedNormal"])
def test_priors_without_support(name: str, lower: float, upper: float):
    prior = bm.Prior(name, lower=lower, upper=upper)
    for kind in ("tau", "beta"):
        with pytest.raises(bm.SpecError, match="has no support"):
            resolve(world()["SPEC"], bm.Priors(**{kind: prior}))


@pytest.mark.parametrize(
    "name", ["", " ", "Half Normal", "Normal()", "a\0", "\ud800", "1", "x" * 10 + ";", "os.system"]
)
def test_the_name_of_a_prior_is_a_word(name: str):
    with pytest.raises(bm.SpecError, match="the name of a prior is"):
        bm.Prior(name, sigma=1)


def test_priors_that_rule_much_out_are_noted():
    priors = bm.Priors(beta=bm.Prior("HalfNormal", sigma=1), tau=bm.Prior("Uniform", lower=2, upper=3))
    with pytest.warns(bm.AssumptionWarning) as caught:
        bm.to_pymc(world()["SPEC"], priors)
    texts = " ".join(str(each.message) for each in caught)
    assert "rules out negative values of beta[x]" in texts
    assert "rules out values of tau[g, Intercept] near zero" in texts


@pytest.mark.parametrize(
    "prior",
    [bm.Prior("HalfNormal", sigma=1), bm.Prior("Uniform", lower=50, upper=51), bm.Prior("Gamma", alpha=2, beta=1)],
)
def test_chains_begin_where_the_prior_of_coefficients_has_a_density(prior: bm.Prior):
    spec = world()["SPEC"]
    near = vicinity(spec)
    near = replace(near, beta=-np.abs(near.beta))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.AssumptionWarning)
        priors = resolve(spec, bm.Priors(beta=prior))
    beta = start(spec, priors, near)["beta"]
    assert np.isfinite(logp(prior, priors.centring @ beta)).all()
    assert start(spec, resolve(spec, bm.Priors()), near)["beta"] is near.beta


# sizes


@pytest.mark.parametrize("n", [10, 13, 16, 60])
@pytest.mark.parametrize("place", ["fixed", "random", "common"])
def test_terms_are_counted_before_they_are_made(n: int, place: str):
    names = [f"q{i}" for i in range(n)]
    data, product = world()["D"].assign(**dict.fromkeys(names, 1.0)), "*".join(names)
    parts = {
        "fixed": {"formula": f"y ~ {product}"},
        "random": {"formula": "y ~ 1", "random": f"{product} | g"},
        "common": {"formula": "y + y2 ~ 1", "common": product},
    }
    S = ["v", "v2"] if place == "common" else "v"
    quickly(lambda: bm.specify(**parts[place], data=data, S=S), f"has {2**n - 1:,} terms|terms; at most", bm.SpecError)


@pytest.mark.parametrize("psi", ["unstr", "id", "cs", "diag"])
def test_more_outcomes_than_can_be_estimated(psi: str):
    names = [f"y{j}" for j in range(300)]
    data = pd.DataFrame(np.random.default_rng(1).normal(size=(5, 300)), columns=names)
    formula = " + ".join(names) + " ~ 1"
    quickly(lambda: bm.specify(formula, data, S=np.ones((5, 300)), psi=psi), "has 300 random effects; at most 50")


def test_many_free_parameters_are_warned_of():
    names = [f"y{j}" for j in range(35)]
    data = pd.DataFrame(np.random.default_rng(1).normal(size=(60, 35)), columns=names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bm.specify(" + ".join(names) + " ~ 1", data, S=np.ones((60, 35)))
    assert any("630 free parameters; a search among so many takes minutes" in str(each.message) for each in caught)


SIZES: dict[str, Callable[[int], Any]] = {
    "draws": lambda n: bm.sample(world()["SPEC"], draws=n),
    "tune": lambda n: bm.sample(world()["SPEC"], tune=n),
    "chains": lambda n: bm.sample(world()["SPEC"], chains=n),
    "sensitivity": lambda n: bm.sensitivity(world()["SPEC"], {"a": bm.Priors()}, draws=n),
    "simulate": lambda n: bm.simulate(world()["T"], n, 1),
    "bootstrap": lambda n: bm.bootstrap(world()["T"], n=n, random_seed=1),
    "lr_test": lambda n: bm.lr_test(world()["NULL"], world()["TML"], bootstrap=n),
    "points": lambda n: bm.profile(world()["T"], points=n),
}


@pytest.mark.parametrize(
    "n", [10**10, 10**12, 10**30, 10**400, 10**5000], ids=["1e10", "1e12", "1e30", "1e400", "1e5000"]
)
@pytest.mark.parametrize("size", SIZES)
def test_sizes_beyond_any_machine(size: str, n: int):
    quickly(lambda: SIZES[size](n), "GB of memory|must be a whole number", bm.SpecError)


def test_a_factor_of_many_values():
    data = factor(np.random.default_rng(1), 300)
    start = time.process_time()
    tree = bm.fit(bm.specify(**data))
    assert time.process_time() - start < 2  # a tenth of it on a machine at rest
    assert tree["estimate"].sizes["coef"] == 300


# numbers that rounding has moved


def test_many_coefficients_of_nested_groups_are_sized_before_they_are_fitted():
    asked = factor(np.random.default_rng(1), 1_000)
    data = asked["data"].assign(outer=np.arange(2_000) // 20, inner=np.arange(2_000) // 2)
    with pytest.raises(bm.SpecError, match=r"1,000 coefficients with 1,000 groups of 'inner' .* need 24 GB of memory"):
        bm.specify(**{**asked, "data": data}, random="1 | outer/inner")
    fit = bm.fit(bm.specify(**{**asked, "data": data}, random="1 | inner"))  # 17 GB where squares of groups are kept
    assert fit.attrs["formula"] == "y ~ f"


@pytest.mark.parametrize("seed", range(5))
def test_correlation_matrices_as_other_software_computes_them(seed: int):
    data, rng = world()["D"], np.random.default_rng(seed)
    data = data.assign(y3=rng.normal(size=10), v3=0.2)
    R = np.corrcoef(rng.normal(size=(3, 10)))
    exact = np.where(np.eye(3) > 0, 1.0, R)
    arguments = {"formula": "y + y2 + y3 ~ 1", "data": data, "S": ["v", "v2", "v3"]}
    plain = bm.specify(**arguments, S_correlation=exact)
    for moved in (R, exact + np.diag([2.3e-16, -1.1e-16, 0]), exact + 1e-16 * rng.normal(size=(3, 3))):
        spec = bm.specify(**arguments, S_correlation=moved)
        np.testing.assert_allclose(spec.S.value, plain.S.value, rtol=1e-12)
    for i in range(3):
        off = exact.copy()
        off[i, i] = 1.01
        with pytest.raises(bm.SpecError, match=r"with itself is 1\.01, not 1"):
            bm.specify(**arguments, S_correlation=off)
    for i, j in combinations(range(3), 2):
        off = exact.copy()
        off[i, j] += 0.01
        with pytest.raises(bm.BayesmetaError):
            bm.specify(**arguments, S_correlation=off)


# columns of Arrow

TIMES = pd.to_datetime(["2020-01-01"] * 4 + ["2021-06-01"] * 6)
ARROW: dict[str, Callable[[], pd.Series]] = {
    "timestamp[ns]": lambda: pd.Series(TIMES).astype("timestamp[ns][pyarrow]"),
    "timestamp[s]": lambda: pd.Series(TIMES).astype("timestamp[s][pyarrow]"),
    "time zone": lambda: pd.Series(TIMES.tz_localize("UTC")).convert_dtypes(dtype_backend="pyarrow"),
    "duration": lambda: pd.Series(TIMES - TIMES[0]).astype("duration[ns][pyarrow]"),
    "date": lambda: pd.Series(TIMES).astype("timestamp[ns][pyarrow]").astype("date32[day][pyarrow]"),
    "string": lambda: pd.Series(list("aaaabbbbbb")).astype("string[pyarrow]"),
    "int64": lambda: pd.Series([1] * 4 + [2] * 6).astype("int64[pyarrow]"),
}


@pytest.mark.parametrize("kind", ARROW)
@pytest.mark.parametrize("missing", [False, True])
def test_groups_in_columns_of_arrow(kind: str, missing: bool):
    pytest.importorskip("pyarrow")
    data, groups = world()["D"], ARROW[kind]()
    if missing:
        groups = groups.where(groups.index != 5)
    plain = groups.astype(object).map(str, na_action="ignore")
    fit = bm.fit(bm.specify("y ~ 1", data.assign(g=groups), S="v", random="1 | g"))
    same = bm.fit(bm.specify("y ~ 1", data.assign(g=plain), S="v", random="1 | g"))
    np.testing.assert_allclose(fit["estimate"]["beta"], same["estimate"]["beta"])
    assert bm.Spec.from_tree(fit).levels[0].labels == bm.Spec.from_tree(same).levels[0].labels


# lists of names


@pytest.mark.parametrize("form", [list, tuple, np.array, pd.Series, pd.Index])
def test_names_in_any_sequence(form: Callable[[list[str]], Any]):
    tree = world()["T"]
    assert list(bm.compare(tree, tree, names=form(["one", "two"])).trees) == ["one", "two"]


@pytest.mark.parametrize("contours", [[[]], [[0.9]], [[0.9, 0.5], [0.1, 0.2]], pd.DataFrame(), np.ones((1, 1)) / 2])
def test_contours_are_one_list(contours: Any):
    with pytest.raises(bm.SpecError, match=r"contours is .* it must be a list of probabilities"):
        bm.plots.funnel(world()["T"], contours=contours)


# found by the generator


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bm.diagnostic.specify(A, study='s', link=np.ma.masked)", "link is masked; it must be one of"),
        ("bm.diagnostic.auc(ACC, within=np.array(1.0))", "within is 1.0; it must be two rates"),
        ("bm.table(T, columns={'y', 'v'})", "it must be a name or a list of names"),
        ("bm.plots.bubble(T, 'x', interval=set())", r"interval is set\(\)"),
        ("bm.assurance(POST, [[1], [1, 2]], below=0, newdata={'x': 1})", "se is ragged"),
        ("bm.specify('y ~ x', D, S='v', subset=POST)", "true or false for each of 10 rows"),
        ("bm.specify('y ~ x', D, S='v', subset=[[1], [1, 2]])", "true or false for each of 10 rows"),
        ("bm.plots.qqnorm(T, simulations=10**12)", "need 320,000 GB"),
        ("bm.load('\\ud800')", "it must be the name of a file"),
        (
            "bm.network.specify(ARMS, study='s', treatment='t', events=2, total='n', measure='logor')",
            "events is 2; it must be a name or a list of names",
        ),
    ],
)
def test_what_was_foreign_or_silent_once(line: str, message: str):
    with pytest.raises(bm.BayesmetaError, match=message):
        run(line)


def test_intervals_of_hardly_any_probability_are_the_estimate():
    interval = run("bm.small_study.henmi_copas(ALONE, prob=1e-9)")
    assert float(interval["lower"]) == pytest.approx(float(interval["estimate"]), abs=1e-6)
    assert float(interval["upper"]) == pytest.approx(float(interval["estimate"]), abs=1e-6)


@pytest.mark.parametrize(("ratio", "limit"), [(1e308, 1e15), (1e-320, 1e-15)])
def test_cells_of_odds_ratios_without_bounds(ratio: float, limit: float):
    margins = pd.DataFrame({"n": [40.0, 60.0], "e": [20.0, 70.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        cells = [bm.effects.cells_from(margins, 100, "n", "e", odds_ratio=each) for each in (ratio, limit)]
    pd.testing.assert_frame_equal(*cells)
