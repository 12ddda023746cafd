"""One record for each effect measure, which everybody asks."""

from dataclasses import replace

import numpy as np
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


RATIOS = (
    *("logor", "logrr", "loghr", "logirr", "logrom", "lograte", "logsd", "logcv", "logvr"),
    *("logcvr", "logreh"),
)
WITHOUT = {
    *("rd", "md", "smd", "cor", "mean", "generic", "asd", "phi", "yuq", "yuy", "rtet", "rpb", "rbis", "pcor", "spcor"),
    *("r2", "ird", "irsd", "hd", "proportion", "doublearcsine", "rate", "irft", "smn", "cles", "mc", "smc", "smcr"),
    "alpha",
}
ON_RESPONSE = {  # effects on the scale of the model, and where people read them
    **dict.fromkeys((*RATIOS, "logproportion", "logmean"), ([-0.7452, 0.0], [0.4746, 1.0])),
    **dict.fromkeys(("zcor", "zphi", "ztet", "zpb", "zbis", "zpcor", "zspcor"), ([0.5, 0.0], [0.4621, 0.0])),
    "zr2": ([0.5, 0.0, -1.0], [0.2136, 0.0, 0.0]),
    "probit": ([-0.8416, 0.0], [0.2, 0.5]),
    "rootrate": ([0.5, 0.0, -1.0], [0.25, 0.0, 0.0]),
    "alphahw": ([0.5, 0.0], [0.875, 0.0]),
    "alphalog": ([0.6931, 0.0], [0.5, 0.0]),
    "logit": ([-1.3863, 0.0], [0.2, 0.5]),
    "arcsine": ([0.4636, np.pi / 4, -0.1, 2.0], [0.2, 0.5, 0.0, 1.0]),
    **dict.fromkeys(WITHOUT, ([-0.5, 2.0], [-0.5, 2.0])),
}


@pytest.mark.parametrize("record", measures.MEASURES.values(), ids=measures.MEASURES)
def test_every_measure_is_read_on_the_scale_of_its_field(record):
    effects, expected = ON_RESPONSE[record.name]
    assert record.to_response(effects).round(4).tolist() == expected
    assert record.has_response == (record.name not in WITHOUT)
    assert record.response_label[0].isupper()
    many = np.linspace(-4, 4, 101).reshape(1, 101)
    assert record.to_response(many).shape == many.shape
    assert (np.diff(record.to_response(many)) >= 0).all()  # bounds stay in order
    assert np.isnan(record.to_response(np.nan))
    with np.errstate(all="raise", under="ignore"):  # a bound that overflows is no reason to warn
        assert record.to_response([-1e4, 1e4]).shape == (2,)


@pytest.mark.parametrize("record", measures.MEASURES.values(), ids=measures.MEASURES)
def test_a_difference_is_a_ratio_where_that_has_a_meaning(record):
    of_ratios = record.is_ratio or record.name in ("logit", "logproportion", "logmean")
    assert record.has_difference_response == of_ratios
    expected = np.exp([-0.5, 0.0]) if of_ratios else [-0.5, 0.0]
    assert record.difference_to_response([-0.5, 0.0]).tolist() == list(expected)
    assert record.difference_label.startswith("difference in") == (not of_ratios)


@pytest.mark.parametrize("record", measures.MEASURES.values(), ids=measures.MEASURES)
def test_the_way_back_is_the_inverse(record):
    effects = np.array([0.1, 0.4636, 0.7])
    np.testing.assert_allclose(record.to_model(record.to_response(effects)), effects, rtol=1e-12)


def test_a_measure_from_outside_need_not_have_a_way_back():
    own = replace(measures.measure("md"), name="half", response=measures.Response("doubled", lambda values: 2 * values))
    with pytest.raises(bm.SpecError, match="measure 'half' has no function from doubled to mean difference"):
        own.to_model(1.0)


def test_no_word_belongs_to_two_measures():
    """But for the labels that Fisher's z and the correlation behind it share on the scale of their response."""
    owners: dict[str, set[str]] = {}
    for name, record in measures.MEASURES.items():
        for word in (name, record.label, *record.synonyms):
            owners.setdefault(word.casefold(), set()).add(name)
    assert not {word: names for word, names in owners.items() if len(names) > 1}


def test_effects_and_differences_are_told_apart_by_labels():
    labels = {
        name: (measures.measure(name).response_label, measures.measure(name).difference_label)
        for name in ("logor", "logrom", "logit", "zcor", "lograte", "smd")
    }
    assert labels == {
        "logor": ("Odds ratio", "ratio of odds ratios"),
        "logrom": ("Ratio of means", "ratio of ratios of means"),
        "logit": ("Proportion", "odds ratio"),
        "zcor": ("Correlation", "difference in Fisher's z"),
        "lograte": ("Incidence rate", "ratio of incidence rates"),
        "smd": ("Standardised mean difference", "difference in standardised mean difference"),
    }


def test_a_measure_from_outside_brings_its_own_scale():
    own = measures.Response("doubled", lambda values: 2 * values)
    record = replace(measures.measure("md"), name="half", response=own)
    assert record.to_response(3).item() == 6
    assert (record.response_label, record.has_response) == ("Doubled", True)
    assert not record.has_difference_response
