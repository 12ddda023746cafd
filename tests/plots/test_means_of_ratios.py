"""Pictures of posteriors have the means of tables: of odds ratios, not exponentials of mean log odds ratios."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.measures import MEASURES
from bayesmeta.plots.forest.rows import forest_content
from bayesmeta.tree.response import DIFFERENCE, EFFECT, PER_UNIT, Reading


@pytest.fixture(scope="module")
def post() -> xr.DataTree:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    return bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), draws=100, random_seed=1)


def test_forests(post: xr.DataTree) -> None:
    content = forest_content(post)
    pooled, table = content.pooled[0], bm.estimates(post, scale="response").loc["beta[Intercept]"]
    assert pooled is not None
    assert np.exp(pooled.estimate) == pytest.approx(table["estimate"])
    assert np.exp(pooled.estimate) > 1.01 * np.exp(bm.estimates(post).loc["beta[Intercept]", "estimate"])
    assert np.exp([pooled.lower, pooled.upper]) == pytest.approx(table[["lower", "upper"]].astype(float).to_list())
    shrunken = [cell.blup for cell in content.cells(0) if cell.blup is not None]
    effects = bm.blup(post, scale="response")["mean"].to_numpy()[:, 0]
    assert np.exp([each.estimate for each in shrunken]) == pytest.approx(effects)
    modelled = forest_content(post, scale="model").pooled[0]
    assert modelled is not None
    assert modelled.estimate == pytest.approx(bm.estimates(post).loc["beta[Intercept]", "estimate"])


def test_comparisons(post: xr.DataTree) -> None:
    fit = bm.fit(bm.Spec.from_tree(post))
    known = [bm.estimates(tree, scale="response").loc["beta[Intercept]", "estimate"] for tree in (post, fit)]
    both = {"posterior": post, "REML": fit}
    for results in (both, bm.compare(both), bm.compare(both, scale="response")):
        np.testing.assert_allclose(bm.plots.compare(results)[0].lines[0].get_xdata(), known)
        plt.close("all")


def test_orchards(post: xr.DataTree) -> None:
    known = bm.estimates(post, scale="response").loc["beta[Intercept]"]
    ax = bm.plots.orchard(post)
    assert "{:.2f} [{:.2f}, {:.2f}]".format(*known[["estimate", "lower", "upper"]]) in [t.get_text() for t in ax.texts]
    plt.close("all")


@pytest.mark.parametrize("name", ["leave_one_out", "cumulative"])
@pytest.mark.filterwarnings("ignore:the data cannot identify the variance")
def test_refits(post: xr.DataTree, name: str) -> None:
    order = {"order": "year"} if name == "cumulative" else {}
    ax, table = getattr(bm.plots, name)(post, **order), getattr(bm, name)(post, **order, scale="response")
    (marks,) = (each for each in ax.collections if each.get_label() == "observed")
    np.testing.assert_allclose(np.asarray(marks.get_offsets())[:, 0], table["estimate"])
    plt.close("all")


def test_a_mean_that_does_not_exist_is_drawn_at_the_exponential() -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg").head(3), S="logorvar", measure="logor")
    with pytest.warns(bm.AssumptionWarning, match="improper"):
        wide = bm.sample(spec, bm.Priors(bm.Prior("Flat"), bm.priors.half_cauchy(5)), draws=10, random_seed=1)
    assert np.isinf(bm.estimates(wide, scale="response").loc["beta[Intercept]", "estimate"])
    pooled = forest_content(wide).pooled[0]
    assert pooled is not None
    assert pooled.estimate == pytest.approx(bm.estimates(wide).loc["beta[Intercept]", "estimate"])


@pytest.mark.parametrize("measure", ["logor", "logit", "zcor", "arcsine"])
@pytest.mark.parametrize("role", [EFFECT, DIFFERENCE, PER_UNIT])
def test_the_way_back(measure: str, role: str) -> None:
    reading = Reading(MEASURES[measure], role, True)
    effects = np.array([0.2, 0.5, 0.9])
    np.testing.assert_allclose(reading.back(reading.values(effects)), effects, atol=1e-9)
    assert reading.inverse(float(reading.values(effects)[1])) == pytest.approx(0.5)
