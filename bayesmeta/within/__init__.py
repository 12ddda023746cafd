"""Builders of the sampling covariance S: what a study's report leaves to be worked out."""

from bayesmeta._validation.calls import explain
from bayesmeta.within.assumed import AssumedCovariance as AssumedCovariance
from bayesmeta.within.correlation import StandardErrors as StandardErrors
from bayesmeta.within.correlation import ar1 as ar1
from bayesmeta.within.correlation import car1 as car1
from bayesmeta.within.correlation import correlated as correlated
from bayesmeta.within.correlation import from_se as from_se
from bayesmeta.within.correlation import nearest as nearest
from bayesmeta.within.dependence import imputed as imputed
from bayesmeta.within.dependence import vcalc as vcalc
from bayesmeta.within.dose_response import greenland_longnecker as greenland_longnecker
from bayesmeta.within.dose_response import hamling as hamling
from bayesmeta.within.olkin_siotani import Correlations as Correlations
from bayesmeta.within.olkin_siotani import partial_correlations as partial_correlations
from bayesmeta.within.olkin_siotani import rcalc as rcalc
from bayesmeta.within.shared_arms import Multinomial as Multinomial
from bayesmeta.within.shared_arms import gleser_olkin as gleser_olkin
from bayesmeta.within.shared_arms import multinomial as multinomial
from bayesmeta.within.shared_arms import shared_arms as shared_arms

__all__ = [
    "AssumedCovariance",
    "Correlations",
    "Multinomial",
    "StandardErrors",
    "ar1",
    "car1",
    "correlated",
    "from_se",
    "gleser_olkin",
    "greenland_longnecker",
    "hamling",
    "imputed",
    "multinomial",
    "nearest",
    "partial_correlations",
    "rcalc",
    "shared_arms",
    "vcalc",
]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.within.")
