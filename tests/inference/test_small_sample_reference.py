"""Tests, intervals and sandwich covariances as metafor and clubSandwich print them, for every file of their numbers."""

from functools import cache

import numpy as np
import pytest

import bayesmeta as bm
from tests.support.reference import REFERENCE, read_reference, read_table

SMALL = sorted(path.stem for path in (REFERENCE / "small_sample").glob("*.json"))
ROBUST = sorted(path.stem for path in (REFERENCE / "robust").glob("*.json"))
DF = {"z": "z", "t": "residual", "residual": "residual", "contain": "containment"}
DF |= {"knha": "knapp-hartung", "adhoc": "knapp-hartung-adhoc"}
SANDWICHES = ("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3")
RELATIVE = 1e-5
# the searches stop at slightly different Psi, which shows where its likelihood is flat
LOOSE = {"berkey_un": 5e-5, "berkey_un_year_ml": 5e-5, "kalaian_un": 2e-4, "kalaian_hcs": 2e-4, "kalaian_cs": 5e-5}
LOOSE |= {"kalaian_hours": 2e-4, "tannersmith_che": 5e-5}
LOOSE |= {"bcg_intercept_pm": 2e-4}  # metafor iterates until tau2 changes by 1e-4


def correlated(table, group, rho):
    """Sampling covariances with one correlation within groups."""
    blocks = {}
    for label, rows in table.groupby(group):
        sd = np.sqrt(rows["vi"].to_numpy())
        blocks[label] = np.outer(sd, sd) * (rho + (1 - rho) * np.eye(len(sd)))
    return blocks


def berkey_blocks(table):
    return {label: rows[["v1i", "v2i"]].to_numpy() for label, rows in table.groupby("trial")}


def bangertdrowns():
    predictors = ["length", "wic", "feedback", "info", "pers", "imag", "meta"]
    table = read_table("bangertdrowns2004").dropna(subset=predictors)
    return bm.specify("yi ~ " + " + ".join(predictors), table, S="vi")


def bcg(formula):
    return bm.specify(formula, read_table("bcg"), S="logorvar")


def berkey(formula):
    table = read_table("berkey98_long")
    return bm.specify(formula, table, S=berkey_blocks(table), random="0 + outcome | trial")


def bornmann(formula, random="1 | study/obs"):
    columns = ["discipline"] if "discipline" in formula else ["type"]
    return bm.specify(formula, read_table("bornmann2007").dropna(subset=columns), S="vi", random=random)


def kalaian(formula, psi="unstr"):
    columns = ["hrs"] if "hrs" in formula else ["yi"]
    table = read_table("kalaian1996").dropna(subset=columns)
    return bm.specify(formula, table, S=correlated(table, "study", 0.66), random="0 + outcome | study", psi=psi)


def school(formula, random="1 | district/study"):
    return bm.specify(formula, read_table("school"), S="var", random=random)


def tannersmith():
    table = read_table("tannersmith2016").dropna(subset=["aget1", "propmale"])
    S = correlated(table, "studyid", 0.6)
    return bm.specify("yi ~ aget1 + propmale", table, S=S, random="1 | studyid/esid")


SQUARE = "effect ~ I(year-1990) + I((year-1990)**2/100)"
SPECS = {
    "bangertdrowns_seven": bangertdrowns,
    "bcg_alloc_ablat": lambda: bcg("logor ~ alloc + ablat"),
    "raudenbush_weeks": lambda: bm.specify("yi ~ weeks", read_table("raudenbush1985"), S="vi"),
    "berkey_un": lambda: berkey("yi ~ 0 + outcome"),
    "berkey_un_year_ml": lambda: berkey("yi ~ 0 + outcome + outcome:I(year-1983)"),
    "bornmann_type": lambda: bornmann("yi ~ type"),
    "bornmann_type_country": lambda: bornmann("yi ~ type + discipline"),
    "bornmann_multilevel": lambda: bornmann("yi ~ type"),
    "bornmann_uni": lambda: bornmann("yi ~ type", None),
    "kalaian_cs": lambda: kalaian("yi ~ 0 + outcome", "cs"),
    "kalaian_hcs": lambda: kalaian("yi ~ 0 + outcome", "hcs"),
    "kalaian_un": lambda: kalaian("yi ~ 0 + outcome"),
    "kalaian_hours": lambda: kalaian("yi ~ 0 + outcome + outcome:log(hrs)"),
    "school_two_levels": lambda: school("effect ~ 1"),
    "school_intercept": lambda: school("effect ~ 1"),
    "school_year_ml": lambda: school("effect ~ I(year-1990)"),
    "school_study_cluster": lambda: school("effect ~ I(year-1990)", "1 | study"),
    "school_year": lambda: school(SQUARE),
    "tannersmith_che": tannersmith,
}
SPECS |= {name: lambda: bcg("logor ~ 1") for name in SMALL if name.startswith("bcg_intercept")}
CLUSTER = {"school_study_cluster": "district", "bornmann_uni": "study"}


