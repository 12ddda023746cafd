"""Random networks: a model of arms that shares no code with ours, and what no choice of the user's may change."""

import re
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

import bayesmeta as bm

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.AssumptionWarning", "ignore::bayesmeta.BoundaryWarning")
SETTINGS = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def networks(draw: st.DrawFn, least: int = 3, most: int = 6) -> pd.DataFrame:
    """Arms of trials that connect all treatments, each with an estimate and its standard error."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    T = draw(st.integers(least, most))
    names = rng.permutation(["A", "b c", "C+D", "log", "x:y", "10 mg/d"])[:T]
    sets = [list(pair) for pair in pairwise(range(T))]  # a chain connects them
    sets += [list(rng.choice(T, rng.integers(2, min(T, 5) + 1), replace=False)) for _ in range(rng.integers(4, 12))]
    effect, tau = rng.normal(0, 1, T), rng.choice([0.0, 0.3, 1.0])
    rows = []
    for i, own in enumerate(sets):
        level = rng.normal(0, 2)
        for t in own:
            se = rng.uniform(0.1, 0.8)
            y = level + effect[t] + rng.normal(0, tau / np.sqrt(2)) + rng.normal(0, se)
            rows.append({"study": f"trial {i}", "treatment": names[t], "y": y, "se": se})
    return pd.DataFrame(rows)


def contrasts_of(arms: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for study, own in arms.groupby("study", sort=False):
        for (_, a), (_, b) in combinations(own.iterrows(), 2):
            se = float(np.hypot(a["se"], b["se"]))
            rows.append({"study": study, "t1": a["treatment"], "t2": b["treatment"], "d": a["y"] - b["y"], "se": se})
    return pd.DataFrame(rows)


def specified(arms: pd.DataFrame, **more: object) -> bm.Spec:
    return bm.network.specify(arms, study="study", treatment="treatment", y="y", se="se", **more)


def tau_of(tree) -> float:
    return float(np.sqrt(tree["estimate"]["psi_study"].to_numpy().max()))


class Arms:
    """y = mu of the trial + d of the treatment + u of the arm, with u ~ N(0, tau2 / 2): fixed trials, dense algebra."""

    def __init__(self, arms: pd.DataFrame, slopes: str | None = None):
        self.treatments = sorted(set(arms["treatment"]), key=str.casefold)
        trials = pd.get_dummies(arms["study"]).to_numpy(float)
        own = np.stack([(arms["treatment"] == t).to_numpy(float) for t in self.treatments[1:]], axis=1)
        modified = {"treatment": own, "common": own.sum(axis=1, keepdims=True)}.get(slopes or "", own[:, :0])
        columns = [own, modified * (arms["x"].to_numpy()[:, None] if slopes else 1), trials]
        self.X, self.y, self.v = np.hstack(columns), arms["y"].to_numpy(), arms["se"].to_numpy() ** 2
        self.asked = own.shape[1] + modified.shape[1]

    def solved(self, tau: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Effects against the first, their covariance, and the restricted log-likelihood but for a constant."""
        w = 1 / (self.v + tau**2 / 2)
        F = self.X.T @ (w[:, None] * self.X)
        beta = np.linalg.solve(F, self.X.T @ (w * self.y))
        rss = float(w @ (self.y - self.X @ beta) ** 2)
        loglik = 0.5 * np.log(w).sum() - 0.5 * np.linalg.slogdet(F)[1] - 0.5 * rss
        q = self.asked
        return beta[:q], np.linalg.inv(F)[:q, :q], loglik


@SETTINGS
@given(networks())
def test_a_model_of_arms_says_the_same(arms: pd.DataFrame):
    naive, tree = Arms(arms), bm.fit(specified(arms))
    tau, first = tau_of(tree), naive.treatments[0]
    best = minimize_scalar(lambda t: -naive.solved(t)[2], bounds=(0, 10), method="bounded", options={"xatol": 1e-10})
    assert naive.solved(tau)[2] >= -best.fun - 1e-7
    effects, cov, _ = naive.solved(tau)
    ours = bm.network.league(tree, df="z").sel(versus=first)
    np.testing.assert_allclose(ours["mean"].sel(treatment=naive.treatments[1:]), effects, atol=1e-8)
    np.testing.assert_allclose(ours["se"].sel(treatment=naive.treatments[1:]), np.sqrt(np.diag(cov)), atol=1e-8)


