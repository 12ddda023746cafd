"""marginaleffects on fits: predictions are those of `bm.predict`, standard errors those of the delta method by hand."""

import subprocess
import sys
import warnings

import marginaleffects as me
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.inference import marginal_model
from tests.support.posteriors import make_posterior

BCG = bm.datasets.load("bcg")
COMPARES = marginal_model._compares_categories()
old_polars = pytest.mark.skipif(
    not COMPARES, reason="marginaleffects 0.6.1 compares categories by a method that polars 2 has no more"
)
pytestmark = [
    pytest.mark.filterwarnings("ignore:`cat.get_categories:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:marginaleffects and polars, in the versions:bayesmeta.errors.BayesmetaWarning"),
]


def fitted(formula: str, data: pd.DataFrame = BCG) -> xr.DataTree:
    return bm.fit(bm.specify(formula, data, S="logorvar", measure="logor"))


def berkey() -> xr.DataTree:
    data = bm.datasets.load("berkey98")
    data.loc[0, "AL"] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = bm.specify("PD + AL ~ pubyear", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi="diag")
    return bm.fit(spec)


def two_levels() -> xr.DataTree:
    school = bm.datasets.load("school")
    return bm.fit(bm.specify("effect ~ year + I((year - 1990)**2)", school, S="var", random="1 | district/study"))


CASES = {
    "one predictor": (lambda: fitted("logor ~ ablat"), None),
    "none": (lambda: fitted("logor ~ 1"), None),
    "a factor and a product": (lambda: fitted("logor ~ ablat * alloc"), None),
    "a number as a factor": (lambda: fitted("logor ~ C(small)", BCG.assign(small=(BCG.tpos < 10).astype(int))), None),
    "a spline": (lambda: fitted("logor ~ ns(ablat, df=2)"), None),
    "two levels": (two_levels, None),
    "outcome PD": (berkey, "PD"),
    "outcome AL": (berkey, "AL"),
}


def design(tree: xr.DataTree, newdata: pd.DataFrame, outcome: str | None) -> np.ndarray:
    spec = bm.Spec.from_tree(tree)
    return spec.design.fixed(newdata)[:, spec.outcomes.index(outcome) if outcome else 0]


def se_by_hand(tree: xr.DataTree, J: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("np,pq,nq->n", J, tree["estimate"]["beta_cov"].to_numpy(), J))


@pytest.mark.parametrize("case", CASES)
def test_predictions_are_those_of_predict(case: str) -> None:
    make, outcome = CASES[case]
    tree = make()
    ours = bm.predict(tree, df="z")  # as marginaleffects, which takes the normal distribution
    ours = ours.sel(outcome=outcome) if outcome else ours.isel(outcome=0)
    theirs = me.predictions(bm.to_marginaleffects(tree, outcome))
    for name, column in (("mean", "estimate"), ("se", "std_error"), ("lower", "conf_low"), ("upper", "conf_high")):
        np.testing.assert_allclose(theirs[column].to_numpy(), ours[name].to_numpy(), rtol=1e-10, atol=1e-12)


def test_new_rows_and_the_response_scale() -> None:
    tree = fitted("logor ~ ablat")
    theirs = me.predictions(bm.to_marginaleffects(tree), newdata=pl.DataFrame({"ablat": [10, 50]}), transform=np.exp)
    ours = bm.predict(tree, {"ablat": [10, 50]}, scale="response", df="z")
    for name, column in (("mean", "estimate"), ("lower", "conf_low"), ("upper", "conf_high")):
        np.testing.assert_allclose(theirs[column].to_numpy(), ours[name].to_numpy().ravel(), rtol=1e-10)


def test_average_predictions_by_the_delta_method() -> None:
    tree = fitted("logor ~ ablat + alloc")
    model = bm.to_marginaleffects(tree)
    X = design(tree, BCG, None)
    overall = me.avg_predictions(model)
    assert overall["estimate"].item() == pytest.approx((X @ tree["estimate"]["beta"].to_numpy()).mean(), rel=1e-12)
    assert overall["std_error"].item() == pytest.approx(se_by_hand(tree, X.mean(0, keepdims=True))[0], rel=1e-10)
    by = me.avg_predictions(model, by="alloc").sort("alloc")
    J = np.stack([X[(BCG.alloc == each).to_numpy()].mean(0) for each in by["alloc"].to_list()])
    np.testing.assert_allclose(by["std_error"].to_numpy(), se_by_hand(tree, J), rtol=1e-10)


def test_comparisons_by_the_delta_method() -> None:
    tree = fitted("logor ~ ablat * year")
    theirs = me.comparisons(bm.to_marginaleffects(tree), variables={"ablat": 10})
    J = design(tree, BCG.assign(ablat=BCG.ablat + 10), None) - design(tree, BCG, None)
    np.testing.assert_allclose(theirs["estimate"].to_numpy(), J @ tree["estimate"]["beta"].to_numpy(), rtol=1e-8)
    np.testing.assert_allclose(theirs["std_error"].to_numpy(), se_by_hand(tree, J), rtol=1e-6)


@old_polars
def test_comparisons_of_categories() -> None:
    tree = fitted("logor ~ alloc + ablat")
    theirs = me.avg_comparisons(bm.to_marginaleffects(tree), variables="alloc").sort("contrast")
    assert theirs["contrast"].to_list() == ["random - alternate", "systematic - alternate"]
    rows = bm.estimates(tree, df="z").loc[["beta[alloc[T.random]]", "beta[alloc[T.systematic]]"]]
    np.testing.assert_allclose(theirs["estimate"].to_numpy(), rows["estimate"], rtol=1e-8)
    np.testing.assert_allclose(theirs["std_error"].to_numpy(), rows["se"], rtol=1e-8)


