"""How results depend on a correlation of sampling errors that was assumed: the model fitted again over a grid."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta import within
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_probability, is_number, listing, shown
from bayesmeta.errors import AssumptionWarning, BayesmetaWarning, ConvergenceWarning, DataError, SpecError, warn
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import Method, method_named
from bayesmeta.estimation.ml_many import DataSets
from bayesmeta.inference.estimates import estimates
from bayesmeta.inference.reference import Vcov
from bayesmeta.io.arrays import as_numbers
from bayesmeta.io.columns import group_labels, label
from bayesmeta.model.spec import SamplingCovariance, Spec, check_spec
from bayesmeta.tree.parameters import BETA, PSI
from bayesmeta.within.assumed import SMALLEST, indefinite

GRID = (0.0, 0.2, 0.4, 0.6, 0.8)
VARIED = ("rho", "phi", "ar1")  # arguments of builders that are the assumed correlation, the first that is a number
_NUMBERS = ("estimate", "se", "lower", "upper", "pvalue")
Builder = Callable[[float], Any]


def rho_sensitivity(
    spec: Spec,
    rho: Sequence[float] = GRID,
    *,
    S: Builder | None = None,
    method: str = "reml",
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
    robust: Vcov = "CR2",
) -> pd.DataFrame:
    """Fit the model again under other correlations of the sampling errors, which are seldom reported.

    The correlation that varies is the one that was assumed: that of the function of `bm.within` which made S (`rho`,
    else `phi` or `ar1`), or `S_correlation` of the outcomes of a row. Where S has variances alone, all estimates of a
    group of the outer level are taken to correlate by it.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`.
    rho : sequence of float, default (0, 0.2, 0.4, 0.6, 0.8)
        Correlations, between -1 and 1.
    S : callable, optional
        For everything else: from a correlation to {label of the outer group: matrix over its rows}, or to one matrix
        over all observations.
    method : str, default "reml"
        Of `bm.fit`.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    vcov, df : optional
        Covariance and reference distribution of the coefficients, see `bm.estimates`.
    robust : str or dict, default "CR2"
        The covariance beside it that holds whatever the correlations within the groups are, see `vcov` of
        `bm.estimates`; with Satterthwaite's degrees of freedom.

    Returns
    -------
    DataFrame
        A row for each correlation and parameter: `rho`, the correlation; `parameter`, `kind`, `level` and `term` as of
        `bm.estimates`; `estimate`, `se`, `lower`, `upper` and `pvalue`; and of coefficients `robust_se`,
        `robust_lower`, `robust_upper` and `robust_pvalue`; `loglik` and `converged` of the fit. Log-likelihoods of
        several correlations can be compared by ML and REML alike: the data and the fixed part are the same. The
        attributes of the frame say what was assumed (`assumed`), `prob`, `method` and `robust`.
        `bm.plots.rho_sensitivity` draws it.

    Raises
    ------
    SpecError
        For correlations out of their range, and where none was assumed that could vary: S was given as it is, or its
        correlations differ by group or come from a table.
    DataError
        When a correlation is not possible in a group: the message names it and the nearest that is.

    Warns
    -----
    AssumptionWarning
        When there is no robust covariance, such as of one group; its columns are NaN then.
    ConvergenceWarning
        When a fit did not converge.

    Notes
    -----
    All fits are searched for together, as those of `bm.fit_many`.

    References
    ----------
    Hedges, Tipton and Johnson (2010), Res. Synth. Methods 1:39-65. Pustejovsky and Tipton (2022), Prev. Sci.
    23:425-438.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> school = bm.datasets.load("school")
    >>> S = bm.within.correlated(school, variance="var", rho=0.5, group="district")
    >>> spec = bm.specify("effect ~ 1", school, S=S, random="1 | district/study")
    >>> found = bm.rho_sensitivity(spec, [0, 0.5])
    >>> found.loc[found.kind == "beta", ["rho", "estimate", "se", "robust_se"]].round(4)
       rho  estimate      se  robust_se
    0  0.0    0.1847  0.0869     0.0845
    3  0.5    0.1905  0.0869     0.0861
    """
    check_spec(spec, "rho_sensitivity")
    grid, record = _grid(rho), method_named(method)
    prob = check_probability(prob)
    build, assumed = (_given(spec, S), "S of rho") if S is not None else _assumed(spec)
    row, col, values = _sampling(spec, [build(r) for r in grid])
    specs = [replace(spec, S=SamplingCovariance(v, row, col), S_assumed={}) for v in values]
    starts = _together(spec, record, row, col, values)
    several, frames = spec.levels[0].n_groups > 1, []
    for r, one, start in zip(grid, specs, starts, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BayesmetaWarning)  # what is worth saying of all fits is said once
            options = {} if start is None else {"start": start}
            tree = fit(one, method, random_effects=False, **options)
            beside = estimates(tree, prob, "model", robust) if several else None
            frames.append(_rows(estimates(tree, prob, "model", vcov, df), beside, r, tree))
    table = pd.concat(frames, ignore_index=True)
    if not table["converged"].all():
        unsure = table.loc[~table["converged"], "rho"].unique()
        warn(f"fits with rho {listing(f'{r:g}' for r in unsure)} did not converge", ConvergenceWarning)
    if not several:
        warn(f"level '{spec.levels[0].name}' has one group: no robust covariance beside the model's", AssumptionWarning)
    table.attrs = {"prob": prob, "method": method, "assumed": assumed, "robust": robust}
    return table


def _grid(rho: Any) -> list[float]:
    values = rho.tolist() if isinstance(rho, np.ndarray | pd.Series | pd.Index) else rho
    if not isinstance(values, list | tuple) or not values:
        raise SpecError(f"rho is {shown(rho)}; it must be a list of correlations, such as {list(GRID)}")
    for each in values:
        if not is_number(each) or not -1 < float(each) < 1:
            raise SpecError(f"rho has {shown(each)}; correlations lie between -1 and 1")
    if len(set(map(float, values))) < len(values):
        raise SpecError(f"rho has a correlation twice: {listing(values)}\n  name each once")
    return [float(each) for each in values]


def _assumed(spec: Spec) -> tuple[Builder, str]:
    """What makes S of the correlation that was assumed, and that in words."""
    record = spec.S_assumed
    if not record:
        if np.any((spec.S.row != spec.S.col) & (spec.S.value != 0)):
            raise SpecError(
                "S was given as it is, with covariances: no correlation was assumed that could vary\n"
                "  give S as a function of rho, S=lambda rho: bm.within.correlated(data, 'v', rho, 'study')"
            )
        name = spec.levels[0].name
        return _constant(spec, spec.levels[0].index), f"sampling errors of one {name} correlate by rho"
    words, builder, arguments = record["words"], record.get("builder"), record.get("arguments") or {}
    if builder == "S_correlation":
        return _constant(spec, spec.row), "sampling errors of the outcomes of a row correlate by rho"
    varied = [name for name in VARIED if is_number(arguments.get(name))]
    if not varied or not hasattr(within, str(builder)):
        raise SpecError(
            f"no single correlation was assumed that could vary: {words}\n  give S as a function of rho, such as "
            "S=lambda rho: bm.within.vcalc(data, 'v', 'study', obs='id', rho=rho)"
        )
    make, options = getattr(within, str(builder)), dict(arguments)
    group = str(options.get("group", options.get("cluster")))
    if lacking := [v for v in options.values() if isinstance(v, str) and v not in spec.data.columns]:
        raise SpecError(
            f"the specification has no column {listing(map(repr, lacking))} any more, of which S was made\n"
            "  keep it by bm.specify(..., keep=[...])"
        )

    def build(rho: float) -> Any:
        made = make(spec.data, **(options | {varied[0]: rho}))
        return _by_labels(spec, made, group_labels(spec.data[group]).astype(object))

    return build, f"{words}; {varied[0]} varies"


def _constant(spec: Spec, code: IntArray) -> Builder:
    """One correlation of all observations with the same code."""
    row, col = pairs_within(code)
    size = np.sqrt(spec.S.variances[row] * spec.S.variances[col])
    largest = int(np.bincount(code).max())
    where = int(np.argmax(np.bincount(code)))
    label_of = (
        f"{spec.levels[0].name} {'/'.join(spec.levels[0].labels[where])}"
        if code is spec.levels[0].index
        else f"row {spec.row_labels[where]}"
    )

    def build(rho: float) -> tuple[IntArray, IntArray, FloatArray]:
        if (smallest := min(1 - rho, 1 + (largest - 1) * rho)) < SMALLEST:
            raise indefinite(label_of, smallest, rho)
        return row, col, size * np.where(row == col, 1.0, rho)

    return build


def _given(spec: Spec, S: Any) -> Builder:
    if not callable(S):
        raise SpecError(
            f"S is {shown(S)}; it must be a function of rho, such as lambda rho: bm.within.correlated(data, 'v', rho, "
            "'study')"
        )
    labels = pd.Series([spec.levels[0].labels[g][0] for g in spec.levels[0].index], dtype=object)

    def build(rho: float) -> Any:
        made = S(rho)
        if isinstance(made, Mapping):
            column = pd.Series([None] * len(spec.kept), dtype=object)
            column.iloc[spec.row] = labels.to_numpy()
            return _by_labels(spec, made, column)
        return _whole(spec, as_numbers(made, f"S of rho={rho:g}"))

    return build


def _whole(spec: Spec, M: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    n, index = len(spec.y), spec.levels[0].index
    if M.shape != (n, n):
        raise SpecError(f"S of rho has shape {M.shape}; give a dict of matrices by group, or one of shape {(n, n)}")
    row, col = pairs_within(index)
    if np.any((M != 0) & (index[:, None] != index)):
        raise SpecError(
            f"S of rho couples groups of level '{spec.levels[0].name}', which are independent"
            "\n  S must be zero between them"
        )
    return row, col, M[row, col]


def _by_labels(spec: Spec, made: Mapping[Any, FloatArray], labels: pd.Series) -> tuple[IntArray, IntArray, FloatArray]:
    """Entries of the lower triangle over the observations, of matrices over the rows of the data by label."""
    if len(spec.outcomes) > 1:
        raise SpecError(
            "S of rho by group is over rows, and the model has several outcomes in a row\n"
            "  give one matrix over all observations"
        )
    position = np.full(len(spec.kept), -1)
    position[spec.row] = np.arange(len(spec.y))
    texts = labels.map(lambda value: None if value is None or value != value else label(value)).to_numpy(dtype=object)
    rows, cols, values = [], [], []
    seen = np.zeros(len(spec.y), bool)
    for key, matrix in made.items():
        M, at = as_numbers(matrix, f"S of {label(key)}"), np.flatnonzero(texts == label(key))
        at = at if len(at) == len(M) else at[position[at] >= 0]
        if M.shape != (len(at), len(at)):
            raise SpecError(
                f"S of rho has a matrix of shape {M.shape} for {label(key)}, which has {len(at)} rows"
                "\n  S(rho) must have a row and a column for each of them"
            )
        kept = position[at] >= 0
        obs, inside = position[at][kept], M[np.ix_(kept, kept)]
        i, j = np.tril_indices(len(obs))
        low, high = np.minimum(obs[i], obs[j]), np.maximum(obs[i], obs[j])
        rows.append(high)
        cols.append(low)
        values.append(inside[i, j])
        seen[obs] = True
    if not seen.all():
        row = spec.row_labels[spec.row[int(np.argmin(seen))]]
        raise SpecError(f"S of rho has no matrix for row {row}\n  S(rho) must cover all rows of the model")
    return np.concatenate(rows), np.concatenate(cols), np.concatenate(values)


def pairs_within(code: IntArray) -> tuple[IntArray, IntArray]:
    """Rows and columns of the lower triangle over observations with the same code."""
    order = np.argsort(code, kind="stable")
    sizes = np.bincount(code)
    ends = np.cumsum(sizes)
    first = np.repeat(ends - sizes, sizes**2)
    size = np.repeat(sizes, sizes**2)
    within_block = np.arange(len(first)) - np.repeat(np.cumsum(sizes**2) - sizes**2, sizes**2)
    one, two = order[first + within_block // np.maximum(size, 1)], order[first + within_block % np.maximum(size, 1)]
    lower = one >= two
    return one[lower], two[lower]


def _sampling(spec: Spec, made: Sequence[Any]) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows and columns, and values (correlations, entries) of the lower triangle of S for every correlation."""
    row, col = made[0][:2]
    if any(len(each[0]) != len(row) or (each[0] != row).any() or (each[1] != col).any() for each in made):
        raise SpecError(
            "S of rho couples other observations for one rho than for another"
            "\n  S(rho) must have the same groups and shapes for every rho"
        )
    values = np.stack([each[2] for each in made])
    if not np.isfinite(values).all():
        raise DataError(
            "S of rho is missing for observations of the model"
            "\n  S(rho) must be a number wherever an outcome is observed"
        )
    return row, col, values


def _together(spec: Spec, method: Method, row: IntArray, col: IntArray, values: FloatArray) -> list[Any]:
    """Free parameters at which the fits of all correlations begin, from one search; None for methods that have none."""
    if method.together is None or "start" not in method.options:
        return [None] * len(values)
    data = DataSets(spec, np.broadcast_to(spec.y, (len(values), len(spec.y))), values, row, col)
    xi = method.together(data, spec.statistics.typical).xi
    return list(xi) if xi.shape[1] else [None] * len(values)


def _rows(frame: pd.DataFrame, beside: pd.DataFrame | None, rho: float, tree: Any) -> pd.DataFrame:
    """The rows of one correlation."""
    own = frame[frame["kind"] != PSI]
    of_beta = own["kind"] == BETA
    columns: dict[str, Any] = {"rho": rho, "parameter": own.index.to_numpy()}
    columns |= {name: own[name].to_numpy() for name in ("kind", "level", "term", *_NUMBERS)}
    for name in _NUMBERS[1:]:
        values = np.full(len(own), np.nan)
        if beside is not None:
            values[of_beta] = beside.loc[own.index[of_beta], name].to_numpy(dtype=float)
        columns[f"robust_{name}"] = values
    converged = bool(tree["optimizer"]["converged"]) if "optimizer" in tree.children else True
    return pd.DataFrame(columns | {"loglik": float(tree["criteria"]["loglik"]), "converged": converged})
