"""`to_pymc`: from a specification and priors to a PyMC model with the random effects integrated out, or explicit."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.distributions.transforms import Interval
from pymc.logprob.transforms import Transform

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.bayes.observed import WITHIN, Blocks, explicit_likelihood, marginal_likelihood
from bayesmeta.bayes.posterior import rho_dim, tau_dim
from bayesmeta.bayes.vicinity import Vicinity, vicinity
from bayesmeta.model.spec import Level, Spec, check_spec
from bayesmeta.priors.correlations import rho_draws
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.distributions import draws, families, logp_graph
from bayesmeta.priors.model_priors import BETA, LevelPriors, ModelPriors, prior_draws
from bayesmeta.structures.base import Law, law_of

if TYPE_CHECKING:
    from bayesmeta.priors.prior import Prior, Priors

Parameterization = Literal["marginal", "noncentered"]
WHICH = "prior"  # shared variable: which of several sets of priors is in force


def to_pymc(spec: Spec, priors: "Priors | None" = None, parameterization: Parameterization = "marginal") -> pm.Model:
    """The specification as a PyMC model, to look at, to extend, or to sample from by PyMC's own means.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`.
    priors : Priors, optional
        Priors of some or all parameters; by default those of `bm.sample`.
    parameterization : {"marginal", "noncentered"}, default "marginal"
        "marginal", random effects integrated out, S as data: the posterior has no funnel and one evaluation costs the
        same whatever the number of rows. "noncentered", with explicit random effects `b_L`, made of independent
        standard normal `z_L`, for models that go on from them; it mixes slower.

    Returns
    -------
    pymc.Model
        With variables `beta` (coef), and for each level L `tau_L` and `rho_L`, as `bm.sample` returns them; behind
        `rho_L` of unstructured levels of three effects and more stands `chol_L`, the Cholesky factor of correlations.
        The observed `y` (group_L of the outer level, within) has one row for each outer group, filled up with zeros.
        The sampler moves `beta` in coordinates in which the REML estimate has unit covariance, whatever the units of
        the predictors.

    Raises
    ------
    SpecError
        For priors that do not fit the model, and an unknown parameterization.

    Notes
    -----
    Psi is composed of SDs and correlations with separate priors; its Cholesky factor is never a parameter, because the
    posterior then mixes badly near zero without a sign of it. The marginal likelihood has first derivatives only. For
    samplers on JAX import jax first, or use `bm.sample(..., sampler="numpyro")`.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", measure="smd")
    >>> [variable.name for variable in bm.to_pymc(spec).basic_RVs]
    ['beta', 'tau_district', 'tau_study', 'y']
    """
    check_spec(spec, "to_pymc")
    check_choice(parameterization, get_args(Parameterization), "parameterization")
    return build(spec, [resolve(spec, priors)], vicinity(spec), parameterization)


def build(
    spec: Spec,
    alternatives: Sequence[ModelPriors],
    near: Vicinity,
    parameterization: Parameterization = "marginal",
) -> pm.Model:
    """One model for several sets of priors; the shared variable `prior` of the model says which is in force."""
    blocks = Blocks.of(spec)
    with pm.Model(coords=_coords(spec, blocks)) as model:
        which = pytensor.shared(np.int64(0), name=WHICH)
        beta = _beta(spec, alternatives, near, which)
        psi = [
            _level(level, [priors.levels[i] for priors in alternatives], which) for i, level in enumerate(spec.levels)
        ]
        if parameterization == "marginal":
            marginal_likelihood(spec, blocks, beta, psi)
        else:
            explicit_likelihood(spec, blocks, beta, psi)
    return model


def posterior_names(spec: Spec) -> list[str]:
    """The variables of the posterior: coefficients, SDs and correlations."""
    names = [BETA]
    for level in spec.levels:
        names += [schema.tau(level.name)] if level.structure.n_tau(level.dim) else []
        names += [schema.rho(level.name)] if level.structure.n_rho(level.dim) else []
    return names


def _coords(spec: Spec, blocks: Blocks) -> dict[str, list[str] | range]:
    coords: dict[str, list[str] | range] = {schema.COEF: list(spec.coef), WITHIN: range(blocks.index.shape[1])}
    for level in spec.levels:
        for dim in (schema.group(level.name), schema.effect(level.name), schema.pair(level.name)):
            coords[dim] = spec.coords[dim].tolist()
    return coords


class Affine(Transform):
    """beta = centre + scale v, scale lower triangular: the sampler moves v."""

    name = "affine"
    ndim_supp = 1

    def __init__(self, centre: FloatArray, scale: FloatArray) -> None:
        self.centre, self.scale = centre, scale
        self.inverse = np.linalg.inv(scale)

    def forward(self, value: Any, *inputs: Any) -> Any:
        return pt.dot(self.inverse, value - self.centre)

    def backward(self, value: Any, *inputs: Any) -> Any:
        return self.centre + pt.dot(self.scale, value)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        return pt.constant(np.log(np.diag(self.scale)).sum())


class VectorLog(Transform):
    """Logarithms of a vector that has one density as a whole."""

    name = "log"
    ndim_supp = 1

    def forward(self, value: Any, *inputs: Any) -> Any:
        return pt.log(value)

    def backward(self, value: Any, *inputs: Any) -> Any:
        return pt.exp(value)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        return value.sum(-1)


def _beta(spec: Spec, alternatives: Sequence[ModelPriors], near: Vicinity, which: Any) -> Any:
    transform = Affine(near.beta, near.beta_factor)
    centred = any((priors.centring != np.eye(len(priors.beta))).any() for priors in alternatives)
    if len(alternatives) == 1 and not centred and (family := _one_family(alternatives[0].beta)):
        return _vector(BETA, family, alternatives[0].beta, schema.COEF, transform=transform)
    densities = [_joint(priors.beta, priors.centring) for priors in alternatives]

    def random(which: Any, *like: Any, rng: Any = None, size: Any = None) -> FloatArray:
        return prior_draws(alternatives[int(which)], spec, 1, rng)[0][0]

    return _custom(BETA, which, densities, random, schema.COEF, transform)


def _level(level: Level, alternatives: Sequence[LevelPriors], which: Any) -> Any:
    """Psi of a level, of SDs and correlations with their priors."""
    structure, dim = level.structure, level.dim
    tau = _tau(level, alternatives, which) if structure.n_tau(dim) else pt.zeros(0)
    rho = _rho(level, alternatives, which) if structure.n_rho(dim) else pt.zeros(0)
    return structure.compose(pt.atleast_1d(tau), pt.atleast_1d(rho), dim)


def _tau(level: Level, alternatives: Sequence[LevelPriors], which: Any) -> Any:
    name, dim = schema.tau(level.name), tau_dim(level)
    if len(alternatives) == 1 and (family := _one_family(alternatives[0].tau)):
        return _vector(name, family, alternatives[0].tau, dim)
    densities = [_joint(priors.tau) for priors in alternatives]

    def random(which: Any, *like: Any, rng: Any = None, size: Any = None) -> FloatArray:
        return np.array([draws(prior, (), rng) for prior in alternatives[int(which)].tau]).reshape(-1)

    if dim is None:
        return _custom(
            name, which, densities, lambda *a, **k: random(*a, **k)[0], None, pm.distributions.transforms.log, 1.0
        )
    return _custom(name, which, densities, random, dim, VectorLog(), 1.0)


def chol_name(level: Level) -> str:
    """The variable behind the correlations of an unstructured level of three effects and more."""
    return f"chol_{level.name}"


def _rho(level: Level, alternatives: Sequence[LevelPriors], which: Any) -> Any:
    structure, dim = level.structure, level.dim
    priors = [prior for each in alternatives if (prior := each.rho) is not None]
    if structure.n_rho(dim) > 1:
        eta = pt.constant(np.array([prior.params["eta"] for prior in priors]))[which]
        chol = pm.LKJCorr(chol_name(level), n=dim, eta=eta if len(priors) > 1 else priors[0].params["eta"])
        row, col = np.triu_indices(dim, k=1)
        return pm.Deterministic(schema.rho(level.name), (chol @ chol.T)[row, col], dims=schema.pair(level.name))
    limits = law_of(structure, dim, 1.0)
    assert limits is not None  # what has one correlation has its law
    low, high, middle = limits.low, limits.high, (limits.low + limits.high) / 2
    densities = [_one_rho(prior, law_of(structure, dim, prior.params.get("eta", 1.0))) for prior in priors]

    def random(which: Any, *like: Any, rng: Any = None, size: Any = None) -> FloatArray:
        return rho_draws(structure, dim, priors[int(which)], 1, rng)[0].reshape(1 if rho_dim(level) else ())

    name, transform = schema.rho(level.name), Interval(low, high)
    if rho_dim(level):
        inside = [lambda value, density=density: density(value[0]) for density in densities]
        return _custom(name, which, inside, random, rho_dim(level), VectorInterval(low, high), middle)
    return _custom(name, which, densities, random, None, transform, middle)


class VectorInterval(Transform):
    """The logit of the place of a vector of one correlation in (low, high)."""

    name = "interval"
    ndim_supp = 1

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def forward(self, value: Any, *inputs: Any) -> Any:
        return pt.log(value - self.low) - pt.log(self.high - value)

    def backward(self, value: Any, *inputs: Any) -> Any:
        return self.low + (self.high - self.low) * pt.sigmoid(value)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        return (np.log(self.high - self.low) - pt.softplus(-value) - pt.softplus(value)).sum(-1)


def _one_family(priors: Sequence["Prior"]) -> Any:
    """PyMC's class when all priors are of one family with the same parameters given; None otherwise."""
    kinds = {(prior.name, tuple(prior.params)) for prior in priors}
    return families().get(priors[0].name) if len(kinds) == 1 else None


