"""Regions about the summary point: where the mean lies, and where the truth of a new study does."""

from typing import Literal

import pandas as pd
import xarray as xr

from bayesmeta._validation import check_choice, check_probability
from bayesmeta.diagnostic.bivariate import Asked
from bayesmeta.errors import SpecError
from bayesmeta.inference.joint_regions import table_of_regions
from bayesmeta.inference.quantities import NewData
from bayesmeta.inference.reference import Vcov, reference

Region = Literal["confidence", "prediction"]
REGIONS = ("confidence", "prediction")
Shape = Literal["ellipse", "highest-density"]


def regions(
    tree: xr.DataTree,
    newdata: NewData = None,
    *,
    region: Region | None = None,
    shape: Shape | None = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Outlines of the regions that hold the summary point, and the sensitivity and specificity of a new study.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`.
    region : {"confidence", "prediction"}, optional
        "confidence", for the summary point, of a posterior the credible region; "prediction", for the truth of a new
        study. By default both.
    shape : {"ellipse", "highest-density"}, optional
        Of a fit "ellipse", on the scale of the model: the points that `bm.wald_test` does not reject, and for a new
        study the same with Psi added to the covariance. Of a posterior "highest-density", the default, exactly where
        it is known without Markov chains, as a mixture of normal distributions; of chains by the kernel density of the
        draws of the summary point, and by the mixture over draws of normal distributions with their means and Psi. Or
        "ellipse", with mean and covariance of the posterior, and a chi-squared radius.
    prob : float, default 0.95
        Probability of the intervals.
    vcov, df : optional
        As for `bm.diagnostic.summary_point`.

    Returns
    -------
    DataFrame
        Indexed by the predictors and `region`, in the order of the outline, the first point repeated at the end:
        columns `fpr` and `sensitivity`, as proportions. NaN where there is no test of two coefficients.

    Raises
    ------
    SpecError
        As `bm.diagnostic.summary_point`, and when `region` or `shape` is unknown, or the shape is not one of a fit.

    Warns
    -----
    BoundaryWarning
        When the reference distribution has no region, for the reason in the message.

    References
    ----------
    Reitsma et al. (2005), J. Clin. Epidemiol. 58:982-990; Harbord et al. (2007), Biostatistics 8:239-251, section 4.1.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> outline = bm.diagnostic.regions(fit, region="confidence", df="z")
    >>> outline.agg(["min", "max"]).round(3)
           fpr  sensitivity
    min  0.156        0.781
    max  0.302        0.949
    """
    prob, points = check_probability(prob), Asked.of(tree, newdata, "regions")
    asked = REGIONS if region is None else (check_choice(region, REGIONS, "region"),)
    used = reference(tree, vcov, df)
    form = None if shape is None else check_choice(shape, ("ellipse", "highest-density"), "shape")
    if used is not None and form == "highest-density":
        raise SpecError('shape="highest-density" is of posteriors; the regions of a fit are ellipses')
    outlines = table_of_regions(points, asked, prob, used, form or "highest-density")
    frame = pd.DataFrame({"fpr": 1 - outlines["second"], "sensitivity": outlines["first"]})
    frame.attrs.update(prob=prob, shape=form or ("highest-density" if used is None else "ellipse"))
    frame.attrs.update({} if used is None else used.attrs)
    return frame
