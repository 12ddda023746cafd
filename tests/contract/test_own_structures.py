"""Structures from outside the package: right ones pass and work everywhere, mistakes are refused by name."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesmeta as bm
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.priors.closed_forms import closed_form
from bayesmeta.priors.correlations import rho_draws, rho_logp, rho_of_normal
from bayesmeta.priors.defaults import resolve
from bayesmeta.structures.base import Law, Structure, law_of

S = bm.structures


def largest(dim: int) -> float:
    return float(1 / (2 * np.cos(np.pi / (dim + 1))))


def band(dim: int) -> np.ndarray:
    return np.eye(dim, k=1) + np.eye(dim, k=-1)


def wide(matrix: np.ndarray, like: Any) -> np.ndarray:
    return matrix.reshape(*matrix.shape, *[1] * (like.ndim - 1))


class Banded:
    """A matrix I + rho K, for any symmetric K with zeros on its diagonal; neighbours by default."""

    any_order = False

    def K(self, dim: int) -> np.ndarray:
        return band(dim)

    def low(self, dim: int) -> float:
        return float(-1 / np.linalg.eigvalsh(self.K(dim))[-1])

    def high(self, dim: int) -> float:
        return float(-1 / np.linalg.eigvalsh(self.K(dim))[0])

    def matrix(self, rho: Any, dim: int) -> Any:
        return wide(np.eye(dim), rho) + rho[0] * wide(self.K(dim), rho)

    def by_rho(self, rho: np.ndarray, dim: int) -> tuple[Any, Any]:
        return wide(self.K(dim), np.asarray(rho)[None]), 0.0

    def correlation_of(self, R: np.ndarray) -> float:
        K = self.K(len(R))
        return float((K * R).sum() / (K * K).sum())


class Near(Banded, S.CompoundSymmetry):
    name = "own_near"


class Het(Banded, S.HetCompoundSymmetry):
    name, pair, members = "own_het", "", (S.Diagonal, S.Identity)


class Nothing(Structure):
    """The same with one variance, from nothing: xi are the SD and an angle."""

    name = "own_nothing"
    meaning = "one variance, and one correlation of neighbours"
    members = (S.Identity,)

    def n_free(self, dim: int) -> int:
        return 2

    def n_tau(self, dim: int) -> int:
        return 1

    def n_rho(self, dim: int) -> int:
        return 1

    def low(self, dim: int) -> float:
        return -largest(dim)

    def high(self, dim: int) -> float:
        return largest(dim)

    def labels(self, effects: Any) -> tuple[str, ...]:
        return ("sd", "angle_rho")

    def rho_position(self, dim: int) -> int | None:
        return 1

    def zero_positions(self, dim: int) -> np.ndarray:
        return np.arange(1)

    def compose(self, tau: Any, rho: Any, dim: int) -> Any:
        return tau[0] * tau[0] * (wide(np.eye(dim), tau) + rho[0] * wide(band(dim), tau))

    def psi(self, xi: Any, dim: int) -> Any:
        return self.compose(xi[:1], -largest(dim) * np.cos(xi[1:]), dim)

    def pullback(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        on, off = ((psi_bar * wide(M, xi)).sum((0, 1)) for M in (np.eye(dim), band(dim)))
        c = largest(dim)
        return np.stack([2 * xi[0] * (on - c * np.cos(xi[1]) * off), xi[0] ** 2 * c * np.sin(xi[1]) * off])

    def decompose(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        variance, edge = np.diag(psi).mean(), 0.999 * largest(len(psi))
        rho = np.diag(psi, 1).mean() / variance if variance > 0 else 0.0
        return np.array([np.sqrt(variance)]), np.clip([rho], -edge, edge)

    def start(self, moment: np.ndarray) -> np.ndarray:
        tau, rho = self.decompose(moment)
        return np.append(tau, np.arccos(-np.clip(rho / largest(len(moment)), -0.9, 0.9)))

    def units(self, effect_units: np.ndarray) -> np.ndarray:
        return np.array([np.median(effect_units), 1.0])


class Logit(Nothing):
    """With a logit in the place of the angle, which has no position then."""

    name = "own_logit"

    def rho_position(self, dim: int) -> int | None:
        return None

    def psi(self, xi: Any, dim: int) -> Any:
        return self.compose(xi[:1], largest(dim) * np.tanh(xi[1:] / 2), dim)

    def pullback(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        on, off = ((psi_bar * wide(M, xi)).sum((0, 1)) for M in (np.eye(dim), band(dim)))
        c, t = largest(dim), np.tanh(xi[1] / 2)
        return np.stack([2 * xi[0] * (on + c * t * off), xi[0] ** 2 * c * (1 - t * t) / 2 * off])

    def start(self, moment: np.ndarray) -> np.ndarray:
        tau, rho = self.decompose(moment)
        return np.append(tau, 2 * np.arctanh(np.clip(rho / largest(len(moment)), -0.9, 0.9)))


RIGHT = (Near, Het, Nothing, Logit)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(S.REGISTER)
    for family in RIGHT:
        S.register(family)
    yield
    S.REGISTER.clear()
    S.REGISTER.update(before)


def data(seed: int, tau: float = 0.5, rho: float = 0.45, dim: int = 4) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    psi, lag = tau**2 * (np.eye(dim) + rho * band(dim)), np.abs(np.subtract.outer(np.arange(dim), np.arange(dim)))
    within = np.array([rng.uniform(0.02, 0.15) * 0.6**lag for _ in range(20)])
    y = np.array([rng.multivariate_normal(np.zeros(dim), psi + each) for each in within])
    return pd.DataFrame(y, columns=[f"t{i + 1}" for i in range(dim)]), within


def specify(psi: Any, seed: int = 7, **made: float) -> bm.Spec:
    table, within = data(seed, **made)
    return bm.specify("t1 + t2 + t3 + t4 ~ 1", table, S=within, psi=psi, measure="md")


@pytest.mark.parametrize("dim", [2, 3, 4, 6])
@pytest.mark.parametrize("family", RIGHT, ids=lambda family: family.name)
def test_right_ones_pass(family: Any, dim: int) -> None:
    S.check(family(), dim)


@pytest.mark.parametrize("seed", range(8))
def test_families_of_any_matrix_pass(seed: int) -> None:
    """The limits of rho are reciprocals of eigenvalues, neither of them one."""
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(2, 6))
    root = rng.uniform(-1, 1, (dim, dim))
    made = np.tril(root, -1) + np.tril(root, -1).T
    for base in (Near, Het):
        family = type("Any", (base,), {"name": "own_any", "pair": "", "K": lambda self, dim, made=made: made})
        S.check(family(), dim)
        S.check(type("Worse", (family,), {"high": lambda self, dim, base=base: 0.95 * base.high(self, dim)})(), dim)
        with pytest.raises(bm.SpecError, match="compose is indefinite at rho"):
            S.check(type("Worse", (family,), {"high": lambda self, dim, base=base: 1.1 * base.high(self, dim)})(), dim)


@pytest.mark.parametrize("name", sorted(set(S.REGISTER) - {"prop", "cor", "fixed", "car1", "hcar1"}))
def test_families_of_the_package_pass(name: str) -> None:
    for dim in (2, 5):
        S.check(name, dim)


def wrong(base: Any = Near, **changed: Any) -> Any:
    return type("Wrong", (base,), {"name": "own_wrong", **changed})()


MISTAKES = {
    "low": (lambda: wrong(low=lambda self, dim: 1.0), "low and high are 1 and"),
    "beyond": (lambda: wrong(high=lambda self, dim: 1.0), "compose is indefinite at rho = 1"),
    "psi": (
        lambda: wrong(Nothing, psi=lambda self, xi, dim: self.compose(xi[:1], xi[1:], dim)),
        "psi has the eigenvalue",
    ),
    "part": (
        lambda: wrong(Logit, psi=lambda self, xi, dim: Logit.psi(self, np.concatenate([xi[:1], abs(xi[1:])]), dim)),
        "pullback|never comes near low",
    ),
    "shape": (
        lambda: wrong(Nothing, compose=lambda self, tau, rho, dim: np.ones(dim)),
        r"compose returns shape \(4,\)",
    ),
    "axes": (
        lambda: wrong(
            Nothing, psi=lambda self, xi, dim: xi[0] ** 2 * (np.eye(dim) - largest(dim) * np.cos(xi[1]) * band(dim))
        ),
        "psi fails: ValueError|psi returns",
    ),
    "pullback": (lambda: wrong(Nothing, pullback=lambda self, *a: 1.01 * Nothing.pullback(self, *a)), "pullback is"),
    "decompose": (
        lambda: wrong(Nothing, decompose=lambda self, psi: (Nothing.decompose(self, psi)[0], np.zeros(1))),
        "compose of the SDs|decompose of compose",
    ),
    "estimate": (
        lambda: wrong(correlation_of=lambda self, R: float(R[0].mean())),
        "decompose of compose|compose of the SDs",
    ),
    "start": (lambda: wrong(Nothing, start=lambda self, moment: np.zeros(2)), "start of the moments"),
    "slope": (lambda: wrong(by_rho=lambda self, rho, dim: (2 * band(dim), 0.0)), "pullback"),
    "variances": (
        lambda: wrong(variance_slopes=lambda self, xi, dim: np.stack([np.eye(dim), 1 - np.eye(dim)], axis=2)),
        "variance_slopes at xi .* are no derivatives of psi",
    ),
    "bends": (
        lambda: wrong(Het, variance_bends=lambda self, xi, dim: np.zeros((dim, dim, dim + 1, dim + 1))),
        "variance_bends",
    ),
    "curvature": (lambda: wrong(curvature=lambda self, *a: 2 * Near.curvature(self, *a)), "curvature is not"),
    "range": (lambda: wrong(rho_range=lambda self, *a: (-1.0, 1.0)), "rho_range of effects"),
    "prior": (lambda: wrong(lkj=lambda self, dim, eta: bm.Prior("Uniform", lower=-1, upper=1)), "lkj returns Uniform"),
    "support": (lambda: wrong(lkj=lambda self, dim, eta: Law(-0.6, eta, eta)), "lkj is a law between -0.6 and 1"),
    "angle": (lambda: wrong(Logit, rho_position=lambda self, dim: 1), "rho_position names parameter 1"),
    "members": (lambda: wrong(members=(S.AR1,)), "members has AR1"),
    "order": (lambda: wrong(any_order=True), "any_order is True"),
    "labels": (lambda: wrong(labels=lambda self, effects: ("a", "a")), "labels returns"),
    "count": (lambda: wrong(Nothing, n_rho=lambda self, dim: 2), "n_rho returns 2"),
    "units": (lambda: wrong(units=lambda self, units: np.zeros(2)), "units returns"),
    "error": (lambda: wrong(Nothing, start=lambda self, moment: moment["a"]), "start fails: IndexError"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_every_mistake_is_refused_by_the_name_of_the_method(case: str) -> None:
    made, message = MISTAKES[case]
    structure = made()
    with pytest.raises(bm.SpecError, match=message) as raised:
        S.check(structure, 4)
    assert "structure 'own_wrong' over 4 effects" in str(raised.value)
    assert "\n  " in str(raised.value)  # what to do
    S.register(type(structure))
    with pytest.raises(bm.SpecError, match="psi of level 'unit': structure 'own_wrong'"):
        specify(structure)


def test_a_class_is_examined_once_for_each_number_of_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    count = []
    family = type("Counted", (Near,), {"name": "own_counted"})
    S.register(family)
    of_family = S.Examination.run
    monkeypatch.setattr(S.Examination, "run", lambda self: (count.append(self.dim), of_family(self)))
    for _ in range(3):
        specify("own_counted")
    assert count == [4]


def test_a_class_without_a_place_in_the_register_is_refused() -> None:
    with pytest.raises(bm.SpecError, match="is not in the register"):
        specify(wrong())
    with pytest.raises(bm.SpecError, match=r"'cs' is the name of bm\.structures\.Comp"):
        S.register(type("Same", (S.CompoundSymmetry,), {"high": lambda self, dim: 0.5}))
    with pytest.raises(bm.SpecError, match="register takes a subclass"):
        S.register(dict)  # type: ignore[arg-type]


def test_ways_to_write_a_family_agree_in_fits_and_degrees_of_freedom() -> None:
    fits = [bm.fit(specify(family())) for family in (Near, Nothing, Logit)]
    summaries = [str(bm.summary(fit)) for fit in fits]
    psi = fits[0]["estimate"]["psi_unit"].values
    for fit, text in zip(fits[1:], summaries[1:], strict=True):
        assert fit["criteria"]["loglik"].item() == pytest.approx(fits[0]["criteria"]["loglik"].item(), abs=1e-8)
        np.testing.assert_allclose(fit["estimate"]["psi_unit"], psi, atol=1e-6)
        rows = [[line for line in each.splitlines() if line.startswith("beta[")] for each in (text, summaries[0])]
        assert rows[0] == rows[1]
        assert rows[0]
    table, within = data(7)
    ml = bm.fit(specify(Near()), method="ml")
    beta, psi = ml["estimate"]["beta"].values, ml["estimate"]["psi_unit"].values
    loglik = sum(stats.multivariate_normal(beta, psi + w).logpdf(y) for y, w in zip(table.values, within, strict=True))
    assert ml["criteria"]["loglik"].item() == pytest.approx(loglik, abs=1e-8)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_estimate_is_never_indefinite(seed: int) -> None:
    psi = bm.fit(specify(Near(), seed, rho=0.61, tau=0.25))["estimate"]["psi_unit"].values
    assert np.linalg.eigvalsh(psi)[0] > -1e-12
    assert abs(psi[0, 1] / psi[0, 0]) <= largest(4) + 1e-12


PRIORS = {
    "default": None,
    "lkj": bm.Prior("LKJ", eta=3.0),
    "uniform": bm.Prior("Uniform", lower=-0.6, upper=0.6),
    "normal": bm.Prior("TruncatedNormal", mu=0.2, sigma=0.3, lower=-0.6, upper=0.6),
}


def dense(structure: Structure, tau: np.ndarray, rho: np.ndarray) -> float:
    """log p(y | tau, rho) of `specify`, coefficients integrated out, from the whole covariance matrix."""
    table, within = data(7)
    psi = structure.compose(tau, rho, 4)
    blocks = np.einsum("ab,aij->aibj", np.eye(len(within)), psi + within).reshape(80, 80)
    spread = 4 * np.kron(np.ones((20, 20)), np.eye(4))  # of coefficients with SD 2
    return float(stats.multivariate_normal(np.zeros(80), blocks + spread).logpdf(np.concatenate(table.values)))


@pytest.mark.parametrize("family", [Near, Het, Nothing], ids=lambda family: family.name)
@pytest.mark.parametrize("prior", PRIORS)
def test_quadrature_and_pymc_have_the_same_log_density(family: Any, prior: str) -> None:
    spec, rng = specify(family()), np.random.default_rng(3)
    priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=2), tau=bm.priors.half_normal(1.0), rho=PRIORS[prior])
    made, structure = resolve(spec, priors), spec.levels[0].structure
    own = made.levels[0].rho
    assert own is not None
    model = bm.to_pymc(spec, priors)
    logp, point = model.compile_logp(jacobian=False), model.initial_point()
    of_beta = model.compile_fn([v for v in model.unobserved_value_vars if v.name == "beta"])
    evaluator = Evaluator(spec, made)
    u = rng.uniform(-1.5, 1.5, (3, evaluator.dim))
    half = closed_form(bm.priors.half_normal(1.0))
    assert half is not None
    by_quadrature = evaluator.log_density(u) - stats.norm.logpdf(u).sum(1)
    for n in range(3):
        tau, rho = half.of_normal(u[n, :-1]), rho_of_normal(structure, 4, own, u[n : n + 1, -1:])[:, 0]
        expected = dense(structure, tau, rho)
        assert by_quadrature[n] == pytest.approx(expected, abs=1e-8)
        values = {"tau_unit_log__": np.log(tau), "rho_unit_interval__": interval(structure, rho)}
        for name, value in values.items():
            point[name] = value.reshape(np.shape(point[name]))
        beta = np.asarray(of_beta({"beta_affine__": point["beta_affine__"]})[0])
        given_beta = sum(stats.multivariate_normal(beta, psi).logpdf(y) for y, psi in marginal(structure, tau, rho))
        given_beta += stats.norm(0, 2).logpdf(beta).sum()
        of_priors = stats.halfnorm(0, 1).logpdf(tau).sum() + float(rho_logp(structure, 4, own, rho[:, None])[0])
        assert float(logp(point)) == pytest.approx(given_beta + of_priors, abs=1e-8)


def marginal(structure: Structure, tau: np.ndarray, rho: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Outcomes of every study of `specify`, and their covariance matrix."""
    table, within = data(7)
    yield from zip(table.values, structure.compose(tau, rho, 4) + within, strict=True)


