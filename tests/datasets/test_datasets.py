"""The bundled tables against the tables that the published analyses used, and the loader's errors."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmeta import datasets
from bayesmeta.errors import DataError

BUNDLED = [
    "alcohol",
    "auditc",
    "bangertdrowns2004",
    "bcg",
    "berkey98",
    "bornmann2007",
    "dbs",
    "egger2001",
    "fibrinogen",
    "gliomas",
    "hasselblad1998",
    "hsls",
    "hyp",
    "kalaian1996",
    "p53",
    "questionnaires",
    "raudenbush1985",
    "school",
    "senn2013",
    "smoking",
    "tannersmith2016",
    "thrombolytic",
]
HELD_ELSEWHERE = ["bcg", "berkey98", "dbs", "gliomas", "smoking"]  # as other software distributes them
PACKAGE = Path(datasets.__file__).parent

# The comparison tables are text with 15 digits, but bcg's log odds ratios and all of smoking were once stored in single
# precision (24 bits), the pseudo-arm included: its 0.0010000000474974513 events differ from 0.001 by 5e-8, and
# reciprocals inherit that relative error. A log odds ratio of order 1 to 4 then carries 2e-7 at most.
SINGLE, DOUBLE = {"rtol": 1e-7, "atol": 2e-7}, {"rtol": 2e-14, "atol": 2e-14}


def tolerance(name: str, column: str) -> dict[str, float]:
    return SINGLE if name == "smoking" or (name, column) in {("bcg", "logor"), ("bcg", "logorvar")} else DOUBLE


# (row, author) where the label of an author with two studies or a study group is shortened in the comparison table
OTHER_LABELS = {5: "DBS for PD Study Group", 14: "Krause", 15: "Krause", 29: "Pinter", 30: "Pinter"}


@pytest.mark.parametrize("name", HELD_ELSEWHERE)
def test_equals_the_table_of_the_published_analysis(name: str, table: Callable[[str], pd.DataFrame]) -> None:
    ours, theirs = datasets.load(name), table(name)
    assert len(ours) == len(theirs)
    assert set(theirs.columns) <= set(ours.columns)
    assert [c for c in ours.columns if c in set(theirs.columns)] == list(theirs.columns)
    for column in theirs.columns:
        if theirs[column].dtype.kind in "if":
            np.testing.assert_allclose(
                ours[column].to_numpy(float),
                theirs[column].to_numpy(float),
                **tolerance(name, column),
                equal_nan=True,
                err_msg=f"{name}.{column}",
            )
        else:
            other = OTHER_LABELS if name == "dbs" else {}
            assert [other.get(i, label) for i, label in enumerate(theirs[column])] == ours[column].tolist()


def test_smoking_keeps_the_published_counts_in_its_file() -> None:
    raw = pd.read_csv(PACKAGE / "smoking.csv")
    assert raw.loc[raw.study == 9, ["dA", "nA", "dC", "nC"]].to_numpy().tolist() == [[0, 33, 9, 48]]
    assert raw.loc[raw.study == 2, ["dA", "nA"]].isna().all(axis=None)


def test_smoking_pseudo_arm_and_covariances_by_hand() -> None:
    row = datasets.load("smoking").set_index("study").loc[2]
    arm_a = 1 / 0.001 + 1 / 0.009
    assert row.SBC == row.SBD == row.SCD == pytest.approx(arm_a, rel=1e-14)
    assert float(row.SDD) == pytest.approx(arm_a + 1 / 29 + 1 / 141, rel=1e-14)
    assert float(row.yB) == pytest.approx(np.log(11 / 67) - np.log(0.001 / 0.009), rel=1e-13)


def test_an_absent_arm_has_neither_estimate_nor_covariance() -> None:
    frame = datasets.load("smoking")
    for arm in "BCD":
        absent = ~frame.design.str.contains(arm.lower())
        assert frame.loc[absent, [f"y{arm}", f"S{arm}{arm}"]].isna().all(axis=None)
        assert frame.loc[~absent, [f"y{arm}", f"S{arm}{arm}"]].notna().all(axis=None)
    both = frame.design.str.contains("b") & frame.design.str.contains("d")
    assert (frame.SBD.notna() == both).all()


def test_gliomas_corrects_only_tables_with_an_empty_cell() -> None:
    frame = datasets.load("gliomas").set_index(["study", "time"])
    assert frame.logOR[3, 24] == pytest.approx(np.log(3.5 / 69.5) - np.log(0.5 / 68.5), rel=1e-14)
    assert frame.logOR[3, 18] == pytest.approx(np.log(10 / 62) - np.log(3 / 65), rel=1e-14)
    assert frame.logOR[17].isna().tolist() == [True, False, True, False]
    assert frame.logORvar.notna().sum() == 66


@pytest.mark.parametrize("name", BUNDLED)
def test_the_description_names_every_column_and_the_source(name: str) -> None:
    text, columns = datasets.describe(name), datasets.load(name).columns
    described = re.findall(r"^  (\w+) +\S", text, flags=re.MULTILINE)
    assert sorted(described) == sorted(columns)
    assert re.search(r"^Citation: .+\((19|20)\d\d\)", text, flags=re.MULTILINE)
    assert "\nTable: " in text


def test_columns_marked_as_derived_are_not_in_the_file() -> None:
    for name in BUNDLED:
        description = tomllib.loads((PACKAGE / f"{name}.toml").read_text())
        stored = pd.read_csv(PACKAGE / f"{name}.csv").columns
        assert list(stored) == list(description["columns"])


def test_names_are_those_of_the_tables() -> None:
    assert datasets.names() == BUNDLED
    assert {path.stem for path in PACKAGE.glob("*.toml")} == set(BUNDLED)


def test_only_public_names_show() -> None:
    assert dir(datasets) == ["describe", "fetch", "load", "names"]


def test_loading_twice_gives_independent_frames() -> None:
    first = datasets.load("bcg")
    first["logor"] = 0.0
    assert (datasets.load("bcg").logor != 0).all()


def test_fetch_is_load_and_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match=r"'datasets\.fetch' is deprecated, use 'datasets\.load'"):
        thrombolytic = datasets.fetch("thrombolytic")
    pd.testing.assert_frame_equal(thrombolytic, datasets.load("thrombolytic"))


@pytest.mark.parametrize(("given", "close"), [("shcool", "school"), ("alcohl", "alcohol"), ("BCG1", None)])
def test_an_unknown_name_lists_what_there_is(given: str, close: str | None) -> None:
    with pytest.raises(DataError, match=f"unknown data set '{given}'") as raised:
        datasets.load(given)
    assert (f"did you mean '{close}'?" in str(raised.value)) == (close is not None)
    assert all(name in str(raised.value) for name in BUNDLED)


@pytest.mark.parametrize("name", ["../datasets/bcg", "/etc/passwd", "", "bcg.csv"])
def test_a_path_is_not_a_name(name: str) -> None:
    with pytest.raises(DataError):
        datasets.load(name)


def test_describe_refuses_an_unknown_name() -> None:
    with pytest.raises(DataError, match="did you mean 'school'"):
        datasets.describe("schol")
