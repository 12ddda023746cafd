"""Continuous-time autoregression: one effect for each distinct time of a group, from `specify` to every table."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta import kernel
from bayesmeta.bayes.pymc_model import to_pymc
from bayesmeta.kernel.draws import fresh_effects
from bayesmeta.priors.correlations import rho_draws, rho_logp
from bayesmeta.priors.defaults import resolve
from tests.support import dense
from tests.support.posteriors import make_posterior
from tests.support.reference import read_reference

CAR1, HetCAR1 = bm.structures.CAR1, bm.structures.HetCAR1
pytestmark = [
    pytest.mark.filterwarnings("ignore::bayesmeta.errors.BoundaryWarning"),
    pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning"),
]


def table(seed: int = 0, groups: int = 15, rho: float = 0.9, tau: float = 1.0, grid: float = 0.5) -> pd.DataFrame:
    """Two to five times a group, anywhere on a grid, from the model itself."""
    rng = np.random.default_rng(seed)
    rows = []
    for g in range(groups):
        times = np.sort(rng.choice(np.arange(1, 16), rng.integers(2, 6), replace=False)) * grid
        R = rho ** np.abs(np.subtract.outer(times, times))
        b = np.linalg.cholesky(R + 1e-12 * np.eye(len(times))) @ rng.normal(size=len(times)) * tau
        v = rng.uniform(0.02, 0.2, len(times))
        y = 0.3 + b + rng.normal(size=len(times)) * np.sqrt(v)
        rows += [{"study": f"s{g}", "month": t, "y": a, "v": s} for t, a, s in zip(times, y, v, strict=True)]
    return pd.DataFrame(rows).sample(frac=1.0, random_state=seed).reset_index(drop=True)


def spec_of(data: pd.DataFrame, psi: Any = None, formula: str = "y ~ 1", **options: Any) -> bm.Spec:
    psi = {"study": CAR1(time="month") if psi is None else psi}
    return bm.specify(formula, data, **({"S": "v", "random": "1 | study", "psi": psi, "measure": "smd"} | options))


def naive_loglik(data: pd.DataFrame, beta: float, tau: Any, rho: float) -> float:
    """Row by row from the definition, with no design and no structure."""
    n = len(data)
    sd = np.array([tau[t] for t in data.month]) if isinstance(tau, dict) else np.full(n, tau)
    Sigma = np.diag(data.v.to_numpy())
    for i in range(n):
        for j in range(n):
            if data.study[i] == data.study[j]:
                Sigma[i, j] += sd[i] * sd[j] * rho ** abs(data.month[i] - data.month[j])
    e = data.y.to_numpy() - beta
    return float(-0.5 * (n * np.log(2 * np.pi) + np.linalg.slogdet(Sigma)[1] + e @ np.linalg.solve(Sigma, e)))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), rho=st.floats(0.01, 0.999), tau=st.floats(0.05, 3.0), repeated=st.booleans())
def test_the_likelihood_is_that_of_the_definition(seed: int, rho: float, tau: float, repeated: bool) -> None:
    data = table(seed, groups=4)
    data = pd.concat([data, data.iloc[:2].assign(y=0.1)], ignore_index=True) if repeated else data
    spec = spec_of(data)
    psi = [spec.levels[0].structure.compose(np.array([tau]), np.array([rho]), spec.levels[0].dim)]
    ours = kernel.loglik_per_group(spec.statistics, [psi[0][None]], np.array([[0.2]])).sum()
    assert ours == pytest.approx(naive_loglik(data, 0.2, tau, rho), rel=1e-9)
    spec = spec_of(data, HetCAR1(time="month"))
    sds = {t: tau * (1 + 0.1 * i) for i, t in enumerate(spec.levels[0].structure.positions)}
    psi = [spec.levels[0].structure.compose(np.array([*sds.values()]), np.array([rho]), len(sds))]
    ours = kernel.loglik_per_group(spec.statistics, [psi[0][None]], np.array([[0.2]])).sum()
    assert ours == pytest.approx(naive_loglik(data, 0.2, sds, rho), rel=1e-9)


def ishak(name: str) -> tuple[bm.Spec, dict[str, Any]]:
    file = read_reference(f"car/{name}")
    V = np.array(file["V"])
    formula, random = "yi ~ 0 + C(occ_f)", {"S": "vi" if V.ndim == 1 else V, "measure": "md"}
    return spec_of(pd.DataFrame(file["data"]), formula=formula, **random), file["expected"]


def test_the_published_trials_as_in_metafor() -> None:
    spec, expected = ishak("ishak2007_car_correlated_errors")
    fit = bm.fit(spec)
    assert float(fit.criteria["loglik"]) == pytest.approx(expected["loglik"], abs=1e-5)
    assert float(fit.estimate["rho_study"]) == pytest.approx(expected["rho"][0], abs=1e-5)
    assert float(fit.estimate["tau_study"]) ** 2 == pytest.approx(expected["tau2"][0], rel=1e-5)
    for name, theirs in (("beta", "coef"), ("beta_se", "se")):
        np.testing.assert_allclose(fit.estimate[name], expected[theirs], rtol=1e-5)


def test_where_metafor_stops_short_of_one_the_likelihood_is_higher() -> None:
    """With independent errors the likelihood rises up to rho = 1, which metafor's search, on a logit, cannot reach."""
    spec, expected = ishak("ishak2007_car")
    fit = bm.fit(spec)
    gain = float(fit.criteria["loglik"]) - expected["loglik"]
    assert 0 <= gain < 1e-6
    assert float(fit.estimate["rho_study"]) == 1.0 > expected["rho"][0] > 0.9999
    np.testing.assert_allclose(fit.estimate["beta"], expected["coef"], rtol=1e-6)
    assert float(fit.estimate["tau_study"]) ** 2 == pytest.approx(expected["tau2"][0], rel=1e-5)
    one = bm.fit(bm.specify("yi ~ 0 + C(occ_f)", spec.data, S="vi", random="1 | study"))
    assert float(fit.criteria["loglik"]) == pytest.approx(float(one.criteria["loglik"]), abs=1e-9)
    assert "rho[study] is 1" in str(bm.summary(fit))


