"""Fits without each group, and with one more at a time: those of metafor, those of the rows alone, and refusals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from tests.support.posteriors import make_posterior

COLUMNS = {
    "estimate": "estimate",
    "se": "se",
    "statistic": "zval",
    "pvalue": "pval",
    "lower": "ci.lb",
    "upper": "ci.ub",
}
VARIATION = {"tau2": "tau2", "I2": "I2", "H2": "H2", "Q": "Q"}


@pytest.fixture(scope="module")
def bcg() -> pd.DataFrame:
    return bm.datasets.load("bcg")


@pytest.fixture(scope="module")
def fit(bcg: pd.DataFrame) -> Any:
    return bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor"))


@pytest.fixture(scope="module")
def school() -> Any:
    data = bm.datasets.load("school")
    return bm.fit(bm.specify("effect ~ 1", data, S="var", random="1 | district/study"))


@pytest.fixture(scope="module")
def metafor(reference: Callable[[str], Any]) -> Any:
    return reference("metafor/left_out")


def close(ours: pd.Series, theirs: list[float]) -> None:
    np.testing.assert_allclose(ours.to_numpy(float), np.asarray(theirs, float).ravel(), rtol=1e-5, atol=1e-7)


def test_without_each_study_as_leave1out(fit: Any, bcg: pd.DataFrame, metafor: Any) -> None:
    table, theirs = bm.leave_one_out(fit, df="z"), metafor["bcg"]["leave1out"]
    assert [name.split(" (")[0] for name in table["left_out"]] == list(bcg["author"])
    assert set(table["k"]) == {12}
    for ours, name in (COLUMNS | VARIATION).items():
        close(table[ours], theirs[name])
    np.testing.assert_allclose(table["Q_pvalue"], theirs["Qp"], rtol=1e-4)
    assert table["converged"].all()


def test_one_study_more_at_a_time_as_cumul(fit: Any, bcg: pd.DataFrame, metafor: Any) -> None:
    table, theirs = bm.cumulative(fit, "year", df="z"), metafor["bcg"]["cumul"]
    assert table["order"].tolist() == theirs["order"] == sorted(bcg["year"])
    assert table["k"].tolist() == list(range(1, 14))
    for ours, name in COLUMNS.items():
        close(table[ours], theirs[name])
    for ours, name in VARIATION.items():  # of a single study metafor says that I2 is 0, where nothing is known of it
        close(table[ours][1:], theirs[name][1:])
    assert np.isnan(table.loc[0, ["I2", "H2"]].astype(float)).all()
    assert table["estimate"].iloc[-1] == pytest.approx(float(fit["estimate/beta"][0]), rel=1e-9)


def test_with_a_predictor(bcg: pd.DataFrame, metafor: Any) -> None:
    spec = bm.specify("logor ~ ablat", bcg, S="logorvar", measure="logor")
    table, theirs = bm.leave_one_out(bm.fit(spec), df="z"), metafor["bcg_ablat"]
    assert table["term"].tolist() == ["Intercept", "ablat"] * 13
    close(table["estimate"], theirs["beta"])
    close(table["se"], theirs["se"])
    close(table["tau2"][::2], theirs["tau2"])
    close(table["Q"][1::2], theirs["QE"])


def test_groups_of_nested_levels(school: Any, metafor: Any) -> None:
    """District by district; metafor's rma.mv of the rows that are left."""
    theirs = metafor["school"]
    table = bm.leave_one_out(school, df="z")
    assert table["left_out"].tolist() == theirs["districts"]
    upto = bm.cumulative(school, df="z").iloc[3:]
    for own, part in ((table, "without"), (upto, "upto")):
        close(own["estimate"], theirs[part]["beta"])
        close(own["se"], theirs[part]["se"])
        close(own["Q"], theirs[part]["Q"])
        np.testing.assert_allclose(
            own[["tau2[district]", "tau2[study]"]].to_numpy(), np.asarray(theirs[part]["tau2"]), rtol=1e-4, atol=1e-8
        )