@cache
def fitted(folder, name):
    of = read_reference(f"{folder}/{name}")
    with np.errstate(all="ignore"):
        return of, bm.fit(SPECS[name](), of["spec"].get("method", "reml").lower())


def close(own, expected, name, what):
    tolerance = LOOSE.get(name, RELATIVE)
    np.testing.assert_allclose(own, np.array(expected, dtype=float), rtol=tolerance, atol=1e-9, err_msg=what)


def test_every_file_is_read():
    assert set(SPECS) == {*SMALL, *ROBUST}


@pytest.mark.parametrize("name", SMALL)
def test_small_sample_tests(name):
    of, tree = fitted("small_sample", name)
    order = np.array([list(tree["estimate"]["coef"].values).index(c) for c in matched(of, tree)])
    for kind, expected in of["expected"].items():
        own = bm.estimates(tree, df=DF[kind])
        own = own[own["kind"] == "beta"].iloc[order]
        for ours, theirs in (("estimate", "coef"), ("se", "se"), ("lower", "ci_lower"), ("upper", "ci_upper")):
            scale = np.abs(np.array(expected["coef"])) + np.array(expected["se"])
            np.testing.assert_allclose(
                own[ours] / scale,
                np.array(expected[theirs]) / scale,
                atol=LOOSE.get(name, RELATIVE),
                err_msg=f"{kind} {theirs}",
            )
        close(own["pvalue"], expected["pvalue"], name, f"{kind} p") if name not in LOOSE else None
        if expected.get("df") is not None:
            np.testing.assert_array_equal(own["df"], np.broadcast_to(expected["df"], len(own)))
        joint(
            tree, order[np.array(expected["QM_coefs"]) - 1], {"df": DF[kind]}, expected["QM"], expected["QM_df"], name
        )
        contrasts(tree, order, of, kind, expected, name)


def matched(of, tree):
    """Our coefficients in the order of theirs: by value, which identifies them."""
    own = tree["estimate"]["beta"]
    beta, theirs = own.to_numpy(), np.array(next(iter(of["expected"].values()))["coef"])
    return [str(own["coef"].values[int(np.argmin(np.abs(beta - value)))]) for value in theirs]


def joint(tree, places, how, statistic, df, name):
    matrix = np.eye(tree["estimate"].sizes["coef"])[places]
    own = bm.wald_test(tree, contrast=matrix, **how)
    close(own["statistic"], statistic, name, "statistic")
    assert own["df1"] == df[0]
    assert np.isinf(own["df2"]) if df[1] is None else own["df2"] == pytest.approx(df[1], rel=1e-4)


def contrasts(tree, order, of, kind, expected, name):
    written = of["spec"].get("contrasts")
    if not isinstance(written, list) or "anova_contrasts" not in expected:
        return
    matrix = np.zeros((len(written), len(order)))
    matrix[:, order] = written
    own, theirs = bm.wald_test(tree, contrast=matrix, df=DF[kind]), expected["anova_contrasts"]
    close(own["statistic"], theirs["QM"], name, "contrasts together")
    close(own["estimate"], theirs["estimate"], name, "contrasts")
    close(own["se"], theirs["se"], name, "errors of contrasts")
    close(own["contrast_pvalue"], theirs["pvalue_each"], name, "p of contrasts")


OUTCOMES = {"outcome": ["AL", "PD"]}
NEW = {
    "bcg_alloc_ablat": {"alloc": ["alternate", "random", "systematic"], "ablat": [30, 30, 50]},
    "raudenbush_weeks": {"weeks": [0, 1, 2, 3]},
    "school_two_levels": {},
    "school_year_ml": {"year": [1976, 1990, 2000]},
    "berkey_un": OUTCOMES,
    "berkey_un_year_ml": OUTCOMES | {"year": [1983, 1988]},
    "kalaian_cs": {"outcome": ["math", "verbal"]},
    "kalaian_hcs": {"outcome": ["math", "verbal"]},
    "kalaian_un": {"outcome": ["math", "verbal"]},
    "bornmann_type": {"type": ["Fellowship", "Grant"]},
}
NEW |= {name: {} for name in SMALL if name.startswith("bcg_intercept")}
RILEY = {"z": "riley", "knha": "riley-knapp-hartung"}


