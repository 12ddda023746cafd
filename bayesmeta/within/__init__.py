"""Builders of the sampling covariance S: what a study's report leaves to be worked out."""

from bayesmeta._validation.calls import explain
from bayesmeta.within.correlation import StandardErrors as StandardErrors
from bayesmeta.within.correlation import ar1 as ar1
from bayesmeta.within.correlation import correlated as correlated
from bayesmeta.within.correlation import from_se as from_se
from bayesmeta.within.correlation import nearest as nearest
from bayesmeta.within.dose_response import greenland_longnecker as greenland_longnecker
from bayesmeta.within.dose_response import hamling as hamling

__all__ = ["StandardErrors", "ar1", "correlated", "from_se", "greenland_longnecker", "hamling", "nearest"]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.within.")
