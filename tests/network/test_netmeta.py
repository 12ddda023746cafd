"""Every number of netmeta 2.8 on four networks, from arms and from contrasts, by REML, ML and common effects."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm

FILES = ("smoking", "woods2010", "dogliotti2014", "senn2013")
ARMS = {"OR": {"events": "events", "total": "total", "measure": "logor"}}
ARMS |= {"MD": {"mean": "mean", "sd": "sd", "n": "n", "measure": "md"}}
CLOSE = {"rtol": 0, "atol": 1e-5}
# netmeta's search ends a little beside the maximum where tau is zero
AT_ZERO = {("woods2010", "REML"), ("woods2010", "ML"), ("dogliotti2014", "ML")}

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.AssumptionWarning", "ignore::bayesmeta.BoundaryWarning")


@pytest.fixture(params=FILES)
def of(request: pytest.FixtureRequest, reference: Callable[[str], Any]) -> dict[str, Any]:
    return reference(f"network/{request.param}") | {"name": request.param}


def from_arms(of: dict[str, Any]) -> bm.Spec:
    return bm.network.specify(pd.DataFrame(of["arms"]), study="study", treatment="treatment", **ARMS[of["sm"]])


def from_contrasts(of: dict[str, Any]) -> bm.Spec:
    columns = {"study": "studlab", "treat1": "treat1", "treat2": "treat2", "y": "TE", "se": "seTE"}
    return bm.network.specify(pd.DataFrame(of["contrasts"]), **columns)


def matrix(table: dict[str, Any], order: list[str]) -> np.ndarray:
    at = [table["names"].index(name) for name in order]
    return np.array(table["value"], float)[np.ix_(at, at)]


def tau(tree: xr.DataTree) -> float:
    level = bm.Spec.from_tree(tree).levels[-1].name
    return float(np.sqrt(tree["estimate"][f"psi_{level}"].to_numpy().max()))


@pytest.mark.parametrize("read", [from_arms, from_contrasts])
@pytest.mark.parametrize("method", ["REML", "ML", "DL"])
def test_estimates_and_their_errors(of: dict[str, Any], method: str, read: Callable[[Any], bm.Spec]):
    spec, theirs = read(of), of["expected"][method]
    random, common = bm.fit(spec, method.lower()), bm.fit(spec, "fixed")
    assert tau(random) == pytest.approx(theirs["tau"], abs=3e-5 if (of["name"], method) in AT_ZERO else 1e-7)
    for tree, kind in ((random, "random"), (common, "common")):
        ours = bm.network.league(tree, df="z")
        order = ours["treatment"].values.tolist()
        np.testing.assert_allclose(ours["mean"], matrix(theirs[kind]["TE"], order), **CLOSE)
        np.testing.assert_allclose(ours["se"], matrix(theirs[kind]["se"], order), **CLOSE)
    new = bm.network.league(random, df="z")
    off = ~np.eye(len(order), dtype=bool)
    for ours_, theirs_ in (("prediction_lower", "predict_lower"), ("prediction_upper", "predict_upper")):
        np.testing.assert_allclose(new[ours_].values[off], matrix(theirs["random"][theirs_], order)[off], **CLOSE)
    assert (len(set(spec.data.loc[spec.kept, spec.analysis["study"]])), len(order)) == (
        theirs["k"],
        theirs["n_treatments"],
    )


@pytest.mark.parametrize("method", ["REML", "ML", "DL"])
def test_p_scores(of: dict[str, Any], method: str):
    spec, theirs = from_arms(of), of["expected"][method]["pscore"]
    better = "smaller" if of["small_values"] == "desirable" else "larger"
    for kind, by in (("random", method.lower()), ("common", "fixed")):
        ours = bm.network.ranking(bm.fit(spec, by), better, df="z")["p_score"].sel(treatment=theirs["treatments"])
        np.testing.assert_allclose(ours, theirs[kind], **CLOSE)


@pytest.mark.parametrize("method", ["REML", "ML", "DL"])
def test_direct_and_indirect_evidence(of: dict[str, Any], method: str):
    theirs = pd.DataFrame(of["expected"][method]["split"]).astype(float, errors="ignore")
    ours = bm.network.split(bm.fit(from_arms(of), method.lower())).to_dataframe()
    ours = ours.set_index(["treatment", "versus"])
    names = {"k": "trials", "prop": "share", "direct_se": "direct_se", "indirect_se": "indirect_se"}
    names |= {"difference_se": "difference_se", "p": "pvalue"}
    for _, row in theirs.iterrows():
        first, second = row["comparison"].split(":")
        sign = 1 if (first, second) in ours.index else -1
        own = ours.loc[(first, second) if sign > 0 else (second, first)]
        for name in ("direct", "indirect", "difference"):
            assert sign * own[name] == pytest.approx(row[name], abs=1e-5, nan_ok=True)
        for name, called in names.items():
            assert own[called] == pytest.approx(row[name], abs=1e-5, nan_ok=True)
    assert len(theirs) == len(ours)


def test_cochran_s_q_within_and_between_designs(of: dict[str, Any]):
    spec = from_arms(of)
    ours = bm.network.designs(spec)
    for theirs in of["expected"].values():
        Q = theirs["Q"]
        np.testing.assert_allclose(ours["Q"], [Q["total"], Q["heterogeneity"], Q["inconsistency"]], **CLOSE)
        assert ours["df"].values.tolist() == [Q["df"], Q["df_heterogeneity"], Q["df_inconsistency"]]
        assert ours.sizes["design"] == theirs["n_designs"]
        I2 = max(0.0, 1 - Q["df"] / Q["total"])
        assert bm.fit(spec, "fixed")["heterogeneity"]["I2"].item() / 100 == pytest.approx(I2, abs=1e-9)
    printed = of["expected"]["DL"]["designs"]["decomposition"]
    np.testing.assert_allclose(ours["pvalue"], printed["pval"], rtol=1e-6)
    assert ours["Q_within"].sum().item() == pytest.approx(ours["Q"].values[1])


def test_the_test_of_interaction(of: dict[str, Any]):
    """netmeta takes tau within designs by DerSimonian and Laird's method."""
    theirs = of["expected"]["DL"]["designs"]["inconsistency_random"]
    ours = bm.network.designs(from_arms(of), "dl")
    assert ours["tau_interaction"].item() == pytest.approx(theirs["tau.within"][0], abs=1e-9)
    assert ours["Q_interaction"].item() == pytest.approx(theirs["Q"][0], abs=1e-7)
    assert [ours["df_interaction"].item()] == theirs["df"]
    assert ours["pvalue_interaction"].item() == pytest.approx(theirs["pval"][0], abs=1e-7)