def test_several_outcomes(metafor: Any) -> None:
    berkey = bm.datasets.load("berkey98")
    tree = bm.fit(bm.specify("PD + AL ~ 1", berkey, S=["var_PD", "cov_PD_AL", "var_AL"]))
    table, theirs = bm.leave_one_out(tree, df="z"), metafor["berkey98"]
    assert table["outcome"].tolist() == ["PD", "AL"] * 5
    close(table["estimate"], theirs["beta"])
    close(table["se"], theirs["se"])
    np.testing.assert_allclose(table["tau2"], np.ravel(theirs["tau2"]), rtol=1e-4)
    whole = bm.heterogeneity(tree)["Q"].sel(outcome=["PD", "AL"]).to_numpy()
    np.testing.assert_allclose(bm.cumulative(tree)["Q"].iloc[-2:], whole)


@pytest.mark.parametrize("method", ["reml", "ml", "fixed", "dl", "sj", "pm"])
def test_every_method_is_fitted_as_it_was(bcg: pd.DataFrame, method: str) -> None:
    spec = bm.specify("logor ~ 1", bcg, S="logorvar")
    row = bm.leave_one_out(bm.fit(spec, method)).iloc[4]
    alone = bm.fit(bm.specify("logor ~ 1", bcg.drop(4), S="logorvar"), method)
    assert row["estimate"] == pytest.approx(float(alone["estimate/beta"][0]), rel=1e-7)
    assert row["tau2"] == pytest.approx(float(alone["estimate/psi_unit"].squeeze()), rel=1e-6)
    first = bm.cumulative(bm.fit(spec, method)).iloc[0]
    assert (first["estimate"], first["tau2"]) == (pytest.approx(bcg["logor"][0]), 0)


def test_random_slopes_have_a_variance_each(bcg: pd.DataFrame) -> None:
    data = bm.datasets.load("school")
    data["time"] = (data["year"] - 1990) / 10
    spec = bm.specify("effect ~ time", data, S="var", random="1 + time | district", psi="diag")
    table = bm.leave_one_out(bm.fit(spec, "ml"))
    alone = bm.fit(
        bm.specify("effect ~ time", data[data["district"] != 12], S="var", random="1 + time | district", psi="diag"),
        "ml",
    )
    own = table[table["left_out"] == "12"].iloc[0]
    variances = np.diag(alone["estimate/psi_district"].to_numpy())
    np.testing.assert_allclose(
        own[["tau2[district, Intercept]", "tau2[district, time]"]].astype(float), variances, rtol=1e-4, atol=1e-7
    )


def test_what_is_left_out(fit: Any, bcg: pd.DataFrame, school: Any) -> None:
    by_name, by_value = bm.leave_one_out(fit, "alloc"), bm.leave_one_out(fit, bcg["alloc"])
    assert by_name["left_out"].tolist() == ["random", "alternate", "systematic"]
    assert by_name["k"].tolist() == [6, 11, 9]
    pd.testing.assert_frame_equal(by_name, by_value)
    studies = bm.leave_one_out(school, "study")
    assert studies["left_out"].tolist()[:2] == ["11/1", "11/2"]
    assert (len(studies), set(studies["k"])) == (56, {55})


def test_rows_that_the_model_has_dropped_are_in_no_part(bcg: pd.DataFrame) -> None:
    data = bcg.copy()
    data.loc[2, "logor"] = np.nan
    data.loc[2, "year"] = -1
    tree = bm.fit(bm.specify("logor ~ 1", data, S="logorvar"))
    table = bm.leave_one_out(tree)
    assert (len(table), set(table["k"])) == (12, {11})
    assert bm.cumulative(tree, "year")["order"].min() == bcg["year"].drop(2).min()


def test_ties_keep_the_order_of_the_data(fit: Any, bcg: pd.DataFrame) -> None:
    names = bm.cumulative(fit)["added"].tolist()
    assert bm.cumulative(fit, [1] * 13)["added"].tolist() == names
    halves = np.arange(13) % 2
    assert bm.cumulative(fit, halves)["added"].tolist() == names[::2] + names[1::2]
    quality = pd.Categorical(["high", "low"] * 6 + ["high"], ["low", "high"])
    assert bm.cumulative(fit, quality)["order"].tolist() == ["low"] * 6 + ["high"] * 7
    assert bm.cumulative(fit, -bcg["year"])["added"].tolist()[0] == names[int(bcg["year"].argmax())]


