"""Data that look like a mistake are asked about, and data that are what they are said to be are not."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm

BCG = bm.datasets.load("bcg")
BCG["se"] = np.sqrt(BCG["logorvar"])


def asked(*args: Any, **options: Any) -> list[str]:
    """The sentences that ask, of all that `specify` warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bm.specify(*args, **options)
    words = ("if so, write", "if these are standard errors", "if they are ratios", "if they are different studies")
    return [str(each.message) for each in caught if any(word in str(each.message) for word in words)]


@pytest.mark.parametrize(
    "name",
    ["se", "SE", "sei", "logor_se", "se_logor", "stderr", "std.err", "Standard error", "std_error", "seTE", "TE.se"],
)
def test_a_variance_that_is_called_a_standard_error(name):
    data = BCG.rename(columns={"se": name})
    (sentence,) = asked("logor ~ 1", data, S=name)
    assert sentence == (
        f"S='{name}': a column named so usually holds standard errors, and S takes variances; if so, write se='{name}'"
    )
    assert asked("logor ~ 1", data, se=name) == []


@pytest.mark.parametrize("name", ["v", "vi", "var", "logor_var", "variance", "var.logor"])
def test_a_standard_error_that_is_called_a_variance(name):
    data = BCG.rename(columns={"logorvar": name})
    (sentence,) = asked("logor ~ 1", data, se=name)
    assert sentence.startswith(f"se='{name}': a column named so usually holds sampling variances")
    assert asked("logor ~ 1", data, S=name) == []


@pytest.mark.parametrize("name", ["effect", "cases", "dose", "logorvar", "precision", "base", "series", "house"])
def test_names_that_only_resemble(name):
    data = BCG[["logor", "se"]].assign(**{name: BCG["logorvar"]}) if name != "logorvar" else BCG
    assert asked("logor ~ 1", data, S=name) == []


def test_several_columns():
    berkey = bm.datasets.load("berkey98").assign(a_se=0.1, b_se=0.2)
    (sentence,) = asked("PD + AL ~ 1", berkey, S=["a_se", "b_se"], S_correlation=0.2)
    assert sentence.startswith("S=['a_se', 'b_se']: columns named so usually hold standard errors")