def test_contributions_by_shortest_paths(of: dict[str, Any]):
    """Also which of several paths of one length comes first; those by random walks are another definition."""
    theirs = of["expected"]["REML"]["contribution"]
    tree = bm.fit(from_arms(of))
    ours = bm.network.contributions(tree, "shortest-path")["contribution"]
    known = set(ours["comparison"].values)

    def called(names: list[str]) -> list[str]:
        pairs = [name.split(":") for name in names]
        return [f"{a} : {b}" if f"{a} : {b}" in known else f"{b} : {a}" for a, b in pairs]

    rows, columns = called(theirs["random"]["names"]), called(theirs["columns"])
    np.testing.assert_allclose(ours.sel(comparison=rows, direct_comparison=columns), theirs["random"]["value"], **CLOSE)
    walks = bm.network.contributions(tree)["contribution"]
    np.testing.assert_allclose(walks.sum("direct_comparison"), 1.0)
    np.testing.assert_allclose(ours.sum("direct_comparison"), 1.0)


@pytest.mark.parametrize("which", ["placebo_inactive", "every_treatment"])
def test_additive_components(reference: Callable[[str], Any], which: str):
    """netcomb takes tau by DerSimonian and Laird's method, whatever the network's was."""
    of = reference("network/linde2016_components")
    columns = {"study": "study", "treat1": "treat1", "treat2": "treat2", "y": "y", "se": "se", "measure": "logor"}
    spec = bm.network.specify(pd.DataFrame(of["contrasts"]), **columns, reference="Placebo")
    theirs = of[which]
    additive = bm.network.components(spec, inactive=theirs["inactive"] or False)
    names = [f"beta[component {name}]" for name in theirs["comps"]]
    assert len(names) == len(additive.coef)
    for method, kind in (("fixed", "common"), ("dl", "random")):
        ours = bm.estimates(bm.fit(additive, method), df="z").loc[names]
        np.testing.assert_allclose(ours["estimate"], theirs[kind]["effect"], **CLOSE)
        np.testing.assert_allclose(ours["se"], theirs[kind]["se"], **CLOSE)
    assert tau(bm.fit(additive, "dl")) == pytest.approx(theirs["tau"], abs=1e-7)
    Q = [bm.fit(each, "fixed")["heterogeneity"] for each in (additive, spec)]
    assert Q[0]["Q"].item() == pytest.approx(theirs["Q"], abs=1e-5)
    assert Q[0]["df"].item() == theirs["df"]
    assert Q[0]["Q"].item() - Q[1]["Q"].item() == pytest.approx(theirs["Q_diff"], abs=1e-5)
    assert Q[0]["df"].item() - Q[1]["df"].item() == theirs["df_diff"]
