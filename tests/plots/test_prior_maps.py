"""Curves and heat maps draw what the dataset holds."""

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.errors import SpecError


@pytest.fixture(scope="module")
def robust():
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    return bm.robustness(spec, {"tau": ["half-normal", "half-Cauchy"], "scale": [0.1, 0.3, 1]})


def test_curves(robust):
    axes = bm.plots.robustness(robust)
    assert [ax.get_title() for ax in axes] == ["beta[Intercept]", "tau[unit, Intercept]"]
    first = axes[0].get_lines()
    own = robust.sel(parameter="beta[Intercept]", family="half-normal")
    for line, name in zip(first[:3], ("estimate", "lower", "upper"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), own[name])
        np.testing.assert_allclose(line.get_xdata(), [0.1, 0.3, 1])
    assert [text.get_text() for text in axes[-1].get_legend().get_texts()] == ["half-normal", "half-Cauchy"]


def test_the_legend_lies_beside_the_curves(robust):
    axes = bm.plots.robustness(robust)
    figure = axes[-1].figure
    figure.canvas.draw()
    legend, panel = (part.get_window_extent() for part in (axes[-1].get_legend(), axes[-1]))
    assert panel.x1 < legend.x0 < legend.x1 <= figure.bbox.x1 + 1


def test_heat_maps(robust):
    (ax,) = bm.plots.robustness(robust, "log_bayes_factor_effect", kind="heatmap")
    (mesh,) = ax.collections
    np.testing.assert_allclose(mesh.get_array().ravel(), robust["log_bayes_factor_effect"].values.ravel())
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["half-normal", "half-Cauchy"]
    assert mesh.get_clim()[0] == -mesh.get_clim()[1]  # zero is the middle of the colours
    (ax,) = bm.plots.robustness(robust, "probability_below", kind="heatmap")
    assert ax.collections[0].get_clim() == (0, 1)


def test_bad_input(robust):
    with pytest.raises(SpecError, match=r"takes the dataset returned by bm\.robustness"):
        bm.plots.robustness(robust["estimate"])
    with pytest.raises(SpecError, match="values is 'mean'"):
        bm.plots.robustness(robust, "mean")
    with pytest.raises(SpecError, match="belongs to the whole model"):
        bm.plots.robustness(robust, "log_bayes_factor", "beta")
    with pytest.raises(SpecError, match=r"no parameter 'tau\[unit\]'|it is called"):
        bm.plots.robustness(robust, parameters="tau[unit]")
    with pytest.raises(SpecError, match="no axis of numbers"):
        bm.plots.robustness(robust.isel(scale=0, drop=True))
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    with pytest.raises(SpecError, match="priors have names"):
        bm.plots.robustness(bm.robustness(spec, {"a": None}))
    grid = {"scale": [0.1, 1], "beta": {"a": bm.Prior("Normal", mu=0, sigma=1)}, "tau": ["half-normal"]}
    with pytest.raises(SpecError, match="choose a value of all but two"):
        bm.plots.robustness(bm.robustness(spec, grid))
