"""What every study says of a test by itself, and the models of one measure that were used before bivariate ones."""

from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import chdtrc, ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_choice, check_probability
from bayesmeta.diagnostic.bivariate import Accuracy
from bayesmeta.diagnostic.cell_counts import CELLS, Tables
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import specify as specify_model

Single = Literal["dor", "positive", "negative"]
_FEWEST = 4  # studies of which a correlation has an interval
MEASURES = {
    "dor": ("log_dor", "logor"),
    "positive": ("log_positive", "logrr"),
    "negative": ("log_negative", "logrr"),
}


def studies(source: Spec | xr.DataTree, *, prob: float = 0.95, corrected: bool = False) -> pd.DataFrame:
    """Sensitivity, specificity, likelihood ratios and diagnostic odds ratio of every table, with intervals.

    Parameters
    ----------
    source : Spec or DataTree
        What `bm.diagnostic.specify` returned, or results of it.
    prob : float, default 0.95
        Probability of the intervals.
    corrected : bool, default False
        Whether sensitivity and specificity are those of the corrected tables, too, as some software has them. Ratios
        always are.

    Returns
    -------
    DataFrame
        One row for each row of the data: the cells; `sensitivity`, `specificity` and `fpr` with Wilson's intervals;
        `positive` and `negative`, the likelihood ratios, and `dor`, with intervals that are normal for their
        logarithms. Ends of intervals are in columns with `_lower` and `_upper`. NaN where cells are missing.
        Attributes: `correlation` of sensitivity and false-positive rate between tables, with `correlation_lower` and
        `correlation_upper` by Fisher's z; for either outcome `sensitivity_chi2`, `sensitivity_pvalue` and so on, the
        chi-squared tests that it is equal in all tables, and `df` of both.

    Raises
    ------
    SpecError
        When the source is no diagnostic analysis, or an argument is not as above.

    References
    ----------
    Wilson (1927), J. Am. Stat. Assoc. 22:209-212; Deeks (2001), BMJ 323:157-162.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.diagnostic.specify(bm.datasets.load("auditc"), study="study", correction="all")
    >>> bm.diagnostic.studies(spec)[["sensitivity", "sensitivity_lower", "sensitivity_upper", "dor"]].head(2).round(3)
             sensitivity  sensitivity_lower  sensitivity_upper     dor
    study 1        0.839              0.722              0.913  36.379
    study 2        0.712              0.641              0.774  13.913
    """
    accuracy, prob = Accuracy.of(source, "studies"), check_probability(prob)
    check_boolean(corrected, "corrected")
    shown = accuracy.used if corrected else accuracy.tables
    z = float(ndtri(0.5 + prob / 2))
    columns = dict(zip(CELLS, accuracy.tables.cells, strict=True))
    parts = (("sensitivity", 0, shown.diseased), ("specificity", 3, shown.healthy), ("fpr", 1, shown.healthy))
    for name, cell, persons in parts:
        ends = wilson(shown.cells[cell], persons, z)
        columns |= {name: shown.cells[cell] / persons, f"{name}_lower": ends[0], f"{name}_upper": ends[1]}
    for name in MEASURES:
        value, variance = log_ratio(accuracy.used, name)
        reach = z * np.sqrt(variance)
        columns |= {name: np.exp(value), f"{name}_lower": np.exp(value - reach), f"{name}_upper": np.exp(value + reach)}
    frame = pd.DataFrame(columns, index=pd.Index(accuracy.tables.names, name=None))
    frame.attrs.update(prob=prob, corrected=corrected, **_correlation(shown, z), **_equality(accuracy.used))
    return frame


def wilson(events: FloatArray, n: FloatArray, z: float) -> tuple[FloatArray, FloatArray]:
    """Ends of Wilson's intervals of proportions."""
    middle = (events + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(events * (n - events) / n + z**2 / 4)
    return np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)


