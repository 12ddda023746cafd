"""How far designs agree: Cochran's Q within and between them, and the test of design-by-treatment interaction."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import chdtrc

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_boolean, check_choice
from bayesmeta.estimation.methods import REGISTER, method_of
from bayesmeta.inference.detached import detaching, pooled
from bayesmeta.inference.refitted import Refitted
from bayesmeta.inference.weights import cochran, marginal_matrix, sampling_matrix
from bayesmeta.model.spec import Spec
from bayesmeta.network.comparisons import consistency_of, contrast_rows
from bayesmeta.network.extended import JOINED, design_by_treatment, designs_of, interactions
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.within.trial_tables import TREATMENT, VERSUS

PART, DESIGN, CONTRAST, DETACHED, SOURCE = "part", "design", "contrast", "detached", "source"
PARTS = ("total", "within designs", "between designs")


def designs(source: Any, method: str | None = None) -> xr.Dataset:
    """Whether designs, the sets of treatments that trials compare, agree.

    Parameters
    ----------
    source : Spec or DataTree
        A consistency model of `bm.network.specify`, or its results.
    method : str, optional
        How the model of design-by-treatment interaction is fitted; by default as the results were, else "reml".

    Returns
    -------
    Dataset
        Over `part`, total, within designs and between designs: `Q`, `df`, `pvalue`, without heterogeneity. Over
        `design`: `trials`; `Q_within`, `df_within`, `pvalue_within`, its part of the Q within designs; `Q_detached`,
        `df_detached`, `pvalue_detached`, the Q between designs that is left when the design has effects of its own:
        much less than the whole where it is the one that disagrees. Single numbers: `Q_interaction`, `df_interaction`,
        `pvalue_interaction`, the test of consistency with heterogeneity, which is `tau_interaction` in the model of
        interaction. NaN where no design can contradict the others.

    Raises
    ------
    SpecError
        When the source is no consistency model, or the method is unknown.

    References
    ----------
    Krahn, Binder and König (2013), BMC Med. Res. Methodol. 13:35; Higgins, Jackson, Barrett, Lu, Ades and White (2012),
    Res. Synth. Methods 3:98-110.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> table = bm.network.designs(spec)
    >>> table["Q"].round(2).values.tolist(), table["df"].values.tolist(), table["pvalue_interaction"].round(3).item()
    ([96.98, 74.45, 22.53], [18, 11, 7], 0.943)
    """
    spec, method = _asked(source, method, "designs")
    own = designs_of(spec)
    code, names = pd.factorize(own)
    (total, df), (of_rows, df_within) = cochran(spec), cochran(spec, interactions(spec, own, names)[1])
    apart = [cochran(spec, interactions(spec, own, [name])[1]) for name in names]
    Q, within, detached = total.sum(), of_rows.sum(), np.array([each.sum() for each, _ in apart])
    df_detached, rows = np.array([left for _, left in apart]), np.bincount(code)
    trials = contrast_rows(spec)[spec.analysis["study"]].groupby(code).nunique().to_numpy()
    variables: dict[str, Any] = {"trials": (DESIGN, trials)}
    variables |= _tests(PART, "", np.array([Q, within, Q - within]), np.array([df, df_within, df - df_within]))
    variables |= _tests(DESIGN, "_within", np.bincount(code, of_rows), rows - rows // trials)
    variables |= _tests(DESIGN, "_detached", detached - within, df_detached - df_within)
    variables |= _interaction(spec, method, df - df_within)
    return xr.Dataset(variables, {PART: list(PARTS), DESIGN: names}, {"method": method})


def _tests(dim: str, name: str, Q: FloatArray, df: IntArray) -> dict[str, tuple[str, FloatArray | IntArray]]:
    """Q, its degrees of freedom and p-value, of which there is none without degrees of freedom."""
    pvalue = np.where(df > 0, chdtrc(np.maximum(df, 1), np.maximum(Q, 0)), np.nan)
    return {f"Q{name}": (dim, np.where(df > 0, Q, 0.0)), f"df{name}": (dim, df), f"pvalue{name}": (dim, pvalue)}


def _interaction(spec: Spec, method: str, q: int) -> dict[str, float]:
    """The joint test of all q interactions, with the heterogeneity of their model."""
    statistic, pvalue, tau = np.nan, np.nan, np.nan
    if q:
        wider = Refitted.fitted(design_by_treatment(spec), method)
        test = wider.joint(np.eye(len(wider.spec.coef))[-q:])
        statistic, pvalue, tau = test.statistic, test.pvalue, wider.tau
    names = ("Q_interaction", "df_interaction", "pvalue_interaction", "tau_interaction")
    return dict(zip(names, (statistic, q, pvalue, tau), strict=True))


def _asked(source: Any, method: str | None, function: str) -> tuple[Spec, str]:
    """A consistency model, and how the model of interaction is fitted: as the results were, else by REML."""
    spec = consistency_of(source, function)
    if method is None:
        known = not isinstance(source, Spec) and not is_posterior(source)
        method = method_of(source).name if known else "reml"
    check_choice(method, list(REGISTER), "method")
    return spec, method


def net_heat(source: Any, random: bool = False, method: str | None = None) -> xr.Dataset:
    """Where designs disagree: how Cochran's Q between designs changes, part by part, when one of them is detached.

    Parameters
    ----------
    source : Spec or DataTree
        A consistency model of `bm.network.specify`, or its results.
    random : bool, default False
        Whether estimates vary between trials as in the model of design-by-treatment interaction; by default by sampling
        errors alone.
    method : str, optional
        How that model is fitted; by default as the results were, else "reml".

    Returns
    -------
    Dataset
        Over `contrast`, the effects of all designs against their first treatment: `design`, `treatment`, `versus`;
        `Q`, their parts of the Q between designs. Over (contrast, detached) `change`, by how much that part falls when
        the design has effects of its own: where it is large, the design is what the contrast disagrees with; negative
        where that reveals a disagreement; NaN where a treatment would be cut off. Over (contrast, source) `hat`, the
        weight of direct estimates in the network's estimate of the same contrast. The parts of designs with several
        contrasts depend on their first treatment, which is the reference where they have it. Attribute `tau`, the SD
        between trials.

    Raises
    ------
    SpecError
        When the source is no consistency model, no design can contradict the others, or the method is unknown.

    References
    ----------
    Krahn, Binder and König (2013), BMC Med. Res. Methodol. 13:35.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> table = bm.network.net_heat(spec)
    >>> table["Q"].sum().round(2).item()
    22.53
    """
    spec, method = _asked(source, method, "net_heat")
    check_boolean(random, "random")
    wider = design_by_treatment(spec)  # refuses networks without a loop
    frame = contrast_rows(spec)[[TREATMENT, VERSUS]].assign(**{DESIGN: designs_of(spec)})
    code = frame.groupby([DESIGN, TREATMENT], sort=False).ngroup().to_numpy()
    Sigma, tau = sampling_matrix(spec), 0.0
    if random:
        anew = Refitted.fitted(wider, method)
        Sigma, tau = marginal_matrix(spec, anew.psi), anew.tau
    estimates, V = pooled(spec.y, Sigma, np.equal.outer(code, np.unique(code)))
    first = np.unique(code, return_index=True)[1]
    contrasts, block = frame.iloc[first], frame[DESIGN].iloc[first].to_numpy(str)
    hat, parts, without = detaching(estimates, V, spec.X[first], block)
    variables: dict[str, Any] = {str(name): (CONTRAST, contrasts[name].to_numpy(object)) for name in frame}
    variables |= {"Q": (CONTRAST, parts), "change": ((CONTRAST, DETACHED), parts[:, None] - without)}
    variables["hat"] = ((CONTRAST, SOURCE), hat)
    labels = [f"{t}{JOINED}{v}" + f" in {d}" * (d.count(JOINED) > 1) for t, v, d in contrasts.to_numpy()]
    return xr.Dataset(variables, {CONTRAST: labels, SOURCE: labels, DETACHED: np.unique(block)}, {"tau": tau})
