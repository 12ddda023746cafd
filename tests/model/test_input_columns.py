"""Every column of the input comes with the results, also from a file, or is said to be left out."""

import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import AssumptionWarning, SpecError
from bayesmeta.model import input_columns

N = 6
DATES = pd.date_range("2020-01-01", periods=N)
KEPT = {
    "text": list("abcdef"),
    "text with gaps": ["a", None, "c", np.nan, "e", ""],
    "numbers": np.arange(N, dtype=np.int16),
    "nullable": pd.array([1, None, 3, 4, 5, 6], dtype="Int64"),
    "flags": [True, False] * 3,
    "category": pd.Categorical(list("abcabc"), categories=list("cab"), ordered=True),
    "dates": DATES,
    "zoned": DATES.tz_localize("Europe/Rome"),
    "mixed": pd.Series([1, "a", None, 2.5, True, "b"], dtype=object),
    "sparse": pd.arrays.SparseArray([0.0, 0, 1, 0, 0, 2]),
}
LOST = {
    "lists": pd.Series([[1], [2], [3], [4], [5], [6]], dtype=object),
    "days": pd.Series([datetime.date(2020, 1, day) for day in range(1, N + 1)], dtype=object),
    "decimals": pd.Series([Decimal("0.1")] * N, dtype=object),
    "complex": np.full(N, 1j),
    "intervals": pd.IntervalIndex.from_breaks(range(N + 1)),
    "periods": DATES.to_period("M"),
    "categories of intervals": pd.Categorical(pd.IntervalIndex.from_breaks(range(N + 1))),
    "NUL": ["a\0", *"bcdef"],
    "halves of characters": pd.Series(["\ud800", *"bcdef"], dtype=object),
}


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"y": [0.1, 0.4, -0.2, 0.3, 0.0, 0.5], "v": 0.1, "x": np.arange(N) / 2.0, **columns})


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("name", KEPT)
def test_a_column_that_no_formula_uses_comes_back_from_a_file(name: str, suffix: str, tmp_path: Path) -> None:
    data = frame(**{name: KEPT[name]})
    fit = bm.fit(bm.specify("y ~ x", data, S="v"))
    opened = bm.load(bm.save(fit, tmp_path / f"results{suffix}"))
    for tree in (fit, opened):
        kept = bm.Spec.from_tree(tree).data
        assert list(kept.columns) == list(data.columns)
        expected = data.astype({"sparse": float}) if name == "sparse" else data
        pd.testing.assert_frame_equal(kept, expected, check_freq=False)


@pytest.mark.parametrize("name", LOST)
def test_a_column_that_no_file_can_hold_is_left_out_by_name(name: str) -> None:
    with pytest.warns(AssumptionWarning, match=rf"^column '{name}' cannot be stored and is left out"):
        spec = bm.specify("y ~ 1", frame(**{name: LOST[name]}), S="v")
    assert list(spec.data.columns) == ["y", "v", "x"]
    assert list(bm.Spec.from_tree(bm.fit(spec)).data.columns) == ["y", "v", "x"]


def test_names_that_no_file_can_hold() -> None:
    with pytest.warns(AssumptionWarning, match="are left out"):
        spec = bm.specify("y ~ 1", frame(**{"a\0b": 1, "c\0d": 2}), S="v")
    assert list(spec.data.columns) == ["y", "v", "x"]


def test_keep_names_those_that_are_kept() -> None:
    data = frame(a=1, b=2)
    assert list(bm.specify("y ~ x", data, S="v", keep=[]).data.columns) == ["y", "x"]
    assert list(bm.specify("y ~ x", data, S="v", keep="b").data.columns) == ["y", "x", "b"]
    with pytest.raises(SpecError, match=r"^keep: the data have no column 'c'"):
        bm.specify("y ~ x", data, S="v", keep=["c"])


def test_of_large_data_only_what_is_used_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    data = frame(a=1, b=2)
    monkeypatch.setattr(input_columns, "_MOST_CELLS", data.size - 1)
    assert list(bm.specify("y ~ x", data, S="v").data.columns) == ["y", "x"]
    assert list(bm.specify("y ~ x", data, S="v", keep=["a", "b"]).data.columns) == ["y", "x", "a", "b"]


def test_plots_find_columns_by_name_after_a_file(tmp_path: Path) -> None:
    data = frame(trial=list("abcdef"), kind=list("xxxyyy"), events=np.arange(N))
    tree = bm.load(bm.save(bm.fit(bm.specify("y ~ 1", data, S="v")), tmp_path / "results.nc"))
    ax = bm.plots.forest(tree, labels="trial", subgroup="kind", columns={"Events": "events"})
    texts = [text.get_text() for text in ax.texts]
    assert {"a", "x", "y", "Events"} <= set(texts)


def test_other_columns_come_into_a_formula_later(tmp_path: Path) -> None:
    fit = bm.fit(bm.specify("y ~ 1", frame(), S="v"), method="ml")
    opened = bm.load(bm.save(fit, tmp_path / "results.nc"))
    assert list(bm.add1(opened, "x").to_dataframe().index) == ["<none>", "x"]


def test_columns_of_newdata_that_the_model_does_not_use_are_still_said() -> None:
    fit = bm.fit(bm.specify("y ~ x", frame(extra=1.0), S="v"))
    with pytest.warns(AssumptionWarning, match="does not use these columns of newdata: extra"):
        bm.predict(fit, {"x": [1.0], "extra": [2.0]})
