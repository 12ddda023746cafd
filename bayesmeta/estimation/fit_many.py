"""`fit_many`: all data sets of one design, their searches advancing together."""

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, listing
from bayesmeta.errors import BayesmetaWarning, ConvergenceWarning, DataError, SpecError, warn
from bayesmeta.estimation.fit import MethodName
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.methods import Method, method_named
from bayesmeta.estimation.ml import check_start_range, checked_start
from bayesmeta.estimation.ml_many import DataSets, ManyEstimates
from bayesmeta.estimation.parallel import Backend, check_backend, check_jobs, in_order
from bayesmeta.io.arrays import as_numbers
from bayesmeta.model.identification import warn_without_effects
from bayesmeta.model.magnitudes import check_estimates, check_variance_range, check_variance_ratios
from bayesmeta.model.sampling_checks import INDEFINITE, SINGULAR
from bayesmeta.model.spec import Spec, check_spec

DATA_SET = "dataset"
OWN_SHARE = 0.05  # SD left given the outcomes before it, above which eigenvalues need not be computed
BLOCK = 200_000  # observations that are worked through together: few calls, and arrays that stay near the processor


def fit_many(
    spec: Spec,
    Y: ArrayLike,
    S: ArrayLike | None = None,
    method: MethodName | str = "reml",
    *,
    start: ArrayLike | None = None,
    n_jobs: int = 1,
    backend: Backend | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Fit one model to many data sets of the same design.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`; its rows, designs, groups and structures are those of every data set, its own effect
        estimates are not used.
    Y : array_like
        (dataset, row, outcome) effect estimates, of all rows of the data of `spec`, NaN where and only where `spec` has
        no observation; what `bm.simulate` returns.
    S : array_like, optional
        (dataset, row, outcome, outcome) sampling covariances, where they differ between the data sets; by default those
        of `spec`.
    method : str, default "reml"
        Any method of `bm.fit`. With "reml" and "ml" all searches advance together.
    start : array_like, optional
        Free parameters (free,) or (dataset, free) at which further climbs of "reml" and "ml" begin, such as the `xi` of
        a fit; by default SDs of the size of the sampling SDs.
    n_jobs : int, default 1
        Number of processes, -1 for one on every processor. The results do not depend on it.
    backend : {"loky", "dask", "threading"}, optional
        Of joblib: processes of this machine (the default), the workers of the Dask client in scope, or threads.
    progress : bool, default False
        Whether a progress bar is shown.

    Returns
    -------
    Dataset
        Over `dataset`: `beta`, `beta_se` (dataset, coef); `psi_L` (dataset, effect_L, effect_L_bis) for every level L;
        `xi`, `at_boundary` (dataset, free); `loglik` and `converged` (dataset).

    Raises
    ------
    SpecError
        When the method is unknown, or `start` does not fit the model.
    DataError
        When Y or S has the wrong shape, values are missing that `spec` observes, or the reverse, or a sampling
        covariance is not positive definite.

    Warns
    -----
    ConvergenceWarning
        When a search does not pass the convergence test of `bm.fit`, with the places of its data sets.
    AssumptionWarning
        When the model has no random effects and the method would estimate their variances.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> again = bm.fit_many(bm.Spec.from_tree(fit), bm.simulate(fit, n=200, random_seed=1))
    >>> int(again["converged"].sum())
    200
    """
    check_spec(spec, "fit_many")
    estimator = method_named(method)
    check_boolean(progress, "progress")
    check_jobs(n_jobs)
    check_backend(backend)
    if start is not None:
        estimator.check_options({"start": start})
    if estimator.likelihood != "full":
        warn_without_effects(spec.levels)
    data = data_sets(spec, Y, S)
    typical = data.one(0).statistics.typical
    free = Free(spec, typical)
    starts = _starts(start, free, len(data.y))
    size = max(1, BLOCK // len(spec.y))
    pieces = [slice(i, min(i + size, len(data.y))) for i in range(0, len(data.y), size)]
    blocks = [(data.take(piece), None if starts is None else starts[piece]) for piece in pieces]
    work = partial(_fit_block, method=estimator, typical=typical)
    results = list(in_order(work, blocks, n_jobs, progress, backend=backend))
    estimates = joined(results)
    if not estimates.converged.all():
        failed = np.flatnonzero(~estimates.converged)
        warn(
            f"{len(failed)} of {len(data.y)} searches did not converge: data sets {listing(failed)}",
            ConvergenceWarning,
        )
    return _table(spec, estimates, free.labels if estimates.xi.shape[1] else (), method)


def data_sets(spec: Spec, Y: Any, S: Any = None) -> DataSets:
    """The observations of many data sets, after a check of their shape, missing values and sampling covariances."""
    values = as_numbers(Y, "Y")
    rows, outcomes = len(spec.row_labels), len(spec.outcomes)
    if values.ndim != 3 or values.shape[1:] != (rows, outcomes) or not len(values):
        raise DataError(
            f"Y has shape {values.shape}; the specification requires (dataset, {rows}, {outcomes}): "
            "data sets, rows and outcomes"
        )
    seen = np.zeros((rows, outcomes), bool)
    seen[spec.row, spec.outcome_index] = True
    _check_missing(spec, values, seen)
    y = values[:, spec.row, spec.outcome_index]
    if S is None:
        data = DataSets(spec, y, spec.S.value, spec.S.row, spec.S.col)
    else:
        data = DataSets(spec, y, *_sampling(spec, as_numbers(S, "S"), len(values)))
    check_estimates(y, data.S[..., data.row == data.col], "Y", partial(_place, spec))
    return data


def _place(spec: Spec, at: tuple[int, ...]) -> str:
    """Words for observation at[1] of data set at[0]."""
    data_set, obs = at
    return (
        f"data set {data_set}, row {spec.row_labels[spec.row[obs]]}, outcome {spec.outcomes[spec.outcome_index[obs]]}"
    )


def _check_missing(spec: Spec, values: FloatArray, seen: np.ndarray) -> None:
    if len(empty := np.flatnonzero(np.isnan(values).all(axis=(1, 2)))):
        raise DataError(f"all values are missing in data set {listing(empty)} of Y")
    wrong = np.where(seen, ~np.isfinite(values), ~np.isnan(values))
    if wrong.any():
        i, row, outcome = np.argwhere(wrong)[0]
        here = f"data set {i}, row {spec.row_labels[row]}, outcome {spec.outcomes[outcome]}"
        problem = "no finite value" if seen[row, outcome] else "a value that the specification does not have"
        raise DataError(
            f"Y has {problem} in {wrong.sum()} places (first {here})\n"
            "  all data sets are of one design: NaN where and only where the specification has no observation"
        )


def _sampling(spec: Spec, S: FloatArray, n: int) -> tuple[FloatArray, np.ndarray, np.ndarray]:
    """Values (B, nnz), rows and columns of the lower triangle of S from (B, row, outcome, outcome)."""
    shape = (n, len(spec.row_labels), len(spec.outcomes), len(spec.outcomes))
    if S.shape != shape:
        raise DataError(
            f"S has shape {S.shape}; Y and the specification require {shape}: data sets, rows, outcomes twice"
        )
    if np.any(spec.row[spec.S.row] != spec.row[spec.S.col]):
        raise SpecError("S by row cannot replace a sampling covariance that couples rows\n  leave S out")
    row, col = within_rows(spec.row)
    first, second = spec.outcome_index[row], spec.outcome_index[col]
    values = S[:, spec.row[row], first, second]
    mirrored = S[:, spec.row[row], second, first]
    with np.errstate(invalid="ignore"):
        if not np.allclose(values, mirrored, rtol=1e-8, atol=0, equal_nan=True):
            raise DataError("S is not symmetric in its last two axes")
    _check_definite(spec, values, row, col)
    return values, row, col


def within_rows(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lower triangle over observations of the same unit, units in a row."""
    n = len(unit)
    size = int(np.bincount(np.unique(unit, return_inverse=True)[1]).max())
    pairs = [(np.arange(lag, n), np.arange(n - lag)) for lag in range(min(size, n))]
    row, col = (np.concatenate(part) for part in zip(*pairs, strict=True))
    same = unit[row] == unit[col]
    return row[same], col[same]


def _check_variances(spec: Spec, variances: FloatArray) -> None:
    """Raise DataError unless all sampling variances (B, n_obs) are positive, and neither too large nor too unequal."""
    bad = ~(variances > 0)
    if bad.any():
        i, obs = np.argwhere(bad)[0]
        raise DataError(
            f"S is not positive definite in {_place(spec, (int(i), int(obs)))}: the variance is {variances[i, obs]:.6g}"
        )
    check_variance_range(variances, "the variance in S", partial(_place, spec))
    check_variance_ratios(variances, spec.outcome_index, "the variance in S", partial(_place, spec))


def _check_definite(spec: Spec, values: FloatArray, row: np.ndarray, col: np.ndarray) -> None:
    """Raise DataError unless every unit's sampling covariance is positive definite, and not nearly singular."""
    variances = values[:, row == col]
    _check_variances(spec, variances)
    if len(row) == variances.shape[1]:
        return
    unit, first = np.unique(spec.row, return_index=True)
    place = np.searchsorted(unit, spec.row)
    within = np.arange(len(spec.row)) - first[place]
    k = int(within.max()) + 1
    sd = np.sqrt(variances)
    correlations = values / (sd[:, row] * sd[:, col])
    for begin in range(0, len(values), 100):
        part = correlations[begin : begin + 100]
        block = np.broadcast_to(np.eye(k), (len(part), len(unit), k, k)).copy()
        block[:, place[row], within[row], within[col]] = part
        block[:, place[row], within[col], within[row]] = part
        if _clearly_definite(block):
            continue
        least = np.linalg.eigvalsh(np.where(np.isfinite(block), block, -1e9))[:, :, 0]
        if (least < SINGULAR).any():
            i, j = np.argwhere(least < SINGULAR)[0]
            problem = "nearly singular" if least[i, j] > INDEFINITE * k else "not positive definite"
            raise DataError(
                f"S is {problem} in data set {begin + i}, row {spec.row_labels[unit[j]]} "
                f"(smallest eigenvalue of its correlations {least[i, j]:.3g}, at least {SINGULAR:g} is needed)"
            )


def _clearly_definite(correlations: FloatArray) -> bool:
    """Whether no matrix (..., k, k) can be nearly singular: every variance has a share of its own left."""
    try:
        pivots = np.diagonal(np.linalg.cholesky(correlations), axis1=-2, axis2=-1)
    except np.linalg.LinAlgError:
        return False
    return bool((pivots > OWN_SHARE).all())


def _starts(start: Any, free: Free, n: int) -> FloatArray | None:
    """Starts (n, free)."""
    if start is None:
        return None
    values = as_numbers(start, "start", SpecError)
    if values.ndim < 2:
        return np.broadcast_to(np.asarray(checked_start(start, free)), (n, free.size))
    if values.shape != (n, free.size) or not np.isfinite(values).all():
        raise SpecError(f"start has shape {values.shape}; give {(n, free.size)} finite numbers, data sets first")
    check_start_range(values, free)
    return values


def _fit_block(
    block: tuple[DataSets, FloatArray | None], method: Method, typical: tuple[FloatArray, ...]
) -> ManyEstimates:
    data, start = block
    if method.together is not None:
        return method.together(data, typical, start=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)
        fits = [method.estimate(data.one(i)) for i in range(len(data.y))]
    searched = [fit.optimizer for fit in fits if fit.optimizer is not None]
    return ManyEstimates(
        beta=np.array([fit.beta for fit in fits]),
        beta_se=np.array([np.sqrt(np.diag(fit.beta_cov)) for fit in fits]),
        psi=tuple(np.array(level) for level in zip(*(fit.psi for fit in fits), strict=True)),
        xi=np.array([fit.xi for fit in fits]),
        loglik=np.array([fit.loglik for fit in fits]),
        converged=np.array([search.converged for search in searched]),
        at_boundary=np.array([search.at_boundary for search in searched], bool).reshape(len(fits), -1),
    )


def joined(parts: list[ManyEstimates]) -> ManyEstimates:
    """The estimates of all blocks."""
    psi = tuple(np.concatenate(level) for level in zip(*(part.psi for part in parts), strict=True))
    arrays = ("beta", "beta_se", "xi", "loglik", "converged", "at_boundary")
    first, *_ = parts
    return replace(first, psi=psi, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays})


def _table(spec: Spec, estimates: ManyEstimates, free: tuple[str, ...], method: str) -> xr.Dataset:
    variables: dict[str, Any] = {
        "beta": ((DATA_SET, schema.COEF), estimates.beta),
        "beta_se": ((DATA_SET, schema.COEF), estimates.beta_se),
    }
    for level, psi in zip(spec.levels, estimates.psi, strict=True):
        effect = schema.effect(level.name)
        variables[schema.psi(level.name)] = ((DATA_SET, effect, schema.bis(effect)), psi)
    variables["loglik"] = (DATA_SET, estimates.loglik)
    variables["converged"] = (DATA_SET, estimates.converged)
    variables["xi"] = ((DATA_SET, schema.FREE), estimates.xi)
    variables["at_boundary"] = ((DATA_SET, schema.FREE), estimates.at_boundary)
    dims = {
        schema.COEF,
        *(d for v in spec.levels for d in (schema.effect(v.name), schema.bis(schema.effect(v.name)))),
    }
    labels = {dim: index for dim, index in spec.coords.items() if dim in dims}
    coords = labels | {DATA_SET: pd.RangeIndex(len(estimates.loglik)), schema.FREE: pd.Index(free, dtype=object)}
    return xr.Dataset(variables, coords, {"method": method})