@pytest.mark.parametrize(
    ("case", "name"), [("one predictor", "ablat"), ("outcome PD", "pubyear"), ("outcome AL", "pubyear")]
)
def test_slopes_are_coefficients_with_their_standard_errors(case: str, name: str) -> None:
    make, outcome = CASES[case]
    tree = make()
    row = bm.estimates(tree, df="z").loc[f"beta[{outcome}.{name}]" if outcome else f"beta[{name}]"]
    model = bm.to_marginaleffects(tree, outcome)
    for function in (me.slopes, me.avg_slopes):
        theirs = function(model, variables=name, eps_vcov=1.0)
        np.testing.assert_allclose(theirs["estimate"].to_numpy(), row["estimate"], rtol=1e-6)
        np.testing.assert_allclose(theirs["std_error"].to_numpy(), row["se"], rtol=1e-6)


def test_slopes_with_the_default_step_are_refused_since_their_errors_are_rounding() -> None:
    model = bm.to_marginaleffects(berkey(), "AL")
    with pytest.raises(bm.SpecError, match=r"steps too small for standard errors(.|\n)*eps_vcov=1\.0"):
        me.avg_slopes(model, variables="pubyear")
    assert me.avg_slopes(model, variables="pubyear", vcov=False)["estimate"].len() == 1


def test_a_test_of_a_difference_agrees_with_the_covariance() -> None:
    tree = fitted("logor ~ ablat")
    grid = pl.DataFrame({"ablat": [10, 50]})
    theirs = me.predictions(bm.to_marginaleffects(tree), newdata=grid, hypothesis="b1 - b0 = 0", eps_vcov=1.0)
    J = np.array([[0.0, 40.0]])
    assert theirs["estimate"].item() == pytest.approx((J @ tree["estimate"]["beta"].to_numpy())[0], rel=1e-10)
    assert theirs["std_error"].item() == pytest.approx(se_by_hand(tree, J)[0], rel=1e-8)


def test_categories_of_pandas_come_in_their_order_and_back_as_what_they_are() -> None:
    data = BCG.assign(half=pd.Categorical(np.where(BCG.ablat > 30, "north", "middle"), ["north", "middle"]))
    model = bm.to_marginaleffects(fitted("logor ~ half", data))
    assert list(model.categories["half"]) == ["north", "middle"]
    number = bm.to_marginaleffects(fitted("logor ~ C(small)", BCG.assign(small=(BCG.tpos < 10).astype(int))))
    assert number.categories == {"small": {"0": 0, "1": 1}}


def test_what_cannot_be_given_to_it_is_refused() -> None:
    spec = bm.specify("logor ~ ablat", BCG, S="logorvar")
    with pytest.raises(bm.SpecError, match="a posterior has draws"):
        bm.to_marginaleffects(make_posterior(spec, draws=20))
    for value in (None, 3, BCG, bm.summary(bm.fit(spec))):
        with pytest.raises(bm.SpecError):
            bm.to_marginaleffects(value)  # type: ignore[arg-type]
    with pytest.raises(bm.SpecError, match=r"several outcomes: PD, AL\n.*outcome='PD'"):
        bm.to_marginaleffects(berkey())
    with pytest.raises(bm.SpecError, match="no outcome 'BL'"):
        bm.to_marginaleffects(berkey(), "BL")
    with pytest.raises(bm.SpecError, match="this model has an offset"):
        bm.to_marginaleffects(bm.fit(bm.specify("logor ~ ablat", BCG.assign(o=0.1), S="logorvar", offset="o")))
    with pytest.raises(bm.SpecError, match="the predictor 'group' has a name that marginaleffects keeps"):
        bm.to_marginaleffects(fitted("logor ~ group", BCG.assign(group=BCG.ablat)))
    with pytest.raises(bm.SpecError, match="vcov is 'HC3'"):
        me.predictions(bm.to_marginaleffects(bm.fit(spec)), vcov="HC3")


def test_a_matrix_of_ones_own_is_used() -> None:
    tree = fitted("logor ~ ablat")
    V = 4 * tree["estimate"]["beta_cov"].to_numpy()
    theirs = me.predictions(bm.to_marginaleffects(tree), vcov=V)
    np.testing.assert_allclose(
        theirs["std_error"].to_numpy(), 2 * bm.predict(tree, df="z")["se"].to_numpy().ravel(), rtol=1e-10
    )


def test_a_sandwich_covariance_is_that_of_the_estimates() -> None:
    tree = fitted("logor ~ ablat")
    theirs = me.predictions(bm.to_marginaleffects(tree), vcov="CR2")
    own = bm.predict(tree, vcov="CR2")["se"].to_numpy().ravel()
    np.testing.assert_allclose(theirs["std_error"].to_numpy(), own, rtol=1e-10)


@pytest.mark.skipif(COMPARES, reason="the warning is for versions that do not go together")
@pytest.mark.filterwarnings("error")
def test_versions_that_cannot_compare_categories_are_said() -> None:
    with pytest.warns(bm.BayesmetaWarning, match=r"cannot compare categories: alloc\n"):
        bm.to_marginaleffects(fitted("logor ~ alloc"))
    bm.to_marginaleffects(fitted("logor ~ ablat"))


def test_without_the_package_it_says_how_to_get_it() -> None:
    code = """
import sys
sys.modules["marginaleffects"] = None
import bayesmeta as bm
try:
    bm.to_marginaleffects
except bm.SpecError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "bm.to_marginaleffects needs marginaleffects, which is not installed" in ran.stdout, ran.stderr
    assert 'pip install "bayesmeta[marginaleffects]"' in ran.stdout
