"""Bootstrap of a fit: new data sets from the model, or outer groups drawn again, and intervals from what they give."""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr, ndtri

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_choice, check_count, check_names, check_seed, check_size
from bayesmeta.errors import AssumptionWarning, BayesmetaWarning, ConvergenceWarning, SpecError, keeps_old_names, warn
from bayesmeta.estimation.fit_many import fit_many
from bayesmeta.estimation.methods import method_named, method_of
from bayesmeta.estimation.parallel import Backend, Jobs
from bayesmeta.inference.drawn_groups import Copies, counted, joined
from bayesmeta.inference.regroup import with_groups
from bayesmeta.inference.simulate import simulate
from bayesmeta.model.spec import Level, Spec
from bayesmeta.tree.parameters import parameters
from bayesmeta.tree.specification import group, spec_from_tree

Interval = Literal["percentile", "basic", "bca"]
_SEED = 100  # numbers that the seed of one replicate takes as much memory as
KINDS, INTERVALS = ("parametric", "groups"), ("percentile", "basic", "bca")
REPLICATE, PARAMETER, INTERVAL = "replicate", "parameter", "interval"


@keeps_old_names
def bootstrap(
    tree: xr.DataTree,
    n: int = 1000,
    random_seed: int | Sequence[int] | None = None,
    kind: Literal["parametric", "groups"] = "parametric",
    intervals: Interval | Sequence[Interval] = ("percentile", "basic"),
    prob: float = 0.95,
    *,
    n_jobs: int = 1,
    backend: Backend | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Distribution of the estimates over data sets like the one that was fitted, and intervals from it.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit`.
    n : int, default 1000
        Number of replicates.
    random_seed : int or sequence of int, optional
        Whatever `numpy.random.SeedSequence` takes.
    kind : {"parametric", "groups"}, default "parametric"
        "parametric": new effect estimates from the fitted model, the design and S kept. "groups": outer groups drawn
        with replacement, with all they hold; each is a group of its own.
    intervals : {"percentile", "basic", "bca"} or sequence of these
        Some of "percentile", "basic" and "bca". The last, bias-corrected and accelerated, leaves every outer group out
        once more to find the acceleration.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    n_jobs : int, default 1
        Number of processes, -1 for one on every processor. The results do not depend on it.
    backend : {"loky", "dask", "threading"}, optional
        Of joblib: processes of this machine (the default), the workers of the Dask client in scope, or threads.
    progress : bool, default False
        Whether a progress bar is shown.

    Returns
    -------
    Dataset
        `estimate`, `se` (the SD of the replicates) and `bias` (parameter), `lower`, `upper` (interval, parameter) and
        `replicates` (replicate, parameter) of the fixed effects, and of the SDs and correlations of every level,
        correlations only where both SDs are above zero. `converged` (replicate): replicates that did not converge are
        NaN, left out of everything, and counted in the attribute `failed`.

    Raises
    ------
    SpecError
        When a kind is unknown, n is not a positive integer, or fewer than two replicates converge.

    Warns
    -----
    ConvergenceWarning
        When replicates did not converge.
    AssumptionWarning
        When there are fewer than ten outer groups to draw from.

    References
    ----------
    Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapters 13 and 14; Davison and Hinkley (1997),
    Bootstrap Methods and their Application, equation 5.6 for basic intervals.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> found = bm.bootstrap(fit, n=200, random_seed=1)
    >>> found["lower"].dims, found.attrs["failed"]
    (('interval', 'parameter'), 0)
    """
    chosen = check_names(intervals, "intervals")
    check_boolean(progress, "progress")
    check_seed(random_seed)
    check_choice(kind, KINDS, "kind")
    for name in chosen:
        check_choice(name, INTERVALS, "intervals")
    check_count(n, "n")
    table = parameters(tree, prob)
    check_size(8.0 * n * (4 * len(table) + _SEED), f"{n:,} replicates of {len(table)} parameters")
    spec, method, jobs = spec_from_tree(tree), tree.attrs["method"], Jobs(n_jobs, backend, progress)
    if kind == "parametric":
        replicates, converged = _parametric(tree, spec, n, random_seed, jobs)
    else:
        replicates, converged = _by_groups(tree, spec, n, random_seed, jobs)
    failed = int((~converged).sum())
    if n - failed < 2:
        raise SpecError(
            f"no bootstrap: {failed} of {n} replicates did not converge"
            "\n  simplify the structure psi=, or take intervals from bm.confint"
        )
    if failed:
        warn(f"{failed} of {n} bootstrap replicates did not converge and are left out", ConvergenceWarning)
    replicates[~converged] = np.nan
    estimate = table["estimate"].to_numpy(dtype=float)
    acceleration = _acceleration(tree, spec, jobs.silent) if "bca" in chosen else np.zeros(len(table))
    bounds = [_bounds(name, replicates, estimate, acceleration, prob) for name in chosen]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a correlation that no replicate has
        mean, se = np.nanmean(replicates, axis=0), np.nanstd(replicates, axis=0, ddof=1)
    variables = {
        "estimate": (PARAMETER, estimate),
        "se": (PARAMETER, se),
        "bias": (PARAMETER, mean - estimate),
        "lower": ((INTERVAL, PARAMETER), np.array([low for low, _ in bounds])),
        "upper": ((INTERVAL, PARAMETER), np.array([high for _, high in bounds])),
        "replicates": ((REPLICATE, PARAMETER), replicates),
        "converged": (REPLICATE, converged),
    }
    labels = {PARAMETER: pd.Index(table.index, dtype=object), INTERVAL: pd.Index(chosen, dtype=object)}
    return xr.Dataset(variables, labels, {"kind": kind, "prob": prob, "failed": failed, "method": method})


def _parametric(
    tree: xr.DataTree, spec: Spec, n: int, seed: int | Sequence[int] | None, jobs: Jobs
) -> tuple[FloatArray, np.ndarray]:
    start = _start(tree)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)
        fits = fit_many(
            spec,
            simulate(tree, n, seed),
            method=tree.attrs["method"],
            start=start,
            n_jobs=jobs.n_jobs,
            backend=jobs.backend,
            progress=jobs.progress,
        )
    psi = [fits[schema.psi(level.name)].to_numpy() for level in spec.levels]
    return natural(spec, fits["beta"].to_numpy(), psi), fits["converged"].to_numpy()


def _start(tree: xr.DataTree) -> FloatArray | None:
    """(F,) where climbs begin beside a scan: at the estimates, but not at zero, where there is no gradient."""
    xi = group(tree, schema.ESTIMATE)["xi"].to_numpy()
    return np.where(xi == 0, 0.1, xi) if "start" in method_of(tree).options else None


def _by_groups(
    tree: xr.DataTree, spec: Spec, n: int, seed: int | Sequence[int] | None, jobs: Jobs
) -> tuple[FloatArray, np.ndarray]:
    m = spec.levels[0].n_groups
    if m < 10:
        warn(
            f"only {m} groups of level '{spec.levels[0].name}' to draw from; a bootstrap of so few is unreliable",
            AssumptionWarning,
        )
    seeds = np.random.SeedSequence(seed).spawn(n)
    drawn = [np.random.default_rng(child).integers(0, m, m) for child in seeds]
    return _refits(tree, spec, drawn, jobs)


def _refits(tree: xr.DataTree, spec: Spec, drawn: Sequence[np.ndarray], jobs: Jobs) -> tuple[FloatArray, np.ndarray]:
    """Estimates (B, parameters) from outer groups, each as often as drawn, and which searches converged (B,)."""
    method, counts = tree.attrs["method"], counted(drawn, spec.levels[0].n_groups)
    copies = Copies(spec, method_of(tree), _start(tree))
    if copies.together(counts):
        places = copies.blocks(counts)
        blocks = [counts[each] for each in places]
        found = joined(jobs.in_order(copies, blocks, "blocks of replicates"), places)
        return natural(spec, found.beta, found.psi), found.converged
    refits = list(jobs.in_order(_Refit(spec, method), drawn, "replicates"))
    return np.array([values for values, _ in refits]), np.array([converged for _, converged in refits])


class _Refit:
    """Estimates from some of the outer groups."""

    def __init__(self, spec: Spec, method: str) -> None:
        self.spec, self.method = spec, method

    def __call__(self, drawn: np.ndarray) -> tuple[FloatArray, bool]:
        size = len(self.spec.coef) + sum(map(_n_parameters, self.spec.levels))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BayesmetaWarning)
            try:
                estimate = method_named(self.method).estimate(with_groups(self.spec, drawn))
            except (np.linalg.LinAlgError, ValueError):  # these groups cannot tell the coefficients apart
                return np.full(size, np.nan), False
        values = natural(self.spec, estimate.beta[None], [psi[None] for psi in estimate.psi])[0]
        return values, bool(estimate.optimizer is None or estimate.optimizer.converged)


def _n_parameters(level: Level) -> int:
    """Number of SDs and correlations that tables have of a level."""
    if level.structure.own_parameters:
        return level.structure.n_tau(level.dim) + 1
    return level.dim * (level.dim + 1) // 2


def natural(spec: Spec, beta: FloatArray, psi: Sequence[FloatArray]) -> FloatArray:
    """Coefficients, SDs and correlations (B, parameters) in the order of `parameters`, from beta (B, P) and Psi."""
    taus = [np.sqrt(np.diagonal(p, axis1=1, axis2=2)) for p in psi]
    rhos = []
    for at, (level, p, tau) in enumerate(zip(spec.levels, psi, taus, strict=True)):
        if level.structure.own_parameters:
            taus[at] = tau[:, : level.structure.n_tau(level.dim)]
            rhos.append(np.array([[level.structure.own_rho(each)] for each in p]))
            continue
        first, second = np.triu_indices(p.shape[1], k=1)
        scale = tau[:, first] * tau[:, second]
        rhos.append(np.divide(p[:, first, second], scale, out=np.full(scale.shape, np.nan), where=scale > 0))
    return np.concatenate([beta, *taus, *rhos], axis=1)


def _bounds(
    name: str, replicates: FloatArray, estimate: FloatArray, acceleration: FloatArray, prob: float
) -> tuple[FloatArray, FloatArray]:
    tails = np.array([0.5 - prob / 2, 0.5 + prob / 2])
    lower, upper = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    for j, centre in enumerate(estimate):
        own = replicates[np.isfinite(replicates[:, j]), j]
        if len(own) < 2 or np.isnan(centre):
            continue
        shares = _bca_shares(own, centre, acceleration[j], tails) if name == "bca" else tails
        low, high = np.quantile(own, shares)
        lower[j], upper[j] = (2 * centre - high, 2 * centre - low) if name == "basic" else (low, high)
    return lower, upper


def _bca_shares(own: FloatArray, centre: float, acceleration: float, tails: FloatArray) -> FloatArray:
    """Efron and Tibshirani (1993), equation 14.10; ties with the estimate, such as variances at zero, count half."""
    below = np.clip((np.mean(own < centre) + np.mean(own <= centre)) / 2, 0.5 / len(own), 1 - 0.5 / len(own))
    z0 = ndtri(below)
    z = z0 + ndtri(tails)
    return np.asarray(ndtr(z0 + z / (1 - acceleration * z)))


def _acceleration(tree: xr.DataTree, spec: Spec, jobs: Jobs) -> FloatArray:
    """From the estimates without each outer group in turn; equation 14.15."""
    m = spec.levels[0].n_groups
    drawn = [np.delete(np.arange(m), g) for g in range(m)]
    left_out = _refits(tree, spec, drawn, jobs)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        d = np.nanmean(left_out, axis=0) - left_out
    cubes, squares = np.nansum(d**3, axis=0), np.nansum(d**2, axis=0)
    return np.asarray(np.divide(cubes, 6 * squares**1.5, out=np.zeros(d.shape[1]), where=squares > 0))