@settings(SETTINGS, max_examples=6)
@given(networks(most=4), st.sampled_from(["treatment", "common"]), st.integers(0, 10**6))
def test_a_model_of_arms_with_slopes_says_the_same(arms: pd.DataFrame, slopes: str, seed: int):
    rng = np.random.default_rng(seed)
    more = arms.assign(study=arms["study"] + " again", y=arms["y"] + rng.normal(0, 0.3, len(arms)))
    arms = pd.concat([arms, more], ignore_index=True)  # two values of the covariate for every design
    values = {name: rng.normal() for name in arms["study"].unique()}
    arms["x"] = arms["study"].map(values)
    naive = Arms(arms, slopes)
    tree = bm.fit(specified(arms, covariates="x", slopes=slopes, reference=naive.treatments[0]))
    estimates, cov, loglik = naive.solved(tau_of(tree))
    ours = bm.estimates(tree, df="z").query("kind == 'beta'")
    names = [
        *naive.treatments[1:],
        *([f"{t}:x" for t in naive.treatments[1:]] if slopes == "treatment" else ["any treatment:x"]),
    ]
    assert list(ours["term"]) == names
    np.testing.assert_allclose(ours["estimate"], estimates, atol=1e-7)
    np.testing.assert_allclose(ours["se"], np.sqrt(np.diag(cov)), atol=1e-7)
    best = minimize_scalar(lambda t: -naive.solved(t)[2], bounds=(0, 10), method="bounded", options={"xatol": 1e-10})
    assert loglik >= -best.fun - 1e-7


def everything(spec: bm.Spec) -> dict[str, np.ndarray]:
    tree = bm.fit(spec)
    league, split = bm.network.league(tree, df="z"), bm.network.split(tree)
    designs = bm.network.designs(spec, method="fixed").sortby("design")
    return {
        "tau": np.array(tau_of(tree)),
        **{name: league[name].to_numpy() for name in league.data_vars},
        **{name: split[name].to_numpy() for name in ("direct", "indirect", "difference", "share", "pvalue")},
        **{name: designs[name].to_numpy() for name in ("Q", "Q_within", "Q_detached", "Q_interaction")},
        "walks": bm.network.contributions(tree)["contribution"].to_numpy(),
        "scores": bm.network.ranking(tree, "larger", df="z")["p_score"].to_numpy(),
    }


@settings(SETTINGS, max_examples=5)
@given(networks(), st.integers(0, 10**6))
def test_nothing_depends_on_reference_order_or_format(arms: pd.DataFrame, seed: int):
    before = everything(specified(arms))
    other = sorted(set(arms["treatment"]))[seed % arms["treatment"].nunique()]
    pairs = contrasts_of(arms)
    turned = pairs["t1"].where(np.arange(len(pairs)) % 2 == 0, pairs["t2"])
    pairs["d"] = pairs["d"].where(turned == pairs["t1"], -pairs["d"])
    pairs["t1"], pairs["t2"] = turned, pairs["t2"].where(turned == pairs["t1"], pairs["t1"])
    again = {
        "reference": specified(arms, reference=other),
        "order": specified(arms.sample(frac=1, random_state=seed)),
        "contrasts": bm.network.specify(pairs, study="study", treat1="t1", treat2="t2", y="d", se="se"),
    }
    for why, spec in again.items():
        after = everything(spec)
        for name, values in before.items():
            np.testing.assert_allclose(after[name], values, atol=2e-6, err_msg=f"{name} by {why}")


def test_one_row_for_each_trial_is_the_same(reference):
    arms = pd.DataFrame(reference("network/smoking")["arms"])
    arms["place"] = arms.groupby("study", sort=False).cumcount()
    wide = arms.pivot(index="study", columns="place", values=["treatment", "events", "total"])
    wide.columns = [f"{what}{place}" for what, place in wide.columns]
    lists = {what: [f"{what}{k}" for k in range(3)] for what in ("treatment", "events", "total")}
    ours = bm.network.specify(wide.reset_index(), study="study", measure="logor", **lists)
    plain = {"treatment": "treatment", "events": "events", "total": "total"}
    long = bm.network.specify(arms, study="study", measure="logor", **plain)
    a, b = (bm.network.league(bm.fit(each))["mean"] for each in (ours, long))
    np.testing.assert_allclose(a, b, atol=1e-7)


