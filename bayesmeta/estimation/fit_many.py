"""`fit_many`: all data sets of one design, their searches advancing together."""

import warnings
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_choice, check_probability, listing
from bayesmeta.errors import BayesmetaWarning, ConvergenceWarning, DataError, SpecError, warn
from bayesmeta.estimation.fit import MethodName
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.methods import Method, method_named
from bayesmeta.estimation.ml import check_start_range, checked_start
from bayesmeta.estimation.ml_many import DataSets, ManyEstimates
from bayesmeta.estimation.one_effect import (
    DISTRIBUTIONS,
    alike,
    fit_rows,
    heterogeneity_of,
    suits,
    tests_of,
    warn_of_too_few,
)
from bayesmeta.estimation.parallel import Backend, check_backend, check_jobs, in_order
from bayesmeta.io.arrays import as_numbers, check_labels
from bayesmeta.model.identification import warn_without_effects
from bayesmeta.model.magnitudes import check_estimates, check_variance_range, check_variance_ratios, ordinary_variances
from bayesmeta.model.sampling_checks import INDEFINITE, SINGULAR
from bayesmeta.model.spec import Spec, check_spec
from bayesmeta.tree.assembly import labels_of, table_of

DATA_SET = "dataset"
OWN_SHARE = 0.05  # SD left given the outcomes before it, above which eigenvalues need not be computed
BLOCK = 60_000  # observations that are worked through together: few calls, and arrays that stay near the processor


