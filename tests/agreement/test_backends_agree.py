"""PyMC's densities against the kernel's and against full matrices, for every structure in the register."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
from pytensor.graph.traversal import ancestors

import bayesmeta as bm
from bayesmeta import kernel
from bayesmeta.bayes.observed import Blocks, draw_y
from bayesmeta.bayes.pymc_model import WHICH, build, posterior_names, to_pymc
from bayesmeta.bayes.vicinity import Vicinity
from bayesmeta.errors import SpecError
from bayesmeta.model.spec import FloatArray, Spec
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.distributions import _plain_mode
from bayesmeta.priors.model_priors import ModelPriors, log_prior
from bayesmeta.structures import REGISTER
from bayesmeta.structures.base import Structure
from bayesmeta.structures.known import WithMatrix
from tests.support import dense
from tests.support.kernel_calls import assert_close

NAMES = sorted(REGISTER)
LEVELS = ("region", "lab", "team")
CASES = list(product(NAMES, (1, 2, 3)))

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.errors.BoundaryWarning")


def make(name: str, dim: int, rng: np.random.Generator) -> Structure:
    """A structure of the register, with a random matrix, or uneven positions, where it takes them."""
    if "positions" in REGISTER[name].arguments:
        return REGISTER[name](positions=np.cumsum(rng.gamma(1.0, 2.0, dim) + 0.1))
    if not issubclass(REGISTER[name], WithMatrix):
        return REGISTER[name]()
    root = rng.normal(size=(dim, dim + 1))
    return REGISTER[name](0.2 * root @ root.T)


@lru_cache
def make_spec(name: str, n_levels: int, m: int = 6, seed: int = 0) -> Spec:
    """Missing outcomes, and S that couples rows of an outer group; one level has the structure, others have others."""
    rng = np.random.default_rng([seed, n_levels, NAMES.index(name)])
    k, n = (3 if n_levels == 1 else 2), 5 * m
    outcomes = ["A", "B", "C"][:k]
    y = rng.normal(size=(n, k))
    y[rng.random((n, k)) < 0.2] = np.nan
    y[:, 0] = rng.normal(size=n)
    codes = np.arange(n) // 5, np.arange(n) // 2 % 2, rng.integers(0, 2, n)
    columns = {"x": rng.normal(1.0, 1.0, n), "base": rng.normal(size=n)} | dict(zip(LEVELS, codes, strict=True))
    frame = pd.DataFrame(dict(zip(outcomes, y.T, strict=True)) | columns)
    psi = {level: make("unstr" if i else "id", k, rng) for i, level in enumerate(LEVELS[:n_levels])}
    psi[LEVELS[NAMES.index(name) % n_levels]] = make(name, k, rng)
    return bm.specify(
        f"{' + '.join(outcomes)} ~ x",
        frame.sample(frac=1.0, random_state=seed),
        S={str(g): covariance(rng, 5 * k) for g in range(m)},
        random="1 | " + "/".join(LEVELS[:n_levels]),
        psi=psi,
        offset="base",
        measure="smd",
    )


def covariance(rng: np.random.Generator, n: int) -> FloatArray:
    """Some rows coupled, and others alone."""
    S = np.diag(rng.uniform(0.1, 0.4, n))
    coupled = rng.permutation(n)[: int(rng.integers(0, n // 2))]
    root = rng.normal(0, 0.3, (len(coupled), 2))
    S[np.ix_(coupled, coupled)] += root @ root.T
    return S


def dense_model(spec: Spec, psi: Sequence[FloatArray], y: FloatArray | None = None) -> dense.Model:
    S = np.zeros((len(spec.y),) * 2)
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    Z, groups = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    return dense.Model((spec.y if y is None else y) - spec.offset, spec.X, Z, groups, S, list(psi))


@dataclass(frozen=True)
class Compiled:
    """A model's densities as one function of what a sampler moves."""

    spec: Spec
    model: pm.Model
    function: Callable[..., list[FloatArray]]
    wanted: tuple[str, ...]

    def __call__(self, point: Sequence[FloatArray]) -> dict[str, Any]:
        """The wanted outputs, and beta, tau and rho of every level."""
        found = self.function(*point)
        n = len(self.wanted)
        values = dict(
            zip([v.name for v in (*self.model.free_RVs, *self.model.deterministics)], found[n:], strict=False)
        )
        none = np.zeros(0)
        named = {
            kind: [np.atleast_1d(values.get(f"{kind}_{level.name}", none)) for level in self.spec.levels]
            for kind in ("tau", "rho")
        }
        return dict(zip(self.wanted, found, strict=False)) | named | {"beta": values["beta"], "values": values}

    def psi(self, found: dict[str, Any]) -> list[FloatArray]:
        parts = zip(self.spec.levels, found["tau"], found["rho"], strict=True)
        return [level.structure.compose(tau, rho, level.dim) for level, tau, rho in parts]

    def point(self, seed: int) -> list[FloatArray]:
        """Values of the right sizes; all are allowed."""
        rng = np.random.default_rng(seed)
        sizes = {"beta": len(self.spec.coef)}
        for level in self.spec.levels:
            d = level.dim
            sizes |= {f"tau_{level.name}": level.structure.n_tau(d), f"rho_{level.name}": level.structure.n_rho(d)}
            sizes |= {f"chol_{level.name}": d * (d - 1) // 2, f"z_{level.name}": level.n_groups * d}
        names = {self.model.rvs_to_values[rv]: rv.name for rv in self.model.free_RVs}
        drawn = [rng.normal(0, 0.7, sizes[names[v]]) for v in self.model.continuous_value_vars]
        shapes = [
            (-1, self.spec.levels[0].dim) if v.ndim == 2 else (-1,) * v.ndim for v in self.model.continuous_value_vars
        ]
        return [values.reshape(shape) for values, shape in zip(drawn, shapes, strict=True)]


def compiled(spec: Spec, model: pm.Model, **outputs: Any) -> Compiled:
    shown = model.replace_rvs_by_values([*model.free_RVs, *model.deterministics])
    function = pytensor.function(
        model.continuous_value_vars, [*outputs.values(), *shown], mode=_plain_mode(), on_unused_input="ignore"
    )
    return Compiled(spec, model, function, tuple(outputs))


def somewhere(spec: Spec) -> Vicinity:
    """Any coordinates for beta: the densities do not depend on them, and a REML fit costs more than all else here."""
    rng, P = np.random.default_rng(1), len(spec.coef)
    factor = np.tril(rng.normal(0, 0.2, (P, P)), -1) + np.diag(rng.uniform(0.5, 1.0, P))
    return Vicinity(rng.normal(size=P), factor, (), ())


@lru_cache
def agreement(name: str, n_levels: int) -> Compiled:
    """Log-likelihood by outer group, its gradient by what the sampler moves, and the log prior without Jacobians."""
    spec = make_spec(name, n_levels)
    model = build(spec, [resolve(spec)], somewhere(spec))
    (loglik,) = model.logp(vars=[model["y"]], sum=False)
    prior = sum(term.sum() for term in model.logp(vars=model.free_RVs, sum=False, jacobian=False))
    weights = np.random.default_rng(5).normal(size=spec.levels[0].n_groups)
    slopes = pytensor.grad((loglik * weights).sum(), model.continuous_value_vars)
    slope = pytensor.tensor.concatenate([pytensor.tensor.flatten(part) for part in slopes])
    return compiled(spec, model, loglik=loglik, prior=prior, slope=slope)


@pytest.mark.parametrize(("name", "n_levels"), CASES)
def test_loglik_of_every_outer_group(name: str, n_levels: int) -> None:
    both = agreement(name, n_levels)
    for seed in range(3):
        found = both(both.point(seed))
        psi = both.psi(found)
        expected = dense.loglik_per_group(dense_model(both.spec, psi), found["beta"])
        np.testing.assert_allclose(found["loglik"], expected, rtol=1e-9, atol=1e-9)
        of_kernel = kernel.loglik_per_group(both.spec.statistics, psi, found["beta"])
        np.testing.assert_allclose(of_kernel, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "n_levels"), CASES)