def _vector(name: str, family: Any, priors: Sequence["Prior"], dim: str | None, **options: Any) -> Any:
    """Priors of one family as one variable of PyMC."""
    params = {key: np.array([prior.params[key] for prior in priors]) for key in priors[0].params}
    if dim is None:
        return family(name, **{key: value[0] for key, value in params.items()}, **options)
    return family(name, **params, dims=dim, **options)


def _custom(
    name: str,
    which: Any,
    densities: Sequence[Callable[[Any], Any]],
    random: Any,
    dim: str | None,
    transform: Any,
    start: float = 0.0,
) -> Any:
    """A variable with one density as a whole, chosen among several by the shared `which`.

    start : inside its range, where PyMC's own samplers begin unless they are told otherwise.
    """

    def logp(value: Any, which: Any, *like: Any) -> Any:
        logps = [density(value) for density in densities]
        return logps[0] if len(logps) == 1 else pt.stack(logps)[which]

    # a vector's length is read off a parameter of its own
    like = [] if dim is None else [np.zeros(int(pm.modelcontext(None).dim_lengths[dim].eval()))]
    signature = "()->()" if dim is None else "(),(n)->(n)"
    return pm.CustomDist(
        name,
        which,
        *like,
        logp=logp,
        random=random,
        support_point=lambda variable, *_: pt.full_like(variable, start),
        signature=signature,
        dims=dim,
        transform=transform,
    )


def _joint(priors: Sequence["Prior"], centring: FloatArray | None = None) -> Callable[[Any], Any]:
    """Sum of the log-densities of the entries of a vector, or of centring @ vector; of a number where that is all."""

    def density(value: Any) -> Any:
        theta = pt.atleast_1d(value) if centring is None else pt.dot(centring, value)
        return sum((logp_graph(prior, theta[j]) for j, prior in enumerate(priors)), pt.constant(0.0))

    return density


def _one_rho(prior: "Prior", law: Law | None) -> Callable[[Any], Any]:
    if prior.name != "LKJ" or law is None:
        return lambda rho: logp_graph(prior, rho)
    share = pm.Beta.dist(np.array(law.alpha), np.array(law.beta))
    width, power = law.high - law.low, law.power
    if power == 1:
        return lambda rho: pm.logp(share, (rho - law.low) / width) - np.log(width)

    def density(rho: Any) -> Any:
        log = pt.log((rho - law.low) / width)
        return pm.logp(share, pt.exp(power * log)) + np.log(power) + (power - 1) * log - np.log(width)

    return density
