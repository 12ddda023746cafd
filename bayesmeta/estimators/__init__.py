"""Frequentist estimators: one function per method, each Spec -> Estimate."""

from bayesmeta.estimators.fixed import fit_fixed
from bayesmeta.estimators.ml import fit_likelihood
from bayesmeta.estimators.moments import fit_mm, fit_vc
from bayesmeta.estimators.record import Estimate, Optimizer
from bayesmeta.estimators.univariate import TAU2, fit_tau2

__all__ = ["TAU2", "Estimate", "Optimizer", "fit_fixed", "fit_likelihood", "fit_mm", "fit_tau2", "fit_vc"]
