"""Distributions whose density and quantiles are known in closed form, under PyMC's names and parameters, without PyMC.

Quantiles come with both tails, because the posterior under a prior in conflict with the data lies where one minus the
distribution function has no digits left.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy import special

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_number
from bayesmeta.errors import SpecError
from bayesmeta.priors.prior import Prior

LOG_2 = float(np.log(2))


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """A distribution by three functions of arrays.

    logpdf : log-density, -inf outside the support.
    lower, upper : the value with this probability below it, and above it.
    """

    logpdf: Callable[[Any], Any]
    lower: Callable[[Any], Any]
    upper: Callable[[Any], Any]

    def of_normal(self, u: FloatArray) -> FloatArray:
        """The value as far out in this distribution as u is in the standard normal one."""
        u = np.asarray(u, float)
        with np.errstate(all="ignore"):
            tail = special.ndtr(-np.abs(u))
            value, below = np.empty(u.shape), u < 0
            value[below], value[~below] = self.lower(tail[below]), self.upper(tail[~below])
            return value

    @cached_property
    def _table(self) -> tuple[FloatArray, FloatArray]:
        u = np.linspace(-37, 37, 2961)
        value = self.of_normal(u)
        usable = np.isfinite(value)
        kept = np.flatnonzero(usable)[np.unique(value[usable], return_index=True)[1]]
        return value[kept], u[kept]

    def about_normal(self, value: FloatArray) -> FloatArray:
        """Roughly the inverse of `of_normal`, to begin a search with."""
        values, u = self._table
        return np.interp(value, values, u) if len(u) else np.zeros(np.shape(value))


def _frozen(name: str, *shapes: float, loc: float = 0.0, scale: float = 1.0) -> ClosedForm:
    """One of SciPy's, whose quantiles keep their digits in both tails."""
    from scipy import stats

    known = getattr(stats, name)(*shapes, loc=loc, scale=scale)
    return ClosedForm(known.logpdf, known.ppf, known.isf)


def _normal(mu: float, sigma: float) -> ClosedForm:
    return ClosedForm(
        lambda x: -0.5 * ((x - mu) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi),
        lambda p: mu + sigma * special.ndtri(p),
        lambda q: mu - sigma * special.ndtri(q),
    )


def _half_normal(sigma: float) -> ClosedForm:
    constant = 0.5 * np.log(2 / np.pi) - np.log(sigma)
    return ClosedForm(
        lambda x: np.where(x >= 0, constant - 0.5 * (x / sigma) ** 2, -np.inf),
        lambda p: sigma * np.sqrt(2) * special.erfinv(p),
        lambda q: -sigma * special.ndtri(q / 2),
    )


def _half_t(nu: float, sigma: float) -> ClosedForm:
    """By t^2 / (nu + t^2), which is beta-distributed."""
    constant = LOG_2 - special.betaln(nu / 2, 0.5) - 0.5 * np.log(nu) - np.log(sigma)

    def lower(p: FloatArray) -> FloatArray:
        share = special.betaincinv(0.5, nu / 2, p)
        return np.asarray(sigma * np.sqrt(nu * share / (1 - share)))

    def upper(q: FloatArray) -> FloatArray:
        share = special.betaincinv(nu / 2, 0.5, q)
        return np.asarray(sigma * np.sqrt(nu * (1 - share) / share))

    def logpdf(x: FloatArray) -> FloatArray:
        return np.where(x >= 0, constant - (nu + 1) / 2 * np.log1p((x / sigma) ** 2 / nu), -np.inf)

    return ClosedForm(logpdf, lower, upper)


def _half_cauchy(beta: float) -> ClosedForm:
    constant = np.log(2 / np.pi) - np.log(beta)
    return ClosedForm(
        lambda x: np.where(x >= 0, constant - np.log1p((x / beta) ** 2), -np.inf),
        lambda p: beta * np.tan(np.pi / 2 * p),
        lambda q: beta / np.tan(np.pi / 2 * q),
    )


def _t(nu: float, mu: float, sigma: float) -> ClosedForm:
    half = _half_t(nu, sigma)

    def outside(p: FloatArray) -> FloatArray:
        """How far from mu, for a probability of at most a half beyond."""
        return np.where(p > 0.5, -half.upper(2 * (1 - p)), half.upper(np.minimum(2 * p, 1.0)))

    return ClosedForm(
        lambda x: half.logpdf(np.abs(x - mu)) - LOG_2, lambda p: mu - outside(p), lambda q: mu + outside(q)
    )


def _exponential(scale: float) -> ClosedForm:
    return ClosedForm(
        lambda x: np.where(x >= 0, -x / scale - np.log(scale), -np.inf),
        lambda p: -scale * np.log1p(-p),
        lambda q: -scale * np.log(q),
    )


def _exp_of(log: ClosedForm) -> ClosedForm:
    """Of exp(X)."""

    def logpdf(x: FloatArray) -> FloatArray:
        logs = np.log(np.where(x > 0, x, 1.0))
        return np.where(x > 0, log.logpdf(logs) - logs, -np.inf)

    return ClosedForm(logpdf, lambda p: np.exp(log.lower(p)), lambda q: np.exp(log.upper(q)))