def test_gradient(name: str, n_levels: int) -> None:
    both = agreement(name, n_levels)
    point = both.point(7)
    weights = np.random.default_rng(5).normal(size=both.spec.levels[0].n_groups)
    sizes = [part.size for part in point]

    def moved(step: FloatArray) -> list[FloatArray]:
        parts = np.split(step, np.cumsum(sizes)[:-1])
        return [value + part.reshape(value.shape) for value, part in zip(point, parts, strict=True)]

    def along(step: FloatArray) -> float:
        found = both(moved(step))
        return float(weights @ kernel.loglik_per_group(both.spec.statistics, both.psi(found), found["beta"]))

    h, total = 1e-3, sum(sizes)
    expected = [(8 * (along(e) - along(-e)) - (along(2 * e) - along(-2 * e))) / (12 * h) for e in h * np.eye(total)]
    assert_close(both(point)["slope"], np.array(expected), 1e-7)


@pytest.mark.parametrize(("name", "n_levels"), CASES)
def test_log_prior(name: str, n_levels: int) -> None:
    both = agreement(name, n_levels)
    given = resolve(both.spec)
    for seed in range(3):
        found = both(both.point(seed))
        taus, rhos = found["tau"], found["rho"]
        blocks = log_prior(given, both.spec, found["beta"], taus, rhos)
        assert found["prior"] == pytest.approx(
            sum(map(float, blocks.values())) + of_cholesky(both.spec, rhos), rel=1e-8
        )


