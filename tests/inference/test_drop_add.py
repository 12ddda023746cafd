"""drop1 and add1: each step is the fit that a user would have specified."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import chi2

import bayesmeta as bm
from bayesmeta.errors import BoundaryWarning, DataError, SpecError
from bayesmeta.formula.parse import Terms
from bayesmeta.formula.update import FixedPart
from bayesmeta.model.respecify import with_fixed
from tests.support.awkward import awkward_data, awkward_spec

COLUMNS = ["y", "PD", "AL", "x", "z", "kind", "a b", "offset_2"]


def bcg(formula: str, method: str = "ml", **columns: Any) -> xr.DataTree:
    frame = bm.datasets.load("bcg").assign(**columns)
    return bm.fit(bm.specify(formula, frame, S="logorvar"), method=method)


def fewer(fixed: Any, common: str | None = None) -> dict[str, tuple[Any, str | None]]:
    steps = FixedPart.of(Terms(fixed, common=common), COLUMNS).fewer()
    return {label: (terms.fixed, terms.common) for label, terms in steps}


def more(fixed: Any, added: Any, common: str | None = None) -> dict[str, Any]:
    return {label: terms.fixed for label, terms in FixedPart.of(Terms(fixed, common=common), COLUMNS).more(added)}


def check_row(row: pd.Series, other: xr.DataTree, tree: xr.DataTree) -> None:
    """A row of the table against a fit specified by hand."""
    for name in ("df", "loglik", "aic", "aicc"):
        assert row[name] == pytest.approx(other["criteria"][name].item(), abs=1e-6)
    gain = 2 * abs(float(tree["criteria"]["loglik"] - other["criteria"]["loglik"]))
    df = abs(int(tree["criteria"]["df"] - other["criteria"]["df"]))
    assert row["lr_df"] == df
    assert row["statistic"] == pytest.approx(gain, abs=1e-6)
    assert row["pvalue"] == pytest.approx(chi2.sf(gain, df), abs=1e-6)


@pytest.mark.parametrize("method", ["ml", "fixed"])
def test_drop1(method: str) -> None:
    tree = bcg("logor ~ ablat + alloc", method)
    found = bm.drop1(tree).to_dataframe()
    assert list(found.index) == ["<none>", "ablat", "alloc"]
    assert found.loc["<none>", "loglik"] == tree["criteria"]["loglik"]
    assert found.loc["<none>", ["statistic", "lr_df", "pvalue"]].isna().all()
    for term, rest in (("ablat", "alloc"), ("alloc", "ablat")):
        check_row(found.loc[term], bcg(f"logor ~ {rest}", method), tree)


@pytest.mark.parametrize("method", ["ml", "fixed"])
def test_add1_is_the_reverse(method: str) -> None:
    tree = bcg("logor ~ ablat", method)
    found = bm.add1(tree, "year + alloc", data=bm.datasets.load("bcg")).to_dataframe()
    assert list(found.index) == ["<none>", "year", "alloc"]
    for term in ("year", "alloc"):
        check_row(found.loc[term], bcg(f"logor ~ ablat + {term}", method), tree)
    listed = bm.add1(tree, ["~ year", "alloc"], data=bm.datasets.load("bcg")).to_dataframe()
    pd.testing.assert_frame_equal(listed, found)


def test_terms_of_the_columns_that_the_tree_has_need_no_data(tmp_path: Path) -> None:
    bcg("logor ~ ablat").to_netcdf(tmp_path / "tree.nc")
    with xr.open_datatree(tmp_path / "tree.nc") as tree:
        found = bm.add1(tree, "I(ablat**2)").to_dataframe()
    check_row(found.iloc[1], bcg("logor ~ ablat + I(ablat**2)"), bcg("logor ~ ablat"))


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_several_outcomes_missing_values_and_an_offset() -> None:
    spec = awkward_spec()
    tree = bm.fit(spec, method="ml")
    found = bm.drop1(tree).to_dataframe()
    assert list(found.index) == ["<none>", "ns(dose, df=3)", "kind", "C(year)"]
    given = {"S": ["vA", "cAB", "vB"], "random": {"region": "1", "lab": "1 + dose"}, "offset": "base"}
    by_hand = bm.specify(
        "A + B ~ ns(dose, df=3) + C(year)", awkward_data(), **given, psi={"region": "diag", "lab": "cs"}
    )
    check_row(found.loc["kind"], bm.fit(by_hand, method="ml"), tree)
    assert found.loc["kind", "lr_df"] == 4


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_rows_stay_where_the_dropped_term_had_missing_values() -> None:
    ablat = bm.datasets.load("bcg")["ablat"].astype(float).mask(lambda v: v.index == 3)
    tree = bcg("logor ~ ablat + year", ablat=ablat)
    found = bm.drop1(tree).to_dataframe()
    rest = bm.fit(bm.specify("logor ~ year", bm.datasets.load("bcg").drop(index=3), S="logorvar"), method="ml")
    check_row(found.loc["ablat"], rest, tree)


def test_with_fixed_equals_a_new_specification() -> None:
    frame = awkward_data()
    given = {"S": ["vA", "cAB", "vB"], "random": "1 | region/lab", "offset": "base", "measure": "smd"}
    start = bm.specify("A + B ~ dose", frame, **given)
    expected = bm.specify("A + B ~ dose * kind", frame, **given)
    found = with_fixed(start, expected.terms, frame)
    assert found.coef == expected.coef
    np.testing.assert_array_equal(found.X, expected.X)
    for name in ("y", "offset", "row", "outcome_index", "kept"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.dropped, found.terms, found.notes) == (expected.dropped, expected.terms, expected.notes)
    again = bm.Spec.from_tree(bm.fit(found, method="fixed"))
    np.testing.assert_array_equal(again.design.fixed(again.data.loc[again.kept]).shape, (34, 2, 12))


def test_a_term_that_takes_up_a_level_is_said() -> None:
    school = bm.datasets.load("school")
    tree = bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district"), method="ml")
    with pytest.warns(BoundaryWarning, match="fixed part has an effect for each of its groups"):
        found = bm.add1(tree, "C(district)").to_dataframe()
    assert found.loc["C(district)", "lr_df"] == 10


def test_marginality() -> None:
    assert fewer("y ~ x * z + kind") == {
        "kind": ("y ~ 1 + x + z + x:z", None),
        "x:z": ("y ~ 1 + x + z + kind", None),
    }
    assert list(fewer("y ~ x:z + x")) == ["x:z"]
    assert more("y ~ x + z", "x:z") == {"x:z": "y ~ 1 + x + z + x:z"}
    assert more("y ~ x + z", "z:x")["z:x"] == "y ~ 1 + x + z + z:x"


def test_formulas() -> None:
    assert fewer("cbind(PD, AL) ~ 0 + x + z") == {
        "x": ("cbind(PD, AL) ~ 0 + z", None),
        "z": ("cbind(PD, AL) ~ 0 + x", None),
    }
    assert fewer("y ~ x + offset(log(z)) + offset_2") == {
        "x": ("y ~ 1 + offset_2 + offset(log(z))", None),
        "offset_2": ("y ~ 1 + x + offset(log(z))", None),
    }
    assert fewer({"PD": "x", "AL": "1"}) == {"PD: x": ({"PD": "1", "AL": "1"}, None)}
    assert fewer({"PD": "1", "AL": "1"}, common="x + z") == {
        "common: x": ({"PD": "1", "AL": "1"}, "z"),
        "common: z": ({"PD": "1", "AL": "1"}, "x"),
    }
    assert fewer("PD + AL ~ 1", common="x") == {"common: x": ("PD + AL ~ 1", None)}
    assert fewer("PD + AL ~ 0", common="1 + x") == {"common: x": ("PD + AL ~ 0", "1")}
    assert fewer("y ~ `a b` + x")["x"] == ("y ~ 1 + `a b`", None)
    assert more({"PD": "x", "AL": "1"}, "x") == {"x": {"PD": "x", "AL": "1 + x"}}
    assert more("y ~ 1", "log(`a b`)") == {"log(`a b`)": "y ~ 1 + log(`a b`)"}


@pytest.mark.parametrize(
    ("fixed", "added", "common", "message"),
    [
        ("y ~ x", "x", None, "'x' is in the model already"),
        ("PD + AL ~ 1", "x", "x", "'x' is in the model already, in common"),
        ("y ~ x", "x:z", None, "'x:z' cannot be added before z, which it contains"),
        ("y ~ 1", "x:z:kind", None, "cannot be added before x, z, kind, x:z, x:kind, z:kind"),
    ],
)
def test_terms_that_cannot_be_added(fixed: str, added: str, common: str | None, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        more(fixed, added, common)


def test_refusals() -> None:
    for step in (bm.drop1, lambda tree: bm.add1(tree, "year")):
        with pytest.raises(SpecError, match=r'a fit by reml does not allow\n  fit with method="ml"'):
            step(bcg("logor ~ ablat", "reml"))
    tree = bcg("logor ~ 1")
    with pytest.raises(SpecError, match="nothing to drop, the fixed part of 'logor ~ 1' has intercepts only"):
        bm.drop1(tree)
    with pytest.raises(SpecError, match=r"add1: formula 'years': no column 'years'(.|\n)*comes with data="):
        bm.add1(tree, "years")
    with pytest.raises(SpecError, match="nothing to add"):
        bm.add1(tree, "1")
    with pytest.raises(SpecError, match="no group /criteria"):
        bm.drop1(xr.DataTree())
    with pytest.raises(SpecError, match="the formula 'logor ~ 0' has no coefficients"):
        bm.drop1(bcg("logor ~ 0 + ablat"))
    with pytest.raises(SpecError, match="aliased"):
        bm.add1(bcg("logor ~ ablat"), "I(2 * ablat)")


def test_the_data_must_be_those_of_the_fit() -> None:
    frame = bm.datasets.load("bcg")
    tree = bcg("logor ~ ablat")
    with pytest.raises(DataError, match=r"data has other rows \(12\) than the data of the fit \(13\)"):
        bm.add1(tree, "year", data=frame[1:])
    with pytest.raises(DataError, match="data has other rows"):
        bm.add1(tree, "year", data=frame[::-1])
    with pytest.raises(DataError, match="column 'ablat' of data differs from that of the fit in row 4"):
        bm.add1(tree, "year", data=frame.assign(ablat=frame["ablat"].mask(frame.index == 4, 1)))
    with pytest.raises(DataError, match="missing year in row 2, 5, so the fits would not be of the same rows"):
        bm.add1(tree, "year", data=frame.assign(year=frame["year"].mask(frame.index.isin([2, 5]))))


def test_columns_of_other_types_are_the_same_data(tmp_path: Path) -> None:
    frame = bm.datasets.load("bcg").assign(
        when=lambda rows: pd.cut(rows["year"], [0, 1950, 2000]),
        ablat=lambda rows: rows["ablat"].astype("Int64"),
    )
    bm.fit(bm.specify("logor ~ ablat + when", frame, S="logorvar"), "ml").to_netcdf(tmp_path / "tree.nc")
    with xr.open_datatree(tmp_path / "tree.nc") as tree:
        assert list(bm.add1(tree, "year", data=frame).to_dataframe().index) == ["<none>", "year"]
        with pytest.raises(DataError, match="column 'ablat' of data differs from that of the fit in row 0"):
            bm.add1(tree, "year", data=frame.assign(ablat=frame["ablat"].mask(frame.index == frame.index[0])))


def test_it_prints() -> None:
    found = bm.drop1(bcg("logor ~ ablat + year"))
    lines = repr(found).splitlines()
    assert lines[0] == "Fixed part with one term less"
    assert lines[1].split() == ["df", "logLik", "AIC", "AICc", "LR", "LR", "df", "p-value"]
    assert lines[2].split() == ["<none>", "4", "-6.946", "21.892", "26.892"]
    assert lines[3].split() == ["ablat", "3", "-11.273", "28.546", "31.213", "8.654", "1", "0.0033"]
    assert "&lt;none&gt;" in found._repr_html_()
