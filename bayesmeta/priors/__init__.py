"""Priors: what users write, published and default ones, their checks, and the priors of one model."""

from bayesmeta._validation.calls import explain
from bayesmeta.priors.prior import Prior as Prior
from bayesmeta.priors.prior import Priors as Priors
from bayesmeta.priors.prior import half_cauchy as half_cauchy
from bayesmeta.priors.prior import half_normal as half_normal
from bayesmeta.priors.prior import half_t as half_t
from bayesmeta.priors.prior import rhodes as rhodes
from bayesmeta.priors.prior import turner as turner

__all__ = ["Prior", "Priors", "half_cauchy", "half_normal", "half_t", "rhodes", "turner"]


def __dir__() -> list[str]:
    return __all__


explain(globals(), ("Prior", "Priors"), "bm.")
explain(globals(), __all__, "bm.priors.")