@pytest.mark.parametrize("unit", [30.0, 1 / 12])
def test_the_unit_of_time_changes_rho_and_nothing_else(unit: float) -> None:
    data = table(3)
    one, other = spec_of(data), spec_of(data.assign(month=data.month * unit))
    fits = [bm.fit(spec) for spec in (one, other)]
    assert float(fits[1].criteria["loglik"]) == pytest.approx(float(fits[0].criteria["loglik"]), abs=1e-8)
    rows = [bm.estimates(fit).loc["rho[study]", ["estimate", "lower", "upper"]].astype(float) for fit in fits]
    np.testing.assert_allclose(rows[1] ** unit, rows[0], rtol=1e-5)
    np.testing.assert_allclose(fits[1].estimate["tau_study"], fits[0].estimate["tau_study"], rtol=1e-6)
    priors = [resolve(spec).levels[0].rho for spec in (one, other)]
    first, second = (spec.levels[0].structure for spec in (one, other))
    rho = np.array([[0.3, 0.9, 0.99]])
    density = rho_logp(first, len(first.positions), priors[0], rho)
    again = rho_logp(second, len(first.positions), priors[1], rho ** (1 / unit))
    slope = np.log(rho[0] ** (1 / unit - 1) / unit)
    np.testing.assert_allclose(density, again + slope, rtol=1e-9)


def test_equal_spacing_is_ar1_where_its_rho_is_positive() -> None:
    data = table(5, groups=25, grid=1.0)
    data = data[data.month <= 4].reset_index(drop=True)
    wide = data.pivot(index="study", columns="month", values=["y", "v"])
    wide.columns = [f"{name}{time:.0f}" for name, time in wide.columns]
    outcomes = [c for c in wide if c.startswith("y")]
    formula, S = f"{' + '.join(outcomes)} ~ 1", [c.replace("y", "v") for c in outcomes]
    in_wide = bm.fit(bm.specify(formula, wide, S=S, psi=CAR1(positions=[1, 2, 3, 4])))
    discrete = bm.fit(bm.specify(formula, wide, S=S, psi="ar1"))
    long = bm.fit(spec_of(data.assign(at=data.month.astype(str)), formula="y ~ 0 + C(at)"))
    assert float(discrete.estimate["rho_unit"][0]) > 0
    for fit in (in_wide, long):
        assert float(fit.criteria["loglik"]) == pytest.approx(float(discrete.criteria["loglik"]), abs=1e-8)
    assert float(in_wide.estimate["rho_unit"]) == pytest.approx(float(discrete.estimate["rho_unit"][0]), abs=1e-5)
    assert float(long.estimate["rho_study"]) == pytest.approx(float(in_wide.estimate["rho_unit"]), abs=1e-5)


