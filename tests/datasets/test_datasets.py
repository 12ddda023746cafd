"""The bundled tables against the tables that the published analyses used, and the loader's errors."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmeta import datasets
from bayesmeta.errors import DataError

BUNDLED = ["bcg", "berkey98", "dbs", "gliomas", "school", "smoking"]
PACKAGE = Path(datasets.__file__).parent

# The comparison tables are text with 15 digits, but bcg's log odds ratios and all of smoking were once stored in single
# precision (24 bits), the pseudo-arm included: its 0.0010000000474974513 events differ from 0.001 by 5e-8, and
# reciprocals inherit that relative error. A log odds ratio of order 1 to 4 then carries 2e-7 at most.
SINGLE, DOUBLE = {"rtol": 1e-7, "atol": 2e-7}, {"rtol": 2e-14, "atol": 2e-14}


def tolerance(name: str, column: str) -> dict[str, float]:
    return SINGLE if name == "smoking" or (name, column) in {("bcg", "logor"), ("bcg", "logorvar")} else DOUBLE


# (row, author) where the label of an author with two studies or a study group is shortened in the comparison table
OTHER_LABELS = {5: "DBS for PD Study Group", 14: "Krause", 15: "Krause", 29: "Pinter", 30: "Pinter"}


def comparison(shared: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(shared / "data" / f"{name}.csv")


@pytest.mark.parametrize("name", BUNDLED)
def test_equals_the_table_of_the_published_analysis(name: str, shared: Path) -> None:
    ours, theirs = datasets.load(name), comparison(shared, name)
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


@pytest.mark.parametrize("name", [*BUNDLED, "thrombolytic", "alcohol"])
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


def test_names_lists_bundled_first_then_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAYESMETA_DATA", raising=False)
    assert datasets.names() == BUNDLED
    pd.DataFrame({"y": [1.0]}).to_csv(tmp_path / "mine.csv", index=False)
    pd.DataFrame({"y": [1.0]}).to_csv(tmp_path / "bcg.csv", index=False)
    monkeypatch.setenv("BAYESMETA_DATA", str(tmp_path))
    assert datasets.names() == [*BUNDLED, "mine"]
    assert datasets.load("mine").y.tolist() == [1.0]
    assert "logor" in datasets.load("bcg")


def test_loading_twice_gives_independent_frames() -> None:
    first = datasets.load("bcg")
    first["logor"] = 0.0
    assert (datasets.load("bcg").logor != 0).all()


@pytest.mark.parametrize("name", ["fibrinogen", "hsls", "hyp", "p53", "thrombolytic", "alcohol"])
def test_other_tables_are_read_from_the_directory(name: str, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAYESMETA_DATA", str(shared / "data"))
    pd.testing.assert_frame_equal(datasets.load(name), comparison(shared, name))


@pytest.mark.parametrize("setting", [None, "empty"])
def test_a_table_not_distributed_says_how_to_get_it(
    setting: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BAYESMETA_DATA", raising=False)
    if setting:
        monkeypatch.setenv("BAYESMETA_DATA", str(tmp_path))
    with pytest.raises(DataError) as raised:
        datasets.load("alcohol")
    first, rest = str(raised.value).split("\n", 1)
    assert all(word in first for word in ("'alcohol'", "alcohol.csv", "BAYESMETA_DATA"))
    assert all(word in rest for word in ("gasparrini/mixmeta", "data/alcohol.rda"))
    assert (str(tmp_path) in first) == (setting is not None)


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
