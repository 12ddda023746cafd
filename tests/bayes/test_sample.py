"""`sample` from beginning to end: what it refuses, what it returns, and that it repeats itself."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta import tree_schema as schema
from bayesmeta.tree import files
from tests.tree.test_posterior_draws import no_effects

SHORT: dict[str, Any] = {
    "draws": 60,
    "tune": 150,
    "chains": 2,
    "random_seed": 3,
    "sampler": "nutpie",
    "progress": False,
}
HALF_NORMAL = bm.Priors(tau=bm.priors.half_normal(0.5))
FEW = "ignore::bayesmeta.errors.ConvergenceWarning"


def bcg() -> bm.Spec:
    return bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")


def two_levels() -> bm.Spec:
    """Two outcomes, some missing; a fixed level and one with SDs and a correlation."""
    rng = np.random.default_rng(4)
    n = 24
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["A", "B"]).assign(
        x=rng.normal(size=n), g=np.repeat(list("abcdef"), 4), h=np.tile([1, 1, 2, 2], 6)
    )
    frame.loc[[3, 9], "B"] = np.nan
    return bm.specify(
        "A + B ~ x",
        frame,
        S=rng.uniform(0.05, 0.2, (n, 2)),
        S_correlation=0.3,
        random="1 | g/h",
        psi={"g": "hcs", "h": bm.structures.Fixed(0.1 * np.eye(2))},
        measure="smd",
    )


def sampled(spec: bm.Spec, priors: bm.Priors | None = None, **options: Any) -> xr.DataTree:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.ConvergenceWarning)
        return bm.sample(spec, priors, **SHORT | options)


@pytest.fixture(scope="session")
def simple() -> xr.DataTree:
    return bm.sample(bcg(), HALF_NORMAL, draws=600, tune=500, chains=4, random_seed=1, sampler="nutpie", progress=False)


@pytest.fixture(scope="session")
def wide() -> xr.DataTree:
    return sampled(two_levels())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws is 0; it must be a whole number of at least 1"),
        ({"draws": 10.5}, "draws is 10.5"),
        ({"draws": True}, "draws is True"),
        ({"tune": 0}, "tune is 0; it must be a whole number of at least 1"),
        ({"chains": 0}, "chains is 0"),
        ({"chains": "four"}, "chains is 'four'"),
        ({"target_accept": 1.0}, "target_accept is 1.0; it must lie strictly between 0 and 1"),
        ({"target_accept": 0}, "target_accept is 0"),
        ({"target_accept": "high"}, "target_accept is 'high'"),
        ({"target_accept": float("nan")}, "target_accept is nan"),
        ({"random_seed": -1}, "random_seed is -1"),
        ({"random_seed": 1.5}, "random_seed is 1.5"),
        ({"random_seed": "one"}, "random_seed is 'one'"),
        ({"sampler": "nutpy"}, "sampler is 'nutpy'; did you mean 'nutpie'"),
        ({"sampler": "stan"}, "sampler is 'stan'\n  must be one of: auto, quadrature, importance, nutpie, pymc"),
        ({"backend": "c"}, "backend 'c' is not offered; it takes minutes"),
        ({"backend": "torch"}, "backend 'torch' is not offered"),
        ({"sampler": "pymc", "backend": "numba"}, "sampler 'pymc' has no choice of backend"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(bm.SpecError, match=message):
        bm.sample(bcg(), HALF_NORMAL, **options)


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        (bm.Priors(tau=bm.Prior("Flat")), "Flat, which is improper"),
        (
            bm.Priors(tau=bm.Prior("HalfNormall", sigma=1)),
            "unknown distribution 'HalfNormall'; did you mean 'HalfNormal'",
        ),
        (bm.Priors(tau=bm.Prior("Normal", mu=0, sigma=1)), "wrong support: an SD cannot be negative"),
        (bm.Priors(tau={"study": bm.priors.half_normal(1)}), "no level 'study'"),
        (bm.Priors(rho=bm.Prior("LKJ", eta=2)), "rho has a prior, but the model has no rho"),
        (bm.Priors(beta={"ablat": bm.Prior("Normal", mu=0, sigma=1)}), "no coefficient 'ablat'"),
    ],
)
def test_bad_priors(priors: bm.Priors, message: str) -> None:
    with pytest.raises(bm.SpecError, match=message):
        bm.sample(bcg(), priors)


@pytest.mark.parametrize(
    ("options", "missing"),
    [({"sampler": "nutpie"}, "nutpie"), ({"sampler": "numpyro"}, "numpyro"), ({"backend": "jax"}, "jax")],
)
def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], missing: str) -> None:
    from bayesmeta.bayes import samplers

    monkeypatch.setattr(samplers, "find_spec", lambda name: None if name == missing else util.find_spec(name))
    with pytest.raises(bm.SpecError, match=f"needs {missing}, which is not installed\n  pip install {missing}"):
        bm.sample(bcg(), HALF_NORMAL, **options)


@pytest.mark.parametrize("given", [None, {"y": 1}, "spec"])
def test_only_specifications(given: Any) -> None:
    with pytest.raises(bm.SpecError, match=r"sample takes a specification from bm.specify, not a"):
        bm.sample(given)


def test_layout(wide: xr.DataTree) -> None:
    sizes = {name: dict(wide["posterior"][name].sizes) for name in wide["posterior"].data_vars}
    both = {"chain": 2, "draw": 60}
    assert sizes == {"beta": both | {"coef": 4}, "tau_g": both | {"effect_g": 2}, "rho_g": both}
    assert set(wide["derived"].data_vars) == {"psi_g", "psi_h"}
    assert wide["derived"]["psi_g"].dims == ("chain", "draw", "effect_g", "effect_g_bis")
    assert dict(wide["random_effects"]["b_h"].sizes) == both | {"group_h": 12, "effect_h": 2}
    assert dict(wide["random_effects"]["b_g"].sizes) == both | {"group_g": 6, "effect_g": 2}
    spec = two_levels()
    assert wide["posterior"]["coef"].values.tolist() == list(spec.coef)
    assert wide["random_effects"]["group_h"].values.tolist() == spec.coords["group_h"].tolist()
    assert wide["log_likelihood"]["y"].dims == ("chain", "draw", "group_g")
    assert wide["log_likelihood_conditional"]["y"].dims == ("chain", "draw", "obs")
    assert set(wide["log_prior"].data_vars) == {"beta", "tau_g", "rho_g"}
    assert set(wide["prior"].data_vars) == set(wide["posterior"].data_vars)
    for group in ("posterior_predictive", "posterior_predictive_new"):
        assert dict(wide[group]["y"].sizes) == both | {"obs": len(spec.y)}
        assert set(wide[group].coords) >= {"row", "outcome"}
    assert wide["prior_predictive"]["y"].sizes["obs"] == len(spec.y)
    assert {"diverging", "lp", "tree_depth", "step_size", "energy"} <= set(wide["sample_stats"].data_vars)
    assert set(wide["observed_data"].data_vars) == {"y"}
    about = {"backend": "sample", "method": "bayes", "sampler": "nutpie", "seed": "3", "tune": "150"}
    assert about.items() <= wide.attrs.items()
    assert not wide.dims


def test_nothing_is_constant_and_nothing_is_missing(wide: xr.DataTree) -> None:
    for name, values in wide["posterior"].data_vars.items():
        assert (values.std(["chain", "draw"]) > 0).all(), name
    drawn = ("posterior", "random_effects", "derived", "log_likelihood", "log_likelihood_conditional", "log_prior")
    drawn += (
        "prior",
        "prior_predictive",
        "posterior_predictive",
        "posterior_predictive_new",
        "sample_stats",
        "diagnostics",
    )
    for group in drawn:
        for name, values in wide[group].data_vars.items():
            assert values.notnull().all(), (group, name)
            if values.dtype.kind == "f":
                assert np.isfinite(values).all(), (group, name)


def test_the_specification_is_in_the_tree(wide: xr.DataTree) -> None:
    spec, again = two_levels(), bm.Spec.from_tree(wide)
    np.testing.assert_array_equal(again.y, spec.y)
    np.testing.assert_array_equal(again.S.value, spec.S.value)
    assert [level.structure for level in again.levels] == [level.structure for level in spec.levels]


def test_densities_are_those_of_the_draws(wide: xr.DataTree) -> None:
    from bayesmeta import kernel
    from bayesmeta.priors.model_priors import ModelPriors, log_prior

    spec, posterior = two_levels(), wide["posterior"]
    psi = [wide["derived"][f"psi_{name}"].values[1, 7] for name in "gh"]
    beta = posterior["beta"].values[1, 7]
    expected = kernel.loglik_per_group(spec.statistics, psi, beta)
    np.testing.assert_allclose(wide["log_likelihood"]["y"].values[1, 7], expected, rtol=1e-10)
    taus, rhos = [np.atleast_1d(posterior["tau_g"].values[1, 7]), []], [posterior["rho_g"].values[1, 7][None], []]
    blocks = log_prior(ModelPriors.from_json(wide.attrs["priors"]), spec, beta, taus, rhos)
    for name, value in blocks.items():
        assert float(wide["log_prior"][name][1, 7]) == pytest.approx(float(value), rel=1e-10)


def test_the_answer_for_bcg(simple: xr.DataTree) -> None:
    """Posterior by quadrature over tau under the same priors."""
    data = bm.datasets.load("bcg")
    y, v = data["logor"].to_numpy(), data["logorvar"].to_numpy()
    tau = np.linspace(1e-4, 4, 4000)
    w = 1 / (v + tau[:, None] ** 2)
    precision = w.sum(1) + 1.0  # beta ~ N(0, 1)
    mean = (w @ y) / precision
    log = 0.5 * np.log(w).sum(1) - 0.5 * (w @ y**2 - mean**2 * precision) - 0.5 * np.log(precision) - tau**2 / 0.5
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    beta, sd = weight @ mean, np.sqrt(weight @ (1 / precision + mean**2) - (weight @ mean) ** 2)
    posterior = simple["posterior"].to_dataset()
    assert float(posterior["beta"].mean()) == pytest.approx(beta, abs=5 * sd / np.sqrt(1000))
    assert float(posterior["beta"].std()) == pytest.approx(sd, rel=0.1)
    assert float(posterior["tau_unit"].mean()) == pytest.approx(weight @ tau, abs=0.03)


@pytest.mark.parametrize("sampler", ["pymc", "numpyro"])
def test_samplers_agree(simple: xr.DataTree, sampler: Any) -> None:
    other = bm.sample(bcg(), HALF_NORMAL, draws=600, tune=400, chains=2, random_seed=2, sampler=sampler, progress=False)
    assert other.attrs["sampler"] == sampler
    for name in ("beta", "tau_unit"):
        one, two = (tree["posterior"][name] for tree in (simple, other))
        spread = float(one.std())
        assert abs(float(one.mean() - two.mean())) < 5 * spread * np.sqrt(1 / 1000 + 1 / 300)
        assert float(two.std()) == pytest.approx(spread, rel=0.2)
    assert set(simple["sample_stats"].data_vars) >= {"diverging"} <= set(other["sample_stats"].data_vars)


def test_few_draws_are_complained_of_where_the_user_stands(simple: xr.DataTree) -> None:
    with pytest.warns(bm.ConvergenceWarning) as said:
        tree = bm.sample(bcg(), HALF_NORMAL, **SHORT)
    assert any("TOO FEW INDEPENDENT DRAWS" in str(one.message) for one in said)
    assert {one.filename for one in said} == {__file__}
    assert "TOO FEW INDEPENDENT DRAWS" in str(bm.summary(tree))
    # the seeds differ, and so do the draws
    assert not np.intersect1d(tree["posterior"]["beta"], simple["posterior"]["beta"]).size


def test_the_least_that_can_be_asked_for() -> None:
    tree = sampled(bcg(), HALF_NORMAL, draws=1, tune=1, chains=1)
    assert dict(tree["posterior"].sizes) == {"chain": 1, "draw": 1, "coef": 1}
    assert tree["diagnostics"]["r_hat"].isnull().all()


@pytest.fixture(scope="session")
def without() -> xr.DataTree:
    return sampled(two_levels(), random_effects=False)


def test_a_seed_repeats_everything_bit_for_bit(wide: xr.DataTree, without: xr.DataTree) -> None:
    assert set(wide.children) - set(without.children) == {schema.RANDOM_EFFECTS}
    for group, table in without.children.items():
        xr.testing.assert_identical(table.to_dataset(), wide[group].to_dataset())


def test_without_random_effects_the_answers_are_the_same(wide: xr.DataTree, without: xr.DataTree) -> None:
    assert bm.ranef(without).identical(bm.ranef(wide))
    xr.testing.assert_identical(bm.blup(without), bm.blup(wide))


@pytest.mark.parametrize("name", ["tree.nc", "tree.zarr"])
def test_files_answer_the_same(wide: xr.DataTree, tmp_path: Path, name: str) -> None:
    files.save({"wide": wide}, tmp_path / name)
    (again,) = files.read(tmp_path / name).values()
    assert set(again.children) == set(wide.children)
    assert str(bm.summary(again)) == str(bm.summary(wide))
    new = pd.DataFrame({"x": [0.0, 1.5]})
    asked: list[Callable[[xr.DataTree], xr.Dataset]] = [
        bm.blup,
        lambda tree: bm.predict(tree, new, interval="prediction"),
    ]
    for ask in asked:
        xr.testing.assert_identical(ask(again), ask(wide))
    again.close()


@pytest.mark.filterwarnings(FEW)
def test_without_a_random_part() -> None:
    with pytest.warns(bm.AssumptionWarning, match="this is a common-effect model"):
        tree = bm.sample(no_effects(), **SHORT)
    assert set(tree["posterior"].data_vars) == {"beta"}
    assert schema.RANDOM_EFFECTS not in tree.children
    assert set(tree["log_prior"].data_vars) == {"beta"}
    assert "bayes" in str(bm.summary(tree)).lower()


def test_a_raw_outcome_without_measure_warns() -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    with pytest.warns(bm.AssumptionWarning, match="no measure is given: default priors of beta"):
        tree = sampled(spec)
    assert "no measure is given" in str(bm.summary(tree))


def test_what_reml_cannot_identify_is_sampled_and_said() -> None:
    """One study in every district: only the sum of the two variances is in the data."""
    data = bm.datasets.load("bcg").assign(g=lambda d: [f"g{i}" for i in range(len(d))])
    with pytest.warns(bm.BoundaryWarning):
        spec = bm.specify("logor ~ 1", data.assign(h=data["g"]), S="logorvar", random="1 | g/h", measure="logor")
    tree = sampled(spec, HALF_NORMAL)
    assert {"tau_g", "tau_h"} <= set(tree["posterior"].data_vars)
    text = " ".join(str(bm.summary(tree)).split())
    assert all(" ".join(note.split()) in text for note in spec.notes)


PROGRAM = """
import sys, warnings, hashlib
import bayesmeta as bm
warnings.simplefilter("ignore")
from tests.bayes.test_sample import bcg, HALF_NORMAL, SHORT
tree = bm.sample(bcg(), HALF_NORMAL, **SHORT)
found = tree["posterior"]
print(hashlib.sha256(found["beta"].values.tobytes() + found["tau_unit"].values.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_a_seed_repeats_in_fresh_processes_with_and_without_a_cache(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).resolve().parents[2]
    found = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=root, env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    cold, warm = (each.stdout.strip().splitlines()[-1] for each in found)
    assert len(cold) == 64
    assert cold == warm
