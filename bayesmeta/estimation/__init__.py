"""Frequentist estimators: one function per method, each Spec -> Estimate."""

from bayesmeta.estimation.fixed import fit_fixed
from bayesmeta.estimation.ml import fit_likelihood
from bayesmeta.estimation.moments import fit_mm, fit_vc
from bayesmeta.estimation.record import Estimate, Optimizer
from bayesmeta.estimation.tau2 import TAU2, fit_tau2

__all__ = ["TAU2", "Estimate", "Optimizer", "fit_fixed", "fit_likelihood", "fit_mm", "fit_tau2", "fit_vc"]
