"""The results tree of a frequentist fit."""

from typing import Any

import numpy as np
import xarray as xr

from bayesmeta import kernel
from bayesmeta import tree_schema as schema
from bayesmeta.errors import SpecError
from bayesmeta.estimation.record import Estimate, Optimizer
from bayesmeta.model.partitioned_spec import PartitionedSpec
from bayesmeta.model.spec import Level, Spec
from bayesmeta.tree.assembly import labels_of, table_of
from bayesmeta.tree.heterogeneity import heterogeneity_table
from bayesmeta.tree.single_entries import over_effects
from bayesmeta.tree.specification import MOST_RANDOM_EFFECTS, results_tree, spec_labels

Variables = dict[str, Any]


def from_estimate(spec: Spec, estimate: Estimate, random_effects: bool | None = None) -> xr.DataTree:
    """The results tree of a frequentist fit.

    Parameters
    ----------
    spec : what was fitted.
    estimate : what the estimator found.
    random_effects : whether the predicted random effects `b_L` and their standard errors are kept; by default where
        they are at most a million.
    """
    if isinstance(spec, PartitionedSpec):
        if random_effects:
            raise SpecError(
                "random_effects=True: those of data in partitions are written partition by partition\n"
                "  bm.write_blup(spec, tree, folder)"
            )
        random_effects = False
    if random_effects is None:
        random_effects = sum(level.n_groups * level.dim for level in spec.levels) <= MOST_RANDOM_EFFECTS
    groups = {
        schema.ESTIMATE: _estimate(spec, estimate, random_effects),
        schema.CRITERIA: _criteria(spec, estimate),
        schema.HETEROGENEITY: heterogeneity_table(spec, estimate.psi),
    }
    if estimate.optimizer is not None:
        groups[schema.OPTIMIZER] = _optimizer(estimate.free, estimate.optimizer)
    return results_tree({"backend": "fit", "method": estimate.method}, groups, spec)


def _estimate(spec: Spec, estimate: Estimate, random_effects: bool) -> xr.Dataset:
    variables: Variables = {
        "beta": (schema.COEF, estimate.beta),
        "beta_se": (schema.COEF, np.sqrt(np.diag(estimate.beta_cov))),
        "beta_cov": ((schema.COEF, schema.bis(schema.COEF)), estimate.beta_cov),
        "xi": (schema.FREE, estimate.xi),
        "xi_cov": ((schema.FREE, schema.bis(schema.FREE)), estimate.xi_cov),
    }
    for level, psi in zip(spec.levels, estimate.psi, strict=True):
        variables |= _covariance(level, psi)
    for level, se in zip(spec.levels, estimate.tau2_se or (), strict=estimate.tau2_se is not None):
        variables[schema.tau2_se(level.name)] = _of_sds(level, se)
    if random_effects:
        predicted = kernel.random_effects(spec.statistics, list(estimate.psi)).levels
        for level, b in zip(spec.levels, predicted, strict=True):
            variables |= _random_effects(level, b)
    free = {dim: labels_of(dim, estimate.free) for dim in (schema.FREE, schema.bis(schema.FREE))}
    return table_of(variables, spec_labels(spec) | free)


def _covariance(level: Level, psi: np.ndarray) -> Variables:
    """Psi of one level, its SDs, and its correlations, which are NaN where an SD is zero."""
    effect = schema.effect(level.name)
    tau = np.sqrt(np.diag(psi))
    if level.structure.own_parameters:
        return {
            schema.psi(level.name): ((effect, schema.bis(effect)), psi),
            schema.tau(level.name): _of_sds(level, tau),
            schema.rho(level.name): ((), level.structure.own_rho(psi)),
        }
    first, second = np.triu_indices(level.dim, k=1)
    scale = tau[first] * tau[second]
    rho = np.divide(psi[first, second], scale, out=np.full(len(first), np.nan), where=scale > 0)
    return {
        schema.psi(level.name): ((effect, schema.bis(effect)), psi),
        schema.tau(level.name): _of_sds(level, tau),
        schema.rho(level.name): (schema.pair(level.name), rho),
    }


def _of_sds(level: Level, values: np.ndarray) -> Any:
    """A variable over the SDs of a level, from values (a,) of its effects."""
    if level.structure.own_parameters and level.structure.n_tau(level.dim) == 1:
        return (), values[0]
    return over_effects(level.name, level.effects, values)


def _random_effects(level: Level, b: kernel.RandomEffects) -> Variables:
    """Predicted random effects and their standard errors; NaN at times that a group does not have."""
    dims = (schema.group(level.name), schema.effect(level.name))
    mean, se = (level.present(each.T) for each in (b.mean, np.sqrt(np.sum(b.factor**2, axis=1))))
    return {schema.b(level.name): (dims, mean), schema.b_se(level.name): (dims, se)}


def _criteria(spec: Spec, estimate: Estimate) -> xr.Dataset:
    """Log-likelihood and information criteria; AICc as metafor's, with at least df + 2 observations."""
    deviance, df, n = -2 * estimate.loglik, estimate.df_fixed + estimate.df_random, estimate.nobs
    enough = max(n, df + 2)
    values = {
        "loglik": estimate.loglik,
        "aic": deviance + 2 * df,
        "aicc": deviance + 2 * df * enough / (enough - df - 1),
        "bic": deviance + np.log(n) * df if n > 0 else np.nan,
        "df": df,
        "df_fixed": estimate.df_fixed,
        "df_random": estimate.df_random,
        "nobs": n,
        "rank": len(spec.coef),
    }
    return table_of({name: ((), value) for name, value in values.items()}, {})


def _optimizer(free: tuple[str, ...], search: "Optimizer") -> xr.Dataset:
    variables: Variables = {
        "starts": (("start", schema.FREE), search.starts),
        "path": ("iteration", search.path),
        schema.EVALUATIONS: ((), search.evaluations),
        schema.ALL_EVALUATIONS: ((), search.all_evaluations),
        schema.SCAN_EVALUATIONS: ((), search.scan_evaluations),
        "gradient": (schema.FREE, search.gradient),
        "gradient_norm": ((), search.gradient_norm),
        "decrement": ((), search.decrement),
        "converged": ((), search.converged),
        "at_boundary": (schema.FREE, search.at_boundary),
    }
    if search.modes is not None:
        variables |= {
            schema.MODE_LOGLIK: (schema.MODE, search.modes.loglik),
            schema.MODE_XI: ((schema.MODE, schema.FREE), search.modes.xi),
            schema.MODE_START: ((schema.MODE, schema.FREE), search.modes.start),
        }
    return table_of(variables, {schema.FREE: labels_of(schema.FREE, free)}, {"message": search.message})
