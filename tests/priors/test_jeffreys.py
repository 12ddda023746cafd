"""Jeffreys' prior of an SD: its density by dense information, its posterior by brute force, and where it is refused."""

import warnings

import numpy as np
import pandas as pd
import pytest
from pytensor.compile.mode import Mode

import bayesmeta as bm
from bayesmeta.errors import AssumptionWarning, SpecError
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.distributions import logp, logp_graph

JEFFREYS, COEFFICIENT = bm.Prior("Jeffreys"), bm.Prior("Flat")
NORMAL = bm.Prior("Normal", mu=0, sigma=2)

pytestmark = pytest.mark.filterwarnings("ignore:.*is improper:bayesmeta.AssumptionWarning")


def bcg(rows: int = 13, formula: str = "logor ~ 1") -> bm.Spec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one group
        return bm.specify(formula, bm.datasets.load("bcg").iloc[:rows], S="logorvar", measure="logor")


def districts() -> bm.Spec:
    """Groups of several rows with one effect, and sampling errors that are correlated."""
    table = bm.datasets.load("school")
    S = bm.within.correlated(table, "var", 0.4, "district")
    return bm.specify("effect ~ 1", table, S=S, random="1 | district", measure="smd")


def outcomes(psi) -> bm.Spec:
    """Two outcomes, one of them missing in some studies, with one SD."""
    table = bm.datasets.load("berkey98").copy()
    table.loc[[1, 3], "AL"] = np.nan
    return bm.specify("PD + AL ~ 1", table, S=["var_PD", "cov_PD_AL", "var_AL"], psi=psi, measure="smd")


MODELS = {
    "one level": bcg,
    "predictor": lambda: bcg(formula="logor ~ ablat"),
    "groups of several rows": districts,
    "id": lambda: outcomes("id"),
    "prop": lambda: outcomes(bm.structures.Proportional([[1.0, 0.5], [0.5, 2.0]])),
}


def prior_of(spec: bm.Spec) -> bm.Prior:
    return resolve(spec, bm.Priors(tau=JEFFREYS)).levels[0].tau[0]


def dense(spec: bm.Spec) -> tuple[np.ndarray, np.ndarray]:
    """S, and the derivative of the marginal covariance by tau^2."""
    S, level = np.zeros((len(spec.y),) * 2), spec.levels[0]
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    K = np.asarray(level.structure.compose(np.ones(1), np.zeros(0), level.dim)).reshape(level.dim, level.dim)
    return S, (level.Z @ K @ level.Z.T) * (level.index[:, None] == level.index)


@pytest.mark.parametrize("name", MODELS)
def test_the_density_is_the_root_of_the_information(name):
    spec = MODELS[name]()
    prior = prior_of(spec)
    S, D = dense(spec)
    mode = Mode(linker="py", optimizer=None)
    for tau in (1e-3, 0.1, 0.7, 30.0):
        slope = np.linalg.solve(S + tau**2 * D, 2 * tau * D)
        information = np.trace(slope @ slope) / 2
        assert float(logp(prior, tau)) == pytest.approx(np.log(information) / 2, abs=1e-9)
        assert float(logp_graph(prior, np.array(tau)).eval(mode=mode)) == pytest.approx(
            np.log(information) / 2, abs=1e-9
        )
    assert logp(prior, [-1.0, 0.0]).tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("name", MODELS)
def test_the_posterior_is_that_of_brute_force(name):
    spec = MODELS[name]()
    post = bm.sample(spec, bm.Priors(beta=NORMAL, tau=JEFFREYS), draws=2, random_seed=1)
    S, D = dense(spec)
    z = np.linspace(-9, 4.5, 801)  # of log tau
    tau, prior = np.exp(z), prior_of(spec)
    V = S + 4 * spec.X @ spec.X.T + tau[:, None, None] ** 2 * D
    quadratic = np.einsum("i,nij,j->n", spec.y, np.linalg.inv(V), spec.y)
    log = -0.5 * (np.linalg.slogdet(V)[1] + quadratic + len(spec.y) * np.log(2 * np.pi)) + logp(prior, tau) + z
    weight = np.exp(log - log.max())
    total = np.trapezoid(weight, z)
    known = np.log(total) + log.max()
    assert float(post["criteria"]["log_marginal_likelihood"]) == pytest.approx(known, abs=1e-6)
    mean = float(np.trapezoid(weight * tau, z) / total)
    name = f"tau_{spec.levels[0].name}_mean"
    assert np.ravel(post["marginals"][name]) == pytest.approx(mean, rel=1e-5)


