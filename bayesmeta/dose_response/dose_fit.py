"""How well a curve describes what studies report: deviance, coefficient of determination, decorrelated residuals."""

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta.dose_response.dose_curve import dose_spec
from bayesmeta.formula.against import columns_of
from bayesmeta.io.columns import label
from bayesmeta.model.first_stage import Described
from bayesmeta.model.sampling_covariance import blocks_by_code
from bayesmeta.model.spec import Spec


def goodness_of_fit(tree: xr.DataTree) -> xr.Dataset:
    """How well one curve, the same for all studies, describes the effects at all doses.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a specification of `bm.dose_response.specify`; the answer is that of its
        basis, whatever the method and the stages.

    Returns
    -------
    Dataset
        `deviance`, `df`, `pvalue`: the sum of squares of the decorrelated residuals, and the test that one curve is
        enough (of the basis, and of the same curve in all studies). `r_squared`, `r_squared_adjusted`: the share of the
        weighted sum of squares of the effects that the curve describes. Over `row`, of every dose but the references:
        `study`, the doses, `effect`, `fitted`, `residual` (decorrelated), `decorrelated_effect`, `decorrelated_fitted`.

    Raises
    ------
    SpecError
        For a tree of another model.

    Notes
    -----
    With S = C C' the covariance of the effects, C lower triangular over the doses of a study in increasing order, and
    the generalised least squares estimate beta without variation between studies, the residuals are C^-1 (y - X beta),
    independent with variance 1 under the model. R2 is 1 - deviance / (y' S^-1 y). Their signs and sizes depend on the
    order of the doses, their sum of squares does not.

    References
    ----------
    Discacciati, Crippa and Orsini (2017), Res. Synth. Methods 8:149-160.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> cohorts = bm.datasets.load("alcohol")
    >>> columns = {"study": "id", "cases": "cases", "person_years": "peryears", "y": "logrr", "se": "se"}
    >>> fit = bm.dose_response.goodness_of_fit(bm.fit(bm.dose_response.specify(cohorts, **columns)))
    >>> [round(fit[name].item(), 3) for name in ("deviance", "df", "pvalue", "r_squared")]
    [48.21, 39.0, 0.148, 0.32]
    """
    spec = dose_spec(tree, "goodness_of_fit")
    studies, doses, y, X, matrices = dose_rows(spec)
    described = Described.by(X, y, matrices.values())
    by_row = {"study": studies, "effect": y, "fitted": X @ described.beta, "residual": described.residuals}
    by_row |= {"decorrelated_effect": described.effects}
    by_row |= {"decorrelated_fitted": described.effects - described.residuals}
    return xr.Dataset(
        described.statistics() | {name: ("row", values) for name, values in by_row.items()},
        {"row": np.arange(len(y)), **{name: ("row", doses[name].to_numpy()) for name in doses}},
    )


def dose_rows(
    spec: Spec,
) -> tuple[FloatArray, pd.DataFrame, FloatArray, FloatArray, dict[str, FloatArray]]:
    """Studies (labels), doses, effects, the basis and S by study, of all rows without references; in both stages."""
    record = spec.analysis
    if record["stages"] == 2:
        frame = pd.DataFrame(record["rows"])
        X = columns_of(" + ".join(record["terms"]), frame.drop(columns=[record["study"], record["outcome"]]))[0]
        matrices = {name: np.array(matrix) for name, matrix in record["S"].items()}
        return (
            frame[record["study"]].to_numpy(),
            frame[record["doses"]],
            frame[record["outcome"]].to_numpy(),
            X,
            matrices,
        )
    frame = spec.data.iloc[spec.row]
    studies = frame[record["study"]].map(label).to_numpy(dtype=object)
    codes, names = pd.factorize(studies)
    matrices = dict(zip(map(str, names), blocks_by_code(spec.S, codes), strict=True))
    return studies, frame[record["doses"]].reset_index(drop=True), spec.y, spec.X, matrices