def fit_many(
    spec: Spec,
    Y: ArrayLike,
    S: ArrayLike | None = None,
    method: MethodName | str = "reml",
    *,
    start: ArrayLike | None = None,
    df: Literal["z", "residual", "knapp-hartung", "knapp-hartung-adhoc"] | None = None,
    prob: float = 0.95,
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
        no observation; what `bm.simulate` returns. Of one outcome also (dataset, row). Of one outcome with one random
        effect a row further values may be missing, in every data set others; they are left out.
    S : array_like, optional
        (dataset, row, outcome, outcome) sampling covariances, where they differ between the data sets; by default those
        of `spec`. Of one outcome also (dataset, row) sampling variances.
    method : str, default "reml"
        Any method of `bm.fit`. With "reml" and "ml" all searches advance together; of one outcome with one random
        effect a row, each data set is fitted by itself in compiled code, by all methods but "mm" and "vc".
    start : array_like, optional
        Free parameters (free,) or (dataset, free) at which further climbs of "reml" and "ml" begin, such as the `xi` of
        a fit; by default SDs of the size of the sampling SDs. Of one outcome with one random effect a row the whole
        range of tau2 is looked at anyway, so that it changes nothing.
    df : {"z", "residual", "knapp-hartung", "knapp-hartung-adhoc"}, optional
        Tests and intervals of the coefficients, as `bm.estimates` has them: normal, t with the observations less the
        coefficients as degrees of freedom, the same with standard errors of Knapp and Hartung, or with these where they
        are larger; the last two for one outcome with one random effect a row. By default there are none.
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
        Over `dataset`: `beta`, `beta_se` (dataset, coef); `psi_L` (dataset, effect_L, effect_L_bis) for every level L;
        `xi`, `at_boundary` (dataset, free); `loglik` and `converged` (dataset). Of one outcome with one random effect a
        row also `n_obs`, the rows that are not missing, Cochran's `Q` with its degrees of freedom `Q_df`, and `I2` in
        percent (dataset). With `df` also `se`, `df`, `pvalue`, `lower` and `upper` (dataset, coef), and `Q_pvalue`.

    Raises
    ------
    SpecError
        When the method is unknown, `start` does not fit the model, or it has none of the tests asked for.
    DataError
        When Y or S has the wrong shape, values are missing that `spec` observes, or the reverse, or a sampling
        covariance is not positive definite.

    Warns
    -----
    ConvergenceWarning
        When a search does not pass the convergence test of `bm.fit`, with the places of its data sets.
    AssumptionWarning
        When the model has no random effects and the method would estimate their variances; when too few rows of a data
        set are left, or none tells its predictors apart, whose results are NaN.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> again = bm.fit_many(bm.Spec.from_tree(fit), bm.simulate(fit, n=200, random_seed=1))
    >>> int(again["converged"].sum())
    200
    >>> voxels = bm.simulate(fit, n=6, random_seed=1)[:, :, 0]
    >>> voxels[0, :4] = np.nan
    >>> maps = bm.fit_many(bm.Spec.from_tree(fit), voxels, method="dl", df="knapp-hartung")
    >>> maps["n_obs"].to_numpy(), maps["lower"].to_numpy().reshape(2, 3).shape
    (array([ 9, 13, 13, 13, 13, 13]), (2, 3))
    """
    check_spec(spec, "fit_many")
    estimator = method_named(method)
    check_boolean(progress, "progress")
    check_jobs(n_jobs)
    check_backend(backend)
    if df is not None:
        check_choice(df, DISTRIBUTIONS, "df")
    check_probability(prob)
    if start is not None:
        estimator.check_options({"start": start})
    if estimator.likelihood != "full":
        warn_without_effects(spec.levels)
    own = suits(spec, estimator)
    data = data_sets(spec, Y, S, gaps=own)
    own = own and (alike(data) or bool(np.isnan(data.y).any()))
    if own:
        typical: tuple[FloatArray, ...] = (np.sqrt(np.median(spec.S.variances, keepdims=True)),)
    else:
        typical = data.one(0).statistics.typical
    free = Free(spec, typical)
    starts = _starts(start, free, len(data.y))
    if own and n_jobs == 1 and backend is None and not progress:
        estimates = fit_rows(data, estimator)
    else:
        size = max(1, BLOCK // len(spec.y))
        pieces = [slice(i, min(i + size, len(data.y))) for i in range(0, len(data.y), size)]
        blocks = [(data.take(piece), None if starts is None else starts[piece]) for piece in pieces]
        work = partial(_fit_block, method=estimator, typical=typical, own=own)
        estimates = joined(list(in_order(work, blocks, n_jobs, progress, backend=backend)))
    _warn_of(estimates)
    return _table(spec, estimates, free.labels if estimates.xi.shape[1] else (), method, df, prob)


def _warn_of(estimates: ManyEstimates) -> None:
    """Say which data sets have no results, and which searches failed."""
    n, nothing = len(estimates.beta), np.isnan(estimates.beta).any(axis=1)
    if nothing.any() and estimates.n_obs is not None:
        warn_of_too_few(estimates, listing(np.flatnonzero(nothing)), int(nothing.sum()))
    else:
        nothing = np.zeros(n, bool)
    failed = np.flatnonzero(~estimates.converged & ~nothing)
    if len(failed):
        warn(f"{len(failed)} of {n} searches did not converge: data sets {listing(failed)}", ConvergenceWarning)


def data_sets(spec: Spec, Y: Any, S: Any = None, gaps: bool = False) -> DataSets:
    """The observations of many data sets, after a check of their shape, missing values and sampling covariances.

    gaps : whether data sets may lack values that `spec` observes.
    """
    values = as_numbers(Y, "Y")
    rows, outcomes = len(spec.row_labels), len(spec.outcomes)
    if values.ndim == 2 and outcomes == 1:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[1:] != (rows, outcomes) or not len(values):
        raise DataError(
            f"Y has shape {values.shape}; the specification requires (dataset, {rows}, {outcomes}): "
            "data sets, rows and outcomes"
        )
    if isinstance(Y, pd.DataFrame):
        check_labels(Y.columns, spec.row_labels, "Y, by columns,")
    seen = np.zeros((rows, outcomes), bool)
    seen[spec.row, spec.outcome_index] = True
    _check_missing(spec, values, seen, gaps)
    y = values[:, :, 0] if _whole(spec) else values[:, spec.row, spec.outcome_index]
    lacking = np.isnan(y)
    if S is None:
        data = DataSets(spec, y, spec.S.value, spec.S.row, spec.S.col)
    else:
        data = DataSets(spec, y, *_sampling(spec, as_numbers(S, "S"), lacking))
        _check_definite(data)
    there = np.where(lacking, 0.0, y) if lacking.any() else y
    if len(data.row) == y.shape[1]:
        check_estimates(there, data.S, "Y", partial(_place, spec), data.extremes[0])
    else:
        check_estimates(there, data.S[..., data.row == data.col], "Y", partial(_place, spec))
    return data


def _whole(spec: Spec) -> bool:
    """Whether the observations are the rows of the data, in order."""
    return len(spec.outcomes) == 1 and np.array_equal(spec.row, np.arange(len(spec.row_labels)))


def _place(spec: Spec, at: tuple[int, ...]) -> str:
    """Words for observation at[1] of data set at[0]."""
    data_set, obs = at
    return (
        f"data set {data_set}, row {spec.row_labels[spec.row[obs]]}, outcome {spec.outcomes[spec.outcome_index[obs]]}"
    )


def _check_missing(spec: Spec, values: FloatArray, seen: np.ndarray, gaps: bool) -> None:
    if seen.all() and np.isfinite(values.sum()):
        return
    if len(empty := np.flatnonzero(np.isnan(values).all(axis=(1, 2)))):
        raise DataError(f"all values are missing in data set {listing(empty)} of Y")
    wrong = np.where(seen, np.isinf(values) if gaps else ~np.isfinite(values), ~np.isnan(values))
    if wrong.any():
        i, row, outcome = np.argwhere(wrong)[0]
        here = f"data set {i}, row {spec.row_labels[row]}, outcome {spec.outcomes[outcome]}"
        problem = "no finite value" if seen[row, outcome] else "a value that the specification does not have"
        raise DataError(
            f"Y has {problem} in {wrong.sum()} places (first {here})\n"
            "  all data sets are of one design: NaN where and only where the specification has no observation; for one "
            "outcome with one random effect a row others may be missing too"
        )


def _sampling(spec: Spec, S: FloatArray, lacking: np.ndarray) -> tuple[FloatArray, np.ndarray, np.ndarray]:
    """Values (B, nnz), rows and columns of the lower triangle of S from (B, row, outcome, outcome).

    lacking : (B, n_obs) effect estimates that are missing, whose sampling variances do not matter.
    """
    if S.ndim == 2 and len(spec.outcomes) == 1:
        S = S[:, :, None, None]
    shape = (len(lacking), len(spec.row_labels), len(spec.outcomes), len(spec.outcomes))
    if S.shape != shape:
        raise DataError(
            f"S has shape {S.shape}; Y and the specification require {shape}: data sets, rows, outcomes twice"
        )
    if np.any(spec.row[spec.S.row] != spec.row[spec.S.col]):
        raise SpecError("S by row cannot replace a sampling covariance that couples rows\n  leave S out")
    row, col = within_rows(spec.row)
    first, second = spec.outcome_index[row], spec.outcome_index[col]
    values = S[:, :, 0, 0] if _whole(spec) else S[:, spec.row[row], first, second]
    if len(row) > lacking.shape[1]:
        mirrored = S[:, spec.row[row], second, first]
        with np.errstate(invalid="ignore"):
            if not np.allclose(values, mirrored, rtol=1e-8, atol=0, equal_nan=True):
                raise DataError("S is not symmetric in its last two axes")
    if lacking.any():  # only of one outcome, where every entry is a variance
        known = np.where(lacking, np.nan, values)
        values = np.where(lacking, np.nanmedian(known, axis=1, keepdims=True), values)
    return values, row, col


def within_rows(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lower triangle over observations of the same unit, units in a row."""
    n = len(unit)
    size = int(np.bincount(np.unique(unit, return_inverse=True)[1]).max())
    pairs = [(np.arange(lag, n), np.arange(n - lag)) for lag in range(min(size, n))]
    row, col = (np.concatenate(part) for part in zip(*pairs, strict=True))
    same = unit[row] == unit[col]
    return row[same], col[same]


def _check_variances(spec: Spec, variances: FloatArray, least: float, most: float) -> None:
    """Raise DataError unless all sampling variances (B, n_obs) are positive, and neither too large nor too unequal."""
    if ordinary_variances(least, most):
        return
    bad = ~(variances > 0)
    if bad.any():
        i, obs = np.argwhere(bad)[0]
        raise DataError(
            f"S is not positive definite in {_place(spec, (int(i), int(obs)))}: the variance is {variances[i, obs]:.6g}"
        )
    check_variance_range(variances, "the variance in S", partial(_place, spec))
    check_variance_ratios(variances, spec.outcome_index, "the variance in S", partial(_place, spec))


def _check_definite(data: DataSets) -> None:
    """Raise DataError unless every unit's sampling covariance is positive definite, and not nearly singular."""
    spec, values, row, col = data.spec, data.S, data.row, data.col
    if len(row) == len(spec.y):
        _check_variances(spec, values, *data.extremes)
        return
    variances = values[:, row == col]
    _check_variances(spec, variances, float(variances.min()), float(variances.max()))
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
    block: tuple[DataSets, FloatArray | None], method: Method, typical: tuple[FloatArray, ...], own: bool
) -> ManyEstimates:
    data, start = block
    if own:
        return fit_rows(data, method)
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
    arrays: tuple[str, ...] = ("beta", "beta_se", "xi", "loglik", "converged", "at_boundary")
    first, *_ = parts
    arrays += tuple(name for name in ("Q", "rss", "n_obs") if getattr(first, name) is not None)
    return replace(first, psi=psi, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays})