def test_posteriors_of_bayesmeta_in_r(reference):
    """Of tau within 2e-4 SDs; of mu, which bayesmeta has from a mixture on a grid, within 2e-3."""
    record = reference("bayes/jeffreys")
    for case in record["cases"]:
        table = bm.datasets.load(case["data"]).iloc[: case["rows"]]
        spec = bm.specify(f"{case['y']} ~ 1", table, S=case["v"])
        beta = COEFFICIENT if case["mu_prior"] is None else bm.Prior("Normal", **case["mu_prior"])
        post = bm.sample(spec, bm.Priors(beta=beta, tau=JEFFREYS), draws=2, random_seed=1)
        few = case["rows"] < 10  # whose moments hang on where their grid ends
        for name, label, near in (("mu", "beta[Intercept]", 2e-3), ("tau", "tau[unit, Intercept]", 2e-4)):
            theirs, quantiles = case[name], np.array(case[name]["quantiles"])
            own, within = bm.estimates(post).loc[label], theirs["sd"] * near
            assert own["estimate"] == pytest.approx(theirs["mean"], abs=within * (5 if few else 1))
            assert own["se"] == pytest.approx(theirs["sd"], rel=0.02 if few else near)
            for prob, ends in ((0.95, quantiles[[0, -1]]), (0.9, quantiles[[1, -2]]), (0.5, quantiles[[2, -3]])):
                found = bm.estimates(post, prob).loc[label, ["lower", "upper"]].to_numpy(float)
                np.testing.assert_allclose(found, ends, atol=within, err_msg=f"{case['data']} {name}")


def test_robustness_compares_it_with_others():
    spec = bcg()
    alone = bm.sample(spec, bm.Priors(beta=NORMAL, tau=JEFFREYS), draws=2, random_seed=1)
    cells = {"Jeffreys": JEFFREYS, "flat": bm.Prior("HalfFlat"), "half-normal": bm.priors.half_normal(0.5)}
    robust = bm.robustness(spec, {name: bm.Priors(beta=NORMAL, tau=tau) for name, tau in cells.items()})
    cell = robust.sel(prior="Jeffreys")
    single = bm.estimates(alone).loc[cell["parameter"].values]
    np.testing.assert_allclose(cell["estimate"], single["estimate"].astype(float), rtol=1e-6)
    assert np.isnan(cell["log_bayes_factor_heterogeneity"])
    assert np.isfinite(robust["log_bayes_factor_heterogeneity"].sel(prior="half-normal"))


def test_it_is_kept_by_files_and_by_left_out_studies(tmp_path):
    post = bm.sample(bcg(), bm.Priors(beta=NORMAL, tau=JEFFREYS), draws=100, random_seed=1)
    bm.save(post, tmp_path / "x.nc")
    back = bm.load(tmp_path / "x.nc")
    assert "Jeffreys" in str(bm.summary(back))
    assert "v13" not in str(bm.summary(back))
    left = bm.loo(back)  # p(study | others) under the same prior, that of the whole design
    assert np.isfinite(left["elpd"]).all()
    scaled = bm.power_scaling(back)
    assert np.isfinite(scaled["sensitivity"]).all()


@pytest.mark.parametrize(
    ("spec", "priors", "message"),
    [
        (lambda: bcg(1), bm.Priors(tau=JEFFREYS), "takes 3 groups or more, and level 'unit' has 1 group:"),
        (lambda: bcg(2), bm.Priors(tau=JEFFREYS), "takes 3 groups or more, and level 'unit' has 2 groups:"),
        (
            lambda: bcg(3, "logor ~ ablat"),
            bm.Priors(beta=COEFFICIENT, tau=JEFFREYS),
            "Jeffreys, and the posterior would have no mean with 2 flat coefficients",
        ),
        (lambda: outcomes("cs"), bm.Priors(tau=JEFFREYS), "correlations, structure 'cs'"),
        (lambda: outcomes("diag"), bm.Priors(tau=JEFFREYS), "this one has 2 SDs"),
        (bcg, bm.Priors(tau=bm.Prior("Jeffreys", sigma=1)), "has parameters; it takes none"),
        (bcg, bm.Priors(beta=JEFFREYS), "is Jeffreys; for a coefficient choose"),
    ],
)
def test_where_it_is_refused(spec, priors, message):
    with pytest.raises(SpecError, match=message):
        bm.sample(spec(), priors, draws=2)


def test_two_levels_refuse_it():
    school = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", measure="smd")
    with pytest.raises(SpecError, match="the SD of a model with one SD and no correlations: this one has 2 SDs"):
        bm.sample(school, bm.Priors(tau=JEFFREYS))


def test_bayes_factors_of_the_sd_are_refused():
    post = bm.sample(bcg(), bm.Priors(beta=NORMAL, tau=JEFFREYS), draws=2, random_seed=1)
    with pytest.raises(SpecError, match="its Bayes factor is undefined"):
        bm.bayes_factor(post, "tau = 0")
    assert np.isfinite(bm.bayes_factor(post, "Intercept = 0")["log_bayes_factor"])  # the same prior of tau in both


def test_drawing_from_it_is_refused():
    with pytest.warns(AssumptionWarning, match=r"is improper \(Jeffreys\): no draws from the prior"):
        post = bm.sample(bcg(), bm.Priors(beta=NORMAL, tau=JEFFREYS), draws=2, random_seed=1)
    assert "prior" not in post.children
    assert isinstance(bm.estimates(post), pd.DataFrame)