def interval(structure: Structure, rho: np.ndarray) -> np.ndarray:
    law = law_of(structure, 4, 1.0)
    assert law is not None
    return np.log((rho - law.low) / (law.high - rho))


def test_draws_stay_in_the_family_and_quadrature_finds_the_grid() -> None:
    """The posterior mean of rho beside a dense grid over the SD and rho."""
    spec = specify(Near())
    priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=2), tau=bm.priors.half_normal(1.0))
    post = bm.sample(spec, priors, random_seed=1)
    assert post.attrs["sampler"] == "quadrature"
    rho = post["posterior"]["rho_unit"].values
    assert np.abs(rho).max() < largest(4)
    taus, rhos = np.linspace(0.2, 0.9, 20), np.linspace(-0.617, 0.617, 21)
    law = rho_logp(Near(), 4, bm.Prior("LKJ", eta=2.0), rhos[None])
    logs = np.array([[dense(Near(), np.array([t]), np.array([r])) - t * t / 2 for r in rhos] for t in taus]) + law
    weights = np.exp(logs - logs.max())
    mean = (weights * rhos).sum() / weights.sum()
    assert rho.mean() == pytest.approx(mean, abs=0.02)


def test_the_law_by_default_is_proper_and_is_drawn_from() -> None:
    rng = np.random.default_rng(5)
    for structure, dim in ((Near(), 4), (Nothing(), 5), (wrong(lkj=lambda self, dim, eta: None), 3)):
        low, high = structure.low(dim), structure.high(dim)
        x = np.linspace(low, high, 20_001)[1:-1]
        for eta in (1.0, 2.5):
            prior = bm.Prior("LKJ", eta=eta)
            density = np.exp(rho_logp(structure, dim, prior, x[None]))
            assert np.trapezoid(density, x) == pytest.approx(1, abs=1e-3)
            drawn = rho_draws(structure, dim, prior, 4_000, rng)[0]
            law = stats.beta(eta, eta, low, high - low)
            assert stats.kstest(drawn, law.cdf).pvalue > 1e-4
    two = rho_logp(Near(), 2, bm.Prior("LKJ", eta=2.0), np.array([[0.3]]))
    assert two == pytest.approx(rho_logp(S.CompoundSymmetry(), 2, bm.Prior("LKJ", eta=2.0), np.array([[0.3]])))


