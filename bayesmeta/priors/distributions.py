"""Densities and draws of priors: in closed form where that is known here, else by PyMC, which no other file loads."""

from functools import cache, lru_cache
from importlib.util import find_spec
from inspect import signature
from typing import Any

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_bayes, check_name, did_you_mean, listing
from bayesmeta.errors import SpecError
from bayesmeta.priors.closed_forms import FORMS, closed_form
from bayesmeta.priors.prior import Prior

OWN = {"LKJ": ("eta",), "LogStudentT": ("nu", "mu", "sigma")}
POSITIVE = {"eta", "nu", "sigma"}  # parameters of our own distributions that must be positive
_TWICE = ((("alpha", "beta"), ("mu", "sigma")),)  # what PyMC takes in silence, following one of them
ALTERNATIVES = {"Gamma": _TWICE, "InverseGamma": _TWICE, "Beta": (*_TWICE, (("alpha", "beta"), ("mu", "nu")))}
JEFFREYS = "Jeffreys"
IMPROPER = ("Flat", "HalfFlat", JEFFREYS)
CELLS = 1 << 20  # values times groups that are worked on at a time
FLAT, HALF_FLAT = Prior("Flat"), Prior("HalfFlat")


@cache
def families() -> dict[str, Any]:
    """PyMC's univariate continuous distributions by name."""
    check_bayes("a prior")
    from pymc.distributions import continuous, distribution

    def usable(member: Any) -> bool:
        continuous_one = (
            isinstance(member, type) and hasattr(member, "dist") and issubclass(member, distribution.Continuous)
        )
        # abstract bases take a list of parameters, and tabulated densities take arrays
        return continuous_one and not {"dist_params", "x_points"} & set(signature(member.dist).parameters)

    return {name: member for name, member in vars(continuous).items() if usable(member)}


def check(prior: Prior) -> None:
    """Raise SpecError unless the prior is a known distribution with parameters that it can have."""
    if prior.name in OWN:
        return _check_own(prior)
    if prior in (FLAT, HALF_FLAT) or closed_form(prior) is not None:
        return None
    if prior.name == JEFFREYS:
        return _check_jeffreys(prior)
    if prior.name in FORMS and not has_pymc():
        raise SpecError(f"prior {prior!r} is not a valid distribution: it takes {_takes(prior.name)}")
    if prior.name not in families():
        raise SpecError(_unknown(prior))
    known = [p.name for p in signature(families()[prior.name].dist).parameters.values() if p.kind in (1, 3)]
    for name in prior.params:
        check_name(name, known, f"{prior.name} has no parameter", "parameters")
    for one, two in ALTERNATIVES.get(prior.name, ()):
        if set(prior.params) >= set(one) | set(two):
            raise SpecError(
                f"prior {prior!r} is parametrised twice, by {listing(one)} and by {listing(two)}\n  give one of them"
            )
    if {"lower", "upper"} <= set(prior.params) and not prior.params["lower"] < prior.params["upper"]:
        raise SpecError(f"prior {prior!r} has no support: lower must be less than upper")
    if known and not prior.params:
        raise SpecError(f"prior {prior.name} has no parameters; it takes {listing(known)}")
    try:
        logp(prior, np.array([0.5]))
    except (ValueError, TypeError, AssertionError) as error:
        raise SpecError(
            f"prior {prior!r} is not a valid distribution: {str(error).splitlines()[0]}"
            "\n  check the names and the values of its parameters"
        ) from None


def has_pymc() -> bool:
    """Whether PyMC is installed, whose distributions are all there are and whose checks say most."""
    return find_spec("pymc") is not None


def _takes(name: str) -> str:
    """The parameters of a distribution in closed form."""
    ways = [listing(parameters) for parameters, _ in FORMS[name]]
    return f"{', or '.join(ways)}; scales and shapes are positive, and lower is less than upper"


def _check_own(prior: Prior) -> None:
    expected = OWN[prior.name]
    for name in prior.params:
        check_name(name, expected, f"{prior.name} has no parameter", "parameters")
    missing = [name for name in expected if name not in prior.params]
    if missing:
        raise SpecError(f"prior {prior!r} needs {listing(missing)}")
    for name, value in prior.params.items():
        if name in POSITIVE and value <= 0:
            raise SpecError(f"prior {prior!r} is not a valid distribution: {name} must be positive")


def _check_jeffreys(prior: Prior) -> None:
    """That it has no parameters, or those that a model has filled in."""
    expected = [f"v{i + 1}" for i in range(len(prior.params))]
    if list(prior.params) != expected or any(value <= 0 for value in prior.params.values()):
        raise SpecError(
            f"prior {prior!r} has parameters; it takes none, since a model fills in its sampling variances\n"
            '  write bm.Prior("Jeffreys")'
        )


