"""Default priors: their numbers, equivariance, what is centred; given priors against the model."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta.priors.defaults import ModelPriors, resolve
from bayesmeta.priors.prior import Prior, Priors, half_normal

RNG = np.random.default_rng(5)
N = 24
DATA = {
    "study": [f"s{i // 2}" for i in range(N)],
    "PD": RNG.normal(0.3, 0.5, N),
    "AL": RNG.normal(-0.4, 0.2, N),
    "year": 1985.0 + RNG.integers(0, 15, N),
    "dose": RNG.choice([0.0, 2.0, 4.0], N),
    "arm": [["a", "b", "c"][i % 3] for i in range(N)],
    "vPD": np.full(N, 0.04),
    "vAL": np.full(N, 0.02),
}
YEAR = DATA["year"]
S2 = ["vPD", "vAL"]


def model(formula="PD ~ 1", S="vPD", measure="logor", data=DATA, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.AssumptionWarning)  # of zero covariances between outcomes
        return bm.specify(formula, data, S=S, measure=measure, **options)


def sigmas(priors):
    return [prior.params["sigma"] for prior in priors]


@pytest.mark.parametrize(
    ("measure", "unit"),
    [("logor", 2), ("logrr", 2), ("loghr", 2), ("logirr", 2), ("smd", np.sqrt(2)), ("zcor", 1)],
)
def test_unit_information_rule(measure, unit):
    found = resolve(model("PD ~ year", measure=measure))
    assert found.beta[0] == Prior("Normal", mu=0, sigma=unit / 2)
    assert sigmas(found.beta)[1] == pytest.approx(unit / 4 / YEAR.std())
    assert found.levels[0].tau == (Prior("HalfNormal", sigma=unit / 4),)
    assert found.levels[0].rho is None
    assert found.notes == ()


def test_the_intercept_is_centred():
    found = resolve(model("PD ~ year"))
    np.testing.assert_allclose(found.centring, [[1, YEAR.mean()], [0, 1]])
    assert found.table()[0].prior == "Normal(mu=0, sigma=1) at the mean of the predictors"
    assert found.table()[1].prior == f"Normal(mu=0, sigma={0.5 / YEAR.std():.4g})"


def test_a_given_prior_of_the_intercept_is_on_the_coefficient():
    found = resolve(model("PD ~ year"), Priors(beta={"Intercept": Prior("Normal", mu=0, sigma=3)}))
    assert (found.centring == np.eye(2)).all()
    assert found.beta[0] == Prior("Normal", mu=0, sigma=3)
    assert found.beta_default == (False, True)


def test_several_outcomes_are_centred_each_by_its_own():
    data = DATA | {"PD": np.where(YEAR > 1995, np.nan, DATA["PD"])}
    spec = model("PD + AL ~ year", S2, data=data)
    found = resolve(spec)
    assert spec.coef == ("PD.Intercept", "AL.Intercept", "PD.year", "AL.year")
    early = YEAR[YEAR <= 1995]
    expected = np.eye(4)
    expected[0, 2], expected[1, 3] = early.mean(), YEAR.mean()
    np.testing.assert_allclose(found.centring, expected)
    assert sigmas(found.beta) == pytest.approx([1, 1, 0.5 / early.std(), 0.5 / YEAR.std()])
    assert found.levels[0].tau == (Prior("HalfNormal", sigma=0.5),) * 2
    assert found.levels[0].rho == Prior("LKJ", eta=2)
    assert [row.parameter for row in found.table()][4:] == [
        "tau[unit, PD]",
        "tau[unit, AL]",
        "rho[unit]",
    ]


def test_a_coefficient_common_to_outcomes():
    spec = model({"PD": "1", "AL": "1"}, S2, common="0 + year")
    found, j = resolve(spec), spec.coef.index("year")
    at = [spec.coef.index("PD.Intercept"), spec.coef.index("AL.Intercept")]
    np.testing.assert_allclose(found.centring[at, j], YEAR.mean())
    assert sigmas(found.beta)[j] == pytest.approx(0.5 / YEAR.std())


def test_outcomes_without_intercept():
    assert sigmas(resolve(model("PD ~ 0 + arm")).beta) == [1, 1, 1]
    spec = model("PD ~ 0 + dose")
    dose = DATA["dose"][DATA["dose"] > 0]
    assert sigmas(resolve(spec).beta) == pytest.approx([1 / np.sqrt((dose**2).mean())])
    assert (resolve(spec).centring == np.eye(1)).all()


def test_one_outcome_with_intercept_and_one_without():
    spec = model({"PD": "1 + year", "AL": "0 + dose"}, S2)
    found = dict(zip(spec.coef, resolve(spec).beta, strict=True))
    dose = DATA["dose"][DATA["dose"] > 0]
    assert found["AL.dose"].params["sigma"] == pytest.approx(1 / np.sqrt((dose**2).mean()))
    assert found["PD.year"].params["sigma"] == pytest.approx(0.5 / YEAR.std())


def test_random_slopes():
    with_intercept = resolve(model("PD ~ year", random="1 + year | study")).levels[0]
    assert sigmas(with_intercept.tau) == pytest.approx([0.5, 0.5 / YEAR.std()])
    without = resolve(model("PD ~ 0 + dose", random="0 + dose | study")).levels[0]
    dose = DATA["dose"][DATA["dose"] > 0]
    assert sigmas(without.tau) == pytest.approx([0.5 / np.sqrt((dose**2).mean())])


@pytest.mark.parametrize("psi", ["id", "cs", "ar1", bm.structures.Proportional([[4.0, 0.0], [0.0, 4.0]])])
def test_one_common_sd(psi):
    spec = model("PD ~ year", random="1 + year | study", psi=psi)
    level = resolve(spec).levels[0]
    over = 2 if not isinstance(psi, str) else 1
    assert sigmas(level.tau) == pytest.approx([np.median([0.5, 0.5 / YEAR.std()]) / over])
    assert level.tau_labels == ("tau[study]",)


def test_structures_without_parameters():
    fixed = resolve(model(psi=bm.structures.Fixed([[0.1]]))).levels[0]
    assert (fixed.tau, fixed.rho, fixed.tau_labels) == ((), None, ())
    nested = resolve(model(random="1 | study/arm")).levels
    assert [level.tau_labels for level in nested] == [("tau[study, Intercept]",), ("tau[arm, Intercept]",)]


def test_without_measure_the_data_give_the_scale():
    spec = model("PD ~ year", measure=None)
    with pytest.warns(bm.AssumptionWarning, match="no measure is given: default priors of beta") as caught:
        found = resolve(spec)
    y = DATA["PD"]
    s = y.std(ddof=1)
    assert found.beta[0].params == pytest.approx({"mu": y.mean(), "sigma": 5 * s})
    assert found.beta[1].params == pytest.approx({"mu": 0, "sigma": 2.5 * s / YEAR.std()})
    assert found.levels[0].tau[0].params == pytest.approx({"sigma": s})
    assert found.notes == (str(caught[0].message),)
    assert f"{s:.4g} (PD)" in found.notes[0]
    assert "priors=" in found.notes[0]


@pytest.mark.parametrize("measure", ["md", "mean", "generic", "rd", "cor", "logit", "logrom"])
def test_measures_on_their_own_scale(measure):
    with pytest.warns(bm.AssumptionWarning, match=f"measure '{measure}' has no scale of its own"):
        resolve(model(measure=measure))


def test_without_intercept_and_measure_the_scale_covers_the_distance_from_zero():
    data = DATA | {"PD": DATA["PD"] + 50}
    y = data["PD"]
    with pytest.warns(bm.AssumptionWarning):
        found = resolve(model("PD ~ 0 + arm", measure="md", data=data))
    assert found.beta[0].params["mu"] == 0
    assert sigmas(found.beta) == pytest.approx([5 * np.hypot(y.mean(), y.std(ddof=1))] * 3)


def test_the_offset_is_taken_off():
    data = DATA | {"PD": DATA["PD"] + 10 * YEAR, "known": 10 * YEAR}
    with pytest.warns(bm.AssumptionWarning):
        found = resolve(model("PD ~ 1", measure=None, data=data, offset="known"))
    assert found.beta[0].params["mu"] == pytest.approx(DATA["PD"].mean())
    assert found.levels[0].tau[0].params["sigma"] == pytest.approx(DATA["PD"].std(ddof=1))


def test_no_warning_where_nothing_is_scaled_from_the_data():
    given = Priors(beta=Prior("Normal", mu=0, sigma=1), tau=half_normal(1))
    assert resolve(model("PD + AL ~ year", S2, measure=None), given).notes == ()


def test_the_warning_names_what_is_left():
    with pytest.warns(bm.AssumptionWarning, match=r"priors of beta\[year\] are scaled"):
        resolve(
            model("PD ~ year", measure=None),
            Priors(beta={"Intercept": Prior("Normal", mu=0, sigma=1)}, tau=half_normal(1)),
        )


def test_a_single_or_constant_outcome_still_has_a_scale():
    constant = DATA | {"PD": np.full(N, 0.3)}
    with pytest.warns(bm.AssumptionWarning, match=r"0\.2 \(PD\)"):
        found = resolve(model(measure=None, data=constant))
    assert found.levels[0].tau[0].params["sigma"] == pytest.approx(0.2)  # sqrt of the mean sampling variance
    single = DATA | {"PD": [0.3, *[np.nan] * (N - 1)]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = bm.specify("PD + AL ~ 1", single, S=S2)
        tau = resolve(spec).levels[0].tau[0].params["sigma"]
    assert tau == pytest.approx(np.append(DATA["AL"], 0.3).std(ddof=1))


def resolved(spec):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.AssumptionWarning)
        return resolve(spec)


FORMULAS = ["PD ~ 1", "PD ~ year", "PD ~ 0 + dose", "PD ~ 0 + arm", "PD ~ dose + arm"]


@settings(max_examples=30)
@given(st.floats(1e-4, 1e4), st.sampled_from(FORMULAS))
def test_priors_follow_the_unit_of_the_outcome(c, formula):
    here = resolved(model(formula, measure=None))
    there = resolved(model(formula, measure=None, data=DATA | {"PD": c * DATA["PD"], "vPD": c**2 * DATA["vPD"]}))
    for one, two in zip((*here.beta, *here.levels[0].tau), (*there.beta, *there.levels[0].tau), strict=True):
        assert two.params == pytest.approx({name: c * value for name, value in one.params.items()})
    np.testing.assert_allclose(here.centring, there.centring)


@settings(max_examples=30)
@given(st.floats(1e-4, 1e4), st.sampled_from(["logor", None]), st.sampled_from(["1 + dose", "0 + dose"]))
def test_priors_follow_the_unit_of_a_predictor(c, measure, terms):
    random = f"{terms} | study"
    here = resolved(model(f"PD ~ {terms}", measure=measure, random=random))
    there = resolved(model(f"PD ~ {terms}", measure=measure, random=random, data=DATA | {"dose": c * DATA["dose"]}))
    assert there.beta[-1].params == pytest.approx({"mu": 0, "sigma": here.beta[-1].params["sigma"] / c})
    assert there.levels[0].tau[-1].params == pytest.approx({"sigma": here.levels[0].tau[-1].params["sigma"] / c})
    assert there.beta[:-1] == here.beta[:-1]


@settings(max_examples=20)
@given(st.floats(-1e4, 1e4))
def test_centred_defaults_do_not_know_where_a_predictor_is_zero(shift):
    there = resolved(model("PD ~ year", data=DATA | {"year": YEAR + shift}))
    here = resolved(model("PD ~ year"))
    for one, two in zip(here.beta, there.beta, strict=True):
        assert two.params == pytest.approx(one.params)
    # the same effects on other zeros have the same theta
    moved = np.array([[1, -shift], [0, 1]])
    np.testing.assert_allclose(there.centring @ moved, here.centring, rtol=1e-9, atol=1e-6)


def test_determinant_of_the_centring_is_one():
    for spec in (
        model("PD ~ dose + arm + year"),
        model("PD + AL ~ year", S2),
        model({"PD": "0", "AL": "1"}, S2, common="1"),
    ):
        assert np.linalg.det(resolve(spec).centring) == pytest.approx(1)


def test_an_improper_coefficient_is_said():
    with pytest.warns(bm.AssumptionWarning, match=r"prior of beta\[Intercept\] is improper") as caught:
        found = resolve(model(), Priors(beta=Prior("Flat")))
    assert found.notes == (str(caught[0].message),)


def test_plain_form():
    found = resolve(model("PD + AL ~ year", S2, random="1 | study/arm"), Priors(tau={"arm": half_normal(1)}))
    again = ModelPriors.from_json(found.to_json())
    assert (again.beta, again.levels, again.notes) == (found.beta, found.levels, found.notes)
    np.testing.assert_array_equal(again.centring, found.centring)
    assert again.table() == found.table()
    assert {row.parameter: row.default for row in again.table()}["tau[arm, PD]"] is False