@pytest.mark.parametrize("eta", [1.0, 2.0, 3.5])
def test_the_prior_of_rho_is_that_of_two_effects_a_typical_distance_apart(eta: float) -> None:
    structure = CAR1(positions=[0.0, 0.25, 3.0, 7.5])
    prior = bm.Prior("LKJ", eta=eta)
    rho = np.linspace(1e-6, 1 - 1e-9, 200_001)
    density = np.exp(rho_logp(structure, 4, prior, rho[None]))
    assert np.trapezoid(density, rho) == pytest.approx(1.0, abs=2e-4)
    r = rho_draws(structure, 4, prior, 100_000, np.random.default_rng(1))[0] ** structure.typical
    assert structure.typical == np.median([0.25, 3.0, 7.5, 2.75, 7.25, 4.5])
    assert np.mean(r**2) == pytest.approx(0.5 / (0.5 + eta), abs=0.005)  # of density (1 - r^2)^(eta - 1)


def test_effects_at_the_times_of_a_group_and_none_at_others() -> None:
    data = table(2)
    fit, spec = bm.fit(spec_of(data)), spec_of(data)
    tree = fit.estimate
    assert tree["tau_study"].dims == tree["rho_study"].dims == tree["tau2_study_se"].dims == ()
    times = [float(label) for label in tree["effect_study"].values]
    assert times == sorted(set(data.month))
    present = {(g, t) for g, t in zip(data.study, data.month, strict=True)}
    psi, b = tree["psi_study"].to_numpy(), tree["b_study"]
    model = dense.Model(spec.y, spec.X, [spec.levels[0].Z], [spec.levels[0].index], np.diag(spec.S.variances), [psi])
    Sigma = dense.marginal_covariance(model)
    pull = np.linalg.solve(Sigma, spec.y - spec.X @ tree["beta"].to_numpy())
    for g, (label,) in enumerate(spec.levels[0].labels):
        own = spec.levels[0].index == g
        expected = psi @ (spec.levels[0].Z[own].T @ pull[own])
        for e, t in enumerate(times):
            found = float(b[g, e])
            assert np.isnan(found) == ((label, t) not in present)
            assert np.isnan(found) or found == pytest.approx(expected[e], rel=1e-8, abs=1e-10)
    assert (bm.ranef(fit)["study"]["mean"].isnull() == b.isnull()).all()


def test_a_missing_estimate_is_predicted_from_the_others_of_its_group() -> None:
    data = table(4)
    data.loc[3, "month"] = 33.0  # a time that no other row has
    spec = spec_of(data.assign(y=data.y.where(data.index != 3)))
    fit = bm.fit(spec)
    assert spec.levels[0].structure.positions[-1] == 33.0
    tau, rho = float(fit.estimate["tau_study"]), float(fit.estimate["rho_study"])
    new = bm.predict(fit, {"month": [33.0, 2.75, 100.0]}, interval="prediction")
    expected = np.sqrt(tau**2 + float(fit.estimate["beta_se"][0]) ** 2)
    np.testing.assert_allclose(new["se"], np.full((3, 1), expected), rtol=1e-9)
    assert 0 < rho < 1
    assert np.isfinite(bm.predict(fit)["mean"]).all()


def test_a_variance_of_its_own_needs_the_time_in_the_data() -> None:
    fit = bm.fit(spec_of(table(6, groups=30, grid=1.0).query("month < 5"), HetCAR1(time="month")))
    with pytest.raises(bm.DataError, match=r"column 'month' has a time that the data .* in row 1"):
        bm.predict(fit, {"month": [2.0, 2.5]}, interval="prediction")
    names = [name for name in bm.estimates(fit).index if not name.startswith("beta")]
    assert names == [
        *(f"tau[study, {t}]" for t in (1, 2, 3, 4)),
        "rho[study]",
        *(f"tau2[study, {t}]" for t in (1, 2, 3, 4)),
    ]


