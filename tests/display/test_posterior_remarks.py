"""The page of a posterior: how it was drawn, its priors, diagnostics and reservations."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.display import remarks
from bayesmeta.structures import REGISTER
from bayesmeta.summaries import notebook
from tests.support.awkward import awkward_spec
from tests.support.edited import unhashed
from tests.support.posteriors import make_posterior, stacked
from tests.tree.test_posterior_draws import no_effects, smoking


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    return make_posterior(smoking("unstr"), draws=100, chains=4, priors=bm.Priors(tau=bm.Prior("HalfNormal", sigma=1)))


def page(tree: xr.DataTree, **options: object) -> str:
    return " ".join(str(bm.summary(tree, **options)).split())


def test_the_head_says_how(tree: xr.DataTree):
    assert remarks.method(tree) == "full Bayes (MCMC, 4 chains of 100 draws, nutpie)"
    head = "Multivariate random-effects model (k = 24, 3 outcomes)\nMethod   full Bayes (MCMC, 4 chains of 100 draws"
    assert str(bm.summary(tree)).startswith(head)
    assert "1 chain of 5 draws" in remarks.method(make_posterior(no_effects(), draws=5, chains=1))


def test_fixed_effects(tree: xr.DataTree):
    frame, beta = bm.summary(tree).to_dataframe(), stacked(tree, "posterior", "beta")
    np.testing.assert_allclose(frame["estimate"][frame["kind"] == "beta"], beta.mean(0), rtol=1e-12)
    text = page(tree)
    assert "Fixed effects (95% intervals) mean sd lower upper odds ratio lower upper probability beta[yB" in text
    share = (beta[:, 0] > 0).mean()
    assert f"P(OR {'>' if share > 0.5 else '<'} 1) {max(share, 1 - share):.4f}" in text
    assert "p-value" not in text
    assert "50% intervals" in page(tree, prob=0.5)


def test_variances_are_summarised_by_their_own_draws(tree: xr.DataTree):
    psi = stacked(tree, "derived", "psi_unit")
    frame = bm.summary(tree, components="variance").components()
    assert list(frame.columns) == ["variance", "se", "lower", "upper", "rho[yB]", "rho[yC]"]
    variances = np.diagonal(psi, axis1=1, axis2=2)
    np.testing.assert_allclose(frame["variance"], variances.mean(0), rtol=1e-12)
    np.testing.assert_allclose(frame["se"], variances.std(0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(frame["upper"], np.quantile(variances, 0.975, axis=0), rtol=1e-12)
    sd = bm.summary(tree).components()
    assert list(sd.columns) == ["tau", "se", "lower", "upper", "rho[yB]", "rho[yC]"]
    np.testing.assert_allclose(sd["tau"], np.sqrt(variances).mean(0), rtol=1e-12)


def test_priors_are_listed_and_defaults_marked(tree: xr.DataTree):
    text = page(tree)
    assert "tau[unit, yB] HalfNormal(sigma=1) tau[unit, yC]" in text
    assert "beta[yB.Intercept] Normal(mu=0, sigma=1) (default)" in text
    assert "rho[unit] LKJ(eta=2) (default)" in text


def test_notes_of_the_priors_are_shown():
    data = bm.datasets.load("school")
    tree = make_posterior(bm.specify("effect ~ 1", data, S="var", random="1 | district"), draws=50)
    assert any("no measure is given: default priors of" in note for note in remarks.notes(tree))


def test_good_draws_raise_no_alarm(tree: xr.DataTree):
    assert remarks.alarms(tree) == []
    assert (
        "Diagnostics largest R-hat 1.001 (beta[yB.Intercept]); smallest effective sample sizes 900 in the bulk "
        "(beta[yB.Intercept]), 900 in the tails (beta[yB.Intercept]); no divergences" in page(tree)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"r_hat": 1.03}, ("THE CHAINS DO NOT AGREE (R-hat 1.030 of beta[Intercept], more than 1.01)", "tune=")),
        ({"ess": 320.0}, ("TOO FEW INDEPENDENT DRAWS (effective sample size 320 of beta[Intercept], less", "draws=")),
        ({"divergences": 1}, ("1 DIVERGENCE: part of the posterior was not explored", "target_accept=")),
        ({"divergences": 7}, ("7 DIVERGENCES:", "simpler psi")),
    ],
)
def test_alarms(options: dict[str, float], words: tuple[str, ...]):
    tree = make_posterior(no_effects(), draws=10, **options)
    (alarm,) = remarks.alarms(tree)
    assert all(word in alarm for word in words)
    assert "WARNING" in page(tree)
    assert "WARNING bayes:" in " ".join(str(bm.compare(tree)).split())


def test_one_chain_has_no_r_hat():
    tree = make_posterior(no_effects(), draws=10, chains=1, r_hat=np.nan)
    assert remarks.alarms(tree) == []
    assert "Diagnostics no R-hat; smallest" in page(tree)
    blind = make_posterior(no_effects(), draws=10, r_hat=np.nan, ess=np.nan)
    assert remarks.alarms(blind) == []
    assert "Diagnostics no R-hat; no divergences" in page(blind)


def test_a_tree_without_diagnostics():
    tree = unhashed(make_posterior(no_effects(), draws=10))
    del tree["diagnostics"]
    assert remarks.alarms(tree) == []
    assert "Diagnostics" not in page(tree)


def test_correlations_as_before_the_data_are_not_interpreted(tree: xr.DataTree):
    (note,) = [note for note in remarks.notes(tree) if "say little" in note]
    assert note.startswith("the data say little about rho[unit, yB~yC] (prior SD 0.41, posterior SD 0.4")
    assert note.count("prior SD") == 3
    assert note.endswith(": not to be interpreted")
    known = make_posterior(smoking("cs"), draws=100)
    assert any("say little about rho[unit] (prior SD" in note for note in remarks.notes(known))
    psi = known["derived"]["psi_unit"]
    known = unhashed(known)
    known["derived"] = xr.DataTree(known["derived"].to_dataset().assign(psi_unit=psi * 0 + psi.isel(draw=0, chain=0)))
    assert not any("say little" in note for note in remarks.notes(known))


@pytest.mark.parametrize("structure", sorted(REGISTER))
def test_every_structure_has_a_page(structure: str):
    tree = make_posterior(smoking(structure), draws=30)
    summary = bm.summary(tree)
    assert f"Psi {structure}" in page(tree)
    for text in (summary.to_markdown(), summary.to_latex(), notebook.html(tree)):
        assert "yB.Intercept" in text
        assert "full Bayes" in text


def test_the_awkward_page_stays_on_the_page():
    tree = make_posterior(awkward_spec(), draws=20)
    assert max(map(len, str(bm.summary(tree)).splitlines())) <= 100
    assert "1 of 36 rows dropped: missing dose (r3)" in page(tree)


def test_a_tree_from_a_file_is_the_same(tmp_path: Path):
    tree = make_posterior(awkward_spec(), draws=20)
    tree.to_netcdf(tmp_path / "post.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "post.nc", engine="h5netcdf") as read:
        assert str(bm.summary(read)) == str(bm.summary(tree))
        xr.testing.assert_allclose(bm.predict(read, interval="prediction"), bm.predict(tree, interval="prediction"))
        xr.testing.assert_allclose(bm.blup(read), bm.blup(tree))
        xr.testing.assert_identical(bm.heterogeneity(read).load(), bm.heterogeneity(tree))
