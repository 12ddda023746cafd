"""Estimates that are made of estimates: several of one study as one, and functions of them by the delta method."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_correlation, listing, shown
from bayesmeta.effects.arms import frame_of, is_pair, with_estimates
from bayesmeta.effects.call_words import single
from bayesmeta.effects.printed import derivative
from bayesmeta.effects.reported import Reported
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.arrays import as_numbers
from bayesmeta.io.columns import rows_by_group
from bayesmeta.measures import check_measure

Weights = Literal["precision", "equal"]


def aggregate(
    data: Any,
    by: str,
    *,
    y: str = "y",
    v: str = "v",
    rho: float | None = None,
    S: Any = None,
    weights: Weights = "precision",
) -> pd.DataFrame:
    """Dependent estimates of one study as one estimate, by their sampling covariance.

    Parameters
    ----------
    data : DataFrame
        One row per estimate, or anything `pandas.DataFrame` takes.
    by : str
        Column of the studies, whose estimates become one; rows without a study are left out, with a warning.
    y, v : str, default "y" and "v"
        Columns of the estimates and of their sampling variances. Rows that lack one are left out.
    rho : float, optional
        Correlation of the sampling errors of a study's estimates; this or `S` is needed, and 0 says that there is none.
    S : array or dict, optional
        Their sampling covariances: a matrix over all rows, or one for each study, as `bm.within` makes them. A study
        that a dict does not have is an error.
    weights : {"precision", "equal"}, default "precision"
        "precision" gives the estimate with the smallest variance, 1' S^-1 y / 1' S^-1 1, whose weights can be negative;
        "equal" the mean.

    Returns
    -------
    DataFrame
        One row per study, in the order of their first rows, indexed by `by`: the estimate, its variance, `k`, the
        number of estimates in it, and those columns that have one value in each study. What was added to empty cells
        is not told of aggregated estimates. Its `attrs` hold `measure` as
        those of the data.

    Raises
    ------
    SpecError
        For a column that does not exist, both or none of `rho` and `S`, or an argument that is not as above.
    DataError
        For a variance that is not positive, a matrix of the wrong size, or covariances of a study that are not positive
        definite; it names the study.

    Warns
    -----
    AssumptionWarning
        Which correlation was assumed, in how many studies with several estimates, and which rows were left out.

    References
    ----------
    Gleser and Olkin (2009), in The Handbook of Research Synthesis and Meta-Analysis, 2nd ed., 357-376; Borenstein et
    al. (2009), Introduction to Meta-Analysis, chapter 24, for the mean.

    Examples
    --------
    >>> import warnings
    >>> import bayesmeta as bm
    >>> rows = {"study": ["a", "a", "b"], "y": [0.2, 0.4, 0.1], "v": [0.04, 0.04, 0.01]}
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     table = bm.effects.aggregate(rows, "study", rho=0.5)
    >>> table
             y     v  k
    study
    a      0.3  0.03  2
    b      0.1  0.01  1
    """
    check_choice(weights, ("precision", "equal"), "weights")
    if (rho is None) == (S is None):
        which = "neither is" if rho is None else "both are"
        raise SpecError(f"rho or S: {which} given\n  give the correlation of a study's estimates, or their covariances")
    frame = frame_of(data)
    reported = Reported(frame, single(y=("y", y), v=("v", v)), "bm.effects.aggregate")
    estimates, variances = reported.real("y"), reported.positive("v", "a sampling variance")
    groups = rows_by_group(frame, by)
    covariance = _of_correlation(rho, variances) if S is None else _of_matrices(S, frame, by, groups)
    known = np.isfinite(estimates) & np.isfinite(variances)
    rows = {}
    for label, of_group in groups.items():
        at = np.asarray(of_group)[known[of_group]]
        if len(at):
            rows[label] = (*_combined(estimates[at], covariance(label, at), weights, label), len(at))
    _say(frame, known, rho, rows)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[y, v, "k"])
    table = table.rename_axis(by)
    kept = _constant(frame[known], by, [each for each in frame.columns if each not in (by, y, v, "k")])
    table = table.join(kept) if len(kept.columns) else table
    table.attrs = {key: value for key, value in frame.attrs.items() if key in ("measure", "columns")}
    return table


def _of_correlation(rho: Any, variances: FloatArray) -> Callable[[Any, Any], FloatArray]:
    check_correlation(rho, "rho")
    sd = np.sqrt(variances)

    def matrix(label: Any, at: Any) -> FloatArray:
        return np.outer(sd[at], sd[at]) * np.where(np.eye(len(at), dtype=bool), 1.0, rho)

    return matrix


def _of_matrices(S: Any, frame: pd.DataFrame, by: str, groups: Mapping[Any, Any]) -> Callable[[Any, Any], FloatArray]:
    """Covariances of all rows, or of each study."""
    if isinstance(S, Mapping):
        lacking = [label for label in groups if label not in S]
        if lacking:
            raise DataError(
                f"S has no matrix for {by} {listing(map(repr, lacking))}"
                f"\n  S must hold a matrix for every {by}, under its label"
            )

        def of_group(label: Any, at: Any) -> FloatArray:
            of_rows = np.asarray(groups[label])
            matrix = as_numbers(S[label], f"S of {by} {label!r}")
            if matrix.shape != (len(of_rows), len(of_rows)):
                raise DataError(
                    f"S of {by} {label!r} has the shape {matrix.shape}; it has {len(of_rows)} rows"
                    "\n  it must have a row and a column for each of them, in their order"
                )
            inside = np.isin(of_rows, at)
            return np.asarray(matrix[np.ix_(inside, inside)], dtype=float)

        return of_group
    whole = as_numbers(S, "S")
    if whole.shape != (len(frame), len(frame)):
        raise DataError(f"S has the shape {whole.shape}; a matrix over the {len(frame)} rows of the data was expected")
    return lambda label, at: np.asarray(whole[np.ix_(at, at)], dtype=float)


def _combined(y: FloatArray, S: FloatArray, weights: str, label: Any) -> tuple[float, float]:
    """One estimate and its variance."""
    if not np.allclose(S, S.T, rtol=1e-10) or np.isnan(S).any():
        raise DataError(
            f"the sampling covariances of {label!r} are not a symmetric matrix of numbers"
            "\n  entries (i, j) and (j, i) must be the same number"
        )
    smallest = (
        float(np.linalg.eigvalsh(S / np.sqrt(np.outer(np.diag(S), np.diag(S))))[0]) if (np.diag(S) > 0).all() else -1
    )
    if smallest <= 1e-12:
        raise DataError(
            f"the sampling covariances of {label!r} are not positive definite: the smallest eigenvalue of their "
            f"correlations is {smallest:.3g}\n  smaller correlations are possible; bm.within.nearest gives the nearest "
            "matrix"
        )
    ones = np.ones(len(y))
    w = np.linalg.solve(S, ones) if weights == "precision" else ones
    w = w / w.sum()
    return float(w @ y), float(w @ S @ w)


def _constant(frame: pd.DataFrame, by: str, columns: Sequence[Any]) -> pd.DataFrame:
    """Columns that have one value in each study."""
    groups = frame.groupby(by, sort=False, observed=True)
    kept = [each for each in columns if (groups[each].nunique(dropna=False) <= 1).all()]
    return groups[kept].first() if kept else pd.DataFrame(index=groups.size().index)


def _say(frame: pd.DataFrame, known: Any, rho: float | None, rows: Mapping[Any, tuple[float, float, int]]) -> None:
    several = sum(k > 1 for _, _, k in rows.values())
    if rho is not None and several:
        warn(f"a correlation of {rho:g} was assumed in {several} of {len(rows)} groups", AssumptionWarning)
    if not known.all():
        left = listing(frame.index[~known])
        warn(
            f"rows {left} have no estimate or no variance and were left out ({(~known).sum()} rows)", AssumptionWarning
        )


def delta_method(
    data: Any,
    function: Callable[[FloatArray], Any],
    *,
    y: str = "y",
    v: str = "v",
    slope: Callable[[FloatArray], Any] | None = None,
    measure: str = "generic",
    names: Sequence[str] = ("y", "v"),
) -> pd.DataFrame:
    """Estimates on another scale, with the variances that the delta method gives them there.

    Parameters
    ----------
    data : DataFrame
        One row per estimate, or anything `pandas.DataFrame` takes.
    function : callable
        From estimates (n,) to estimates (n,) on the other scale, such as `numpy.exp`.
    y, v : str, default "y" and "v"
        Columns of the estimates and of their sampling variances.
    slope : callable, optional
        Its derivative; by default from differences of its values.
    measure : str, default "generic"
        What the new estimates measure.
    names : (str, str), default ("y", "v")
        Names of the columns of the new estimates. Those of `y` and `v` are replaced, no others.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns; NaN where there is no estimate. Its
        `attrs` hold `measure`, which `bm.specify` reads.

    Raises
    ------
    SpecError
        For a column that does not exist, or a function that does not return one number for each row.
    DataError
        For a variance that is not positive.

    Warns
    -----
    BayesmetaWarning
        Where rows have no estimate, with their number.

    Notes
    -----
    f(y) with variance f'(y)^2 v.

    References
    ----------
    Oehlert (1992), Am. Stat. 46:27-29.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesmeta as bm
    >>> log_odds_ratios = {"y": [-0.94], "v": [0.36]}
    >>> bm.effects.delta_method(log_odds_ratios, lambda y: y * np.sqrt(3) / np.pi, measure="smd").round(3)
           y      v
    0 -0.518  0.109
    """
    if not is_pair(names):
        raise SpecError(
            f"names is {shown(names)}; it must be two names, for the columns of the estimate and its variance"
        )
    frame = frame_of(data)
    reported = Reported(frame, single(y=("y", y), v=("v", v)), "bm.effects.delta_method")
    estimates, variances = reported.real("y"), reported.positive("v", "a sampling variance")
    new, steep = _values(function, estimates, "function"), _slope(function, slope, estimates)
    record = check_measure(measure) or "generic"
    replaced = [name for name in (y, v) if name in list(names)]
    rest = frame.drop(columns=replaced)
    rest.attrs = dict(frame.attrs)
    table = with_estimates(rest, record, (new, steep**2 * variances), names, None)
    order = [*frame.columns, *(name for name in names if name not in frame.columns)]
    attrs, table = table.attrs, table[order]
    table.attrs = attrs
    return table


def _slope(function: Any, slope: Any, at: FloatArray) -> FloatArray:
    return derivative(lambda x: _values(function, x, "function"), at) if slope is None else _values(slope, at, "slope")


def _values(function: Any, at: FloatArray, what: str) -> FloatArray:
    if not callable(function):
        raise SpecError(f"{what} is {shown(function)}; it must be a function of an array of estimates")
    with np.errstate(all="ignore"):
        try:
            values = np.asarray(function(at), dtype=float)
        except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise SpecError(
                f"{what} fails on an array of estimates: {error}\n  write it with functions of NumPy, such as np.exp"
            ) from None
    if values.shape not in (at.shape, ()):
        raise SpecError(f"{what} returns the shape {values.shape} for {len(at)} estimates; it must return one each")
    return np.broadcast_to(values, at.shape)
