"""Wald tests of several coefficients, or combinations of them, at once."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._validation import check_probability
from bayesmeta.errors import SpecError
from bayesmeta.inference.contrasts import Contrasts, of_terms, written
from bayesmeta.inference.moderators import omnibus_contrasts
from bayesmeta.inference.reference import Vcov, reference_of_fit
from bayesmeta.inference.wild_bootstrap import wild_bootstrap
from bayesmeta.tree.specification import reading_once, spec_from_tree

CONTRAST = "contrast"


def wald_test(
    tree: xr.DataTree,
    terms: str | list[str] | None = None,
    contrast: Any = None,
    vcov: Vcov | None = None,
    df: str | None = None,
    prob: float = 0.95,
    bootstrap: Literal["wild", "rademacher", "webb"] | None = None,
    draws: int | None = None,
    random_seed: int | Sequence[int] | None = None,
) -> xr.Dataset:
    """Test that several coefficients, or combinations of them, are zero or have other values.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit`, also one read back from a file.
    terms : str or list of str, optional
        Terms of the fixed part, as "alloc", "C(alloc)" or "ablat:year", with all their coefficients, of all outcomes;
        or coefficients, as "PD.year". Tested together.
    contrast : str, dict, array or list of these, optional
        Combinations of coefficients: text such as "ablat = 0, year = 2" or "PD.year - AL.year", weights by coefficient
        such as `{"PD.year": 1, "AL.year": -1}`, or numbers (P,) or (q, P), one for each coefficient. By default, and
        without `terms`, all predictors: that means do not depend on them (the QM of metafor), or, in a model without
        predictors, that the means are zero.
    vcov, df : optional
        Covariance and reference distribution of the coefficients, see `bm.estimates`.
    prob : float, default 0.95
        Probability of the intervals of the single combinations, between 0 and 1.
    bootstrap : {"wild", "rademacher", "webb"}, optional
        With a sandwich as `vcov`: p values by the wild bootstrap of its Wald statistics. The residuals under the
        hypothesis are multiplied by one random number for each cluster, -1 or 1 ("rademacher") or one of six ("webb");
        "wild" takes the latter with up to ten clusters. The weights are those of the fit in every draw.
    draws : int, optional
        Data sets of the bootstrap, by default 1999; all arrangements of the multipliers where there are no more.
    random_seed : int or sequence of int, optional
        Of the bootstrap: whatever `numpy.random.SeedSequence` takes.

    Returns
    -------
    Dataset
        Of all together `statistic`, `df1`, `df2`, `pvalue`: chi-squared with df1 degrees of freedom where df2 is
        infinite, else F, for "kenward-roger" and for a sandwich with its factor; NaN where there is no test. Over
        `contrast`, of each alone: `estimate`, `se`, `lower`, `upper`, `null` (the value that it is compared with) and
        `contrast_pvalue`. The attributes say which `vcov` and `df` were used. With a bootstrap `pvalue` and
        `contrast_pvalue` are by it, in the attributes are its multipliers (`bootstrap`), its `draws` and whether these
        are all that there are (`enumerated`); everything else is as without.

    Raises
    ------
    SpecError
        When a term or a coefficient is unknown, combinations have the wrong length or are linearly dependent, the tree
        is not that of a fit, or `vcov` or `df` is not for it; when a bootstrap has no sandwich.

    Warns
    -----
    BoundaryWarning
        When there is no test, for the reason in the message.
    AssumptionWarning
        When a bootstrap has so few arrangements that no p value could be below 0.05.

    References
    ----------
    Kenward and Roger (1997), Biometrics 53:983-997; Fai and Cornelius (1996), J. Stat. Comput. Simul. 54:363-378;
    Tipton and Pustejovsky (2015), J. Educ. Behav. Stat. 40:604-634; Joshi, Pustejovsky and Beretvas (2022), Res. Synth.
    Methods 13:457-477, and Webb (2023), Can. J. Econ. 56:839-858, of the wild bootstrap.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ alloc + ablat", bm.datasets.load("bcg"), S="logorvar"))
    >>> test = bm.wald_test(fit, "alloc", df="residual")
    >>> [round(test[name].item(), 4) for name in ("statistic", "df1", "df2", "pvalue")]
    [0.5735, 2.0, 9.0, 0.5829]
    >>> bm.wald_test(fit, "ablat", vcov="CR2", bootstrap="wild", random_seed=1)["pvalue"].item() < 0.05
    True
    """
    if terms is not None and contrast is not None:
        raise SpecError("wald_test takes terms or contrast, not both; write all as contrast")
    prob = check_probability(prob)
    with reading_once():
        used = reference_of_fit(tree, vcov, df, "bm.wald_test")
        made = _contrasts(tree, terms, contrast)
    wild = wild_bootstrap(used, bootstrap, draws, random_seed)
    together, each = used.joint(made.matrix, made.null), used.each(made.matrix, made.null)
    if wild is not None:
        together = together._replace(pvalue=wild.pvalue(made.matrix, made.null))
        alone = [wild.pvalue(row[None], null[None]) for row, null in zip(made.matrix, made.null, strict=True)]
        each = each._replace(pvalue=np.array(alone))
    lower, upper = each.bounds(prob)
    of_each = {"estimate": each.estimate, "se": each.se, "lower": lower, "upper": upper, "null": made.null}
    return xr.Dataset(
        {name: (CONTRAST, values) for name, values in (of_each | {"contrast_pvalue": each.pvalue}).items()}
        | {name: float(value) for name, value in together._asdict().items()},
        {CONTRAST: pd.Index(made.labels, dtype=object)},
        used.attrs | {"prob": prob} | (wild.attrs if wild else {}),
    )


def _contrasts(tree: xr.DataTree, terms: str | list[str] | None, contrast: Any) -> Contrasts:
    spec = spec_from_tree(tree)
    if terms is not None:
        return of_terms(spec, terms)
    if contrast is not None:
        return written(spec, contrast)
    matrix = omnibus_contrasts(tree)
    return Contrasts(matrix, np.zeros(len(matrix)), written(spec, matrix).labels)