def refusals() -> list[tuple[dict[str, Any], type[Exception], str]]:
    data = table(1, groups=4)
    two = data.assign(z=data.y, w=data.v)
    return [
        ({"psi": CAR1(time="week")}, bm.SpecError, "psi of level 'study': no column of times 'week'"),
        ({"psi": "car1"}, bm.SpecError, r"needs a time: bm.structures.CAR1\(time=\"month\"\)"),
        ({"psi": CAR1(time="month"), "random": "1 + month | study"}, bm.SpecError, r"write random='1 \| study'"),
        ({"psi": CAR1(time="study")}, bm.SpecError, "'study' is a column of groups"),
        ({"psi": CAR1(time="y")}, bm.SpecError, "'y' is an outcome"),
        ({"psi": CAR1(positions=[1, 2, 3])}, bm.SpecError, "has 3 positions; the level has 1 random effects"),
        ({"data": data.assign(month=np.inf)}, bm.DataError, "'month' is infinite in row"),
        ({"data": data.assign(month="early")}, bm.DataError, "column 'month'"),
        ({"data": data.assign(month=3)}, bm.SpecError, "needs at least 2 distinct times, column 'month' has 1"),
        ({"data": data.assign(month=data.month * 1e8)}, bm.SpecError, "measure time in another unit"),
        ({"data": data.assign(month=data.month * 1e-8)}, bm.SpecError, "measure time in another unit"),
        ({"data": two, "formula": "y + z ~ 1", "S": ["v", "w"]}, bm.SpecError, r"instead: positions=\[...\]"),
    ]


@pytest.mark.parametrize(("changes", "error", "message"), refusals())
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"data": table(1, groups=4)} | changes
    with pytest.raises(error, match=message):
        spec_of(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs the column with the times"),
        ({"time": 3}, "must be the name of a column"),
        ({"positions": [3, 2]}, "must increase; 3 is followed by 2"),
        ({"positions": [1, 1]}, "must increase; 1 is followed by 1"),
        ({"positions": [[1, 2]]}, r"have shape \(1, 2\)"),
        ({"positions": [1, np.nan]}, "finite numbers"),
        ({"positions": "month"}, "must be numbers"),
        ({"positions": [0, 1e9]}, "measure time in another unit"),
    ],
)
def test_positions_are_checked(arguments: dict[str, Any], message: str) -> None:
    for family in (CAR1, HetCAR1):
        with pytest.raises(bm.SpecError, match=message):
            family(**arguments)


def test_a_missing_time_drops_its_row_and_a_repeated_one_is_shared_with_a_warning() -> None:
    data = table(1, groups=4)
    data.loc[2, "month"] = np.nan
    data.loc[4, ["study", "month"]] = data.loc[0, ["study", "month"]].to_numpy()
    with pytest.warns(bm.AssumptionWarning, match=r"same 'month' share a random effect: study .* \(rows 0, 4\)"):
        spec = spec_of(data)
    assert spec.dropped[2] == "missing month"


@pytest.mark.parametrize("family", [CAR1, HetCAR1])
def test_everything_that_is_made_of_a_tree(family: Any, tmp_path: Path) -> None:
    spec = spec_of(table(7, groups=20, rho=0.6, grid=1.0).query("month < 5"), family(time="month"), "y ~ month")
    trees = [bm.fit(spec), make_posterior(spec, draws=30)]
    for tree in trees:
        again = bm.load(bm.save(tree, tmp_path / f"{tree.attrs['backend']}.nc"))
        assert str(bm.summary(again)) == str(bm.summary(tree))
        assert "rho[study]" in bm.summary(tree).to_markdown()
        assert bm.Spec.from_tree(again).levels[0].structure == spec.levels[0].structure
        text = bm.methods_text(again)
        assert "a random effect at every time (month)" in text.methods
        assert "correlation over one unit of time" in text.results
        table_ = bm.summary(tree).components()
        assert table_["rho"].nunique() == 1
        bm.plots.caterpillar(tree)
        bm.plots.structure(tree)
        assert bm.simulate(tree, 2, random_seed=1).shape == (2, len(spec.row_labels), 1)
        assert np.isfinite(bm.blup(again)["mean"].to_numpy()[spec.kept]).all()
    fit = trees[0]
    draws = bm.bootstrap(fit, n=5, random_seed=1)
    assert list(draws["parameter"].values) == [name for name in bm.estimates(fit).index if "tau2" not in name]
    for df in ("kenward-roger", "kenward-roger-second-order", "satterthwaite"):
        assert np.isfinite(bm.estimates(fit, df=df)["se"].iloc[0])
    assert len(bm.leave_one_out(fit)) == 2 * spec.levels[0].n_groups
    bounds = bm.confint(fit, "profile").to_dataframe().loc["rho[study]"]
    assert bounds["lower"] < float(fit.estimate["rho_study"]) <= bounds["upper"] <= 1


