"""Refits over the assumed correlation: those of specifications made with it, one by one."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta import within

GRID = [0.0, 0.3, 0.8]
pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning")


def school() -> pd.DataFrame:
    return bm.datasets.load("school")


def specify(S: Any, **options: Any) -> bm.Spec:
    return bm.specify("effect ~ year", school(), S=S, **({"random": "1 | district/study"} | options))


BUILDERS = {
    "correlated": lambda r: within.correlated(school(), "var", r, "district"),
    "vcalc": lambda r: within.vcalc(school(), "var", "district", obs="study", rho=r),
    "imputed": lambda r: within.imputed(school(), "var", "district", rho=r, smooth=True),
    "car1": lambda r: within.car1(school().assign(at=range(56)), "var", r, "district", "at"),
}


@pytest.mark.parametrize("name", list(BUILDERS))
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_every_correlation_as_if_it_were_assumed(name: str, method: str) -> None:
    data = school().assign(at=range(56))
    spec = bm.specify("effect ~ year", data, S=BUILDERS[name](0.5), random="1 | district/study")
    table = bm.rho_sensitivity(spec, GRID, method=method)
    for r in GRID:
        alone = bm.fit(
            bm.specify("effect ~ year", data, S=BUILDERS[name](r), random="1 | district/study"), method=method
        )
        own = table[table.rho == r].set_index("parameter")
        expected, robust = bm.estimates(alone), bm.estimates(alone, vcov="CR2")
        assert own["loglik"].iloc[0] == pytest.approx(float(alone.criteria["loglik"]), abs=1e-7)
        for column in ("estimate", "se", "lower", "upper"):
            values = expected.loc[own.index, column].to_numpy(float)
            np.testing.assert_allclose(own[column].to_numpy(float), values, rtol=2e-3, atol=1e-5)
        beta = own[own.kind == "beta"]
        np.testing.assert_allclose(beta["robust_se"], robust.loc[beta.index, "se"], rtol=2e-3)
        assert own.loc[own.kind == "tau", "robust_se"].isna().all()
    assert "correlate" in table.attrs["assumed"]


def test_variances_alone_get_one_correlation_for_each_group() -> None:
    plain, assumed = (bm.rho_sensitivity(spec, GRID) for spec in (specify("var"), specify(BUILDERS["correlated"](0.1))))
    pd.testing.assert_frame_equal(plain, assumed, atol=1e-6)


def test_outcomes_of_a_row_and_functions_of_rho() -> None:
    berkey = bm.datasets.load("berkey98")
    variances = ["var_PD", "var_AL"]
    spec = bm.specify("PD + AL ~ 1", berkey, S=variances, S_correlation=0.1)
    table = bm.rho_sensitivity(spec, [0.0, 0.6])
    alone = bm.fit(bm.specify("PD + AL ~ 1", berkey, S=variances, S_correlation=0.6))
    own = table[table.rho == 0.6].set_index("parameter")
    np.testing.assert_allclose(own.loc["beta[PD.Intercept]", "estimate"], alone.estimate["beta"][0], rtol=1e-4)
    given = specify(dict(BUILDERS["correlated"](0.5)))
    with pytest.raises(bm.SpecError, match="S was given as it is"):
        bm.rho_sensitivity(given)
    by_function = bm.rho_sensitivity(given, GRID, S=BUILDERS["correlated"])
    pd.testing.assert_frame_equal(by_function, bm.rho_sensitivity(specify("var"), GRID), atol=1e-6)


def test_after_a_file_and_with_missing_outcomes(tmp_path: Any) -> None:
    data = school()
    data.loc[[3, 17], "effect"] = np.nan
    S = within.correlated(data, "var", 0.4, "district")
    spec = bm.specify("effect ~ 1", data, S=S, random="1 | district/study")
    again = bm.Spec.from_tree(bm.load(bm.save(bm.fit(spec), tmp_path / "tree.nc")))
    pd.testing.assert_frame_equal(bm.rho_sensitivity(again, [0.2]), bm.rho_sensitivity(spec, [0.2]))


@pytest.mark.parametrize("method", ["mm", "fixed", "ml"])
def test_other_methods(method: str) -> None:
    random = None if method == "mm" else "1 | district"
    table = bm.rho_sensitivity(specify("var", random=random), [0.0, 0.5], method=method)
    assert np.isfinite(table.loc[table.kind == "beta", "estimate"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rho": 0.5}, "must be a list of correlations"),
        ({"rho": []}, "must be a list of correlations"),
        ({"rho": [0.5, 1.0]}, "rho has 1.0; correlations lie between -1 and 1"),
        ({"rho": [0.5, "x"]}, "rho has 'x'"),
        ({"rho": [0.5, 0.5]}, "a correlation twice"),
        ({"S": 0.5}, "S is 0.5; it must be a function of rho"),
        ({"S": lambda r: np.eye(3)}, r"S of rho has shape \(3, 3\)"),
        ({"robust": "CR9"}, "CR9"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bm.SpecError, match=message):
        bm.rho_sensitivity(specify("var"), **arguments)


def test_an_impossible_correlation_names_its_group() -> None:
    with pytest.raises(bm.DataError, match=r"in district \d+ .* with rho -0.5; the nearest valid rho is -0"):
        bm.rho_sensitivity(specify("var"), [-0.5])


def test_correlations_that_differ_cannot_vary_as_one() -> None:
    S = within.imputed(school(), "var", "district", rho=dict.fromkeys(school()["district"].unique(), 0.3))
    with pytest.raises(bm.SpecError, match="no single correlation was assumed"):
        bm.rho_sensitivity(specify(S))


def test_the_picture() -> None:
    table = bm.rho_sensitivity(specify("var"), GRID)
    axes = bm.plots.rho_sensitivity(table)
    assert [ax.get_title() for ax in axes] == list(table.loc[table.kind != "rho", "parameter"].unique())
    np.testing.assert_allclose(axes[1].lines[2].get_ydata(), table.loc[table.parameter == "beta[year]", "estimate"])
    assert len(bm.plots.rho_sensitivity(table, "tau")) == 2
    for arguments, message in ((("no",), "takes the table returned"), ((table, "beta[no]"), "no parameter")):
        with pytest.raises(bm.SpecError, match=message):
            bm.plots.rho_sensitivity(*arguments)