def _gamma(alpha: float, beta: float) -> ClosedForm:
    constant = alpha * np.log(beta) - special.gammaln(alpha)

    def logpdf(x: FloatArray) -> FloatArray:
        return np.where(x >= 0, constant + special.xlogy(alpha - 1, np.abs(x)) - beta * x, -np.inf)

    return ClosedForm(
        logpdf, lambda p: special.gammaincinv(alpha, p) / beta, lambda q: special.gammainccinv(alpha, q) / beta
    )


def _inverse_gamma(alpha: float, beta: float) -> ClosedForm:
    constant = alpha * np.log(beta) - special.gammaln(alpha)

    def logpdf(x: FloatArray) -> FloatArray:
        inside = np.where(x > 0, x, 1.0)
        return np.where(x > 0, constant - (alpha + 1) * np.log(inside) - beta / inside, -np.inf)

    return ClosedForm(
        logpdf, lambda p: beta / special.gammainccinv(alpha, p), lambda q: beta / special.gammaincinv(alpha, q)
    )


def beta_form(alpha: float, beta: float, low: float = 0.0, high: float = 1.0, power: float = 1.0) -> ClosedForm:
    """A beta distribution over a range, also of a power of the share; the far end is reached from its own side."""
    width = high - low
    if power != 1:
        return _root_of_beta(alpha, beta, low, width, power)

    def logpdf(x: FloatArray) -> FloatArray:
        share = (np.asarray(x, float) - low) / width
        inside = (share >= 0) & (share <= 1)
        s = np.where(inside, share, 0.5)
        log = special.xlogy(alpha - 1, s) + special.xlog1py(beta - 1, -s) - special.betaln(alpha, beta)
        return np.where(inside, log - np.log(width), -np.inf)

    return ClosedForm(
        logpdf,
        lambda p: low + width * special.betaincinv(alpha, beta, p),
        lambda q: high - width * special.betaincinv(beta, alpha, q),
    )


def _root_of_beta(alpha: float, beta: float, low: float, width: float, power: float) -> ClosedForm:
    """Of low + width s, where s^power has a beta distribution."""
    base = beta_form(alpha, beta)

    def logpdf(x: FloatArray) -> FloatArray:
        share = (np.asarray(x, float) - low) / width
        s = np.where((share > 0) & (share <= 1), share, 0.5)
        log = base.logpdf(s**power) + np.log(power) + (power - 1) * np.log(s) - np.log(width)
        return np.where((share > 0) & (share <= 1), log, -np.inf)

    return ClosedForm(
        logpdf,
        lambda p: low + width * special.betaincinv(alpha, beta, p) ** (1 / power),
        lambda q: low + width * (1 - special.betaincinv(beta, alpha, q)) ** (1 / power),
    )


def _truncated(mu: float, sigma: float, lower: float, upper: float) -> ClosedForm:
    a, b = (lower - mu) / sigma, (upper - mu) / sigma
    log_mass = float(_log_between(a, b))

    def logpdf(x: FloatArray) -> FloatArray:
        density = _normal(mu, sigma).logpdf(x) - log_mass
        return np.where((np.asarray(x) >= lower) & (np.asarray(x) <= upper), density, -np.inf)

    return ClosedForm(
        logpdf,
        lambda p: np.clip(mu + sigma * _above(a, np.log(p) + log_mass), lower, upper),
        lambda q: np.clip(mu - sigma * _above(-b, np.log(q) + log_mass), lower, upper),
    )


def _log_between(a: float, b: float) -> float:
    """Log-probability of a standard normal variable between a and b."""
    if a > 0:
        return _log_between(-b, -a)
    outside = special.log_ndtr(a)
    if b > 0:
        return float(np.log1p(-np.exp(outside) - special.ndtr(-b)))
    inside = special.log_ndtr(b)
    return float(inside + np.log1p(-np.exp(outside - inside)))


def _above(a: float, log_p: FloatArray) -> FloatArray:
    """Where the standard normal distribution function is exp(log_p) above its value at a."""
    if a <= 0:
        return np.asarray(special.ndtri_exp(np.logaddexp(special.log_ndtr(a), log_p)))
    left = special.log_ndtr(-a)
    return np.asarray(-special.ndtri_exp(left + np.log1p(-np.exp(log_p - left))))


def _sd(tau: float) -> float:
    return tau**-0.5


def mixing(prior: Prior) -> tuple[float, float, ClosedForm] | None:
    """Location, scale, and the law of the precision w where the prior is a mixture of N(location, scale^2 / w)."""
    if prior.name not in ("StudentT", "Cauchy") or closed_form(prior) is None:
        return None
    params = {"nu": 1.0, "mu": 0.0, "sigma": 1.0, **prior.params}
    if prior.name == "Cauchy":
        params |= {"mu": params["alpha"], "sigma": params["beta"]}
    return params["mu"], params["sigma"], _gamma(params["nu"] / 2, params["nu"] / 2)