def test_the_density_of_the_pymc_model_is_that_of_the_kernel() -> None:
    spec = spec_of(table(8, groups=5))
    tau, rho, beta = 0.7, 0.8, np.array([0.2])
    structure, dim = spec.levels[0].structure, spec.levels[0].dim
    psi = structure.compose(np.array([tau]), np.array([rho]), dim)
    marginal = to_pymc(spec)
    point = marginal.initial_point() | {"tau_study_log__": np.log(tau), "rho_study_interval__": np.log(rho / (1 - rho))}
    named = {variable.name: variable for variable in marginal.free_RVs}
    transform: Any = marginal.rvs_to_transforms[named["beta"]]  # coordinates of its own
    point["beta_affine__"] = transform.inverse @ (beta - transform.centre)
    (found,) = marginal.compile_logp([marginal["y"]], sum=False)(point)
    expected = kernel.loglik_per_group(spec.statistics, [psi[None]], beta[None])[0]
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-9)


def test_draws_of_effects_have_the_covariance_of_the_family() -> None:
    structure = CAR1(positions=[0.0, 1.0, 4.0])
    psi = structure.compose(np.array([2.0]), np.array([0.7]), 3)
    (b,) = fresh_effects([np.broadcast_to(psi, (2, 3, 3))], [40_000], np.random.default_rng(2))
    np.testing.assert_allclose(np.cov(b.reshape(-1, 3).T), psi, atol=0.08)


MODEL_FILE = """
title = "Times"
citation = "None"
data = "times.csv"
[model.one]
formula = "y ~ 1"
S = { within = "car1", variance = "v", rho = 0.5, group = "study", time = "month" }
random = "1 | study"
psi = { car1 = "month" }
[model.each]
formula = "y ~ 1"
S = "v"
random = "1 | study"
psi = { study = { hcar1 = "month" } }
"""


def test_model_files_name_the_column_of_times(tmp_path: Path) -> None:
    data = table(7, groups=20, rho=0.6, grid=1.0).query("month < 5")
    data.to_csv(tmp_path / "times.csv", index=False)
    (tmp_path / "times.toml").write_text(MODEL_FILE, encoding="utf-8")
    models = bm.load_analysis(tmp_path / "times.toml").models
    specs = {name: model.spec for name, model in models.items()}
    assert [spec.levels[0].structure.name for spec in specs.values()] == ["car1", "hcar1"]
    S = bm.within.car1(data, "v", 0.5, "study", "month")
    expected = bm.fit(spec_of(data, CAR1(time="month"), S=S, measure=None))
    assert float(bm.fit(specs["one"]).criteria["loglik"]) == pytest.approx(float(expected.criteria["loglik"]), abs=1e-8)


def test_one_time_a_group_says_nothing_of_the_correlation() -> None:
    data = pd.DataFrame({"study": range(8), "month": [1, 2, 3, 4] * 2, "y": np.arange(8) % 3 * 0.5, "v": 0.1})
    with pytest.warns(bm.BoundaryWarning, match=r"the correlation over time \(study\)$"):
        spec_of(data)


def test_too_many_times_are_refused_with_a_remedy() -> None:
    data = pd.DataFrame({"study": np.repeat(range(30), 2), "month": range(60), "y": 0.1, "v": 0.1})
    with pytest.raises(bm.SpecError, match=r"has 60 distinct times; at most 50 .*\n  round column 'month'"):
        spec_of(data)