def test_a_prior_beyond_the_range_is_refused_with_the_range() -> None:
    with pytest.raises(bm.SpecError, match=r"lie between -0.618 and 0.618"):
        bm.to_pymc(specify(Near()), bm.Priors(rho=bm.Prior("Uniform", lower=-1, upper=1)))


MODULE = """
import sys
sys.path.insert(0, {root!r})
from tests.contract.test_own_structures import Near
import bayesmeta as bm
{register}
print(bm.load("fit.nc").attrs["psi"])
"""


def test_a_file_opens_where_the_class_is_registered_and_says_so_where_not(tmp_path: Path) -> None:
    bm.fit(specify("own_near")).to_netcdf(tmp_path / "fit.nc")
    root = str(Path(__file__).parents[2])
    script = MODULE.format(root=root, register="bm.structures.register(Near)")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "own_near" in done.stdout
    del S.REGISTER["own_near"]
    with pytest.raises(bm.DataError, match="structure 'own_near' is not registered here") as raised:
        bm.load(tmp_path / "fit.nc")
    assert "import the module that defines its class" in str(raised.value)
    assert "damaged" not in str(raised.value)


class Trend(bm.structures.HetCompoundSymmetry):
    """Parameters of another kind in the place of SDs."""

    name = "trend of parameters"

    def decompose(self, psi):
        tau, rho = super().decompose(psi)
        return np.array([tau[0], *(tau[1:] - tau[0])]), rho


def test_as_many_tau_as_effects_are_their_sds():
    with pytest.raises(bm.SpecError, match="decompose of a matrix with the SDs"):
        bm.structures.check(Trend(), 3)


class Breaks(bm.structures.CompoundSymmetry):
    """A matrix that is not finite where rho is large."""

    name = "breaks"

    def compose(self, tau, rho, dim):
        psi = super().compose(tau, rho, dim)
        return np.where(rho > 0.5, np.nan, psi)


class Endless(bm.structures.CompoundSymmetry):
    name = "endless"

    def high(self, dim):
        return np.inf


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Breaks(), "compose is not finite at rho = 0.5"),
        (Endless(), "low and high are -0.5 and inf\n  they must"),
    ],
)
def test_what_is_not_finite_is_refused_in_words(structure, message):
    with pytest.raises(bm.SpecError, match=message):
        bm.structures.check(structure, 3)