KNOWN = {  # published effects with their variances
    "kalaian1996": ("yi", "vi"),
    "tannersmith2016": ("yi", "vi"),
    "thrombolytic": ("absrisk", "var"),
    "bcg": ("logor", "logorvar"),
    "school": ("effect", "var"),
    "raudenbush1985": ("yi", "vi"),
    "bangertdrowns2004": ("yi", "vi"),
    "gliomas": ("logOR", "logORvar"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_published_variances_are_not_doubted(name):
    y, v = KNOWN[name]
    assert asked(f"{y} ~ 1", bm.datasets.load(name).dropna(subset=[y, v]), S=v) == []


@pytest.mark.parametrize("name", ["kalaian1996", "tannersmith2016", "thrombolytic", "bangertdrowns2004"])
def test_standard_errors_under_a_neutral_name_are_known_by_the_scatter(name):
    y, v = KNOWN[name]
    data = bm.datasets.load(name).dropna(subset=[y, v])
    data["uncertainty"] = np.sqrt(data[v])
    (sentence,) = asked(f"{y} ~ 1", data, S="uncertainty")
    assert sentence.startswith("S='uncertainty': the estimates scatter less than these variances allow (Q = ")
    assert sentence.endswith("if these are standard errors, write se='uncertainty'")
    assert asked(f"{y} ~ 1", data, se="uncertainty") == []


def simulated(seed: int, tau: float, mean: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 40))
    v = np.exp(rng.uniform(np.log(0.01), np.log(0.6), n))
    return pd.DataFrame({"y": rng.normal(mean, np.sqrt(tau**2 + v)), "w": v, "x": rng.normal(size=n)})


@pytest.mark.parametrize("tau", [0.0, 0.1, 0.5])
def test_alarms_about_true_variances_are_rare(tau):
    alarms = [bool(asked("y ~ x", simulated(seed, tau), S="w")) for seed in range(200)]
    assert np.mean(alarms) <= 0.02


@pytest.mark.parametrize("name", ["logor", "logrr"])
def test_ratios_in_place_of_their_logarithms(name):
    data = BCG.assign(ratio=np.exp(BCG[name]))
    (sentence,) = asked("ratio ~ 1", data, S=f"{name}var", measure=name)
    assert sentence.startswith(f"measure='{name}' takes logarithms, but all 13 values of 'ratio' are positive (0.")
    assert sentence.endswith('if they are ratios, write "log(ratio) ~ ..."')
    assert asked("log(ratio) ~ 1", data, S=f"{name}var", measure=name) == []
    assert asked("ratio ~ 1", data, S=f"{name}var", measure="generic") == []
    assert asked("ratio ~ 1", data, S=f"{name}var") == []


def test_huge_ratios_of_a_few_studies():
    data = pd.DataFrame({"y": [1.5, 3.0, 12.0], "v": [0.1, 0.2, 0.3]})
    assert len(asked("y ~ 1", data, S="v", measure="OR")) == 1
    assert asked("y ~ 1", data.assign(y=[0.4, 1.1, 2.5]), S="v", measure="OR") == []


@pytest.mark.parametrize(("mean", "tau"), [(0.2, 0.2), (0.5, 0.0), (1.0, 0.2), (1.0, 0.5), (2.0, 0.5)])
def test_alarms_about_true_logarithms_are_rare(mean, tau):
    alarms = [bool(asked("y ~ 1", simulated(seed, tau, mean), S="w", measure="logor")) for seed in range(100)]
    assert np.mean(alarms) <= 0.07


def test_logarithms_that_we_computed_are_not_doubted():
    strong = BCG.assign(a=BCG.tpos * 9, c=BCG.cpos)
    data = bm.effects.risk_ratio(strong, ("a", "c"), no_events=("tneg", "cneg"))
    assert asked("y ~ 1", data, S="v") == []


def test_two_papers_by_one_author():
    (sentence,) = asked("logor ~ 1", BCG, S="logorvar", random="1 | author")
    assert sentence.startswith(
        "11 groups of 'author' for 13 rows: 2 labels occur more than once ('Rosenthal et al', 'Comstock et al') and "
    )
    without_years = BCG.drop(columns="year")
    assert len(asked("logor ~ 1", without_years, S="logorvar", random="1 | author")) == 1
    assert len(asked("logor ~ 1", without_years.iloc[:12], S="logorvar", random="1 | author")) == 1


MULTILEVEL = {
    "school": ("effect", "var", ("district", "district/study", "study")),
    "bornmann2007": ("yi", "vi", ("study", "study/obs")),
    "kalaian1996": ("yi", "vi", ("study", "id")),
    "thrombolytic": ("absrisk", "var", ("trial",)),
    "tannersmith2016": ("yi", "vi", ("studyid", "studyid/esid")),
    "bcg": ("logor", "logorvar", ("trial", "alloc")),
    "berkey98": ("PD", "var_PD", ("trial", "author")),
}


def ordinary() -> Iterator[tuple[str, str]]:
    return ((name, group) for name, (_, _, groups) in MULTILEVEL.items() for group in groups)


@pytest.mark.parametrize(("name", "group"), list(ordinary()))
def test_groups_of_ordinary_multilevel_data_are_not_doubted(name, group):
    y, v, _ = MULTILEVEL[name]
    data = bm.datasets.load(name).dropna(subset=[y, v])
    assert asked(f"{y} ~ 1", data, S=v, random=f"1 | {group}") == []


def test_what_speaks_for_one_study_in_several_rows():
    same_years = BCG.assign(year=BCG.groupby("author").year.transform("first"))
    assert asked("logor ~ 1", same_years, S="logorvar", random="1 | author") == []
    numbers = BCG.assign(study=pd.factorize(BCG.author)[0])
    assert asked("logor ~ 1", numbers, S="logorvar", random="1 | study") == []
    assert asked("logor ~ 1", BCG, S="logorvar", random="1 | author/trial") == []
    coupled = bm.within.correlated(BCG, "logorvar", 0.5, "author")
    assert asked("logor ~ 1", BCG, S=coupled, random="1 | author") == []


def test_a_doubt_stays_with_the_results():
    with pytest.warns(bm.AssumptionWarning, match="usually holds standard errors"):
        tree = bm.fit(bm.specify("logor ~ 1", BCG, S="se"))
    assert "usually holds standard errors" in str(bm.summary(tree))


@pytest.mark.parametrize("method", ["reml", "ml", "fixed"])
def test_one_study_is_what_metafor_makes_of_it(method):
    """metafor 3.8-1, rma(yi, vi, data = dat[1, ]): tau2 0, estimate -0.9387, se 0.5976, ci [-2.1100, 0.2326]."""
    with pytest.warns(bm.BoundaryWarning, match="cannot identify the variance of level 'unit', which has one group"):
        spec = bm.specify("logor ~ 1", BCG.iloc[:1], S="logorvar")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        tree = bm.fit(spec, method)
    row = bm.confint(tree).sel(parameter="beta[Intercept]")
    np.testing.assert_allclose([row["estimate"], row["lower"], row["upper"]], [-0.9387, -2.1100, 0.2326], atol=5e-5)
    assert tree["estimate"]["tau_unit"].values.item() == 0
