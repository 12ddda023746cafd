"""Pictures of diagnostic accuracy: what they draw is what the tables say."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

import bayesmeta as bm
from tests.support.pictures import crowded

D = bm.diagnostic
pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning")


@pytest.fixture(scope="module")
def fit() -> xr.DataTree:
    return bm.fit(D.specify(bm.datasets.load("auditc"), study="study", correction="all"))


@pytest.fixture(scope="module")
def two() -> xr.DataTree:
    data = bm.datasets.load("questionnaires").query("table == 1")
    return bm.fit(D.specify(data, study="study", formula="questionnaire", correction="all"))


def line(ax: Axes, width: float) -> np.ndarray:
    """The points of the line of a width."""
    (found,) = [each for each in ax.lines if each.get_linewidth() == width]
    return np.asarray(found.get_xydata())


def test_the_plane(fit: xr.DataTree) -> None:
    ax = bm.plots.sroc(fit, df="z", region="confidence")
    curve = D.sroc(fit)
    np.testing.assert_allclose(line(ax, 1.6), np.column_stack([curve.index, curve["estimate"]]))
    np.testing.assert_allclose(line(ax, 0.8), D.regions(fit, region="confidence", df="z"))
    table = D.studies(fit)
    places = np.asarray(ax.collections[0].get_offsets())
    persons = table[["tp", "fp", "fn", "tn"]].sum(axis=1).to_numpy()
    largest_first = np.argsort(-persons)  # so that none hides a smaller one
    np.testing.assert_allclose(places, table[["fpr", "sensitivity"]].iloc[largest_first])
    persons = persons[largest_first]
    sizes = ax.collections[0].get_sizes()  # type: ignore[attr-defined]
    large = persons > persons.max() / 20
    np.testing.assert_allclose(sizes[large] / sizes.max(), persons[large] / persons.max())


def test_the_plane_of_several_tests(two: xr.DataTree) -> None:
    ax = bm.plots.sroc(two)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["interviewer", "self"]
    assert [len(c.get_offsets()) for c in ax.collections] == [10, 16]


@pytest.mark.parametrize(
    "options", [{"studies": None}, {"region": None}, {"kind": None}, {"extrapolate": True}, {"studies": "crosshairs"}]
)
def test_parts_of_the_plane_can_be_left_out(fit: xr.DataTree, options: dict[str, Any]) -> None:
    ax = bm.plots.sroc({"REML": fit, "ML": bm.fit(bm.Spec.from_tree(fit), "ml")}, **options)
    assert crowded(ax.figure) == []


def test_the_coupled_forest(two: xr.DataTree) -> None:
    axes = bm.plots.accuracy_forest(two, sort="specificity")
    labels = [text.get_text() for text in axes[0].get_yticklabels()]
    assert labels[0] == "interviewer"
    assert labels.count("Summary") == 2
    texts = [text.get_text() for text in axes[1].texts]
    rows = D.studies(two)
    first = rows[np.asarray(bm.Spec.from_tree(two).data["questionnaire"] == "interviewer")]
    best = first.sort_values("specificity", ascending=False, kind="stable").iloc[0]
    assert texts[0].startswith(f"{best['tn']:.0f} / {best['fp']:.0f}   {best['specificity']:.2f}")
    assert crowded(axes.figure) == []


def test_ratios_and_predictive_values(fit: xr.DataTree, two: xr.DataTree) -> None:
    ax = bm.plots.likelihood_ratios(fit)
    table = D.studies(fit)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), table[["negative", "positive"]])
    assert crowded(ax.figure) == []
    curves = bm.plots.predictive_values(two, prevalence=(0.1, 0.3))
    ppv = D.predictive_values(two, 0.3)["estimate"].xs("interviewer", level=0).xs((0.3, "ppv"))
    np.testing.assert_allclose(np.asarray(curves.lines[1].get_ydata())[-1], ppv)


def test_the_nomogram(fit: xr.DataTree, two: xr.DataTree) -> None:
    ax = bm.plots.fagan(fit, 0.1)
    start, end = next(each.get_ydata() for each in ax.lines if each.get_linewidth() == 1.4)
    ratio = D.likelihood_ratios(fit)["estimate"]["positive"]
    np.testing.assert_allclose((start + end) / 2, np.log(ratio) / 2)  # where the line crosses the scale of ratios
    with pytest.raises(bm.SpecError, match="one summary point, and there are 2: interviewer, self"):
        bm.plots.fagan(two, 0.1)