def moments(prior: Prior) -> tuple[float, float] | None:
    """Mean and SD of a normal prior; None of any other."""
    known = closed_form(prior) if prior.name == "Normal" else None
    if known is None:
        return None
    mean = float(known.upper(0.5))
    return mean, prior.params["tau"] ** -0.5 if "tau" in prior.params else prior.params.get("sigma", 1.0)


Make = Callable[..., ClosedForm]
LOCATION = {"mu": 0.0}
BOUNDS = {"lower": -np.inf, "upper": np.inf}
# by name the parametrisations: values taken where a parameter is left out (None: it must be given), and what makes it
FORMS: Mapping[str, tuple[tuple[Mapping[str, float | None], Make], ...]] = {
    "Normal": (
        ({**LOCATION, "sigma": 1.0}, _normal),
        ({**LOCATION, "tau": None}, lambda mu, tau: _normal(mu, _sd(tau))),
    ),
    "HalfNormal": (({"sigma": None}, _half_normal), ({"tau": None}, lambda tau: _half_normal(_sd(tau)))),
    "TruncatedNormal": (({**LOCATION, "sigma": 1.0, **BOUNDS}, _truncated),),
    "StudentT": (({"nu": None, **LOCATION, "sigma": 1.0}, _t),),
    "HalfStudentT": (({"nu": None, "sigma": 1.0}, _half_t),),
    "Cauchy": (({"alpha": None, "beta": None}, lambda alpha, beta: _t(1.0, alpha, beta)),),
    "HalfCauchy": (({"beta": None}, _half_cauchy),),
    "Exponential": (
        ({"lam": None}, lambda lam: _exponential(1 / lam)),
        ({"scale": None}, _exponential),
    ),
    "LogNormal": (
        ({**LOCATION, "sigma": 1.0}, lambda mu, sigma: _exp_of(_normal(mu, sigma))),
        ({**LOCATION, "tau": None}, lambda mu, tau: _exp_of(_normal(mu, _sd(tau)))),
    ),
    "LogStudentT": (({"nu": None, "mu": None, "sigma": None}, lambda nu, mu, sigma: _exp_of(_t(nu, mu, sigma))),),
    "Gamma": (
        ({"alpha": None, "beta": None}, _gamma),
        ({"mu": None, "sigma": None}, lambda mu, sigma: _gamma((mu / sigma) ** 2, mu / sigma**2)),
    ),
    "InverseGamma": (({"alpha": None, "beta": None}, _inverse_gamma),),
    "Beta": (({"alpha": None, "beta": None}, beta_form),),
    "Uniform": (({"lower": 0.0, "upper": 1.0}, lambda lower, upper: beta_form(1.0, 1.0, lower, upper)),),
    "Weibull": (({"alpha": None, "beta": None}, lambda alpha, beta: _frozen("weibull_min", alpha, scale=beta)),),
    "Laplace": (({"mu": None, "b": None}, lambda mu, b: _frozen("laplace", loc=mu, scale=b)),),
    "Logistic": (({**LOCATION, "s": 1.0}, lambda mu, s: _frozen("logistic", loc=mu, scale=s)),),
}
REAL = {"mu", "lower", "upper"}  # parameters of any sign, and the location of a Cauchy
LOCATIONS = {"Cauchy": {"alpha"}}


def beta_values(means: FloatArray, sd: Any, n: int, what: str) -> FloatArray:
    """(m, n) equally probable values of beta distributions with means (m,) and one SD; what : the argument that has it.

    >>> beta_values(np.array([0.2]), 0.4, 8, "prevalence_sd")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: prevalence_sd is 0.4; that of a beta distribution with mean 0.2 is below 0.4
      give a smaller SD
    """
    spread, middle = check_number(sd, what, above=0), (np.arange(n) + 0.5) / n
    for mean in means.tolist():
        if spread >= (most := float(np.sqrt(mean * (1 - mean)))):
            raise SpecError(
                f"{what} is {spread:g}; that of a beta distribution with mean {mean:g} is below {most:.4g}"
                "\n  give a smaller SD"
            )
    size = (means * (1 - means) / spread**2 - 1)[:, None]
    values = special.betaincinv(means[:, None] * size, (1 - means[:, None]) * size, middle)
    return np.clip(values, 1e-300, 1 - 1e-16)


@lru_cache(maxsize=256)
def closed_form(prior: Prior) -> ClosedForm | None:
    """The distribution in closed form; None where it has none here, or its parameters do not fit.

    >>> float(closed_form(Prior("HalfCauchy", beta=2.0)).upper(0.5).round(12))
    2.0
    """
    for defaults, make in FORMS.get(prior.name, ()):
        params = {**defaults, **prior.params}
        if params.keys() != defaults.keys() or not prior.params or None in params.values():
            continue
        real = REAL | LOCATIONS.get(prior.name, set()) if prior.name != "Gamma" else set()
        ordered = params.get("lower", -1.0) < params.get("upper", 1.0)  # type: ignore[operator]
        if ordered and all(value > 0 for name, value in params.items() if name not in real):  # type: ignore[operator]
            return make(**params)
    return None
