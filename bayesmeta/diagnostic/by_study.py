"""What every study says of a test by itself, and the models of one measure that were used before bivariate ones."""

from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_choice, check_probability
from bayesmeta.diagnostic.bivariate import Accuracy
from bayesmeta.diagnostic.cell_counts import CELLS, Tables
from bayesmeta.effects.associations import pearson
from bayesmeta.effects.one_group import Proportions
from bayesmeta.effects.recipe import RECIPES
from bayesmeta.effects.two_by_two import TwoByTwo
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import specify as specify_model

Single = Literal["dor", "positive", "negative"]
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
    tp, fp, fn, tn = shown.cells
    for name, cells in (("sensitivity", (tp, fn)), ("specificity", (tn, fp)), ("fpr", (fp, tn))):
        lower, upper = (of := Proportions(*cells)).wilson(prob)
        columns |= {name: of.p, f"{name}_lower": lower, f"{name}_upper": upper}
    for name in MEASURES:
        value, variance = log_ratio(accuracy.used, name)
        reach = z * np.sqrt(variance)
        columns |= {name: np.exp(value), f"{name}_lower": np.exp(value - reach), f"{name}_upper": np.exp(value + reach)}
    frame = pd.DataFrame(columns, index=pd.Index(accuracy.tables.names, name=None))
    frame.attrs.update(prob=prob, corrected=corrected, **_between_tables(shown, accuracy.used, prob))
    return frame


def log_ratio(tables: Tables, name: str) -> tuple[FloatArray, FloatArray]:
    """(n,) logarithms of the ratios of tables, and their sampling variances."""
    tp, fp, fn, tn = tables.cells
    cells = {"dor": (tp, fn, fp, tn), "positive": (tp, fn, fp, tn), "negative": (fn, tp, tn, fp)}[name]
    value, variances = RECIPES["OR" if name == "dor" else "RR"].formula(TwoByTwo(*cells))
    return value, variances["LS"]


def _between_tables(shown: Tables, used: Tables, prob: float) -> dict[str, float]:
    """How sensitivity and false-positive rate go together, and tests that all tables have one of either."""
    names = ("correlation", "correlation_lower", "correlation_upper")
    answer = dict(zip(names, pearson(shown.sensitivity, shown.fpr, prob), strict=True))
    for name, (of, against) in {"sensitivity": (0, 2), "specificity": (3, 1)}.items():
        tested = Proportions(used.cells[of], used.cells[against]).equality()
        answer |= {f"{name}_{what}": value for what, value in zip(("chi2", "df", "pvalue"), tested, strict=True)}
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
