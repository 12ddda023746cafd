"""What a summary says of a fit as a whole in a line each: test of the predictors, R2, and the criteria."""

import warnings

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta.display.remarks import varies
from bayesmeta.display.tables import Facts, df_text, fixed, pvalue
from bayesmeta.errors import BayesmetaError, BayesmetaWarning
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.moderators import all_effects, omnibus
from bayesmeta.inference.partition import r_squared
from bayesmeta.inference.reference import JointTest, Reference
from bayesmeta.tree.parameters import effects, level_structures
from bayesmeta.tree.specification import group

_MOST_ROWS = 200  # beyond, R2 takes longer than a page may: it fits the model without predictors


def moderators_and_fit(tree: xr.DataTree, used: Reference | None) -> list[Facts]:
    """The omnibus test of the predictors with R2, or of the effects of several outcomes; nothing for a posterior."""
    if used is None:
        return []
    pairs = []
    if (test := omnibus(tree, used)) is not None:
        pairs.append(("Test of moderators", joint_in_words("QM", test)))
        if (share := explained(tree)) is not None:
            pairs.append(("R2", f"{fixed(share, 2)}% of the variance of true effects explained by the predictors"))
    elif (test := all_effects(tree, used)) is not None:
        pairs.append(("Test that all effects are zero", joint_in_words("chi2", test)))
    return [Facts(tuple(pairs))] if pairs else []


def joint_in_words(name: str, test: JointTest) -> str:
    """The chi-squared statistic by its name, or F with both degrees of freedom."""
    if np.isnan(test.pvalue):
        return "none: too few degrees of freedom"
    p = pvalue(test.pvalue)
    by_normal = np.isinf(test.df2)
    letter, df = (name, f"{test.df1:.0f}") if by_normal else ("F", f"{test.df1:.0f} and {df_text(test.df2)}")
    return f"{letter} = {fixed(test.statistic, 2)}, df {df}, p {p.replace('<', '< ') if '<' in p else f'= {p}'}"


def explained(tree: xr.DataTree) -> float | None:
    """R2 in percent, for one outcome with one effect per level; None where there is none, or it takes too long."""
    one = all(len(effects(tree, level)) <= 1 for level in level_structures(tree))
    small = group(tree, schema.CONSTANT).sizes[schema.OBS] <= _MOST_ROWS
    if not (varies(tree) and one and small):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BayesmetaWarning)
            total = float(r_squared(tree)["R2"].values[0, -1])  # of all levels
    except BayesmetaError:
        return None
    return total if np.isfinite(total) else None


def criteria(tree: xr.DataTree) -> list[Facts]:
    """Log-likelihood and information criteria in one line; none where the method has no likelihood."""
    if schema.CRITERIA not in tree.children or not np.isfinite(float(group(tree, schema.CRITERIA)["loglik"])):
        return []
    values = {str(name): float(value) for name, value in group(tree, schema.CRITERIA).items()}
    names = {"logLik": "loglik", "AIC": "aic", "AICc": "aicc", "BIC": "bic"}
    words = ", ".join(f"{name} {fixed(values[key], 3)}" for name, key in names.items())
    n, rank = f"{values['nobs']:.0f}", int(values["df_fixed"])
    if method_of(tree).likelihood == "restricted":  # which counts what the coefficients leave
        n += f" = {values['nobs'] + rank:.0f} - {rank} coefficient{'s' * (rank != 1)}"
    return [Facts((("Criteria", f"{words} (df {values['df']:.0f}, n {n})"),))]
