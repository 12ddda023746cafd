"""Every parameter of a results tree in one tidy data frame."""

import json

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.errors import BoundaryWarning, warn
from bayesmeta.inference.posterior_predict import combinations
from bayesmeta.inference.reference import Reference, Vcov, reference
from bayesmeta.tree import exact_marginals
from bayesmeta.tree.parameters import BETA, PSI, RHO, TAU, covariances, level_structures, parameters
from bayesmeta.tree.posterior_draws import beta_draws, is_posterior, summarised
from bayesmeta.tree.response import Reading, Scale, is_read_elsewhere, measure_of, on_response, roles, to_response
from bayesmeta.tree.specification import group, reading_once

COLUMNS = (
    *("term", "kind", "level", "outcome", "estimate", "se", "lower", "upper"),
    *("statistic", "df", "pvalue"),
)


def estimates(
    tree: xr.DataTree,
    prob: float = 0.95,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Every parameter of a results tree with its standard error, interval and test, one a row.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit` or `bm.sample`, also one read back from a file.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        "response" gives coefficients on the scale on which people read the measure: odds ratios of log odds ratios,
        correlations of Fisher's z, proportions of logits. The bounds of intervals are transformed, of a posterior every
        draw. By default the scale of the model.
    vcov : str or dict, optional
        Covariance of the coefficients of a fit. By default that of the model; "CR0", "CR1", "CR1p", "CR1S", "CR2" or
        "CR3" for one that holds whatever the covariances within the groups of the outer level, or a dict such as
        `{"kind": "CR2", "cluster": "district"}` with a column in whose values these groups nest.
    df : str, optional
        Reference distribution of the coefficients of a fit: "z" normal; t with "residual" (observations, or clusters,
        less coefficients), "containment", "satterthwaite" or "kenward-roger" degrees of freedom;
        "satterthwaite-scaled", whose standard errors are also scaled by the root mean square of the weighted residuals,
        not below its lower quartile where effects do not vary; "kenward-roger-second-order", with the second
        derivatives of a Psi that is no linear function of variances and covariances (hcs, ar1, har1, car1, hcar1, cor);
        "knapp-hartung" or "knapp-hartung-adhoc", which never shrinks standard errors, for one outcome with one random
        effect for each row. By default what covers best in small samples: "knapp-hartung-adhoc" where it can be used,
        else "satterthwaite-scaled" for fits by REML, and "z" for other methods and where no variance is estimated. With
        a `vcov` it is "satterthwaite"; "z" and "residual" go with it too.

    Returns
    -------
    DataFrame
        Indexed by `parameter`, the name that every function knows it by: "beta[ablat]", "tau[district, Intercept]",
        "rho[unit, PD~AL]", "tau2[district, Intercept]", "psi[unit, PD~AL]". Columns: `term` (coefficient, effect, or
        pair of effects); `kind` ("beta" coefficients, "tau" standard deviations between groups, "rho" their
        correlations, "psi" variances and covariances between groups); `level` ("" for coefficients); `outcome` ("" for
        what belongs to several); `estimate`, `se`, `lower`, `upper`; and of coefficients of a fit `statistic` (z or t),
        `df` (inf: normal) and `pvalue` (two-sided). Of a posterior, mean, SD and equal-tailed interval of the draws.
        NaN where there is nothing: standard errors have no counterpart on the response scale, so `se` is NaN there,
        while the test is that on the scale of the model. The attributes of the frame say what was used: `prob`,
        `scale`, and of a fit `vcov`, `df`, `cluster` and `n_clusters`.

    Raises
    ------
    SpecError
        When `tree` is not a results tree with estimates, `prob` is not a probability, the measure of the model is not
        read on another scale, or the model, its method of estimation or the clusters do not allow `vcov` or `df`.

    Warns
    -----
    BoundaryWarning
        When a coefficient has no test, or hardly a usable one with less than one degree of freedom.

    References
    ----------
    Kenward and Roger (1997), Biometrics 53:983-997; Knapp and Hartung (2003), Stat. Med. 22:2693-2710; Bell and
    McCaffrey (2002), Surv. Methodol. 28:169-181; Pustejovsky and Tipton (2018), J. Bus. Econ. Stat. 36:672-683.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> bm.estimates(fit)[["kind", "estimate", "se", "lower", "upper"]].round(3)
                           kind  estimate     se  lower  upper
    parameter
    beta[Intercept]        beta    -0.745  0.187 -1.152 -0.338
    tau[unit, Intercept]    tau     0.581  0.154  0.345  0.978
    tau2[unit, Intercept]   psi     0.338  0.179  0.119  0.956
    >>> bm.estimates(fit, scale="response")[["estimate", "se", "lower", "upper"]].head(1).round(4)
                     estimate  se  lower  upper
    parameter
    beta[Intercept]    0.4746 NaN  0.316  0.713
    """
    with reading_once():
        on_response(tree, scale)  # before anything is computed
        used = reference(tree, vcov, df)
        frame = pd.concat([calibrated(parameters(tree, prob), used, prob), covariances(tree, prob)])
        frame.insert(3, "outcome", _outcomes(tree, frame))
        frame = on_scale(frame, tree, prob, scale)[list(COLUMNS)]
    frame.attrs = {"prob": prob, "scale": scale or "model"}
    for name, value in ({} if used is None else used.attrs).items():
        frame.attrs[name] = value
    return frame


def calibrated(frame: pd.DataFrame, used: Reference | None, prob: float) -> pd.DataFrame:
    """Parameters, as `tree.parameters` has them, with errors, intervals and tests of the coefficients by a reference.

    A posterior, which has none, has no tests.
    """
    if used is None:
        return frame.assign(statistic=np.nan, df=np.nan, pvalue=np.nan)
    at = (frame["kind"] == BETA).to_numpy()
    tests = used.each(np.eye(len(used.beta)))
    _mention_few(tests.df, [str(label) for label in frame.index[at]])
    columns = {**tests._asdict(), **dict(zip(("lower", "upper"), tests.bounds(prob), strict=True))}
    for name, own in columns.items():
        values = frame[name].to_numpy(dtype=float, copy=True) if name in frame else np.full(len(frame), np.nan)
        values[at] = own
        columns[name] = values
    return frame.assign(**columns)


def _mention_few(df: FloatArray, labels: list[str]) -> None:
    """Warn of coefficients without a test, or with one that is hardly usable."""
    for few, what in (
        (np.isnan(df), "no test: too little in the data tells them apart, or one cluster determines them alone"),
        (df < 1, "less than one degree of freedom: an interval is hardly usable"),
    ):
        if few.any():
            warn(
                f"{listing(label for label, is_few in zip(labels, few, strict=True) if is_few)}: {what}",
                BoundaryWarning,
            )


def on_scale(frame: pd.DataFrame, tree: xr.DataTree, prob: float, scale: Scale | None) -> pd.DataFrame:
    """Parameters on the scale that is asked for: on "response" coefficients as people read the measure.

    frame : by label with `kind`, `term`, `estimate`, `se`, `lower` and `upper`, as `parameters` has them.
    """
    if not on_response(tree, scale):
        return frame
    frame, record, of_coef = frame.copy(), measure_of(tree), roles(tree)
    for j, (coef, role) in enumerate(of_coef.items()):
        if not is_read_elsewhere(record, role):
            continue
        at = (frame["kind"] == BETA).to_numpy() & (frame["term"] == coef).to_numpy()
        if is_posterior(tree):
            there = _of_posterior(tree, j, Reading(record, role, True), prob)
        else:
            there = to_response(record, role, frame.loc[at, ["estimate", "lower", "upper"]].to_numpy(float))
        frame.loc[at, ["estimate", "lower", "upper"]] = there
        frame.loc[at, "se"] = np.nan
    return frame


def _of_posterior(tree: xr.DataTree, j: int, reading: Reading, prob: float) -> FloatArray:
    """(1, 3) mean and interval of coefficient j on another scale, which rises with the coefficient or falls."""
    exact = exact_marginals.statistics(tree, "beta", prob)
    if exact is None:
        statistics = summarised(reading.values(beta_draws(tree)[:, j]), prob)
        return np.array([[statistics[name] for name in ("mean", "lower", "upper")]])
    if exact_posterior(tree) is None:  # of a tree by an earlier version
        ends = np.sort(reading.values(np.array([exact["lower"][j], exact["upper"][j]])))
        return np.array([[exact_marginals.mean_of(group(tree, schema.MARGINALS), "beta", j, reading.values), *ends]])
    one = combinations(tree, np.eye(len(exact["mean"]))[j : j + 1], prob, reading)
    return np.array([[one[name][0] for name in ("mean", "lower", "upper")]])


def _outcomes(tree: xr.DataTree, frame: pd.DataFrame) -> list[str]:
    """The outcome to which each parameter belongs, "" for what belongs to several."""
    constant = group(tree, schema.CONSTANT)
    own = {(BETA, ""): _touched(tree, schema.COEF, constant["X"].to_numpy())}
    for level in level_structures(tree):
        of = _touched(tree, schema.effect(level), constant[schema.Z(level)].to_numpy())
        pairs = {f"{a}~{b}": of[a] if of[a] == of[b] else "" for a in of for b in of}
        of[""] = pairs[""] = next(iter(of.values())) if len(set(of.values())) == 1 else ""  # what all effects share
        own |= {(TAU, level): of, (RHO, level): pairs, (PSI, level): pairs | of}
    places = zip(frame["kind"], frame["level"], frame["term"], strict=True)
    return [own[kind, level].get(term, "") for kind, level, term in places]


def _touched(tree: xr.DataTree, dim: str, design: FloatArray) -> dict[str, str]:
    """For every column of a design the outcome of its observations, "" where there are several."""
    constant, names = group(tree, schema.CONSTANT), json.loads(tree.attrs["outcomes"])
    index = constant["outcome_index"].to_numpy()
    touched = [np.unique(index[column != 0]) for column in design.T]
    return {
        str(label): str(names[outcomes[0]]) if len(outcomes) == 1 else ""
        for label, outcomes in zip(constant[dim].values, touched, strict=True)
    }
