"""The same model for some rows equals the model specified with these rows alone."""

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.model.subset import of_rows


@pytest.mark.parametrize("formula", ["effect ~ 1", "effect ~ year"])
def test_some_rows_of_nested_levels(formula: str) -> None:
    school = bm.datasets.load("school")
    rows = (school["year"] > 1980).to_numpy()
    part = bm.fit(of_rows(bm.specify(formula, school, S="var", random="1 | district/study"), rows))
    alone = bm.fit(bm.specify(formula, school[rows], S="var", random="1 | district/study"))
    for name in ("beta", "beta_se", "tau_district", "tau_study"):
        assert part[f"estimate/{name}"].to_numpy() == pytest.approx(alone[f"estimate/{name}"].to_numpy(), rel=1e-6)


def test_several_outcomes_and_dropped_rows() -> None:
    data = bm.datasets.load("berkey98")
    data.loc[1, "AL"] = np.nan
    data.loc[3, ["PD", "AL"]] = np.nan
    S = ["var_PD", "cov_PD_AL", "var_AL"]
    rows = np.array([True, True, True, True, False])
    whole = bm.specify("PD + AL ~ 1", data, S=S)
    part = of_rows(whole, rows)
    assert part.kept.tolist() == [True, True, True, False, False]
    assert part.dropped[3] == whole.dropped[3] != ""
    assert part.dropped[4] != ""
    alone = bm.fit(bm.specify("PD + AL ~ 1", data[rows], S=S), "ml")
    assert bm.fit(part, "ml")["estimate/beta"].to_numpy() == pytest.approx(alone["estimate/beta"].to_numpy(), rel=1e-6)
