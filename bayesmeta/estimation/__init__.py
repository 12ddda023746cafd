"""Frequentist estimators, one function Spec -> Estimate each; importing this package registers all of them."""

from bayesmeta.estimation import fixed, ml_many, moments, tau2
from bayesmeta.estimation.ml import fit_likelihood
from bayesmeta.estimation.record import Estimate, Optimizer

__all__ = ["Estimate", "Optimizer", "fit_likelihood", "fixed", "ml_many", "moments", "tau2"]
