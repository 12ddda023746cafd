"""Frequentist estimators: one function per method, each Spec -> Estimate."""

from bayesmeta.estimators.fixed import fit_fixed
from bayesmeta.estimators.ml import fit_likelihood
from bayesmeta.estimators.record import Estimate, Optimizer

__all__ = ["Estimate", "Optimizer", "fit_fixed", "fit_likelihood"]