def _table(
    spec: Spec, estimates: ManyEstimates, free: tuple[str, ...], method: str, df: str | None, prob: float
) -> xr.Dataset:
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
    if estimates.Q is not None:
        Q = heterogeneity_of(estimates)
        own = {"n_obs": estimates.n_obs, "Q": Q.Q, "Q_df": Q.df, "I2": Q.I2}
        own |= {"Q_pvalue": Q.pvalue} if df is not None else {}
        variables |= {name: (DATA_SET, values) for name, values in own.items()}
    attrs: dict[str, Any] = {"method": method}
    if df is not None:
        tests = tests_of(estimates, df, prob, len(spec.y))._asdict()
        variables |= {name: ((DATA_SET, schema.COEF), values) for name, values in tests.items()}
        attrs |= {"df": df, "prob": prob}
    dims = {
        schema.COEF,
        *(d for v in spec.levels for d in (schema.effect(v.name), schema.bis(schema.effect(v.name)))),
    }
    labels = {dim: index for dim, index in spec.coords.items() if dim in dims}
    coords = labels | {DATA_SET: pd.RangeIndex(len(estimates.loglik)), schema.FREE: pd.Index(free, dtype=object)}
    return table_of(variables, {dim: labels_of(dim, index) for dim, index in coords.items()}, attrs)