def log_ratio(tables: Tables, name: str) -> tuple[FloatArray, FloatArray]:
    """(n,) logarithms of the ratios of tables, and their sampling variances."""
    tp, fp, fn, tn = tables.cells
    diseased, healthy = tables.diseased, tables.healthy
    if name == "positive":
        return np.log(tp / diseased) - np.log(fp / healthy), 1 / tp - 1 / diseased + 1 / fp - 1 / healthy
    if name == "negative":
        return np.log(fn / diseased) - np.log(tn / healthy), 1 / fn - 1 / diseased + 1 / tn - 1 / healthy
    return np.log(tp) - np.log(fn) - np.log(fp) + np.log(tn), 1 / tp + 1 / fn + 1 / fp + 1 / tn


def _correlation(tables: Tables, z: float) -> dict[str, float]:
    both = ~(np.isnan(tables.sensitivity) | np.isnan(tables.fpr))
    first, second = tables.sensitivity[both], tables.fpr[both]
    if len(first) < 2 or not np.ptp(first) or not np.ptp(second):
        return dict.fromkeys(("correlation", "correlation_lower", "correlation_upper"), np.nan)
    r = float(np.corrcoef(first, second)[0, 1])
    reach = z / np.sqrt(len(first) - 3) if len(first) >= _FEWEST else np.nan
    with np.errstate(divide="ignore"):
        ends = np.tanh(np.arctanh(r) + reach * np.array([-1, 1]))
    return {"correlation": r, "correlation_lower": float(ends[0]), "correlation_upper": float(ends[1])}


def _equality(tables: Tables) -> dict[str, float]:
    """Pearson's tests that all tables have one sensitivity, and one specificity."""
    answer: dict[str, float] = {}
    for name, yes, no in (("sensitivity", 0, 2), ("specificity", 3, 1)):
        counts = tables.cells[[yes, no]]
        counts = counts[:, ~np.isnan(counts).any(0)]
        expected = counts.sum(1)[:, None] * counts.sum(0) / counts.sum()
        df = counts.shape[1] - 1
        chi2 = float(((counts - expected) ** 2 / expected).sum()) if df and expected.min() > 0 else np.nan
        answer |= {f"{name}_chi2": chi2, f"{name}_df": float(df), f"{name}_pvalue": float(chdtrc(df, chi2))}
    return answer


def univariate(source: Spec | xr.DataTree, measure: Single = "dor") -> Spec:
    """The random-effects model of one measure of accuracy, such as the diagnostic odds ratio.

    It throws away how sensitivity and specificity go together; for tests of asymmetry, such as
    `bm.small_study.deeks`, and for comparison with older reviews.

    Parameters
    ----------
    source : Spec or DataTree
        What `bm.diagnostic.specify` returned, or results of it.
    measure : {"dor", "positive", "negative"}, default "dor"
        Diagnostic odds ratio, positive or negative likelihood ratio.

    Returns
    -------
    Spec
        Of the log ratio, named "log_dor", "log_positive" or "log_negative", with the corrected tables, one random
        effect for each; `bm.fit` and everything else take it. Columns "diseased" and "healthy" are the persons.

    Raises
    ------
    SpecError
        When the source is no diagnostic analysis, or the measure is unknown.

    References
    ----------
    Deeks (2001), BMJ 323:157-162; Glas, Lijmer, Prins, Bonsel and Bossuyt (2003), J. Clin. Epidemiol. 56:1129-1135.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.diagnostic.specify(bm.datasets.load("auditc"), study="study", correction="all")
    >>> fit = bm.fit(bm.diagnostic.univariate(spec), method="dl")
    >>> bm.estimates(fit, df="z", scale="response")["estimate"].iloc[0].round(2).item()
    26.34
    >>> bm.small_study.deeks(fit, n=("diseased", "healthy"))["pvalue"].round(3).item()
    0.025
    """
    accuracy = Accuracy.of(source, "univariate")
    name, record = MEASURES[check_choice(measure, MEASURES, "measure")]
    value, variance = log_ratio(accuracy.used, measure)
    spec = accuracy.spec
    frame = spec.data.assign(**{name: value, "diseased": accuracy.tables.diseased, "healthy": accuracy.tables.healthy})
    return specify_model(f"{name} ~ 1", frame, variance, measure=record, labels=list(accuracy.tables.names))
