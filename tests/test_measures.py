"""One record for each effect measure, which everybody asks."""

from dataclasses import replace

import pytest

import bayesmeta as bm
from bayesmeta import measures
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.empirical import CITATIONS


@pytest.fixture
def auc():
    """A measure added from outside, whose value of no effect is not 0."""
    record = measures.register(
        measures.Measure("auc", "area under the curve", "AUC", null=0.5, unit_information_sd=0.4)
    )
    yield record
    del measures.MEASURES["auc"]


@pytest.mark.parametrize("record", measures.MEASURES.values(), ids=measures.MEASURES)
def test_every_record_is_consistent(record):
    assert measures.measure(record.name) is record
    assert record.is_ratio == record.label.startswith("log ")
    assert record.short_label_of(ratio=False)[0].isalpha()
    assert record.unit_information_sd is None or record.unit_information_sd > 0
    if record.published_prior:
        assert isinstance(getattr(bm.priors, record.published_prior)(), bm.Prior)
        assert record.published_prior in CITATIONS


def test_labels_on_both_scales():
    hazard, difference, z = (measures.measure(name) for name in ("loghr", "smd", "zcor"))
    assert [hazard.label_of(ratio) for ratio in (False, True)] == ["log hazard ratio", "hazard ratio"]
    assert [hazard.short_label_of(ratio) for ratio in (False, True)] == ["log HR", "HR"]
    assert difference.label_of(ratio=True) == "exp(standardised mean difference)"
    assert [z.short_label_of(ratio) for ratio in (False, True)] == ["Estimate", "exp(estimate)"]


def test_an_unknown_measure_is_refused_with_the_nearest_name():
    with pytest.raises(bm.SpecError, match=r"^measure is 'loggor'; did you mean 'logor'\?\n  must be one of: logor, "):
        bm.specify("y ~ 1", {"y": [1.0, 2.0], "v": [1.0, 1.0]}, S="v", measure="loggor")


def test_a_name_belongs_to_one_measure(auc):
    assert measures.register(auc) is auc  # a cell of a notebook that is run again
    with pytest.raises(bm.SpecError, match="another measure named 'auc'"):
        measures.register(replace(auc, label="area"))


def test_a_tree_of_a_measure_that_is_not_registered_here_is_still_read():
    assert measures.measure("of another process").label == "effect"


def test_a_measure_from_outside_is_known_everywhere(auc):
    data = {"y": [0.7, 0.8, 0.6], "v": [0.01, 0.02, 0.01]}
    spec = bm.specify("y ~ 1", data, S="v", measure="auc")
    fit = bm.fit(spec)
    ax = bm.plots.forest(fit)
    assert ax.get_xlabel().replace("\n", " ") == "Area under the curve"
    assert "AUC [95% CI]" in {text.get_text() for text in ax.texts}
    (line,) = [line for line in ax.lines if line.get_label() == "no effect"]
    assert list(line.get_xdata()) == [0.5, 0.5]
    funnel = bm.plots.funnel(fit)
    assert funnel.get_xlabel() == "Area under the curve"
    assert funnel.get_xlim()[0] < 0.5
    (prior,) = resolve(spec).beta
    assert prior == bm.Prior("Normal", mu=0.5, sigma=0.2)