def of_cholesky(spec: Spec, rhos: Sequence[FloatArray]) -> float:
    """Log density of the Cholesky factors of correlations over that of the correlations: |d R / d L|."""
    total = 0.0
    for level, rho in zip(spec.levels, rhos, strict=True):
        if len(rho) > 1:
            L = np.linalg.cholesky(level.structure.compose(np.ones(level.dim), rho, level.dim))
            total += float(np.arange(level.dim - 1, -1, -1) @ np.log(np.diag(L)))
    return total


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_does_not_grow_with_the_groups(name: str) -> None:
    def size(m: int) -> int:
        spec = make_spec(name, 2, m)
        model = build(spec, [resolve(spec)], somewhere(spec))
        return sum(1 for v in ancestors([model.logp()]) if v.owner is not None)

    assert size(10) == size(1000)


def other_values(spec: Spec, seed: int = 3) -> FloatArray:
    return spec.y + np.random.default_rng(seed).normal(size=len(spec.y))


@pytest.mark.parametrize("parameterization", ["marginal", "noncentered"])
def test_other_values_of_y(parameterization: Any) -> None:
    """Observed in place of those of the specification: a clone of the model, and its density of given values."""
    spec = make_spec("hcs", 2)
    model = build(spec, [resolve(spec)], somewhere(spec), parameterization)
    y = other_values(spec)
    table = Blocks.of(spec).spread(y)
    replaced = pm.observe(model, {"y": table})
    (loglik,) = replaced.logp(vars=[replaced["y"]], sum=False)
    both = compiled(spec, replaced, loglik=loglik)
    found = both(both.point(1))
    np.testing.assert_allclose(found["loglik"], of_values(both, found, y), rtol=1e-9, atol=1e-9)
    given = pytensor.tensor.dmatrix("given")
    later = pytensor.function(
        [given, *model.free_RVs], pm.logp(model["y"], given), mode=_plain_mode(), on_unused_input="ignore"
    )
    for values in (y, spec.y):
        free = [found["values"][rv.name] for rv in model.free_RVs]
        np.testing.assert_allclose(
            later(Blocks.of(spec).spread(values), *free), of_values(both, found, values), rtol=1e-9, atol=1e-9
        )


