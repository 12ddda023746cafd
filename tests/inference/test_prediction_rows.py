"""Rows to predict for, and the checks of arguments that fits and posteriors share."""

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.inference.prediction_rows import Rows, depth, group_of_kept, normal, quadratic, quantile
from tests.support.awkward import awkward_data, awkward_spec


@pytest.mark.parametrize(("all_rows", "without"), [(False, {"r3", "r7"}), (True, set())])
def test_the_table_has_all_rows_of_the_data(all_rows: bool, without: set[str]):
    spec, data = awkward_spec(), awkward_data()
    rows = Rows.of(spec, None) if all_rows else Rows.kept(spec)
    n = len(data) - len(without)
    assert len(rows.frame) == n
    table = rows.table(spec.outcomes, {"mean": np.ones((n, 2))})
    assert list(table["row"].values) == list(data.index)
    assert set(table["row"].values[table["mean"].isnull().any("outcome")]) == without


def test_new_rows_may_be_columns_or_single_values():
    spec = awkward_spec()
    single = Rows.of(spec, {"dose": 1.0, "kind": "low"})
    assert single.frame.equals(pd.DataFrame({"dose": [1.0], "kind": ["low"]}))
    rows = Rows.of(spec, pd.DataFrame({"dose": [1.0, 2.0]}, index=["x", 7]))
    assert list(rows.labels) == ["x", "7"]
    assert rows.used.all()


def test_a_normal_interval():
    found = normal(np.array([1.0]), np.array([2.0]), quantile(0.95))
    assert list(found) == ["mean", "se", "lower", "upper"]
    assert [found["lower"].item(), found["upper"].item()] == pytest.approx([1 - 3.919928, 1 + 3.919928], abs=1e-6)


def test_quadratic_forms():
    rng = np.random.default_rng(1)
    X, V = rng.normal(size=(4, 2, 3)), np.diag([1.0, 2.0, 3.0])
    np.testing.assert_allclose(quadratic(X, V)[1, 1], X[1, 1] @ V @ X[1, 1], rtol=1e-12)


def test_arguments_are_checked():
    spec = awkward_spec()
    assert [depth(spec, level) for level in ("region", "lab", None)] == [1, 2, 2]
    with pytest.raises(bm.SpecError, match="no level 'x'"):
        depth(spec, "x")
    with pytest.raises(bm.SpecError, match="prob is 1"):
        quantile(1)


def test_every_kept_row_has_its_group():
    spec, data = awkward_spec(), awkward_data()
    region = spec.levels[0]
    found = [region.labels[g][0] for g in group_of_kept(spec, region)]
    assert found == list(data.loc[[*spec.data.index[spec.kept]], "region"])
