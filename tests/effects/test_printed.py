"""Estimates, means, SDs and tables from what papers print, against what they were printed from."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmeta as bm
from bayesmeta import effects
from bayesmeta.effects.printed import derivative
from bayesmeta.measures import MEASURES

RNG = np.random.default_rng(3)
TRUE_Y, TRUE_SE = np.array([-0.8, 0.1, 0.6]), np.array([0.2, 0.05, 0.3])


def quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        return call()


BACK = [name for name, each in MEASURES.items() if each.has_response and name not in ("rootrate", "zr2", "arcsine")]


@pytest.mark.parametrize("measure", BACK)
@pytest.mark.parametrize("prob", [0.9, 0.95])
def test_intervals_on_the_response_scale_give_back_what_they_were_made_from(measure, prob):
    half = stats.norm.ppf((1 + prob) / 2) * TRUE_SE
    record = MEASURES[measure]
    printed = {name: record.to_response(TRUE_Y + k * half) for name, k in (("y0", 0), ("low", -1), ("high", 1))}
    table = effects.from_interval(printed, "y0", ("low", "high"), measure=measure, prob=prob)
    np.testing.assert_allclose(table["y"], TRUE_Y, rtol=1e-9)
    np.testing.assert_allclose(table["v"], TRUE_SE**2, rtol=1e-8)
    assert table.attrs["measure"] == measure


def test_intervals_of_t_and_of_the_model_scale_and_without_an_estimate():
    df = np.array([5.0, 20.0, 400.0])
    half = stats.t.ppf(0.975, df) * TRUE_SE
    frame = pd.DataFrame({"b": TRUE_Y, "low": TRUE_Y - half, "high": TRUE_Y + half, "df": df})
    table = effects.from_interval(frame, "b", ("low", "high"), measure="logor", scale="model", df="df")
    np.testing.assert_allclose(table["v"], TRUE_SE**2, rtol=1e-9)
    middle = effects.from_interval(frame, None, ("low", "high"), measure="logor", scale="model", df="df")
    np.testing.assert_allclose(middle[["y", "v"]], table[["y", "v"]], rtol=1e-9)
    one_sided = frame.assign(low=np.nan)
    half_of_it = effects.from_interval(one_sided, "b", ("low", "high"), measure="logor", scale="model", df="df")
    np.testing.assert_allclose(half_of_it["v"], TRUE_SE**2, rtol=1e-9)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_rounding_alone_is_no_asymmetry(digits):
    y, se = RNG.normal(0, 0.5, 300), RNG.uniform(0.1, 0.6, 300)
    frame = pd.DataFrame({"or": np.exp(y), "low": np.exp(y - 1.96 * se), "high": np.exp(y + 1.96 * se)}).round(digits)
    frame = frame[(frame["low"] > 0) & (frame["low"] < frame["or"]) & (frame["or"] < frame["high"])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        effects.from_interval(frame, "or", ("low", "high"), measure="odds ratio")


def test_asymmetry_beyond_rounding_is_flagged_with_the_other_scale():
    frame = pd.DataFrame({"b": [-0.8, 0.41], "low": [-1.19, 0.02], "high": [-0.41, 0.8]}, index=["x", "z"])
    ratios = np.exp(frame).round(3)
    with pytest.warns(
        bm.AssumptionWarning, match='2 of 2 rows are not symmetric .*\n  .*scale="response" may be meant'
    ):
        effects.from_interval(ratios, "b", ("low", "high"), measure="logor", scale="model")
    wrong = ratios.assign(high=[0.9, 2.226])
    with pytest.warns(bm.AssumptionWarning, match="intervals of 1 of 2 rows .* rows x; the estimate of row x lies at"):
        effects.from_interval(wrong, "b", ("low", "high"), measure="odds ratio")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"or": 3.0}, r"column 'or': 3 in row 1 \(Lopez\) is not in its interval, column 'low' to column 'high'"),
        ({"low": 2.5}, r"column 'low': 2.5 in row 1 \(Lopez\) is not below the upper limit, column 'high'"),
        ({"or": -1.0}, r"column 'or': -1 in row 1 \(Lopez\) is no odds ratio with a finite log odds ratio"),
        ({"low": -0.1}, "column 'low': -0.1 in row 1"),
        ({"high": np.inf}, "column 'high': inf in row 1"),
    ],
)
def test_impossible_intervals(row, message):
    frame = pd.DataFrame({"study": ["Ames", "Lopez"], "or": [0.9, 1.5], "low": [0.6, 1.1], "high": [1.35, 2.05]})
    frame.loc[1, list(row)] = list(row.values())
    with pytest.raises(bm.DataError, match=message):
        effects.from_interval(frame, "or", ("low", "high"), measure="logor")


def test_a_lower_limit_of_zero_leaves_the_upper_half():
    frame = {"or": [0.1], "low": [0.0], "high": [2.3]}
    with pytest.warns(bm.AssumptionWarning, match="column 'low': 0 in rows 0 is no limit of a ratio"):
        table = effects.from_interval(frame, "or", ("low", "high"), measure="logor")
    assert table["v"].item() == pytest.approx((np.log(23) / stats.norm.ppf(0.975)) ** 2)


def test_p_values_and_standard_errors_give_back_what_they_were_made_from():
    p = 2 * stats.norm.sf(np.abs(TRUE_Y / TRUE_SE))
    frame = pd.DataFrame({"or": np.exp(TRUE_Y), "p": p, "se": TRUE_SE, "b": TRUE_Y})
    with pytest.warns(bm.AssumptionWarning, match="standard errors were worked out from p-values"):
        table = effects.from_pvalue(frame, "or", "p", measure="odds ratio")
    np.testing.assert_allclose(table["v"], TRUE_SE**2, rtol=1e-9)
    np.testing.assert_allclose(effects.from_se(frame, "b", "se", measure="logor")["v"], TRUE_SE**2)
    response = effects.from_se(frame.assign(s=TRUE_SE * np.exp(TRUE_Y)), "or", "s", measure="logor", scale="response")
    np.testing.assert_allclose(response["v"], TRUE_SE**2, rtol=1e-8)
    with pytest.raises(bm.DataError, match="column 'p': 0 in row 0 is not a p-value"):
        quietly(lambda: effects.from_pvalue(frame.assign(p=0.0), "or", "p", measure="odds ratio"))
    with pytest.raises(bm.SpecError, match="has no value of no effect"):
        effects.from_pvalue(frame.assign(p=0.5), "or", "p", measure="logit")


# -- five numbers and SDs


@pytest.mark.parametrize("n", [9, 50, 1001])
@pytest.mark.parametrize("which", ["quartiles", "extremes", "both"])
def test_five_numbers_of_a_symmetric_distribution_have_its_middle_and_about_its_sd(n, which):
    probs = {"minimum": (1 - 0.375) / (n + 0.25), "q1": 0.25, "median": 0.5, "q3": 0.75}
    numbers = {name: [10 + 2 * stats.norm.ppf(p)] for name, p in probs.items()}
    numbers["maximum"] = [20 - numbers["minimum"][0]]
    pairs = {"quartiles": ("q1", "q3"), "extremes": ("minimum", "maximum")}
    used = pairs if which == "both" else {which: pairs[which]}
    table = quietly(lambda: effects.mean_from_quantiles(numbers, n, "median", **used))
    assert table["mean"].item() == pytest.approx(10, rel=1e-12)
    assert table["sd"].item() == pytest.approx(2, rel=0.2 if n < 10 else 0.05)


@pytest.mark.parametrize(
    "distribution",
    [stats.lognorm(0.4, scale=5), stats.gamma(6, scale=0.7), stats.weibull_min(2.2, scale=9), stats.norm(20, 3)],
)
def test_mcgrath_finds_the_distribution_that_made_the_quantiles(distribution):
    n = 200
    low, q1, median, q3, high = distribution.ppf([1 / n, 0.25, 0.5, 0.75, 1 - 1 / n])
    frame = pd.DataFrame({"m": [median], "q1": [q1], "q3": [q3], "low": [low], "high": [high]})
    table = quietly(
        lambda: effects.mean_from_quantiles(
            frame, n, "m", quartiles=("q1", "q3"), extremes=("low", "high"), method="mcgrath"
        )
    )
    assert table["mean"].item() == pytest.approx(distribution.mean(), rel=1e-5)
    assert table["sd"].item() == pytest.approx(distribution.std(), rel=1e-4)


def test_lognormal_five_numbers_equal_metafor():
    """metafor 5.1.12, conv.fivenum(dist="lnorm", test=FALSE)."""
    nan = np.nan
    frame = pd.DataFrame(
        {
            "low": [2, nan, 5, nan, 1, 3],
            "q1": [nan, 4, 6, 11, 3, nan],
            "m": [6, 6, 8, 14, 5, 9],
            "q3": [nan, 10, 10, 18, 9, nan],
            "high": [14, nan, 12, nan, 20, 40],
            "n": [20, 30, 50, 110, 45, 200],
        }
    )
    table = quietly(
        lambda: effects.mean_from_quantiles(
            frame, "n", "m", quartiles=("q1", "q3"), extremes=("low", "high"), distribution="lognormal"
        )
    )
    mean = [6.53149544560327, 7.82240884712927, 8.11184502820212, 15.0183558110132, 6.59510474501939, 10.1789445111537]
    sd = [3.44264276979582, 5.65131887869043, 2.26518771480008, 5.67098654855538, 5.42723926077834, 5.0341083803275]
    np.testing.assert_allclose(table["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(table["sd"], sd, rtol=1e-9)


def test_gaps_are_filled_and_what_is_there_stays():
    frame = pd.DataFrame({"mean": [3.0, np.nan, np.nan], "sd": [1.0, np.nan, np.nan], "m": [9.0, 8.0, np.nan]})
    frame = frame.assign(q1=[8.0, 6.0, 1.0], q3=[10.0, 10.0, 2.0], n=[30, 50, 20])
    with (
        pytest.warns(bm.AssumptionWarning, match="1 of 3 rows"),
        pytest.warns(bm.BayesmetaWarning, match=r"no mean and SD in rows 2, which lack quartiles or range \(1 rows\)"),
    ):
        table = effects.mean_from_quantiles(frame, "n", "m", quartiles=("q1", "q3"))
    assert table["mean"].round(3).tolist()[:2] == [3.0, 8.0]
    assert np.isnan(table.loc[2, "mean"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"m": 11.0}, "column 'q3': 10 in row 0 is below the median, column 'm'"),
        ({"m": 5.0}, "column 'm': 5 in row 0 is below the q1, column 'q1'"),
        ({"n": 4}, "column 'n': 4 in row 0 is fewer than 5 persons"),
    ],
)
def test_quantiles_out_of_order(row, message):
    frame = pd.DataFrame({"m": [8.0], "q1": [6.0], "q3": [10.0], "n": [50]}).assign(**row)
    with pytest.raises(bm.DataError, match=message):
        quietly(lambda: effects.mean_from_quantiles(frame, "n", "m", quartiles=("q1", "q3")))


def test_sds_from_errors_intervals_and_tests_give_back_what_they_were_made_from():
    n1, n2, sd = np.array([12.0, 40]), np.array([15.0, 33]), np.array([3.0, 7.0])
    se = sd / np.sqrt(n1)
    half = stats.t.ppf(0.975, n1 - 1) * se
    frame = pd.DataFrame(
        {"n1": n1, "n2": n2, "se": se, "low": 5 - half, "high": 5 + half, "m1": [8.0, 3], "m2": [5.0, 5]}
    )
    for printed in ({"se": "se"}, {"interval": ("low", "high")}):
        np.testing.assert_allclose(effects.sd_from(frame, "n1", **printed)["sd"], sd, rtol=1e-12)
    t = (frame.m1 - frame.m2) / (sd * np.sqrt(1 / n1 + 1 / n2))
    frame = frame.assign(t=t, p=2 * stats.t.sf(np.abs(t), n1 + n2 - 2))
    for printed in ({"t": "t"}, {"p": "p"}):
        with pytest.warns(bm.AssumptionWarning, match="the same standard deviation"):
            table = effects.sd_from_test(frame, ("m1", "m2"), ("n1", "n2"), **printed)
        np.testing.assert_allclose(table["sd"], sd, rtol=1e-9)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("mean", 3.5), ("median", 3.5), ("largest", 4.0), ("pooled", np.sqrt((9 * 10 + 16 * 30) / 40))],
)
def test_missing_sds_are_imputed_by_a_stated_rule(rule, expected):
    frame = pd.DataFrame({"sd": [3.0, np.nan, 4.0], "n": [11, 20, 31]}, index=["a", "b", "c"])
    with pytest.warns(
        bm.AssumptionWarning, match=f"1 of 3 standard deviations were imputed by rule '{rule}', of rows b"
    ):
        table = effects.impute_sd(frame, "sd", rule=rule, n="n")
    assert table["sd"].tolist() == [3.0, pytest.approx(expected), 4.0]


# -- tables, aggregates, functions


def test_tables_come_back_from_their_odds_ratio_phi_or_chi_squared():
    cells = RNG.integers(3, 200, (4, 60)).astype(float)
    a, b, c, d = cells
    frame = pd.DataFrame({"n": cells.sum(axis=0), "n1": a + b, "x": a + c})
    frame["OR"] = a * d / (b * c)
    frame["phi"] = (a * d - b * c) / np.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    frame["chi2"] = np.sign(frame.phi) * frame.n * frame.phi**2
    yates = (np.abs(a * d - b * c) - frame.n / 2).clip(lower=0) ** 2
    frame["yates"] = np.sign(frame.phi) * frame.n * yates / ((a + b) * (c + d) * (a + c) * (b + d))
    clear = np.abs(a * d - b * c) > frame.n / 2
    ways = {"odds_ratio": "OR", "phi": "phi", "chi_squared": "chi2"}
    for argument, column in ways.items():
        table = quietly(
            lambda a=argument, c=column: effects.cells_from(frame, "n", "n1", "x", **{a: c}, continuity=False)
        )
        np.testing.assert_array_equal(table[["a", "b", "c", "d"]].to_numpy().T, cells)
    table = quietly(lambda: effects.cells_from(frame[clear], "n", "n1", "x", chi_squared="yates"))
    np.testing.assert_array_equal(table[["a", "b", "c", "d"]].to_numpy().T, cells[:, clear])


@pytest.mark.parametrize("without", ["sensitivity", "specificity", "ppv", "npv", "predictive values", "none"])
def test_tables_come_back_from_the_accuracy_of_a_test(without):
    tp, fp, fn, tn = RNG.integers(3, 150, (4, 40)).astype(float)
    frame = pd.DataFrame({"n": tp + fp + fn + tn, "ill": tp + fn})
    frame = frame.assign(sensitivity=tp / (tp + fn), specificity=tn / (tn + fp), ppv=tp / (tp + fp), npv=tn / (tn + fn))
    left_out = {"predictive values": {"ppv", "npv"}}.get(without, {without})
    named = {name: name for name in ("sensitivity", "specificity", "ppv", "npv") if name not in left_out}
    cases = {"cases": "ill"} if without == "predictive values" else {}
    table = quietly(lambda: effects.cells_from_accuracy(frame, "n", **cases, **named))
    np.testing.assert_array_equal(table[["tp", "fp", "fn", "tn"]].to_numpy().T, [tp, fp, fn, tn])


def test_rounded_accuracy_leads_to_a_table_of_that_accuracy():
    tp, fp, fn, tn = RNG.integers(3, 60, (4, 40)).astype(float)
    shares = {
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
    }
    frame = pd.DataFrame({"n": tp + fp + fn + tn} | {name: own.round(2) for name, own in shares.items()})
    table = quietly(lambda: effects.cells_from_accuracy(frame, "n", **{name: name for name in shares})).dropna()
    own = frame.loc[table.index]
    assert len(table) > 30
    for name, (hit, rest) in {"sensitivity": ("tp", "fn"), "specificity": ("tn", "fp"), "ppv": ("tp", "fp")}.items():
        assert (abs(table[hit] / (table[hit] + table[rest]) - own[name]) < 0.011).all()
    assert (table[["tp", "fp", "fn", "tn"]].sum(axis=1) == own["n"]).all()


def test_a_perfect_test_does_not_say_how_many_are_ill():
    frame = {"n": [30, 30], "one": [1.0, 0.9], "ill": [10, 10], "ppv": [1.0, 0.9]}
    with (
        pytest.warns(bm.AssumptionWarning, match="the cells of 1 tables were worked out"),
        pytest.warns(bm.BayesmetaWarning, match="no table in rows 0, where tables with other numbers of cases fit as"),
    ):
        table = effects.cells_from_accuracy(frame, "n", sensitivity="one", specificity="one", ppv="ppv")
    assert np.isnan(table["tp"][0])
    known = quietly(lambda: effects.cells_from_accuracy(frame, "n", cases="ill", sensitivity="one", specificity="one"))
    assert known[["tp", "fp", "fn", "tn"]].iloc[0].tolist() == [10, 0, 0, 20]
    with pytest.raises(bm.SpecError, match="has sensitivity, ppv; it needs three of them, or cases and two"):
        effects.cells_from_accuracy(frame, "n", sensitivity="one", ppv="ppv")


def test_corrections_by_the_opposite_arm_leave_arms_without_difference_alone():
    """A common risk of zero: a half in each cell of unequal arms makes a difference, their shares do not."""
    frame = {"a": [0, 0], "c": [0, 3], "n1": [100, 50], "n2": [300, 150]}
    how = {"total": ("n1", "n2"), "zero": "only0", "drop_double_zero": False}
    table = effects.odds_ratio(frame, ("a", "c"), add="opposite-arm", **how)
    assert table["y"][0] == pytest.approx(0, abs=1e-12)
    a, b, c, d = 0.25, 50.25, 3.75, 147.75
    assert table["y"][1] == pytest.approx(np.log(a * d / b / c))
    assert table["v"][1] == pytest.approx(1 / a + 1 / b + 1 / c + 1 / d)
    assert abs(effects.odds_ratio(frame, ("a", "c"), **how)["y"][0]) > 1
    with pytest.raises(bm.SpecError, match="add='opposite-arm' is for events and persons of two arms"):
        effects.logit_proportion(frame, "a", total="n1", add="opposite-arm", zero="only0")
    with pytest.raises(bm.SpecError, match="add is 'half'; it must be a number greater than 0 or 'opposite-arm'"):
        effects.odds_ratio(frame, ("a", "c"), add="half", **how)


def test_aggregates_are_generalised_least_squares():
    frame = pd.DataFrame(
        {"study": list("aabbbc"), "y": RNG.normal(size=6), "v": RNG.uniform(0.1, 1, 6), "year": [1, 1, 2, 2, 2, 3]}
    )
    frame["other"] = range(6)
    for weights in ("precision", "equal"):
        with pytest.warns(bm.AssumptionWarning, match=r"a correlation of 0.4 was assumed in 2 of 3 groups"):
            table = effects.aggregate(frame, "study", rho=0.4, weights=weights)
        assert table.columns.tolist() == ["y", "v", "k", "year"]
        for label, rows in frame.groupby("study"):
            sd = np.sqrt(rows["v"].to_numpy())
            S = np.outer(sd, sd) * (0.4 + 0.6 * np.eye(len(sd)))
            w = np.linalg.inv(S).sum(axis=0) if weights == "precision" else np.ones(len(sd))
            w = w / w.sum()
            assert table.loc[label, "y"] == pytest.approx(w @ rows["y"].to_numpy())
            assert table.loc[label, "v"] == pytest.approx(w @ S @ w)
    whole = bm.within.correlated(frame, variance="v", rho=0.4, group="study")
    np.testing.assert_allclose(effects.aggregate(frame, "study", S=whole, weights="equal")["v"], table["v"])


def test_aggregates_refuse_covariances_that_cannot_be():
    frame = pd.DataFrame({"study": ["a", "a", "b"], "y": [1.0, 2, 3], "v": [1.0, 1, 1]})
    with pytest.raises(bm.DataError, match="the sampling covariances of 'a' are not positive definite"):
        effects.aggregate(frame, "study", S={"a": [[1.0, 2.0], [2.0, 1.0]], "b": [[1.0]]})
    with pytest.raises(bm.DataError, match="S has no matrix for study 'b'"):
        effects.aggregate(frame, "study", S={"a": np.eye(2)})
    with pytest.raises(bm.SpecError, match="rho or S: neither is given"):
        effects.aggregate(frame, "study")


def test_slopes_are_derivatives_up_to_the_edge():
    r = np.array([0.0, -0.5, 0.999, 0.99999])
    np.testing.assert_allclose(derivative(np.arctanh, r), 1 / (1 - r**2), rtol=1e-6)
    np.testing.assert_allclose(derivative(np.log, np.array([1e-8, 1.0, 1e8])), [1e8, 1.0, 1e-8], rtol=1e-8)


def test_pooled_counts_say_what_they_leave_out():
    frame = pd.DataFrame({"a": [1, 0, np.nan], "c": [4, 0, 3], "n1": [50, 40, 30], "n2": [50, 40, 30]})
    cells = {"events": ("a", "c"), "total": ("n1", "n2")}
    with (
        pytest.warns(bm.BayesmetaWarning, match="studies that lack a value were left out: rows 2"),
        pytest.warns(bm.BayesmetaWarning, match="1 studies without an estimate of their own enter the common effect"),
    ):
        found = bm.mantel_haenszel(frame, **cells)
    assert found.k == 2
    text = repr(found)
    assert "odds ratio" in text
    assert "Breslow-Day" in text
    with pytest.raises(bm.SpecError, match="measure 'logirr' is of rates, and needs time"):
        bm.mantel_haenszel(frame, **cells, measure="logirr")


def test_pre_post_control_is_metafors_difference_of_changes_where_the_arms_stand_alone():
    """`pre_post_control_separate` is the difference of two SMCR, `pre_post_control_raw` of two MC."""
    frame = {"b1": [20.0], "b2": [21.0], "a1": [26.0], "a2": [23.0], "s1": [5.0], "s2": [6.0], "e1": [5.5], "e2": [6.5]}
    frame |= {"n1": [30], "n2": [28]}
    call = ("b1", "b2"), ("a1", "a2"), ("s1", "s2"), ("n1", "n2")
    for name, function, more in (
        ("SMCR", effects.pre_post_control_separate, {}),
        ("MC", effects.pre_post_control_raw, {"sd_after": ("e1", "e2")}),
    ):
        arms = [
            effects.escalc(
                name,
                frame,
                m1i=f"a{i}",
                m2i=f"b{i}",
                sd1i=f"{'s' if name == 'SMCR' else 'e'}{i}",
                sd2i=f"s{i}",
                ni=f"n{i}",
                ri=0.6,
            )[["y", "v"]].iloc[0]
            for i in "12"
        ]
        made = function(frame, *call, r=0.6, **more)[["y", "v"]].iloc[0]
        assert made["y"] == pytest.approx(arms[0]["y"] - arms[1]["y"])
        assert made["v"] == pytest.approx(arms[0]["v"] + arms[1]["v"])


def test_pre_post_control_has_the_variance_that_it_has_in_simulated_trials():
    """Morris (2008): the mean of the estimated variances is the variance of the estimates."""
    rng, trials, n1, n2, r, effect = np.random.default_rng(1), 20_000, 15, 12, 0.6, 0.5
    chol = np.linalg.cholesky([[1, r], [r, 1]])
    first, second = (rng.normal(size=(trials, n, 2)) @ chol.T for n in (n1, n2))
    first[..., 1] += effect
    frame = pd.DataFrame(
        {
            "b1": first[..., 0].mean(1),
            "b2": second[..., 0].mean(1),
            "a1": first[..., 1].mean(1),
            "a2": second[..., 1].mean(1),
            "s1": first[..., 0].std(1, ddof=1),
            "s2": second[..., 0].std(1, ddof=1),
        }
    )
    frame = frame.assign(n1=n1, n2=n2)
    made = effects.pre_post_control(frame, ("b1", "b2"), ("a1", "a2"), ("s1", "s2"), ("n1", "n2"), r=r)
    assert made["y"].mean() == pytest.approx(effect, abs=0.01)
    assert made["v"].mean() == pytest.approx(made["y"].var(), rel=0.05)