def of_values(both: Compiled, found: dict[str, Any], y: FloatArray) -> FloatArray:
    """Log-likelihood of y by outer group, given the random effects where the model has them."""
    spec, psi, beta = both.spec, both.psi(found), found["beta"]
    if not any(name.startswith("b_") for name in found["values"]):
        return dense.loglik_per_group(dense_model(spec, psi, y), beta)
    for level in spec.levels:
        y = y - (found["values"][f"b_{level.name}"][level.index] * level.Z).sum(1)
    return dense.loglik_per_group(dense_model(spec, [0 * p for p in psi], y), beta)


@pytest.mark.parametrize("name", NAMES)
def test_given_explicit_random_effects(name: str) -> None:
    spec = make_spec(name, 1 if name == "unstr" else 3)
    model = build(spec, [resolve(spec)], somewhere(spec), "noncentered")
    (loglik,) = model.logp(vars=[model["y"]], sum=False)
    both = compiled(spec, model, loglik=loglik)
    point = both.point(2)
    found = both(point)
    np.testing.assert_allclose(found["loglik"], of_values(both, found, spec.y), rtol=1e-9, atol=1e-9)
    for level, psi in zip(spec.levels, both.psi(found), strict=True):
        z, b = (found["values"][f"{kind}_{level.name}"] for kind in "zb")
        assert b.shape == (level.n_groups, level.dim)
        if level.structure.n_rho(level.dim):
            assert_close(b.T, np.linalg.cholesky(psi) @ z.T)


@pytest.mark.parametrize("name", ["fixed", "prop", "cor"])
def test_explicit_random_effects_with_a_singular_matrix(name: str) -> None:
    matrix = {"fixed": [[0.0, 0.0], [0.0, 0.3]], "prop": [[1.0, 2.0], [2.0, 4.0]], "cor": [[1.0, -1.0], [-1.0, 1.0]]}
    spec = make_spec("id", 2)
    level = replace(spec.levels[0], structure=REGISTER[name](matrix[name]))  # type: ignore[call-arg]
    spec = replace(spec, levels=(level, *spec.levels[1:]))
    model = build(spec, [resolve(spec)], somewhere(spec), "noncentered")
    both = compiled(spec, model)
    drawn = [both(both.point(seed)) for seed in range(5)]
    for found in drawn:
        psi = both.psi(found)[0]
        z, b = (found["values"][f"{kind}_region"] for kind in "zb")
        F = np.linalg.lstsq(z, b, rcond=None)[0].T
        assert_close(F @ F.T, psi)


def alternatives(spec: Spec) -> list[ModelPriors]:
    """Defaults, which are on centred coefficients; families that differ within a block; one family."""
    rho = {v.name: bm.Prior("LKJ", eta=3.5) for v in spec.levels if v.structure.n_rho(v.dim)}
    tau = bm.Prior("LogStudentT", nu=5, mu=-1.0, sigma=0.7)
    beta = {"A.x": bm.Prior("StudentT", nu=4, mu=0.1, sigma=0.5), "B.x": bm.Prior("Flat")}
    normal = bm.Prior("Normal", mu=1, sigma=2)
    given = [None, bm.Priors(beta=beta, tau=tau, rho=rho), bm.Priors(beta=normal, tau=bm.priors.half_normal(0.3))]
    return [resolve(spec, priors) for priors in given]


@pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning")
@pytest.mark.parametrize(("name", "n_levels"), [("hcs", 2), ("unstr", 1), ("cs", 3), ("id", 1)])
def test_a_shared_variable_chooses_among_priors(name: str, n_levels: int) -> None:
    spec = make_spec(name, n_levels)
    given = alternatives(spec)
    model = build(spec, given, somewhere(spec))
    prior = sum(term.sum() for term in model.logp(vars=model.free_RVs, sum=False, jacobian=False))
    both = compiled(spec, model, prior=prior)
    (which,) = {v for v in ancestors([prior]) if v.name == WHICH}
    point = both.point(4)
    for i, priors in [*enumerate(given), (0, given[0])]:
        which.set_value(np.int64(i))
        found = both(point)
        blocks = log_prior(priors, spec, found["beta"], found["tau"], found["rho"])
        expected = sum(map(float, blocks.values())) + of_cholesky(spec, found["rho"])
        assert found["prior"] == pytest.approx(expected, rel=1e-8)


@pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning")
@pytest.mark.parametrize("which", [1, 2])
def test_log_prior_of_one_set_of_given_priors(which: int) -> None:
    spec = make_spec("hcs", 1)
    priors = alternatives(spec)[which]
    model = build(spec, [priors], somewhere(spec))
    prior = sum(term.sum() for term in model.logp(vars=model.free_RVs, sum=False, jacobian=False))
    both = compiled(spec, model, prior=prior)
    found = both(both.point(4))
    blocks = log_prior(priors, spec, found["beta"], found["tau"], found["rho"])
    assert found["prior"] == pytest.approx(sum(map(float, blocks.values())), rel=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_the_posterior_has_no_constants(name: str) -> None:
    spec = make_spec(name, 1)
    structure, dim = spec.levels[0].structure, spec.levels[0].dim
    expected = ["beta", *["tau_region"] * bool(structure.n_tau(dim)), *["rho_region"] * bool(structure.n_rho(dim))]
    assert posterior_names(spec) == expected
    model = build(spec, [resolve(spec)], somewhere(spec))
    assert {*posterior_names(spec)} <= {v.name for v in (*model.free_RVs, *model.deterministics)}


def test_predictive_draws_of_y() -> None:
    """Fixed beta and Psi: the draws have the mean and the covariance of the model, and its prior's shape."""
    spec = make_spec("fixed", 1)
    psi = [level.structure.compose(np.zeros(0), np.zeros(0), level.dim) for level in spec.levels]
    given = resolve(spec, bm.Priors(beta=bm.Prior("Normal", mu=0.5, sigma=1e-6)))
    model = build(spec, [given], somewhere(spec))
    with model:
        drawn = pm.sample_prior_predictive(2000, random_seed=1, compile_kwargs={"mode": _plain_mode()})
    y = drawn["prior_predictive"]["y"]
    blocks = Blocks.of(spec)
    assert y.dims == ("chain", "draw", "group_region", "within")
    assert y.shape == (1, 2000, *blocks.index.shape)
    assert (y.values[..., blocks.filled] == 0).all()
    values = y.values[0, :, blocks.row, blocks.place].T
    expected = dense.marginal_covariance(dense_model(spec, psi))
    sd = np.sqrt(np.diag(expected))
    mean = spec.offset + spec.X.sum(1) * 0.5
    assert (np.abs(values.mean(0) - mean) / sd).max() < 4.5 / np.sqrt(2000)
    error = (np.cov(values.T) - expected) / np.outer(sd, sd)
    assert np.abs(error).max() < 5.5 / np.sqrt(2000)


def test_draws_of_y_at_a_point() -> None:
    spec = make_spec("hcs", 3)
    psi = [np.eye(2) * 0.3, np.full((2, 2), 0.2), np.zeros((2, 2))]
    rng = np.random.default_rng(0)
    values = np.array([draw_y(spec, np.zeros(len(spec.coef)), psi, rng) for _ in range(1000)])
    expected = dense.marginal_covariance(dense_model(spec, psi))
    sd = np.sqrt(np.diag(expected))
    assert np.abs((np.cov(values.T) - expected) / np.outer(sd, sd)).max() < 5.5 / np.sqrt(1000)


def test_parameterization_is_checked() -> None:
    spec = make_spec("id", 1)
    with pytest.raises(SpecError, match="parameterization is 'noncentred'; did you mean 'noncentered'"):
        to_pymc(spec, parameterization="noncentred")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"to_pymc takes a specification from bm.specify, not a dict"):
        to_pymc({})  # type: ignore[arg-type]


def test_the_model_by_its_public_name() -> None:
    spec = make_spec("id", 1)
    model = bm.to_pymc(spec)
    assert [rv.name for rv in model.free_RVs] == ["beta", "tau_region"]
    assert list(model.coords["coef"]) == list(spec.coef)
    assert list(model.coords["group_region"]) == spec.coords["group_region"].tolist()
