"""Estimates along a predictor, by both backends, against the algebra."""

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.measures import measure
from bayesmeta.plots.predictor import (
    Estimates,
    Predictor,
    differences,
    distinct_data,
    drawable,
    named_trees,
    predictions,
    trajectories,
)
from bayesmeta.tree.response import EFFECT, Reading
from tests.support.drawn import fitted, study_data
from tests.support.posteriors import make_posterior, stacked

PLAIN, RATIOS = (Reading(measure("logor"), EFFECT, response) for response in (False, True))

DATA = study_data(8)
ROWS, REFERENCE = pd.DataFrame({"x": [0.0, 10.0, 40.0]}), pd.DataFrame({"x": [10.0]})
X = np.array([0.0, 10.0, 40.0])


def test_a_contrast_has_the_variance_of_the_difference() -> None:
    tree = fitted("y ~ x + I(x**2)", DATA)
    result = differences(tree, X, ROWS, REFERENCE, 0, prob=0.9)
    beta, V = tree["estimate"]["beta"].values, tree["estimate"]["beta_cov"].values
    D = np.column_stack([np.zeros(3), X - 10, X**2 - 100])
    se = np.sqrt(np.diag(D @ V @ D.T))
    np.testing.assert_allclose(result.mean, D @ beta, atol=1e-12)
    np.testing.assert_allclose(result.upper - result.mean, 1.6448536269514722 * se, atol=1e-12)
    np.testing.assert_allclose(result.mean - result.lower, 1.6448536269514722 * se, atol=1e-12)
    assert result.upper[1] == result.lower[1] == 0


def test_a_contrast_of_draws() -> None:
    spec = bm.specify("y ~ x + I(x**2)", DATA, S="var", random="1 | study")
    tree = make_posterior(spec)
    result = differences(tree, X, ROWS, REFERENCE, 0, prob=0.9)
    draws = stacked(tree, "posterior", "beta") @ np.array([np.zeros(3), X - 10, X**2 - 100])
    np.testing.assert_allclose(result.mean, draws.mean(0), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose([result.lower, result.upper], np.quantile(draws, [0.05, 0.95], axis=0), atol=1e-10)


def test_offsets_are_in_the_contrast() -> None:
    tree = fitted("y ~ 1 + offset(0.5 * x)", DATA)
    result = differences(tree, X, ROWS, REFERENCE, 0, prob=0.9)
    np.testing.assert_allclose(result.mean, [-5, 0, 15])


def test_predictions_of_an_outcome() -> None:
    data = DATA.assign(z=DATA["y"] * 2 + 1)
    tree = fitted("y + z ~ x", data, S=["var", "var"], S_correlation=0, psi="diag")
    result = predictions(tree, X, ROWS, 1, "prediction", 0.8)
    expected = bm.predict(tree, ROWS, interval="prediction", prob=0.8).sel(outcome="z")
    for name in ("mean", "lower", "upper"):
        np.testing.assert_array_equal(getattr(result, name), expected[name])


def test_order_place_and_intervals_that_are_not_known() -> None:
    result = Estimates(np.array([3.0, 1.0]), np.array([1.0, 2.0]), np.array([0.0, np.nan]), np.array([np.inf, 3.0]))
    assert result.without_interval(PLAIN) == 2
    np.testing.assert_array_equal(drawable(np.array([np.inf, 0, 101, -101]), RATIOS), [np.nan, 1, np.nan, np.nan])
    np.testing.assert_array_equal(drawable(np.array([np.inf, 0, 101, -101]), PLAIN), [np.nan, 0, 101, -101])
    np.testing.assert_array_equal(result.sorted().mean, [2, 1])
    np.testing.assert_array_equal(result.shifted(0.5).x, [3.5, 1.5])


def test_observations_are_joined_within_the_innermost_level_that_has_several_values() -> None:
    data = DATA.assign(region=np.repeat([1, 2], 12))
    nested = Predictor.of(bm.specify("y ~ time", data, S="var", random="1 | region/study/row"), "time", 0, "x")
    np.testing.assert_array_equal(trajectories(nested), np.repeat(np.arange(8), 3))
    alone = Predictor.of(bm.specify("y ~ time", data, S="var"), "time", 0, "x")
    np.testing.assert_array_equal(trajectories(alone), np.arange(24))


def test_the_same_data_count_once() -> None:
    def of(data: pd.DataFrame, formula: str = "y ~ x") -> Predictor:
        return Predictor.of(bm.specify(formula, data, S="var"), "x", 0, "x")

    assert len(distinct_data([of(DATA), of(DATA, "y ~ x + age")])) == 1
    assert len(distinct_data([of(DATA), of(DATA.iloc[3:])])) == 2


def test_trees_by_name() -> None:
    tree, other = fitted("y ~ x", DATA), fitted("y ~ x", DATA, measure="logor")
    assert list(named_trees(tree, "f")) == [""]
    assert list(named_trees({"one": tree, 2: tree}, "f")) == ["one", "2"]
    with pytest.raises(SpecError, match="f draws 1 to 6 trees, and 0 were given"):
        named_trees({}, "f")
    with pytest.raises(SpecError, match="f draws 1 to 6 trees, and 7 were given"):
        named_trees(dict.fromkeys(range(7), tree), "f")
    with pytest.raises(SpecError, match="f: 'one' is a str, not a results tree\n  give the tree of"):
        named_trees({"one": "tree"}, "f")
    with pytest.raises(SpecError, match="f: trees is a list, not a results tree"):
        named_trees([tree], "f")
    with pytest.raises(SpecError, match="which cannot share an axis\n  one: smd, two: logor"):
        named_trees({"one": tree, "two": other}, "f")
