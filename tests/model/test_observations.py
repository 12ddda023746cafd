import numpy as np
import pandas as pd

from bayesmeta.model.observations import nested


def test_labels_with_one_text_are_one_label_and_missing_ones_none():
    (groups,) = nested([pd.Series([1, "1", 1.0, None, np.int64(2), "2.0", 2.5], dtype=object)])
    np.testing.assert_array_equal(groups.codes, [0, 0, 0, -1, 1, 2, 3])
    assert groups.labels == (("1",), ("2",), ("2.0",), ("2.5",))


def test_inner_labels_count_within_their_outer_group():
    """Pasted with a hyphen, ("1", "2-3") and ("1-2", "3") would be one group."""
    outer, inner = nested([pd.Series(["1", "1-2", "1", "1-2"]), pd.Series(["2-3", "3", "2-3", "2-3"])])
    np.testing.assert_array_equal(outer.codes, [0, 1, 0, 1])
    np.testing.assert_array_equal(inner.codes, [0, 1, 0, 2])
    assert inner.labels == (("1", "2-3"), ("1-2", "3"), ("1-2", "2-3"))


def test_a_row_without_an_outer_group_has_no_inner_one():
    data = pd.DataFrame({"a": [np.nan, 1.0, 1.0, 2.0], "b": ["x", "x", None, "x"], "c": [1, 1, 1, 1]})
    a, b, c = nested([data.a, data.b, data.c])
    np.testing.assert_array_equal(a.codes, [-1, 0, 0, 1])
    np.testing.assert_array_equal(b.codes, [-1, 0, -1, 1])
    np.testing.assert_array_equal(c.codes, [-1, 0, -1, 1])
    assert c.labels == (("1", "x", "1"), ("2", "x", "1"))


def test_all_missing():
    (groups,) = nested([pd.Series([None, None], dtype=object)])
    np.testing.assert_array_equal(groups.codes, [-1, -1])
    assert groups.labels == ()


def test_categories_of_pandas_are_labels_like_others():
    column = pd.Series(pd.Categorical(["b", "a", None, "b"], categories=["a", "unused", "b"]))
    (groups,) = nested([column])
    np.testing.assert_array_equal(groups.codes, [0, 1, -1, 0])
    assert groups.labels == (("b",), ("a",))
