"""Every parameter of a results tree in one tidy data frame."""

import json

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import shown
from bayesmeta.errors import SpecError
from bayesmeta.tree.parameters import BETA, PSI, RHO, TAU, covariances, level_structures, parameters
from bayesmeta.tree.posterior_draws import beta_draws, is_posterior, summarised
from bayesmeta.tree.response import Scale, is_read_elsewhere, measure_of, on_response, roles, to_response
from bayesmeta.tree.specification import group

COLUMNS = (
    *("term", "kind", "level", "outcome", "estimate", "se", "lower", "upper"),
    *("statistic", "df", "pvalue"),
)


def estimates(
    tree: xr.DataTree, prob: float = 0.95, scale: Scale | None = None, vcov: None = None, df: None = None
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
    vcov : None
        For covariance matrices of the coefficients other than that of the model, which this version does not have.
    df : None
        For degrees of freedom of the tests and intervals, likewise; these are normal.

    Returns
    -------
    DataFrame
        Indexed by `parameter`, the name that every function knows it by: "beta[ablat]", "tau[district, Intercept]",
        "rho[unit, PD~AL]", "tau2[district, Intercept]", "psi[unit, PD~AL]". Columns: `term` (coefficient, effect, or
        pair of effects); `kind` ("beta" coefficients, "tau" standard deviations between groups, "rho" their
        correlations, "psi" variances and covariances between groups); `level` ("" for coefficients); `outcome` ("" for
        what belongs to several); `estimate`, `se`, `lower`, `upper`; and of coefficients of a fit `statistic` (z), `df`
        (inf: normal) and `pvalue` (two-sided). Of a posterior, mean, SD and equal-tailed interval of the draws. NaN
        where there is nothing: standard errors have no counterpart on the response scale, so `se` is NaN there, while
        the test is that on the scale of the model. The attributes `prob` and `scale` of the frame repeat the arguments.

    Raises
    ------
    SpecError
        When `tree` is not a results tree with estimates, `prob` is not a probability, the measure of the model is not
        read on another scale, or `vcov` or `df` is not None.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> bm.estimates(fit)[["kind", "estimate", "se", "lower", "upper"]].round(3)
                           kind  estimate     se  lower  upper
    parameter
    beta[Intercept]        beta    -0.745  0.186 -1.110 -0.381
    tau[unit, Intercept]    tau     0.581  0.154  0.345  0.978
    tau2[unit, Intercept]   psi     0.338  0.179  0.119  0.956
    >>> bm.estimates(fit, scale="response")[["estimate", "se", "lower", "upper"]].head(1).round(4)
                     estimate  se   lower   upper
    parameter
    beta[Intercept]    0.4746 NaN  0.3296  0.6835
    """
    for name, value in (("vcov", vcov), ("df", df)):
        if value is not None:
            raise SpecError(
                f"{name} is {shown(value)}; this version has the model's own covariance and normal tests alone\n"
                f"  leave {name} out"
            )
    on_response(tree, scale)  # before anything is computed
    frame = pd.concat([parameters(tree, prob), covariances(tree, prob)])
    frame.insert(3, "outcome", _outcomes(tree, frame))
    numbers = ["estimate", "se", "lower", "upper"]
    frame[numbers] = frame[numbers].astype(float)
    _add_tests(frame, tree)
    frame = on_scale(frame, tree, prob, scale)[list(COLUMNS)]
    frame.attrs = {"prob": prob, "scale": scale or "model"}
    return frame


def _add_tests(frame: pd.DataFrame, tree: xr.DataTree) -> None:
    """z tests of the coefficients of a fit; a posterior has none."""
    tested = (frame["kind"] == BETA).to_numpy() & (not is_posterior(tree))
    z = (frame["estimate"] / frame["se"]).where(tested)
    frame["statistic"] = z
    frame["df"] = np.where(tested, np.inf, np.nan)
    frame["pvalue"] = 2 * ndtr(-z.abs())


def on_scale(frame: pd.DataFrame, tree: xr.DataTree, prob: float, scale: Scale | None) -> pd.DataFrame:
    """Parameters on the scale that is asked for: on "response" coefficients as people read the measure.

    frame : by label with `kind`, `term`, `estimate`, `se`, `lower` and `upper`, as `parameters` has them.
    """
    if not on_response(tree, scale):
        return frame
    frame, record, of_coef = frame.copy(), measure_of(tree), roles(tree)
    draws = beta_draws(tree) if is_posterior(tree) else None
    for j, (coef, role) in enumerate(of_coef.items()):
        if not is_read_elsewhere(record, role):
            continue
        at = (frame["kind"] == BETA).to_numpy() & (frame["term"] == coef).to_numpy()
        if draws is None:
            there = to_response(record, role, frame.loc[at, ["estimate", "lower", "upper"]].to_numpy(float))
        else:
            statistics = summarised(to_response(record, role, draws[:, j]), prob)
            there = np.array([[statistics[name] for name in ("mean", "lower", "upper")]])
        frame.loc[at, ["estimate", "lower", "upper"]] = there
        frame.loc[at, "se"] = np.nan
    return frame


def _outcomes(tree: xr.DataTree, frame: pd.DataFrame) -> list[str]:
    """The outcome to which each parameter belongs, "" for what belongs to several."""
    constant = group(tree, schema.CONSTANT)
    own = {(BETA, ""): _touched(tree, schema.COEF, constant["X"].to_numpy())}
    for level in level_structures(tree):
        of = _touched(tree, schema.effect(level), constant[schema.Z(level)].to_numpy())
        pairs = {f"{a}~{b}": of[a] if of[a] == of[b] else "" for a in of for b in of}
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
