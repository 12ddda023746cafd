"""One compiled model for several priors gives what a model for each gives."""

import warnings

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.bayes import importance, quadrature
from bayesmeta.bayes.many_priors import posteriors
from bayesmeta.errors import ConvergenceError, ConvergenceWarning, SpecError
from bayesmeta.model.respecify import homogeneous
from bayesmeta.priors.defaults import resolve
from tests.support.trials import bcg, berkey, school

PRIORS = {
    "half-normal": bm.Priors(tau=bm.priors.half_normal(0.5)),
    "Turner": bm.Priors(tau=bm.priors.turner()),
    "narrow": bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=0.1), tau=bm.priors.half_normal(0.05)),
    "default": None,
}


@pytest.fixture(scope="module")
def spec() -> bm.Spec:
    return bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")


@pytest.fixture(scope="module")
def found(spec):
    return bm.sensitivity(spec, PRIORS, random_seed=4, sampler="nutpie", progress=False)


def test_exact_posteriors_have_no_chains_to_diagnose(spec):
    exact = bm.sensitivity(spec, PRIORS, random_seed=4)
    assert exact[["r_hat", "ess_bulk", "ess_tail"]].isnull().all().to_array().all()
    alone = bm.estimates(bm.sample(spec, PRIORS["Turner"], random_seed=9)).loc[exact["parameter"].values]
    np.testing.assert_allclose(exact["estimate"].sel(prior="Turner"), alone["estimate"].astype(float), rtol=1e-9)


@pytest.mark.parametrize(("engine", "within"), [("quadrature", 2e-4), ("importance", 0.1)])
def test_a_named_engine_shares_its_evaluations(spec, engine, within, monkeypatch):
    runs = []
    for module in (importance, quadrature):
        whole = module.integrate
        monkeypatch.setattr(module, "integrate", lambda *given, whole=whole: runs.append(given) or whole(*given))
    priors = {str(scale): bm.Priors(tau=bm.priors.half_normal(scale)) for scale in (0.4, 0.5, 0.7, 1.0)}
    together = bm.sensitivity(spec, priors, random_seed=1, sampler=engine)
    assert len(runs) < len(priors)
    for name, each in priors.items():
        alone = bm.estimates(bm.sample(spec, each, random_seed=1, draws=2)).loc[together["parameter"].values]
        for column in ("estimate", "se", "lower", "upper"):
            far = (together[column].sel(prior=name).values - alone[column].astype(float)) / alone["se"].astype(float)
            assert np.abs(far).max() < within


FAMILIES = {
    "half-normal": bm.priors.half_normal,
    "half-Cauchy": bm.priors.half_cauchy,
    "exponential": lambda scale: bm.Prior("Exponential", lam=1 / scale),
    "log-normal": lambda scale: bm.Prior("LogNormal", mu=np.log(scale), sigma=0.7),
}


def _apart(spec: bm.Spec, cells: list[bm.Priors]) -> tuple[float, int]:
    """The largest difference of mean, SD and quantiles from a lattice for each prior alone, in SDs; and how many of
    the priors share one."""
    prob, own = np.array([0.005, 0.025, 0.25, 0.5, 0.75, 0.975, 0.995]), [resolve(spec, each) for each in cells]
    together, far = posteriors(spec, own, 1), 0.0
    shared = together.parameters(prob)
    for i, each in enumerate(own):
        for ours, theirs in zip(shared, posteriors(spec, [each], 1).parameters(prob), strict=True):
            mean, sd = abs(ours.mean[i] - theirs.mean[0]), abs(ours.sd[i] - theirs.sd[0])
            far = max(far, max(mean, sd, np.abs(ours.quantile[i] - theirs.quantile[0]).max()) / theirs.sd[0])
    return far, together.words("anchor").count("lattice of all priors")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_quantiles_of_priors_of_one_family(family):
    assert _apart(bcg(), [bm.Priors(tau=family(scale)) for scale in np.geomspace(0.01, 100, 9)])[0] < 1e-3


def test_quantiles_of_priors_of_all_families():
    far, shared = _apart(
        school(), [bm.Priors(tau=each(scale)) for each in FAMILIES.values() for scale in (0.03, 0.3, 3)]
    )
    assert far < 1e-3
    assert shared > 6


@pytest.mark.parametrize("scales", [(0.1, 1.0), (0.1, 0.5, 5.0)])
def test_quantiles_of_narrow_priors_beside_wide_ones(scales):
    normal = bm.Prior("Normal", mu=0, sigma=1)
    far, shared = _apart(berkey(), [bm.Priors(beta=normal, tau=bm.priors.half_normal(scale)) for scale in scales])
    assert far < 1e-3
    assert shared == len(scales)