def test_two_arms_are_the_effect_sizes_of_the_package():
    """All measures, from counts, person-time and means."""
    rng = np.random.default_rng(3)
    n = 12
    data = pd.DataFrame({"study": np.repeat(np.arange(n // 2), 2), "arm": ["t", "c"] * (n // 2)})
    data["events"], data["total"] = rng.integers(3, 30, n), rng.integers(40, 90, n)
    data["time"], data["mean"] = rng.uniform(50, 90, n), rng.uniform(3, 6, n)
    data["sd"], data["n"] = rng.uniform(0.5, 2, n), rng.integers(10, 40, n)
    first, second = (data[data["arm"] == arm].reset_index(drop=True) for arm in ("t", "c"))
    pairs = first.add_suffix("1").join(second.add_suffix("2"))
    kinds = {
        **dict.fromkeys(["OR", "RR", "RD", "AS"], ({"events": "events", "total": "total"}, "ai ci n1i n2i")),
        **dict.fromkeys(["IRR", "IRD", "IRSD"], ({"events": "events", "person_time": "time"}, "x1i x2i t1i t2i")),
        **dict.fromkeys(["MD", "SMD", "ROM"], ({"mean": "mean", "sd": "sd", "n": "n"}, "m1i m2i sd1i sd2i n1i n2i")),
    }
    for metafor, (columns, words) in kinds.items():
        names = [f"{column}{k}" for column in columns.values() for k in (1, 2)]
        made = bm.effects.escalc(metafor, pairs, **dict(zip(words.split(), names, strict=True)))
        spec = bm.network.specify(
            data, study="study", treatment="arm", measure=made.attrs["measure"], reference="c", **columns
        )
        np.testing.assert_allclose(spec.y, made["y"], err_msg=metafor)
        np.testing.assert_allclose(spec.S.variances, made["v"], err_msg=metafor)


def test_standardised_differences_of_several_arms_have_the_covariances_of_gleser_and_olkin():
    arms = {"study": [1] * 3, "arm": ["c", "t", "u"], "mean": [1.0, 2.0, 4.0], "sd": [2.0, 1.5, 2.5], "n": [20, 25, 30]}
    spec = bm.network.specify(
        {**arms, "study": ["1", "1", "1"]},
        study="study",
        treatment="arm",
        mean="mean",
        sd="sd",
        n="n",
        measure="smd",
        reference="c",
    )
    pairs = pd.DataFrame({"study": ["1", "1"], "d": spec.y, "n1": [25, 30], "n2": [20, 20]})
    theirs = bm.within.gleser_olkin(pairs, "d", "study", "n1", "n2")
    S = np.zeros((2, 2))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    np.testing.assert_allclose(S, theirs["1"])


@settings(SETTINGS, max_examples=5)
@given(networks(least=4))
def test_a_model_of_its_own_for_every_comparison_contains_the_direct_evidence(arms: pd.DataFrame):
    """Where trials have two arms and nothing varies, taking direct evidence out and refitting are the same."""
    two = arms.groupby("study").head(2)
    try:
        spec = specified(two)
    except bm.DataError:  # a chain that the first two arms do not hold together
        return
    tree = bm.fit(spec, "fixed")
    calculated, refitted = (bm.network.split(tree, method) for method in ("back-calculation", "refit"))
    for name in ("direct", "indirect", "difference", "difference_se"):
        np.testing.assert_allclose(calculated[name], refitted[name], atol=1e-7)


def test_treatments_with_shared_or_own_slopes():
    rng = np.random.default_rng(8)
    arms = bm.datasets.load("senn2013")
    year = {name: rng.normal() for name in arms["study"].unique()}
    arms["year"] = arms["study"].map(year)
    columns = {"study": "study", "treatment": "treatment", "mean": "mean", "sd": "sd", "n": "n", "measure": "md"}
    shared = bm.network.specify(arms, **columns, covariates="year", slopes="common", reference="placebo")
    assert shared.coef[-1] == "any treatment:year"
    fit = bm.fit(shared)
    slope = fit["estimate"]["beta"].values[-1]
    low, high = (bm.network.league(fit, at={"year": x})["mean"] for x in (0.0, 1.0))
    change = (high - low).sel(versus="placebo").drop_sel(treatment="placebo")
    np.testing.assert_allclose(change, slope)
    np.testing.assert_allclose((high - low).sel(treatment="metformin", versus="acarbose"), 0, atol=1e-12)
    mean = np.mean(list(year.values()))
    np.testing.assert_allclose(bm.network.league(fit)["mean"], bm.network.league(fit, at={"year": mean})["mean"])
    few = arms[arms["treatment"].isin(["placebo", "metformin", "rosiglitazone"])]
    few = few[few.groupby("study")["study"].transform("size") > 1]
    own = bm.network.specify(few, **columns, covariates="year", reference="placebo")
    assert own.coef[-2:] == ("metformin:year", "rosiglitazone:year")
    other = bm.network.specify(few, **columns, covariates="year", reference="metformin")
    a, b = (bm.network.league(bm.fit(each, "ml"), at={"year": 0.7}, df="z")["mean"] for each in (own, other))
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_groups_of_trials_and_other_structures():
    arms = bm.datasets.load("hasselblad1998")
    arms["region"] = ["north", "south", "east"] * 16 + ["north", "south"]
    arms["region"] = arms.groupby("study")["region"].transform("first")
    columns = {"study": "study", "treatment": "treatment", "events": "quit", "total": "total", "measure": "logor"}
    tree = bm.fit(bm.network.specify(arms, **columns, levels="region", add=0.5))
    assert [level.name for level in bm.Spec.from_tree(tree).levels] == ["region", "study"]
    assert np.isfinite(bm.network.league(tree)["prediction_upper"]).all()
    assert np.isfinite(bm.network.split(tree)["direct"]).any()
    for psi in ("unstr", "id", "diag"):
        assert bm.fit(bm.network.specify(arms, **columns, psi=psi, add=0.5)).attrs["psi"].count(psi)


def test_components_add_up():
    """Effects of combinations are made of those of their parts: the additive model recovers them."""
    rng = np.random.default_rng(1)
    parts = {"a": 0.5, "b": -0.3, "c": 1.0}
    combinations_ = ["none", "a", "b", "c", "a + b", "b + c", "a + c"]
    effect = [sum(parts.get(p, 0.0) for p in name.split(" + ")) for name in combinations_]
    rows = []
    for i in range(30):
        j, k = rng.choice(7, 2, replace=False)
        rows.append((i, combinations_[j], combinations_[k], effect[j] - effect[k] + rng.normal(0, 1e-3), 1e-3))
    pairs = pd.DataFrame(rows, columns=["trial", "t1", "t2", "d", "se"])
    columns = {"study": "trial", "treat1": "t1", "treat2": "t2", "y": "d", "se": "se"}
    spec = bm.network.specify(pairs.replace("none", "control"), reference="control", **columns)
    for reference in ("control", "b + c"):
        own = bm.network.specify(pairs.replace("none", "control"), reference=reference, **columns)
        tree = bm.fit(bm.network.components(own, inactive="control"), "fixed")
        found = dict(zip(tree["estimate"]["coef"].values, tree["estimate"]["beta"].values, strict=True))
        assert found == pytest.approx({f"component {name}": value for name, value in parts.items()}, abs=3e-3)
        league = bm.network.league(tree)["mean"]
        assert league.sel(treatment="a + b", versus="control").item() == pytest.approx(0.2, abs=3e-3)
        assert league.sel(treatment="a + b", versus="b + c").item() == pytest.approx(-0.5, abs=3e-3)
    additive, free = bm.fit(bm.network.components(spec), "fixed"), bm.fit(spec, "fixed")
    assert additive["heterogeneity"]["df"] - free["heterogeneity"]["df"] == 3


def test_the_page_runs_and_names_every_function():
    page = (Path(__file__).parents[2] / "docs/network.md").read_text(encoding="utf-8")
    exec("\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)), {})
    assert {name for name in dir(bm.network) if f"`{name}`" not in page and f"bm.network.{name}" not in page} == set()


def test_comparisons_of_a_posterior_are_exact_and_alike_for_every_reference():
    arms = bm.datasets.load("hasselblad1998")
    columns = {"study": "study", "treatment": "treatment", "events": "quit", "total": "total", "measure": "logor"}
    flat = bm.Priors(beta=bm.Prior("Flat"), tau=bm.priors.half_normal(1.0))
    tables = {}
    for reference in ("no contact", "self-help"):
        post = bm.sample(
            bm.network.specify(arms, **columns, reference=reference, add=0.5), flat, random_seed=1, draws=4000
        )
        tables[reference] = bm.network.league(post)
        mean = post["marginals"]["beta_mean"]
        own = tables[reference]["mean"].sel(treatment=mean["coef"].values, versus=reference)
        np.testing.assert_allclose(own, mean, rtol=1e-13)
    one, other = tables.values()
    other = other.sel(treatment=one["treatment"], versus=one["versus"])
    turned = other.rename(treatment="versus", versus="treatment").transpose("treatment", "versus")
    for name, tolerance in (("mean", 1e-4), ("se", 1e-4), ("upper", 1e-3), ("prediction_upper", 1e-3)):
        np.testing.assert_allclose(
            one[name], other[name], atol=tolerance
        )  # every pair, not those with the reference alone
    np.testing.assert_allclose(one["upper"], -turned["lower"].to_numpy(), atol=1e-3)
