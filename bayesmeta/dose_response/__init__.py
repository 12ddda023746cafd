"""Dose-response meta-analysis: from cases by dose to a specification, a curve, and how well it describes studies."""

from bayesmeta._validation.calls import explain
from bayesmeta.dose_response.dose_curve import curve as curve
from bayesmeta.dose_response.dose_curve import nonlinearity as nonlinearity
from bayesmeta.dose_response.dose_fit import goodness_of_fit as goodness_of_fit
from bayesmeta.dose_response.dose_models import specify as specify

__all__ = ["curve", "goodness_of_fit", "nonlinearity", "specify"]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.dose_response.")
