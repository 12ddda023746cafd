"""The numbers of a forest plot, against their definitions."""

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.plots.forest.numbers import ForestNumbers, Interval, shared
from tests.support.posteriors import make_posterior


def numbers(tree: bm.Spec, prob: float = 0.95, blups: bool = True) -> ForestNumbers:
    return ForestNumbers.of(tree, bm.Spec.from_tree(tree), prob, blups)


def test_observed_intervals_are_normal_ones_and_missing_outcomes_are_none() -> None:
    data = bm.datasets.load("berkey98")
    data.loc[1, "AL"] = np.nan
    tree = bm.fit(bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"]))
    found = numbers(tree, prob=0.9)
    assert found.observed[0] == pytest.approx(data[["PD", "AL"]].to_numpy(), nan_ok=True)
    assert found.observed[2, :, 0] == pytest.approx(data.PD + 1.6448536269514722 * np.sqrt(data.var_PD))
    assert found.at(found.observed, 1, 1) is None
    assert found.at(found.blups["unit"], 1, 1) is not None
    assert np.isnan(found.weight[1, 1])
    assert np.nansum(found.weight, axis=0) == pytest.approx([1, 1])


@pytest.mark.parametrize("backend", ["fit", "posterior"])
def test_means_blups_and_predictions_are_those_of_the_tree(backend: str) -> None:
    spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    tree = bm.fit(spec) if backend == "fit" else make_posterior(spec)
    found = numbers(tree)
    assert found.pooled == (True,)
    predicted = bm.predict(tree, {"effect": 0.0}, interval="prediction")
    assert found.prediction is not None
    assert found.prediction[:, 0, 0] == pytest.approx([predicted[x].item() for x in ("mean", "lower", "upper")])
    assert found.blups["district"][2] == pytest.approx(bm.blup(tree, level="district")["upper"].values)
    assert (found.size == found.weight).all()


def test_the_pooled_estimate_is_the_weighted_mean() -> None:
    for spec in (
        bm.specify("logrr ~ 1", bm.datasets.load("bcg"), S="logrrvar"),
        bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"),
    ):
        tree = bm.fit(spec)
        found = numbers(tree)
        assert np.sum(found.weight * found.observed[0]) == pytest.approx(tree["estimate/beta"].item(), rel=1e-9)
        assert found.mean[0, 0, 0] == pytest.approx(tree["estimate/beta"].item(), rel=1e-12)


def test_with_predictors_nothing_is_pooled_and_squares_show_precision() -> None:
    spec = bm.specify("logrr ~ ablat", bm.datasets.load("bcg"), S="logrrvar")
    tree = bm.fit(spec)
    found = numbers(tree)
    assert found.pooled == (False,)
    assert np.isnan(found.weight).all()
    assert found.size[:, 0] == pytest.approx(1 / (spec.S.variances + tree["estimate/tau_unit"].item() ** 2))
    assert found.mean[1] == pytest.approx(bm.predict(tree, interval="confidence")["lower"].values)


def test_a_common_effect_has_neither_blups_nor_predictions() -> None:
    spec = bm.specify("logrr ~ 1", bm.datasets.load("bcg"), S="logrrvar")
    found = numbers(bm.fit(spec, method="fixed"))
    assert found.blups == {}
    assert found.prediction is None
    assert found.weight[:, 0] == pytest.approx(1 / spec.S.variances / (1 / spec.S.variances).sum())


def test_an_offset_that_varies_leaves_nothing_pooled() -> None:
    data = pd.DataFrame({"y": [0.1, 0.4, 0.3], "v": 0.1, "o": [0.0, 0.1, 0.2]})
    assert numbers(bm.fit(bm.specify("y ~ 1", data, S="v", offset="o"))).pooled == (False,)
    assert numbers(bm.fit(bm.specify("y ~ 1", data.assign(o=0.2), S="v", offset="o"))).pooled == (True,)


def test_shared_values() -> None:
    values = np.array([[1.0, 1 + 1e-13, 1.1], [0, 0, 0], [2, 2, 2]])[:, :, None]
    assert shared(values, [0, 1], 0) == Interval(1, 0, 2)
    assert shared(values, [0, 1, 2], 0) is None
    assert shared(np.full((3, 2, 1), np.nan), [0, 1], 0) is None
    without_bounds = np.array([[1.0, 1.0], [np.nan, np.nan], [np.nan, np.nan]])[:, :, None]
    found = shared(without_bounds, [0, 1], 0)
    assert found is not None
    assert found.estimate == 1
    assert np.isnan(found.lower)
