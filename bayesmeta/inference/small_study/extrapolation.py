"""Estimates at infinite precision: PET, PEESE and the choice between them."""

import numpy as np
import xarray as xr

from bayesmeta._validation import check_probability
from bayesmeta.inference.reference import Vcov
from bayesmeta.inference.small_study.evidence import evidence, result
from bayesmeta.inference.small_study.precision_regression import Model, line, precision_values


def pet(
    tree: xr.DataTree,
    model: Model | None = None,
    vcov: Vcov | None = None,
    *,
    df: str | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """The effect that a regression on standard errors predicts for a study without error (PET).

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` of a model without predictors.
    model, vcov, df, outcome, prob : optional
        See `bm.small_study.egger`.

    Returns
    -------
    Dataset
        Scalars: `estimate`, the effect at the limit, with `se`, `lower`, `upper`, `statistic`, `df` and `pvalue` of the
        test that it is zero; `slope` and `slope_pvalue`; `k`.

    Raises
    ------
    SpecError
        As `egger`, and for models with predictors.
    DataError
        When there are fewer than three effects, or all have the same standard error.

    Notes
    -----
    At least three effects; with fewer than twenty, or with heterogeneity larger than the sampling errors, the estimate
    is not to be relied on (Stanley 2017, Soc. Psychol. Personal. Sci. 8:581-591). PET underestimates effects that are
    not zero, which `pet_peese` is made for.

    References
    ----------
    Stanley and Doucouliagos (2014), Res. Synth. Methods 5:60-78.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> bm.small_study.pet(fit)["estimate"].round(3).item()
    -0.157
    """
    return _extrapolated(tree, "pet", "se", model, vcov, df, outcome, prob)


def peese(
    tree: xr.DataTree,
    model: Model | None = None,
    vcov: Vcov | None = None,
    *,
    df: str | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """The effect that a regression on sampling variances predicts for a study without error (PEESE).

    Parameters
    ----------
    tree : DataTree
        As for `pet`.
    model : {"ols", "mixed"}, optional
        See `bm.small_study.egger`.
    vcov, df : optional
        See `bm.small_study.egger`.
    outcome : str, optional
        See `bm.small_study.egger`.
    prob : float, default 0.95
        See `bm.small_study.egger`.

    Returns
    -------
    Dataset
        As that of `pet`.

    Raises
    ------
    SpecError
        As `pet`.
    DataError
        When there are fewer than three effects, or all have the same sampling variance.

    Notes
    -----
    At least three effects. PEESE overestimates where there is no effect, which `pet_peese` is made for.

    References
    ----------
    Stanley and Doucouliagos (2014), Res. Synth. Methods 5:60-78.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> bm.small_study.peese(fit)["estimate"].round(3).item()
    -0.379
    """
    return _extrapolated(tree, "peese", "variance", model, vcov, df, outcome, prob)


def pet_peese(
    tree: xr.DataTree,
    model: Model | None = None,
    vcov: Vcov | None = None,
    *,
    df: str | None = None,
    alpha: float = 0.05,
    outcome: str | None = None,
    prob: float = 0.95,
) -> xr.Dataset:
    """PEESE where PET is different from zero in the direction of the pooled estimate, else PET.

    Parameters
    ----------
    tree : DataTree
        As for `pet`.
    model : {"ols", "mixed"}, optional
        See `bm.small_study.egger`.
    vcov, df : optional
        See `bm.small_study.egger`.
    alpha : float, default 0.05
        One-sided level at which PET decides, between 0 and 1.
    outcome : str, optional
        See `bm.small_study.egger`.
    prob : float, default 0.95
        See `bm.small_study.egger`.

    Returns
    -------
    Dataset
        As that of `pet`, with `selected`, "pet" or "peese".

    Raises
    ------
    SpecError
        As `pet`.
    DataError
        When there are fewer than three effects, or all have the same standard error.

    Notes
    -----
    At least three effects; see `pet`. The interval takes the choice as if it had not been made by the data.

    References
    ----------
    Stanley and Doucouliagos (2014), Res. Synth. Methods 5:60-78; Stanley (2017), Soc. Psychol. Personal. Sci.
    8:581-591.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> chosen = bm.small_study.pet_peese(fit)
    >>> chosen["selected"].item(), chosen["estimate"].round(3).item()
    ('pet', -0.157)
    """
    check_probability(alpha, "alpha")
    first = _extrapolated(tree, "pet_peese", "se", model, vcov, df, outcome, prob)
    of = evidence(tree, outcome, "pet_peese")
    pooled = float(np.average(of.y, weights=1 / of.v))
    upper_tail = first["pvalue"] / 2 if first["estimate"].item() * pooled > 0 else 1 - first["pvalue"] / 2
    selected = "peese" if upper_tail.item() < alpha else "pet"
    if selected == "peese":
        first = _extrapolated(tree, "pet_peese", "variance", model, vcov, df, outcome, prob)
    return first.assign(selected=((), selected)).assign_attrs(alpha=alpha)


def _extrapolated(
    tree: xr.DataTree,
    what: str,
    predictor: str,
    model: str | None,
    vcov: Vcov | None,
    df: str | None,
    outcome: str | None,
    prob: float,
) -> xr.Dataset:
    """The effect at the limit of a regression, and its test."""
    of = evidence(tree, outcome, what)
    of.check_intercept_alone()
    made = line(of, predictor, precision_values(of, predictor, None), model, vcov, df)
    lower, upper = made.limit.bounds(check_probability(prob))
    numbers = {
        **{name: float(getattr(made.limit, name)[0]) for name in ("estimate", "se")},
        "lower": float(lower[0]),
        "upper": float(upper[0]),
        **{name: float(getattr(made.limit, name)[0]) for name in ("statistic", "df", "pvalue")},
        "slope": float(made.slope.estimate[0]),
        "slope_pvalue": float(made.slope.pvalue[0]),
        "k": of.n,
    }
    return result(numbers, made.attrs(prob))
