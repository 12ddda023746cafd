"""How far designs agree: Cochran's Q within and between them, and the test of design-by-treatment interaction."""

from typing import Any

import numpy as np
import xarray as xr
from scipy.special import chdtrc

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.errors import SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import REGISTER, method_of
from bayesmeta.inference.reference import reference
from bayesmeta.inference.weights import sampling_matrix, whitened_residuals
from bayesmeta.model.spec import Spec
from bayesmeta.network.comparisons import network_of
from bayesmeta.network.extended import design_by_treatment, designs_of, interactions
from bayesmeta.tree.posterior_draws import is_posterior

PART, DESIGN = "part", "design"
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
    spec = network_of(source, "designs")
    if spec.analysis["model"] != "consistency" or spec.analysis["covariates"]:
        raise SpecError("bm.network.designs is of consistency models without covariates")
    if method is None:
        known = not isinstance(source, Spec) and not is_posterior(source)
        method = method_of(source).name if known else "reml"
    check_choice(method, list(REGISTER), "method")
    own = designs_of(spec)
    names = list(dict.fromkeys(own))
    root = np.linalg.cholesky(sampling_matrix(spec))
    whole, between = interactions(spec, own, names)

    def squares(*further: FloatArray) -> FloatArray:
        return whitened_residuals(root, np.column_stack([spec.X, *further]), spec.y) ** 2

    total, of_rows = squares().sum(), squares(between)
    within = of_rows.sum()
    n, P, q = len(spec.y), spec.X.shape[1], len(whole)
    Q, df = np.array([total, within, total - within]), np.array([n - P, n - P - q, q])
    detached = [interactions(spec, own, [name])[1] for name in names]
    left = np.array([squares(D).sum() - within for D in detached])
    left_df = np.array([q - D.shape[1] for D in detached])
    by_design = [own == name for name in names]
    Q_within = np.array([of_rows[at].sum() for at in by_design])
    trials = np.array([spec.data.loc[spec.kept, spec.analysis["study"]][at].nunique() for at in by_design])
    df_within = np.array([at.sum() for at in by_design]) // trials * (trials - 1)
    variables: dict[str, Any] = {"Q": (PART, Q), "df": (PART, df), "pvalue": (PART, _tail(Q, df))}
    variables["trials"] = (DESIGN, trials)
    for name, values, dfs in (("within", Q_within, df_within), ("detached", left, left_df)):
        variables |= {f"Q_{name}": (DESIGN, np.where(dfs > 0, values, 0.0)), f"df_{name}": (DESIGN, dfs)}
        variables[f"pvalue_{name}"] = (DESIGN, _tail(values, dfs))
    variables |= _interaction(spec, method, q)
    return xr.Dataset(variables, {PART: list(PARTS), DESIGN: names}, {"method": method})


def _tail(Q: FloatArray, df: FloatArray) -> FloatArray:
    return np.where(df > 0, chdtrc(np.maximum(df, 1), np.maximum(Q, 0)), np.nan)


def _interaction(spec: Spec, method: str, q: int) -> dict[str, float]:
    if not q:
        return dict.fromkeys(("Q_interaction", "pvalue_interaction", "tau_interaction"), np.nan) | {"df_interaction": 0}
    wider = design_by_treatment(spec)
    tree = fit(wider, method)
    used = reference(tree, None, "z")
    assert used is not None
    test = used.joint(np.eye(len(wider.coef))[-q:])
    tau = np.sqrt(np.max(tree["estimate"][f"psi_{spec.levels[-1].name}"].to_numpy()))
    return {
        "Q_interaction": test.statistic,
        "df_interaction": q,
        "pvalue_interaction": test.pvalue,
        "tau_interaction": float(tau),
    }
