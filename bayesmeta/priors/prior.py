"""Prior distributions: of one parameter (`Prior`), of a model (`Priors`), and ready-made ones for SDs of effects."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from bayesmeta._validation import check_number, shown
from bayesmeta.errors import SpecError
from bayesmeta.priors import empirical

__all__ = ["Prior", "Priors", "half_cauchy", "half_normal", "half_t", "rhodes", "turner"]


class Prior:
    """A univariate continuous distribution by name and numbers; frozen, and equal where both are equal.

    Parameters
    ----------
    name : str
        A continuous distribution of PyMC ("Normal", "HalfNormal", "HalfStudentT", "LogNormal", "Gamma", ...); "Flat"
        for coefficients; "HalfFlat" and "Jeffreys" for SDs, which are improper; "LogStudentT", exp of a Student t (nu,
        mu, sigma); "LKJ" (eta) for correlations, the density proportional to det(R)^(eta - 1).
    **params : float
        Its parameters under PyMC's names, finite numbers. Name and parameters are checked when a model first uses the
        prior. "Jeffreys" takes none: a model fills in the sampling variances of its groups, v1, v2 and so on.

    Raises
    ------
    SpecError
        When the name is no word, or a parameter is not a finite number.

    References
    ----------
    Lewandowski, Kurowicka and Joe (2009), J. Multivar. Anal. 100:1989-2001, for LKJ.

    Examples
    --------
    >>> Prior("HalfNormal", sigma=0.5)
    HalfNormal(sigma=0.5)
    >>> Prior("Normal", mu=0, sigma=2) == Prior("Normal", sigma=2.0, mu=0.0)
    True
    """

    __slots__ = ("_params", "name")
    name: str
    _params: tuple[tuple[str, float], ...]

    def __init__(self, name: str, /, **params: float) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise SpecError(f"the name of a prior is {shown(name)}; it must be that of a distribution\n  {EXAMPLE}")
        for parameter, value in params.items():
            check_number(value, f"{parameter} of the prior {name}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_params", tuple((key, float(value)) for key, value in params.items()))

    @property
    def params(self) -> dict[str, float]:
        """The parameters by name."""
        return dict(self._params)

    def to_json(self) -> dict[str, Any]:
        """Plain value that `from_json` turns back into the prior."""
        return {"name": self.name, "params": self.params}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Prior":
        return cls(plain["name"], **plain["params"])

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Prior is frozen; {name} cannot be set")

    def __reduce__(self) -> tuple[Any, ...]:
        return Prior.from_json, (self.to_json(),)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Prior) and self.name == other.name and self.params == other.params

    def __hash__(self) -> int:
        return hash((self.name, frozenset(self._params)))

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value:.12g}' for key, value in self._params)})"

    def __str__(self) -> str:
        if self.name == "Jeffreys":
            return self.name  # of as many numbers as there are groups
        return f"{self.name}({', '.join(f'{key}={value:.4g}' for key, value in self._params)})"


EXAMPLE = 'give one such as bm.Prior("HalfNormal", sigma=0.5)'


def as_prior(prior: Any, what: str) -> Prior:
    """The prior that was given for `what`, also as a distribution of PreliZ."""
    if isinstance(prior, Prior):
        return prior
    if type(prior).__module__.partition(".")[0] == "preliz" and hasattr(prior, "params_dict"):
        # PreliZ writes a missing truncation as an infinite bound
        bounds = {"lower", "upper"}
        params = {k: v for k, v in prior.params_dict.items() if k not in bounds or (v is not None and isfinite(v))}
        return Prior(type(prior).__name__, **params)
    raise SpecError(f"prior of {what} is {shown(prior)}; expected a bm.Prior\n  {EXAMPLE}")


def _read(priors: Any, what: str, depth: int) -> Any:
    """Given priors with every one as a `Prior`, in dicts of at most `depth` levels that the caller cannot change."""
    if priors is None or not isinstance(priors, Mapping) or depth == 0:
        return None if priors is None else as_prior(priors, what)
    return {key: _read(value, f"{what}[{key}]", depth - 1) for key, value in priors.items() if value is not None}


@dataclass(frozen=True)
class Priors:
    """Priors of a model; what is None or not named gets a default, see `bayesmeta.priors.defaults.resolve`.

    Parameters
    ----------
    beta : Prior or dict of str to Prior, optional
        Of all coefficients, or {label of the coefficient: prior}, in units of the outcome per unit of the predictor.
        A prior given for an intercept is on the coefficient as it stands, that is where all predictors are zero.
    tau : Prior or dict, optional
        Of all SDs between groups, {level: prior}, or {level: {effect: prior}}; on [0, inf).
    rho : Prior or dict of str to Prior, optional
        Of all correlations, or {level: prior}: LKJ, or where a level has one correlation any proper distribution inside
        its range.

    Raises
    ------
    SpecError
        When something other than a prior is given. Names of levels, effects and coefficients are checked with the
        model.

    Notes
    -----
    Distributions of PreliZ stand for a `Prior` everywhere.

    Examples
    --------
    >>> Priors(beta={"ablat": Prior("Normal", mu=0, sigma=0.1)}, tau=half_normal(0.5))
    Priors(beta={'ablat': Normal(mu=0, sigma=0.1)}, tau=HalfNormal(sigma=0.5), rho=None)
    """

    beta: Prior | dict[str, Prior] | None = None
    tau: Prior | dict[str, Prior | dict[str, Prior]] | None = None
    rho: Prior | dict[str, Prior] | None = None

    __hash__ = None  # type: ignore[assignment]  # holds dicts

    def __post_init__(self) -> None:
        for name, depth in (("beta", 1), ("tau", 2), ("rho", 1)):
            object.__setattr__(self, name, _read(getattr(self, name), name, depth))


def half_normal(scale: float) -> Prior:
    """Half-normal prior of an SD; its median is 0.67 `scale`, its 95 % point 1.96 `scale`.

    Parameters
    ----------
    scale : float
        Scale of the distribution, positive, in the unit of the outcome.

    Returns
    -------
    Prior
        The distribution.

    Raises
    ------
    SpecError
        For a number that is not positive.

    References
    ----------
    Röver et al. (2021), Res. Synth. Methods 12:448-474, discuss scales of 0.5 and 1 for log ratios.

    Examples
    --------
    >>> half_normal(0.5)
    HalfNormal(sigma=0.5)
    """
    return Prior("HalfNormal", sigma=check_number(scale, "scale", above=0))


def half_t(scale: float, df: float = 3) -> Prior:
    """Half-t prior of an SD.

    Parameters
    ----------
    scale : float
        Scale of the distribution, positive, in the unit of the outcome.
    df : float, default 3
        Degrees of freedom, positive.

    Returns
    -------
    Prior
        The distribution.

    Raises
    ------
    SpecError
        For a number that is not positive.

    References
    ----------
    Gelman (2006), Bayesian Anal. 1:515-534.

    Examples
    --------
    >>> half_t(0.5)
    HalfStudentT(nu=3, sigma=0.5)
    """
    return Prior("HalfStudentT", nu=check_number(df, "df", above=0), sigma=check_number(scale, "scale", above=0))


def half_cauchy(scale: float) -> Prior:
    """Half-Cauchy prior of an SD; its median is `scale`, its 95 % point 12.7 `scale`.

    Parameters
    ----------
    scale : float
        Scale of the distribution, positive, in the unit of the outcome.

    Returns
    -------
    Prior
        The distribution.

    Raises
    ------
    SpecError
        For a number that is not positive.

    References
    ----------
    Gelman (2006), Bayesian Anal. 1:515-534.

    Examples
    --------
    >>> half_cauchy(0.5)
    HalfCauchy(beta=0.5)
    """
    return Prior("HalfCauchy", beta=check_number(scale, "scale", above=0))


def turner(outcome: str | None = None, comparison: str | None = None) -> Prior:
    """Predictive distribution of the SD of log odds ratios, from 14,886 meta-analyses of binary outcomes.

    Parameters
    ----------
    outcome : str, optional
        Such as "all-cause mortality", "pain", "mental health"; an unknown one is refused with the list of all.
    comparison : str, optional
        "pharma vs control" (placebo or control), "pharma vs pharma", "non-pharma vs control", "non-pharma vs pharma" or
        "non-pharma vs non-pharma". Without both, the marginal distribution over all settings.

    Returns
    -------
    Prior
        Log-normal with half the published location and scale, which are those of tau^2.

    Raises
    ------
    SpecError
        For an unknown key, or one key without the other.

    References
    ----------
    Turner, Jackson, Wei, Thompson and Higgins (2015), Stat. Med. 34:984-998, table IV.

    Examples
    --------
    >>> turner()
    LogNormal(mu=-1.28, sigma=0.87)
    >>> turner("pain", "pharma vs control")
    LogNormal(mu=-0.915, sigma=0.76)
    """
    location, scale = empirical.turner(outcome, comparison)
    return Prior("LogNormal", mu=location / 2, sigma=scale / 2)


def rhodes(outcome: str | None = None, comparison: str | None = None, field: str | None = None) -> Prior:
    """Predictive distribution of the SD of standardised mean differences, from meta-analyses of continuous outcomes.

    Three entries of the table are left out (mental health, non-pharma, other; resource use and internal or external
    structure, both pharma vs control, cancer): the figures that circulate contradict each other, or the additive model
    behind the table, by up to one unit of log tau^2, and a wrong prior is worse than a refusal.

    Parameters
    ----------
    outcome : str, optional
        Such as "obstetric", "mental health", "biological markers"; an unknown one is refused with the list.
    comparison : str, optional
        "pharma vs control" (placebo or control), "pharma vs pharma", or "non-pharma" (with any comparator).
    field : str, optional
        "respiratory", "cancer" or "other". Without all three, the marginal distribution over all settings.

    Returns
    -------
    Prior
        Log-t with 5 degrees of freedom and half the published location and scale, which are those of tau^2.

    Raises
    ------
    SpecError
        For an unknown key, some keys without the others, or an entry that is left out.

    References
    ----------
    Rhodes, Turner and Higgins (2015), J. Clin. Epidemiol. 68:52-60.

    Examples
    --------
    >>> rhodes()
    LogStudentT(nu=5, mu=-1.72, sigma=1.295)
    """
    location, scale = empirical.rhodes(outcome, comparison, field)
    return Prior("LogStudentT", nu=5, mu=location / 2, sigma=scale / 2)
