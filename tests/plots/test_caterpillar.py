"""Caterpillars: the numbers of ranef and blup, sorted; labels that are readable, or said to be left out."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

import bayesmeta as bm
from bayesmeta.errors import SpecError
from tests.support.drawn import notes
from tests.support.pictures import crowded
from tests.support.posteriors import make_posterior, stacked
from tests.support.trials import bcg, berkey, school, trial_spec, trials


@pytest.mark.parametrize("make", [bm.fit, make_posterior])
def test_every_level_and_effect_has_a_panel_with_the_numbers_of_ranef(make) -> None:
    tree = make(school())
    axes = bm.plots.caterpillar(tree, prob=0.8)
    assert [ax.get_title() for ax in axes] == ["district: Intercept", "study: Intercept"]
    for ax, level in zip(axes, ("district", "study"), strict=True):
        table = bm.ranef(tree, 0.8)[level].to_dataset().to_dataframe().sort_values("mean")
        x, y = ax.lines[1].get_data()
        np.testing.assert_allclose(x, table["mean"])
        assert y.tolist() == list(range(len(table)))
        segments = np.array(ax.collections[0].get_segments())[..., 0]
        np.testing.assert_allclose(segments, table[["lower", "upper"]])
        assert [t.get_text() for t in ax.get_yticklabels()] == list(table.index.get_level_values(0))
        assert ax.lines[0].get_xdata() == [0, 0]
    assert crowded(axes[0].figure) == []


def test_draws_of_a_posterior_are_summarised() -> None:
    tree = make_posterior(trial_spec(5))
    b = stacked(tree, "random_effects", "b_study")[..., 0]
    ax = bm.plots.caterpillar(tree)[0]
    np.testing.assert_allclose(ax.lines[1].get_xdata(), np.sort(b.mean(0)))


def test_true_effects_are_ratios_of_the_blups() -> None:
    fit = bm.fit(bcg())
    ax = bm.plots.caterpillar(fit, kind="blup")[0]
    expected = np.sort(np.exp(bm.blup(fit)["mean"].values[:, 0]))
    np.testing.assert_allclose(ax.lines[1].get_xdata(), expected)
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "Odds ratio, 95% interval"
    assert ax.lines[0].get_xdata() == [1, 1]
    plain = bm.plots.caterpillar(fit, kind="blup", scale="model")[0]
    np.testing.assert_allclose(plain.lines[1].get_xdata(), np.log(expected))


def test_true_effects_of_an_outer_level() -> None:
    fit = bm.fit(school())
    ax = bm.plots.caterpillar(fit, "district", kind="blup")[0]
    mean = fit["estimate"]["beta"].item() + bm.ranef(fit)["district"]["mean"].values[:, 0]
    np.testing.assert_allclose(ax.lines[1].get_xdata(), np.sort(mean))


@pytest.mark.parametrize("make", [bm.fit, make_posterior])
@pytest.mark.parametrize(("n", "long"), [(3, False), (3, True), (60, False), (60, True), (500, False)])
def test_readable_with_few_and_with_many(make, n: int, long: bool) -> None:
    ax = bm.plots.caterpillar(make(trial_spec(n, long)))[0]
    assert crowded(ax.figure) == []
    labels = [t.get_text() for t in ax.get_yticklabels()]
    if n == 500:
        assert labels == []
        assert "(500, too many to label)" in ax.get_ylabel()
    else:
        assert len(set(labels)) == n
        assert min(t.get_fontsize() for t in ax.get_yticklabels()) >= 5


def test_each_level_has_the_height_that_its_groups_need() -> None:
    districts, studies = bm.plots.caterpillar(bm.fit(school()))
    assert districts.get_position().height < 0.3 * studies.get_position().height
    assert districts.get_ylabel() == "District"
    assert crowded(districts.figure) == []


def test_rows_have_names_and_random_effects_are_ratios_on_request() -> None:
    data = bm.datasets.load("bcg")
    fit = bm.fit(bm.specify("logor ~ 1", data.set_index("author"), S="logorvar", measure="logor"))
    ax = bm.plots.caterpillar(fit, scale="response")[0]
    assert ax.get_title() == ax.get_ylabel() == ""
    assert ax.get_xlabel() == "Ratio of odds ratios, 95% interval"
    assert ax.get_yticklabels()[-1].get_text() == "TPT Madras"
    expected = np.sort(np.exp(bm.ranef(fit)["unit"]["mean"].values[:, 0]))
    np.testing.assert_allclose(ax.lines[1].get_xdata(), expected)
    blups = bm.plots.caterpillar(fit, kind="blup")[0]
    pooled = [line.get_xdata()[0] for line in blups.lines if line.get_label() == "pooled"]
    assert pooled == pytest.approx([np.exp(fit["estimate"]["beta"].item())])


def test_small_axes_that_were_given_hide_labels_and_say_so() -> None:
    axes = plt.subplots(1, 2, figsize=(7, 2), layout="constrained")[1]
    found = bm.plots.caterpillar(bm.fit(trial_spec(60)), axes=axes[1])
    assert found.tolist() == [axes[1]]
    assert "(60, too many to label)" in axes[1].get_ylabel()


def test_no_heterogeneity_is_said() -> None:
    data = trials(6).assign(y=0.2)
    fit = bm.fit(bm.specify("y ~ 1", data, S="v", random="1 | study"))
    ax = bm.plots.caterpillar(fit)[0]
    assert "all are 0, as their SD is 0" in notes(ax)
    assert not ax.lines[1].get_xdata().any()
    assert crowded(ax.figure) == []


def test_refusals() -> None:
    fit = bm.fit(school())
    slope = bm.fit(bm.specify("effect ~ year", bm.datasets.load("school"), S="var", random="1 | district/study"))
    none = bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", groups="district"), method="fixed")
    for call, message in [
        (lambda: bm.plots.caterpillar(fit, "distric"), "no level 'distric'; did you mean 'district'"),
        (lambda: bm.plots.caterpillar(fit, effect="intercept"), "no effect 'intercept'; did you mean 'Intercept'"),
        (lambda: bm.plots.caterpillar(fit, kind="blups"), "kind is 'blups'; did you mean 'blup'"),
        (lambda: bm.plots.caterpillar(fit, prob=95), "prob is 95; it must lie strictly between 0 and 1"),
        (lambda: bm.plots.caterpillar(fit, axes=plt.gca()), "1 axes for 2 panels"),
        (lambda: bm.plots.caterpillar(fit, "study", axes=["ax"]), "axes is a str; give matplotlib axes"),
        (lambda: bm.plots.caterpillar(none), "this model has no random effects to draw"),
        (lambda: bm.plots.caterpillar(slope, "district", kind="blup"), "rows of group .* differ in a predictor"),
        (lambda: bm.plots.caterpillar(school()), "expected the results tree"),
    ]:
        with pytest.raises(SpecError, match=message):
            call()


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_saved(ending: str, tmp_path) -> None:
    bm.plots.caterpillar(make_posterior(berkey()))[0].figure.savefig(tmp_path / f"plot.{ending}")
    assert (tmp_path / f"plot.{ending}").stat().st_size > 1000


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80}, filename="caterpillar.png")
def test_picture() -> Figure:
    return bm.plots.caterpillar(bm.fit(school()), "district")[0].figure
