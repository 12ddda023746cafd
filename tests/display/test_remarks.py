"""The reservations of a page: dropped rows, missing outcomes, assumptions, boundaries, a failed search."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.display import remarks
from tests.support.edited import unhashed

S = ["var_PD", "cov_PD_AL", "var_AL"]


def berkey(**columns: object) -> pd.DataFrame:
    return bm.datasets.load("berkey98").assign(year=lambda d: d.pubyear - 1983.0, **columns)


def page(tree: xr.DataTree) -> str:
    """The printed page in one line."""
    return " ".join(str(bm.summary(tree)).split())


def test_a_complete_converged_fit_has_no_reservation():
    tree = bm.fit(bm.specify("PD + AL ~ year", berkey(), S=S))
    assert remarks.notes(tree) == remarks.alarms(tree) == []


def test_dropped_rows_are_counted_and_named():
    data = berkey()
    data.loc[[1, 4], "year"] = np.nan
    tree = bm.fit(bm.specify("PD + AL ~ year", data, S=S), method="fixed")
    assert remarks.notes(tree) == ["2 of 5 rows dropped: missing year (Lindhe et al., Becker et al.)"]
    assert remarks.counts(tree) == "5 rows, 3 used; 6 observations of 2 outcomes; groups: unit 3"
    assert "2 of 5 rows dropped: missing year (Lindhe et al., Becker et al.)" in page(tree)


def test_missing_outcomes_are_counted_by_outcome():
    data = berkey()
    data.loc[0, "PD"] = np.nan
    data.loc[[1, 2], "AL"] = np.nan
    tree = bm.fit(bm.specify("PD + AL ~ 1", data, S=S), method="fixed")
    assert "3 of 10 outcomes missing (PD 1, AL 2), taken as missing at random" in page(tree)


def test_assumptions_are_repeated():
    with pytest.warns(bm.AssumptionWarning):
        spec = bm.specify("PD + AL ~ 1", berkey(), S=["var_PD", "var_AL"])
    tree = bm.fit(spec, method="fixed")
    assert spec.notes
    assert set(spec.notes) <= set(remarks.notes(tree))
    assert all(" ".join(note.split()) in page(tree) for note in spec.notes)


def test_an_sd_at_zero_is_said():
    data = pd.DataFrame({"y": [0.1, 0.11, 0.09, 0.1], "v": [1.0, 2.0, 1.5, 1.0]})
    tree = bm.fit(bm.specify("y ~ 1", data, S="v"))
    assert "between-group covariance of unit at its boundary: tau of Intercept is zero" in page(tree)


def test_the_level_at_its_boundary_is_named_alone():
    data = pd.DataFrame({"g": list("aabbccdd"), "y": [0.0, 0.01, 5.0, 5.01, -4.0, -4.01, 1.0, 1.01], "v": 0.5})
    data["h"] = range(8)
    (note,) = remarks.notes(bm.fit(bm.specify("y ~ 1", data, S="v", random="1 | g/h")))
    assert note.startswith("between-group covariance of h at its boundary: tau of Intercept is zero;")


def test_a_correlation_at_its_limit_is_said_in_words():
    data = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0, -3.0], "b": [0.1, 2.0, 4.1, 6.0, -6.1], "va": 0.01, "vb": 0.01})
    with pytest.warns(bm.AssumptionWarning):
        spec = bm.specify("a + b ~ 1", data, S=["va", "vb"])
    notes = remarks.notes(bm.fit(spec))
    assert any(note.startswith("between-group covariance of unit at its boundary: rho of a~b is 1;") for note in notes)


def failed(tree: xr.DataTree) -> xr.DataTree:
    copy = unhashed(tree)
    search = copy["optimizer"].to_dataset().assign(converged=False, gradient_norm=0.25)
    copy["optimizer"] = xr.DataTree(search.assign_attrs(message="stopped after 3 iterations"))
    return copy


def test_a_failed_search_is_said_loudly_and_first():
    tree = failed(bm.fit(bm.specify("PD + AL ~ 1", berkey(), S=S)))
    lines = str(bm.summary(tree)).splitlines()
    assert lines[1].startswith(
        "WARNING    THE SEARCH DID NOT CONVERGE (stopped after 3 iterations, gradient norm 2.5e-01)"
    )
    assert "not the estimates" in page(tree)
    assert "DID NOT CONVERGE" in bm.summary(tree)._repr_html_()
    assert "WARNING first: THE SEARCH DID NOT CONVERGE" in " ".join(str(bm.compare(first=tree)).split())


def test_formulas_of_every_form_read_well():
    data = berkey(shift=0.1)
    options = {"S": S, "common": "npat", "offset": "shift"}
    tree = bm.fit(bm.specify({"PD": "1 + year", "AL": "1"}, data, **options), method="fixed")
    assert remarks.formula(tree) == "PD ~ 1 + year; AL ~ 1; the same for all outcomes: npat; offset shift"
    assert remarks.random(tree) == "each row its own group"
    assert remarks.structure(tree) == "zero"


@pytest.mark.parametrize(
    ("random", "psi", "read", "structure"),
    [
        ("1 | district/study", "unstr", "1 | district/study", "unstr"),
        ({"district": "1 + year", "study": "1"}, "unstr", "1 + year | district; 1 | study", "unstr"),
        (["1 + year | district", "1 | study"], "unstr", "1 + year | district; 1 | study", "unstr"),
        (
            {"district": "1 + year", "study": "1"},
            {"district": "diag", "study": "id"},
            "1 + year | district; 1 | study",
            "district: diag, study: id",
        ),
    ],
)
def test_random_parts_of_every_form_read_well(random, psi, read, structure):
    data = bm.datasets.load("school").assign(year=lambda d: d.year - 1990)
    tree = bm.fit(bm.specify("effect ~ 1", data, S="var", random=random, psi=psi), method="ml")
    assert remarks.random(tree) == read
    assert remarks.structure(tree) == structure


def test_groups_without_random_effects():
    spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", groups="district")
    tree = bm.fit(spec, method="fixed")
    assert remarks.random(tree) == "none, the groups are district"
    assert remarks.counts(tree) == "56 rows, all used; 56 observations; groups: district 11"


def test_another_maximum_within_two_units_is_reported():
    tree = unhashed(bm.fit(bm.specify("PD + AL ~ year", berkey(), S=S)))
    first = float(tree["optimizer"]["mode_loglik"][0])
    search = tree["optimizer"].to_dataset().drop_vars(["mode_loglik", "mode_xi", "mode_start"])
    for below, expected in ((0.5, ["the likelihood has another maximum, 0.5 below the highest"]), (2.5, [])):
        tree["optimizer"] = xr.DataTree(search.assign(mode_loglik=("mode", [first, first - below])))
        assert [note.split(" (")[0] for note in remarks.notes(tree)] == expected