def test_a_group_comes_where_its_first_row_does(school: Any) -> None:
    data = bm.datasets.load("school")
    table = bm.cumulative(school, "year")
    first = data.groupby("district", sort=False)["year"].min().sort_values(kind="stable")
    assert table["added"].tolist() == [str(district) for district in first.index]
    assert table["order"].tolist() == first.tolist()


def test_odds_ratios(fit: Any) -> None:
    logs, ratios = bm.cumulative(fit, "year"), bm.cumulative(fit, "year", scale="response", prob=0.9)
    np.testing.assert_allclose(ratios["estimate"], np.exp(logs["estimate"]))
    assert (ratios["lower"] > np.exp(logs["lower"])).all()
    assert ratios["se"].isna().all()
    np.testing.assert_allclose(ratios["statistic"], logs["statistic"])
    assert ratios.attrs == {"prob": 0.9, "scale": "response", "by": "row"}


def test_what_the_rows_that_are_left_do_not_identify_is_unknown(bcg: pd.DataFrame) -> None:
    tree = bm.fit(bm.specify("logor ~ alloc", bcg, S="logorvar"))
    with pytest.warns(
        bm.AssumptionWarning, match="the data without alloc random, alternate, systematic do not identify"
    ):
        table = bm.leave_one_out(tree, "alloc")
    assert table[["estimate", "tau2", "Q"]].isna().all(axis=None)
    assert not table["converged"].any()


@pytest.mark.parametrize("question", [bm.leave_one_out, bm.cumulative])
def test_what_is_refused(question: Callable[..., pd.DataFrame], fit: Any, bcg: pd.DataFrame) -> None:
    name = question.__name__
    with pytest.raises(bm.SpecError, match=f"{name}: there is one group only"):
        question(fit, by=["all"] * 13)
    with pytest.raises(
        bm.SpecError, match="by='aloc' is neither a level nor a column in this tree; did you mean 'alloc'"
    ):
        question(fit, by="aloc")
    with pytest.raises(bm.SpecError, match="by has 2 values, but the data have 13 rows"):
        question(fit, by=[1, 2])
    with pytest.raises(bm.SpecError, match="by is a int"):
        question(fit, by=3)
    with pytest.raises(bm.DataError, match=r"by \('alloc'\) is missing in rows of the model: Aronson \(1948\)"):
        question(fit, by=bcg["alloc"].where(bcg.index > 0))
    with pytest.raises(bm.SpecError, match="prob"):
        question(fit, prob=95)
    with pytest.raises(bm.SpecError, match="scale"):
        question(fit, scale="odds")
    with pytest.raises(bm.SpecError, match="vcov is for fits: the intervals of a posterior are its own"):
        question(make_posterior(bm.specify("logor ~ 1", bcg, S="logorvar")), vcov="CR2")
    with pytest.raises(bm.SpecError, match="tree"):
        question(bcg)


def test_orders_that_are_refused(fit: Any, bcg: pd.DataFrame) -> None:
    with pytest.raises(bm.DataError, match=r"order \('year'\) is missing in rows of the model: Aronson \(1948\)"):
        bm.cumulative(fit, bcg["year"].where(bcg.index > 0))
    with pytest.raises(bm.SpecError, match="order='yaer' is not a column in this tree; did you mean 'year'"):
        bm.cumulative(fit, "yaer")
    with pytest.raises(bm.SpecError, match="its values cannot be ordered"):
        bm.cumulative(fit, [{}] * 13)


def test_a_tree_read_from_a_file(fit: Any, tmp_path: Any) -> None:
    bm.save(fit, tmp_path / "fit.nc")
    pd.testing.assert_frame_equal(bm.leave_one_out(bm.load(tmp_path / "fit.nc")), bm.leave_one_out(fit))