def test_a_prior_that_a_named_engine_fails_under_is_named(spec, monkeypatch):
    def fails(*_):
        raise importance.NotIntegratedError("one draw has all the weight")

    monkeypatch.setattr(importance, "integrate", fails)
    with pytest.raises(ConvergenceError, match=r"priors 'half-normal': sampler='importance' failed: one draw has all"):
        bm.sensitivity(spec, PRIORS, random_seed=1, sampler="importance")


@pytest.mark.parametrize("engine", ["quadrature", "importance"])
def test_nothing_to_integrate(spec, engine):
    y, variance = spec.y, np.array([*bm.datasets.load("bcg")["logorvar"]])
    sigma = np.array([1.0, 0.3])
    priors = {str(each): bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=each)) for each in sigma}
    known = bm.sensitivity(homogeneous(spec), priors, random_seed=1, sampler=engine)
    precision = (1 / variance).sum() + 1 / sigma**2
    np.testing.assert_allclose(known["estimate"].values[:, 0], (y / variance).sum() / precision, rtol=1e-9)
    np.testing.assert_allclose(known["se"].values[:, 0], precision**-0.5, rtol=1e-9)


def test_layout(found):
    assert found["prior"].values.tolist() == list(PRIORS)
    assert found["parameter"].values.tolist() == ["beta[Intercept]", "tau[unit, Intercept]"]
    assert found["kind"].values.tolist() == ["beta", "tau"]
    assert found["priors"].values[1] == (
        "beta[Intercept] ~ Normal(mu=0, sigma=1) (default), tau[unit, Intercept] ~ LogNormal(mu=-1.28, sigma=0.87)"
    )
    assert (found["r_hat"] < 1.02).all()
    assert not found[["estimate", "se", "lower", "upper", "ess_bulk"]].isnull().any().to_array().any()


def test_a_prior_by_itself_gives_the_same_posterior(spec, found):
    post = bm.sample(spec, PRIORS["Turner"], random_seed=5, sampler="nutpie", progress=False)
    alone, here = bm.compare(post).dataset.isel(tree=0), found.sel(prior="Turner")
    error = 4 * np.sqrt(2) * here["se"].values / np.sqrt(here["ess_bulk"].values)
    assert (np.abs(here["estimate"].values - alone["estimate"].values) < error).all()
    assert here["se"].values == pytest.approx(alone["se"].values, rel=0.12)


def test_priors_matter(found):
    tau = found["estimate"].sel(parameter="tau[unit, Intercept]")
    assert float(tau.sel(prior="narrow")) < 0.5 * float(tau.sel(prior="half-normal"))
    assert found["estimate"].sel(prior="default").values == pytest.approx(
        found["estimate"].sel(prior="half-normal").values
    )  # which is the default for log odds ratios, with the same seed


def test_bad_input(spec):
    with pytest.raises(SpecError, match="give a dict of names"):
        bm.sensitivity(spec, {})
    with pytest.raises(SpecError, match=r"priors 'odd': .*wrong support"):
        bm.sensitivity(spec, {"good": None, "odd": bm.Priors(tau=bm.Prior("Normal", mu=0, sigma=1))})
    with pytest.raises(SpecError, match="chains is 0"):
        bm.sensitivity(spec, {"a": None}, chains=0)


def test_few_draws_are_complained_of(spec):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bm.sensitivity(spec, {"a": None}, draws=20, tune=50, chains=2, random_seed=1, sampler="nutpie", progress=False)
    assert any(issubclass(w.category, ConvergenceWarning) and w.filename == __file__ for w in caught)


def test_plot_shows_what_the_dataset_holds(found):
    axes = bm.plots.sensitivity(found)
    assert [ax.get_title() for ax in axes] == found["parameter"].values.tolist()
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == list(PRIORS)
    (points,) = axes[1].lines
    assert points.get_xdata().tolist() == found["estimate"].sel(parameter="tau[unit, Intercept]").values.tolist()
    intervals = axes[0].collections[0].get_segments()
    assert [tuple(s[:, 0]) for s in intervals] == [
        tuple(found[b].sel(parameter="beta[Intercept]", prior=p).item() for b in ("lower", "upper")) for p in PRIORS
    ]


def test_plot_of_something_else(found):
    with pytest.raises(SpecError, match=r"takes the dataset returned by bm\.sensitivity"):
        bm.plots.sensitivity(found.isel(prior=0, drop=True))
    with pytest.raises(SpecError, match=r"no parameter 'tau\[unit, Intercpt\]'; did you mean"):
        bm.plots.sensitivity(found, ["tau[unit, Intercpt]"])
    with pytest.raises(SpecError, match="1 axes for 2 panels"):
        bm.plots.sensitivity(found, axes=bm.plots.sensitivity(found)[:1])
