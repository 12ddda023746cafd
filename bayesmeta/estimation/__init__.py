"""Frequentist estimators, one function Spec -> Estimate each; importing this package registers all of them.

An estimator of one's own is a function from a `bm.Spec` to an `Estimate`, entered by `register` as a `Method`.
"""

from bayesmeta._validation.calls import explain
from bayesmeta.estimation import common_scale as common_scale
from bayesmeta.estimation import fixed as fixed
from bayesmeta.estimation import ml_many as ml_many
from bayesmeta.estimation import moments as moments
from bayesmeta.estimation import tau2 as tau2
from bayesmeta.estimation.methods import REGISTER as REGISTER
from bayesmeta.estimation.methods import Method as Method
from bayesmeta.estimation.methods import register as register
from bayesmeta.estimation.ml import fit_likelihood as fit_likelihood
from bayesmeta.estimation.record import Estimate as Estimate
from bayesmeta.estimation.record import Optimizer as Optimizer

__all__ = ["REGISTER", "Estimate", "Method", "register"]


def __dir__() -> list[str]:
    return __all__


explain(globals(), __all__, "bm.estimation.")