@pytest.mark.parametrize("name", NEW)
def test_prediction_intervals(name):
    """By quantiles of the test, and by Riley's with the covariance of the model or that of Knapp and Hartung."""
    of, tree = fitted("small_sample", name)
    for kind, expected in of["expected"].items():
        asked = {DF[kind]: "default"} | ({RILEY[kind]: "riley"} if kind in RILEY else {})
        for df, theirs in asked.items():
            own = bm.predict(tree, NEW[name], interval="prediction", df=df)
            predicted = expected["predict"][theirs]
            close(own["mean"].values.ravel(), predicted["pred"], name, f"{kind} mean")
            scale = np.abs(predicted["pi.lb"]) + np.abs(predicted["pi.ub"])
            for ours, bound in (("lower", "pi.lb"), ("upper", "pi.ub")):
                difference = (own[ours].values.ravel() - predicted[bound]) / scale
                assert np.abs(difference).max() < LOOSE.get(name, RELATIVE), (kind, df, ours)


@pytest.mark.parametrize("name", ROBUST)
def test_sandwich_covariances(name):
    of, tree = fitted("robust", name)
    beta = tree["estimate"]["beta"].to_numpy()
    theirs = np.array(of["expected"]["fit"]["coef"])
    order = np.array([int(np.argmin(np.abs(beta - value))) for value in theirs])
    se = np.sqrt(np.diag(of["expected"]["fit"]["vcov"]))
    for kind in SANDWICHES:
        expected = of["expected"]["clubSandwich"][kind]
        how = {"vcov": {"kind": kind, "cluster": CLUSTER[name]} if name in CLUSTER else kind}
        for df, test in (("satterthwaite", "Satterthwaite"), ("residual", "naive-tp"), ("z", "z")):
            own = bm.estimates(tree, df=df, **how)
            own = own[own["kind"] == "beta"].iloc[order]
            close(own["se"], expected["coef_test"][test]["se"], name, f"{kind} se")
            np.testing.assert_allclose(
                own["statistic"], expected["coef_test"][test]["stat"], rtol=1e-4, atol=2e-4 * np.abs(beta / se).max()
            )
            if df != "z":
                close(own["df"], expected["coef_test"][test]["df"], name, f"{kind} {df}")
        for label, tests in expected.get("wald_sets", {}).items():
            wald_set(tree, order, how, label, tests, name)


def wald_set(tree, order, how, label, tests, name):
    """Sets of coefficients by HTZ, F with clusters less coefficients, and chi-squared over its degrees of freedom."""
    q = tests["HTZ"]["df_num"]
    places = order if q == len(order) else order[1 : q + 1] if label != "hours" else order[-q:]
    matrix = np.eye(len(order))[places]
    for df, test in (("satterthwaite", "HTZ"), ("residual", "Naive-Fp"), ("z", "chi-sq")):
        own, theirs = bm.wald_test(tree, contrast=matrix, df=df, **how), tests[test]
        F = own["statistic"] / (q if df == "z" else 1)
        close(F, theirs["Fstat"], name, f"{label} {test}")
        if df != "z":
            close(own["df2"], theirs["df_denom"], name, f"{label} df {test}")


@pytest.mark.parametrize("name", ROBUST)
def test_robust_of_metafor(name):
    """`robust()`: CR0 and CR1p with clusters less coefficients as degrees of freedom."""
    of, tree = fitted("robust", name)
    beta = tree["estimate"]["beta"].to_numpy()
    order = np.array([int(np.argmin(np.abs(beta - value))) for value in of["expected"]["fit"]["coef"]])
    for theirs, kind in (("adjust", "CR1p"), ("no_adjust", "CR0")):
        expected = of["expected"]["metafor"][theirs]
        vcov = {"kind": kind, "cluster": CLUSTER[name]} if name in CLUSTER else kind
        own = bm.estimates(tree, vcov=vcov, df="residual").iloc[order]
        close(own["se"], expected["se"], name, "se")
        np.testing.assert_array_equal(own["df"], np.broadcast_to(expected["df"], len(order)))
        close(own["pvalue"], expected["pvalue"], name, "p") if name not in LOOSE else None
