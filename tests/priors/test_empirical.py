"""Published heterogeneity priors: the tables' own regularities, keys, and the change from tau^2 to tau."""

import warnings
from collections import Counter
from itertools import product

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.distributions import draws
from bayesmeta.priors.empirical import FIELDS, origin, tables
from bayesmeta.priors.prior import Priors, rhodes, turner

TURNER, RHODES = tables()["turner"], tables()["rhodes"]
LEFT_OUT = {
    ("mental health", "non-pharma", "other"),
    ("resource use, hospital stay", "pharma vs control", "cancer"),
    ("internal or external structure", "pharma vs control", "cancer"),
}


def test_tables_are_complete():
    assert len(TURNER["outcomes"]) == 16
    assert {len(row) for row in TURNER["outcomes"].values()} == {5}
    assert [len(RHODES[field]) for field in FIELDS] == [8, 8, 8]
    assert {len(row) for field in FIELDS for row in RHODES[field].values()} == {3}
    assert len({tuple(RHODES[field]) for field in FIELDS}) == 1


def test_locations_of_turner_are_additive():
    """Behind the table is a regression with main effects; the published figures are rounded."""
    table = np.array(list(TURNER["outcomes"].values()))[:, :, 0]
    effects = table - table.mean(1, keepdims=True)
    assert np.abs(effects - effects.mean(0)).max() < 0.021


def test_locations_of_rhodes_are_additive():
    for field, shift in (("respiratory", -1.90), ("cancer", 2.56)):
        for outcome, row in RHODES[field].items():
            pairs = [(a[0], b[0]) for a, b in zip(row, RHODES["other"][outcome], strict=True) if a and b]
            assert all(abs(a - b - shift) < 0.03 for a, b in pairs), (field, outcome)


def test_what_is_left_out_of_rhodes():
    empty = set()
    for field in FIELDS:
        for outcome, row in RHODES[field].items():
            empty |= {(outcome, c, field) for c, cell in zip(RHODES["comparisons"], row, strict=True) if not cell}
    assert empty == LEFT_OUT
    for keys in LEFT_OUT:
        with pytest.raises(bm.SpecError, match="contradicts the additive model"):
            rhodes(*keys)


def test_every_entry_becomes_a_prior():
    for outcome, comparison in product(TURNER["outcomes"], TURNER["comparisons"]):
        assert turner(outcome, comparison).name == "LogNormal"
    for keys in set(product(RHODES["other"], RHODES["comparisons"], FIELDS)) - LEFT_OUT:
        assert rhodes(*keys).params["nu"] == 5


def test_printed_values():
    assert turner("All-cause mortality", "pharma vs control") == bm.Prior("LogNormal", mu=-1.975, sigma=0.67)
    assert rhodes("mental health", "pharma vs pharma", "Cancer") == bm.Prior(
        "LogStudentT", nu=5, mu=-0.355, sigma=1.125
    )


@pytest.mark.parametrize(("prior", "median", "upper"), [(turner(), 0.28, 1.16), (rhodes(), 0.18, 2.4)])
def test_medians_and_upper_points_of_the_marginal_distributions(prior, median, upper):
    tau = draws(prior, 200_000, np.random.default_rng(1))
    assert np.quantile(tau, 0.5) == pytest.approx(median, rel=0.03)
    assert np.quantile(tau, 0.95) == pytest.approx(upper, rel=0.04)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: turner("mortality, all-cause", "pharma vs control"), "unknown outcome"),
        (lambda: turner("pan", "pharma vs control"), "did you mean 'pain'"),
        (lambda: turner("pain", "pharma vs controls"), "did you mean 'pharma vs control'"),
        (lambda: turner("pain"), "turner needs comparison too"),
        (lambda: turner(comparison="pharma vs control"), "turner needs outcome too"),
        (lambda: rhodes("obstetric", "non-pharma"), "rhodes needs field too"),
        (lambda: rhodes("obstetric", "non-pharma", "oncology"), "unknown field 'oncology'"),
        (lambda: rhodes(3, "non-pharma", "other"), "unknown outcome 3"),
    ],
)
def test_keys_are_checked(call, message):
    with pytest.raises(bm.SpecError, match=message):
        call()


def published():
    """Publication, keys and prior of every entry of both tables, the marginal distributions included."""
    yield "turner", (), turner()
    yield "rhodes", (), rhodes()
    for keys in product(TURNER["outcomes"], TURNER["comparisons"]):
        yield "turner", keys, turner(*keys)
    for field in FIELDS:
        for keys in product(RHODES[field], RHODES["comparisons"]):
            if (*keys, field) not in LEFT_OUT:
                yield "rhodes", (*keys, field), rhodes(*keys, field)


def test_every_published_prior_knows_where_it_comes_from():
    shared = Counter(str(prior) for _, _, prior in published())
    assert len(shared) > 100
    for publication, keys, prior in published():
        once = keys and shared[str(prior)] == 1
        setting = ", ".join([*keys[:2], *(f"{field} field" for field in keys[2:])]) if once else ""
        assert origin(prior.name, prior.params) == (publication, setting)


@pytest.mark.parametrize(
    "prior",
    [
        bm.priors.half_normal(0.5),
        bm.Prior("LogNormal", mu=-1.975, sigma=0.6700001),
        bm.Prior("LogStudentT", nu=4, mu=-1.72, sigma=1.295),
    ],
)
def test_other_priors_come_from_nowhere(prior):
    assert origin(prior.name, prior.params) == ("", "")


def test_a_prior_of_another_effect_measure_is_asked_about_and_cited():
    data = pd.DataFrame({"y": [0.1, 0.3, 0.2, 0.5], "v": [0.1, 0.2, 0.1, 0.1]})
    specs = {name: bm.specify("y ~ 1", data, S="v", measure=name) for name in ("logor", "smd", "logrr")}
    own, other = Priors(tau=turner("pain", "pharma vs control")), Priors(tau=rhodes())
    with pytest.warns(
        bm.AssumptionWarning, match=r"Turner et al\. \(2015\) for log odds ratios, and the effects are stand"
    ):
        resolve(specs["smd"], own)
    with pytest.warns(bm.AssumptionWarning, match=r"of tau\[unit, Intercept\] is that of Rhodes et al\."):
        resolve(specs["logor"], other)
    for name, priors in {"logor": own, "smd": other, "logrr": own}.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            resolve(specs[name], priors)
    text = " ".join(str(bm.methods_text(bm.sample(specs["logor"], own, random_seed=1))).split())
    assert "of the logarithm (published for pain, pharma vs control [2]) for tau[unit, Intercept]" in text
    assert "2. Turner RM, Jackson D" in text


def test_placebos_are_controls():
    assert turner("pain", "Pharma vs placebo") == turner("pain", "pharma vs control")
