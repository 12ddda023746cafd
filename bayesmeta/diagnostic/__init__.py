"""Diagnostic accuracy: from two-by-two tables of tests to a specification, summary points, regions and curves.

`specify` makes the bivariate model of logit sensitivity and specificity, which `bm.fit`, `bm.sample` and all else take;
the other functions ask its results.
"""

from bayesmeta._validation.calls import explain
from bayesmeta.diagnostic.accuracy_measures import likelihood_ratios as likelihood_ratios
from bayesmeta.diagnostic.accuracy_measures import predictive_values as predictive_values
from bayesmeta.diagnostic.accuracy_measures import summary_point as summary_point
from bayesmeta.diagnostic.bivariate import specify as specify
from bayesmeta.diagnostic.by_study import studies as studies
from bayesmeta.diagnostic.by_study import univariate as univariate
from bayesmeta.diagnostic.curves import auc as auc
from bayesmeta.diagnostic.curves import hsroc as hsroc
from bayesmeta.diagnostic.curves import sroc as sroc
from bayesmeta.diagnostic.regions import regions as regions

__all__ = [
    *("auc", "hsroc", "likelihood_ratios", "predictive_values", "regions", "specify", "sroc", "studies"),
    *("summary_point", "univariate"),
]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.diagnostic.")