def _unknown(prior: Prior) -> str:
    import pymc as pm

    member = getattr(pm, prior.name, None)
    if isinstance(member, type) and issubclass(member, pm.Distribution):
        kind = (
            "discrete"
            if issubclass(member, pm.Discrete)
            else "not a univariate distribution with numbers as parameters"
        )
        return (
            f"prior {prior.name} is {kind}; parameters take univariate continuous priors, such as Normal or HalfNormal"
        )
    known = [*families(), *OWN]
    return f"unknown distribution '{prior.name}'{did_you_mean(prior.name, known)}\n  known: {listing(known, 60)}"


def dist(prior: Prior, **options: Any) -> Any:
    """The prior as an unnamed random variable of PyMC; options are those of `dist`, such as shape.

    LogStudentT is a CustomDist; give `transform=pm.distributions.transforms.log` when registering it in a model.
    """
    import pymc as pm

    if prior.name == "LKJ":
        raise SpecError("LKJ is a prior of correlations and has no univariate distribution; see rho_logp")
    # as arrays: PyTensor would hold a Python number like 0.5 in single precision, and with it the density
    params = {name: np.array(value) for name, value in prior.params.items()}
    if prior.name == "LogStudentT":
        return pm.CustomDist.dist(
            *map(params.get, OWN["LogStudentT"]), dist=_exp_student, class_name="LogStudentT", **options
        )
    return families()[prior.name].dist(**params, **options)


def _exp_student(nu: Any, mu: Any, sigma: Any, size: Any) -> Any:
    import pymc as pm
    import pytensor.tensor as pt

    return pt.exp(pm.StudentT.dist(nu=nu, mu=mu, sigma=sigma, size=size))


def logp_graph(prior: Prior, value: Any) -> Any:
    """Log-density at a symbolic value."""
    import pymc as pm

    if prior.name == JEFFREYS:
        import pytensor.tensor as pt

        v = np.array([*prior.params.values()])
        return pt.log(value) + pt.log(2 * ((v + value**2) ** -2.0).sum()) / 2
    return pm.logp(dist(prior), value)


def _plain_mode() -> Any:
    """Interpreted and not rewritten: a prior is a dozen operations, and compiling them would take longer than a fit."""
    from pytensor.compile.mode import Mode
    from pytensor.graph.rewriting.db import RewriteDatabaseQuery

    return Mode(linker="py", optimizer=RewriteDatabaseQuery(include=["inline_ofg_expansion"]))


@lru_cache(maxsize=256)
def _compiled(prior: Prior) -> Any:
    import pytensor
    import pytensor.tensor as pt

    value = pt.dvector("value")
    graph = logp_graph(prior, value)
    return pytensor.function([value], graph, mode=_plain_mode())


def logp(prior: Prior, x: Any) -> FloatArray:
    """Log-density at every entry of x, -inf outside the support.

    >>> logp(Prior("HalfNormal", sigma=1.0), [-1.0, 0.0]).round(4)
    array([   -inf, -0.2258])
    """
    values, known = np.asarray(x, dtype=float), closed_form(prior)
    with np.errstate(all="ignore"):
        if known is not None:
            return np.asarray(known.logpdf(values))
        if prior in (FLAT, HALF_FLAT):
            return np.where((values >= 0) | (prior == FLAT), 0.0, -np.inf)
        if prior.name == JEFFREYS:
            return _jeffreys_logp(prior, values)
        return np.asarray(_compiled(prior)(values.ravel()), dtype=float).reshape(values.shape)


def _jeffreys_logp(prior: Prior, tau: FloatArray) -> FloatArray:
    """Half the log of the information about an SD, sum_g 2 (tau / (v_g + tau^2))^2 with v_g a group's variance."""
    v, times = np.unique([*prior.params.values()], return_counts=True)
    flat, step = tau.ravel(), max(1, CELLS // len(v))
    total = [
        (v + part[:, None] ** 2) ** -2.0 @ times for part in (flat[at : at + step] for at in range(0, len(flat), step))
    ]
    sums = np.concatenate([*total, np.zeros(0)]).reshape(tau.shape)
    return np.where(tau >= 0, np.log(tau) + np.log(2 * sums) / 2, -np.inf)


def draws(prior: Prior, size: int | tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """Independent draws of the prior.

    >>> draws(Prior("HalfNormal", sigma=1.0), 3, np.random.default_rng(1)).shape
    (3,)
    """
    if prior.name in IMPROPER:
        raise SpecError(f"{prior.name} is improper and cannot be drawn from\n  use a proper prior, such as Normal")
    shape, known = tuple(map(int, np.atleast_1d(size))), closed_form(prior)
    if known is not None:
        return known.of_normal(rng.standard_normal(shape))
    import pymc as pm

    return np.asarray(pm.draw(dist(prior, shape=shape), random_seed=rng, mode=_plain_mode()), dtype=float)
