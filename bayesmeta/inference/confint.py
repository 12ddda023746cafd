"""Confidence intervals of the parameters of a results tree."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import chdtri

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_names
from bayesmeta.errors import BoundaryWarning, SpecError, warn
from bayesmeta.estimation.tau2 import Study, study_of
from bayesmeta.inference.estimates import calibrated
from bayesmeta.inference.profile import profile
from bayesmeta.inference.reference import Vcov, reference
from bayesmeta.tree.assembly import table_of
from bayesmeta.tree.parameters import PSI, TAU, TAU2, check_parameter, covariances, parameters
from bayesmeta.tree.specification import group, spec_from_tree

PARAMETER = "parameter"
STATISTICS = ["estimate", "se", "lower", "upper"]
NUMBERS = [*STATISTICS, "statistic", "df", "pvalue"]


def confint(
    tree: xr.DataTree,
    method: Literal["wald", "qprofile", "profile"] = "wald",
    parameters: str | Sequence[str] | None = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> xr.Dataset:
    """Estimates with standard errors and confidence intervals.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit`, also one read back from a file.
    method : {"wald", "qprofile", "profile"}, default "wald"
        "wald", for every model: normal intervals, of fixed effects as they are, of SDs in log tau, of correlations in
        atanh rho. "qprofile", for one outcome with one random effect for each row: exact intervals of the between-study
        variance, by any method of estimation and with any covariates. They hold the values of tau2 at which the
        generalised Q, the residual sum of squares with weights 1 / (v + tau2), lies between two quantiles of its
        chi-squared distribution with n - P degrees of freedom. "profile", of fits by "ml" and "reml": the values at
        which the profile likelihood is high enough, see `bm.profile`.
    parameters : str or sequence of str, optional
        Which ones: labels such as "beta[ablat]", "tau[study, Intercept]", "tau2[study, Intercept]", "rho[unit, PD~AL]"
        or "psi[unit, PD~AL]", or kinds "beta", "tau", "tau2", "rho", "psi"; for "qprofile" also "I2" and "H2". By
        default all, of "wald" without the variances and covariances "tau2" and "psi".
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    vcov, df : optional
        Covariance and reference distribution of the coefficients for "wald", see `bm.estimates`.

    Returns
    -------
    Dataset
        Over `parameter`: `estimate`, `se`, `lower`, `upper`, NaN where the method gives none. For "wald" the
        coordinates `kind`, `level` and `term` say what a parameter is; intervals of "tau2" are those of "tau" squared,
        of "psi" normal. For "qprofile" `I2`, in percent, is tau2 / (tau2
        + s2) and `H2` is tau2 / s2 + 1 with the typical sampling variance s2 = (n - P) / tr(P), so they belong to the
        estimate of tau2 and differ from those of `bm.heterogeneity`, which are made from Q. Standard errors of I2 and
        H2 follow from that of tau2 by the delta method with s2 known; tau has none at zero. A bound that would be
        negative is zero, or an empty interval NaN; the attribute `note` says either.

    Raises
    ------
    SpecError
        When the method or a parameter is unknown, "qprofile" is not for this model, `prob` is not a probability,
        or `tree` is not a results tree with estimates.

    Warns
    -----
    BoundaryWarning
        When the Q-profile interval is empty: the effects differ less than their sampling errors would suggest.

    References
    ----------
    Viechtbauer (2007), Stat. Med. 26:37-52; Jackson, Turner, Rhodes and Viechtbauer (2014), BMC Med. Res. Methodol.
    14:103; Higgins and Thompson (2002), Stat. Med. 21:1539-1558, equation 9.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> bm.confint(fit, "qprofile", ["tau2", "tau"]).to_dataframe().round(3)
                           estimate     se  lower  upper
    parameter
    tau2[unit, Intercept]     0.338  0.179  0.130  1.181
    tau[unit, Intercept]      0.581  0.154  0.361  1.087
    """
    check_choice(method, [*METHODS, "profile"], "method")
    used = reference(tree, vcov, df) if method == "wald" else None
    if method != "wald" and (vcov is not None or df is not None):
        name = "df" if vcov is None else "vcov"
        raise SpecError(f'{name} is for method="wald", the method is "{method}"; leave {name} out')
    if method == "profile":
        chosen, note = _profile(tree, prob, parameters)
    else:
        table, note = METHODS[method](tree, prob)
        table = calibrated(table, used, prob) if used else table
        chosen = _by_default(table) if parameters is None else _chosen(table, parameters)
    attrs = {"method": method, "prob": prob, "note": note} | (used.attrs if used else {})
    variables = {name: (PARAMETER, chosen[name].to_numpy(dtype=float)) for name in STATISTICS}
    about = {str(name): (PARAMETER, chosen[name].to_numpy(dtype=object)) for name in chosen if name not in NUMBERS}
    return table_of(variables, {PARAMETER: pd.Index(chosen.index, dtype=object), **about}, attrs)


def _by_default(table: pd.DataFrame) -> pd.DataFrame:
    """All but the squares of the SDs, unless they are what the method is about."""
    return table[~table["kind"].isin([TAU2, PSI])] if "kind" in table else table


def _chosen(table: pd.DataFrame, asked: str | Sequence[str]) -> pd.DataFrame:
    """Rows whose label or kind is asked for."""
    labels = check_names(asked, "parameters")
    kinds = table["kind"] if "kind" in table else pd.Series(_prefixes(table.index), table.index)
    for label in labels:
        check_parameter(label, table.index, kinds.unique())
    return table[table.index.isin(labels) | kinds.isin(labels).to_numpy()]


def _prefixes(labels: Iterable[str]) -> list[str]:
    """The kinds of labels, as tau2 of tau2[study, Intercept]."""
    return [label.partition("[")[0] for label in labels]


def _wald(tree: xr.DataTree, prob: float) -> tuple[pd.DataFrame, str]:
    squares = covariances(tree, prob)
    squares["kind"] = _prefixes(squares.index)
    return pd.concat([parameters(tree, prob), squares]), ""


def _profile(tree: xr.DataTree, prob: float, asked: str | Sequence[str] | None) -> tuple[pd.DataFrame, str]:
    profiles = profile(tree, asked, prob, points=2)
    wald = parameters(tree, prob)
    table = profiles[["estimate", "lower", "upper"]].to_dataframe()
    table.insert(1, "se", wald["se"].reindex(table.index))
    notes = zip(profiles[PARAMETER].to_numpy(), profiles["note"].to_numpy(), strict=True)
    return table, "; ".join(f"{label}: {note}" for label, note in notes if note)


def _q_profile(tree: xr.DataTree, prob: float) -> tuple[pd.DataFrame, str]:
    table = parameters(tree, prob)
    spec = spec_from_tree(tree)
    study = study_of(spec, "method 'qprofile'", 'method="wald"', 'use method="wald"')
    tau, tau_se = table.loc[table["kind"] == TAU, ["estimate", "se"]].to_numpy(dtype=float)[0]
    stored = group(tree, schema.ESTIMATE).get(schema.tau2_se(spec.levels[0].name))
    tau2_se = 2 * tau * tau_se if stored is None else float(stored.item())
    lower, upper, note = _tau2_interval(study, prob)
    rows = _transforms(np.array([tau**2, lower, upper]), study.typical_variance)
    errors = _standard_errors(tau**2, tau2_se, study.typical_variance) | {"tau": tau_se}
    term = table.index[table["kind"] == TAU][0].removeprefix(TAU)
    label = {name: f"{name}{term}" for name in (TAU2, TAU)}
    return pd.DataFrame(
        {label.get(name, name): (values[0], errors[name], *values[1:]) for name, values in rows.items()}, STATISTICS
    ).T, note


def _transforms(tau2: FloatArray, typical: float) -> dict[str, FloatArray]:
    return {"tau2": tau2, "tau": np.sqrt(tau2), "I2": 100 * tau2 / (tau2 + typical), "H2": tau2 / typical + 1}


def _standard_errors(tau2: float, se: float, typical: float) -> dict[str, float]:
    """Of the functions of tau2 that have a derivative at zero too."""
    return {"tau2": se, "I2": 100 * typical / (tau2 + typical) ** 2 * se, "H2": se / typical}


def _tau2_interval(study: Study, prob: float) -> tuple[float, float, str]:
    """Lower and upper bound of tau2, NaN where the interval is empty, and what there is to say about them."""
    small, large = chdtri(study.df, [0.5 + prob / 2, 0.5 - prob / 2])
    lower, upper = study.tau2_at(large), study.tau2_at(small)
    if np.isnan(upper):
        note = (
            f"the interval of tau2 is empty: Q at zero is {study.Q(0.0):.3g}, below the quantile {small:.3g} of its "
            "distribution; the effects differ less than their sampling errors would suggest"
        )
        warn(note, BoundaryWarning)
        return np.nan, np.nan, note
    if np.isnan(lower):
        return 0.0, upper, "the lower bound of tau2 is zero: at zero Q is not in the upper tail of its distribution"
    return lower, upper, ""


METHODS: dict[str, Callable[[xr.DataTree, float], tuple[pd.DataFrame, str]]] = {"wald": _wald, "qprofile": _q_profile}
