"""Leave-one-out criteria of posteriors beside each other, and when they are refused."""

import arviz
import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.summaries.posterior_criteria import bad_k_note, posterior_criteria, posterior_obstacle
from tests.support.edited import unhashed
from tests.support.posteriors import make_posterior
from tests.tree.test_posterior_draws import no_effects, smoking

PARETO = "ignore:Estimated shape parameter:UserWarning"


def school(random: str, **columns: object) -> bm.Spec:
    data = bm.datasets.load("school").assign(**columns)
    return bm.specify("effect ~ 1", data, S="var", random=random, measure="smd")


@pytest.fixture(scope="module")
def posteriors() -> dict[str, xr.DataTree]:
    return {name: make_posterior(smoking(name), draws=300) for name in ("unstr", "diag", "id")}


@pytest.mark.filterwarnings(PARETO)
def test_criteria_are_those_of_arviz(posteriors: dict[str, xr.DataTree]):
    frame = bm.compare(posteriors).criteria
    assert list(frame.columns[:3]) == ["elpd_loo", "se", "p_loo"]
    for name, tree in posteriors.items():
        loo = arviz.loo(tree, pointwise=True)
        row = frame.loc[name]
        assert [row["elpd_loo"], row["se"], row["p_loo"]] == pytest.approx([loo.elpd, loo.se, loo.p], rel=1e-12)
        assert row["bad_k"] == pytest.approx(np.mean(loo.pareto_k.values > loo.good_k))
        assert row["groups"] == 24
        assert row["method"] == "bayes"
    assert frame["elpd_diff"].max() == 0
    np.testing.assert_allclose(frame["elpd_diff"], frame["elpd_loo"] - frame["elpd_loo"].max(), rtol=1e-9, atol=1e-9)
    assert frame.loc[frame["elpd_diff"] == 0, "se_diff"].item() == 0


def test_the_page_says_what_is_not_reliable(posteriors: dict[str, xr.DataTree]):
    page = " ".join(str(bm.compare(posteriors)).split())
    assert "Criteria (leave one group out) elpd_loo se p_loo elpd - best its se bad k groups" in page
    assert "elpd_loo is not reliable for very influential groups" in page
    frame = posterior_criteria(posteriors)
    assert bad_k_note(frame.assign(bad_k=0.0)) == ""
    some = frame.assign(bad_k=[0.25, 0, 0], good_k=0.6)
    assert "unstr (6 of 24, k > 0.60);" in bad_k_note(some)


def test_the_order_of_the_data_does_not_matter():
    data = bm.datasets.load("school")
    trees = [
        make_posterior(bm.specify("effect ~ 1", d, S="var", random="1 | district", measure="smd"), draws=100)
        for d in (data, data.iloc[::-1])
    ]
    assert posterior_obstacle({"one": trees[0], "two": trees[1]}) == ""
    # given the same draws, every group has the same likelihood in both
    turned = unhashed(trees[1])
    same = trees[0]["log_likelihood"].to_dataset().sel(group_district=turned["log_likelihood"]["group_district"])
    turned["log_likelihood"] = xr.DataTree(same)
    turned["posterior"] = xr.DataTree(trees[0]["posterior"].to_dataset())
    frame = posterior_criteria({"one": trees[0], "two": turned})
    np.testing.assert_allclose(frame["se_diff"], 0, atol=1e-10)


def test_different_things_left_out_are_refused():
    one, two, three = (make_posterior(school(random), draws=20) for random in ("1 | district", "1 | study", "1 | year"))
    with pytest.raises(bm.SpecError, match="one leaves out one district at a time and two one study, which are not"):
        bm.compare(one=one, two=two).criteria  # noqa: B018
    assert "one year" in posterior_obstacle({"one": one, "three": three})
    assert "AIC" not in (page := str(bm.compare(one=one, two=two)))
    assert "Criteria not compared" in page
    assert "elpd" not in page


def test_different_observations_are_refused():
    data = bm.datasets.load("school")
    less = make_posterior(bm.specify("effect ~ 1", data[1:], S="var", random="1 | district", measure="smd"), draws=20)
    whole = make_posterior(school("1 | district"), draws=20)
    reason = posterior_obstacle({"whole": whole, "less": less})
    assert reason == "whole (56 observations) and less (55) do not describe the same observations"


def test_what_cannot_be_left_out():
    with pytest.warns(bm.BoundaryWarning, match="has one group"):
        tree = make_posterior(school("1 | all", all=1), draws=20)
    assert "tree has one group of all" in posterior_obstacle({"tree": tree})
    few = make_posterior(no_effects(), draws=10)
    assert posterior_obstacle({"few": few}) == "few has 20 draws, and the tails of the weights need 100"
    assert "Criteria not compared  few has 20 draws" in str(bm.compare(few=few))
    silent = make_posterior(no_effects(), draws=50)
    assert posterior_obstacle({"silent": silent}) == ""
    del silent["log_likelihood"]
    assert posterior_obstacle({"silent": silent}) == "silent has no /log_likelihood"


def test_a_fit_beside_a_posterior(posteriors: dict[str, xr.DataTree]):
    fit = bm.fit(smoking("unstr"))
    comparison = bm.compare(fit, posteriors["unstr"])
    assert list(comparison.trees) == ["reml", "bayes"]
    assert list(comparison.dataset["tree"].values) == ["reml", "bayes"]
    assert comparison.dataset.notnull().all().to_array().all()
    reason = "maximised likelihoods and posteriors are not on the same scale"
    with pytest.raises(bm.SpecError, match=f"criteria not compared: {reason}"):
        comparison.criteria  # noqa: B018
    page = str(comparison)
    assert f"Criteria not compared  {reason}" in page
    assert "Estimates (standard errors or SDs) and 95% intervals" in page
    assert "elpd" not in page
    frame = comparison.to_dataframe()
    beta = posteriors["unstr"]["posterior"]["beta"].mean(("chain", "draw")).values
    np.testing.assert_allclose(frame["bayes"]["estimate"][:3], beta, rtol=1e-12)
