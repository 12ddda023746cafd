"""The bootstrap: its moments, its intervals by hand, resampled groups, and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.errors import BayesmetaWarning, SpecError
from bayesmeta.estimation.parallel import Jobs
from bayesmeta.inference import bootstrap as module
from bayesmeta.inference.regroup import with_groups
from bayesmeta.tree.parameters import parameters
from tests.support.awkward import awkward_spec


@pytest.fixture(scope="module")
def school() -> xr.DataTree:
    data = bm.datasets.load("school")
    return bm.fit(bm.specify("effect ~ 1", data, S="var", random="1 | district/study"))


def test_parametric(school: xr.DataTree) -> None:
    found = bm.bootstrap(school, 400, random_seed=1)
    assert found.attrs["failed"] == 0
    assert list(found["parameter"].values) == list(parameters(school).index)
    assert found["se"][0].item() == pytest.approx(school["estimate"]["beta_se"].item(), rel=0.15)
    assert abs(found["bias"][0].item()) < 4 * found["se"][0].item() / 20
    own = found["replicates"].values
    low, high = np.quantile(own, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(found["lower"].sel(interval="percentile"), low)
    np.testing.assert_allclose(found["upper"].sel(interval="basic"), 2 * found["estimate"] - low)
    assert (low < found["estimate"]).all()
    assert (high > found["estimate"]).all()


def test_a_replicate_is_a_fit_of_its_data_set(school: xr.DataTree) -> None:
    found = bm.bootstrap(school, 5, random_seed=3)
    fits = bm.fit_many(bm.Spec.from_tree(school), bm.simulate(school, 5, 3))
    np.testing.assert_allclose(found["replicates"][:, 0], fits["beta"][:, 0], atol=1e-6)
    np.testing.assert_allclose(found["replicates"][:, 1] ** 2, fits["psi_district"][:, 0, 0], atol=1e-5)


def test_bca_moves_towards_the_estimate(school: xr.DataTree) -> None:
    found = bm.bootstrap(school, 400, random_seed=1, intervals=["percentile", "bca"])
    for name, side in (("lower", 1), ("upper", 1)):
        percentile, bca = (found[name].sel(interval=kind)[1].item() for kind in ("percentile", "bca"))
        assert side * (bca - percentile) > 0  # SDs are estimated too small on the whole


def test_groups_drawn_again(school: xr.DataTree) -> None:
    one, two = (bm.bootstrap(school, 20, random_seed=1, kind="groups", n_jobs=n) for n in (1, 2))
    assert one.identical(two)
    assert one["converged"].all()
    assert one["se"][0].item() == pytest.approx(school["estimate"]["beta_se"].item(), rel=0.6)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("method", ["reml", "ml", "fixed"])
@pytest.mark.parametrize("which", ["school", "awkward", "rows"])
def test_replicates_together_equal_fits_one_by_one(which: str, method: str) -> None:
    """Two levels, several outcomes with missing values and covariances, and rows as groups with a factor, of which some
    replicates have one value only."""
    bcg = bm.datasets.load("bcg")
    specs = {
        "school": bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"),
        "awkward": awkward_spec(),
        "rows": bm.specify("logor ~ f", bcg.assign(f=["a"] * 11 + ["b"] * 2), S="logorvar"),
    }
    spec = specs[which]
    tree, m = bm.fit(spec, method), spec.levels[0].n_groups
    drawn = list(np.random.default_rng(3).integers(0, m, (6, m)))
    together, converged = module._refits(tree, spec, drawn, Jobs())
    assert converged.any()
    for own, values, passed in zip(drawn, together, converged, strict=True):
        if which == "rows" and not (own >= 11).any():
            assert not passed
            assert np.isnan(values).all()
        elif passed:
            alone, _ = module._Refit(spec, method)(own)
            np.testing.assert_allclose(values, alone, atol=2e-5)
    if which == "rows":
        assert sum((own >= 11).any() for own in drawn) == converged.sum() < 6


def test_rows_drawn_again_by_moments() -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    found = bm.bootstrap(bm.fit(spec, "dl"), 20, random_seed=1, kind="groups")
    assert found["converged"].all()
    drawn = np.random.default_rng(np.random.SeedSequence(1).spawn(20)[7]).integers(0, 13, 13)
    alone = bm.fit(bm.specify("logor ~ 1", spec.data.iloc[drawn].reset_index(drop=True), S="logorvar"), "dl")
    expected = [alone["estimate"]["beta"].item(), alone["estimate"]["tau_unit"].item()]
    np.testing.assert_allclose(found["replicates"][7], expected, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_all_groups_once_are_the_specification() -> None:
    spec = awkward_spec()
    m = spec.levels[0].n_groups
    again = with_groups(spec, np.random.default_rng(1).permutation(m))
    assert bm.fit(again)["criteria"]["loglik"].item() == pytest.approx(
        bm.fit(spec)["criteria"]["loglik"].item(), abs=1e-6
    )
    twice = with_groups(spec, np.repeat(np.arange(m), 2))
    assert [v.n_groups for v in twice.levels] == [2 * v.n_groups for v in spec.levels]
    once = bm.heterogeneity(bm.fit(spec))["Q"].values
    np.testing.assert_allclose(bm.heterogeneity(bm.fit(twice))["Q"], 2 * once, rtol=1e-9)


def test_replicates_that_fail_are_counted(school: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = bm.fit_many

    def lame(*given: Any, **options: Any) -> xr.Dataset:
        fits = real(*given, **options)
        return fits.assign(converged=("dataset", np.arange(fits.sizes["dataset"]) % 5 != 0))

    monkeypatch.setattr(module, "fit_many", lame)
    with pytest.warns(BayesmetaWarning, match="4 of 20 bootstrap replicates did not converge and are left out"):
        found = bm.bootstrap(school, 20, random_seed=1)
    assert found.attrs["failed"] == 4
    assert np.isnan(found["replicates"].values).all(axis=1).sum() == 4
    monkeypatch.setattr(module, "fit_many", lambda *a, **o: real(*a, **o).assign(converged=("dataset", [False] * 20)))
    with pytest.raises(SpecError, match="20 of 20 replicates did not converge"):
        bm.bootstrap(school, 20, random_seed=1)


def test_few_groups_are_a_warning() -> None:
    data = bm.datasets.load("school")
    few = data[data["district"].isin(data["district"].unique()[:5])]
    fit = bm.fit(bm.specify("effect ~ 1", few, S="var", random="1 | district/study"))
    with pytest.warns(BayesmetaWarning, match="only 5 groups of level 'district' to draw from"):
        bm.bootstrap(fit, 5, random_seed=1, kind="groups")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "group"}, "kind is 'group'; did you mean 'groups'"),
        ({"intervals": "basics"}, "intervals is 'basics'; did you mean 'basic'"),
        ({"n": 0}, "n is 0"),
        ({"prob": 95}, "prob is 95"),
    ],
)
def test_refusals(school: xr.DataTree, given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        bm.bootstrap(school, **given)
