"""Direct and indirect evidence: posteriors beside the models that are sampled for one comparison, and intervals."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

import bayesmeta as bm

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.AssumptionWarning", "ignore::bayesmeta.BoundaryWarning")
COUNSELLING = {"study": "study", "treatment": "treatment", "events": "quit", "total": "total", "measure": "logor"}


@pytest.fixture(scope="module")
def spec() -> bm.Spec:
    arms = bm.datasets.load("hasselblad1998")
    return bm.network.specify(arms, **COUNSELLING, reference="no contact", better="larger", add=0.5)


@pytest.fixture(scope="module")
def post(spec: bm.Spec) -> xr.DataTree:
    return bm.sample(spec, random_seed=1, draws=100)


@pytest.mark.parametrize("pair", [("group counselling", "self-help"), ("individual counselling", "no contact")])
def test_a_posterior_is_split_by_the_model_of_each_comparison(spec: bm.Spec, post: xr.DataTree, pair: tuple[str, str]):
    own = bm.network.split(post).sel(comparison=" : ".join(pair))
    sampled = bm.sample(bm.network.node_split(spec, *pair), random_seed=2, draws=1000, random_effects=False)
    exact = sampled["marginals"].sel(coef="direct - indirect")
    assert own["difference"].item() == pytest.approx(exact["beta_mean"].item(), abs=1e-6)
    assert own["difference_se"].item() == pytest.approx(exact["beta_sd"].item(), abs=1e-6)
    league = bm.network.league(sampled).sel(treatment=pair[0], versus=pair[1])
    for ours, theirs in (("indirect", "mean"), ("indirect_se", "se"), ("indirect_lower", "lower")):
        assert own[ours].item() == pytest.approx(league[theirs].item(), abs=1e-6)
    assert own["direct"].item() == pytest.approx(own["indirect"].item() + own["difference"].item(), abs=1e-9)
    draws = sampled["posterior"]["beta"].sel(coef="direct - indirect").to_numpy().ravel()
    p = own["probability"].item()
    assert np.mean(draws > 0) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / len(draws)))
    assert own["pvalue"].item() == pytest.approx(2 * min(p, 1 - p))


def test_the_network_s_part_is_the_league_table(post: xr.DataTree):
    own, league = bm.network.split(post, prob=0.8), bm.network.league(post, prob=0.8)
    for each in own["comparison"].values:
        one = own.sel(comparison=each)
        cell = league.sel(treatment=one["treatment"].item(), versus=one["versus"].item())
        for ours, theirs in (("network", "mean"), ("network_se", "se"), ("network_upper", "upper")):
            assert one[ours].item() == pytest.approx(cell[theirs].item(), abs=1e-9)


def test_a_flat_prior_of_all_effects_is_one_of_the_difference(spec: bm.Spec):
    """Then a posterior that knows tau is the refitted model with this tau."""
    known = bm.Priors(beta=bm.Prior("Flat"), tau=bm.Prior("HalfNormal", sigma=1e-6))
    own = bm.network.split(bm.sample(spec, known, random_seed=1, draws=100))
    common = bm.network.split(bm.fit(spec, "fixed"), "refit")
    for name in ("direct", "indirect", "difference", "difference_se"):
        np.testing.assert_allclose(own[name], common[name], atol=1e-6)


def test_evidence_of_one_kind_is_that_of_the_network():
    rows = [("1", "A", 4), ("1", "B", 7), ("2", "B", 6), ("2", "C", 9), ("3", "A", 3), ("3", "B", 8)]
    arms = {name: list(column) for name, column in zip(("study", "drug", "ill"), zip(*rows, strict=True), strict=True)}
    columns = {"study": "study", "treatment": "drug", "events": "ill", "total": "n", "measure": "logor"}
    spec = bm.network.specify({**arms, "n": [40] * 6}, **columns)
    with pytest.warns(bm.AssumptionWarning, match="no comparison has both"):
        own = bm.network.split(bm.sample(spec, random_seed=1, draws=100))
    assert np.isnan(own["difference"]).all()
    direct, indirect = own.sel(comparison="A : B"), own.sel(comparison="A : C")
    assert direct["direct"].item() == direct["network"].item()
    assert np.isnan(direct["indirect"])
    assert indirect["indirect_upper"].item() == indirect["network_upper"].item()
    assert np.isnan(indirect["direct"])


def test_what_is_asked_of_the_wrong_results(post: xr.DataTree, spec: bm.Spec):
    with pytest.raises(bm.SpecError, match='method="back-calculation" is for fits'):
        bm.network.split(post, "back-calculation")
    with pytest.raises(bm.SpecError, match="prob is 95"):
        bm.network.split(post, prob=95)
    wide = bm.network.split(bm.fit(spec), prob=0.99)
    half = norm.ppf(0.995) * wide["direct_se"]
    np.testing.assert_allclose(wide["direct_upper"] - wide["direct"], half)
    for values in (wide["direct_lower"], wide["indirect_upper"], wide["network_lower"]):
        assert np.isfinite(values).all()
